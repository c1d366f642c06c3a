// When two sides of a partition are the same, and which offset of one is which of the other.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Comparison, type ComparisonOptions, type ComparisonResult } from '../../broker/mirror/comparison.ts'

type Records = readonly (readonly [offset: number, digest: number])[]

/** Given in pieces of so many, to whichever side asks. */
function compare(
  source: Records,
  target: Records,
  options: Partial<ComparisonOptions> = {},
  piece = 2,
): ComparisonResult {
  const comparison = new Comparison({ order: 'by-offset', mayLack: [], wanted: [], ...options })
  const rest = { source: [...source], target: [...target] }
  for (let side = comparison.hungry; side !== undefined; side = comparison.hungry) {
    const part = rest[side].splice(0, piece)
    for (const [offset, digest] of part) comparison.add(side, offset, digest)
    if (part.length === 0) comparison.end(side)
    comparison.settle()
  }
  return comparison.finish(1_000)
}

const abc: Records = [
  [0, 10],
  [1, 11],
  [2, 12],
]

describe('by offset', () => {
  it('finds the same records the same, and sums them up alike', () => {
    const result = compare(abc, abc, { wanted: [0, 2, 3] })
    expect(result).toMatchObject({
      records: 3,
      sourceRecords: 3,
      targetRecords: 3,
      difference: undefined,
      sourceOffset: 3,
    })
    expect(result.sourceChecksum).toBe(result.targetChecksum)
    expect([...result.translations]).toEqual([
      [0, 0],
      [2, 2],
      [3, 1_000],
    ])
  })

  it.each<[string, Records, string]>([
    ['one that the target has not', abc.slice(0, 2), 'the target does not have it'],
    ['one that only the target has', [...abc, [3, 13]], 'only the target has it'],
    [
      'one that is another',
      [
        [0, 10],
        [1, 99],
        [2, 12],
      ],
      'it is another record',
    ],
    [
      'one that is missing in the middle',
      [
        [0, 10],
        [2, 12],
      ],
      'the target does not have it',
    ],
    ['all of them', [], 'the target does not have it'],
  ])('finds %s, and counts both sides to their ends', (_, target, what) => {
    const result = compare(abc, target)
    expect(result.difference?.what).toContain(what)
    expect(result).toMatchObject({ sourceRecords: 3, targetRecords: target.length })
    expect(result.sourceChecksum).not.toBe(result.targetChecksum)
  })

  it('passes over what compaction has taken from one side, but not from the other', () => {
    const less: Records = [
      [0, 10],
      [2, 12],
    ]
    expect(compare(abc, less, { mayLack: ['target'] })).toMatchObject({ records: 2, difference: undefined })
    expect(compare(less, abc, { mayLack: ['target'] }).difference?.what).toBe('only the target has it')
  })
})

describe('in order', () => {
  it('finds the same records at other offsets, and says which is which', () => {
    const moved: Records = [
      [1, 10],
      [5, 11],
      [6, 12],
    ]
    const result = compare(abc, moved, { order: 'in-order', wanted: [1, 2] })
    expect(result).toMatchObject({ records: 3, difference: undefined })
    expect(Object.fromEntries(result.translations)).toEqual({ 1: 5, 2: 6 })
  })

  it('passes over what the source has dropped at its beginning, and over nothing later', () => {
    expect(compare(abc.slice(1), abc, { order: 'in-order' })).toMatchObject({ records: 2, difference: undefined })
    const hole: Records = [
      [0, 10],
      [2, 12],
    ]
    expect(compare(hole, abc, { order: 'in-order' }).difference?.offset).toBe(2)
  })
})

it('finds any one record that was lost, doubled or changed, however the pieces fall', () => {
  const digests = fc.uniqueArray(fc.nat(1_000_000), { minLength: 2, maxLength: 30 })
  const change = fc.constantFrom('lost', 'doubled', 'changed')
  fc.assert(
    fc.property(digests, fc.nat(), change, fc.integer({ min: 1, max: 5 }), (all, seed, kind, piece) => {
      const source: Records = all.map((digest, offset) => [offset, digest])
      const at = seed % all.length
      const copy = all.flatMap((digest, index) => {
        if (index !== at) return [digest]
        return kind === 'lost' ? [] : kind === 'doubled' ? [digest, digest] : [2_000_000]
      })
      const target: Records = copy.map((digest, offset) => [offset, digest])
      expect(compare(source, source, { order: 'in-order' }, piece).difference).toBeUndefined()
      expect(compare(source, target, { order: 'in-order' }, piece).difference).toBeDefined()
      expect(compare(source, target, {}, piece).difference).toBeDefined()
    }),
    { numRuns: 200 },
  )
})
