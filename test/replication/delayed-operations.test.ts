// Deadlines without a timer each: never early, never forgotten, bounded, and gone when nothing waits.

import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import type { TimestampMs } from '../../shared/ids.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import { DEADLINE_GRAIN_MS, DelayedOperations, notDelayed } from '../../broker/replication/delayed-operations.ts'

/** A clock and timers that move when they are told to. */
class Stage implements Clock, Timers {
  ms = 0
  readonly timers = new Map<object, { atMs: number; run: () => void }>()

  now(): TimestampMs {
    return this.ms as TimestampMs
  }

  monotonic(): number {
    return this.ms
  }

  after(delayMs: number, callback: () => void): Timer {
    const key = {}
    this.timers.set(key, { atMs: this.ms + delayMs, run: callback })
    return { cancel: () => void this.timers.delete(key) }
  }

  atEndOfTurn(callback: () => void): void {
    callback()
  }

  advance(toMs: number): void {
    for (;;) {
      const next = [...this.timers]
        .filter(([, { atMs }]) => atMs <= toMs)
        .toSorted(([, a], [, b]) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.ms = Math.max(this.ms, next[1].atMs)
      this.timers.delete(next[0])
      next[1].run()
    }
    this.ms = toMs
  }
}

class Operation {
  readonly delay = notDelayed()
  expiredAtMs: number | undefined
  readonly #stage: Stage

  constructor(stage: Stage) {
    this.#stage = stage
  }

  onDeadline(): void {
    this.expiredAtMs = this.#stage.ms
  }
}

function setUp(countMax = 1_000) {
  const stage = new Stage()
  return { stage, delayed: new DelayedOperations({ clock: stage, timers: stage, countMax }) }
}

describe('delayed operations', () => {
  it('expire at their deadline or a little after it, whatever the order they came in', () => {
    const operations = fc.array(
      fc.record({
        atMs: fc.integer({ min: 0, max: 300 }),
        delayMs: fc.integer({ min: 0, max: 500 }),
        isCancelled: fc.boolean(),
      }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(operations, (plans) => {
        const { stage, delayed } = setUp()
        const parked = plans
          .toSorted((a, b) => a.atMs - b.atMs)
          .map((plan) => {
            stage.advance(plan.atMs)
            const operation = new Operation(stage)
            expect(delayed.tryPark(operation, plan.delayMs)).toBe(true)
            return { plan, operation }
          })
        for (const { plan, operation } of parked) if (plan.isCancelled) delayed.cancel(operation)
        const from = stage.ms
        stage.advance(2_000)
        expect(delayed.count).toBe(0)
        expect(stage.timers.size).toBe(0)
        const wrong = parked.filter(({ plan, operation: { expiredAtMs } }) => {
          const deadline = plan.atMs + plan.delayMs
          if (expiredAtMs === undefined) return !plan.isCancelled
          const isLate = expiredAtMs > deadline + DEADLINE_GRAIN_MS + 1
          return expiredAtMs < deadline || isLate || (plan.isCancelled && expiredAtMs > from)
        })
        expect(wrong).toEqual([])
      }),
      { numRuns: 200 },
    )
  })

  it('use one timer for all that wait, and none when nothing does', () => {
    const { stage, delayed } = setUp()
    const operations = Array.from({ length: 500 }, () => new Operation(stage))
    for (const operation of operations) delayed.tryPark(operation, 100 + (operation.delay.index % 7))
    expect(stage.timers.size).toBe(1)
    for (const operation of operations) delayed.cancel(operation)
    expect(stage.timers.size).toBe(0)
  })

  it('leave no timer for what was cancelled when the last of them expires', () => {
    const { stage, delayed } = setUp()
    const [early, late] = [new Operation(stage), new Operation(stage)]
    delayed.tryPark(early, 10)
    delayed.tryPark(late, 500)
    delayed.cancel(late)
    stage.advance(20)
    expect(early.expiredAtMs).toBeDefined()
    expect(stage.timers.size).toBe(0)
  })

  it('refuse more than may wait, and take more when one has gone', () => {
    const { stage, delayed } = setUp(2)
    const [first, second, third] = [new Operation(stage), new Operation(stage), new Operation(stage)]
    expect([delayed.tryPark(first, 10), delayed.tryPark(second, 10), delayed.tryPark(third, 10)]).toEqual([
      true,
      true,
      false,
    ])
    delayed.cancel(first)
    delayed.cancel(first)
    expect(delayed.tryPark(third, 10)).toBe(true)
    expect(delayed.count).toBe(2)
  })

  it('expire all at once when they are told to', () => {
    const { stage, delayed } = setUp()
    const operations = [1, 50, 5_000].map((delayMs) => {
      const operation = new Operation(stage)
      delayed.tryPark(operation, delayMs)
      return operation
    })
    delayed.expireAll()
    expect(operations.map(({ expiredAtMs }) => expiredAtMs)).toEqual([0, 0, 0])
    expect(stage.timers.size).toBe(0)
  })

  it('may be parked again from their own deadline', () => {
    const { stage, delayed } = setUp()
    let times = 0
    const again = {
      delay: notDelayed(),
      onDeadline(): void {
        times += 1
        if (times < 3) delayed.tryPark(again, 10)
      },
    }
    delayed.tryPark(again, 10)
    stage.advance(1_000)
    expect(times).toBe(3)
    expect(stage.timers.size).toBe(0)
  })
})
