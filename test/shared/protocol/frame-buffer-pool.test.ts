import { describe, expect, it } from 'vitest'
import { FrameBufferPool } from '../../../shared/protocol/frame-buffer-pool.ts'

const KIB = 1024

describe('FrameBufferPool', () => {
  it('hands out powers of two and the same buffer again', () => {
    const pool = new FrameBufferPool()
    const sizes = [1, 16 * KIB, 16 * KIB + 1, 64 * KIB, 100 * KIB].map((bytes) => pool.take(bytes).length / KIB)
    expect(sizes).toEqual([16, 16, 32, 64, 128])
    const buffer = pool.take(50 * KIB)
    pool.give(buffer)
    expect(pool.freeBytes).toBe(64 * KIB)
    expect(pool.take(60 * KIB)).toBe(buffer)
    expect(pool.freeBytes).toBe(0)
  })

  it('keeps no more than it may, and no large ones', () => {
    const pool = new FrameBufferPool(100 * KIB)
    const taken = [1, 2, 3].map(() => pool.take(64 * KIB))
    for (const buffer of taken) pool.give(buffer)
    expect(pool.freeBytes).toBe(64 * KIB)
    const large = pool.take(5_000 * KIB)
    expect(large).toHaveLength(5_000 * KIB)
    pool.give(large)
    expect(pool.freeBytes).toBe(64 * KIB)
  })
})
