// Goes over the records of one batch and says of each where it stands, what its key is and whether it has a value. Builds
// nothing: compaction looks at millions of records a second. Owns the reading of a record's first fields; its headers and
// what the fields mean to anybody are not looked at.

import { must } from '../../shared/assert.ts'
import { decompress } from '../../shared/compression/codec.ts'
import { BATCH_UNCOMPRESSED_BYTES_MAX } from '../../shared/limits.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { codecAt, lastOffsetDeltaAt, recordCountAt } from '../../shared/record-batch/header.ts'
import { corruptRecord, VarintCursor } from '../../shared/record-batch/varint.ts'

/** The records of the sound batch at `at`, decompressed. @throws CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE */
export function recordsOf(bytes: Uint8Array, at: number, size: number): Uint8Array {
  const payload = bytes.subarray(at + BATCH_HEADER_BYTES, at + size)
  const codec = must(codecAt(bytes, at), 'a checked batch has a known codec')
  if (codec === 'none' || payload.length === 0) return payload
  return decompress(codec, payload, BATCH_UNCOMPRESSED_BYTES_MAX)
}

export class RecordScan {
  /** Of all records, decompressed. */
  readonly bytes: Uint8Array
  /** Of the present record: [start, end) with its length field, */
  start = 0
  end = 0
  /** where the bytes of its timestamp delta are, and what they say, */
  timestampAt = 0
  timestampDelta = 0
  offsetDelta = -1
  /** and where its key is; a length of -1 says that it has none. */
  keyAt = 0
  keyLength = -1
  isTombstone = false
  readonly #cursor: VarintCursor
  readonly #lastOffsetDelta: number
  #left: number

  /** Over the records of the sound batch whose header stands at `at` of `header`. */
  constructor(header: Uint8Array, at: number, records: Uint8Array) {
    this.bytes = records
    this.#cursor = new VarintCursor(records, 0, records.length)
    this.#lastOffsetDelta = lastOffsetDeltaAt(header, at)
    this.#left = recordCountAt(header, at)
  }

  /** Goes to the next record; false when there is none any more. @throws CORRUPT_MESSAGE when it is malformed */
  next(): boolean {
    const cursor = this.#cursor
    if (this.#left === 0) {
      if (cursor.at !== cursor.end)
        throw corruptRecord(cursor.at, `${cursor.end - cursor.at} bytes follow the last record`)
      return false
    }
    this.#left--
    this.start = cursor.at
    const length = cursor.readVarint()
    const end = cursor.at + length
    if (length < 0 || end > cursor.end) throw corruptRecord(cursor.at, `a record of ${length} bytes does not fit`)
    this.end = end
    this.timestampAt = ++cursor.at
    this.timestampDelta = cursor.readVarlong()
    const offsetDelta = cursor.readVarint()
    if (offsetDelta <= this.offsetDelta || offsetDelta > this.#lastOffsetDelta) {
      throw corruptRecord(cursor.at, `the offset delta ${offsetDelta} is out of order or range`)
    }
    this.offsetDelta = offsetDelta
    const keyLength = cursor.readVarint()
    this.keyAt = cursor.at
    this.keyLength = keyLength
    if (keyLength > 0) cursor.at += keyLength
    const valueLength = cursor.at < end ? cursor.readVarint() : NO_ROOM
    this.isTombstone = valueLength === -1
    // At least the count of the headers follows the value.
    if (keyLength < -1 || valueLength < -1 || cursor.at + Math.max(0, valueLength) >= end) {
      throw corruptRecord(this.start, 'a field leaves its record')
    }
    cursor.at = end
    return true
  }
}

const NO_ROOM = -2
