// Looks for new leaders while something is stuck: a request was refused or lost, keeps unanswered, or nobody leads. Owns
// how often the brokers are asked. What is stuck is its owner's word; what to do about a new leader too, which hears of
// it from the metadata. Invariant: nothing is asked while nothing is stuck, and one question at a time.

import type { Timer } from '../shared/time.ts'
import type { Cluster } from './cluster.ts'

/** How long nothing may be asked in while something is under way but not stuck, milliseconds. */
const LOOK_MS = 250
const PAUSE_MS_MIN = 25
const PAUSE_MS_MAX = 500
/** The pause is that part of the time that has passed since the trouble began, so that its end is found about as exactly. */
const PAUSE_PART = 0.25

/** Topics in which something is stuck; undefined when nothing is under way that could be. */
export type FindStuck = () => readonly string[] | undefined

export class LeaderWatch {
  readonly #cluster: Cluster
  readonly #findStuck: FindStuck
  #timer: Timer | undefined
  #timerAt = Infinity
  #isAsking = false
  /** By the monotonic clock. */
  #stuckSince: number | undefined
  #isOver = false

  constructor(cluster: Cluster, findStuck: FindStuck) {
    this.#cluster = cluster
    this.#findStuck = findStuck
  }

  /** Something is under way. */
  watch(): void {
    if (this.#timer === undefined && !this.#isAsking) this.#setTimer(LOOK_MS)
  }

  /** Something has just failed: looks soon. */
  hurry(): void {
    if (this.#stuckSince === undefined) this.#setTimer(PAUSE_MS_MIN)
  }

  stop(): void {
    this.#isOver = true
    this.#timer?.cancel()
  }

  #setTimer(delayMs: number): void {
    if (this.#isOver) return
    const at = this.#cluster.environment.clock.monotonic() + delayMs
    if (this.#timer !== undefined && this.#timerAt <= at) return
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer = this.#cluster.environment.timers.after(
      delayMs,
      () => {
        this.#timer = undefined
        this.#look()
      },
      { background: true },
    )
  }

  #look(): void {
    if (this.#isAsking || this.#isOver) return
    const stuck = this.#findStuck()
    if (stuck === undefined || stuck.length === 0) {
      this.#stuckSince = undefined
      if (stuck !== undefined) this.#setTimer(LOOK_MS)
      return
    }
    const { clock, random } = this.#cluster.environment
    this.#stuckSince ??= clock.monotonic()
    this.#isAsking = true
    const goOn = (): void => {
      this.#isAsking = false
      const passedMs = clock.monotonic() - (this.#stuckSince ?? 0)
      const pauseMs = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, passedMs * PAUSE_PART))
      this.#setTimer(pauseMs * (0.75 + 0.5 * random.fraction()))
    }
    // What it could not find out now it asks again.
    this.#cluster.metadata.refresh(stuck, false).then(goOn, goOn)
  }
}
