// What one seed means for a cluster: brokers, topics with replicas, clients, settings, network and faults. Each seed takes a
// few kinds of everything. Pure.

import type { BrokerSettings } from '../../broker/config.ts'
import type { Random } from '../../shared/random.ts'
import { networkOf, producerOf, topicOf } from './plan.ts'
import type { NetworkProfile } from './sim-connection.ts'
import type { ProducerSpec, WorkloadPlan, WorkloadTopic } from './workload.ts'

export const CLUSTER_FAULTS = [
  'kill',
  'kill-all',
  'kill-at-operation',
  'power-loss',
  'power-loss-all',
  'power-loss-at-operation',
  'restart',
  'rolling-restart',
  'pause',
  'pause-client',
  'cut-pair',
  'cut-pair-one-way',
  'isolate',
  'isolate-one-way',
  'cut-client',
  'reset',
  'slow-connection',
  'slow-network',
  'disk-full',
  'disk-errors',
  'failed-sync',
  'slow-disk',
  'clock-jump',
  'redis-down',
  'redis-still',
  'redis-cut',
  'redis-slow',
  'redis-rolled-back',
  'redis-emptied',
  'redis-key-lost',
  'redis-key-evicted',
  'redis-read-only',
  'sessions-lost',
  'replaced-disk',
] as const

export type ClusterFault = (typeof CLUSTER_FAULTS)[number]

export interface ClusterPlan {
  readonly brokers: number
  readonly clients: number
  readonly workload: WorkloadPlan
  readonly settings: BrokerSettings
  readonly network: NetworkProfile
  readonly faults: readonly ClusterFault[]
  /** Between two faults, on average. */
  readonly faultEveryMs: number
  /** After this no new fault begins, and what is broken is mended. */
  readonly faultsEndMs: number
  /** Of one fault: longer than every lease. */
  readonly troubleMsMax: number
  /** How many brokers may lack unsynced data that they lost at a time, for nothing to be lost. */
  readonly lossesMax: number
  /** How many disks may lose what they had synced, for nothing to be lost and all to go on. */
  readonly diskLossesMax: number
  /** Somebody moves partitions, drains brokers and takes them away, meanwhile. */
  readonly operator: OperatorPlan | undefined
}

export interface OperatorPlan {
  /** Between two changes, on average. */
  readonly everyMs: number
  readonly mayShrink: boolean
  readonly takesAway: boolean
}

export function clusterPlanOf(random: Random): ClusterPlan {
  const pick = <T>(...choices: [T, ...T[]]): T => choices[random.integer(choices.length)] ?? choices[0]
  const isLikely = (share: number): boolean => random.fraction() < share
  const brokers = pick(3, 3, 3, 3, 4, 5)
  const sessionTimeoutMs = pick(1_500, 3_000, 6_000)
  const faultsEndMs = 4_000 + random.integer(sessionTimeoutMs * 3)
  const topics = Array.from({ length: 1 + random.integer(2) }, (_, index) =>
    replicatedTopicOf(`topic-${index}`, brokers, random),
  )
  const records = 40 + random.integer(80)
  const producers = Array.from({ length: 2 + random.integer(2) }, (_, index): ProducerSpec => {
    const topic = pick(topics[0] as WorkloadTopic, ...topics)
    return producerOf(`producer-${index}`, topic, records, faultsEndMs * 0.6, random)
  })
  const lossesOf = (some: readonly WorkloadTopic[]): number =>
    Math.min(...some.map(({ replication: { minInSync } = { minInSync: 1 } }) => minInSync - 1))
  const plan: ClusterPlan = {
    brokers,
    clients: 1 + random.integer(3),
    workload: {
      topics,
      producers,
      tails: 1 + random.integer(2),
      replays: random.integer(2),
      churns: isLikely(0.2),
      waitsLong: false,
    },
    settings: {
      flushIntervalMs: pick(100, 300, 1_000),
      retentionCheckIntervalMs: pick(500, 5_000),
      hotTailBytes: pick(0, 4_096, 1_048_576),
      diskReserveBytes: 16_384,
      inFlightMax: pick(8, 1_000),
      fetchMaxBytes: pick(16_384, 1_048_576),
      connectionIdleMs: pick(5_000, 600_000),
      stopTimeoutMs: pick(300, 3_000),
      sessionTimeoutMs,
      logLevel: 'silent',
    },
    network: clusterNetworkOf(random),
    faults: isLikely(0.95) ? CLUSTER_FAULTS.filter((fault) => fault !== 'replaced-disk' && isLikely(0.2)) : [],
    faultEveryMs: pick(500, 1_500, 4_000),
    faultsEndMs,
    troubleMsMax: Math.max(5_000, 3 * sessionTimeoutMs),
    lossesMax: lossesOf(topics.filter(({ durability }) => durability === 'os')),
    diskLossesMax: Math.min(lossesOf(topics), ...topics.map(spareReplicas)),
    operator: undefined,
  }
  const replaces = plan.faults.length > 0 && isLikely(0.15)
  if (replaces) return { ...plan, faults: [...plan.faults, 'replaced-disk'] }
  return isLikely(0.4) ? withOperator(plan, random) : plan
}

/** Where partitions can go somewhere. */
function withOperator(plan: ClusterPlan, random: Random): ClusterPlan {
  const { workload, faults } = plan
  const operator: OperatorPlan = {
    everyMs: [300, 800, 2_000][random.integer(3)] ?? 800,
    mayShrink: !faults.includes('failed-sync') && random.integer(3) === 0,
    takesAway: random.integer(3) === 0,
  }
  const brokers = Math.max(plan.brokers, 4 + random.integer(2))
  const churns = workload.churns || random.integer(3) === 0
  return { ...plan, brokers, operator, workload: { ...workload, churns } }
}

/** How many replicas there are beyond those that must hold a record. */
function spareReplicas({ replication }: WorkloadTopic): number {
  return replication === undefined ? 0 : replication.factor - replication.minInSync
}

/** As for one broker, but crumbs of bytes more seldom: they cost the most, and teach little about replicas. */
function clusterNetworkOf(random: Random): NetworkProfile {
  const hasCrumbs = random.integer(24) === 0
  const network = networkOf(random)
  if (hasCrumbs) return network
  const { segmentBytesMax, readBytesMax } = network
  return { ...network, segmentBytesMax: Math.max(1_448, segmentBytesMax), readBytesMax: Math.max(4_096, readBytesMax) }
}

function replicatedTopicOf(name: string, brokers: number, random: Random): WorkloadTopic {
  const factor = random.integer(6) === 0 ? 1 + random.integer(brokers) : 3
  const majority = Math.floor(factor / 2) + 1
  const minInSync = random.integer(6) === 0 ? 1 + random.integer(factor) : majority
  const topic = topicOf(name, random)
  return { ...topic, replication: { factor, minInSync } }
}
