// How many bytes of requests the whole broker holds at once: frames that are still arriving, and requests that are not
// answered yet. Whoever finds it used up waits in a queue and is let in, in order, as bytes come back. Pure: no socket.
//
// Invariants: used is never negative; nobody is let in ahead of somebody who waits; something larger than the whole
// budget is let in when nothing else is held, so that nothing waits for ever.

import { assert } from '../../shared/assert.ts'

/** Somebody who waits for bytes. Called once, unless the wait was given up. */
export interface BudgetWaiter {
  /** The bytes asked for are charged already. */
  onGranted(bytes: number): void
}

interface Waiting {
  readonly waiter: BudgetWaiter
  readonly bytes: number
}

export class MemoryBudget {
  readonly bytesMax: number
  #used = 0
  /** In order of arrival. A Map, so that whoever leaves early is found. */
  readonly #waiting = new Map<BudgetWaiter, Waiting>()

  constructor(bytesMax: number) {
    assert(bytesMax > 0, 'the budget has bytes')
    this.bytesMax = bytesMax
  }

  get used(): number {
    return this.#used
  }

  get waiters(): number {
    return this.#waiting.size
  }

  /** True while requests have to wait. */
  get isExhausted(): boolean {
    return this.#used >= this.bytesMax
  }

  /** Counts bytes that are held already. May go beyond the budget, by what came in one read. */
  charge(bytes: number): void {
    this.#used += bytes
  }

  /** Takes bytes if they are there and nobody waits for some. */
  tryReserve(bytes: number): boolean {
    if (this.#waiting.size > 0 || !this.#fits(bytes)) return false
    this.#used += bytes
    return true
  }

  /** Queues for bytes; 0 waits until the budget is not exhausted. A waiter waits for one thing at a time. */
  wait(bytes: number, waiter: BudgetWaiter): void {
    assert(!this.#waiting.has(waiter), 'a waiter waits once')
    this.#waiting.set(waiter, { waiter, bytes })
  }

  /** Gives up the place in the queue. Idempotent. */
  leave(waiter: BudgetWaiter): void {
    if (this.#waiting.delete(waiter) && this.#waiting.size > 0) this.#letIn()
  }

  release(bytes: number): void {
    this.#used -= bytes
    assert(this.#used >= 0, 'what is released was held')
    if (this.#waiting.size > 0) this.#letIn()
  }

  #letIn(): void {
    for (const [waiter, { bytes }] of this.#waiting) {
      if (!this.#fits(bytes)) return
      this.#waiting.delete(waiter)
      this.#used += bytes
      waiter.onGranted(bytes)
    }
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || (this.#used + bytes <= this.bytesMax && this.#used < this.bytesMax)
  }
}
