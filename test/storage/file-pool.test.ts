// What all partitions share: open files, buffers, memory for tails.

import { describe, expect, it } from 'vitest'
import { BufferPool, POOLED_BYTES_MAX } from '../../broker/storage/buffer-pool.ts'
import { FilePool, PooledFile } from '../../broker/storage/file-pool.ts'
import type { TailBlock } from '../../broker/storage/hot-tail.ts'
import { HotTail, HotTailBudget } from '../../broker/storage/hot-tail.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { createLog } from '../../broker/storage/log-opening.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { at, batch, put, readAll, SetClock } from './log-fixture.ts'

function filesOn(disk: MemoryDisk, count: number): PooledFile[] {
  return Array.from({ length: count }, (_, index) => {
    disk.writeFile(`${index}`, new Uint8Array(1))
    return new PooledFile(`${index}`, false)
  })
}

describe('the open files', () => {
  it('are never more than allowed: the one not used for longest is closed', () => {
    const disk = new MemoryDisk(new SetClock())
    const pool = new FilePool(disk, { openFilesMax: 2 })
    const [first, second, third] = filesOn(disk, 3)
    if (first === undefined || second === undefined || third === undefined) throw new Error('no files')
    for (const file of [first, second, first, third]) {
      pool.acquire(file)
      pool.release(file)
    }
    expect(pool.openFiles).toBe(2)
    expect([first, second, third].map((file) => file.file !== undefined)).toEqual([true, false, true])
  })

  it('are never closed while in use, and unsynced ones last', () => {
    const disk = new MemoryDisk(new SetClock())
    const pool = new FilePool(disk, { openFilesMax: 2 })
    const [used, unsynced, clean, other] = filesOn(disk, 4)
    if (used === undefined || unsynced === undefined || clean === undefined || other === undefined) throw new Error()
    pool.acquire(used)
    for (const file of [unsynced, clean]) {
      pool.acquire(file)
      file.hasUnsyncedBytes = file === unsynced
      pool.release(file)
    }
    expect(used.file).toBeDefined()
    pool.acquire(other)
    pool.drop(used)
    expect(used.file).toBeDefined()
    pool.release(used)
    expect(used.file).toBeUndefined()
  })

  it('become writable for who comes later, and stay open for who reads', () => {
    const disk = new MemoryDisk(new SetClock())
    const pool = new FilePool(disk)
    const [entry] = filesOn(disk, 1)
    if (entry === undefined) throw new Error('no file')
    const reading = pool.acquire(entry)
    expect(() => reading.truncate(0)).toThrow('EBADF')
    pool.makeWritable(entry)
    pool.acquire(entry).truncate(0)
    expect(reading.readAtSync(new Uint8Array(1), 0)).toBe(0)
    pool.release(entry)
    pool.release(entry)
    expect(() => reading.readAtSync(new Uint8Array(1), 0)).toThrow('EBADF')
    pool.closeIdle()
    expect(pool.openFiles).toBe(0)
  })

  it('are enough for many partitions with few descriptors', async () => {
    const disk = new MemoryDisk(new SetClock())
    const context = createStorageContext(disk, { openFilesMax: 3, hotTailBytes: 0 })
    const logs = Array.from({ length: 20 }, (_, index) =>
      createLog(context, `logs/${index}`, parseTopicConfig({ 'segment.bytes': '1024' })),
    )
    for (let round = 0; round < 10; round++) for (const log of logs) put(log, batch([`${round} `.repeat(100)]))
    await Promise.all(logs.map((log) => log.sync()))
    const read = await Promise.all(logs.map((log) => readAll(log)))
    for (const records of read) expect(records.length).toBe(10)
    expect(context.files.openFiles).toBeLessThanOrEqual(3)
  })

  // A read that came after the topic was deleted opened the file again, and kept its bytes on the disk.
  it('are not opened again by a read that comes after the log was closed', async () => {
    const context = createStorageContext(new MemoryDisk(new SetClock()), { hotTailBytes: 0 })
    const log = createLog(context, 'logs/0', parseTopicConfig({}))
    put(log, batch(['a']))
    log.close()
    await expect(log.read(at(0), 1_000, at(1))).rejects.toThrow('ENOENT')
    expect(context.files.openFiles).toBe(0)
  })
})

describe('the buffers for reads', () => {
  it('are used again, by size class, and bounded', () => {
    const pool = new BufferPool({ freeBytesMax: 200_000 })
    const small = pool.take(1)
    expect(small.length).toBe(65_536)
    pool.give(small)
    expect(pool.take(65_536)).toBe(small)
    expect(pool.take(65_537).length).toBe(131_072)
    for (let count = 0; count < 10; count++) pool.give(new Uint8Array(65_536))
    expect(pool.freeBytes).toBeLessThanOrEqual(200_000)
    const huge = pool.take(POOLED_BYTES_MAX + 1)
    expect(huge.length).toBe(POOLED_BYTES_MAX + 1)
    pool.give(huge)
    expect(pool.freeBytes).toBeLessThanOrEqual(200_000)
  })
})

describe('the memory of the tails', () => {
  it('goes from the coldest partition to the one that needs it, but never unwritten bytes', () => {
    const budget = new HotTailBudget({ limitBytes: 40_000 })
    const [cold, warm] = [new HotTail(budget), new HotTail(budget)]
    const first = cold.blockFor(100, at(0))
    first.noteBatch(at(0), at(1), 100)
    warm.blockFor(100, at(0)).noteBatch(at(0), at(1), 100)
    warm.blockFor(16_384, at(1))
    expect(cold.blockCount).toBe(1)
    expect(budget.usedBytes).toBeGreaterThan(40_000)
    first.written = first.used
    budget.shrink()
    expect(cold.blockCount).toBe(0)
  })

  it('is used again only when no slice of it is out', () => {
    const budget = new HotTailBudget({ limitBytes: 16_384 })
    const tail = new HotTail(budget)
    const fill = (offset: number): TailBlock => {
      const block = tail.blockFor(16_384, at(offset))
      block.noteBatch(at(offset), at(offset + 1), 16_384)
      block.written = block.used
      return block
    }
    const first = fill(0)
    first.readers = 1
    const second = fill(1)
    expect(second.bytes).not.toBe(first.bytes)
    expect(fill(2).bytes.length).toBe(32_768)
    const small = new HotTail(budget).blockFor(16_384, at(0))
    expect(small.bytes).not.toBe(first.bytes)
    small.noteBatch(at(0), at(1), 16_384)
    small.written = small.used
    expect(new HotTail(budget).blockFor(16_384, at(0)).bytes).toBe(small.bytes)
  })
})
