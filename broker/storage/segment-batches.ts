// Goes over the batches of a segment, one after another, for whoever takes its time with each: every checksum is compared,
// what is in quarantine is passed over. Owns the reading, the next bytes of which are on their way while the present ones
// are looked at; what a batch means is the reader's.
//
// Invariant: `bytes` holds the present batch whole, from `at` on, until the next `advance` or `read`.

import { TidemarkError } from '../../shared/errors.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { baseOffsetAt, checkBatch, endOffsetAt } from '../../shared/record-batch/header.ts'
import { frameBytes } from './batch-walk.ts'
import type { File } from './disk.ts'
import type { Segment } from './segment.ts'

const CHUNK_BYTES = 1024 * 1024
/** In front of what is read: the beginning of a batch whose end comes with the next bytes is put there. */
const ROOM_BYTES = 256 * 1024
const CHECK = { mayBeCompacted: true }

interface Ahead {
  readonly position: number
  readonly length: number
  readonly done: Promise<number>
}

/** The memory that the reading takes; for one segment after another. */
export class BatchBuffers {
  /** What is looked at, and what is being read. */
  front: Uint8Array = Buffer.allocUnsafeSlow(ROOM_BYTES + CHUNK_BYTES)
  back: Uint8Array = Buffer.allocUnsafeSlow(ROOM_BYTES + CHUNK_BYTES)

  swap(): void {
    const { front } = this
    this.front = this.back
    this.back = front
  }
}

export class SegmentBatches {
  at = 0
  /** Bytes of the present batch; 0 before the first. */
  size = 0
  bytes: Uint8Array
  readonly #segment: Segment
  readonly #file: File
  readonly #buffers: BatchBuffers
  /** Bytes of the segment that there were at the beginning. */
  readonly #end: number
  /** Where `bytes` begins in the file, which may be below 0, and where it is filled up to. */
  #position = 0
  #filled = 0
  #wantedBytes = 0
  #ahead: Ahead | undefined
  #expectedOffset: number

  constructor(segment: Segment, file: File, buffers: BatchBuffers) {
    this.#segment = segment
    this.#file = file
    this.#buffers = buffers
    this.bytes = buffers.front
    this.#end = segment.size
    this.#expectedOffset = segment.baseOffset
  }

  /** Goes to the next batch, if it is in memory: otherwise it must be read first. @throws CORRUPT_MESSAGE */
  advance(): 'batch' | 'read' | 'end' {
    this.at += this.size
    this.size = 0
    this.#passLost()
    const position = this.#position + this.at
    if (position >= this.#end) return 'end'
    const readable = Math.min(this.#end, this.#segment.readableEnd(position)) - position
    const room = Math.min(this.#filled - this.at, readable)
    if (room < BATCH_HEADER_BYTES && readable > room) return this.#want(Math.min(BATCH_HEADER_BYTES, readable))
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
    const left = Math.max(0, this.#filled - this.at)
    const position = this.#position + this.at
    const ahead = this.#ahead
    this.#ahead = undefined
    const read = await ahead?.done
    const isNext = ahead?.position === position + left && read === ahead.length
    if (ahead !== undefined && isNext && left <= ROOM_BYTES && left + ahead.length >= this.#wantedBytes) {
      const { front, back } = this.#buffers
      back.set(front.subarray(this.at, this.at + left), ROOM_BYTES - left)
      this.#buffers.swap()
      this.#take(ROOM_BYTES - left, position, left + ahead.length)
    } else {
      await this.#readNow(position)
    }
    this.#readAhead()
    return this.#filled - this.at - left
  }

  /** Resolves when nothing is being read any more. */
  async close(): Promise<void> {
    await this.#ahead?.done
    this.#ahead = undefined
  }

  #passLost(): void {
    const position = this.#position + this.at
    const lost = this.#segment.lost.find((each) => each.bytes > 0 && each.position === position)
    if (lost === undefined) return
    this.#expectedOffset = lost.endOffset
    this.#position = position + lost.bytes
    this.at = 0
    this.#filled = 0
  }

  #want(bytes: number): 'read' {
    this.#wantedBytes = bytes
    return 'read'
  }

  async #readNow(position: number): Promise<void> {
    const length = Math.min(Math.max(CHUNK_BYTES, this.#wantedBytes), this.#end - position)
    // One that is larger than all others.
    if (this.#buffers.front.length < length) this.#buffers.front = Buffer.allocUnsafeSlow(length)
    const read = await this.#file.readAt(this.#buffers.front.subarray(0, length), position)
    this.#take(0, position, read)
    if (read < length) throw this.#corrupt(`${length - read} bytes are missing`)
  }

  #take(at: number, position: number, length: number): void {
    this.bytes = this.#buffers.front
    this.at = at
    this.#position = position - at
    this.#filled = at + length
  }

  #readAhead(): void {
    const position = this.#position + this.#filled
    const length = Math.min(CHUNK_BYTES, this.#end - position)
    if (length <= 0) return
    // Who asks for it finds out for himself why it has failed.
    const target = this.#buffers.back.subarray(ROOM_BYTES, ROOM_BYTES + length)
    const done = this.#file.readAt(target, position).catch(() => -1)
    this.#ahead = { position, length, done }
  }

  #corrupt(what: string): TidemarkError {
    const where = `${this.#segment.file.path} at byte ${this.#position + this.at}`
    return new TidemarkError('CORRUPT_MESSAGE', `${where}: ${what}`)
  }
}
