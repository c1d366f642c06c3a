import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BudgetWaiter, MemoryBudget } from '../../broker/network/memory-budget.ts'

class Waiter implements BudgetWaiter {
  readonly granted: number[] = []
  readonly #order: Waiter[]

  constructor(order: Waiter[] = []) {
    this.#order = order
  }

  onGranted(bytes: number): void {
    this.granted.push(bytes)
    this.#order.push(this)
  }
}

describe('MemoryBudget', () => {
  it('grants what fits and refuses what does not', () => {
    const budget = new MemoryBudget(100)
    expect(budget.tryReserve(60)).toBe(true)
    expect(budget.tryReserve(41)).toBe(false)
    expect(budget.tryReserve(40)).toBe(true)
    expect(budget.isExhausted).toBe(true)
    budget.release(100)
    expect(budget.used).toBe(0)
  })

  it('grants more than there is only to the only one', () => {
    const budget = new MemoryBudget(100)
    expect(budget.tryReserve(500)).toBe(true)
    expect(budget.tryReserve(1)).toBe(false)
    budget.release(500)
    expect(budget.tryReserve(1)).toBe(true)
    expect(budget.tryReserve(500)).toBe(false)
  })

  it('lets those who wait in, in their order, and nobody ahead of them', () => {
    const budget = new MemoryBudget(100)
    const order: Waiter[] = []
    const [large, small, unbounded] = [new Waiter(order), new Waiter(order), new Waiter(order)]
    budget.charge(100)
    budget.wait(90, large)
    budget.wait(5, small)
    budget.wait(0, unbounded)
    budget.release(50)
    expect(order).toEqual([])
    expect(budget.tryReserve(10)).toBe(false)
    budget.release(45)
    expect(order).toEqual([large, small])
    expect(budget.used).toBe(100)
    budget.release(1)
    expect(order).toEqual([large, small, unbounded])
  })

  it('goes on to the next when the first gives up', () => {
    const budget = new MemoryBudget(100)
    const [first, second] = [new Waiter(), new Waiter()]
    budget.charge(50)
    budget.wait(100, first)
    budget.wait(50, second)
    budget.leave(first)
    budget.leave(first)
    expect([first.granted, second.granted]).toEqual([[], [50]])
  })

  it('never stays below its bound while somebody waits who fits, whatever happens', () => {
    const step = fc.record({ kind: fc.constantFrom('ask', 'release', 'leave'), bytes: fc.nat({ max: 150 }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const budget = new MemoryBudget(100)
        const held: number[] = []
        const waiting: (Waiter & { bytes?: number })[] = []
        for (const { kind, bytes } of steps) {
          if (kind === 'ask') {
            if (budget.tryReserve(bytes)) held.push(bytes)
            else {
              const waiter = Object.assign(new Waiter(), { bytes })
              waiting.push(waiter)
              budget.wait(bytes, waiter)
            }
          }
          if (kind === 'release' && held.length > 0) budget.release(held.splice(bytes % held.length, 1)[0] ?? 0)
          if (kind === 'leave' && waiting.length > 0) {
            const [gone] = waiting.splice(bytes % waiting.length, 1)
            if (gone !== undefined) budget.leave(gone)
          }
          for (const waiter of waiting.filter(({ granted }) => granted.length > 0)) held.push(...waiter.granted)
          waiting.splice(0, Infinity, ...waiting.filter(({ granted }) => granted.length === 0))
          expect(budget.used).toBe(held.reduce((sum, one) => sum + one, 0))
          expect(budget.waiters).toBe(waiting.length)
          expect(budget.used <= 100 || held.filter((one) => one > 0).length === 1).toBe(true)
          // Nobody waits for nothing: the first in the queue would not fit.
          const first = waiting[0]?.bytes ?? 0
          const isFree = budget.used === 0 || (budget.used + first <= 100 && !budget.isExhausted)
          expect(waiting.length > 0 && isFree).toBe(false)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
