// What compaction makes of one batch after another: which records stay, and the batch without the others (FORMAT.md,
// Compaction). Owns these rules, and nothing but the present batch; reads and writes no file. A large batch is looked at in
// steps, so that nobody waits for all of it.
//
// Invariants: no record goes that the key map does not supersede, but tombstones past their time; a batch keeps its offsets,
// its leader epoch and its producer's fields; what cannot be opened stays as it is.

import { assert, must } from '../../shared/assert.ts'
import { compress } from '../../shared/compression/codec.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { BATCH_BYTES_MAX } from '../../shared/limits.ts'
import {
  ATTRIBUTES_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_OVERHEAD_BYTES,
  CONTROL_BIT,
  CRC_AT,
  DELETE_HORIZON_BIT,
  LOG_APPEND_TIME_BIT,
  MAX_TIMESTAMP_AT,
  NO_TIMESTAMP,
  RECORD_COUNT_AT,
} from '../../shared/record-batch/format.ts'
import {
  attributesAt,
  baseOffsetAt,
  baseTimestampAt,
  codecAt,
  computeCrc,
  endOffsetAt,
  maxTimestampAt,
  producerIdAt,
  recordCountAt,
  writeInt16,
  writeInt32,
  writeInt64,
} from '../../shared/record-batch/header.ts'
import { varintBytes, varlongBytes, writeVarint, writeVarlong } from '../../shared/record-batch/varint.ts'
import type { KeyMap } from './key-map.ts'
import { RecordScan, recordsOf } from './record-scan.ts'

export interface CompactionRules {
  readonly keys: KeyMap
  /** The map knows of every record from where it begins up to here, and earlier passes of all before. */
  readonly mapEnd: number
  /** Tombstones at or above stay, whatever their time: somebody who reads along has not come so far. */
  readonly droppableEnd: number
  /** What lies below may not be read any more. */
  readonly logStartOffset: number
  /** Milliseconds since 1970. */
  readonly now: number
  /** How long a tombstone stays, from the pass on that has taken away what it deletes. */
  readonly tombstoneMs: number
  /** Whether the sequence numbers of the producer are known by this batch of its. */
  readonly isNewestOf: (producerId: number, baseOffset: number) => boolean
}

/** What becomes of a batch; one that is `new` has other bytes than before, which stand until the next batch is begun. */
export type CompactedBatch =
  { readonly kind: 'same' } | { readonly kind: 'gap' } | { readonly kind: 'new'; readonly bytes: Uint8Array }

const SAME: CompactedBatch = { kind: 'same' }
const GAP: CompactedBatch = { kind: 'gap' }
const NOTHING: Uint8Array = new Uint8Array(0)
const BUFFER_BYTES_MIN = 64 * 1024
const BUFFER_BYTES_KEPT = 4 * 1024 * 1024

export class BatchCompactor {
  /**
   * Whether all below was looked at and written anew. Once something had to stay as it was, which may hold what a tombstone
   * deletes, no tombstone behind it is touched.
   */
  isAllSeen = true
  /** The end of the newest tombstone that was dropped; 0 when there was none. */
  droppedTo = 0
  readonly #rules: CompactionRules
  #scan: RecordScan | undefined
  #bytes = NOTHING
  #at = 0
  /** Of the records that stay: where they begin and end, as many pairs as there are runs of them. */
  #runs = new Int32Array(1024)
  #runsLength = 0
  #kept = 0
  #tombstones = 0
  #maxTimestamp = NO_TIMESTAMP as number
  #buffer = NOTHING

  constructor(rules: CompactionRules) {
    this.#rules = rules
  }

  /**
   * Takes up the sound batch at `at`. Answers what becomes of it where its header tells that; where its records do, undefined:
   * then `step` does. @throws UNSUPPORTED_COMPRESSION_TYPE
   */
  begin(bytes: Uint8Array, at: number, size: number): CompactedBatch | undefined {
    const { logStartOffset, mapEnd } = this.#rules
    const baseOffset = baseOffsetAt(bytes, at)
    if ((attributesAt(bytes, at) & CONTROL_BIT) !== 0) return SAME
    if (endOffsetAt(bytes, at) <= logStartOffset) return GAP
    if (recordCountAt(bytes, at) === 0) return this.#isNewest(bytes, at) ? SAME : GAP
    if (baseOffset >= mapEnd) return SAME
    this.#bytes = bytes
    this.#at = at
    this.#runsLength = 0
    this.#kept = 0
    this.#tombstones = 0
    this.#maxTimestamp = NO_TIMESTAMP
    try {
      this.#scan = new RecordScan(bytes, at, recordsOf(bytes, at, size))
      return undefined
    } catch (error) {
      return this.#leave(error)
    }
  }

  /** Looks at so many more records. Answers what becomes of the batch when it has seen all of them. */
  step(recordsMax: number): CompactedBatch | undefined {
    const scan = must(this.#scan, 'a batch has been begun')
    const { keys, mapEnd, droppableEnd, now } = this.#rules
    const baseOffset = baseOffsetAt(this.#bytes, this.#at)
    const baseTimestamp = baseTimestampAt(this.#bytes, this.#at)
    const hasHorizon = (attributesAt(this.#bytes, this.#at) & DELETE_HORIZON_BIT) !== 0
    const mayDrop = hasHorizon && this.isAllSeen && now >= baseTimestamp
    try {
      for (let left = recordsMax; left > 0; left--) {
        if (!scan.next()) return this.#finish(hasHorizon)
        if (scan.keyLength >= 0) {
          const offset = baseOffset + scan.offsetDelta
          if (keys.get(scan.bytes, scan.keyAt, scan.keyLength) > offset) continue
          if (scan.isTombstone) {
            if (mayDrop && offset < mapEnd && offset < droppableEnd) {
              this.droppedTo = Math.max(this.droppedTo, offset + 1)
              continue
            }
            this.#tombstones++
          }
        }
        this.#keep(scan.start, scan.end)
        const timestamp = baseTimestamp + scan.timestampDelta
        if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
      }
      return undefined
    } catch (error) {
      return this.#leave(error)
    }
  }

  #isNewest(bytes: Uint8Array, at: number): boolean {
    const producerId = producerIdAt(bytes, at)
    return producerId >= 0 && this.#rules.isNewestOf(producerId, baseOffsetAt(bytes, at))
  }

  /** A batch that no reader can open either is nobody's to change. */
  #leave(error: unknown): CompactedBatch {
    this.#scan = undefined
    if (!(error instanceof TidemarkError) || error.code !== 'CORRUPT_MESSAGE') throw error
    this.isAllSeen = false
    return SAME
  }

  #keep(start: number, end: number): void {
    this.#kept++
    const last = this.#runsLength - 1
    if (last > 0 && this.#runs[last] === start) {
      this.#runs[last] = end
      return
    }
    if (this.#runsLength === this.#runs.length) {
      const larger = new Int32Array(2 * this.#runs.length)
      larger.set(this.#runs)
      this.#runs = larger
    }
    this.#runs[this.#runsLength] = start
    this.#runs[this.#runsLength + 1] = end
    this.#runsLength += 2
  }

  #finish(hasHorizon: boolean): CompactedBatch {
    const scan = must(this.#scan, 'a batch has been begun')
    this.#scan = undefined
    const bytes = this.#bytes
    const at = this.#at
    const isPassed = this.isAllSeen && endOffsetAt(bytes, at) <= this.#rules.mapEnd
    const isToMark = this.#tombstones > 0 && !hasHorizon && isPassed
    if (this.#kept === recordCountAt(bytes, at) && !isToMark) return SAME
    if (this.#kept === 0 && !this.#isNewest(bytes, at)) return GAP
    const codec = must(codecAt(bytes, at), 'a checked batch has a known codec')
    const end = isToMark ? this.#writeMarked(scan) : this.#writeKept(scan)
    let batch = this.#buffer.subarray(0, end)
    if (codec !== 'none' && this.#kept > 0) {
      const payload = compress(codec, batch.subarray(BATCH_HEADER_BYTES))
      // It may do worse on fewer records. What is superseded does no harm.
      if (BATCH_HEADER_BYTES + payload.length > BATCH_BYTES_MAX) return SAME
      batch = new Uint8Array(BATCH_HEADER_BYTES + payload.length)
      batch.set(payload, BATCH_HEADER_BYTES)
    }
    if (batch.length > BATCH_BYTES_MAX) return SAME
    this.#writeHeader(batch, isToMark)
    return { kind: 'new', bytes: batch }
  }

  /** The records as they are; answers where they end in the buffer. */
  #writeKept(scan: RecordScan): number {
    this.#growBuffer(BATCH_HEADER_BYTES + scan.bytes.length)
    const buffer = this.#buffer
    let end = BATCH_HEADER_BYTES
    for (let run = 0; run < this.#runsLength; run += 2) {
      const start = this.#runs[run] ?? 0
      const length = (this.#runs[run + 1] ?? 0) - start
      buffer.set(scan.bytes.subarray(start, start + length), end)
      end += length
    }
    return end
  }

  /** The records with their timestamps counted from the time at which the tombstones among them may go. */
  #writeMarked({ bytes }: RecordScan): number {
    const baseTimestamp = baseTimestampAt(this.#bytes, this.#at)
    const horizon = this.#horizon
    const again = new RecordScan(this.#bytes, this.#at, bytes)
    this.#growBuffer(BATCH_HEADER_BYTES + bytes.length + RECORD_GROWTH_MAX * this.#kept)
    const buffer = this.#buffer
    let end = BATCH_HEADER_BYTES
    let run = 0
    while (again.next() && run < this.#runsLength) {
      if (again.start < (this.#runs[run] ?? 0)) continue
      const { start, timestampAt } = again
      const restAt = timestampAt + varlongEnd(bytes, timestampAt)
      const delta = baseTimestamp + again.timestampDelta - horizon
      const restLength = again.end - restAt
      const bodyLength = 1 + varlongBytes(delta) + restLength
      end = writeVarint(buffer, end, bodyLength)
      buffer[end] = bytes[timestampAt - 1] ?? 0
      end = writeVarlong(buffer, end + 1, delta)
      buffer.set(bytes.subarray(restAt, restAt + restLength), end)
      end += restLength
      assert(varintBytes(bodyLength) > 0 && start < restAt, 'a record has a length and a body')
      if (again.end === this.#runs[run + 1]) run += 2
    }
    return end
  }

  get #horizon(): number {
    return Math.min(this.#rules.now + this.#rules.tombstoneMs, Number.MAX_SAFE_INTEGER)
  }

  #writeHeader(batch: Uint8Array, isToMark: boolean): void {
    const { length } = batch
    batch.set(this.#bytes.subarray(this.#at, this.#at + BATCH_HEADER_BYTES))
    const attributes = attributesAt(batch, 0)
    writeInt32(batch, BATCH_LENGTH_AT, length - BATCH_OVERHEAD_BYTES)
    if (isToMark) {
      writeInt16(batch, ATTRIBUTES_AT, attributes | DELETE_HORIZON_BIT)
      writeInt64(batch, BASE_TIMESTAMP_AT, this.#horizon)
    }
    // The time of the append is that of all records, whichever are left; and an empty batch keeps what it had.
    const isOwnTime = (attributes & LOG_APPEND_TIME_BIT) === 0 && this.#kept > 0
    if (isOwnTime) writeInt64(batch, MAX_TIMESTAMP_AT, Math.min(this.#maxTimestamp, maxTimestampAt(batch, 0)))
    writeInt32(batch, RECORD_COUNT_AT, this.#kept)
    writeInt32(batch, CRC_AT, computeCrc(batch, 0, length))
  }

  #growBuffer(bytes: number): void {
    const isTooLarge = this.#buffer.length > BUFFER_BYTES_KEPT && bytes <= BUFFER_BYTES_KEPT
    if (this.#buffer.length >= bytes && !isTooLarge) return
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES_MIN, bytes))
  }
}

/** A timestamp delta may need nine bytes more than before, and the length of the record two. */
const RECORD_GROWTH_MAX = 11

/** How many bytes the number that begins there has; it has been read before. */
function varlongEnd(bytes: Uint8Array, at: number): number {
  let length = 1
  while ((bytes[at + length - 1] ?? 0) >= 0x80) length++
  return length
}
