// Compacts the logs of a data directory in the background, one at a time, the dirtiest first. Owns when it looks, how fast it
// goes and what becomes of a log that it fails with; knows nothing of how a log is compacted.
//
// It works in slices of about half a millisecond, between which everybody else has their turn, and rests as long as it has
// worked when others have work: see scripts/bench-compaction.ts for what that costs both sides.

import { assert } from '../../shared/assert.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import type { CompactionPlan } from './compaction-plan.ts'
import { dirtyRatio } from './compaction-plan.ts'
import { DiskError } from './disk.ts'
import type { CompactionMeans } from './log-compaction.ts'
import type { PartitionLog } from './partition-log.ts'
import type { Segment } from './segment.ts'

const KEY_BYTES_DEFAULT = 128 * 1024 * 1024
const BACKOFF_MS_DEFAULT = 15_000
/** Between two tries of a log that fails, at most. */
const RETRY_MS_MAX = 3_600_000
const SLICE_MS = 0.3
/** A turn of the event loop in which nobody else had anything to do takes less. */
const IDLE_TURN_MS = 0.1
/** Sleeps shorter than this are saved up. */
const SLEEP_MS_MIN = 5
const LOGS_PER_TURN = 64

export interface CleanerOptions {
  /** Memory for the keys of one pass (bytes). Default 128 MiB. */
  readonly keyBytesMax?: number
  /** Read and written a second (bytes); Infinity for no limit, which is the default. */
  readonly bytesPerSecondMax?: number
  /** Between two looks at what there is to do. Default 15,000. */
  readonly backoffMs?: number
}

/** What compaction counts; for metrics. */
export interface CleanerEvents {
  onPass?(pass: { readonly seconds: number; readonly oldBytes: number; readonly newBytes: number }): void
  onFailure?(): void
}

export interface CleanerParts {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  /** All logs that are open, with the names of their directories. */
  readonly logs: () => Iterable<readonly [name: string, log: PartitionLog]>
  /** Where what replicas have agreed on ends in the log of that name; undefined where nobody has to agree. */
  readonly committedEnd: (name: string) => Offset | undefined
  /** How far the slowest of those has come who copy the log of that name; undefined where nobody does. */
  readonly readAlongEnd?: (name: string) => Offset | undefined
  /** Makes the recovery points durable. */
  readonly savePoints: () => Promise<void>
}

/** A log that could not be compacted. */
export interface CleanerTrouble {
  readonly log: string
  readonly message: string
}

interface Failure extends CleanerTrouble {
  readonly tries: number
  readonly retryAtMs: number
}

interface Candidate {
  readonly name: string
  readonly log: PartitionLog
  readonly urgency: number
}

export class LogCleaner {
  events: CleanerEvents = {}
  readonly #parts: CleanerParts
  readonly #keyBytesMax: number
  readonly #bytesPerMs: number
  readonly #backoffMs: number
  readonly #failures = new Map<string, Failure>()
  #dirtyRatioMax = 0
  #timer: Timer | undefined
  #sleep: { readonly timer: Timer; readonly wake: () => void } | undefined
  #last: Promise<void> = Promise.resolve()
  #isPrepared = false
  #isStopped = false
  #sliceStartMs = 0
  /** When all that was read and written so far may have been, by the limit. */
  #paidUntilMs = 0

  constructor(parts: CleanerParts, options: CleanerOptions = {}) {
    this.#parts = parts
    this.#keyBytesMax = options.keyBytesMax ?? KEY_BYTES_DEFAULT
    this.#bytesPerMs = (options.bytesPerSecondMax ?? Infinity) / 1_000
    this.#backoffMs = options.backoffMs ?? BACKOFF_MS_DEFAULT
    assert(this.#bytesPerMs > 0, 'compaction may read and write something')
  }

  /** The logs that could not be compacted when it was last tried. */
  get troubles(): readonly CleanerTrouble[] {
    return [...this.#failures.values()]
  }

  /** Nobody loses anything by a log that cannot be compacted, but it grows. */
  health(): { readonly isOk: boolean; readonly detail: string } {
    const [first, ...others] = this.troubles
    if (first === undefined) return { isOk: true, detail: 'ok' }
    const more = others.length === 0 ? '' : `, and ${others.length} more cannot be compacted`
    return { isOk: false, detail: `${first.message}${more}` }
  }

  /** Of the dirtiest log, from 0 to 1, when it was last looked. */
  get dirtyRatioMax(): number {
    return this.#dirtyRatioMax
  }

  start(): void {
    this.#lookLater()
  }

  /** Idempotent; resolves when nothing runs any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#sleep?.timer.cancel()
    this.#sleep?.wake()
    await this.#last
  }

  /** Compacts until nothing is due any more; with `isForced`, whatever is dirty is due, once. */
  compactNow(options: { readonly isForced?: boolean } = {}): Promise<void> {
    const done = this.#last.then(() => this.#round(options.isForced === true))
    this.#last = done.catch(() => undefined)
    return done
  }

  #lookLater(): void {
    const look = (): void => {
      this.compactNow()
        .catch((error: unknown) => {
          this.#parts.logger.error({ error: String(error) }, 'a round of compaction was given up')
        })
        .finally(() => {
          if (!this.#isStopped) this.#lookLater()
        })
    }
    this.#timer = this.#parts.timers.after(this.#backoffMs, look, { background: true })
  }

  async #round(isForced: boolean): Promise<void> {
    const done = new Set<string>()
    for (;;) {
      const candidates = await this.#candidates(isForced)
      const next = candidates.filter(({ name }) => !done.has(name))
      if (next.length === 0 || this.#isStopped) return
      for (const { name, log } of next) {
        if (this.#isStopped) return
        await this.#compact(name, log, isForced)
        // One that has not become clean by it, because something holds it up, has its turn in the next round.
        done.add(name)
      }
    }
  }

  /** What is to be compacted, the most urgent first. */
  async #candidates(isForced: boolean): Promise<Candidate[]> {
    const found: Candidate[] = []
    const names = new Set<string>()
    let ratioMax = 0
    let seen = 0
    for (const [name, log] of [...this.#parts.logs()]) {
      names.add(name)
      if (++seen % LOGS_PER_TURN === 0) await this.#nextTurn()
      if (this.#isStopped) return []
      const plan = await this.#planOf(name, log)
      if (plan === undefined) continue
      const ratio = dirtyRatio(plan)
      ratioMax = Math.max(ratioMax, ratio)
      const failure = this.#failures.get(name)
      const isHeldBack = !isForced && failure !== undefined && this.#parts.clock.monotonic() < failure.retryAtMs
      if (!isHeldBack && (isForced || plan.isDue))
        found.push({ name, log, urgency: plan.isOverdue ? 1 + ratio : ratio })
    }
    this.#dirtyRatioMax = ratioMax
    for (const name of this.#failures.keys()) if (!names.has(name)) this.#failures.delete(name)
    return found.sort((one, other) => other.urgency - one.urgency)
  }

  async #planOf(name: string, log: PartitionLog): Promise<CompactionPlan<Segment> | undefined> {
    if (log.config.compaction === undefined) {
      this.#failures.delete(name)
      return undefined
    }
    try {
      return await log.compaction.plan(this.#parts.clock.now(), this.#parts.committedEnd(name))
    } catch (error) {
      this.#onFailed(name, log, error)
      return undefined
    }
  }

  /** As many passes as it takes. */
  async #compact(name: string, log: PartitionLog, isForced: boolean): Promise<void> {
    const { clock, logger } = this.#parts
    try {
      await this.#prepare()
      for (let isMore = true; isMore && !this.#isStopped;) {
        const plan = await log.compaction.plan(clock.now(), this.#parts.committedEnd(name))
        if (plan === undefined || !(isForced || plan.isDue)) break
        const startedMs = clock.monotonic()
        const result = await log.compaction.run(plan, this.#means(name))
        const seconds = (clock.monotonic() - startedMs) / 1_000
        isMore = !result.isDone && result.cleanedTo > plan.cleanedTo
        this.events.onPass?.({ ...result, seconds })
        logger.info({ log: log.directory, ...result, seconds }, 'a log was compacted')
      }
      this.#failures.delete(name)
    } catch (error) {
      this.#onFailed(name, log, error)
    }
  }

  #onFailed(name: string, log: PartitionLog, error: unknown): void {
    if (!(error instanceof TidemarkError || error instanceof DiskError)) throw error
    const tries = (this.#failures.get(name)?.tries ?? 0) + 1
    const retryAtMs = this.#parts.clock.monotonic() + Math.min(this.#backoffMs * 2 ** (tries - 1), RETRY_MS_MAX)
    this.#failures.set(name, { log: log.directory, message: error.message, tries, retryAtMs })
    this.events.onFailure?.()
    this.#parts.logger.warn({ log: log.directory, error: error.message, tries }, 'a log could not be compacted')
  }

  /** Without its codec a batch cannot be opened, and then says so. */
  async #prepare(): Promise<void> {
    if (this.#isPrepared) return
    this.#isPrepared = true
    await prepareCodec('zstd').catch(() => undefined)
  }

  #means(name: string): CompactionMeans {
    const { clock, random, savePoints, readAlongEnd } = this.#parts
    this.#sliceStartMs = clock.monotonic()
    return {
      now: clock.now(),
      random,
      keyBytesMax: this.#keyBytesMax,
      droppableEnd: readAlongEnd?.(name),
      save: savePoints,
      isSliceOver: () => clock.monotonic() - this.#sliceStartMs >= SLICE_MS,
      pause: (bytes) => this.#pause(bytes),
    }
  }

  /** Answers whether to go on. */
  async #pause(bytes: number): Promise<boolean> {
    const { clock } = this.#parts
    const workedMs = clock.monotonic() - this.#sliceStartMs
    this.#paidUntilMs = Math.max(this.#paidUntilMs, this.#sliceStartMs) + bytes / this.#bytesPerMs
    const pausedMs = clock.monotonic()
    await this.#nextTurn()
    // Others had work in this turn, and may have more: so that they wait for it no longer than it waits for them.
    if (clock.monotonic() - pausedMs > IDLE_TURN_MS) await this.#sleepFor(workedMs)
    const owedMs = this.#paidUntilMs - clock.monotonic()
    if (owedMs >= SLEEP_MS_MIN) await this.#sleepFor(owedMs)
    this.#sliceStartMs = clock.monotonic()
    return !this.#isStopped
  }

  #sleepFor(ms: number): Promise<void> {
    if (this.#isStopped) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = this.#parts.timers.after(Math.ceil(ms), resolve)
      this.#sleep = { timer, wake: resolve }
    })
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#parts.timers.atEndOfTurn(resolve))
  }
}
