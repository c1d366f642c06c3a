// Since when partitions have been without a leader, or with fewer replicas in sync than they should be, as far as this broker
// has seen. Owns the moments; what is said of them is others' business. Bounded by the partitions that there are.

import type { TopicId } from '../../shared/ids.ts'
import type { Clock } from '../../shared/time.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { leadershipSeen, liveBrokers, minInSyncReplicas } from './leadership.ts'

export type Trouble = 'leaderless' | 'behind' | 'unwritable'

export interface PartitionHealth {
  readonly isLed: boolean
  readonly replicas: number
  /** Of those that are there. */
  readonly inSync: number
  readonly minimum: number
}

export class PartitionTroubles {
  readonly #services: RequestServices
  readonly #clock: Clock
  /** By partition, when each of its troubles was seen first; milliseconds since 1970. */
  readonly #since = new Map<string, Map<Trouble, number>>()
  readonly #subscription: { remove(): void } | undefined

  constructor(services: RequestServices) {
    this.#services = services
    this.#clock = services.clock
    // A broker that is alone leads what it has.
    if (services.isCluster !== true) return
    const { topics } = services.coordinator
    this.#subscription = services.coordinator.subscribe((change) => {
      switch (change.kind) {
        case 'leadership-changed': {
          const topic = topics.get(change.topicId)
          if (topic !== undefined) this.look(topic, change.partition)
          return
        }
        case 'brokers-changed':
          return this.#lookAtAll()
        case 'topic-deleted':
          return this.#forget(change.topic.topicId, change.topic.partitions)
        case 'topic-created':
        case 'topic-changed':
        case 'session-lost':
      }
    })
  }

  stop(): void {
    this.#subscription?.remove()
  }

  /** Looks at a partition now, so that what is told of it is what it was just found to be. */
  look(topic: TopicDefinition, partition: number, live = liveBrokers(this.#services)): PartitionHealth {
    const health = healthOf(this.#services, topic, partition, live)
    const troubles = troublesOf(health)
    const key = keyOf(topic.topicId, partition)
    if (troubles.length === 0) {
      this.#since.delete(key)
      return health
    }
    const before = this.#since.get(key)
    this.#since.set(key, new Map(troubles.map((trouble) => [trouble, before?.get(trouble) ?? this.#clock.now()])))
    return health
  }

  /** Milliseconds since 1970; undefined for a trouble that it has not. */
  since(id: TopicId, partition: number, trouble: Trouble): number | undefined {
    return this.#since.get(keyOf(id, partition))?.get(trouble)
  }

  #lookAtAll(): void {
    const live = liveBrokers(this.#services)
    for (const topic of this.#services.coordinator.topics.list()) {
      if (topic.assignment === undefined) continue
      for (let partition = 0; partition < topic.partitions; partition += 1) this.look(topic, partition, live)
    }
  }

  #forget(id: TopicId, partitions: number): void {
    for (let partition = 0; partition < partitions; partition += 1) this.#since.delete(keyOf(id, partition))
  }
}

function healthOf(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  live: ReturnType<typeof liveBrokers>,
): PartitionHealth {
  const known = leadershipSeen(services, topic.topicId, partition, live)
  const { leader, replicas = [], inSyncReplicas = [] } = known ?? {}
  const inSync = inSyncReplicas.filter((id) => live.has(id)).length
  return { isLed: leader !== undefined, replicas: replicas.length, inSync, minimum: minInSyncReplicas(topic) }
}

/** Without a leader nobody knows who is in sync. */
export function troublesOf({ isLed, replicas, inSync, minimum }: PartitionHealth): readonly Trouble[] {
  if (!isLed) return ['leaderless']
  const troubles: Trouble[] = []
  if (inSync < minimum) troubles.push('unwritable')
  if (inSync < replicas) troubles.push('behind')
  return troubles
}

function keyOf(id: TopicId, partition: number): string {
  return `${id}:${partition}`
}
