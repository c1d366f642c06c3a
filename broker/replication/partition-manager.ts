// The partitions of this broker, by topic. Owns which of them are open, and follows the catalogue: what is created is opened
// and led, or, where it has replicas on other brokers, given to its replica; what is deleted is closed. Knows nothing of
// requests.
//
// Invariant: the log of a partition that can be found is open. Who leads it is the partition's to say.

import type { TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ClusterChange, Coordinator, TopicDefinition } from '../coordination/coordinator.ts'
import type { Meter, Registration } from '../metrics/meter.ts'
import type { ConfigEntries, DescribedConfig, LogConfig } from '../storage/log-config.ts'
import type { LogDirectory } from '../storage/log-directory.ts'
import type { PartitionLog } from '../storage/partition-log.ts'
import type { PartitionRefusal } from './pending-produce.ts'
import type { Replica } from './replica.ts'
import type { Replication } from './replication.ts'
import type { TurnWriter } from './turn-writer.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { describeTopicConfig, minInSyncReplicasOf, parseTopicConfig } from '../storage/log-config.ts'
import type { AppendSpace } from './partition.ts'
import { Partition } from './partition.ts'
import { TopicTraffic } from './topic-traffic.ts'

/** What metrics call all topics together when they are not told apart. */
const ALL_TOPICS = 'all'

export interface PartitionManagerOptions {
  readonly directory: LogDirectory
  readonly coordinator: Coordinator
  readonly turnWriter: TurnWriter
  readonly meter: Meter
  readonly logger: Logger
  /** The broker's settings for topics that have none of their own. */
  readonly topicDefaults: ConfigEntries
  readonly partitionsMax: number
  readonly metricsPerTopic: boolean
  /** Absent where a broker is its own cluster. */
  readonly replication?: Replication
}

/** One topic on this broker. */
interface OpenTopic {
  definition: TopicDefinition
  /** A hole where the log is offline or not open yet. */
  readonly partitions: (Partition | undefined)[]
  readonly traffic: TopicTraffic
  readonly gauges: readonly Registration[]
  /** Why this broker does not lead a partition whose log is open. */
  readonly failures: Map<number, string>
  readonly replicas: Replica[]
  /** Their logs are about to be deleted: they are not opened before that is done, or has failed. */
  readonly released: Set<number>
  /** The last opening of partitions; they go one behind the other. */
  opening: Promise<void>
}

export class PartitionManager {
  readonly #options: PartitionManagerOptions
  readonly #byName = new Map<string, OpenTopic>()
  readonly #byId = new Map<TopicId, OpenTopic>()
  readonly #space: AppendSpace
  #subscription: { remove(): void } | undefined

  constructor(options: PartitionManagerOptions) {
    this.#options = options
    const { directory } = options
    this.#space = {
      admitsAppend: () => directory.space.admitsAppend(),
      onAppendFailure: (error) => void directory.space.onAppendFailure(error),
      noteAppended: (bytes) => directory.noteAppended(bytes),
    }
  }

  /** Leads all partitions that there are, and follows the catalogue from now on. */
  async start(): Promise<void> {
    const { coordinator } = this.#options
    this.#subscription = coordinator.subscribe((change) => this.#onChange(change))
    this.#options.replication?.onRelease((replica, deleteLog) => this.#release(replica, deleteLog))
    for (const topic of coordinator.topics.list()) this.#open(topic)
    await Promise.all([...this.#byId.values()].map(({ opening }) => opening))
  }

  /** Lets go of all partitions; what waits at them is answered. */
  stop(): void {
    this.#subscription?.remove()
    const topics = [...this.#byId.values()]
    // First: whoever is woken by the closing must not find the partition again.
    this.#byId.clear()
    this.#byName.clear()
    for (const topic of topics) this.#close(topic)
  }

  /** The partition, if it is open here; whyNotFound says why it is not. Without an id, the topic of that name now. */
  find(topic: string, id: TopicId | undefined, partition: number): Partition | undefined {
    const open = this.#byName.get(topic)
    if (open === undefined || (id !== undefined && open.definition.topicId !== id)) return undefined
    return open.partitions[partition]
  }

  /** Where the partitions here are, and how much room is left for them, in bytes; 0 of 0 where that is not known. */
  get directory(): { readonly path: string; readonly totalBytes: number; readonly freeBytes: number } {
    const { path, space } = this.#options.directory
    return { path, totalBytes: space.totalBytes, freeBytes: space.freeBytes }
  }

  whyNotFound(name: string, id: TopicId | undefined, partition: number): PartitionRefusal {
    const topic = this.#options.coordinator.topics.byName(name)
    if (topic === undefined) return unknown(`there is no topic ${name}`)
    if (id !== undefined && topic.topicId !== id) {
      return unknown(`topic ${name} has been made anew: its id is ${topic.topicId}, not ${id}`)
    }
    if (partition < 0 || partition >= topic.partitions) {
      return unknown(`topic ${name} has ${topic.partitions} partitions, and partition ${partition} is none of them`)
    }
    const failure = this.#options.directory.failureOf(topic.topicId, partition)
    if (failure !== undefined) {
      return { error: 'STORAGE_ERROR', message: `partition ${partition} of ${name} is offline: ${failure.message}` }
    }
    const { replication } = this.#options
    if (replication !== undefined && !replication.isReplica(topic, partition)) {
      const message = `this broker has no replica of partition ${partition} of ${name}`
      return { error: 'NOT_LEADER_OR_FOLLOWER', message }
    }
    const reason = this.#byId.get(topic.topicId)?.failures.get(partition) ?? 'it is being opened'
    return { error: 'LEADER_NOT_AVAILABLE', message: `partition ${partition} of ${name} has no leader: ${reason}` }
  }

  /** Resolves when all partitions that the topic has now are open, or are known not to open. */
  whenOpen(id: TopicId): Promise<void> {
    return this.#byId.get(id)?.opening ?? Promise.resolve()
  }

  get topicCount(): number {
    return this.#byId.size
  }

  /** Those of which this broker has a replica. */
  get partitionCount(): number {
    return this.#options.directory.partitionCount
  }

  /** Partitions that could not be opened, and so serve nobody. */
  get unopenedCount(): number {
    let count = 0
    for (const { definition, failures } of this.#byId.values()) {
      for (let partition = 0; partition < definition.partitions; partition += 1) {
        const failure = this.#options.directory.failureOf(definition.topicId, partition)
        if (failure !== undefined || failures.has(partition)) count += 1
      }
    }
    return count
  }

  /** Bytes of all segments. */
  get bytes(): number {
    let bytes = 0
    for (const partition of this.all()) bytes += partition.bytes
    return bytes
  }

  *all(): IterableIterator<Partition> {
    for (const { partitions } of this.#byId.values()) {
      for (const partition of partitions) if (partition !== undefined) yield partition
    }
  }

  /** @throws TOO_MANY_PARTITIONS unless so many more may be made. */
  checkRoom(partitions: number): void {
    const { partitionsMax } = this.#options
    const held = this.partitionCount
    if (held + partitions <= partitionsMax) return
    const text = `the broker holds ${held} partitions and may hold ${partitionsMax}: there is no room for ${partitions} more`
    throw new TidemarkError('TOO_MANY_PARTITIONS', text)
  }

  /** @throws INVALID_CONFIG */
  parseConfig(entries: ConfigEntries): LogConfig {
    return parseTopicConfig(entries, this.#options.topicDefaults)
  }

  describeConfig(entries: ConfigEntries): DescribedConfig[] {
    return describeTopicConfig(entries, this.#options.topicDefaults)
  }

  /** @throws INVALID_CONFIG for a name that no topic setting has. */
  checkConfigKey(key: string): void {
    if (this.describeConfig({}).some(({ name }) => name === key)) return
    parseTopicConfig({ [key]: '' })
  }

  #onChange(change: ClusterChange): void {
    switch (change.kind) {
      case 'topic-created':
      case 'topic-changed':
        return this.#open(change.topic)
      case 'topic-deleted': {
        const topic = this.#byId.get(change.topic.topicId)
        if (topic === undefined) return
        this.#byId.delete(change.topic.topicId)
        if (this.#byName.get(change.topic.name) === topic) this.#byName.delete(change.topic.name)
        this.#close(topic)
        this.#options.meter.forgetTopic(change.topic.name)
        return
      }
      case 'brokers-changed':
      case 'leadership-changed':
      case 'session-lost':
    }
  }

  #open(definition: TopicDefinition): void {
    const topic = this.#byId.get(definition.topicId) ?? this.#newTopic(definition)
    topic.definition = definition
    topic.opening = topic.opening.then(() => this.#lead(topic))
  }

  #newTopic(definition: TopicDefinition): OpenTopic {
    const { meter, metricsPerTopic } = this.#options
    const partitions: (Partition | undefined)[] = []
    const topic = {
      definition,
      partitions,
      traffic: new TopicTraffic(meter, metricsPerTopic ? definition.name : ALL_TOPICS),
      gauges: metricsPerTopic ? gaugesOf(meter, definition.name, partitions) : [],
      failures: new Map<number, string>(),
      replicas: [],
      released: new Set<number>(),
      opening: Promise.resolve(),
    }
    this.#byId.set(definition.topicId, topic)
    this.#byName.set(definition.name, topic)
    return topic
  }

  /** Becomes the leader of the topic's partitions that it does not lead yet. */
  async #lead(topic: OpenTopic): Promise<void> {
    const { directory, logger } = this.#options
    const { name, topicId, partitions } = topic.definition
    for (let number = 0; number < partitions; number += 1) {
      if (topic.partitions[number] !== undefined || topic.released.has(number)) continue
      const log = directory.log(topicId, number)
      if (log === undefined) continue
      try {
        const { replication } = this.#options
        if (replication === undefined) await this.#openAlone(topic, number, log)
        else await this.#openReplica(replication, topic, number, log)
        if (this.#byId.get(topicId) !== topic) return
        topic.failures.delete(number)
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        topic.partitions[number] = undefined
        topic.failures.set(number, reason)
        logger.error({ topic: name, partition: number, reason }, 'a partition has no leader')
      }
    }
  }

  #newPartition({ definition, traffic }: OpenTopic, number: number, log: PartitionLog): Partition {
    const { turnWriter, logger } = this.#options
    return new Partition({
      topic: definition.name,
      partition: number,
      log,
      turnWriter,
      traffic,
      space: this.#space,
      logger,
    })
  }

  async #openAlone(topic: OpenTopic, number: number, log: PartitionLog): Promise<void> {
    const { topicId } = topic.definition
    const partition = this.#newPartition(topic, number, log)
    const { kind } = await this.#options.coordinator.leaderships.claim(topicId, number, partition.leaderEpoch)
    if (kind !== 'done') throw new TidemarkError('NOT_LEADER_OR_FOLLOWER', `the claim to lead it was answered: ${kind}`)
    if (this.#byId.get(topicId) !== topic) return
    topic.partitions[number] = partition
    partition.open()
  }

  async #openReplica(replication: Replication, topic: OpenTopic, number: number, log: PartitionLog): Promise<void> {
    const { definition } = topic
    const partition = this.#newPartition(topic, number, log)
    // It can be found before it takes part: whoever leads it is asked for it at once.
    topic.partitions[number] = partition
    const minInSyncReplicas = minInSyncReplicasOf(definition, this.#options.topicDefaults)
    const replica = await replication.open(definition, partition, minInSyncReplicas)
    if (this.#byId.get(definition.topicId) === topic) topic.replicas.push(replica)
    else replication.close(replica)
  }

  /** It was moved away, and its log goes: whoever waits here is answered. */
  async #release(replica: Replica, deleteLog: () => Promise<void>): Promise<void> {
    const { topicId, partition } = replica.identity
    const topic = this.#byId.get(topicId)
    this.#options.replication?.close(replica)
    if (topic === undefined) return
    const at = topic.replicas.indexOf(replica)
    if (at !== -1) topic.replicas.splice(at, 1)
    topic.partitions[partition]?.close()
    topic.partitions[partition] = undefined
    topic.released.add(partition)
    try {
      await deleteLog()
    } finally {
      topic.released.delete(partition)
      // It may be wanted again, or there still.
      if (this.#byId.get(topicId) === topic) this.#open(topic.definition)
    }
  }

  #close(topic: OpenTopic): void {
    for (const gauge of topic.gauges) gauge.remove()
    for (const replica of topic.replicas.splice(0)) this.#options.replication?.close(replica)
    const closed = topic.partitions.splice(0)
    for (const partition of closed) partition?.close()
  }
}

function unknown(message: string): PartitionRefusal {
  return { error: 'UNKNOWN_TOPIC_OR_PARTITION', message }
}

function gaugesOf(meter: Meter, topic: string, partitions: readonly (Partition | undefined)[]): Registration[] {
  const sum = (of: (partition: Partition) => number) => (): number =>
    partitions.reduce((total, partition) => total + (partition === undefined ? 0 : of(partition)), 0)
  return [
    meter.gauge(
      'tidemark_log_size_bytes',
      { topic },
      sum(({ bytes }) => bytes),
    ),
    meter.gauge(
      'tidemark_log_segments',
      { topic },
      sum((partition) => partition.describe().segments),
    ),
  ]
}
