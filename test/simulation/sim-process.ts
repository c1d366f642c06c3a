// One simulated process: its clock, its timers, and the one door through which anything of it runs. A process that is
// paused runs nothing until it goes on, and then everything that came meanwhile, in order; one that is dead never runs
// again. Whatever a real process keeps when it dies is not here.
//
// Its monotonic clock goes at a rate of its own; its wall clock can be set. Timers are as the real ones are: never early,
// at least a millisecond, and a little late.

import type { TimestampMs } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import type { ScheduledEvent, Scheduler } from './scheduler.ts'

const EPOCH_MS = 1_750_000_000_000

export interface ProcessHost {
  readonly scheduler: Scheduler
  readonly random: Random
  /** Something was thrown that a real process would have died of. */
  onUncaught(process: SimProcess, error: unknown): void
  onEvent(process: SimProcess, what: string, details: string): void
}

export class SimProcess implements Clock, Timers {
  readonly name: string
  readonly #host: ProcessHost
  /** Seconds of its monotonic clock in a true second. */
  readonly #rate: number
  readonly #bornMs: number
  readonly #timers = new Set<ScheduledEvent>()
  #wallOffsetMs = 0
  #isAlive = true
  #pausedUntilMs = 0
  #deferred: (() => void)[] = []
  readonly #onDeath: (() => void)[] = []

  constructor(name: string, host: ProcessHost, rate = 1) {
    this.name = name
    this.#host = host
    this.#rate = rate
    this.#bornMs = host.scheduler.nowMs
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get isPaused(): boolean {
    return this.#pausedUntilMs > this.#host.scheduler.nowMs
  }

  /** Timers and ends of turns that are still to come. */
  get pendingTimers(): number {
    return this.#timers.size
  }

  now(): TimestampMs {
    return Math.floor(EPOCH_MS + this.#host.scheduler.nowMs + this.#wallOffsetMs) as TimestampMs
  }

  monotonic(): number {
    return 1 + (this.#host.scheduler.nowMs - this.#bornMs) * this.#rate
  }

  after(delayMs: number, callback: () => void): Timer {
    const { scheduler, random } = this.#host
    const dueMs = Math.max(1, Math.trunc(delayMs)) / this.#rate + random.fraction()
    const event = scheduler.after(dueMs, () => this.#runTimer('timer', event, callback))
    return this.#keep(event)
  }

  atEndOfTurn(callback: () => void): void {
    const { scheduler } = this.#host
    const event = scheduler.after(0, () => this.#runTimer('turn', event, callback))
    this.#keep(event)
  }

  /** One that came due in a pause may be cancelled before it is run. */
  #runTimer(what: string, event: ScheduledEvent, callback: () => void): void {
    this.run(what, '', () => {
      if (this.#timers.delete(event)) callback()
    })
  }

  /** Runs a piece of the process now, or when it goes on, or never. */
  run(what: string, details: string, callback: () => void): void {
    if (!this.#isAlive) return
    if (this.isPaused || this.#deferred.length > 0) {
      this.#deferred.push(() => this.#runNow(what, details, callback))
      return
    }
    this.#runNow(what, details, callback)
  }

  setWallClock(offsetMs: number): void {
    this.#wallOffsetMs = offsetMs
  }

  /** As SIGSTOP and SIGCONT: time goes on. */
  pause(durationMs: number): void {
    if (!this.#isAlive) return
    const { scheduler } = this.#host
    const untilMs = scheduler.nowMs + durationMs
    if (untilMs <= this.#pausedUntilMs) return
    this.#pausedUntilMs = untilMs
    scheduler.at(untilMs, () => this.#goOn())
  }

  /** Ends a pause early. */
  resume(): void {
    if (!this.isPaused) return
    this.#pausedUntilMs = this.#host.scheduler.nowMs
    this.#goOn()
  }

  onDeath(callback: () => void): void {
    this.#onDeath.push(callback)
  }

  die(): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    for (const event of this.#timers) event.run = undefined
    this.#timers.clear()
    this.#deferred = []
    for (const callback of this.#onDeath.splice(0)) callback()
  }

  #keep(event: ScheduledEvent): Timer {
    this.#timers.add(event)
    return {
      cancel: () => {
        event.run = undefined
        this.#timers.delete(event)
      },
    }
  }

  #goOn(): void {
    if (this.isPaused) return
    const next = this.#deferred.shift()
    if (next === undefined) return
    next()
    // One event each, as it would have been.
    if (this.#deferred.length > 0) this.#host.scheduler.after(0, () => this.#goOn())
  }

  #runNow(what: string, details: string, callback: () => void): void {
    if (!this.#isAlive) return
    this.#host.onEvent(this, what, details)
    try {
      callback()
    } catch (error) {
      // What a process does in the very moment of its death is nobody's concern.
      if (this.#isAlive) this.#host.onUncaught(this, error)
    }
  }
}
