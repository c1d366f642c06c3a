// Brokers' coordinators over one Redis, for suites that do things to that Redis: short sessions, stores and disks in memory
// that outlive a coordinator, and waiting for what the coordinator tells instead of for time.

import { expect, onTestFinished } from 'vitest'
import type {
  BrokerRecord,
  CatalogueStore,
  ClusterChange,
  Coordinator,
  TopicDefinition,
} from '../../broker/coordination/coordinator.ts'
import { type RedisCoordinatorOptions, redisCoordinator } from '../../broker/coordination/redis-coordinator.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { brokerId, type LeaderEpoch, leaderEpoch, timestampMs, type TopicId, topicId } from '../../shared/ids.ts'
import type { Meter } from '../../broker/metrics/meter.ts'
import type { Logger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'

type OnDisk = RedisCoordinatorOptions['onDisk']

export const EMPTY_DISK: OnDisk = { clusterId: undefined, tombstones: () => [], leaderships: () => [] }

const ids = seededRandom(4_711)

/** What one broker keeps from life to life. */
export class DiskOfABroker implements CatalogueStore, OnDisk {
  readonly topics = new Map<TopicId, TopicDefinition>()
  readonly deleted = new Set<TopicId>()
  readonly promises: { topicId: TopicId; partition: number; leaderEpoch: LeaderEpoch }[] = []
  readonly directoryId = ids.uuid()
  clusterId: string | undefined

  list(): Iterable<TopicDefinition> {
    return [...this.topics.values()]
  }

  async put(topic: TopicDefinition): Promise<void> {
    const { topicId: id, name } = topic
    if ([...this.topics.values()].some((other) => other.name === name && other.topicId !== id)) {
      throw new TidemarkError('TOPIC_ALREADY_EXISTS', `topic ${name} exists already`)
    }
    this.topics.set(id, topic)
  }

  remove(id: TopicId): Promise<void> {
    this.topics.delete(id)
    this.deleted.add(id)
    return Promise.resolve()
  }

  keepClusterId(clusterId: string): Promise<void> {
    this.clusterId = clusterId
    return Promise.resolve()
  }

  tombstones(): Iterable<TopicId> {
    return this.deleted
  }

  leaderships(): ReturnType<OnDisk['leaderships']> {
    return this.promises.map((one) => ({ ...one, leader: undefined, version: 0, inSyncReplicas: [] }))
  }
}

export interface Life {
  readonly coordinator: Coordinator
  readonly disk: DiskOfABroker
  readonly record: BrokerRecord
  readonly changes: readonly ClusterChange[]
  readonly warnings: readonly string[]
  /** Resolves as soon as the condition holds; asked at every change and warning, and now and then besides. */
  until(condition: () => boolean): Promise<void>
}

export interface LifeOptions extends Partial<Omit<RedisCoordinatorOptions, 'url' | 'onDisk'>> {
  readonly url: string
  readonly id?: number
  readonly cluster?: string
  readonly disk?: DiskOfABroker
  readonly port?: number
  readonly meter?: Meter
  /** Whether it joins; true if absent. */
  readonly joins?: boolean
}

/** A coordinator that has started, and is stopped with the test. */
export async function begin(options: LifeOptions): Promise<Life> {
  const life = prepare(options)
  await life.coordinator.start()
  if (options.joins !== false) await life.coordinator.join(life.record)
  return life
}

/** As begin, before it has started. */
export function prepare(options: LifeOptions): Life {
  const { url, id = 1, cluster = 'lives', disk = new DiskOfABroker(), port = 9000 + id } = options
  const { joins: _, meter, ...rest } = options
  const changes: ClusterChange[] = []
  const warnings: string[] = []
  const waiting = new Set<() => void>()
  const ask = (): void => waiting.forEach((one) => one())
  const told = (message: string): void => {
    warnings.push(message)
    ask()
  }
  const logger: Logger = {
    debug: () => undefined,
    info: (_fields, message) => told(message),
    warn: (_fields, message) => told(message),
    error: (_fields, message) => told(message),
  }
  const incarnation = ids.uuid()
  const coordinator = redisCoordinator({ sessionTtlMs: 2_000, pollEveryMs: 50, ...rest, url, onDisk: disk })({
    cluster,
    brokerId: brokerId(id),
    incarnation,
    store: disk,
    clock: systemClock,
    timers: systemTimers,
    random: ids,
    logger,
    ...(meter === undefined ? {} : { meter }),
  })
  coordinator.subscribe((change) => {
    changes.push(change)
    ask()
  })
  const looking = setInterval(ask, 20)
  onTestFinished(async () => {
    clearInterval(looking)
    await coordinator.stop({ immediately: true })
  })
  const until = (condition: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })
  const record: BrokerRecord = {
    brokerId: brokerId(id),
    incarnation,
    host: '127.0.0.1',
    port,
    rack: undefined,
    software: 'test',
    startedAt: timestampMs(1),
    directoryId: disk.directoryId,
  }
  return { coordinator, disk, record, changes, warnings, until }
}

export function topicOf(name: string, partitions = 2, assignment?: TopicDefinition['assignment']): TopicDefinition {
  return {
    topicId: topicId(ids.uuid()),
    name,
    partitions,
    replicationFactor: 1,
    config: {},
    ...(assignment === undefined ? {} : { assignment }),
    version: 1,
    createdAt: timestampMs(1),
  }
}

export function epoch(value: number): LeaderEpoch {
  return leaderEpoch(value)
}

/** Any text with these words in it, to stand in a comparison. */
export function containing(words: string): unknown {
  return expect.stringContaining(words)
}
