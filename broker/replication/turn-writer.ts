// Small appends that arrive together become one write a partition: whoever has staged something registers here, and at
// the end of the turn of the event loop everybody is told to flush, once, in the order of registration; sooner where somebody
// has staged much. Owns only the order; knows nothing of what is flushed.

import type { Timers } from '../../shared/time.ts'

export interface Flushable {
  /** Writes what is staged. Must not throw: a failure is an answer to those who wait. */
  flush(): void
}

export class TurnWriter {
  readonly #timers: Timers
  /** Two lists, used in turn: flushing may lead to new registrations, which belong to the next round. */
  #dirty: Flushable[] = []
  #flushing: Flushable[] = []
  #isScheduled = false
  #isHurried = false
  readonly #onEndOfTurn = (): void => {
    this.#isScheduled = false
    this.flushAll()
  }

  constructor(timers: Timers) {
    this.#timers = timers
  }

  /** Once for each flush: the caller knows whether it has registered since the last one. */
  register(partition: Flushable): void {
    this.#dirty.push(partition)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#timers.atEndOfTurn(this.#onEndOfTurn)
  }

  /** Does not wait for the end of the turn, only for the end of the callback that runs. */
  hurry(): void {
    if (this.#isHurried) return
    this.#isHurried = true
    queueMicrotask(() => {
      this.#isHurried = false
      this.flushAll()
    })
  }

  /** Everything that is staged now, at once. */
  flushAll(): void {
    const flushing = this.#dirty
    this.#dirty = this.#flushing
    this.#flushing = flushing
    for (const partition of flushing) partition.flush()
    flushing.length = 0
  }
}
