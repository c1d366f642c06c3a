// The two sparse indexes of a segment and their files.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OffsetIndex } from '../../broker/storage/offset-index.ts'
import { TimeIndex } from '../../broker/storage/time-index.ts'

function offsetIndex(...entries: [number, number][]): OffsetIndex {
  const index = new OffsetIndex()
  for (const [offset, position] of entries) index.append(offset, position)
  return index
}

function timeIndex(...entries: [number, number][]): TimeIndex {
  const index = new TimeIndex()
  for (const [timestamp, offset] of entries) index.append(timestamp, offset)
  return index
}

describe('an offset index', () => {
  it('finds the last entry at or below an offset', () => {
    const index = offsetIndex([0, 0], [10, 4_096], [25, 9_000])
    expect([0, 9, 10, 24, 25, 1_000].map((offset) => index.floor(offset))).toEqual([0, 0, 4_096, 4_096, 9_000, 9_000])
    expect(new OffsetIndex().floor(7)).toBe(0)
  })

  it('has the bytes of the format', () => {
    expect(Buffer.from(offsetIndex([1, 2], [3, 0xffff_ffff]).encode(500_000_000, -1)).toString('hex')).toBe(
      '00000001' +
        '00000002' +
        '00000003ffffffff' +
        '00000002' +
        '1dcd6500' +
        'ffffffffffffffff' +
        '8101033b' +
        '544d4958',
    )
  })

  it('is read back from its file as it was, and extended in front', () => {
    const sorted = fc.uniqueArray(fc.integer({ min: 0, max: 1_000_000 }), { maxLength: 200 })
    fc.assert(
      fc.property(sorted, fc.integer({ min: 0, max: 1_000_000 }), (numbers, wanted) => {
        const entries = numbers.toSorted((a, b) => a - b).map((offset): [number, number] => [offset, offset * 2])
        const index = offsetIndex(...entries)
        const decoded = OffsetIndex.decode(index.encode(3_000_000, 7), 3_000_000)
        expect(decoded?.footer).toEqual({ entryCount: entries.length, segmentBytes: 3_000_000, largestTimestamp: 7 })
        const half = Math.floor(entries.length / 2)
        const upper = offsetIndex(...entries.slice(half))
        upper.prepend(offsetIndex(...entries.slice(0, half)))
        const expected = entries.findLast(([offset]) => offset <= wanted)?.[1] ?? 0
        expect([index, decoded?.index, upper].map((each) => each?.floor(wanted))).toEqual([
          expected,
          expected,
          expected,
        ])
      }),
      { numRuns: 200 },
    )
  })

  it('is not believed when any bit has flipped, when it is cut, or when it speaks of more than there is', () => {
    const bytes = offsetIndex([0, 0], [10, 4_096]).encode(9_000, 1)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(OffsetIndex.decode(damaged, 9_000)).toBeUndefined()
    }
    for (let length = 0; length < bytes.length; length++) {
      expect(OffsetIndex.decode(bytes.subarray(0, length), 9_000)).toBeUndefined()
    }
    expect(OffsetIndex.decode(bytes, 8_999)).toBeUndefined()
    expect(OffsetIndex.decode(offsetIndex([0, 0], [10, 9_000]).encode(9_000, 1), 9_000)).toBeUndefined()
  })

  it('forgets what lies at and behind a position', () => {
    const index = offsetIndex([0, 0], [10, 4_096], [25, 9_000])
    index.truncate(4_096)
    expect(index.count).toBe(1)
    index.append(11, 4_096)
    expect(index.floor(12)).toBe(4_096)
  })
})

describe('a time index', () => {
  it('finds the last batch before which everything is older', () => {
    const index = timeIndex([100, 0], [200, 10], [200, 20], [150, 30], [300, 40])
    expect(index.count).toBe(3)
    expect([50, 100, 101, 200, 201, 301].map((timestamp) => index.floor(timestamp))).toEqual([0, 0, 0, 0, 10, 40])
  })

  it('is read back from its file as it was, and extended in front', () => {
    const index = timeIndex([100, 0], [200, 10])
    expect(TimeIndex.decode(index.encode(9_000, 250), 9_000)?.index.floor(201)).toBe(10)
    const upper = timeIndex([150, 20], [400, 30])
    upper.prepend(index)
    expect([201, 401].map((timestamp) => upper.floor(timestamp))).toEqual([10, 30])
  })

  it('is not believed when any bit has flipped', () => {
    const bytes = timeIndex([100, 0], [200, 10]).encode(9_000, 1)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice()
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(TimeIndex.decode(damaged, 9_000)).toBeUndefined()
    }
  })
})
