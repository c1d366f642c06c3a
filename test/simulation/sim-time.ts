// Time that moves when the test says so.

import type { TimestampMs } from '../../shared/ids.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'

export class SimTime implements Clock, Timers {
  ms = 1_700_000_000_000
  #pending: { readonly dueMs: number; readonly callback: () => void }[] = []

  /** How many wait. */
  get pendingTimers(): number {
    return this.#pending.length
  }

  now(): TimestampMs {
    return this.ms as TimestampMs
  }

  monotonic(): number {
    return this.ms
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry = { dueMs: this.ms + delayMs, callback }
    this.#pending.push(entry)
    return { cancel: () => void (this.#pending = this.#pending.filter((other) => other !== entry)) }
  }

  atEndOfTurn(callback: () => void): void {
    queueMicrotask(callback)
  }

  /** Lets time pass, and runs what comes due, in order. */
  advance(ms: number): void {
    const endMs = this.ms + ms
    for (;;) {
      const next = this.#pending
        .filter(({ dueMs }) => dueMs <= endMs)
        .toSorted((one, other) => one.dueMs - other.dueMs)[0]
      if (next === undefined) break
      this.#pending = this.#pending.filter((entry) => entry !== next)
      this.ms = Math.max(this.ms, next.dueMs)
      next.callback()
    }
    this.ms = endMs
  }
}
