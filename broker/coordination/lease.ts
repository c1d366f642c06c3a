// One broker's session lease as that broker may believe in it. Owns the arithmetic: from when to when the broker is a member
// by its own monotonic clock, and when to renew. Pure; knows neither Redis nor the names of keys.
//
// Invariant: validUntil is never later than the moment at which the keeper of the lease may let it go. The time counts from
// before a request was sent, since nobody knows when in between it was applied. A clock that stands still while the
// machine sleeps makes a lease look valid that is not; so a lease decides who tries to lead, never who may.

import { assert } from '../../shared/assert.ts'

/** What two monotonic clocks may differ in while a lease runs: a twentieth of it, and not less than this. */
const MARGIN_MS_MIN = 500
const MARGIN_SHARE = 0.05

export class Lease {
  /** How long the keeper holds it after the last renewal, in milliseconds. */
  readonly ttlMs: number
  #validUntil = 0
  #isHeld = false
  #isLossTold = true

  constructor(ttlMs: number) {
    assert(ttlMs >= 2 * MARGIN_MS_MIN, 'a lease is longer than what clocks may differ in')
    this.ttlMs = ttlMs
  }

  /** Monotonic milliseconds up to which it may be relied on; 0 if there is none. */
  get validUntil(): number {
    return this.#isHeld ? this.#validUntil : 0
  }

  isValidAt(nowMs: number): boolean {
    return nowMs < this.validUntil
  }

  /** It was taken or renewed by a request that was sent at sentAtMs. Answers may come in any order. */
  confirm(sentAtMs: number): void {
    const until = sentAtMs + this.ttlMs - Math.max(MARGIN_MS_MIN, this.ttlMs * MARGIN_SHARE)
    this.#validUntil = this.#isHeld ? Math.max(this.#validUntil, until) : until
    this.#isHeld = true
    this.#isLossTold = false
  }

  /** The keeper says that it is somebody else's or nobody's, or it has been given back. */
  drop(): void {
    this.#isHeld = false
  }

  /** Whether it is over at nowMs and nobody has been told: true once for every time that it was held. */
  takeLoss(nowMs: number): boolean {
    if (this.#isLossTold || this.isValidAt(nowMs)) return false
    this.#isLossTold = true
    return true
  }
}
