// The reader's rules, without sockets.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FetchPlanner, PartitionCursor, type PlannedFetch } from '../../client/fetch-planner.ts'

const OPTIONS = { bufferBytes: 1_000_000, fetchBytes: 300_000, partitionBytes: 100_000 }

function cursors(count: number, endOffset?: number): PartitionCursor[] {
  return Array.from(
    { length: count },
    (_, partition) => new PartitionCursor({ topic: 't', partition }, { position: 0, endOffset }, 0),
  )
}

function numbers(fetches: readonly PlannedFetch[]): number[][] {
  return fetches.map((fetch) => fetch.cursors.map(({ partition }) => partition))
}

describe('a fetch planner', () => {
  it('asks each broker once for all that it leads', () => {
    const planner = new FetchPlanner(OPTIONS, cursors(4))
    const fetches = planner.plan(0, ({ partition }) => partition % 2)
    expect(numbers(fetches)).toEqual([
      [0, 2],
      [1, 3],
    ])
    expect(planner.plan(0, ({ partition }) => partition % 2)).toEqual([])
    const [first] = fetches
    if (first !== undefined) planner.onEnded(first)
    expect(numbers(planner.plan(0, ({ partition }) => partition % 2))).toEqual([[0, 2]])
  })

  it('leaves out partitions that are done, that pause and that nobody leads', () => {
    const [done, paused, unled, ready] = cursors(4, 10)
    if (done === undefined || paused === undefined || unled === undefined || ready === undefined)
      throw new Error('four')
    const planner = new FetchPlanner(OPTIONS, [done, paused, unled, ready])
    planner.onRecords(done, 0, 10)
    planner.onFailed(paused, 0, 50)
    const leaderOf = ({ partition }: PartitionCursor): number | undefined => (partition === 2 ? undefined : 0)
    expect(numbers(planner.plan(0, leaderOf))).toEqual([[3]])
    expect(planner.wakeAt).toBe(50)
    expect(planner.isDone).toBe(false)
  })

  it('puts the partition that had its turn behind the others', () => {
    const all = cursors(3)
    const planner = new FetchPlanner(OPTIONS, all)
    const [first] = all
    if (first !== undefined) planner.onRecords(first, 10, 5)
    expect(numbers(planner.plan(0, () => 0))).toEqual([[1, 2, 0]])
  })

  it('stops while the application has enough to do, and goes on when it has used it up', () => {
    const [cursor] = cursors(1)
    if (cursor === undefined) throw new Error('one')
    const planner = new FetchPlanner(OPTIONS, [cursor])
    planner.onRecords(cursor, 990_000, 5)
    expect(planner.plan(0, () => 0)).toEqual([])
    planner.onConsumed(cursor, 990_000)
    expect(planner.plan(0, () => 0)).toHaveLength(1)
  })

  it('asks for something when nothing is on hand, however small the buffer', () => {
    const planner = new FetchPlanner({ bufferBytes: 10, fetchBytes: 300_000, partitionBytes: 100 }, cursors(1))
    expect(planner.plan(0, () => 0)).toMatchObject([{ maxBytes: 10 }])
  })

  it('keeps what is buffered and asked for within its bound, and always comes to the end', () => {
    const steps = fc.array(fc.record({ bytes: fc.integer({ min: 0, max: 300_000 }), isFailed: fc.boolean() }), {
      minLength: 1,
      maxLength: 30,
    })
    fc.assert(
      fc.property(
        steps,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        (story, partitions, brokers) => {
          const planner = new FetchPlanner(OPTIONS, cursors(partitions, 20))
          const buffered: [PartitionCursor, number][] = []
          let asked = 0
          let turn = 0
          for (let now = 0; !planner.isDone; now += 1) {
            expect(now).toBeLessThan(2_000)
            const fetches = planner.plan(now, ({ partition }) => partition % brokers)
            for (const { maxBytes } of fetches) asked += maxBytes
            expect(planner.bufferedBytes + asked).toBeLessThanOrEqual(OPTIONS.bufferBytes)
            for (const fetch of fetches) {
              const step = story[turn++ % story.length]
              planner.onEnded(fetch)
              asked -= fetch.maxBytes
              const [cursor] = fetch.cursors
              if (cursor === undefined || step === undefined) continue
              if (step.isFailed && now % 2 === 0) planner.onFailed(cursor, now, 3)
              else {
                const bytes = Math.min(step.bytes, fetch.partitionBytes)
                planner.onRecords(cursor, bytes, cursor.position + 1)
                planner.onAnswered(cursor, now)
                buffered.push([cursor, bytes])
              }
            }
            const used = buffered.shift()
            if (used !== undefined && now % 3 === 0) planner.onConsumed(...used)
            else if (used !== undefined) buffered.unshift(used)
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('a fetch planner that shares its buffer', () => {
  const SHARED = { ...OPTIONS, isShared: true }

  it('lets a partition that is not worked off hold up no other', () => {
    const [stuck, flowing] = cursors(2)
    if (stuck === undefined || flowing === undefined) throw new Error('two')
    const planner = new FetchPlanner(SHARED, [stuck, flowing])
    planner.onRecords(stuck, 900_000, 5)
    expect(numbers(planner.plan(0, () => 0))).toEqual([[1]])
  })

  it('asks a broker at which a fetch waits for a partition that has come in or was resumed', () => {
    const [first, paused] = cursors(2)
    if (first === undefined || paused === undefined) throw new Error('two')
    const planner = new FetchPlanner(SHARED, [first, paused])
    paused.isPaused = true
    expect(numbers(planner.plan(0, () => 0))).toEqual([[0]])
    paused.isPaused = false
    planner.add(new PartitionCursor({ topic: 'u', partition: 7 }, { position: 0 }, 0))
    expect(numbers(planner.plan(0, () => 0))).toEqual([[1, 7]])
  })

  it('lets only so many fetches wait at one broker, but for what is known to be there', () => {
    const all = cursors(8)
    const planner = new FetchPlanner(SHARED, [])
    for (const cursor of all) {
      planner.add(cursor)
      expect(planner.plan(0, () => 0)).toHaveLength(1)
    }
    const [idle, behind] = [
      new PartitionCursor({ topic: 't', partition: 8 }, { position: 5 }, 0),
      new PartitionCursor({ topic: 't', partition: 9 }, { position: 5 }, 0),
    ]
    for (const cursor of [idle, behind]) {
      cursor.isNew = false
      planner.add(cursor)
    }
    idle.highWatermark = 5
    behind.highWatermark = 6
    expect(numbers(planner.plan(0, () => 0))).toEqual([[9]])
  })

  it('asks for no more than the shares of the partitions in a fetch', () => {
    const [one] = new FetchPlanner(SHARED, cursors(20)).plan(0, () => 0)
    expect(one).toMatchObject({ partitionBytes: 50_000, maxBytes: 300_000 })
    const planner = new FetchPlanner(SHARED, cursors(20))
    for (const cursor of planner.cursors.slice(1)) cursor.isPaused = true
    expect(planner.plan(0, () => 0)).toMatchObject([{ partitionBytes: 50_000, maxBytes: 50_000 }])
  })

  it('forgets a partition that was removed, and takes back what it had buffered', () => {
    const planner = new FetchPlanner(SHARED, cursors(2))
    const [gone] = planner.cursors
    if (gone === undefined) throw new Error('two')
    planner.onRecords(gone, 70_000, 5)
    planner.remove(gone)
    expect(numbers(planner.plan(0, () => 0))).toEqual([[1]])
    planner.onConsumed(gone, 70_000)
    expect(planner.bufferedBytes).toBe(0)
  })
})
