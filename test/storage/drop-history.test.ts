import { describe, expect, it } from 'vitest'
import { DropHistory } from '../../broker/storage/drop-history.ts'
import { at } from './log-fixture.ts'

describe('what is remembered of dropped tombstones', () => {
  it('says how far they went since a reader began, older ones that went later included', () => {
    const history = new DropHistory()
    expect(history.endSince(0)).toBe(0)
    history.add(at(100))
    history.add(at(50))
    expect(history.count).toBe(2)
    expect(history.endSince(0)).toBe(100)
    expect(history.endSince(1)).toBe(50)
    expect(history.endSince(2)).toBe(0)
  })

  it('knows nothing of a reader who began too long ago, or in another life', () => {
    const history = new DropHistory()
    for (let count = 0; count < 1_000; count += 1) history.add(at(count))
    expect(history.endSince(999)).toBe(999)
    expect(history.endSince(10)).toBeUndefined()
    expect(history.endSince(1_001)).toBeUndefined()
  })
})
