// Looks through all that lies in a data directory for what has gone bad since it was written, slowly, in the background:
// no reader may come by for years, and a copy elsewhere helps only while it is still there. Owns when and how fast; knows
// nothing of how a log looks and what becomes of what it finds.
//
// The time of the last whole pass is kept in a file, so that restarts neither add passes nor put them off for ever. A pass
// that a stop breaks off begins again, at another log: otherwise frequent stops would leave the last ones unseen.

import { TidemarkError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import { readCheckpoint, writeCheckpointCached } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import type { PartitionLog } from './partition-log.ts'

const INTERVAL_MS_DEFAULT = 7 * 86_400_000
/** How often it is looked whether a pass is due. */
const CHECK_EVERY_MS = 600_000
/** Little beside what a disk can do, so that nobody else is slower for it. */
const BYTES_PER_MS = 20_000

export interface ScrubberParts {
  readonly disk: Disk
  readonly path: string
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly logs: () => Iterable<PartitionLog>
}

export class LogScrubber {
  readonly #parts: ScrubberParts
  readonly #intervalMs: number
  readonly #file: string
  #timer: Timer | undefined
  #wake: () => void = () => undefined
  #pass: Promise<void> = Promise.resolve()
  #isStopped = false

  /** `intervalMs` lies between two passes, at least; 0 for none at all. Default seven days. */
  constructor(parts: ScrubberParts, intervalMs = INTERVAL_MS_DEFAULT) {
    this.#parts = parts
    this.#intervalMs = intervalMs
    this.#file = `${parts.path}/last-scrub`
  }

  start(): void {
    if (this.#intervalMs > 0) this.#checkLater()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#wake()
    await this.#pass
  }

  #checkLater(): void {
    const check = (): void => {
      this.#pass = this.#passIfDue()
        .catch((error: unknown) => {
          this.#parts.logger.error({ error: String(error) }, 'a search for bad records was given up')
        })
        .finally(() => {
          if (!this.#isStopped) this.#checkLater()
        })
    }
    const delayMs = Math.min(CHECK_EVERY_MS, this.#intervalMs)
    this.#timer = this.#parts.timers.after(delayMs, check, { background: true })
  }

  async #passIfDue(): Promise<void> {
    const { clock, logger, path } = this.#parts
    const last = this.#lastPass()
    // Without a time, or with one that lies ahead, the interval begins now.
    if (last === undefined || last > clock.now()) return this.#notePass()
    if (clock.now() - last < this.#intervalMs) return
    const startedMs = clock.monotonic()
    const { bytes, found } = await this.#passOver()
    if (this.#isStopped) return
    this.#notePass()
    const tookMs = Math.round(clock.monotonic() - startedMs)
    logger.info({ path, bytes, found, tookMs }, 'all that lies on the disk has been looked at for bad records')
  }

  async #passOver(): Promise<{ readonly bytes: number; readonly found: number }> {
    const { logger, logs, random } = this.#parts
    const all = [...logs()]
    const first = all.length === 0 ? 0 : random.integer(all.length)
    let bytes = 0
    let found = 0
    for (const log of [...all.slice(first), ...all.slice(0, first)]) {
      if (this.#isStopped) break
      try {
        const ranges = await log.scrubSealed((looked) => {
          bytes += looked
          return this.#pause(looked / BYTES_PER_MS)
        })
        found += ranges.length
      } catch (error) {
        if (!(error instanceof TidemarkError || error instanceof DiskError)) throw error
        logger.warn({ log: log.directory, error: error.message }, 'a log could not be looked at for bad records')
      }
    }
    return { bytes, found }
  }

  /** Answers whether to go on. */
  async #pause(ms: number): Promise<boolean> {
    if (this.#isStopped) return false
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      this.#timer = this.#parts.timers.after(Math.ceil(ms), resolve, { background: true })
    })
    return !this.#isStopped
  }

  #lastPass(): number | undefined {
    try {
      const value = readCheckpoint(this.#parts.disk, this.#file)
      return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
    } catch (error) {
      if (error instanceof TidemarkError || error instanceof DiskError) return undefined
      throw error
    }
  }

  #notePass(): void {
    const { clock, disk, logger } = this.#parts
    try {
      writeCheckpointCached(disk, this.#file, clock.now())
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      logger.warn({ path: this.#file, error: error.message }, 'the time of a search for bad records was not noted')
    }
  }
}
