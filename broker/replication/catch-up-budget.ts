// How fast this broker takes in what it has missed, over all leaders: a broker that comes back after hours must not take the
// disks and the network of those that serve clients meanwhile. Pure arithmetic over a clock.

import type { Clock } from '../../shared/time.ts'

/** What may be taken at once after a time of rest, in milliseconds of the rate. */
const BURST_MS = 100

export class CatchUpBudget {
  readonly #bytesPerMs: number
  readonly #clock: Clock
  #debtBytes = 0
  #settledMs: number

  /** Bytes a second; 0 for no bound. */
  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1_000
    this.#clock = clock
    this.#settledMs = clock.monotonic()
  }

  take(bytes: number): void {
    if (this.#bytesPerMs === 0) return
    this.#settle()
    this.#debtBytes += bytes
  }

  /** Milliseconds until more may be asked for. */
  waitMs(): number {
    if (this.#bytesPerMs === 0) return 0
    this.#settle()
    return Math.max(0, this.#debtBytes / this.#bytesPerMs - BURST_MS)
  }

  #settle(): void {
    const now = this.#clock.monotonic()
    this.#debtBytes = Math.max(0, this.#debtBytes - (now - this.#settledMs) * this.#bytesPerMs)
    this.#settledMs = now
  }
}
