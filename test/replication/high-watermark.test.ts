import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nextHighWatermark, quorumEndOffset } from '../../broker/replication/high-watermark.ts'
import { offset } from '../../shared/ids.ts'

function next(held: readonly number[], minInSyncReplicas: number, highWatermark = 0, epochStartOffset = 0): number {
  return nextHighWatermark({
    highWatermark: offset(highWatermark),
    epochStartOffset: offset(epochStartOffset),
    sets: [{ heldEndOffsets: held.map(offset), minInSyncReplicas }],
  })
}

describe('the high watermark', () => {
  it.each([
    [[9, 7, 3], 1, 9],
    [[9, 7, 3], 2, 7],
    [[9, 7, 3], 3, 3],
    [[9, 0, 0], 2, 0],
    [[7, 7, 7], 2, 7],
    [[4], 1, 4],
    [[5, 9, 9, 1, 2], 3, 5],
  ])('of replicas that hold up to %j, %i of which are enough, is %i', (held, minInSyncReplicas, expected) => {
    expect(next(held, minInSyncReplicas)).toBe(expected)
  })

  it('is not held back by a slow replica', () => {
    expect(next([1_000, 1_000, 0], 2)).toBe(1_000)
  })

  it('never falls', () => {
    expect(next([9, 4, 3], 2, 6)).toBe(6)
  })

  it('moves only when the first record of the epoch is held by enough replicas', () => {
    expect(next([9, 8, 3], 2, 5, 8)).toBe(5)
    expect(next([9, 9, 3], 2, 5, 8)).toBe(9)
  })

  it('is what enough of the old voters and enough of the new ones hold', () => {
    const sets = [
      { heldEndOffsets: [9, 7, 3].map(offset), minInSyncReplicas: 2 },
      { heldEndOffsets: [9, 5, 4, 1].map(offset), minInSyncReplicas: 3 },
    ]
    const facts = { highWatermark: offset(2), epochStartOffset: offset(0) }
    expect(nextHighWatermark({ ...facts, sets })).toBe(4)
    expect(nextHighWatermark({ ...facts, sets: sets.toReversed() })).toBe(4)
    expect(nextHighWatermark({ ...facts, sets: sets.slice(0, 1) })).toBe(7)
  })

  it('is what sorting would say', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 7 }), fc.nat(6), (held, pick) => {
        const count = 1 + (pick % held.length)
        const sorted = held.toSorted((a, b) => b - a)
        expect(quorumEndOffset(held.map(offset), count)).toBe(sorted[count - 1])
      }),
    )
  })
})
