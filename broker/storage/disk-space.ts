// Whether there is space for appends. Owns the reserve that is kept free for checkpoints, retention and people, and the
// state that follows from it; knows nothing of who appends. Asking the system costs a call, so it is asked once a second,
// only while somebody wants to append, and between that when what was appended may have reached the reserve.
//
// Full at once when the free bytes fall below the reserve or an append fails for lack of space; writable again only when
// there is a tenth more than the reserve, so that it does not flutter.

import type { Timer, Timers } from '../../shared/time.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'

const RESERVE_BYTES_MAX = 1024 * 1024 * 1024
const RESERVE_FRACTION = 0.05
const RESUME_FRACTION = 0.1
const CHECK_EVERY_MS = 1_000

export type SpaceState = 'writable' | 'full'

export interface DiskSpaceOptions {
  readonly disk: Disk
  readonly path: string
  readonly timers: Timers
  readonly logger: Logger
  /** `disk.reserve.bytes`; undefined for the default, 1 GiB or a twentieth of the file system, whichever is less. */
  readonly reserveBytes?: number | undefined
}

export class DiskSpace {
  readonly #options: DiskSpaceOptions
  #state: SpaceState = 'writable'
  #timer: Timer | undefined
  #freeBytes = 0
  #totalBytes = 0
  /** Bytes that have gone to the disk since the last look. */
  #appendedBytes = 0
  #isStopped = false

  constructor(options: DiskSpaceOptions) {
    this.#options = options
    this.check()
  }

  get state(): SpaceState {
    return this.#state
  }

  /** As of the last look. */
  get totalBytes(): number {
    return this.#totalBytes
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** Free bytes below which appends are refused. */
  get reserveBytes(): number {
    return this.#options.reserveBytes ?? Math.floor(Math.min(RESERVE_BYTES_MAX, this.#totalBytes * RESERVE_FRACTION))
  }

  /** Whether an append may be tried now; to be asked before each. */
  admitsAppend(): boolean {
    if (this.#timer === undefined) this.#checkLater()
    return this.#state === 'writable'
  }

  /** To be told of what was appended, in bytes: a second is long enough to run through the reserve. */
  noteAppended(bytes: number): void {
    this.#appendedBytes += bytes
    if (this.#state === 'full' || this.#totalBytes === 0) return
    if (this.#freeBytes - this.#appendedBytes < this.reserveBytes) this.check()
  }

  /** To be told of every append that failed. Says whether it failed for lack of space. */
  onAppendFailure(error: unknown): boolean {
    if (!isLackOfSpace(error)) return false
    this.#become('full')
    // The next look is a second away even if there seems to be space: a quota does not show in the free bytes.
    this.#timer?.cancel()
    this.#checkLater()
    return true
  }

  /** Looks at once. While the disk is full it looks every second, whoever asks or not. */
  check(): void {
    this.#appendedBytes = 0
    try {
      const space = this.#options.disk.space(this.#options.path)
      this.#freeBytes = space.freeBytes
      this.#totalBytes = space.totalBytes
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      this.#options.logger.warn({ path: this.#options.path, error: error.message }, 'cannot tell the free space')
      return
    }
    const reserve = this.reserveBytes
    if (this.#freeBytes < reserve) this.#become('full')
    else if (this.#freeBytes >= reserve + Math.floor(reserve * RESUME_FRACTION)) this.#become('writable')
    if (this.#state === 'full') this.#checkLater()
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #checkLater(): void {
    if (this.#isStopped) return
    this.#timer?.cancel()
    this.#timer = this.#options.timers.after(
      CHECK_EVERY_MS,
      () => {
        this.#timer = undefined
        this.check()
      },
      { background: true },
    )
  }

  #become(state: SpaceState): void {
    if (state === this.#state) return
    this.#state = state
    const facts = { path: this.#options.path, freeBytes: this.#freeBytes, reserveBytes: this.reserveBytes }
    if (state === 'full') this.#options.logger.error(facts, 'the disk is full: appends are refused, reads go on')
    else this.#options.logger.info(facts, 'there is space on the disk again: appends are taken')
  }
}

/** Whether the disk, or the share of it that this user may have, is full. */
export function isLackOfSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}
