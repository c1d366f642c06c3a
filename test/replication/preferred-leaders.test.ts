import { describe, expect, it } from 'vitest'
import { PreferredLeaders, successorOf } from '../../broker/replication/preferred-leaders.ts'
import { type BrokerId, brokerId, leaderEpoch } from '../../shared/ids.ts'

const [one, two, three] = [1, 2, 3].map((id) => brokerId(id)) as [BrokerId, BrokerId, BrokerId]
/** Led by broker 2. */
const LED = { assignment: [one, two, three], epoch: leaderEpoch(3), inSyncReplicas: [one, two, three] }
const anybody = (): boolean => true

describe('the preferred leader', () => {
  it('gets its partition back when it has kept up for ten seconds, half a minute after the election', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('a', LED, anybody, 0)
    expect(leaders.take(29_000, 9)).toEqual([])
    leaders.observe('a', { ...LED, inSyncReplicas: [two, three] }, anybody, 29_500)
    leaders.observe('a', LED, anybody, 30_000)
    expect(leaders.take(39_000, 9)).toEqual([])
    expect(leaders.take(40_000, 9)).toEqual([{ key: 'a', to: one }])
  })

  it('must be a member and connected all that time', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('a', LED, anybody, 0)
    leaders.observe('a', LED, (id) => id !== one, 35_000)
    expect(leaders.take(36_000, 9)).toEqual([])
    leaders.observe('a', LED, anybody, 36_000)
    expect(leaders.take(46_000, 9)).toEqual([{ key: 'a', to: one }])
  })

  it('is not asked again soon when it did not take it, and ever less often', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('a', LED, anybody, 0)
    const asked: number[] = []
    for (let second = 0; second < 600; second += 1) {
      leaders.observe('a', LED, anybody, second * 1_000)
      if (leaders.take(second * 1_000, 9).length > 0) asked.push(second)
    }
    expect(asked).toEqual([30, 60, 120, 240, 480])
  })

  it('gets a few at a time', () => {
    const leaders = new PreferredLeaders<number>(two)
    for (let partition = 0; partition < 10; partition += 1) leaders.observe(partition, LED, anybody, 0)
    expect(leaders.take(40_000, 4)).toHaveLength(4)
    expect(leaders.take(40_000, 9)).toHaveLength(6)
    expect(leaders.take(40_000, 9)).toEqual([])
  })

  it('keeps what it leads, and what is led no more is forgotten', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('own', { ...LED, assignment: [two, one] }, anybody, 0)
    leaders.observe('a', LED, anybody, 0)
    leaders.observe('a', undefined, anybody, 1_000)
    expect(leaders.take(100_000, 9)).toEqual([])
  })
})

describe('a broker that is drained', () => {
  const OWN = { ...LED, assignment: [two, one, three] }

  it('gives away at once what others lead as well, and even what is its own', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('own', OWN, anybody, 0, true)
    leaders.observe('later', { ...OWN, inSyncReplicas: [two] }, anybody, 0, true)
    expect(leaders.take(0, 9)).toEqual([{ key: 'own', to: one }])
    leaders.observe('later', { ...OWN, inSyncReplicas: [two, three] }, anybody, 60_000, true)
    expect(leaders.take(60_000, 1)).toEqual([{ key: 'own', to: one }])
    expect(leaders.take(60_000, 9)).toEqual([{ key: 'later', to: three }])
  })

  it('asks another one after the first has not taken it, and ever less often', () => {
    const leaders = new PreferredLeaders<string>(two)
    const asked: [number, BrokerId][] = []
    for (let second = 0; second < 100; second += 1) {
      leaders.observe('a', OWN, anybody, second * 1_000, true)
      for (const { to } of leaders.take(second * 1_000, 9)) asked.push([second, to])
    }
    expect(asked).toEqual([
      [0, one],
      [5, three],
      [15, one],
      [35, one],
      [75, one],
    ])
  })

  it('keeps what nobody else can lead, and keeps everything again when that is over', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('a', OWN, () => false, 0, true)
    expect(leaders.take(100_000, 9)).toEqual([])
    leaders.observe('a', OWN, anybody, 100_000)
    expect(leaders.take(200_000, 9)).toEqual([])
  })
})

describe('a leader that has lost records to damage', () => {
  const HOLED = { ...LED, assignment: [two, one, three], hasHoles: true }

  it('gives its partition at once to one that has them, and only to such a one', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('a', { ...HOLED, wholeReplicas: [] }, anybody, 0)
    expect(leaders.isUrgent).toBe(false)
    expect(leaders.take(100_000, 9)).toEqual([])
    leaders.observe('a', { ...HOLED, wholeReplicas: [three] }, anybody, 100_000)
    expect(leaders.isUrgent).toBe(true)
    expect(leaders.take(100_000, 9)).toEqual([{ key: 'a', to: three }])
    expect(leaders.take(104_000, 9)).toEqual([])
    expect(leaders.take(105_000, 9)).toEqual([{ key: 'a', to: three }])
  })

  it('gets it back when nothing is missing any more', () => {
    const leaders = new PreferredLeaders<string>(two)
    leaders.observe('a', { ...LED, wholeReplicas: [three] }, anybody, 0)
    expect(leaders.take(300_000, 9)).toEqual([])
    leaders.observe('a', { ...LED, wholeReplicas: [one, three] }, anybody, 300_000)
    expect(leaders.take(310_000, 9)).toEqual([{ key: 'a', to: one }])
  })
})

describe('the successor', () => {
  it('is one with holes only when there is no other', () => {
    const led = { ...LED, assignment: [two, one, three], wholeReplicas: [three] }
    expect(successorOf(led, (id) => id !== two, new Set())).toBe(three)
    expect(successorOf(led, (id) => id === one, new Set())).toBe(one)
  })

  it('is the first of the assignment that keeps up and can be reached', () => {
    const led = { ...LED, assignment: [two, three, one] }
    expect(successorOf(led, (id) => id !== two, new Set())).toBe(three)
    expect(successorOf({ ...led, inSyncReplicas: [one, two] }, (id) => id !== two, new Set())).toBe(one)
    expect(successorOf(led, () => false, new Set())).toBeUndefined()
  })

  it('is another one after the first did not take over, and then the first again', () => {
    const others = (id: BrokerId): boolean => id !== two
    expect(successorOf(LED, others, new Set([one]))).toBe(three)
    expect(successorOf(LED, others, new Set([one, three]))).toBe(one)
  })
})
