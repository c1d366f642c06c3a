import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KeyMap } from '../../broker/storage/key-map.ts'
import { seededRandom } from '../../shared/random.ts'

describe('the table of keys', () => {
  it('knows the greatest offset of every key, whatever the keys are', () => {
    const key = fc.uint8Array({ maxLength: 20 })
    const puts = fc.array(fc.tuple(key, fc.integer({ min: 0, max: 0xffff_fffd })), { maxLength: 400 })
    fc.assert(
      fc.property(puts, fc.integer(), (list, seed) => {
        const map = new KeyMap(1024 * 1024, 1_000, seededRandom(seed))
        const model = new Map<string, number>()
        for (const [bytes, offset] of list) {
          const name = Buffer.from(bytes).toString('hex')
          expect(map.put(bytes, 0, bytes.length, 1_000 + offset)).toBe(true)
          model.set(name, Math.max(model.get(name) ?? 0, 1_000 + offset))
        }
        expect(map.count).toBe(model.size)
        for (const [bytes] of list) {
          expect(map.get(bytes, 0, bytes.length)).toBe(model.get(Buffer.from(bytes).toString('hex')))
        }
      }),
      { numRuns: 100 },
    )
  })

  it('grows up to its bound, takes no new key then, and keeps those that it has', () => {
    const map = new KeyMap(100_000, 0, seededRandom(3))
    const bytes = new Uint8Array(8)
    const view = new DataView(bytes.buffer)
    let count = 0
    for (; count < 10_000; count++) {
      view.setUint32(0, count)
      if (!map.put(bytes, 0, 8, count)) break
    }
    expect(count).toBeGreaterThan(2_000)
    expect(map.bytes).toBeLessThanOrEqual(100_000)
    expect(map.get(bytes, 0, 8)).toBe(-1)
    view.setUint32(0, 7)
    expect(map.put(bytes, 0, 8, 20_000)).toBe(true)
    expect(map.get(bytes, 0, 8)).toBe(20_000)
    for (let number = 8; number < count; number++) {
      view.setUint32(0, number)
      expect(map.get(bytes, 0, 8)).toBe(number)
    }
  })

  it('tells keys apart that differ in length, in one bit, or only by where they stand', () => {
    const map = new KeyMap(100_000, 0, seededRandom(4))
    const bytes = Uint8Array.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
    const keys = [
      [0, 0],
      [0, 1],
      [0, 2],
      [0, 3],
      [0, 4],
      [0, 5],
      [5, 4],
      [1, 5],
    ] as const
    for (const [index, [at, length]] of keys.entries()) map.put(bytes, at, length, index)
    expect(map.count).toBe(keys.length)
    expect(keys.map(([at, length]) => map.get(bytes, at, length))).toEqual(keys.map((_, index) => index))
    // The same bytes at another place are the same key.
    expect(map.get(bytes, 6, 3)).toBe(3)
  })
})
