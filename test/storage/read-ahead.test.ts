import { expect, test } from 'vitest'
import { BufferPool } from '../../broker/storage/buffer-pool.ts'
import { FilePool, PooledFile } from '../../broker/storage/file-pool.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { ReadAhead } from '../../broker/storage/read-ahead.ts'
import { systemClock } from '../../shared/time.ts'

const KIB = 1024

function setUp(bytesMax: number): { ahead: ReadAhead; buffers: BufferPool; entry: PooledFile } {
  const disk = new MemoryDisk(systemClock)
  disk.makeDirectory('d')
  const content = Uint8Array.from({ length: 400 * KIB }, (_, index) => index % 251)
  disk.open('d/file', 'create').append([content])
  const files = new FilePool(disk)
  const buffers = new BufferPool()
  return { ahead: new ReadAhead(files, buffers, { bytesMax }), buffers, entry: new PooledFile('d/file', false) }
}

test('a read that is taken holds the bytes that stand at its place', async () => {
  const { ahead, entry } = setUp(256 * KIB)
  const read = ahead.begin(entry, 1_000, 64 * KIB)
  if (read === undefined) throw new Error('not begun')
  expect(ahead.take(read)).toBe(true)
  expect(await read.done).toBe(64 * KIB)
  expect(read.buffer[0]).toBe(1_000 % 251)
  expect(read.buffer[64 * KIB - 1]).toBe((1_000 + 64 * KIB - 1) % 251)
  expect(ahead.bytes).toBe(0)
})

test('the oldest reads give way when all together would hold too much, and their buffers go back', async () => {
  const { ahead, buffers, entry } = setUp(128 * KIB)
  const reads = [0, 1, 2].map((index) => ahead.begin(entry, index * 64 * KIB, 64 * KIB))
  expect(ahead.bytes).toBe(128 * KIB)
  const [oldest, , newest] = reads
  if (oldest === undefined || newest === undefined) throw new Error('not begun')
  for (const read of reads) await read?.done
  expect(ahead.take(oldest)).toBe(false)
  expect(ahead.take(newest)).toBe(true)
  expect(buffers.freeBytes).toBe(64 * KIB)
})

test('a read that was dropped while the disk was busy gives its buffer back only when the disk has answered', async () => {
  const { ahead, buffers, entry } = setUp(128 * KIB)
  const read = ahead.begin(entry, 0, 64 * KIB)
  if (read === undefined) throw new Error('not begun')
  ahead.drop(read)
  expect(buffers.freeBytes).toBe(0)
  await read.done
  expect(buffers.freeBytes).toBe(64 * KIB)
})

test('a disk that fails is no failure of a read that nobody has asked for', async () => {
  const { ahead } = setUp(128 * KIB)
  const read = ahead.begin(new PooledFile('d/missing', false), 0, 64 * KIB)
  expect(await read?.done).toBe(-1)
})
