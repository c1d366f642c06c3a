// How far a consumer is behind, from what it last heard. Pure.

import type { PartitionLag } from './consumer-events.ts'
import type { ConsumerPartition } from './consumer-partition.ts'

/** now: milliseconds since 1970. Of partitions whose end has been heard of. */
export function lagOf<K, V>(partitions: Iterable<ConsumerPartition<K, V>>, now: number): PartitionLag[] {
  const lags: PartitionLag[] = []
  for (const { topic, partition, cursor, tracker, lag, lastTimestamp } of partitions) {
    const highWatermark = cursor?.highWatermark
    if (highWatermark === undefined || lag === undefined) continue
    const isDated = lastTimestamp !== undefined && lastTimestamp >= 0
    const lagMs = lag === 0 ? 0 : isDated ? Math.max(0, now - lastTimestamp) : undefined
    lags.push({ topic, partition, position: tracker.position, highWatermark, lag, lagMs })
  }
  return lags
}
