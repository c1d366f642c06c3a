// Watches how long handlers run, apart from heartbeats: a member whose handler does not come back would keep its partitions
// for ever. Warns first. Owns the timer, and nothing of what is done about it.

import type { Running } from './consumer-partition.ts'
import type { ClientEnvironment } from './environment.ts'
import type { Timer } from '../shared/time.ts'
import type { TopicPartition } from './topic-partitions.ts'

export interface Watched extends TopicPartition {
  readonly running: ReadonlySet<Running>
}

export interface PollWatchOwner {
  /** What is to be watched now. */
  watched(): Iterable<Watched>
  /** A handler has run for most of the time that it may. */
  onSlow(of: Watched, running: Running, handlingMs: number): void
  /** One has run for longer than it may. */
  onExceeded(of: Watched, running: Running, handlingMs: number): void
}

/** The part of the time after which is warned. */
const WARN_PART = 0.8
/** How often is looked, as a part of the time that a handler may take. */
const LOOK_PART = 0.05
const LOOK_MS_MAX = 5_000

export class PollWatch {
  readonly #environment: ClientEnvironment
  readonly #maxMs: number
  readonly #owner: PollWatchOwner
  #timer: Timer | undefined

  constructor(environment: ClientEnvironment, maxPollIntervalMs: number, owner: PollWatchOwner) {
    this.#environment = environment
    this.#maxMs = maxPollIntervalMs
    this.#owner = owner
  }

  start(): void {
    const delayMs = Math.max(1, Math.min(LOOK_MS_MAX, this.#maxMs * LOOK_PART))
    const look = (): void => {
      this.start()
      this.#look()
    }
    this.#timer?.cancel()
    this.#timer = this.#environment.timers.after(delayMs, look, { background: true })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #look(): void {
    const now = this.#environment.clock.monotonic()
    for (const of of this.#owner.watched()) {
      for (const running of of.running) {
        const handlingMs = now - running.since
        if (handlingMs >= this.#maxMs) return this.#owner.onExceeded(of, running, handlingMs)
        if (handlingMs < this.#maxMs * WARN_PART || running.isWarned) continue
        running.isWarned = true
        this.#owner.onSlow(of, running, handlingMs)
      }
    }
  }
}
