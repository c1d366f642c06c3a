// Replicas whose broker has come with another data directory than they were made in: a replaced or an emptied disk. Such a
// broker copies the records again, and its word counts for nothing until the partition is told of the new directory. Owns
// finding them, and the words; decides nothing.

import type { BrokerId } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'
import { isVoter } from '../../shared/voters.ts'
import type { Coordinator, TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'

/** The data directory of each member that has told its own. */
export type DirectoriesNow = ReadonlyMap<BrokerId, string>

/** To be asked for once where many partitions are looked at. */
export function directoriesNow(coordinator: Pick<Coordinator, 'brokers'>): DirectoriesNow {
  const known = coordinator.brokers().flatMap(({ brokerId, directoryId }): (readonly [BrokerId, string])[] => {
    return directoryId === undefined ? [] : [[brokerId, directoryId]]
  })
  return new Map(known)
}

/** The brokers of the partition's voters that are there on another disk, unless a move puts it right; none where nobody here knows its voters. */
export function replacedDisks(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  now: DirectoriesNow,
): readonly BrokerId[] {
  const wanted = topic.moves?.[partition] ?? []
  const replaced = votersOf(services, topic, partition).filter(({ brokerId, directoryId }) => {
    const here = now.get(brokerId) ?? directoryId
    return here !== directoryId && !isVoter(wanted, brokerId, here)
  })
  return replaced.map(({ brokerId }) => brokerId)
}

/** What to do about it, for whoever looks at the partition. */
export function describeReplaced(topic: TopicDefinition, partition: number, replaced: readonly BrokerId[]): string {
  const name = `${topic.name}-${partition}`
  const each = replaced.map((id) => {
    return `broker ${id} has another data directory than ${name} was made with, so its copy counts for nothing; \`tidemark broker readmit ${id}\` makes it count`
  })
  return each.join('; ')
}

/**
 * By the log of the replica here; else of the beginning, as long as they are known not to have changed since; else none.
 */
export function votersOf(services: RequestServices, topic: TopicDefinition, partition: number): readonly Voter[] {
  const local = services.localReplica?.(topic.topicId, partition)
  if (local?.isOpen === true) return local.voterSets.at(-1)?.voters ?? []
  const { assignment, directories = {}, origins } = topic
  if (origins?.[partition] !== undefined) return []
  return (assignment?.[partition] ?? []).flatMap((brokerId) => {
    const directoryId = directories[brokerId]
    return directoryId === undefined ? [] : [{ brokerId, directoryId }]
  })
}
