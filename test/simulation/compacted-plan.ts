// What one seed means for compacted topics in a simulated cluster: how often their keys are written and deleted, and when
// their brokers compact. Pure.

import type { Random } from '../../shared/random.ts'
import type { ClusterPlan } from './cluster-plan.ts'
import type { ProducerSpec, WorkloadTopic } from './workload.ts'

const SETTLE_MS = 6_000

/** The same cluster, with topics that are compacted while it goes on. */
export function withCompaction(plan: ClusterPlan, random: Random): ClusterPlan {
  const pick = <T>(...choices: [T, ...T[]]): T => choices[random.integer(choices.length)] ?? choices[0]
  const isRetained = random.integer(5) === 0
  const topicOf = (topic: WorkloadTopic): WorkloadTopic => {
    const segmentBytes = 1_024 + random.integer(3_000)
    return {
      ...topic,
      isCompacted: { keys: pick(3, 8, 30), tombstoneShare: pick(0.1, 0.3, 0.5) },
      isRetained,
      isTrimmed: topic.isTrimmed && random.integer(3) === 0,
      growsTo: topic.partitions,
      recordBytesMax: pick(20, 100, 300),
      config: {
        ...topic.config,
        'segment.bytes': segmentBytes,
        'segment.ms': pick(300, 1_000, 3_000),
        'cleanup.policy': isRetained ? 'compact,delete' : 'compact',
        'retention.bytes': isRetained ? segmentBytes * (6 + random.integer(6)) : -1,
        'min.cleanable.dirty.ratio': pick(0, 0, 0.3),
        'delete.retention.ms': pick(0, 0, 100, 1_000),
        'min.compaction.lag.ms': pick(0, 0, 500),
      },
    }
  }
  const producerOf = (producer: ProducerSpec): ProducerSpec => ({ ...producer, records: 2 * producer.records })
  const { workload, settings } = plan
  return {
    ...plan,
    // So that somebody who was away comes back to what was compacted meanwhile.
    faultsEndMs: plan.faultsEndMs + SETTLE_MS,
    workload: {
      ...workload,
      topics: workload.topics.map(topicOf),
      producers: workload.producers.map(producerOf),
    },
    settings: {
      ...settings,
      compactionIntervalMs: pick(100, 300, 1_000),
      compactionMemoryBytes: pick(1_048_576, 1_048_576, 16_777_216),
      compactionBytesPerSecond: pick(0, 0, 20_000),
    },
  }
}
