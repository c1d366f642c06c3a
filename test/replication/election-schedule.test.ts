import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ElectionSchedule, type ElectionSight } from '../../broker/replication/election-schedule.ts'
import type { PartitionView } from '../../broker/replication/leader-vacancy.ts'
import { type BrokerId, brokerId, leaderEpoch } from '../../shared/ids.ts'

const [one, two, three] = [1, 2, 3].map((id) => brokerId(id)) as [BrokerId, BrokerId, BrokerId]
const KEY = 'orders-0'

/** Broker 2 follows broker 1, whom the coordinator names as well. */
const LED: PartitionView = {
  role: 'follower',
  isVoter: true,
  assignment: [one, two, three],
  promise: { epoch: leaderEpoch(4), leader: one },
  following: one,
  hasHeardLeader: true,
  agreed: { leader: one, leaderEpoch: leaderEpoch(4), inSyncReplicas: [one, two, three] },
}
const NEVER_LED: PartitionView = {
  ...LED,
  promise: undefined,
  following: undefined,
  hasHeardLeader: false,
  agreed: { leader: undefined, leaderEpoch: undefined, inSyncReplicas: [] },
}
/** After a campaign of its own. */
const BEGUN: PartitionView = { ...NEVER_LED, promise: { epoch: leaderEpoch(5), leader: two } }

/** Broker 2 sees itself and broker 3. */
class World implements ElectionSight {
  readonly self = two
  now = 100_000
  isCoordinated = true
  coordinatedSince = 0
  lives: Record<number, string> = { 2: 'b', 3: 'c' }
  dead: readonly BrokerId[] = []
  isInReach = true
  readonly schedule = new ElectionSchedule<string>()

  lifeOf(id: BrokerId): string | undefined {
    return this.lives[id]
  }

  isDead(id: BrokerId): boolean {
    return this.dead.includes(id)
  }

  isQuorumInReach(): boolean {
    return this.isInReach
  }

  /** Milliseconds until it is tried, looking every 10; undefined if it is not within `within`. */
  triedAfter(view: PartitionView, within = 60_000, fraction = 0): number | undefined {
    const from = this.now
    for (; this.now <= from + within; this.now += 10) {
      this.schedule.observe(KEY, view, this, fraction)
      if (this.schedule.take(KEY, view, this, fraction) !== undefined) return this.now - from
    }
    return undefined
  }
}

describe('a partition without a leader', () => {
  it('is tried after the lock delay when its leader lost its session', () => {
    expect(new World().triedAfter(LED)).toBe(1_000)
  })

  it('is tried at once when the process of its leader is gone', () => {
    const world = new World()
    world.dead = [one]
    expect(world.triedAfter(LED)).toBe(0)
  })

  it('is tried at once by the first of a new assignment, and in turn by the others', () => {
    const world = new World()
    world.lives = { 1: 'a', 2: 'b', 3: 'c' }
    expect(world.triedAfter({ ...NEVER_LED, assignment: [two, one, three] })).toBe(0)
    world.schedule.forget(KEY)
    expect(world.triedAfter(NEVER_LED)).toBe(500)
  })

  it('is left alone when its leader comes back in time, as the same life', () => {
    const world = new World()
    world.lives = { 1: 'a', 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED, 500)).toBeUndefined()
    world.lives = { 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED, 900)).toBeUndefined()
    world.lives = { 1: 'a', 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED)).toBeUndefined()
  })

  it('is tried when its leader comes back as another life and does not try itself', () => {
    const world = new World()
    world.lives = { 1: 'a', 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED, 500)).toBeUndefined()
    world.lives = { 1: 'another', 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED)).toBe(1_000)
  })

  it('is tried when its leader denies to be one for a second', () => {
    const world = new World()
    world.lives = { 1: 'a', 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED, 0)).toBeUndefined()
    for (let refusals = 0; refusals < 12; refusals += 1) {
      world.now += 100
      world.schedule.onRefused(KEY, one, world.now)
    }
    // The leader itself is first in rank: it may know by now that nobody else leads.
    expect(world.triedAfter(LED)).toBe(1_300)
  })

  it('is not tried for refusals of another, or long ago', () => {
    const world = new World()
    world.lives = { 1: 'a', 2: 'b', 3: 'c' }
    expect(world.triedAfter(LED, 0)).toBeUndefined()
    for (let refusals = 0; refusals < 12; refusals += 1) {
      world.now += 100
      world.schedule.onRefused(KEY, three, world.now)
    }
    world.schedule.onRefused(KEY, one, world.now)
    world.now += 10_000
    world.schedule.onRefused(KEY, one, world.now)
    expect(world.triedAfter(LED)).toBeUndefined()
  })

  it('is tried again after longer and longer, at most five seconds', () => {
    const world = new World()
    expect(world.triedAfter(NEVER_LED)).toBe(0)
    const waits: (number | undefined)[] = []
    for (let tries = 0; tries < 8; tries += 1) {
      world.schedule.onAbandoned(KEY, world.now, 0)
      waits.push(world.triedAfter(BEGUN))
    }
    expect(waits).toEqual([200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000])
  })

  it('is tried soon again after it was led meanwhile', () => {
    const world = new World()
    expect(world.triedAfter(NEVER_LED)).toBe(0)
    for (let tries = 0; tries < 5; tries += 1) world.schedule.onAbandoned(KEY, world.now, 0)
    expect(world.triedAfter({ ...BEGUN, role: 'leader' }, 6_000)).toBeUndefined()
    world.dead = [one]
    expect(world.triedAfter(LED)).toBe(0)
  })

  it('is not forgotten: with whatever luck, it is tried within its delay', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(30), (fraction, failures) => {
        const world = new World()
        for (let tries = 0; tries < failures; tries += 1) {
          expect(world.triedAfter(BEGUN, 10_000, fraction)).toBeLessThanOrEqual(5_010)
          world.schedule.onAbandoned(KEY, world.now, fraction)
        }
        expect(world.triedAfter(LED, 10_000, fraction)).toBeLessThanOrEqual(6_210)
      }),
      { numRuns: 50 },
    )
  })
})

describe('nothing is tried', () => {
  it('while the coordinator is away, and not at once when it is back', () => {
    const world = new World()
    world.isCoordinated = false
    expect(world.triedAfter(LED, 30_000)).toBeUndefined()
    world.isCoordinated = true
    world.coordinatedSince = world.now
    expect(world.triedAfter(LED)).toBe(2_000)
  })

  it('while too few voters can be asked; when they come, the ranks count anew', () => {
    const world = new World()
    world.isInReach = false
    expect(world.triedAfter(NEVER_LED, 5_000)).toBeUndefined()
    world.isInReach = true
    expect(world.triedAfter({ ...NEVER_LED, assignment: [three, two, one] })).toBe(300)
  })
})

describe('without the coordinator', () => {
  it('a partition is tried that was never led, or whose leader is seen to be gone', () => {
    const world = new World()
    world.isCoordinated = false
    expect(world.triedAfter(NEVER_LED)).toBe(0)
    world.dead = [one]
    expect(new World().triedAfter(LED)).toBe(1_000)
    world.schedule.forget(KEY)
    expect(world.triedAfter(LED)).toBe(0)
  })
})

describe('the next moment', () => {
  it('is that of the first attempt; what waits for something else has none', () => {
    const world = new World()
    expect(world.schedule.nextDueAt()).toBe(Infinity)
    world.schedule.observe(KEY, LED, world, 0.5)
    expect(world.schedule.nextDueAt()).toBe(world.now + 1_100)
    expect(world.schedule.due(world.now + 1_099)).toEqual([])
    expect(world.schedule.due(world.now + 1_100)).toEqual([KEY])
    world.now += 2_000
    world.isCoordinated = false
    expect(world.schedule.take(KEY, LED, world, 0)).toBeUndefined()
    expect(world.schedule.nextDueAt()).toBe(Infinity)
  })
})
