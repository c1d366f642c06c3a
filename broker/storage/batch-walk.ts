// A walk over the batches of a segment, from one position to another. Owns the framing: where each batch ends, what cannot
// be a batch, how much must be read next. Does no I/O: two small drivers at the end feed it, one at once, one waiting.
//
// Invariant: every batch that was shown to the visitor lies whole in the bytes shown and begins where the one before ended.

import { BATCH_BYTES_MAX } from '../../shared/limits.ts'
import { BATCH_HEADER_BYTES, BATCH_MAGIC } from '../../shared/record-batch/format.ts'
import { baseOffsetAt, batchBytes, checkBatch, lastOffsetDeltaAt, magicAt } from '../../shared/record-batch/header.ts'
import type { File } from './disk.ts'

const WALK_CHUNK_BYTES = 1024 * 1024

/**
 * What is seen of each batch. Answers whether to stop behind it; or, as a text, why it is no batch of this log after all.
 */
export type BatchVisitor = (bytes: Uint8Array, at: number, batchSize: number, position: number) => boolean | string

export interface WalkOptions {
  /** Where the first batch begins. */
  readonly position: number
  /** Where the bytes end: no batch may reach beyond. */
  readonly end: number
  /** Base offset that the first batch must have; undefined when any will do. Each later one must join the one before. */
  readonly expectedOffset?: number
  /** Whether checksum and fields are checked, not only the frame. */
  readonly isFullCheck?: boolean
  readonly chunkBytes?: number
  readonly visit: BatchVisitor
}

export class BatchWalk {
  /** Where the next batch begins. */
  position: number
  readonly end: number
  /** Base offset that the next batch must have. */
  expectedOffset: number | undefined
  /** Why the batch at `position` is none; the walk is over. */
  fault: string | undefined
  isStopped = false
  readonly #isFullCheck: boolean
  readonly #chunkBytes: number
  readonly #visit: BatchVisitor
  #wantedBytes: number

  constructor(options: WalkOptions) {
    this.position = options.position
    this.end = options.end
    this.expectedOffset = options.expectedOffset
    this.#isFullCheck = options.isFullCheck === true
    this.#chunkBytes = options.chunkBytes ?? WALK_CHUNK_BYTES
    this.#visit = options.visit
    this.#wantedBytes = this.#chunkBytes
  }

  /** Bytes wanted from `position` on; 0 when the walk is over. */
  get wantedBytes(): number {
    if (this.fault !== undefined || this.isStopped) return 0
    return Math.min(this.#wantedBytes, this.end - this.position)
  }

  /** Takes bytes[0, length), which are the file's from `position` on. */
  feed(bytes: Uint8Array, length: number): void {
    const isAll = this.position + length >= this.end
    if (length < this.wantedBytes) {
      this.fault = `the file has ended ${this.wantedBytes - length} bytes too soon`
      return
    }
    this.#wantedBytes = this.#chunkBytes
    let at = 0
    while (at < length) {
      const size = length - at < BATCH_HEADER_BYTES ? -1 : frameBytes(bytes, at)
      if (size > 0 && at + size <= length) {
        if (!this.#take(bytes, at, size)) return
        at += size
        continue
      }
      if (size === 0) {
        this.fault = 'the header is no batch header'
      } else if (isAll) {
        this.fault = `${length - at} bytes are too few for the batch that begins there`
      } else {
        this.#wantedBytes = Math.max(this.#chunkBytes, size)
      }
      return
    }
  }

  #take(bytes: Uint8Array, at: number, size: number): boolean {
    if (this.#isFullCheck) {
      const fault = checkBatch(bytes, at, at + size, FULL_CHECK)
      if (fault !== undefined) {
        this.fault = fault.message
        return false
      }
    }
    const baseOffset = baseOffsetAt(bytes, at)
    if (this.expectedOffset !== undefined && baseOffset !== this.expectedOffset) {
      this.fault = `its base offset is ${baseOffset}, not ${this.expectedOffset}`
      return false
    }
    const verdict = this.#visit(bytes, at, size, this.position)
    if (typeof verdict === 'string') {
      this.fault = verdict
      return false
    }
    this.isStopped = verdict
    this.position += size
    this.expectedOffset = baseOffset + lastOffsetDeltaAt(bytes, at) + 1
    return !this.isStopped
  }
}

const FULL_CHECK = { mayBeCompacted: true }

/**
 * Bytes of the batch whose header stands at `at`, if it can be one: length, magic and offsets are in range. 0 when it
 * cannot. Needs 61 readable bytes. Cheap enough to be asked of every batch that is served.
 */
export function frameBytes(bytes: Uint8Array, at: number): number {
  const size = batchBytes(bytes, at)
  if (size < BATCH_HEADER_BYTES || size > BATCH_BYTES_MAX || magicAt(bytes, at) !== BATCH_MAGIC) return 0
  // The base offset is a safe integer from 0 on, and at least one offset is spanned.
  if (bytes[at] !== 0 || (bytes[at + 1] ?? 0) > 0x1f || lastOffsetDeltaAt(bytes, at) < 0) return 0
  return size
}

/** Runs the walk to its end, waiting for the disk. @throws DiskError */
export async function runWalk(walk: BatchWalk, file: File): Promise<void> {
  let buffer = NOTHING
  for (let wanted = walk.wantedBytes; wanted > 0; wanted = walk.wantedBytes) {
    if (buffer.length < wanted) buffer = Buffer.allocUnsafeSlow(wanted)
    walk.feed(buffer, await file.readAt(buffer.subarray(0, wanted), walk.position))
  }
}

/** Runs the walk to its end at once. @throws DiskError */
export function runWalkSync(walk: BatchWalk, file: File): void {
  let buffer = NOTHING
  for (let wanted = walk.wantedBytes; wanted > 0; wanted = walk.wantedBytes) {
    if (buffer.length < wanted) buffer = Buffer.allocUnsafeSlow(wanted)
    walk.feed(buffer, file.readAtSync(buffer.subarray(0, wanted), walk.position))
  }
}

const NOTHING: Uint8Array = new Uint8Array(0)
