import { describe, expect, it } from 'vitest'
import { LeaderEpochCache } from '../../broker/storage/leader-epoch-cache.ts'
import { at, epoch } from './log-fixture.ts'

function cacheOf(...starts: [number, number][]): LeaderEpochCache {
  const cache = new LeaderEpochCache()
  for (const [number, start] of starts) cache.assign(epoch(number), at(start))
  return cache
}

describe('the leader epochs of a log', () => {
  it('end where the next one begins, the latest at the end of the log', () => {
    const cache = cacheOf([1, 0], [3, 10], [4, 15])
    const ends = [0, 1, 2, 3, 4, 5].map((number) => cache.endOffsetFor(epoch(number), at(20)))
    expect(ends).toEqual([
      undefined,
      { epoch: 1, endOffset: 10 },
      { epoch: 1, endOffset: 10 },
      { epoch: 3, endOffset: 15 },
      { epoch: 4, endOffset: 20 },
      { epoch: 4, endOffset: 20 },
    ])
  })

  it('never fall, and one without records leaves no trace', () => {
    const cache = cacheOf([1, 0], [2, 10], [1, 12], [2, 13], [5, 10])
    expect(cache.starts).toEqual([
      { epoch: 1, startOffset: 0 },
      { epoch: 5, startOffset: 10 },
    ])
    expect(cache.latest).toBe(5)
  })

  it('are cut at both ends', () => {
    const cache = cacheOf([1, 0], [3, 10], [4, 15])
    expect(cache.truncate(at(15))).toBe(true)
    expect(cache.latest).toBe(3)
    expect(cache.trim(at(4))).toBe(false)
    expect(cache.starts).toEqual([
      { epoch: 1, startOffset: 0 },
      { epoch: 3, startOffset: 10 },
    ])
    expect(cache.trim(at(10))).toBe(true)
    expect(cache.starts).toEqual([{ epoch: 3, startOffset: 10 }])
    expect(cache.trim(at(10))).toBe(false)
    expect([9, 10, 99].map((offset) => cache.epochAt(at(offset)))).toEqual([undefined, 3, 3])
  })

  it('are the same after a snapshot; nonsense is none', () => {
    const cache = cacheOf([1, 0], [3, 10])
    const restored = new LeaderEpochCache()
    expect(restored.restore(JSON.parse(JSON.stringify(cache.snapshot())))).toBe(true)
    expect(restored.starts).toEqual(cache.starts)
    for (const nonsense of [
      undefined,
      {},
      [1],
      [[1]],
      [
        [3, 0],
        [2, 5],
      ],
      [[1, -1]],
      [['1', 0]],
    ]) {
      expect(restored.restore(nonsense)).toBe(false)
      expect(restored.starts).toEqual([])
    }
  })
})
