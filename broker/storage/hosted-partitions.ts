// Which partitions of a topic a broker is to have logs of, by the topic's definition. Pure; knows nothing of directories: a log
// that is there is kept until it is released, whatever the definition says (log-directory.ts).

import type { BrokerId } from '../../shared/ids.ts'
import type { TopicAssignment } from './topic-assignment.ts'

type Assigned = Pick<TopicAssignment, 'partitions' | 'assignment' | 'moves'>

/**
 * Whether the broker is a replica of the partition, or is to become one. Without an assignment there is one broker, and it
 * has everything.
 */
export function isHosted(topic: Assigned, partition: number, self: BrokerId): boolean {
  if (partition < 0 || partition >= topic.partitions) return false
  if (topic.assignment === undefined || topic.assignment[partition]?.includes(self) === true) return true
  return topic.moves?.[partition]?.some(({ brokerId }) => brokerId === self) === true
}

/** The partitions that the broker is a replica of, or is to become one of, ascending. */
export function hostedPartitions(topic: Assigned, self: BrokerId): number[] {
  const hosted: number[] = []
  for (let partition = 0; partition < topic.partitions; partition += 1) {
    if (isHosted(topic, partition, self)) hosted.push(partition)
  }
  return hosted
}

/**
 * Whether a partition of the definition that the broker hosts from now on has had other replicas before: it may have
 * acknowledged records of it in another life of the same directory, which it does not have any more. One of those that the
 * partition was made with, and that hears of it and of its first move at once, has not: were it new, its word would be
 * missing where all of them have to be heard.
 */
export function isNewReplica(
  before: Assigned | undefined,
  topic: TopicAssignment,
  partition: number,
  self: BrokerId,
): boolean {
  const isOld = before !== undefined && partition < before.partitions
  if (isOld || topic.origins?.[partition] !== undefined) return true
  return topic.moves?.[partition] !== undefined && topic.assignment?.[partition]?.includes(self) !== true
}
