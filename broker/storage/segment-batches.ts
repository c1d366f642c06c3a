// Goes over the batches of a segment, one after another, for whoever takes its time with each: every checksum is compared,
// what is in quarantine is passed over. Owns the reading; what a batch means is the reader's.
//
// Invariant: `bytes` holds the present batch whole, from `at` on, until the next `advance` or `read`.

import { TidemarkError } from '../../shared/errors.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { baseOffsetAt, checkBatch, endOffsetAt } from '../../shared/record-batch/header.ts'
import { frameBytes } from './batch-walk.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { File } from './disk.ts'
import type { Segment } from './segment.ts'

const CHUNK_BYTES = 1024 * 1024
const CHECK = { mayBeCompacted: true }
const NOTHING: Uint8Array = new Uint8Array(0)

export class SegmentBatches {
  bytes = NOTHING
  at = 0
  /** Bytes of the present batch; 0 before the first. */
  size = 0
  readonly #segment: Segment
  readonly #file: File
  readonly #buffers: BufferPool
  /** Bytes of the segment that there were at the beginning. */
  readonly #end: number
  /** Where `bytes` begins in the file, and how many of them are filled. */
  #position = 0
  #filled = 0
  #wantedBytes = CHUNK_BYTES
  #expectedOffset: number

  constructor(segment: Segment, file: File, buffers: BufferPool) {
    this.#segment = segment
    this.#file = file
    this.#buffers = buffers
    this.#end = segment.size
    this.#expectedOffset = segment.baseOffset
  }

  /** The offset after all batches so far. */
  get endOffset(): number {
    return this.#expectedOffset
  }

  /** Goes to the next batch, if it is in memory: otherwise it must be read first. @throws CORRUPT_MESSAGE */
  advance(): 'batch' | 'read' | 'end' {
    this.at += this.size
    this.size = 0
    let position = this.#position + this.at
    const lost = this.#segment.lost.find((each) => each.bytes > 0 && each.position === position)
    if (lost !== undefined) {
      this.#expectedOffset = lost.endOffset
      position += lost.bytes
      this.#position = position
      this.at = 0
      this.#filled = 0
    }
    if (position >= this.#end) return 'end'
    const readable = Math.min(this.#end, this.#segment.readableEnd(position)) - position
    const room = Math.min(this.#filled - this.at, readable)
    if (room < BATCH_HEADER_BYTES && readable > room) return this.#want(CHUNK_BYTES)
    const size = room < BATCH_HEADER_BYTES ? 0 : frameBytes(this.bytes, this.at)
    if (size === 0 || size > readable) throw this.#corrupt('no batch begins there')
    if (size > room) return this.#want(size)
    const fault = checkBatch(this.bytes, this.at, this.at + size, CHECK)
    if (fault !== undefined) throw this.#corrupt(fault.message)
    if (baseOffsetAt(this.bytes, this.at) !== this.#expectedOffset)
      throw this.#corrupt('it does not join what is before')
    this.#expectedOffset = endOffsetAt(this.bytes, this.at)
    this.size = size
    return 'batch'
  }

  /** Reads on from the present place; answers how many bytes. @throws DiskError, CORRUPT_MESSAGE */
  async read(): Promise<number> {
    const position = this.#position + this.at
    const length = Math.min(this.#wantedBytes, this.#end - position)
    if (this.bytes.length < length) {
      this.#giveBack()
      this.bytes = this.#buffers.take(length)
    }
    this.#position = position
    this.at = 0
    this.#filled = 0
    const read = await this.#file.readAt(this.bytes.subarray(0, length), position)
    if (read < length) throw this.#corrupt(`${length - read} bytes are missing`)
    this.#filled = read
    return read
  }

  /** Idempotent. */
  close(): void {
    this.#giveBack()
  }

  #want(bytes: number): 'read' {
    this.#wantedBytes = Math.max(CHUNK_BYTES, bytes)
    return 'read'
  }

  #giveBack(): void {
    if (this.bytes.length > 0) this.#buffers.give(this.bytes)
    this.bytes = NOTHING
  }

  #corrupt(what: string): TidemarkError {
    const where = `${this.#segment.file.path} at byte ${this.#position + this.at}`
    return new TidemarkError('CORRUPT_MESSAGE', `${where}: ${what}`)
  }
}
