// How many bytes a second may be copied, by all who copy together. Owns whose turn it is; knows nothing of what is copied.
//
// Invariant: over any stretch of time no more passes than the rate allows and one piece.

import type { ClientEnvironment } from '../../client/environment.ts'
import { sleep } from '../../shared/time.ts'

export class RateLimit {
  readonly #environment: Pick<ClientEnvironment, 'clock' | 'timers'>
  readonly #bytesPerMs: number
  /** When everything that has passed will have been paid for. */
  #paidAt = 0

  /** Bytes a second; undefined for no limit. */
  constructor(environment: Pick<ClientEnvironment, 'clock' | 'timers'>, bytesPerSecond: number | undefined) {
    this.#environment = environment
    this.#bytesPerMs = bytesPerSecond === undefined ? Infinity : bytesPerSecond / 1_000
  }

  /** Resolves when so many bytes may pass. @throws the signal's reason */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerMs === Infinity) return
    const { clock, timers } = this.#environment
    const now = clock.monotonic()
    const waitMs = Math.max(0, this.#paidAt - now)
    this.#paidAt = Math.max(this.#paidAt, now) + bytes / this.#bytesPerMs
    if (waitMs > 0) await sleep(timers, waitMs, signal)
  }
}
