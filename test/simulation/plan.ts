// What one seed means: topics, clients, settings, network and faults. Each seed takes a few kinds of everything and leaves
// the others out, because all of them at once hide each other. Pure.

import type { BrokerSettings } from '../../broker/config.ts'
import type { Random } from '../../shared/random.ts'
import type { NetworkProfile } from './sim-connection.ts'
import type { ProducerSpec, WorkloadPlan, WorkloadTopic } from './workload.ts'

export const FAULTS = [
  'kill',
  'kill-at-operation',
  'power-loss',
  'power-loss-at-operation',
  'restart',
  'pause-broker',
  'pause-client',
  'cut',
  'cut-one-way',
  'reset',
  'slow-connection',
  'slow-network',
  'disk-full',
  'disk-errors',
  'failed-sync',
  'slow-disk',
  'clock-jump',
] as const

export type Fault = (typeof FAULTS)[number]

/**
 * Faults that fail no request. After any other a partition may wait behind the long poll of another one: a reader has one
 * fetch a broker under way, and partitions come back from their failures at moments of their own.
 */
const TAME: ReadonlySet<Fault> = new Set<Fault>(['pause-broker', 'slow-disk', 'slow-connection', 'clock-jump'])

export interface SimulationPlan {
  readonly clients: number
  readonly workload: WorkloadPlan
  readonly settings: BrokerSettings
  readonly network: NetworkProfile
  readonly faults: readonly Fault[]
  /** Between two faults, on average. */
  readonly faultEveryMs: number
  /** After this no new fault begins, and what is broken is mended. */
  readonly faultsEndMs: number
}

export function planOf(random: Random): SimulationPlan {
  const pick = <T>(...choices: [T, ...T[]]): T => choices[random.integer(choices.length)] ?? choices[0]
  const isLikely = (share: number): boolean => random.fraction() < share
  const faultsEndMs = 30_000 + random.integer(60_000)
  const topics = Array.from({ length: 1 + random.integer(3) }, (_, index) => topicOf(`topic-${index}`, random))
  const records = 60 + random.integer(200)
  const producers = Array.from({ length: 2 + random.integer(3) }, (_, index): ProducerSpec => {
    const topic = pick(topics[0] as WorkloadTopic, ...topics)
    return producerOf(`producer-${index}`, topic, records, faultsEndMs, random)
  })
  const faults = isLikely(0.95) ? FAULTS.filter(() => isLikely(0.3)) : []
  return {
    clients: 1 + random.integer(3),
    workload: {
      topics,
      producers,
      tails: 1 + random.integer(3),
      replays: random.integer(3),
      churns: isLikely(0.3),
      waitsLong: faults.every((fault) => TAME.has(fault)),
    },
    settings: {
      flushIntervalMs: pick(50, 300, 1_000),
      retentionCheckIntervalMs: pick(500, 5_000),
      hotTailBytes: pick(0, 4_096, 1_048_576),
      fileDescriptorsMax: pick(16, 4_096),
      diskReserveBytes: 16_384,
      inFlightMax: pick(8, 1_000),
      requestMemoryBytes: pick(1_048_576, 268_435_456),
      fetchMaxBytes: pick(1_024, 16_384, 1_048_576),
      delayedOperationsMax: pick(30, 100_000),
      connectionIdleMs: pick(5_000, 600_000),
      stopTimeoutMs: pick(100, 3_000),
      logLevel: 'silent',
    },
    network: networkOf(random),
    faults,
    faultEveryMs: pick(1_000, 4_000, 10_000),
    faultsEndMs,
  }
}

export function topicOf(name: string, random: Random): WorkloadTopic {
  const isLarge = random.integer(4) === 0
  const isRetained = random.integer(4) === 0
  const partitions = 1 + random.integer(3)
  const segmentBytes = isLarge ? 65_536 : 2_048 + random.integer(6_000)
  const config: Record<string, string | number> = { 'segment.bytes': segmentBytes }
  if (isRetained) config['retention.bytes'] = segmentBytes * (1 + random.integer(4))
  if (random.integer(3) === 0) config['message.timestamp.type'] = 'LogAppendTime'
  if (random.integer(3) === 0) config['index.interval.bytes'] = random.integer(500)
  return {
    name,
    partitions,
    durability: random.integer(2) === 0 ? 'os' : 'fsync',
    isRetained,
    isTrimmed: random.integer(3) === 0,
    growsTo: random.integer(3) === 0 ? partitions + 2 : partitions,
    config,
    recordBytesMax: isLarge ? 6_000 : 300,
    batchBytes: isLarge ? 20_000 : 1_000,
  }
}

export function producerOf(
  name: string,
  topic: WorkloadTopic,
  records: number,
  durationMs: number,
  random: Random,
): ProducerSpec {
  const kind = random.integer(6)
  const acks = kind === 0 ? 0 : kind === 1 ? 1 : 'all'
  const isIdempotent = kind > 2
  const lingers = random.integer(2) === 0
  return {
    name,
    topic: topic.name,
    isIdempotent,
    records,
    pauseMs: (durationMs / records) * 2,
    options: {
      acks,
      idempotent: isIdempotent,
      batchBytes: topic.batchBytes,
      maxInFlight: 1 + random.integer(5),
      bufferBytes: random.integer(4) === 0 ? 32_768 : 4_194_304,
      deliveryTimeoutMs: random.integer(3) === 0 ? 5_000 : 120_000,
      compression: (['none', 'none', 'lz4', 'gzip', 'snappy', 'zstd'] as const)[random.integer(6)],
      ...(lingers ? { lingerMs: random.integer(100) } : {}),
    },
  }
}

export function networkOf(random: Random): NetworkProfile {
  const baseMs = [0.05, 0.5, 5][random.integer(3)] ?? 0.5
  const hasTail = random.integer(3) === 0
  return {
    latencyMs: (source) => {
      const usual = baseMs * (1 + source.fraction())
      return hasTail && source.integer(50) === 0 ? usual + source.fraction() * 400 : usual
    },
    grainMs: [0, 1, 10][random.integer(3)] ?? 0,
    segmentBytesMax: [50, 300, 1_448, 65_536][random.integer(4)] ?? 65_536,
    readBytesMax: [64, 4_096, 65_536][random.integer(3)] ?? 65_536,
    windowBytes: [8_000, 65_536, 1_000_000][random.integer(3)] ?? 65_536,
  }
}
