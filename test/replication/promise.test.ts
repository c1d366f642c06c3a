import { describe, expect, it } from 'vitest'
import { EPOCH_LEAP_MAX, isPlausibleEpoch, mayPromise, nextEpoch } from '../../broker/replication/promise.ts'
import { brokerId, leaderEpoch } from '../../shared/ids.ts'

const promise = { epoch: leaderEpoch(7), leader: brokerId(1) }

describe('a promise', () => {
  it.each([
    [6, 1, false],
    [6, 2, false],
    [7, 1, true],
    [7, 2, false],
    [8, 1, true],
    [8, 2, true],
  ])('of epoch 7 to broker 1 lets a replica promise epoch %i to broker %i: %s', (epoch, leader, expected) => {
    expect(mayPromise(promise, leaderEpoch(epoch), brokerId(leader))).toBe(expected)
  })

  it('may be given to anybody while there is none, for epoch 0 too', () => {
    expect(mayPromise(undefined, leaderEpoch(0), brokerId(3))).toBe(true)
  })
})

describe('a new epoch', () => {
  it.each([
    [undefined, undefined, 0],
    [undefined, 0, 1],
    [7, undefined, 8],
    [7, 3, 8],
    [7, 7, 8],
    [7, 12, 13],
  ])('where %s is known and %s is hinted is %i', (known, hint, expected) => {
    const epochOf = (value: number | undefined) => (value === undefined ? undefined : leaderEpoch(value))
    expect(nextEpoch(epochOf(known), epochOf(hint))).toBe(expected)
  })

  it('does not follow a hint that would use up the epochs there are', () => {
    expect(nextEpoch(leaderEpoch(7), leaderEpoch(0x7fff_ffff))).toBe(8)
    expect(isPlausibleEpoch(leaderEpoch(7 + EPOCH_LEAP_MAX), leaderEpoch(7))).toBe(true)
    expect(isPlausibleEpoch(leaderEpoch(8 + EPOCH_LEAP_MAX), leaderEpoch(7))).toBe(false)
  })
})
