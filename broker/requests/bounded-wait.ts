// Waiting for something, but not for ever: what the administration of topics waits for. Owns that nothing is left behind,
// however a wait ends; the deadlines are those of all waiting requests, so that a stop ends these too.

import type { BrokerId, TopicId } from '../../shared/ids.ts'
import type { ClusterChange } from '../coordination/coordinator.ts'
import type { DelayedOperations, DelayPlace } from '../replication/delayed-operations.ts'
import { notDelayed } from '../replication/delayed-operations.ts'
import { leadershipOf } from './leadership.ts'
import type { RequestServices } from './request-services.ts'

/** Partitions that somebody waits for, by topic. */
export type Awaited = ReadonlyMap<TopicId, ReadonlySet<number>>

class Deadline {
  readonly delay: DelayPlace = notDelayed()
  readonly onDeadline: () => void

  constructor(onDeadline: () => void) {
    this.onDeadline = onDeadline
  }
}

/** What the work comes to, or undefined when the time is up first; the work goes on then. */
export function within<T>(delayed: DelayedOperations, timeoutMs: number, work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const deadline = new Deadline(() => resolve(undefined))
    // Where too many wait, this one waits without a deadline: it has begun, and comes to an end by itself.
    delayed.tryPark(deadline, timeoutMs)
    work
      .then(resolve, reject)
      .finally(() => delayed.cancel(deadline))
      .catch(() => undefined)
  })
}

/**
 * Resolves when each of the partitions has had a leader, or one that is enough, or is gone; at the latest when the time is
 * up.
 */
export function whenLed(
  services: RequestServices,
  awaited: Awaited,
  timeoutMs: number,
  isEnough = (leader: BrokerId | undefined, _id: TopicId, _partition: number): boolean => leader !== undefined,
): Promise<void> {
  const { coordinator, delayed } = services
  const missing = new Map([...awaited].map(([id, partitions]) => [id, new Set(partitions)]))
  const look = (id: TopicId, partition: number): void => {
    const partitions = missing.get(id)
    const isGone = coordinator.topics.get(id) === undefined
    if (isGone || isEnough(leadershipOf(services, id, partition)?.leader, id, partition)) partitions?.delete(partition)
    if (isGone || partitions?.size === 0) missing.delete(id)
  }
  const lookAtAll = (): void => {
    for (const [id, partitions] of missing) for (const partition of partitions) look(id, partition)
  }
  lookAtAll()
  if (missing.size === 0 || timeoutMs <= 0) return Promise.resolve()
  return new Promise((resolve) => {
    const end = (): void => {
      subscription.remove()
      delayed.cancel(deadline)
      resolve()
    }
    const deadline = new Deadline(end)
    const subscription = coordinator.subscribe((change: ClusterChange) => {
      if (change.kind === 'leadership-changed') look(change.topicId, change.partition)
      else if (change.kind === 'topic-deleted' || change.kind === 'brokers-changed') lookAtAll()
      if (missing.size === 0) end()
    })
    if (!delayed.tryPark(deadline, timeoutMs)) end()
  })
}
