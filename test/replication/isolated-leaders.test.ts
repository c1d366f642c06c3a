import { describe, expect, it } from 'vitest'
import { IsolatedLeaders, type LedAlone } from '../../broker/replication/isolated-leaders.ts'
import { brokerId, leaderEpoch } from '../../shared/ids.ts'

const everybody = (): boolean => true

function led(over: Partial<{ epoch: number; voters: readonly number[]; isFollowed: boolean }> = {}): LedAlone {
  const { epoch = 1, voters = [1, 2, 3], isFollowed = false } = over
  return { epoch: leaderEpoch(epoch), voters: voters.map(brokerId), isFollowed, quorum: 2 }
}

function leaders(): IsolatedLeaders<string> {
  return new IsolatedLeaders(brokerId(1))
}

describe('a led partition', () => {
  it('is given back when nobody has followed it for a while, and others could lead it', () => {
    const isolated = leaders()
    expect(isolated.take([['t', led()]], everybody, 0)).toEqual([])
    expect(isolated.take([['t', led()]], everybody, 3_999)).toEqual([])
    expect(isolated.take([['t', led()]], everybody, 4_000)).toEqual(['t'])
  })

  it('is kept when it was followed in between, and when it is led in a new epoch', () => {
    const isolated = leaders()
    isolated.take([['t', led()]], everybody, 0)
    isolated.take([['t', led({ isFollowed: true })]], everybody, 1_000)
    expect(isolated.take([['t', led()]], everybody, 4_500)).toEqual([])
    expect(isolated.take([['t', led({ epoch: 2 })]], everybody, 9_000)).toEqual([])
  })

  it('is kept when too few others are there to elect a leader: what can be read stays readable', () => {
    const isolated = leaders()
    const isOneOfTwo = (id: number): boolean => id !== 3
    for (const now of [0, 5_000, 50_000]) expect(isolated.take([['t', led()]], isOneOfTwo, now)).toEqual([])
  })

  it('is kept while the same brokers follow another one: they are busy, not out of reach', () => {
    const isolated = leaders()
    const other = led({ voters: [3, 1, 2], isFollowed: true })
    for (const now of [0, 5_000]) {
      expect(
        isolated.take(
          [
            ['t', led()],
            ['u', other],
          ],
          everybody,
          now,
        ),
      ).toEqual([])
    }
    const elsewhere = led({ voters: [1, 4, 5], isFollowed: true })
    for (const now of [6_000, 10_000]) {
      const taken = isolated.take(
        [
          ['t', led()],
          ['u', elsewhere],
        ],
        everybody,
        now,
      )
      expect(taken).toEqual(now === 6_000 ? [] : ['t'])
    }
  })
})
