// The next bytes of a sequential reader, read from the disk while the last ones are on their way to it. Owns the buffers of
// reads that nobody has asked for yet, and the bound on them all; knows neither batches nor offsets.
//
// Invariants: at most one read lies ahead of a place; together they hold at most bytesMax, the oldest giving way to the
// newest; a buffer goes back to the pool when its read has settled and nobody has taken it.

import { assert } from '../../shared/assert.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { FilePool, PooledFile } from './file-pool.ts'

const READ_AHEAD_BYTES_DEFAULT = 16 * 1024 * 1024

/** A read that was begun before it was asked for. */
export class AheadRead {
  readonly entry: PooledFile
  readonly position: number
  readonly length: number
  readonly buffer: Uint8Array
  /** Bytes read; -1 when the disk failed, which a read that is asked for will find out for itself. */
  readonly done: Promise<number>
  isUnwanted = false
  isSettled = false

  constructor(options: {
    readonly entry: PooledFile
    readonly position: number
    readonly length: number
    readonly buffer: Uint8Array
    readonly done: Promise<number>
  }) {
    this.entry = options.entry
    this.position = options.position
    this.length = options.length
    this.buffer = options.buffer
    this.done = options.done
  }
}

export class ReadAhead {
  readonly #files: FilePool
  readonly #buffers: BufferPool
  readonly #bytesMax: number
  /** Oldest first. */
  readonly #reads = new Set<AheadRead>()
  #bytes = 0

  constructor(files: FilePool, buffers: BufferPool, options: { readonly bytesMax?: number } = {}) {
    this.#files = files
    this.#buffers = buffers
    this.#bytesMax = options.bytesMax ?? READ_AHEAD_BYTES_DEFAULT
  }

  /** Bytes of all buffers that hold, or wait for, what nobody has asked for yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** Begins to read; undefined when the bytes are more than all reads may hold together. Failures are told by `done`. */
  begin(entry: PooledFile, position: number, length: number): AheadRead | undefined {
    if (length > this.#bytesMax) return undefined
    for (const oldest of this.#reads) {
      if (this.#bytes + length <= this.#bytesMax) break
      this.drop(oldest)
    }
    const buffer = this.#buffers.take(length)
    const read = new AheadRead({ entry, position, length, buffer, done: this.#read(entry, position, length, buffer) })
    const onSettled = (): void => {
      read.isSettled = true
      if (read.isUnwanted) this.#buffers.give(buffer)
    }
    read.done.then(onSettled, onSettled)
    this.#reads.add(read)
    this.#bytes += length
    return read
  }

  /** Hands the read over: its buffer is the caller's to give back once `done` has settled. False when it was dropped. */
  take(read: AheadRead): boolean {
    if (!this.#reads.delete(read)) return false
    this.#bytes -= read.length
    return true
  }

  /** Nobody will ask for it. Idempotent. */
  drop(read: AheadRead): void {
    if (!this.#reads.delete(read)) return
    assert(!read.isUnwanted, 'a read ahead is dropped once')
    this.#bytes -= read.length
    read.isUnwanted = true
    if (read.isSettled) this.#buffers.give(read.buffer)
  }

  async #read(entry: PooledFile, position: number, length: number, buffer: Uint8Array): Promise<number> {
    try {
      const file = this.#files.acquire(entry)
      try {
        return await file.readAt(buffer.subarray(0, length), position)
      } finally {
        this.#files.release(entry)
      }
    } catch {
      return -1
    }
  }
}
