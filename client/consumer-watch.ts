// What a consumer does from time to time: commits, tells how far it is behind, and tells of what has gone wrong for a while.
// Owns the timers. Invariant: a trouble is told of once each time that it begins.

import type { Timer } from '../shared/time.ts'
import type { Cluster } from './cluster.ts'
import type { ConsumerEmitter } from './consumer-events.ts'
import { lagOf } from './consumer-lag.ts'
import type { ConsumerSettings } from './consumer-options.ts'
import type { ConsumerPartition } from './consumer-partition.ts'
import { errorOf } from './errors.ts'
import type { MembershipState } from './membership-state.ts'

/** Milliseconds of failures after which is told of them. */
const TROUBLE_MS = 10_000
const LOOK_MS = 1_000

export interface WatchedConsumer {
  readonly events: ConsumerEmitter
  readonly assigned: { current(): Iterable<ConsumerPartition<unknown, unknown>> }
  readonly membership: MembershipState
  /** Commits what is done. */
  commit(): void
}

export class ConsumerWatch {
  readonly #cluster: Cluster
  readonly #settings: ConsumerSettings
  readonly #of: WatchedConsumer
  readonly #timers = new Set<Timer>()
  /** Of which partitions is told that they cannot be read. */
  readonly #toldUnreadable = new WeakSet<object>()
  /** When the trouble of the membership began that was told of last. */
  #toldTrouble: number | undefined
  #isOver = false

  constructor(cluster: Cluster, settings: ConsumerSettings, of: WatchedConsumer) {
    this.#cluster = cluster
    this.#settings = settings
    this.#of = of
  }

  start(): void {
    const { autoCommitEveryMs, lagEveryMs } = this.#settings
    if (autoCommitEveryMs !== undefined) this.#every(autoCommitEveryMs, () => this.#of.commit())
    this.#every(lagEveryMs, () => this.#tellLag())
    this.#every(LOOK_MS, () => {
      this.#tellMembership()
      this.#tellUnreadable()
    })
  }

  stop(): void {
    this.#isOver = true
    for (const timer of this.#timers) timer.cancel()
  }

  #every(everyMs: number, work: () => void): void {
    if (this.#isOver) return
    const { timers } = this.#cluster.environment
    const run = (): void => {
      this.#timers.delete(timer)
      this.#every(everyMs, work)
      work()
    }
    const timer = timers.after(everyMs, run, { background: true })
    this.#timers.add(timer)
  }

  #tellMembership(): void {
    const now = this.#cluster.environment.clock.monotonic()
    const { failingSince, lastFailure: cause, waitsFor } = this.#of.membership
    if (failingSince === undefined || failingSince === this.#toldTrouble || now - failingSince < TROUBLE_MS) return
    this.#toldTrouble = failingSince
    const what = `group ${this.#settings.groupId} has waited for ${waitsFor ?? 'its coordinator'}`
    const text = `${what} for ${Math.round(now - failingSince)} ms: ${cause?.message ?? 'no answer'}`
    this.#of.events.error(errorOf('TIMEOUT', text, { cause }))
  }

  #tellUnreadable(): void {
    const now = this.#cluster.environment.clock.monotonic()
    for (const { cursor, topic, partition } of this.#of.assigned.current()) {
      if (cursor === undefined) continue
      const { failingSince, lastFailure: cause } = cursor
      if (failingSince === undefined) {
        this.#toldUnreadable.delete(cursor)
        continue
      }
      // Since the trouble began, not since there was news last: there may be none for hours.
      const silentMs = Math.round(now - failingSince)
      if (silentMs < TROUBLE_MS || this.#toldUnreadable.has(cursor)) continue
      this.#toldUnreadable.add(cursor)
      const text = `${topic}-${partition} could not be read for ${silentMs} ms: ${cause?.message ?? 'no answer'}`
      this.#of.events.error(errorOf('TIMEOUT', text, { topic, partition, cause }))
    }
  }

  #tellLag(): void {
    if (!this.#of.events.has('lag')) return
    const partitions = lagOf(this.#of.assigned.current(), this.#cluster.environment.clock.now())
    if (partitions.length === 0) return
    const total = partitions.reduce((sum, { lag }) => sum + lag, 0)
    this.#of.events.tell('lag', { partitions, total })
  }
}
