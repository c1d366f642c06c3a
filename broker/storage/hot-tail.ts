// The newest batches of a partition, in memory: where an append puts them, where a write takes them from, and what a
// consumer that keeps up is served from. Owns the blocks of memory and the budget that all partitions share; knows nothing
// of files.
//
// Invariants: within a block batches lie one behind the other, written <= used; a block with unwritten bytes is never
// evicted; the memory of a block is given to another only when no slice of it is out.

import { assert } from '../../shared/assert.ts'
import type { Offset } from '../../shared/ids.ts'
import { baseOffsetAt, batchBytes, endOffsetAt } from '../../shared/record-batch/header.ts'
import type { Linked } from './least-recently-used.ts'
import { RecencyList } from './least-recently-used.ts'

const BLOCK_BYTES_MIN = 16 * 1024
const BLOCK_BYTES_MAX = 1024 * 1024
/** Bytes between two entries of a block's own sparse index. */
const BLOCK_INDEX_BYTES = 4 * 1024
const HOT_TAIL_BYTES_DEFAULT = 64 * 1024 * 1024

/** Whole batches, one behind the other. The bytes are only valid until release. */
export interface ReadSlice {
  /** The first batch holds fetchOffset, and may begin below it. Empty when there is nothing to read yet. */
  readonly bytes: Uint8Array
  /** The offset after the last batch: where to go on. */
  readonly endOffset: Offset
  /** Idempotent. */
  release(): void
}

export class TailBlock implements Linked<TailBlock> {
  readonly bytes: Uint8Array
  readonly tail: HotTail
  readonly baseOffset: Offset
  /** Bytes filled, and the offset after them. */
  used = 0
  endOffset: Offset
  /** Bytes that stand in the file too, and the offset after them: what may be read. */
  written = 0
  writtenEndOffset: Offset
  /** Slices that are out. */
  readers = 0
  /** Offset and position of a batch every few kilobytes. */
  readonly offsets: number[] = []
  readonly positions: number[] = []
  newer: TailBlock | undefined
  older: TailBlock | undefined
  isLinked = false

  constructor(bytes: Uint8Array, tail: HotTail, baseOffset: Offset) {
    this.bytes = bytes
    this.tail = tail
    this.baseOffset = baseOffset
    this.endOffset = baseOffset
    this.writtenEndOffset = baseOffset
  }

  /** Takes note of a batch that was put at `used`. */
  noteBatch(baseOffset: Offset, endOffset: Offset, bytes: number): void {
    const last = this.positions[this.positions.length - 1]
    if (last === undefined || this.used - last >= BLOCK_INDEX_BYTES) {
      this.offsets.push(baseOffset)
      this.positions.push(this.used)
    }
    this.used += bytes
    this.endOffset = endOffset
  }

  /** The position of a batch at or before the offset. */
  floorPosition(offset: number): number {
    let low = 0
    let high = this.offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.offsets[middle] ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return this.positions[low - 1] ?? 0
  }
}

/** The memory that the tails of all partitions may take together. */
export class HotTailBudget {
  readonly limitBytes: number
  /** Bytes of all blocks, unwritten ones included: these may go beyond the limit, since they have nowhere else to be. */
  usedBytes = 0
  readonly #blocks = new RecencyList<TailBlock>()

  constructor(options: { readonly limitBytes?: number } = {}) {
    this.limitBytes = options.limitBytes ?? HOT_TAIL_BYTES_DEFAULT
  }

  touch(block: TailBlock): void {
    if (block.isLinked) this.#blocks.touch(block)
  }

  /** A block with room for so many bytes. The coldest blocks of any partition make room for it. */
  allocate(bytes: number, tail: HotTail, baseOffset: Offset): TailBlock {
    let memory: Uint8Array | undefined
    let block = this.#blocks.oldest
    while (memory === undefined && block !== undefined && this.usedBytes + bytes > this.limitBytes) {
      const next: TailBlock | undefined = block.newer
      if (block.written === block.used) {
        this.free(block)
        if (block.readers === 0 && block.bytes.length === bytes) memory = block.bytes
      }
      block = next
    }
    const fresh = new TailBlock(memory ?? Buffer.allocUnsafeSlow(bytes), tail, baseOffset)
    this.usedBytes += bytes
    this.#blocks.touch(fresh)
    return fresh
  }

  /** Gives back what had to go beyond the limit before it was written. */
  shrink(): void {
    let block = this.usedBytes > this.limitBytes ? this.#blocks.oldest : undefined
    while (block !== undefined && this.usedBytes > this.limitBytes) {
      const next: TailBlock | undefined = block.newer
      if (block.written === block.used) this.free(block)
      block = next
    }
  }

  /** Takes the block from its tail. A slice that is out keeps the memory alive. */
  free(block: TailBlock): void {
    assert(block.isLinked, 'a block is freed once')
    this.#blocks.remove(block)
    this.usedBytes -= block.bytes.length
    block.tail.drop(block)
  }
}

export class HotTail {
  readonly #budget: HotTailBudget
  /** In order of offsets; there may be gaps where blocks were evicted. */
  readonly #blocks: TailBlock[] = []
  #nextBytes = BLOCK_BYTES_MIN

  constructor(budget: HotTailBudget) {
    this.#budget = budget
  }

  get blockCount(): number {
    return this.#blocks.length
  }

  /** The block to put a batch of so many bytes into, at its `used`. */
  blockFor(bytes: number, baseOffset: Offset): TailBlock {
    const last = this.#blocks[this.#blocks.length - 1]
    if (last !== undefined && last.bytes.length - last.used >= bytes && last.endOffset === baseOffset) {
      this.#budget.touch(last)
      return last
    }
    const size = Math.max(this.#nextBytes, bytes)
    this.#nextBytes = Math.min(BLOCK_BYTES_MAX, this.#nextBytes * 2)
    const block = this.#budget.allocate(size, this, baseOffset)
    this.#blocks.push(block)
    return block
  }

  /** The batches from the one that holds fetchOffset on; undefined when they are not all here. Never past endOffset. */
  read(fetchOffset: Offset, maxBytes: number, endOffset: Offset): ReadSlice | undefined {
    const block = this.#blockOf(fetchOffset)
    if (block === undefined) return undefined
    const bytes = block.bytes
    let start = block.floorPosition(fetchOffset)
    while (endOffsetAt(bytes, start) <= fetchOffset) start += batchBytes(bytes, start)
    let end = block.written
    let sliceEndOffset = block.writtenEndOffset
    if (sliceEndOffset > endOffset || end - start > maxBytes) {
      end = start
      sliceEndOffset = baseOffsetAt(bytes, start)
      while (end < block.written) {
        const next = end + batchBytes(bytes, end)
        const nextOffset = endOffsetAt(bytes, end)
        if (nextOffset > endOffset || (next - start > maxBytes && end > start)) break
        end = next
        sliceEndOffset = nextOffset
      }
      // The batch that holds fetchOffset is not below endOffset as a whole.
      if (end === start) sliceEndOffset = fetchOffset
    }
    this.#budget.touch(block)
    return new TailSlice(block, start, end, sliceEndOffset)
  }

  /** Forgets what lies at and above the offset; what is written below it stays. */
  truncate(offset: Offset): void {
    for (const block of [...this.#blocks]) {
      if (block.endOffset > offset) this.#budget.free(block)
    }
  }

  /** Forgets what ends at or below the offset: the files have less of it by now. */
  forgetBelow(offset: Offset): void {
    for (const block of [...this.#blocks]) {
      if (block.endOffset <= offset && block.written === block.used) this.#budget.free(block)
    }
  }

  /** Gives all memory back. */
  clear(): void {
    for (const block of [...this.#blocks]) this.#budget.free(block)
  }

  /** Called by the budget alone. */
  drop(block: TailBlock): void {
    const at = this.#blocks.indexOf(block)
    if (at === 0) this.#blocks.shift()
    else if (at > 0) this.#blocks.splice(at, 1)
    if (this.#blocks.length === 0) this.#nextBytes = BLOCK_BYTES_MIN
  }

  #blockOf(offset: number): TailBlock | undefined {
    let low = 0
    let high = this.#blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#blocks[middle]?.baseOffset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    const block = this.#blocks[low - 1]
    return block !== undefined && offset < block.writtenEndOffset ? block : undefined
  }
}

class TailSlice implements ReadSlice {
  readonly bytes: Uint8Array
  readonly endOffset: Offset
  #block: TailBlock | undefined

  constructor(block: TailBlock, start: number, end: number, endOffset: Offset) {
    this.bytes = block.bytes.subarray(start, end)
    this.endOffset = endOffset
    this.#block = block
    block.readers++
  }

  release(): void {
    if (this.#block === undefined) return
    this.#block.readers--
    this.#block = undefined
  }
}

/** Nothing to read yet. */
export class EmptySlice implements ReadSlice {
  readonly bytes = NO_BYTES
  readonly endOffset: Offset

  constructor(endOffset: Offset) {
    this.endOffset = endOffset
  }

  release(): void {}
}

const NO_BYTES = new Uint8Array(0)
