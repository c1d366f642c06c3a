// The data directory of one broker: its lock, its identity, its topics and all their logs. Owns the order in which things
// become durable, so that after a crash at any point a topic exists wholly or not at all, a deleted one stays deleted and
// no log is recovered that was closed in order. Knows nothing of leaders, replicas and requests.
//
// A topic is made of its partitions' directories first and its definition last: the definition is what makes it exist. It
// is unmade the other way round: the tombstone first, then the directories. Between the two, directories that no topic
// claims are sorted out at the next start. The definition of every topic is kept here, also of one that this broker has no
// replica of. Logs are made of the partitions that the definition gives to it; none is taken away by a definition: a log that
// is there is hosted until it is released. Counts are of those that are hosted.

import { assert, must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, Offset, PartitionId, TopicId } from '../../shared/ids.ts'
import { offset } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timers } from '../../shared/time.ts'
import type { DirectoryIdentity } from './directory-identity.ts'
import { claimDirectory, renewDirectoryId } from './directory-identity.ts'
import type { DirectoryStart } from './directory-start.ts'
import { examineStart } from './directory-start.ts'
import type { DirectoryLock, Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { DiskSpace, isLackOfSpace } from './disk-space.ts'
import { syncNames } from './failed-sync.ts'
import { HighWatermarks } from './high-watermarks.ts'
import { HostedLogs } from './hosted-logs.ts'
import { hostedPartitions, isHosted, isNewReplica } from './hosted-partitions.ts'
import type { ConfigEntries, LogConfig } from './log-config.ts'
import { parseTopicConfig } from './log-config.ts'
import type { UpkeepOptions } from './log-upkeep.ts'
import { eachAtOnce, LogUpkeep } from './log-upkeep.ts'
import type { CleanerOptions } from './log-cleaner.ts'
import { LogCleaner } from './log-cleaner.ts'
import { LogScrubber } from './log-scrubber.ts'
import { loggedEvents } from './logged-events.ts'
import type { Claim, PartitionName } from './partition-directories.ts'
import { parsePartitionDirectoryName, PartitionDirectories, partitionDirectoryName } from './partition-directories.ts'
import type { LogCheckpoint, TruncateResult } from './log-description.ts'
import { createLog, openLog } from './log-opening.ts'
import type { PartitionLog } from './partition-log.ts'
import type { PromiseJournal } from './promise-journal.ts'
import { recoverLog } from './recovery.ts'
import type { RecoveryPoints } from './recovery-points.ts'
import { logStartOf, pointOf, removeCleanMark, writeCleanMark } from './recovery-points.ts'
import type { StartFacts } from './start-facts.ts'
import type { StorageContext, StorageContextOptions } from './storage-context.ts'
import { createStorageContext } from './storage-context.ts'
import type { TopicDefinition } from './topic-store.ts'
import { TopicStore } from './topic-store.ts'
import { describingFailures, makeAnew, makeNameDurable } from './usable-directory.ts'
import type { VotersRecord } from './voters-history.ts'

const PARTITIONS_MAX_DEFAULT = 10_000
/** Logs opened or made in one turn of the event loop. */
const LOGS_PER_TURN = 64
/** Logs synced and closed at once: at a stop nobody else needs the threads. */
const CLOSED_AT_ONCE = 16

export interface LogDirectoryOptions {
  readonly disk: Disk
  readonly path: string
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly cluster: string
  readonly brokerId: BrokerId
  /** The broker's settings for topics that have none of their own. */
  readonly topicDefaults?: ConfigEntries
  /** Logs of all topics together, at most. What a cluster has assigned to this broker is made all the same. */
  readonly partitionsMax?: number
  readonly storage?: StorageContextOptions
  readonly upkeep?: UpkeepOptions
  readonly cleaner?: CleanerOptions
  readonly reserveBytes?: number | undefined
}

/** What others remember of a start of a data directory. */
export interface SeenStart {
  readonly directoryId?: string
  readonly starts?: number
}

interface FoundLog {
  /** Of its directory. */
  readonly name: string
  readonly partition: number
  readonly exists: boolean
  readonly definition: TopicDefinition
  /** How it was closed; undefined if it was not closed in order. */
  readonly clean: LogCheckpoint | undefined
  readonly points: RecoveryPoints
}

export class LogDirectory {
  #identity: DirectoryIdentity
  /** The topics of this directory; changed only through the methods here. */
  readonly topics: TopicStore
  readonly space: DiskSpace
  readonly context: StorageContext
  /** How far replicated partitions were known to be committed; written with the recovery points. */
  readonly highWatermarks: HighWatermarks
  /** What compacts the logs. */
  readonly cleaner: LogCleaner
  /** By the name of its directory: how far the slowest of those has come who copy the log; undefined where nobody does. */
  readAlongEnd: ((name: string) => Offset | undefined) | undefined
  #start: DirectoryStart | undefined
  readonly #options: LogDirectoryOptions
  readonly #directories: PartitionDirectories
  readonly #upkeep: LogUpkeep
  readonly #scrubber: LogScrubber
  readonly #lock: DirectoryLock
  readonly #logs = new HostedLogs()
  /** The names of directories whose logs count for nothing yet. */
  readonly #newcomers = new Set<string>()
  /** The last change of a topic; they go one behind the other. */
  #lastChange: Promise<void> = Promise.resolve()
  #failure: TidemarkError | undefined
  #stopping: Promise<void> | undefined

  get path(): string {
    return this.#options.path
  }

  /**
   * Takes the directory, making it if there is none, and opens all its logs; after anything but a clean stop each is
   * recovered first. A log that cannot be opened is offline (see failureOf) and keeps none of the others from opening.
   * @throws DIRECTORY_LOCKED, DIRECTORY_NOT_USABLE, DIRECTORY_FORMAT_UNKNOWN, FILE_CORRUPT
   */
  static async open(options: LogDirectoryOptions): Promise<LogDirectory> {
    const { disk, path } = options
    return describingFailures(path, async () => {
      disk.makeDirectory(path)
      const lock = disk.lock(path)
      try {
        if (disk.stat(`${path}/identity`) === undefined) await makeNameDurable(disk, path)
        const identity = await claimDirectory(disk, path, options, options)
        await makeAnew(disk, path)
        const topics = TopicStore.open(disk, `${path}/topics`, options.clock)
        const directories = new PartitionDirectories(disk, path, options.logger)
        // The process before may have been killed between a rename and its sync: what is seen is made durable before
        // anything is built on it.
        await syncNames(disk, `${path}/topics`)
        await syncNames(disk, path)
        const directory = new LogDirectory(options, lock, identity, topics, directories)
        await directory.#openLogs()
        return directory
      } catch (error) {
        lock.release()
        throw error
      }
    })
  }

  private constructor(
    options: LogDirectoryOptions,
    lock: DirectoryLock,
    identity: DirectoryIdentity,
    topics: TopicStore,
    directories: PartitionDirectories,
  ) {
    const { disk, path, timers, logger } = options
    this.#options = options
    this.#lock = lock
    this.#identity = identity
    this.topics = topics
    this.#directories = directories
    this.highWatermarks = new HighWatermarks(disk, `${path}/high-watermarks`, logger)
    const events = loggedEvents(logger, options.storage?.events)
    this.context = createStorageContext(disk, { ...options.storage, events })
    this.space = new DiskSpace({ disk, path, timers, logger, reserveBytes: options.reserveBytes })
    const parts = {
      ...options,
      directories,
      topics,
      logs: () => this.#logs.named(),
      committedEnd: (name: string) => this.#committedEnd(name),
      readAlongEnd: (name: string) => this.readAlongEnd?.(name),
      offline: () => this.#logs.offlineNames(),
      highWatermarks: this.highWatermarks,
      promiseMark: () => this.#start?.promises.mark,
    }
    this.#upkeep = new LogUpkeep(parts, options.upkeep)
    this.cleaner = new LogCleaner({ ...parts, savePoints: () => this.#upkeep.writePoints() }, options.cleaner)
    this.#scrubber = new LogScrubber({ ...options, logs: () => this.logs() }, options.upkeep?.scrubIntervalMs)
  }

  /**
   * The log of the partition; undefined if there is no such partition, if this broker does not host it, or if its log is
   * offline (see failureOf).
   */
  log(id: TopicId, partition: number): PartitionLog | undefined {
    return this.#logs.log(id, partition)
  }

  /** All logs that are open. */
  logs(): IterableIterator<PartitionLog> {
    return this.#logs.logs()
  }

  /** Why the partition has no log although this broker hosts it. */
  failureOf(id: TopicId, partition: number): TidemarkError | undefined {
    return this.#logs.failureOf(id, partition)
  }

  /**
   * Whether this broker has the log of the partition, be it open or offline: because the definition says so, or because it
   * has had it and nobody has released it.
   */
  hosts(id: TopicId, partition: number): boolean {
    return this.#logs.hosts(id, partition)
  }

  /** The partitions that this broker hosts, those that are offline too. */
  get partitionCount(): number {
    return this.#logs.count
  }

  /**
   * Whether the log was made to become a replica's, or for want of one that was there, and no leader has found it complete
   * since (clearNewcomer): it may lack what this broker has acknowledged on this very disk before.
   */
  isNewcomer(id: TopicId, partition: number): boolean {
    return this.#newcomers.has(partitionDirectoryName(id, partition))
  }

  /**
   * The log has been found complete, and is synced by this. That it is no newcomer is remembered when it resolves; until
   * then a power loss may make it one again. @throws STORAGE_ERROR, DISK_FULL, DISK_FAILED
   */
  clearNewcomer(id: TopicId, partition: number): Promise<void> {
    const name = partitionDirectoryName(id, partition)
    const log = this.log(id, partition)
    if (log === undefined || !this.#newcomers.delete(name)) return Promise.resolve()
    return this.#describing(async () => {
      this.#directories.clearNewcomer(name)
      log.noteNamesChanged()
      await log.sync()
    })
  }

  /** What this start has found out about the life before. */
  get startFacts(): StartFacts {
    const { facts } = must(this.#start, 'the directory is open')
    return { ...facts, directoryId: this.#identity.directoryId }
  }

  get identity(): DirectoryIdentity {
    return this.#identity
  }

  /**
   * To be told, before any replica takes part, which start of this directory others have seen last. If it has a count that
   * this one has not passed, the disk has been put back to an older state: the directory takes another id, so that its
   * replicas count for nothing until they are moved here. Answers whether it was so. @throws DISK_FULL, DISK_FAILED
   */
  async compareStarts(seen: SeenStart | undefined): Promise<boolean> {
    const { directoryId, incarnation } = this.startFacts
    if (seen?.directoryId !== directoryId || seen.starts === undefined) return false
    if (incarnation === undefined || seen.starts < incarnation) return false
    const { disk, path, random, logger } = this.#options
    await this.#describing(async () => {
      this.#identity = await renewDirectoryId(disk, path, this.#identity, random)
    })
    const { directoryId: renewed } = this.#identity
    logger.error(
      { path, starts: incarnation, seen: seen.starts, directoryId, renewed },
      'the data directory is older than what the cluster remembers of it, as after a restored snapshot: it has another id now, and its replicas count for nothing until they are moved here',
    )
    return true
  }

  /** What the replicas of this directory have promised to leaders. */
  get promises(): PromiseJournal {
    return must(this.#start, 'the directory is open').promises
  }

  /**
   * Whether records of this replica may be missing, as long as no leader has found it complete (PromiseJournal.trust). With
   * durability fsync it was never counted for more than what a power loss leaves.
   */
  isSuspect(id: TopicId, partition: number): boolean {
    const { suspectSince, failedSince } = this.startFacts
    const isSynced = this.log(id, partition)?.config.durability === 'fsync'
    return (isSynced ? failedSince : suspectSince) > this.promises.trustedIn(id, partition)
  }

  /** Set by markFailed. */
  get failure(): TidemarkError | undefined {
    return this.#failure
  }

  /**
   * Makes a topic with its logs; durable when it resolves, and only then are the logs there.
   * @throws TOPIC_ALREADY_EXISTS, INVALID_CONFIG, INVALID_PARTITIONS, TOO_MANY_PARTITIONS, DISK_FULL, DISK_FAILED
   */
  createTopic(definition: TopicDefinition): Promise<void> {
    return this.#change(async () => {
      if (this.topics.byName(definition.name) !== undefined) {
        throw new TidemarkError('TOPIC_ALREADY_EXISTS', `topic ${definition.name} exists already`)
      }
      assert(!this.#logs.has(definition.topicId), 'a new topic has a new id')
      await this.#grow(definition)
    })
  }

  /**
   * Changes a topic's settings and replicas, and adds partitions if the definition has more than there are; durable when it
   * resolves. Logs are made of what it gives to this broker; what it gives to others stays until it is released.
   * @throws as createTopic, and UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT
   */
  changeTopic(definition: TopicDefinition): Promise<void> {
    return this.#change(async () => {
      if (!this.#logs.has(definition.topicId)) {
        throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${definition.name} to change`)
      }
      await this.#grow(definition)
    })
  }

  /**
   * Deletes a topic with its logs, for good when it resolves. It is out of use from the call on; the space comes back
   * later. Not being there is no failure.
   */
  deleteTopic(id: TopicId): Promise<void> {
    const closed = this.#logs.removeTopic(id)
    return this.#change(async () => {
      // Once more: a change that was under way has shown what it made.
      const hosted = new Set([...closed, ...this.#logs.removeTopic(id)])
      await this.topics.remove(id)
      await this.promises.forget(id).catch((error: unknown) => {
        // They go at the next start.
        if (!isStorageFailure(error)) throw error
        this.#options.logger.warn({ topicId: id, error: error.message }, 'the promises of a deleted topic are kept')
      })
      for (const partition of hosted) {
        this.highWatermarks.forget(id, partition)
        const name = partitionDirectoryName(id, partition)
        this.#newcomers.delete(name)
        if (this.#directories.exists(name)) this.#directories.markDeleted(name)
      }
      this.#upkeep.removeDeleted()
    })
  }

  /**
   * Gives up the log of a partition that the definition gives to others; for good when it resolves. It is out of use
   * before anything else; the space comes back later. What was promised to its leaders stays. Not being there is no failure.
   * @throws INVALID_REPLICA_ASSIGNMENT when the definition gives it to this broker
   */
  releaseLog(id: TopicId, partition: PartitionId): Promise<void> {
    return this.#change(async () => {
      const definition = this.topics.get(id)
      if (definition === undefined || !this.hosts(id, partition)) return
      if (isHosted(definition, partition, this.#options.brokerId)) {
        const text = `partition ${partition} of topic ${definition.name} is this broker's, or is to be`
        throw new TidemarkError('INVALID_REPLICA_ASSIGNMENT', text)
      }
      const name = partitionDirectoryName(id, partition)
      this.#logs.remove(id, partition)
      this.#newcomers.delete(name)
      this.highWatermarks.forget(id, partition)
      // A log that is made under this name later has nothing to do with what was synced of this one.
      await this.#upkeep.writePoints()
      if (this.#directories.exists(name)) this.#directories.markDeleted(name)
      await this.#directories.sync()
      this.#options.logger.info({ topic: definition.name, partition }, 'a log was given up')
      this.#upkeep.removeDeleted()
    })
  }

  /** To be told of every append, in bytes: enough of them make a sync, or a look at the free space, before its time. */
  noteAppended(bytes: number): void {
    this.space.noteAppended(bytes)
    this.#upkeep.noteAppended(bytes)
  }

  /** Syncs what is not synced and writes the recovery points. Resolves when that is done; failures concern single logs. */
  flush(): Promise<void> {
    return this.#upkeep.flush()
  }

  /** Takes away what is past its time, in all logs. */
  applyRetention(): Promise<void> {
    return this.#upkeep.applyRetention()
  }

  /**
   * Cuts a log back, as PartitionLog.truncateTo: its recovery point is lowered first, durably, so that after a crash the
   * missing records are not taken for lost ones.
   */
  async truncateLog(
    id: TopicId,
    partition: PartitionId,
    endOffset: Offset,
    highWatermark?: Offset,
  ): Promise<TruncateResult> {
    const save = (): Promise<void> => this.#upkeep.writePoints()
    return this.#logOf(id, partition).truncateTo(endOffset, this.#options.clock.now(), save, highWatermark)
  }

  /** Gives up a log's records and has it go on at the offset, as PartitionLog.skipTo. */
  async skipLog(id: TopicId, partition: PartitionId, to: Offset, inForce?: VotersRecord): Promise<void> {
    await this.#logOf(id, partition).skipTo(to, () => this.#upkeep.writePoints(), inForce)
  }

  /** The directory is not to be trusted any more: the next start recovers it, however this one ends. */
  markFailed(error: TidemarkError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#options.logger.error({ path: this.#options.path, error: error.message }, 'the data directory has failed')
  }

  /** Syncs and closes everything and lets go of the directory. Idempotent; resolves when nothing runs any more. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /** Lets go of the directory at once: nothing is synced or marked, and the next start recovers. Idempotent. */
  abandon(): Promise<void> {
    this.#stopping ??= this.#abandon()
    return this.#stopping
  }

  async #abandon(): Promise<void> {
    this.space.stop()
    await Promise.all([this.#scrubber.stop(), this.cleaner.stop()])
    await this.#upkeep.stop()
    for (const log of this.logs()) log.close()
    await this.promises.close()
    this.context.files.closeIdle()
    this.#lock.release()
  }

  async #stop(): Promise<void> {
    const { disk, path, logger } = this.#options
    await this.#lastChange
    this.space.stop()
    await Promise.all([this.#scrubber.stop(), this.cleaner.stop()])
    await this.#upkeep.stop()
    try {
      const closed = await this.#closeLogs()
      await this.promises.close()
      await this.#upkeep.writePoints()
      if (this.#failure === undefined) {
        const { directoryId, incarnation } = this.startFacts
        await writeCleanMark(disk, `${path}/clean-shutdown`, directoryId, { incarnation, closed })
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      logger.error({ path, error: error.message }, 'the stop is no clean one; the next start checks all logs')
    } finally {
      this.context.files.closeIdle()
      this.#lock.release()
    }
  }

  /** Answers what is to be known of those that could be closed in order. */
  async #closeLogs(): Promise<Map<string, LogCheckpoint>> {
    const { clock, logger } = this.#options
    const closed = new Map<string, LogCheckpoint>()
    await eachAtOnce([...this.#logs.named()], CLOSED_AT_ONCE, async ([name, log]) => {
      try {
        const checkpoint = await log.closeClean(clock.now())
        if (checkpoint !== undefined) closed.set(name, checkpoint)
      } catch (error) {
        if (!isStorageFailure(error)) throw error
        logger.error({ log: log.directory, error: error.message }, 'a log could not be closed in order')
        log.close()
      }
    })
    return closed
  }

  async #openLogs(): Promise<void> {
    const { disk, path, clock, logger } = this.#options
    const claimed = await this.#directories.sortOut(
      (name) => this.#claimOf(name),
      (id) => this.topics.remove(id),
      clock.now(),
    )
    const { directoryId, formerIds } = this.identity
    const parts = { ...this.#options, directoryId, formerIds, topics: this.topics, directories: this.#directories }
    const start = await examineStart(parts, claimed)
    this.#start = start
    const { closed, points } = start
    const startedMs = clock.monotonic()
    let opened = 0
    const found = partitionsByTopic(claimed)
    for (const definition of this.topics.list()) {
      const { topicId } = definition
      this.#logs.addTopic(topicId)
      const hosted = new Set([...this.#hostedOf(definition), ...(found.get(topicId) ?? [])])
      for (const partition of hosted) {
        const name = partitionDirectoryName(topicId, partition)
        const clean = closed.get(name)
        await this.#openLog({ name, partition, definition, clean, points, exists: claimed.has(name) })
        if (++opened % LOGS_PER_TURN === 0) await this.#nextTurn()
      }
    }
    if (this.#newcomers.size > 0) await this.#directories.sync()
    const tookMs = Math.round(clock.monotonic() - startedMs)
    logger.info(
      { path, logs: opened, closedInOrder: closed.size, offline: this.#logs.offlineCount, tookMs },
      'the logs are open',
    )
    // From here on logs may change, so from here on the mark would be a lie.
    await removeCleanMark(disk, `${path}/clean-shutdown`)
    await this.#upkeep.start(points)
    this.#scrubber.start()
    this.cleaner.start()
  }

  async #openLog(found: FoundLog): Promise<void> {
    const { name, partition, definition, exists } = found
    const directory = this.#directories.pathOf(name)
    try {
      const config = parseTopicConfig(definition.config, this.#options.topicDefaults)
      const isNew = !exists && (await this.#makeAnew(found))
      if (!exists && !isNew)
        throw new TidemarkError('FILE_CORRUPT', `${directory} of topic ${definition.name} is missing`)
      if (this.#directories.isNewcomer(name)) this.#newcomers.add(name)
      const log = isNew
        ? createLog(this.context, directory, config)
        : (this.#openClean(found, config) ?? (await this.#recover(found, config)))
      this.#logs.add(definition.topicId, partition, log)
    } catch (error) {
      if (!isStorageFailure(error)) throw error
      const failure =
        error instanceof TidemarkError ? error : new TidemarkError('DISK_FAILED', error.message, { cause: error })
      this.#logs.addFailed(definition.topicId, partition, failure)
      this.#options.logger.error({ directory, topic: definition.name, error: error.message }, 'a log is offline')
    }
  }

  /** Where others have replicas a log that is missing can be copied from them. Answers whether its directory is there now. */
  async #makeAnew({ name, partition, definition }: FoundLog): Promise<boolean> {
    const { brokerId, logger } = this.#options
    const replicas = definition.assignment?.[partition] ?? []
    if (replicas.every((replica) => replica === brokerId)) return false
    await this.#directories.makeNewcomer(name)
    logger.error({ directory: name, topic: definition.name }, 'a log is missing; it is made anew, from other replicas')
    return true
  }

  /** undefined if it was not closed in order, or is no longer as it was then: it must be recovered. */
  #openClean({ name, clean }: FoundLog, config: LogConfig): PartitionLog | undefined {
    if (clean === undefined) return undefined
    try {
      return openLog(this.context, this.#directories.pathOf(name), config, clean)
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
      this.#options.logger.warn({ log: name, error: error.message }, 'a log has changed since the last clean stop')
      return undefined
    }
  }

  async #recover({ name, clean: closed, points: noted }: FoundLog, config: LogConfig): Promise<PartitionLog> {
    // What was noted may be of another log of this name, which is there no more.
    const isOther = this.#directories.isNewcomer(name) && this.#directories.holdsNothing(name)
    const clean = isOther ? undefined : closed
    const points = isOther ? { ...noted, points: new Map(), logStarts: undefined } : noted
    const bootId = this.#options.disk.bootId()
    const { log, report } = await recoverLog({
      context: this.context,
      directory: this.#directories.pathOf(name),
      config,
      recoveryPoint: pointOf(points, name),
      logStartOffset: clean?.logStartOffset ?? logStartOf(points, name),
      wasClosed: clean !== undefined,
      kernelLived: bootId !== undefined && bootId === points.bootId,
      now: this.#options.clock.now(),
    })
    this.#options.logger.debug({ log: name, ...report }, 'recovered a log')
    return log
  }

  #claimOf({ topicId, partition }: PartitionName): Claim {
    const definition = this.topics.get(topicId)
    if (definition !== undefined && partition < definition.partitions) {
      return isHosted(definition, partition, this.#options.brokerId) ? 'claimed' : 'former'
    }
    return this.topics.isDeleted(topicId) ? 'deleted' : 'unknown'
  }

  /** Makes the logs that the definition has beyond the present ones, then the definition, then shows both. */
  async #grow(definition: TopicDefinition): Promise<void> {
    const { topicId } = definition
    const config = parseTopicConfig(definition.config, this.#options.topicDefaults)
    const before = this.topics.get(topicId)
    const added = this.#hostedOf(definition).filter((partition) => !this.hosts(topicId, partition))
    const newcomers = added.filter((partition) => isNewReplica(before, definition, partition, this.#options.brokerId))
    this.#checkRoom(definition, added.length)
    const logs = new Map<number, PartitionLog>()
    const { failedSyncs } = this.#directories
    let hasLeft = false
    try {
      for (const partition of added) {
        const name = partitionDirectoryName(topicId, partition)
        // Left over from an attempt that failed: it holds nothing, for nobody could append to it.
        this.#directories.remove(name)
        if (newcomers.includes(partition)) await this.#directories.makeNewcomer(name)
        logs.set(partition, createLog(this.context, this.#directories.pathOf(name), config))
        if (logs.size % LOGS_PER_TURN === 0) await this.#nextTurn()
      }
      // What such an attempt has left of partitions that are others' now would be taken for logs that were given to them.
      for (let partition = before?.partitions ?? Infinity; partition < definition.partitions; partition += 1) {
        const isOthers = !added.includes(partition)
        if (isOthers && this.#directories.remove(partitionDirectoryName(topicId, partition))) hasLeft = true
      }
      if (added.length > 0 || hasLeft) await this.#directories.sync(failedSyncs)
      // From here on the definition may be durable, whatever it answers: the directories stay.
      await this.topics.put(definition)
    } catch (error) {
      for (const log of logs.values()) log.close()
      throw error
    }
    await this.#trust(
      topicId,
      added.filter((partition) => !newcomers.includes(partition)),
    )
    for (const log of this.#logs.logsOf(topicId)) log.config = config
    this.#logs.addTopic(topicId)
    for (const partition of newcomers) this.#newcomers.add(partitionDirectoryName(topicId, partition))
    for (const [partition, log] of logs) this.#logs.add(topicId, partition, log)
  }

  /** Where a cluster assigns the partitions, it has decided already; who refused would fall behind the others. */
  #checkRoom({ name, assignment }: TopicDefinition, added: number): void {
    const partitionsMax = this.#options.partitionsMax ?? PARTITIONS_MAX_DEFAULT
    const count = this.partitionCount + added
    if (added === 0 || count <= partitionsMax) return
    const text = `topic ${name} would make it ${count} partitions; ${partitionsMax} are allowed`
    if (assignment === undefined) throw new TidemarkError('TOO_MANY_PARTITIONS', text)
    this.#options.logger.warn({ topic: name, count, partitionsMax }, 'more partitions are assigned than are allowed')
  }

  #hostedOf(definition: TopicDefinition): number[] {
    return hostedPartitions(definition, this.#options.brokerId)
  }

  /** Replicas that are made in this life miss nothing that was written in another one. */
  async #trust(topicId: TopicId, partitions: readonly number[]): Promise<void> {
    const { suspectSince, incarnation } = this.startFacts
    if (suspectSince === 0 || incarnation === undefined || partitions.length === 0) return
    const replicas = partitions.map((partition) => ({ topicId, partition }))
    await this.promises.trust(replicas, incarnation).catch((error: unknown) => {
      if (!isStorageFailure(error)) throw error
      this.#options.logger.warn(
        { topicId, error: error.message },
        'new replicas are suspect until their leader trusts them',
      )
    })
  }

  #change(work: () => Promise<void>): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(new TidemarkError('SHUTTING_DOWN'))
    const done = this.#lastChange.then(() => this.#describing(work))
    this.#lastChange = done.catch(() => undefined)
    return done
  }

  async #describing(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      this.space.onAppendFailure(error)
      throw new TidemarkError(isLackOfSpace(error) ? 'DISK_FULL' : 'DISK_FAILED', error.message, { cause: error })
    }
  }

  #logOf(id: TopicId, partition: PartitionId): PartitionLog {
    const log = this.log(id, partition)
    if (log === undefined) throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `no log of partition ${partition}`)
    return log
  }

  /** A replica that knows of nothing that is committed may let nothing go. */
  #committedEnd(name: string): Offset | undefined {
    const parsed = parsePartitionDirectoryName(name)
    if (parsed === undefined || this.topics.get(parsed.topicId)?.assignment === undefined) return undefined
    return this.highWatermarks.get(parsed.topicId, parsed.partition) ?? offset(0)
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#options.timers.atEndOfTurn(resolve))
  }
}

/** By topic: the partitions whose directories have these names. */
function partitionsByTopic(names: Iterable<string>): ReadonlyMap<TopicId, number[]> {
  const found = new Map<TopicId, number[]>()
  for (const name of names) {
    const parsed = parsePartitionDirectoryName(name)
    if (parsed === undefined) continue
    const partitions = found.get(parsed.topicId) ?? []
    partitions.push(parsed.partition)
    found.set(parsed.topicId, partitions)
  }
  return found
}

function isStorageFailure(error: unknown): error is DiskError | TidemarkError {
  return error instanceof DiskError || error instanceof TidemarkError
}
