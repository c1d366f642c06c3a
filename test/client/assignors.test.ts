// How partitions are shared out: examples for each way, and for all groups what must hold for every one.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ASSIGNORS, type GroupMember, type PartitionCounts, type Shares } from '../../client/assignors.ts'
import { type TopicPartition, TopicPartitionMap } from '../../client/topic-partitions.ts'

const { range, 'round-robin': roundRobin, 'cooperative-sticky': sticky } = ASSIGNORS

function member(memberId: string, topics: readonly string[], more: Partial<GroupMember> = {}): GroupMember {
  return { memberId, instanceId: undefined, topics, owned: [], generation: -1, ...more }
}

function shown(shares: Shares): Record<string, string> {
  return Object.fromEntries(
    [...shares].map(([id, share]) => [id, share.map(({ topic, partition }) => `${topic}${partition}`).join(' ')]),
  )
}

const counts = (entries: Record<string, number>): PartitionCounts => new Map(Object.entries(entries))
const own = (text: string): TopicPartition[] =>
  text.split(' ').map((one) => ({ topic: one.slice(0, 1), partition: Number(one.slice(1)) }))

describe('range', () => {
  it('cuts each topic into ranges, the first members having one more', () => {
    const members = [member('m2', ['a', 'b']), member('m1', ['a', 'b'])]
    expect(shown(range.assign(members, counts({ a: 3, b: 2 })))).toEqual({ m1: 'a0 a1 b0', m2: 'a2 b1' })
  })

  it('puts static members first, by their names', () => {
    const members = [
      member('m1', ['a']),
      member('x', ['a'], { instanceId: 'i2' }),
      member('y', ['a'], { instanceId: 'i1' }),
    ]
    expect(shown(range.assign(members, counts({ a: 3 })))).toEqual({ y: 'a0', x: 'a1', m1: 'a2' })
  })
})

describe('round-robin', () => {
  it('deals all partitions out in turn, leaving out who does not want the topic', () => {
    const members = [member('m1', ['a']), member('m2', ['a', 'b']), member('m3', ['b'])]
    expect(shown(roundRobin.assign(members, counts({ a: 3, b: 2 })))).toEqual({ m1: 'a0 a2', m2: 'a1 b0', m3: 'b1' })
  })
})

describe('cooperative-sticky', () => {
  it('gives a member that comes nothing of what others have, and takes from those only what has to move', () => {
    const before = [
      member('m1', ['a'], { owned: own('a0 a1 a2'), generation: 4 }),
      member('m2', ['a'], { owned: own('a3 a4 a5'), generation: 4 }),
    ]
    const first = sticky.assign([...before, member('m3', ['a'])], counts({ a: 6 }))
    expect(shown(first)).toEqual({ m1: 'a0 a1', m2: 'a3 a4', m3: '' })
    const second = sticky.assign(
      [...first].map(([id, owned]) => member(id, ['a'], { owned, generation: 5 })),
      counts({ a: 6 }),
    )
    expect(shown(second)).toEqual({ m1: 'a0 a1', m2: 'a3 a4', m3: 'a2 a5' })
  })

  it('believes the later of two members who say that they have a partition, and lets the other give it up first', () => {
    const old = member('m1', ['a'], { owned: own('a0 a1'), generation: 3 })
    const current = member('m2', ['a'], { owned: own('a0'), generation: 4 })
    expect(shown(sticky.assign([old, current], counts({ a: 2 })))).toEqual({ m1: 'a1', m2: '' })
    const after = [
      member('m1', ['a'], { owned: own('a1'), generation: 5 }),
      member('m2', ['a'], { owned: own('a0'), generation: 5 }),
    ]
    expect(shown(sticky.assign(after, counts({ a: 2 })))).toEqual({ m1: 'a1', m2: 'a0' })
  })

  it('balances along a chain of members where no two of them could do it alone', () => {
    const members = [
      member('m1', ['a'], { owned: own('a0 a1 a2'), generation: 1 }),
      member('m2', ['a', 'b'], { owned: own('b0 b1'), generation: 1 }),
      member('m3', ['b'], { generation: 1 }),
    ]
    const loads = [...settle(members, counts({ a: 3, b: 2 })).values()].map((share) => share.length)
    expect(loads.toSorted((a, b) => a - b)).toEqual([1, 2, 2])
  })

  it('forgets partitions that are no more, and topics that are not wanted any more', () => {
    const members = [member('m1', ['a'], { owned: own('a0 a7 b0'), generation: 1 }), member('m2', ['b'])]
    expect(shown(sticky.assign(members, counts({ a: 1, b: 1 })))).toEqual({ m1: 'a0', m2: '' })
  })

  it('shares out ten thousand partitions of one member among a thousand in no time to speak of', () => {
    const owned = Array.from({ length: 10_000 }, (_, partition) => ({ topic: 'a', partition }))
    const members = Array.from({ length: 1_000 }, (_, index) =>
      member(`m${index}`, ['a'], index === 0 ? { owned, generation: 1 } : {}),
    )
    const shares = settle(members, counts({ a: 10_000 }), false)
    expect(new Set([...shares.values()].map((share) => share.length))).toEqual(new Set([10]))
  })
})

/** The members with what they were given. */
function holding(members: readonly GroupMember[], shares: Shares, generation: number): GroupMember[] {
  return members.map(({ memberId, topics }) =>
    member(memberId, topics, { owned: shares.get(memberId) ?? [], generation }),
  )
}

/** Rounds until nothing moves: each member lets go of what it was not given again and comes back with the rest. */
function settle(members: readonly GroupMember[], topics: PartitionCounts, isChecked = true): Shares {
  let current = members
  for (let round = 0; round < 10; round += 1) {
    const shares = sticky.assign(current, topics)
    if (isChecked) checkSafe(current, shares, topics)
    const next = holding(current, shares, round + 100)
    const isDone = next.every((one, index) => one.owned.length >= (current[index]?.owned.length ?? 0)) && round > 0
    current = next
    if (isDone && [...shares.values()].reduce((sum, share) => sum + share.length, 0) === wantedCount(members, topics)) {
      return shares
    }
  }
  throw new Error('it does not settle')
}

function wantedCount(members: readonly GroupMember[], topics: PartitionCounts): number {
  let count = 0
  for (const [topic, partitions] of topics) if (members.some((one) => one.topics.includes(topic))) count += partitions
  return count
}

/** One owner each, who wants the topic, and nothing that another has by its own word. */
function checkSafe(members: readonly GroupMember[], shares: Shares, topics: PartitionCounts): void {
  const owners = new TopicPartitionMap<string>()
  for (const { memberId, topics: wanted } of members) {
    for (const { topic, partition } of shares.get(memberId) ?? []) {
      expect(owners.get(topic, partition)).toBeUndefined()
      expect(wanted).toContain(topic)
      expect(partition).toBeLessThan(topics.get(topic) ?? 0)
      owners.set(topic, partition, memberId)
      const others = members.filter((one) => one.memberId !== memberId)
      const isClaimed = others.some(({ owned }) =>
        owned.some((own) => own.topic === topic && own.partition === partition),
      )
      expect(isClaimed).toBe(false)
    }
  }
}

const topicsArbitrary = fc
  .record({ a: fc.integer({ min: 0, max: 12 }), b: fc.integer({ min: 0, max: 7 }), c: fc.integer({ min: 1, max: 3 }) })
  .map(counts)

describe('every way of sharing out', () => {
  it('gives each partition that is wanted to one member that wants it', () => {
    const wants = fc.array(fc.subarray(['a', 'b', 'c']), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(wants, topicsArbitrary, (wanted, topics) => {
        const members = wanted.map((names, index) => member(`m${index}`, names))
        for (const assignor of Object.values(ASSIGNORS)) {
          const shares = assignor.assign(members, topics)
          checkSafe(members, shares, topics)
          expect([...shares.keys()].toSorted()).toEqual(members.map(({ memberId }) => memberId).toSorted())
          const given = [...shares.values()].reduce((sum, share) => sum + share.length, 0)
          expect(given).toBe(wantedCount(members, topics))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('is balanced within one and sticky, over members that come and go, when it is cooperative', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('come' as const), count: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant('go' as const), count: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ kind: fc.constant('grow' as const), count: fc.integer({ min: 1, max: 5 }) }),
    )
    fc.assert(
      fc.property(topicsArbitrary, fc.array(step, { minLength: 1, maxLength: 8 }), (start, steps) => {
        const topics = new Map(start)
        const names = ['a', 'b', 'c']
        let nextId = 1
        let members = [member('m0', names)]
        for (const { kind, count } of steps) {
          const before = members
          if (kind === 'come') {
            members = members.concat(Array.from({ length: count }, () => member(`m${nextId++}`, names)))
          } else if (kind === 'go') members = members.slice(Math.min(count, members.length - 1))
          else topics.set('a', (topics.get('a') ?? 0) + count)
          const shares = settle(members, topics)
          const loads = [...shares.values()].map((share) => share.length)
          expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
          checkSticky(before, shares, loads)
          members = holding(members, shares, 200)
        }
      }),
      { numRuns: 150 },
    )
  })

  it('is as balanced as the wishes allow: no partition could move to somebody who has two less', () => {
    const wants = fc.array(fc.subarray(['a', 'b', 'c'], { minLength: 1 }), { minLength: 2, maxLength: 7 })
    fc.assert(
      fc.property(wants, topicsArbitrary, (wanted, topics) => {
        const members = wanted.map((names, index) => member(`m${index}`, names))
        const shares = settle(members, topics)
        for (const from of members) {
          for (const { topic } of shares.get(from.memberId) ?? []) {
            for (const to of members.filter((one) => one.topics.includes(topic))) {
              const difference = (shares.get(from.memberId)?.length ?? 0) - (shares.get(to.memberId)?.length ?? 0)
              expect(difference).toBeLessThan(2)
            }
          }
        }
      }),
      { numRuns: 200 },
    )
  })
})

/** Who stayed has lost no more than what it had too much. */
function checkSticky(before: readonly GroupMember[], shares: Shares, loads: readonly number[]): void {
  const least = Math.min(...loads)
  for (const { memberId, owned } of before) {
    const share = shares.get(memberId)
    if (share === undefined) continue
    const kept = owned.filter((one) =>
      share.some(({ topic, partition }) => topic === one.topic && partition === one.partition),
    )
    expect(kept.length).toBeGreaterThanOrEqual(Math.min(owned.length, least))
    // Nobody gives one away to be given another for it.
    expect(kept.length).toBe(Math.min(owned.length, share.length))
  }
}
