// The file of a compacted segment while it is written, with its indexes. Owns the writing in pieces of moderate size, and
// that what nothing is left of becomes gaps, neighbouring ones together; knows nothing of what stays and why.
//
// Invariant: the batches written join one another from the segment's base offset on.

import { assert } from '../../shared/assert.ts'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { baseOffsetAt, endOffsetAt, leaderEpochAt } from '../../shared/record-batch/header.ts'
import type { Disk, File } from './disk.ts'
import { cleanedFile } from './file-names.ts'
import { GAP_BYTES, GAP_OFFSETS_MAX, writeGap } from './gap-batch.ts'
import { Segment } from './segment.ts'

/** Written at a time: a write to the page cache is done at once, and nobody else has a turn meanwhile. */
const PIECE_BYTES = 256 * 1024
/** Unsynced at most: the medium is to take a little all the time rather than all at the end. */
const UNSYNCED_BYTES_MAX = 16 * 1024 * 1024

export class CleanedSegment {
  readonly segment: Segment
  /** Bytes that were written and not synced are more than should be: `sync` is asked for. */
  isSyncDue = false
  readonly #disk: Disk
  readonly #file: File
  readonly #indexIntervalBytes: number
  readonly #piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
  #pieceLength = 0
  #unsyncedBytes = 0
  #endOffset: number
  #gapBase: number
  #gapEpoch = -1 as LeaderEpoch

  /** @throws DiskError */
  constructor(disk: Disk, directory: string, baseOffset: Offset, indexIntervalBytes: number) {
    this.segment = new Segment(directory, baseOffset, 0, true)
    this.segment.file.path = `${directory}/${cleanedFile(baseOffset)}`
    this.segment.indexedFrom = 0
    this.#disk = disk
    this.#indexIntervalBytes = indexIntervalBytes
    this.#endOffset = baseOffset
    this.#gapBase = baseOffset
    disk.remove(this.segment.file.path)
    this.#file = disk.open(this.segment.file.path, 'create')
  }

  /** The offset after all that it was given. */
  get endOffset(): number {
    return this.#endOffset
  }

  /** Adds a batch. @throws DiskError */
  add(bytes: Uint8Array, at: number, size: number): void {
    this.#closeGap()
    assert(baseOffsetAt(bytes, at) === this.#endOffset, 'the batches of a compacted segment join one another')
    this.#put(bytes, at, size)
    this.#endOffset = endOffsetAt(bytes, at)
    this.#gapBase = this.#endOffset
  }

  /** Nothing is left of the batch but its offsets. @throws DiskError */
  addGap(bytes: Uint8Array, at: number): void {
    assert(baseOffsetAt(bytes, at) === this.#endOffset, 'the gaps of a compacted segment join what is beside them')
    const epoch = leaderEpochAt(bytes, at)
    const endOffset = endOffsetAt(bytes, at)
    if (epoch !== this.#gapEpoch || endOffset - this.#gapBase > GAP_OFFSETS_MAX) this.#closeGap()
    this.#gapEpoch = epoch
    this.#endOffset = endOffset
  }

  /** Answers how many bytes it has made durable. @throws DiskError */
  async sync(): Promise<number> {
    const bytes = this.#unsyncedBytes
    this.isSyncDue = false
    this.#unsyncedBytes = 0
    await this.#file.sync()
    return bytes
  }

  /** All of it is on stable storage when it resolves. @throws DiskError */
  async finish(): Promise<void> {
    this.#closeGap()
    this.#write()
    await this.#file.sync()
    this.#file.close()
    this.segment.syncedSize = this.segment.size
  }

  /** Nobody needs it. @throws DiskError */
  discard(): void {
    this.#file.close()
    this.#disk.remove(this.segment.file.path)
  }

  #closeGap(): void {
    const baseOffset = this.#gapBase
    const endOffset = this.#endOffset
    if (endOffset === baseOffset) return
    const gap = new Uint8Array(GAP_BYTES)
    writeGap(gap, 0, { baseOffset, endOffset, epoch: this.#gapEpoch })
    this.#put(gap, 0, GAP_BYTES)
    this.#gapBase = endOffset
  }

  #put(bytes: Uint8Array, at: number, size: number): void {
    const { segment } = this
    segment.noteBatch(bytes, at, segment.size, this.#indexIntervalBytes)
    if (this.#pieceLength + size > PIECE_BYTES) this.#write()
    if (size > PIECE_BYTES) {
      this.#append(bytes.subarray(at, at + size))
    } else {
      this.#piece.set(bytes.subarray(at, at + size), this.#pieceLength)
      this.#pieceLength += size
    }
    segment.size += size
  }

  #write(): void {
    if (this.#pieceLength > 0) this.#append(this.#piece.subarray(0, this.#pieceLength))
    this.#pieceLength = 0
  }

  #append(bytes: Uint8Array): void {
    this.#file.append([bytes])
    this.#unsyncedBytes += bytes.length
    this.isSyncDue = this.#unsyncedBytes >= UNSYNCED_BYTES_MAX
  }
}
