// The data directory of one broker: its lock, its identity, its topics and all their logs. Owns the order in which things
// become durable, so that after a crash at any point a topic exists wholly or not at all, a deleted one stays deleted and
// no log is recovered that was closed in order. Knows nothing of leaders, replicas and requests.
//
// A topic is made of its partitions' directories first and its definition last: the definition is what makes it exist. It
// is unmade the other way round: the tombstone first, then the directories. Between the two, directories that no topic
// claims are sorted out at the next start. The definition of every topic is kept here, also of one that this broker has no
// replica of; logs are made of the partitions that are assigned to it, and counts are of those.

import { assert, must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, Offset, PartitionId, TopicId } from '../../shared/ids.ts'
import { offset } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timers } from '../../shared/time.ts'
import { parentOf, TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import type { DirectoryIdentity } from './directory-identity.ts'
import { claimDirectory } from './directory-identity.ts'
import type { DirectoryStart } from './directory-start.ts'
import { examineStart } from './directory-start.ts'
import type { DirectoryLock, Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { DiskSpace, isLackOfSpace } from './disk-space.ts'
import { hasFailedSync, noteFailedSync, syncNames } from './failed-sync.ts'
import { SYNC_FAILED_FILE } from './file-names.ts'
import { HighWatermarks } from './high-watermarks.ts'
import { hostedPartitions, isHosted } from './hosted-partitions.ts'
import type { ConfigEntries, LogConfig } from './log-config.ts'
import { parseTopicConfig } from './log-config.ts'
import type { UpkeepOptions } from './log-upkeep.ts'
import { eachAtOnce, LogUpkeep } from './log-upkeep.ts'
import { LogScrubber } from './log-scrubber.ts'
import { loggedEvents } from './logged-events.ts'
import type { PartitionName } from './partition-directories.ts'
import { parsePartitionDirectoryName, PartitionDirectories, partitionDirectoryName } from './partition-directories.ts'
import { makeFilesAnew } from './made-anew.ts'
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
  readonly reserveBytes?: number | undefined
}

interface FoundLog {
  /** Of its directory. */
  readonly name: string
  readonly exists: boolean
  readonly definition: TopicDefinition
  /** How it was closed; undefined if it was not closed in order. */
  readonly clean: LogCheckpoint | undefined
  readonly points: RecoveryPoints
}

export class LogDirectory {
  readonly identity: DirectoryIdentity
  /** The topics of this directory; changed only through the methods here. */
  readonly topics: TopicStore
  readonly space: DiskSpace
  readonly context: StorageContext
  /** How far replicated partitions were known to be committed; written with the recovery points. */
  readonly highWatermarks: HighWatermarks
  #start: DirectoryStart | undefined
  readonly #options: LogDirectoryOptions
  readonly #directories: PartitionDirectories
  readonly #upkeep: LogUpkeep
  readonly #scrubber: LogScrubber
  readonly #lock: DirectoryLock
  /** By partition; a hole where the log is offline, or another broker's. */
  readonly #logs = new Map<TopicId, (PartitionLog | undefined)[]>()
  /** Why a partition has no log, by the name of its directory. */
  readonly #failures = new Map<string, TidemarkError>()
  #partitionCount = 0
  /** The last change of a topic; they go one behind the other. */
  #lastChange: Promise<void> = Promise.resolve()
  #failure: TidemarkError | undefined
  #stopping: Promise<void> | undefined

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
    this.identity = identity
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
      logs: () => this.#namedLogs(),
      committedEnd: (name: string) => this.#committedEnd(name),
      offline: () => this.#failures.keys(),
      highWatermarks: this.highWatermarks,
      promiseMark: () => this.#start?.promises.mark,
    }
    this.#upkeep = new LogUpkeep(parts, options.upkeep)
    this.#scrubber = new LogScrubber({ ...options, logs: () => this.logs() }, options.upkeep?.scrubIntervalMs)
  }

  /**
   * The log of the partition; undefined if there is no such partition, if it is not assigned to this broker, or if its
   * log is offline (see failureOf).
   */
  log(id: TopicId, partition: number): PartitionLog | undefined {
    return this.#logs.get(id)?.[partition]
  }

  /** All logs that are open. */
  *logs(): IterableIterator<PartitionLog> {
    for (const logs of this.#logs.values()) for (const log of logs) if (log !== undefined) yield log
  }

  /** Why the partition has no log although it is assigned to this broker. */
  failureOf(id: TopicId, partition: number): TidemarkError | undefined {
    return this.#failures.get(partitionDirectoryName(id, partition))
  }

  /** The partitions that are assigned to this broker, those that are offline too. */
  get partitionCount(): number {
    return this.#partitionCount
  }

  /** What this start has found out about the life before. */
  get startFacts(): StartFacts {
    return must(this.#start, 'the directory is open').facts
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
      await this.#grow(definition, [])
    })
  }

  /**
   * Changes a topic's settings, and adds partitions if the definition has more than there are; durable when it resolves.
   * @throws as createTopic, and UNKNOWN_TOPIC_OR_PARTITION
   */
  changeTopic(definition: TopicDefinition): Promise<void> {
    return this.#change(async () => {
      const logs = this.#logs.get(definition.topicId)
      if (logs === undefined) {
        throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${definition.name} to change`)
      }
      await this.#grow(definition, logs)
    })
  }

  /**
   * Deletes a topic with its logs, for good when it resolves. It is out of use from the call on; the space comes back
   * later. Not being there is no failure.
   */
  deleteTopic(id: TopicId): Promise<void> {
    this.#closeAll(id)
    return this.#change(async () => {
      const definition = this.topics.get(id)
      const hosted = definition === undefined ? [] : this.#hostedOf(definition)
      // Once more: a change that was under way has shown what it made.
      this.#closeAll(id)
      this.#partitionCount -= hosted.length
      await this.topics.remove(id)
      await this.promises.forget(id).catch((error: unknown) => {
        // They go at the next start.
        if (!isStorageFailure(error)) throw error
        this.#options.logger.warn({ topicId: id, error: error.message }, 'the promises of a deleted topic are kept')
      })
      for (const partition of hosted) {
        this.highWatermarks.forget(id, partition)
        const name = partitionDirectoryName(id, partition)
        this.#failures.delete(name)
        if (this.#directories.exists(name)) this.#directories.markDeleted(name)
      }
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
    await this.#scrubber.stop()
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
    await this.#scrubber.stop()
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
    await eachAtOnce([...this.#namedLogs()], CLOSED_AT_ONCE, async ([name, log]) => {
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
    const { directoryId } = this.identity
    const parts = { ...this.#options, directoryId, topics: this.topics, directories: this.#directories }
    const start = await examineStart(parts, claimed)
    this.#start = start
    const { closed, points } = start
    const startedMs = clock.monotonic()
    let opened = 0
    for (const definition of this.topics.list()) {
      const logs: (PartitionLog | undefined)[] = []
      const hosted = this.#hostedOf(definition)
      for (const partition of hosted) {
        const name = partitionDirectoryName(definition.topicId, partition)
        const clean = closed.get(name)
        logs[partition] = await this.#openLog({ name, definition, clean, points, exists: claimed.has(name) })
        if (++opened % LOGS_PER_TURN === 0) await this.#nextTurn()
      }
      this.#logs.set(definition.topicId, logs)
      this.#partitionCount += hosted.length
    }
    const tookMs = Math.round(clock.monotonic() - startedMs)
    logger.info(
      { path, logs: opened, closedInOrder: closed.size, offline: this.#failures.size, tookMs },
      'the logs are open',
    )
    // From here on logs may change, so from here on the mark would be a lie.
    await removeCleanMark(disk, `${path}/clean-shutdown`)
    await this.#upkeep.start(points)
    this.#scrubber.start()
  }

  async #openLog(found: FoundLog): Promise<PartitionLog | undefined> {
    const { name, definition } = found
    const directory = this.#directories.pathOf(name)
    try {
      if (!found.exists) throw new TidemarkError('FILE_CORRUPT', `${directory} of topic ${definition.name} is missing`)
      const config = parseTopicConfig(definition.config, this.#options.topicDefaults)
      return this.#openClean(found, config) ?? (await this.#recover(found, config))
    } catch (error) {
      if (!isStorageFailure(error)) throw error
      const failure =
        error instanceof TidemarkError ? error : new TidemarkError('DISK_FAILED', error.message, { cause: error })
      this.#failures.set(name, failure)
      this.#options.logger.error({ directory, topic: definition.name, error: error.message }, 'a log is offline')
      return undefined
    }
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

  async #recover({ name, clean, points }: FoundLog, config: LogConfig): Promise<PartitionLog> {
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

  #claimOf({ topicId, partition }: PartitionName): 'claimed' | 'deleted' | 'unknown' {
    const definition = this.topics.get(topicId)
    if (definition !== undefined) return isHosted(definition, partition, this.#options.brokerId) ? 'claimed' : 'unknown'
    return this.topics.isDeleted(topicId) ? 'deleted' : 'unknown'
  }

  #closeAll(id: TopicId): void {
    for (const log of this.#logs.get(id) ?? []) log?.close()
    this.#logs.delete(id)
  }

  /** Makes the logs that the definition has beyond the present ones, then the definition, then shows both. */
  async #grow(definition: TopicDefinition, present: readonly (PartitionLog | undefined)[]): Promise<void> {
    const config = parseTopicConfig(definition.config, this.#options.topicDefaults)
    const before = this.topics.get(definition.topicId)
    const known = new Set(before === undefined ? [] : this.#hostedOf(before))
    const added = this.#hostedOf(definition).filter((partition) => !known.has(partition))
    this.#checkRoom(definition, added.length)
    const logs = new Map<number, PartitionLog>()
    const { failedSyncs } = this.#directories
    try {
      for (const partition of added) {
        const name = partitionDirectoryName(definition.topicId, partition)
        // Left over from an attempt that failed: it holds nothing, for nobody could append to it.
        this.#options.disk.removeTree(this.#directories.pathOf(name))
        logs.set(partition, createLog(this.context, this.#directories.pathOf(name), config))
        if (logs.size % LOGS_PER_TURN === 0) await this.#nextTurn()
      }
      if (added.length > 0) await this.#directories.sync(failedSyncs)
      // From here on the definition may be durable, whatever it answers: the directories stay.
      await this.topics.put(definition)
    } catch (error) {
      for (const log of logs.values()) log.close()
      throw error
    }
    await this.#trust(definition.topicId, added)
    for (const log of present) if (log !== undefined) log.config = config
    const all = [...present]
    for (const [partition, log] of logs) all[partition] = log
    this.#logs.set(definition.topicId, all)
    this.#partitionCount += added.length
  }

  /** Where a cluster assigns the partitions, it has decided already; who refused would fall behind the others. */
  #checkRoom({ name, assignment }: TopicDefinition, added: number): void {
    const partitionsMax = this.#options.partitionsMax ?? PARTITIONS_MAX_DEFAULT
    const count = this.#partitionCount + added
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

  *#namedLogs(): IterableIterator<readonly [string, PartitionLog]> {
    for (const [id, logs] of this.#logs) {
      for (const [partition, log] of logs.entries()) {
        if (log !== undefined) yield [partitionDirectoryName(id, partition), log]
      }
    }
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#options.timers.atEndOfTurn(resolve))
  }
}

/** Makes the name of a directory without data durable, and those above it, whoever has made them. */
async function makeNameDurable(disk: Disk, path: string): Promise<void> {
  const mark = `${path}/${SYNC_FAILED_FILE}`
  if (hasFailedSync(disk, path) && Buffer.from(disk.readFile(mark)).toString() === (disk.bootId() ?? '')) {
    const text = `${path} cannot be used as the data directory: a sync above it has failed, and its name may be lost with the next power failure`
    const hint = 'remove it, with what was made above it, and start again; or restart the machine'
    throw new TidemarkError('DIRECTORY_NOT_USABLE', `${text}; ${hint}`)
  }
  disk.remove(mark)
  try {
    await syncAncestors(disk, path)
  } catch (error) {
    noteFailedSync(disk, path, disk.bootId())
    throw error
  }
}

/** What a failed sync of a life before may have left to the kernel alone. */
async function makeAnew(disk: Disk, path: string): Promise<void> {
  for (const name of [`${path}/logs`, `${path}/topics`]) {
    const temporary = name + TEMPORARY_SUFFIX
    if (disk.stat(temporary) !== undefined && disk.stat(name) === undefined) disk.rename(temporary, name)
    // Once a start was noted, their names are durable.
    if (disk.stat(name) === undefined || !hasFailedSync(disk, path) || disk.stat(`${path}/starts`) !== undefined)
      continue
    disk.rename(name, temporary)
    disk.rename(temporary, name)
  }
  await makeFilesAnew(disk, path, ['lock'])
  await makeFilesAnew(disk, `${path}/topics`)
}

async function syncAncestors(disk: Disk, path: string): Promise<void> {
  for (let directory = path; parentOf(directory) !== directory; directory = parentOf(directory)) {
    try {
      await disk.syncDirectory(parentOf(directory))
    } catch (error) {
      // A directory that may not even be looked into is older than this one.
      if (!(error instanceof DiskError) || (error.code !== 'EACCES' && error.code !== 'EPERM')) throw error
    }
  }
}

async function describingFailures<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    const hint = HINTS[error.code] ?? ''
    const text = `${path} cannot be used as the data directory: ${error.message}${hint}`
    throw new TidemarkError('DIRECTORY_NOT_USABLE', text, { cause: error })
  }
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: ' (the user of this process may not; change the owner or the mode)',
  EPERM: ' (the user of this process may not; change the owner or the mode)',
  EROFS: ' (the file system is mounted for reading only)',
  ENOSPC: ' (there is no space left on the file system)',
  EDQUOT: ' (the quota of the user is used up)',
  ENOTDIR: ' (something on the way to it is a file)',
  EEXIST: ' (there is a file of that name)',
  EIO: ' (the device reports an error; look at the log of the system)',
}

function isStorageFailure(error: unknown): error is DiskError | TidemarkError {
  return error instanceof DiskError || error instanceof TidemarkError
}
