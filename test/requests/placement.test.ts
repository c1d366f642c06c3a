// Where replicas are put: always on distinct brokers, over as many racks as there are, evenly, and the same for the same input.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Assignment, PlacementBroker } from '../../broker/requests/placement.ts'
import { countLoad, extendPlacement, placeReplicas } from '../../broker/requests/placement.ts'
import { brokerId } from '../../shared/ids.ts'

const NO_LOAD = new Map()

function brokersOf(...racks: (string | undefined)[]): PlacementBroker[] {
  return racks.map((rack, index) => ({ brokerId: brokerId(index + 1), rack }))
}

function racksIn(row: readonly number[], brokers: readonly PlacementBroker[]): Set<string> {
  return new Set(row.map((id) => brokers.find((one) => one.brokerId === id)?.rack ?? `broker ${id}`))
}

/** How far the brokers are apart at most, in replicas and in preferred leaders. */
function unevenness(assignments: readonly Assignment[], brokers: readonly PlacementBroker[]) {
  const load = countLoad(assignments)
  const apart = (what: 'replicas' | 'leaders') => {
    const counts = brokers.map((one) => load.get(one.brokerId)?.[what] ?? 0)
    return Math.max(...counts) - Math.min(...counts)
  }
  return { replicas: apart('replicas'), leaders: apart('leaders') }
}

const racks = fc.array(fc.option(fc.constantFrom('a', 'b', 'c', 'd'), { nil: undefined }), {
  minLength: 1,
  maxLength: 9,
})
const request = racks.chain((names) =>
  fc.record({
    brokers: fc.constant(brokersOf(...names)),
    load: fc
      .array(fc.nat(50), { minLength: names.length, maxLength: names.length })
      .map((counts) => new Map(counts.map((count, at) => [brokerId(at + 1), { replicas: 2 * count, leaders: count }]))),
    partitions: fc.integer({ min: 1, max: 40 }),
    replicationFactor: fc.integer({ min: 1, max: names.length }),
    startAt: fc.nat(),
  }),
)

describe('a placement', () => {
  it('puts the replicas of a partition on distinct brokers, and over all the racks that it can', () => {
    fc.assert(
      fc.property(request, (asked) => {
        const rows = placeReplicas(asked)
        expect(rows).toHaveLength(asked.partitions)
        const all = racksIn(
          asked.brokers.map((one) => one.brokerId),
          asked.brokers,
        )
        for (const row of rows) {
          expect(row).toHaveLength(asked.replicationFactor)
          expect(new Set(row).size).toBe(row.length)
          expect(racksIn(row, asked.brokers).size).toBe(Math.min(all.size, row.length))
        }
      }),
    )
  })

  it('is the same for the same input, in whichever order the brokers are named', () => {
    fc.assert(
      fc.property(request, (asked) => {
        expect(placeReplicas({ ...asked, brokers: asked.brokers.toReversed() })).toEqual(placeReplicas(asked))
      }),
    )
  })

  it('gives equal brokers in equal racks the same number of replicas and leaders, give or take one', () => {
    const shape = fc.record({
      rackCount: fc.integer({ min: 0, max: 4 }),
      perRack: fc.integer({ min: 1, max: 4 }),
      replicas: fc.integer({ min: 1, max: 5 }),
      partitions: fc.integer({ min: 1, max: 60 }),
      startAt: fc.nat(),
    })
    fc.assert(
      fc.property(shape, ({ rackCount, perRack, replicas, partitions, startAt }) => {
        const names = Array.from({ length: Math.max(1, rackCount) * perRack }, (_, at) =>
          rackCount === 0 ? undefined : `rack-${at % rackCount}`,
        )
        const brokers = brokersOf(...names)
        const replicationFactor = Math.min(replicas, brokers.length)
        const rows = placeReplicas({ brokers, load: NO_LOAD, partitions, replicationFactor, startAt })
        const { replicas: apart, leaders } = unevenness([rows], brokers)
        expect(Math.max(apart, leaders)).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('stays even over many topics, wherever each of them begins', () => {
    const topics = fc.array(
      fc.record({
        partitions: fc.integer({ min: 1, max: 7 }),
        startAt: fc.nat(),
      }),
      { minLength: 1, maxLength: 20 },
    )
    fc.assert(
      fc.property(
        topics,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 4, max: 9 }),
        (all, replicationFactor, count) => {
          const brokers = brokersOf(...Array.from({ length: count }, () => undefined))
          const placed: Assignment[] = []
          for (const topic of all)
            placed.push(placeReplicas({ ...topic, replicationFactor, brokers, load: countLoad(placed) }))
          const { replicas, leaders } = unevenness(placed, brokers)
          expect(replicas).toBeLessThanOrEqual(1)
          expect(leaders).toBeLessThanOrEqual(2)
        },
      ),
    )
  })

  it('gives a broker that has come later what it takes to be like the others', () => {
    const before = [
      [1, 2],
      [2, 1],
      [1, 2],
      [2, 1],
    ].map((row) => row.map(brokerId))
    const brokers = brokersOf(undefined, undefined, undefined)
    const extended = extendPlacement(before, {
      brokers,
      load: countLoad([before]),
      partitions: 8,
      replicationFactor: 2,
      startAt: 0,
    })
    expect(extended.slice(0, 4)).toEqual(before)
    expect(extended).toHaveLength(8)
    for (const row of extended.slice(4)) expect(row).toContain(3)
    const load = countLoad([extended])
    expect(load.get(brokerId(3))).toEqual({ replicas: 4, leaders: 3 })
  })

  it('is refused where there are fewer brokers than replicas', () => {
    const asked = { load: NO_LOAD, partitions: 1, startAt: 0 }
    expect(() => placeReplicas({ ...asked, brokers: brokersOf('a', 'b'), replicationFactor: 3 })).toThrow(
      'replication factor 3 is not possible: there are 2 brokers; ask for fewer replicas, or start more brokers',
    )
    expect(() => placeReplicas({ ...asked, brokers: brokersOf('a'), replicationFactor: 0 })).toThrow(
      'replication factor 0 is not possible: there is 1 broker; ask for at least 1',
    )
  })
})
