// What is to be measured of the partitions of this broker: counts for the gauges, and the offsets that lag is computed from.
// Looked at only when somebody asks.

import type { Coordinator } from '../coordination/coordinator.ts'
import type { Meter } from '../metrics/meter.ts'
import type { Partition } from './partition.ts'
import type { PartitionManager } from './partition-manager.ts'
import type { Replica } from './replica.ts'
import type { Replication } from './replication.ts'

export function registerPartitionGauges(
  meter: Meter,
  partitions: PartitionManager,
  replication: Replication | undefined,
): void {
  const sum = (of: (partition: Partition) => number) => (): number => {
    let total = 0
    for (const partition of partitions.all()) total += of(partition)
    return total
  }
  const count = (is: (partition: Partition) => boolean) => sum((partition) => (is(partition) ? 1 : 0))
  const offline = count(({ state }) => state === 'offline')
  meter.gauge('tidemark_partitions', {}, () => partitions.partitionCount)
  // One that is alone leads whatever it has.
  meter.gauge(
    'tidemark_partition_leader',
    {},
    count((partition) => partition.checkServing() === undefined),
  )
  meter.gauge('tidemark_offline_partitions', {}, () => partitions.unopenedCount + offline())
  meter.gauge(
    'tidemark_read_only_partitions',
    {},
    count(({ state }) => state === 'read-only'),
  )
  const led = (is: (replica: Replica) => boolean) => (): number => {
    let total = 0
    for (const replica of replication?.all() ?? []) if (replica.role === 'leader' && is(replica)) total += 1
    return total
  }
  meter.gauge(
    'tidemark_under_replicated_partitions',
    {},
    led(({ state, voters }) => state.inSyncReplicas.length < voters.length),
  )
  const isAlone = replication === undefined
  meter.gauge(
    'tidemark_under_min_isr_partitions',
    {},
    isAlone ? count(({ config }) => config.minInSyncReplicas > 1) : led(({ state }) => !state.hasEnoughInSync),
  )
  meter.gauge(
    'tidemark_quarantined_ranges',
    {},
    sum(({ quarantinedRanges }) => quarantinedRanges),
  )
}

export interface TopicSnapshot {
  readonly topic: string
  readonly partitions: readonly PartitionSnapshot[]
}

export interface PartitionSnapshot {
  readonly partition: number
  readonly leader: number | undefined
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  readonly logStartOffset: number
  readonly highWatermark: number
}

export function topicSnapshots(coordinator: Coordinator, partitions: PartitionManager): TopicSnapshot[] {
  return [...coordinator.topics.list()].map(({ name, topicId, partitions: count }) => ({
    topic: name,
    partitions: Array.from({ length: count }, (_, partition) => {
      const leadership = coordinator.leaderships.of(topicId, partition)
      const open = partitions.find(name, topicId, partition)
      return {
        partition,
        leader: leadership?.leader,
        replicas: leadership?.replicas ?? [],
        inSyncReplicas: leadership?.inSyncReplicas ?? [],
        logStartOffset: open?.logStartOffset ?? 0,
        highWatermark: open?.highWatermark ?? 0,
      }
    }),
  }))
}
