import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BalanceRequest, planBalance } from '../../broker/requests/balance.ts'
import { countLoad } from '../../broker/requests/placement.ts'
import { type BrokerId, brokerId } from '../../shared/ids.ts'

type Rows = readonly (readonly number[])[]

function requestOf(rows: Rows, racks: Readonly<Record<number, string | undefined>>, movesMax = 1_000): BalanceRequest {
  const ids = Object.keys(racks).map((id) => brokerId(Number(id)))
  const branded = rows.map((row) => row.map((id) => brokerId(id)))
  return {
    brokers: ids.map((id) => ({ brokerId: id, rack: racks[id] })),
    racks: new Map(ids.map((id) => [id, racks[id]])),
    rows: branded,
    load: countLoad([branded]),
    movesMax,
  }
}

function after(request: BalanceRequest): Rows {
  const plan = planBalance(request)
  return request.rows.map((row, at) => plan.get(at) ?? row)
}

function counts(rows: Rows, ids: readonly BrokerId[]): { replicas: number[]; leaders: number[] } {
  return {
    replicas: ids.map((id) => rows.filter((row) => row.includes(id)).length),
    leaders: ids.map((id) => rows.filter((row) => row[0] === id).length),
  }
}

const spread = (values: readonly number[]): number => Math.max(...values) - Math.min(...values)

describe('a plan that makes brokers even', () => {
  it('gives a new broker its share, with as few moves as that takes', () => {
    const rows = Array.from({ length: 12 }, (_, at) => [(at % 3) + 1, ((at + 1) % 3) + 1, ((at + 2) % 3) + 1])
    const request = requestOf(rows, { 1: undefined, 2: undefined, 3: undefined, 4: undefined })
    const rowsAfter = after(request)
    const { replicas, leaders } = counts(rowsAfter, [1, 2, 3, 4].map(brokerId))
    expect(replicas).toEqual([9, 9, 9, 9])
    expect(spread(leaders)).toBeLessThanOrEqual(1)
    const copied = rowsAfter.filter((row, at) => row.some((id) => rows[at]?.includes(id) !== true))
    expect(copied).toHaveLength(9)
  })

  it('changes nothing where all is even', () => {
    const request = requestOf(
      [
        [1, 2],
        [2, 3],
        [3, 1],
      ],
      { 1: undefined, 2: undefined, 3: undefined },
    )
    expect(planBalance(request).size).toBe(0)
  })

  it('only has others lead where the replicas are even', () => {
    const request = requestOf(
      [
        [1, 2],
        [1, 2],
        [1, 2],
        [1, 2],
      ],
      { 1: undefined, 2: undefined },
    )
    expect([...planBalance(request).values()]).toEqual([
      [2, 1],
      [2, 1],
    ])
  })

  it('never takes a partition out of a rack that it has no other replica in', () => {
    const rows = Array.from({ length: 6 }, () => [1, 2])
    const rowsAfter = after(requestOf(rows, { 1: 'east', 2: 'west', 3: 'west', 4: 'west' }))
    for (const row of rowsAfter) expect(row).toContain(1)
    expect(spread(counts(rowsAfter, [2, 3, 4].map(brokerId)).replicas)).toBeLessThanOrEqual(1)
  })

  it('changes no more partitions than are asked for', () => {
    const rows = Array.from({ length: 20 }, () => [1, 2, 3])
    const request = requestOf(rows, { 1: undefined, 2: undefined, 3: undefined, 4: undefined }, 3)
    expect(planBalance(request).size).toBe(3)
  })

  it('takes nothing from a broker that is left alone, and gives it nothing', () => {
    const rows = Array.from({ length: 9 }, () => [1, 2, 9])
    const request = requestOf(rows, { 1: undefined, 2: undefined, 3: undefined })
    const rowsAfter = after(request)
    expect(counts(rowsAfter, [9].map(brokerId)).replicas).toEqual([9])
    expect(counts(rowsAfter, [1, 2, 3].map(brokerId)).replicas).toEqual([6, 6, 6])
  })

  it('comes to an end, keeps every row legal, and is even where racks allow it, whatever there is', () => {
    const brokers = 5
    const row = fc.uniqueArray(fc.integer({ min: 1, max: brokers }), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), fc.boolean(), (rows, hasRacks) => {
        const ids = Array.from({ length: brokers }, (_, at) => brokerId(at + 1))
        const racks = Object.fromEntries(ids.map((id) => [id, hasRacks ? `rack ${id % 2}` : undefined]))
        const request = requestOf(rows, racks, 100)
        const rowsAfter = after(request)
        for (const [at, changed] of rowsAfter.entries()) {
          expect(new Set(changed).size).toBe(rows[at]?.length)
          const racksOf = (one: readonly number[]): number => new Set(one.map((id) => racks[id] ?? id)).size
          expect(racksOf(changed)).toBeGreaterThanOrEqual(racksOf(rows[at] ?? []))
        }
        expect(hasRacks ? 0 : spread(counts(rowsAfter, ids).replicas)).toBeLessThanOrEqual(1)
        const again = requestOf(rowsAfter, racks, 100)
        expect(planBalance(again).size).toBe(0)
      }),
      { numRuns: 300 },
    )
  })
})
