// What goes on in the background of a data directory: syncing what is not synced, noting how far that is, taking away what
// is past its time, removing deleted partitions. Owns the timers and that no two rounds of one kind overlap; knows nothing
// of how a log does its part. A failure of one log is that log's own; the round goes on.
//
// Invariant: the recovery points on disk never count more than has been synced.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import type { HighWatermarks } from './high-watermarks.ts'
import type { LogPlace } from './log-files.ts'
import type { PartitionDirectories } from './partition-directories.ts'
import type { PartitionLog } from './partition-log.ts'
import type { JournalMark } from './promise-frames.ts'
import type { RecoveryPoints } from './recovery-points.ts'
import { writeRecoveryPoints } from './recovery-points.ts'
import type { TopicStore } from './topic-store.ts'

const MIB = 1024 * 1024
/** Syncs under way at once: fewer than the threads that also serve reads. */
const SYNCS_AT_ONCE = 3
const LOGS_PER_TURN = 64

export interface UpkeepOptions {
  /** How long a record of a partition with durability=os waits for stable storage at most. Default 1,000. */
  readonly flushIntervalMs?: number
  /** Unsynced bytes of all partitions from which a sync is made at once. Default 64 MiB. */
  readonly flushBytes?: number
  /** Default 300,000. */
  readonly retentionIntervalMs?: number
  /** Between two searches for records that have gone bad, at least; 0 for none. Default 7 days. */
  readonly scrubIntervalMs?: number
}

export interface UpkeepParts {
  readonly disk: Disk
  readonly path: string
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly topics: TopicStore
  readonly directories: PartitionDirectories
  /** All logs that are open, with the names of their directories. */
  readonly logs: () => Iterable<readonly [name: string, log: PartitionLog]>
  /** Where what replicas have agreed on ends in the log of that name; undefined where nobody has to agree. */
  readonly committedEnd: (name: string) => Offset | undefined
  /** The names of the directories whose logs could not be opened. */
  readonly offline: () => Iterable<string>
  /** Written with the points. */
  readonly highWatermarks: HighWatermarks
  readonly promiseMark: () => JournalMark | undefined
}

export class LogUpkeep {
  readonly #parts: UpkeepParts
  readonly #flushIntervalMs: number
  readonly #flushBytes: number
  readonly #retentionIntervalMs: number
  /** The points that were found at the start; those of logs that are offline stay as they are. */
  #found: RecoveryPoints = { bootId: undefined, points: new Map(), isKnown: false }
  #flushTimer: Timer | undefined
  #retentionTimer: Timer | undefined
  #bytesSinceFlush = 0
  #flushing: Promise<void> | undefined
  #retaining: Promise<void> | undefined
  #removing: Promise<void> | undefined
  /** The last write of the points; they go one behind the other. */
  #lastWrite: Promise<void> = Promise.resolve()
  #isStopped = false

  constructor(parts: UpkeepParts, options: UpkeepOptions = {}) {
    this.#parts = parts
    this.#flushIntervalMs = options.flushIntervalMs ?? 1_000
    this.#flushBytes = options.flushBytes ?? 64 * MIB
    this.#retentionIntervalMs = options.retentionIntervalMs ?? 300_000
  }

  /** Writes the points of the logs as they have been opened, with the present boot id, and begins its rounds. */
  async start(found: RecoveryPoints): Promise<void> {
    this.#found = found
    try {
      await this.writePoints()
    } catch (error) {
      // On a full disk the old points stay: they count less, so that a next start has more to look at.
      if (!(error instanceof DiskError)) throw error
      this.#parts.logger.warn({ error: error.message }, 'the recovery points could not be written')
    }
    this.#flushLater()
    this.#retainLater()
    this.removeDeleted()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#flushTimer?.cancel()
    this.#retentionTimer?.cancel()
    await Promise.allSettled([this.#flushing, this.#retaining, this.#removing])
  }

  noteAppended(bytes: number): void {
    this.#bytesSinceFlush += bytes
    if (this.#bytesSinceFlush >= this.#flushBytes && this.#flushing === undefined && !this.#isStopped) {
      this.#inBackground(this.#startFlush())
    }
  }

  /** One round of syncing; a caller that comes while one runs waits for that one and for another. */
  async flush(): Promise<void> {
    if (this.#flushing !== undefined) await this.#flushing
    await (this.#flushing ?? this.#startFlush())
  }

  applyRetention(): Promise<void> {
    this.#retaining ??= this.#retain().finally(() => {
      this.#retaining = undefined
    })
    return this.#retaining
  }

  /** Removes deleted partitions in the background, one file a turn. */
  removeDeleted(): void {
    if (this.#isStopped) return
    this.#removing ??= this.#removeDeleted().finally(() => {
      this.#removing = undefined
    })
    this.#inBackground(this.#removing)
  }

  /** Writes the recovery points as they are now; those of logs that are offline stay as they were. */
  writePoints(): Promise<void> {
    const { disk, path, highWatermarks, promiseMark } = this.#parts
    const done = this.#lastWrite.then(() => {
      // Read only now: a write that was asked for earlier must not put an older state over a newer one.
      const points = this.#currentPoints()
      highWatermarks.save()
      const value = { bootId: disk.bootId(), ...points, promises: promiseMark() }
      return writeRecoveryPoints(disk, `${path}/recovery-points`, value)
    })
    this.#lastWrite = done.catch(() => undefined)
    return done
  }

  #startFlush(): Promise<void> {
    this.#flushTimer?.cancel()
    this.#bytesSinceFlush = 0
    this.#flushing = this.#flush().finally(() => {
      this.#flushing = undefined
      if (this.#isStopped) return
      if (this.#bytesSinceFlush >= this.#flushBytes) this.#inBackground(this.#startFlush())
      else this.#flushLater()
    })
    return this.#flushing
  }

  async #flush(): Promise<void> {
    const dirty: PartitionLog[] = []
    for (const [, log] of this.#parts.logs()) {
      if (log.state.kind === 'online' && log.recoveryPoint < log.writtenEndOffset) dirty.push(log)
    }
    if (dirty.length === 0) return
    await this.#eachLog(dirty, SYNCS_AT_ONCE, async (log) => {
      await log.sync()
      log.snapshotProducers(this.#parts.clock.now())
    })
    try {
      await this.writePoints()
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      this.#parts.logger.warn({ error: error.message }, 'the recovery points could not be written')
    }
  }

  async #retain(): Promise<void> {
    const { clock, directories, topics, logger } = this.#parts
    let seen = 0
    for (const [name, log] of [...this.#parts.logs()]) {
      if (this.#isStopped) return
      if (log.state.kind === 'offline') continue
      const apply = async (): Promise<unknown> => log.applyRetention(clock.now(), this.#parts.committedEnd(name))
      await this.#eachLog([log], 1, async () => void (await apply()))
      if (++seen % LOGS_PER_TURN === 0) await this.#nextTurn()
    }
    try {
      directories.expireLost(clock.now())
      topics.expireTombstones((id) => directories.holds(id))
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      logger.warn({ error: error.message }, 'what is past its time could not be removed')
    }
  }

  async #removeDeleted(): Promise<void> {
    const { directories, logger } = this.#parts
    try {
      for (let names = directories.deleted(); names.length > 0; names = directories.deleted()) {
        for (const name of names) {
          while (directories.removeSome(name)) {
            await this.#nextTurn()
            if (this.#isStopped) return
          }
        }
        await directories.sync()
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      // What is left goes at the next deletion or the next start.
      logger.warn({ error: error.message }, 'a deleted partition could not be removed')
    }
  }

  /** Does it for each log, so many at once. A log that fails says so itself. */
  #eachLog(logs: PartitionLog[], count: number, act: (log: PartitionLog) => Promise<void>): Promise<void> {
    return eachAtOnce(logs, count, async (log) => {
      try {
        await act(log)
      } catch (error) {
        if (!(error instanceof TidemarkError || error instanceof DiskError)) throw error
        // Of a log that was deleted meanwhile there is nothing to keep up.
        if (log.isClosed) return
        this.#parts.logger.warn({ log: log.directory, error: error.message }, 'the upkeep of a log failed')
      }
    })
  }

  #currentPoints(): Pick<RecoveryPoints, 'points' | 'logStarts'> {
    const points = new Map<string, LogPlace>()
    const logStarts = new Map<string, Offset>()
    for (const name of this.#parts.offline()) {
      const point = this.#found.points.get(name)
      const logStart = this.#found.logStarts?.get(name)
      if (point !== undefined) points.set(name, point)
      if (logStart !== undefined) logStarts.set(name, logStart)
    }
    for (const [name, log] of this.#parts.logs()) {
      const { recoveryPoint, logStartOffset } = log.checkpoint()
      points.set(name, recoveryPoint)
      logStarts.set(name, logStartOffset)
    }
    return { points, logStarts }
  }

  #flushLater(): void {
    this.#flushTimer = this.#parts.timers.after(this.#flushIntervalMs, () => this.#inBackground(this.#startFlush()), {
      background: true,
    })
  }

  #retainLater(): void {
    const round = (): void => {
      const done = this.applyRetention().finally(() => {
        if (!this.#isStopped) this.#retainLater()
      })
      this.#inBackground(done)
    }
    this.#retentionTimer = this.#parts.timers.after(this.#retentionIntervalMs, round, { background: true })
  }

  /** Nobody awaits a round. What fails it is a mistake of ours, for the disk's failures are dealt with where they occur. */
  #inBackground(round: Promise<void>): void {
    round.catch((error: unknown) => {
      this.#parts.logger.error({ error: String(error) }, 'a round of upkeep was given up')
    })
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#parts.timers.atEndOfTurn(resolve))
  }
}

/** Does it for each item, so many at once, beginning in order. */
export async function eachAtOnce<T>(
  items: readonly T[],
  count: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  const next = items.values()
  const work = async (): Promise<void> => {
    for (const item of next) await act(item)
  }
  await Promise.all(Array.from({ length: Math.min(count, items.length) }, work))
}
