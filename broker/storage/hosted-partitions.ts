// Which partitions of a topic a broker has logs of. Pure; knows nothing of directories.

import type { BrokerId } from '../../shared/ids.ts'
import type { TopicDefinition } from './topic-store.ts'

type Assigned = Pick<TopicDefinition, 'partitions' | 'assignment'>

/** Whether the broker is a replica of the partition. Without an assignment there is one broker, and it has everything. */
export function isHosted(topic: Assigned, partition: number, self: BrokerId): boolean {
  if (partition < 0 || partition >= topic.partitions) return false
  return topic.assignment === undefined || topic.assignment[partition]?.includes(self) === true
}

/** The partitions that the broker is a replica of, ascending. */
export function hostedPartitions(topic: Assigned, self: BrokerId): number[] {
  const hosted: number[] = []
  for (let partition = 0; partition < topic.partitions; partition += 1) {
    if (isHosted(topic, partition, self)) hosted.push(partition)
  }
  return hosted
}
