// The composition: builds every room with what it needs, starts them in order and stops them in reverse. The only file that
// knows every room; it holds no rule of any of them. A broker is a value: as many as you like live in one process.
//
// Invariants: stop() resolves when no handle, timer or file of the broker is left; a broker that could not start leaves
// nothing behind either.

import type { Logger } from '../shared/logger.ts'
import type { AdminServer } from './admin/http-server.ts'
import type { HealthCheck } from './admin/health.ts'
import type { Address, BrokerOptions, BrokerSettings, OptionDescription, ResolvedOptions } from './config.ts'
import type { BrokerRecord, CatalogueStore, Coordinator, CoordinatorHealth } from './coordination/coordinator.ts'
import type { Environment } from './environment.ts'
import type { ClusterSnapshot } from './metrics/kafka-exporter.ts'
import type { RequestContext, Requests } from './requests/requests.ts'
import type { Disk } from './storage/disk.ts'
import { must } from '../shared/assert.ts'
import { prepareCodec } from '../shared/compression/codec.ts'
import { TidemarkError } from '../shared/errors.ts'
import type { TimestampMs, TopicId } from '../shared/ids.ts'
import { brokerId, timestampMs } from '../shared/ids.ts'
import { silentLogger } from '../shared/logger.ts'
import { sleep } from '../shared/time.ts'
import { startAdminServer } from './admin/http-server.ts'
import { adoptTopics, Cluster } from './cluster.ts'
import { describeOptions, kafkaSettings, parseAddress, resolveOptions, topicConfigDefaults } from './config.ts'
import { Groups } from './groups/groups.ts'
import { Listeners } from './listeners.ts'
import { SlotMeter } from './metrics/meter.ts'
import { createExposition } from './metrics/prometheus.ts'
import { DelayedOperations } from './replication/delayed-operations.ts'
import { registerPartitionGauges, topicSnapshots } from './replication/partition-metrics.ts'
import { PartitionManager } from './replication/partition-manager.ts'
import { TurnWriter } from './replication/turn-writer.ts'
import { RequestRouter } from './requests/request-router.ts'
import { ClusterFacts } from './storage/cluster-facts.ts'
import { DrainMark } from './storage/drain-mark.ts'
import { measureCompaction } from './storage/cleaner-metrics.ts'
import { LogDirectory } from './storage/log-directory.ts'
import { MemoryDisk } from './storage/memory-disk.ts'
import { MeteredDisk } from './storage/metered-disk.ts'

const BROKER_SOFTWARE = 'tidemark/0.1.0'
/** Where a broker that keeps nothing keeps it. */
const MEMORY_PATH = '/memory'
const TURNS_AFTER_STOP = 2

export interface BrokerServices {
  /** Default: says nothing. */
  readonly logger?: Logger
  /** What the broker counts in, for whoever wants to look at it by themselves. Default: one of its own. */
  readonly meter?: SlotMeter
}

export interface Broker extends AsyncDisposable {
  readonly brokerId: number
  readonly cluster: string
  /** Where it listens, with the port that was chosen. */
  readonly listen: Address
  /** Where metrics and health are, unless they are off. */
  readonly http: Address | undefined
  /** What a client is given to find the broker: HOST:PORT. */
  readonly brokers: string
  /** What clients ask through the network, for whoever has the broker in its process. */
  readonly requests: Requests
  /** Whether it serves. */
  readonly isReady: boolean
  /** What must hold for it to be sent work. */
  readiness(): readonly HealthCheck[]
  /** What was looked at to tell whether all is well: more than is needed to serve. */
  checks(): readonly HealthCheck[]
  /** The effective settings; secrets are masked. */
  settings(): readonly OptionDescription[]
  /**
   * Stops in order: takes no more work, answers what it has begun (for at most `stop-timeout-ms`), syncs, and marks the data
   * directory as closed in order. `immediately` waits for nobody, and leaves the rest to the next start's recovery; it
   * also cuts short a stop that is under way. Idempotent; resolves when nothing is left.
   */
  stop(options?: { readonly immediately?: boolean }): Promise<void>
}

/**
 * Starts a broker; it serves when this resolves.
 * @throws INVALID_OPTION, ADDRESS_IN_USE, DIRECTORY_LOCKED, DIRECTORY_NOT_USABLE, DIRECTORY_FORMAT_UNKNOWN, FILE_CORRUPT
 */
export async function createBroker(
  environment: Environment,
  settings: BrokerSettings = {},
  services: BrokerServices = {},
): Promise<Broker> {
  const resolved = resolveOptions(settings)
  const broker = new RunningBroker(environment, resolved, services)
  try {
    await broker.start()
  } catch (error) {
    await broker.stop({ immediately: true })
    throw error
  }
  return broker
}

class RunningBroker implements Broker {
  readonly #environment: Environment
  readonly #resolved: ResolvedOptions
  readonly #options: BrokerOptions
  readonly #logger: Logger
  readonly #meter: SlotMeter
  readonly #disk: Disk
  /** What has been started, in order; each entry takes its own back. */
  readonly #started: { readonly what: string; stop(isImmediate: boolean): Promise<void> | void }[] = []
  #directory: LogDirectory | undefined
  #coordinator: Coordinator | undefined
  #partitions: PartitionManager | undefined
  #router: RequestRouter | undefined
  #listeners: Listeners | undefined
  #admin: AdminServer | undefined
  #phase: 'starting' | 'serving' | 'stopping' = 'starting'
  #stopping: Promise<void> | undefined
  readonly #incarnation: string
  #cluster: Cluster | undefined
  #drainMark: DrainMark | undefined
  #groups: Groups | undefined
  #isImmediate = false
  #startedAt: TimestampMs = timestampMs(0)
  #stopDeadlineMs = 0
  #onImmediate: (() => void) | undefined
  readonly #immediate = new Promise<void>((resolve) => {
    this.#onImmediate = resolve
  })

  constructor(environment: Environment, resolved: ResolvedOptions, services: BrokerServices) {
    this.#environment = environment
    this.#resolved = resolved
    this.#options = resolved.options
    this.#logger = services.logger ?? silentLogger
    this.#meter = services.meter ?? new SlotMeter()
    this.#incarnation = environment.random.uuid()
    const disk = resolved.options.dataDir === 'memory' ? new MemoryDisk(environment.clock) : environment.disk
    this.#disk = new MeteredDisk(disk, environment.clock, {
      append: this.#meter.histogram('tidemark_log_append_duration_seconds'),
      sync: this.#meter.histogram('tidemark_log_fsync_duration_seconds'),
    })
  }

  get #dataPath(): string {
    return this.#options.dataDir === 'memory' ? MEMORY_PATH : this.#options.dataDir
  }

  get brokerId(): number {
    return this.#options.brokerId
  }

  get cluster(): string {
    return this.#options.cluster
  }

  get listen(): Address {
    return must(this.#listeners?.first, 'a broker that is given out listens')
  }

  get http(): Address | undefined {
    return this.#admin === undefined ? undefined : { host: this.#admin.host, port: this.#admin.port }
  }

  get brokers(): string {
    return formatAddress(must(this.#listeners, 'a broker that is given out listens').advertised())
  }

  get requests(): Requests {
    return must(this.#router, 'a broker that is given out takes requests')
  }

  get isReady(): boolean {
    return this.readiness().every(({ isOk }) => isOk)
  }

  settings(): readonly OptionDescription[] {
    return describeOptions(this.#resolved)
  }

  readiness(): readonly HealthCheck[] {
    const directory = this.#directory
    const coordinator = this.#coordinatorHealth()
    // What it leads it goes on serving without the coordinator, unless that was not wanted.
    const isEnough = this.#phase === 'serving' && this.#options.coordinatorOutage === 'serve'
    return [
      { name: 'serving', isOk: this.#phase === 'serving', detail: this.#phase },
      { name: 'coordinator', isOk: coordinator.isOk || isEnough, detail: coordinator.detail },
      {
        name: 'data-directory',
        isOk: directory !== undefined && directory.failure === undefined,
        detail: directory === undefined ? 'being opened' : (directory.failure?.message ?? 'ok'),
      },
      // Who sends no more work here because of it would lose the reads, too.
      { name: 'disk-space', isOk: true, detail: this.#isDiskFull ? 'full: reads only' : 'ok' },
    ]
  }

  #coordinatorHealth(): CoordinatorHealth {
    return this.#coordinator?.health() ?? { isOk: false, detail: 'not started' }
  }

  get #isDiskFull(): boolean {
    return this.#directory?.space.state === 'full'
  }

  checks(): readonly HealthCheck[] {
    const coordinator = this.#coordinatorHealth()
    const states = { online: 0, 'read-only': 0, offline: this.#partitions?.unopenedCount ?? 0 }
    for (const { state } of this.#partitions?.all() ?? []) states[state] += 1
    const isFull = this.#isDiskFull
    return [
      ...this.readiness().filter(({ name }) => name !== 'disk-space' && name !== 'coordinator'),
      {
        name: 'coordinator',
        isOk: coordinator.isOk && coordinator.warning === undefined,
        detail: coordinator.isOk ? (coordinator.warning ?? coordinator.detail) : coordinator.detail,
      },
      { name: 'disk-space', isOk: !isFull, detail: isFull ? 'full: appends are refused, reads go on' : 'ok' },
      {
        name: 'partitions',
        isOk: states.offline === 0 && states['read-only'] === 0,
        detail: `${states.online} online, ${states['read-only']} read-only, ${states.offline} offline`,
      },
      ...(this.#groups === undefined ? [] : [this.#groups.check()]),
      { name: 'compaction', ...(this.#directory?.cleaner.health() ?? { isOk: true, detail: 'not started' }) },
    ]
  }

  stop(options: { readonly immediately?: boolean } = {}): Promise<void> {
    if (options.immediately === true) this.#goImmediate()
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async start(): Promise<void> {
    const startedMs = this.#environment.clock.monotonic()
    this.#startedAt = this.#environment.clock.now()
    // Records for a compacted topic are looked at before they are taken. Without its package a batch says what is missing.
    const zstd = prepareCodec('zstd').catch(() => undefined)
    await this.#startAdmin()
    const directory = await this.#openDirectory()
    await zstd
    const turnWriter = new TurnWriter(this.#environment.timers)
    const isCluster = this.#options.redis !== undefined
    if (isCluster) await adoptTopics(directory, brokerId(this.#options.brokerId))
    const coordinator = await this.#startCoordinator(directory, turnWriter)
    if (isCluster) await directory.compareStarts(coordinator.lastLifeOf(brokerId(this.#options.brokerId)))
    const { clock, timers } = this.#environment
    const delayed = new DelayedOperations({ clock, timers, countMax: this.#options.delayedOperationsMax })
    if (isCluster) this.#drainMark = new DrainMark(this.#disk, this.#dataPath)
    const cluster = isCluster ? this.#startCluster(directory, coordinator) : undefined
    const partitions = await this.#startPartitions(directory, coordinator, turnWriter)
    const groups = this.#startGroups(coordinator, partitions)
    const router = this.#makeRouter(coordinator, partitions, delayed, groups)
    await this.#startListeners(router)
    await this.#join(coordinator)
    if (cluster !== undefined)
      this.#started.push({ what: 'leaderships', stop: (isImmediate) => this.#handOver(isImmediate) })
    this.#registerGauges(directory, router)
    registerPartitionGauges(this.#meter, partitions, cluster?.replication)
    this.#phase = 'serving'
    const tookMs = Math.round(this.#environment.clock.monotonic() - startedMs)
    this.#logger.info({ listen: this.brokers, brokerId: this.brokerId, cluster: this.cluster, tookMs }, 'serving')
  }

  /** First of all, so that a long recovery can be watched. */
  async #startAdmin(): Promise<void> {
    if (this.#options.http === 'off') return
    const exposition = createExposition({ meter: this.#meter, snapshot: () => this.#snapshot() })
    const router = (): Requests => {
      if (this.#router === undefined) throw new TidemarkError('LEADER_NOT_AVAILABLE', 'the broker is starting')
      return this.#router
    }
    const context = contextOf('http')
    this.#admin = await startAdminServer({
      ...parseAddress(this.#options.http, 'http'),
      logger: this.#logger,
      sources: {
        readiness: () => this.readiness(),
        scrape: async () => {
          await this.#groups?.refresh()
          return exposition.render()
        },
        groups: () => this.#groups,
        config: () => this.settings(),
        describeTopics: (topics) => router().ask('describeTopics', { topics }, context),
        clusterInfo: () => router().ask('clusterInfo', {}, context),
      },
    })
    const admin = this.#admin
    this.#started.push({ what: 'admin port', stop: () => admin.stop() })
  }

  async #openDirectory(): Promise<LogDirectory> {
    const { clock, timers, random } = this.#environment
    const options = this.#options
    const startedMs = clock.monotonic()
    const directory = await LogDirectory.open({
      disk: this.#disk,
      path: this.#dataPath,
      clock,
      timers,
      random,
      logger: this.#logger,
      cluster: options.cluster,
      brokerId: brokerId(options.brokerId),
      topicDefaults: topicConfigDefaults(this.#resolved),
      partitionsMax: options.partitionsMax,
      reserveBytes: options.dataDir === 'memory' ? 0 : options.diskReserveBytes,
      storage: {
        openFilesMax: options.fileDescriptorsMax,
        hotTailBytes: options.hotTailBytes,
        producerExpirationMs: options.producerIdExpirationMs,
      },
      upkeep: {
        flushIntervalMs: options.flushIntervalMs,
        retentionIntervalMs: options.retentionCheckIntervalMs,
        scrubIntervalMs: options.scrubIntervalMs,
      },
      cleaner: {
        backoffMs: options.compactionIntervalMs,
        keyBytesMax: options.compactionMemoryBytes,
        bytesPerSecondMax: options.compactionBytesPerSecond === 0 ? Infinity : options.compactionBytesPerSecond,
      },
    })
    this.#directory = directory
    measureCompaction(this.#meter, directory.cleaner)
    const tookSeconds = (clock.monotonic() - startedMs) / 1000
    this.#meter.gauge('tidemark_log_recovery_seconds', {}, () => tookSeconds)
    const stop = (isImmediate: boolean): Promise<void> => (isImmediate ? directory.abandon() : directory.stop())
    this.#started.push({ what: 'data directory', stop })
    return directory
  }

  async #startCoordinator(directory: LogDirectory, turnWriter: TurnWriter): Promise<Coordinator> {
    const { clock, timers, random } = this.#environment
    const { redis, sessionTimeoutMs } = this.#options
    const coordinator = await this.#environment.coordinator({
      cluster: this.#options.cluster,
      brokerId: brokerId(this.#options.brokerId),
      incarnation: this.#incarnation,
      store: catalogueStore(directory, turnWriter),
      clock,
      timers,
      random,
      logger: this.#logger,
      meter: this.#meter,
      ...(redis === undefined ? {} : { redis: { url: redis, sessionTimeoutMs } }),
      onDisk: new ClusterFacts({
        disk: this.#disk,
        path: this.#dataPath,
        directory,
        isClustered: redis !== undefined,
      }),
    })
    this.#coordinator = coordinator
    this.#started.push({ what: 'coordinator', stop: (immediately) => coordinator.stop({ immediately }) })
    await coordinator.start()
    return coordinator
  }

  #startCluster(directory: LogDirectory, coordinator: Coordinator): Cluster {
    const cluster = new Cluster({
      brokerId: brokerId(this.#options.brokerId),
      cluster: this.#options.cluster,
      environment: this.#environment,
      directory,
      coordinator,
      withoutLease: this.#options.coordinatorOutage,
      logger: this.#logger,
      meter: this.#meter,
    })
    this.#cluster = cluster
    this.#started.push({ what: 'cluster', stop: async () => cluster.stop() })
    cluster.start()
    return cluster
  }

  /** While it still serves: so that somebody else leads before this broker is gone. */
  async #handOver(isImmediate: boolean): Promise<void> {
    if (!isImmediate) await Promise.race([this.#cluster?.handOver(), this.#immediate])
  }

  async #startPartitions(
    directory: LogDirectory,
    coordinator: Coordinator,
    turnWriter: TurnWriter,
  ): Promise<PartitionManager> {
    const partitions = new PartitionManager({
      directory,
      coordinator,
      turnWriter,
      meter: this.#meter,
      logger: this.#logger,
      topicDefaults: topicConfigDefaults(this.#resolved),
      partitionsMax: this.#options.partitionsMax,
      metricsPerTopic: this.#options.metricsPerTopic,
      ...(this.#cluster === undefined ? {} : { replication: this.#cluster.replication }),
    })
    this.#partitions = partitions
    this.#started.push({ what: 'partitions', stop: () => partitions.stop() })
    await partitions.start()
    return partitions
  }

  #startGroups(coordinator: Coordinator, partitions: PartitionManager): Groups {
    const { clock, timers, random } = this.#environment
    const isCluster = this.#cluster !== undefined
    const common = { clock, timers, random, logger: this.#logger, meter: this.#meter }
    const others = this.#cluster === undefined ? {} : { peers: this.#cluster.peers }
    const parts = { coordinator, partitions, isCluster, ...common, ...others }
    const groups = new Groups(parts, this.#options)
    this.#groups = groups
    this.#started.push({ what: 'groups', stop: () => groups.stop() })
    groups.start()
    return groups
  }

  #makeRouter(
    coordinator: Coordinator,
    partitions: PartitionManager,
    delayed: DelayedOperations,
    groups: Groups,
  ): RequestRouter {
    const { clock, random } = this.#environment
    const { cluster, fetchMaxBytes, autoCreateTopics, defaultPartitions, defaultReplicationFactor } = this.#options
    const router = new RequestRouter({
      cluster,
      brokerId: brokerId(this.#options.brokerId),
      partitions,
      coordinator,
      delayed,
      limits: { fetchMaxBytes, autoCreateTopics, defaultPartitions, defaultReplicationFactor },
      clock,
      random,
      logger: this.#logger,
      checks: () => this.checks(),
      settings: () => kafkaSettings(this.#resolved),
      groups,
      ...this.#clusterServices(),
    })
    this.#router = router
    this.#started.push({ what: 'requests', stop: (isImmediate) => this.#stopRequests(router, delayed, isImmediate) })
    return router
  }

  #clusterServices() {
    const cluster = this.#cluster
    if (cluster === undefined) return {}
    return {
      isCluster: true,
      replicas: cluster.requests,
      drain: (isDraining: boolean) => this.#drain(isDraining),
      localLeadership: (id: TopicId, partition: number) => cluster.leadershipOf(id, partition),
      peers: cluster.peers,
      peerTroubles: () => cluster.peerTroubles(),
      localReplica: (id: TopicId, partition: number) => cluster.replicaOf(id, partition),
      explain: (id: TopicId, partition: number) => cluster.explain(id, partition),
    }
  }

  async #startListeners(router: RequestRouter): Promise<void> {
    const listeners = new Listeners({
      environment: this.#environment,
      options: this.#options,
      software: BROKER_SOFTWARE,
      router,
      logger: this.#logger,
      meter: this.#meter,
    })
    this.#listeners = listeners
    this.#started.push({
      what: 'listeners',
      stop: (isImmediate) => this.#stopListeners(listeners, router, isImmediate),
    })
    await listeners.start()
  }

  /** Takes no more connections and requests, and lets what has been asked be answered. */
  async #stopListeners(listeners: Listeners, router: RequestRouter, isImmediate: boolean): Promise<void> {
    const closed = listeners.stop({ drainMs: isImmediate ? 0 : this.#stopTimeLeftMs() })
    router.stop()
    if (isImmediate) return closed
    await Promise.race([closed, this.#immediate])
    if (this.#isImmediate) await listeners.stop({ drainMs: 0 })
  }

  /** What whoever has the broker in their process has asked for is answered too. */
  async #stopRequests(router: RequestRouter, delayed: DelayedOperations, isImmediate: boolean): Promise<void> {
    router.stop()
    if (!isImmediate) {
      const timeIsUp = new AbortController()
      const time = sleep(this.#environment.timers, this.#stopTimeLeftMs(), timeIsUp.signal)
      await Promise.race([router.whenIdle(), this.#immediate, time])
      timeIsUp.abort()
      await Promise.allSettled([time])
    }
    delayed.expireAll()
    this.#cluster?.endWaits()
  }

  async #join(coordinator: Coordinator): Promise<void> {
    await coordinator.join(this.#record())
  }

  /** The mark stands whatever comes of telling it: the others hear of it as soon as they can. */
  async #drain(isDraining: boolean): Promise<void> {
    if (this.#phase !== 'serving') throw new TidemarkError('COORDINATOR_NOT_AVAILABLE', `the broker is ${this.#phase}`)
    await must(this.#drainMark, 'a broker of a cluster has a mark').set(isDraining)
    const coordinator = must(this.#coordinator, 'a broker that is asked has joined')
    const told = coordinator.brokers().find((one) => one.incarnation === this.#incarnation)
    if ((told?.isDraining === true) !== isDraining) await coordinator.announce(this.#record())
  }

  #record(): BrokerRecord {
    const directory = must(this.#directory, 'a broker joins with its directory open')
    const bootId = this.#disk.bootId()
    const { incarnation: starts } = directory.startFacts
    return {
      brokerId: brokerId(this.#options.brokerId),
      incarnation: this.#incarnation,
      ...must(this.#listeners, 'a broker joins when it listens').advertised(),
      rack: this.#options.rack,
      software: BROKER_SOFTWARE,
      startedAt: this.#startedAt,
      directoryId: directory.identity.directoryId,
      ...(starts === undefined ? {} : { starts }),
      ...(bootId === undefined ? {} : { bootId }),
      ...(this.#drainMark?.isDraining === true ? { isDraining: true } : {}),
    }
  }

  async #stop(): Promise<void> {
    this.#phase = 'stopping'
    this.#stopDeadlineMs = this.#environment.clock.monotonic() + this.#options.stopTimeoutMs
    for (let entry = this.#started.pop(); entry !== undefined; entry = this.#started.pop()) {
      const startedMs = this.#environment.clock.monotonic()
      try {
        await entry.stop(this.#isImmediate)
      } catch (error) {
        // One room that cannot stop must not keep the others from it.
        this.#logger.error({ what: entry.what, error: String(error) }, 'could not be stopped in order')
      }
      const tookMs = Math.round(this.#environment.clock.monotonic() - startedMs)
      this.#logger.info({ what: entry.what, tookMs, immediately: this.#isImmediate }, 'stopped')
    }
    // A handle that has been closed is gone when the system has said so, which it does at the end of a turn.
    for (let turn = 0; turn < TURNS_AFTER_STOP; turn += 1) {
      await new Promise<void>((resolve) => this.#environment.timers.atEndOfTurn(resolve))
    }
  }

  /** What is left of the time that requests have to be answered. */
  #stopTimeLeftMs(): number {
    return Math.max(1, Math.ceil(this.#stopDeadlineMs - this.#environment.clock.monotonic()))
  }

  #goImmediate(): void {
    this.#isImmediate = true
    this.#onImmediate?.()
  }

  #registerGauges(directory: LogDirectory, router: RequestRouter): void {
    const meter = this.#meter
    const startedAt = this.#startedAt / 1000
    meter.gauge('tidemark_build_info', { version: BROKER_SOFTWARE, node: process.version }, () => 1)
    meter.gauge('tidemark_start_time_seconds', {}, () => startedAt)
    meter.gauge('tidemark_event_loop_utilization_ratio', {}, () => this.#environment.eventLoopUtilization())
    meter.gauge('tidemark_waiting_fetches', {}, () => router.waitingFetches)
    meter.gauge('tidemark_disk_free_bytes', {}, () => directory.space.freeBytes)
    meter.gauge('tidemark_disk_read_only', {}, () => (directory.space.state === 'full' ? 1 : 0))
  }

  #snapshot(): ClusterSnapshot {
    const coordinator = this.#coordinator
    const partitions = this.#partitions
    if (coordinator === undefined || partitions === undefined) return { brokers: [], topics: [] }
    const brokers = coordinator.brokers().map((one) => ({ id: one.brokerId, address: formatAddress(one) }))
    const groups = this.#groups?.figures() ?? []
    return { brokers, topics: topicSnapshots(coordinator, partitions), groups }
  }
}

/** The catalogue is kept by the data directory, which makes and removes the logs with the definitions. */
function catalogueStore(directory: LogDirectory, turnWriter: TurnWriter): CatalogueStore {
  return {
    list: () => directory.topics.list(),
    put(topic) {
      const known = directory.topics.get(topic.topicId)
      if (known === undefined) return directory.createTopic(topic)
      // One that had lost its name to another one, in the cluster, has stayed on the disk as it was.
      return known.version < topic.version ? directory.changeTopic(topic) : Promise.resolve()
    },
    remove(id) {
      // What has been appended in this turn is still answered as it was meant.
      turnWriter.flushAll()
      return directory.deleteTopic(id)
    },
  }
}

function contextOf(remote: string): RequestContext {
  return { connectionId: 0, protocol: 'native', remote, clientId: '', software: BROKER_SOFTWARE }
}

function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
