// Reads record batches, for consumers and tools; the broker's produce path never comes here. Every length that a batch
// claims is held against the bytes that are there before anything is made for it. Keys and values are views of the
// batch's bytes (or of their decompressed form): whoever keeps one longer than the batch copies it. They are made at once,
// and always as plain Uint8Array, whatever kind of array the batch came in: measured on Node 20 with 100-byte values and
// 10-byte keys, 10.7 M records/s; views that are made when asked for give 11.0, views as Buffer 7.4.

import type { ErrorCode } from '../errors.ts'
import type { Offset, TimestampMs } from '../ids.ts'
import type { RecordHeader } from './encode.ts'
import type { ControlType, TimestampType } from './format.ts'
import type { BatchHeader } from './header.ts'
import { must } from '../assert.ts'
import { decompress } from '../compression/codec.ts'
import { TidemarkError } from '../errors.ts'
import { BATCH_UNCOMPRESSED_BYTES_MAX } from '../limits.ts'
import { BATCH_HEADER_BYTES, CONTROL_TYPES, RECORD_BYTES_MIN, RECORD_HEADER_BYTES_MIN } from './format.ts'
import { checkBatch, readHeader } from './header.ts'
import { corruptRecord, VarintCursor } from './varint.ts'

export interface DecodedRecord {
  readonly offset: Offset
  /** -1 when the producer gave none. */
  readonly timestamp: TimestampMs
  readonly timestampType: TimestampType
  readonly key: Uint8Array | null
  /** Null is a tombstone. */
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

export interface DecodeOptions {
  /** Whether to compare the checksum. Default true. */
  readonly checkCrc?: boolean
  /** Bytes that the records may have after decompression, at most. Default BATCH_UNCOMPRESSED_BYTES_MAX. */
  readonly uncompressedBytesMax?: number
}

/** What a reader can act on; all else that may be wrong with a stored batch means that it is damaged. */
const CODES_KEPT: ReadonlySet<ErrorCode> = new Set(['UNSUPPORTED_FOR_MESSAGE_FORMAT', 'UNSUPPORTED_COMPRESSION_TYPE'])
const NO_HEADERS: readonly RecordHeader[] = Object.freeze([])
const TEXT_DECODER = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })

/**
 * Opens the batch at `at`: reads its header, compares the checksum, decompresses. @throws CORRUPT_MESSAGE when it is cut
 * or malformed or decompresses to more than is allowed, UNSUPPORTED_FOR_MESSAGE_FORMAT for another format version,
 * UNSUPPORTED_COMPRESSION_TYPE for a codec that is unknown, absent or not prepared.
 */
export function decodeBatch(bytes: Uint8Array, at = 0, options: DecodeOptions = {}): Batch {
  const fault = checkBatch(bytes, at, bytes.length, {
    bytesMax: Number.MAX_SAFE_INTEGER,
    checkCrc: options.checkCrc !== false,
    mayBeCompacted: true,
  })
  if (fault !== undefined)
    throw new TidemarkError(CODES_KEPT.has(fault.code) ? fault.code : 'CORRUPT_MESSAGE', fault.message)
  const header = readHeader(bytes, at)
  const codec = must(header.codec, 'a checked batch has a known codec')
  const payload = bytes.subarray(at + BATCH_HEADER_BYTES, at + header.batchBytes)
  const bytesMax = options.uncompressedBytesMax ?? BATCH_UNCOMPRESSED_BYTES_MAX
  // A batch that compaction has emptied names its codec, but has nothing to decompress.
  const records =
    payload.length === 0 ? payload : decompress(codec, payload, codec === 'none' ? payload.length : bytesMax)
  if (header.recordCount * RECORD_BYTES_MIN > records.length) {
    throw corruptRecord(records.length, `all ends, which ${header.recordCount} records do not fit`)
  }
  return new Batch(header, new Uint8Array(records.buffer, records.byteOffset, records.length))
}

/** Decodes the batch at `at` and visits its records in order. @throws as decodeBatch and Batch.forEach do. */
export function forEachRecord(
  bytes: Uint8Array,
  at: number,
  visit: (record: DecodedRecord) => void,
  options?: DecodeOptions,
): void {
  decodeBatch(bytes, at, options).forEach(visit)
}

/** What a control record says; undefined for a key that is none or of a type this version does not know. */
export function controlTypeOf(record: DecodedRecord): ControlType | undefined {
  const key = record.key
  if (key === null || key.length < 4) return undefined
  const number = ((key[2] ?? 0) << 8) | (key[3] ?? 0)
  const types = ['abort', 'commit', 'leaderChange', 'voters'] as const
  return types.find((type) => CONTROL_TYPES[type] === number)
}

/** A batch whose records have been decompressed but not read. Can be read any number of times. */
export class Batch implements Iterable<DecodedRecord> {
  readonly header: BatchHeader
  readonly #records: Uint8Array

  constructor(header: BatchHeader, records: Uint8Array) {
    this.header = header
    this.#records = records
  }

  get baseOffset(): Offset {
    return this.header.baseOffset
  }

  /** The offset after the batch, whether or not compaction has taken its last records. */
  get endOffset(): Offset {
    return (this.header.baseOffset + this.header.lastOffsetDelta + 1) as Offset
  }

  get recordCount(): number {
    return this.header.recordCount
  }

  /** Whether its record is a marker for the machinery, which applications never see. */
  get isControl(): boolean {
    return this.header.isControl
  }

  /** Bytes of the records after decompression. */
  get uncompressedBytes(): number {
    return this.#records.length
  }

  /** Visits the records in order. @throws CORRUPT_MESSAGE at the first malformed one; those before it were visited. */
  forEach(visit: (record: DecodedRecord) => void): void {
    const reader = new RecordReader(this.header, this.#records)
    for (let left = this.header.recordCount; left > 0; left--) visit(reader.read())
    reader.finish()
  }

  /** All records. @throws CORRUPT_MESSAGE when one is malformed. */
  toArray(): DecodedRecord[] {
    const records: DecodedRecord[] = []
    this.forEach((record) => records.push(record))
    return records
  }

  [Symbol.iterator](): Iterator<DecodedRecord> {
    const reader = new RecordReader(this.header, this.#records)
    let left = this.header.recordCount
    return {
      next() {
        if (left > 0) {
          left--
          return { done: false, value: reader.read() }
        }
        reader.finish()
        return { done: true, value: undefined }
      },
    }
  }
}

/** Reads one record after another. Offsets grow and stay within what the header promises. */
class RecordReader {
  readonly #cursor: VarintCursor
  readonly #baseOffset: number
  readonly #baseTimestamp: number
  readonly #lastOffsetDelta: number
  readonly #timestampType: TimestampType
  /** Of every record, in a batch that the broker stamped. */
  readonly #appendTimestamp: number
  readonly #isAppendTime: boolean
  #offsetDelta = -1

  constructor(header: BatchHeader, records: Uint8Array) {
    this.#cursor = new VarintCursor(records, 0, records.length)
    this.#baseOffset = header.baseOffset
    this.#baseTimestamp = header.baseTimestamp
    this.#lastOffsetDelta = header.lastOffsetDelta
    this.#timestampType = header.timestampType
    this.#appendTimestamp = header.maxTimestamp
    this.#isAppendTime = header.timestampType === 'LogAppendTime'
  }

  read(): DecodedRecord {
    const cursor = this.#cursor
    const length = cursor.readVarint()
    const end = cursor.at + length
    if (length < RECORD_BYTES_MIN - 1 || end > cursor.end)
      throw corruptRecord(cursor.at, `a record of ${length} bytes does not fit`)
    // The attributes of a record have no meaning yet.
    cursor.at++
    const timestampDelta = cursor.readVarlong()
    const offsetDelta = cursor.readVarint()
    if (offsetDelta <= this.#offsetDelta || offsetDelta > this.#lastOffsetDelta) {
      throw corruptRecord(cursor.at, `the offset delta ${offsetDelta} is out of order or range`)
    }
    this.#offsetDelta = offsetDelta
    const key = readNullable(cursor, end)
    const value = readNullable(cursor, end)
    const headerCount = cursor.readVarint()
    const headers = headerCount === 0 ? NO_HEADERS : readHeaders(cursor, headerCount, end)
    if (cursor.at !== end) throw corruptRecord(cursor.at, `a record should end at byte ${end}`)
    const timestamp = this.#isAppendTime ? this.#appendTimestamp : this.#baseTimestamp + timestampDelta
    if (!Number.isSafeInteger(timestamp)) throw corruptRecord(end, 'the timestamp of a record is out of range')
    return {
      offset: (this.#baseOffset + offsetDelta) as Offset,
      timestamp: timestamp as TimestampMs,
      timestampType: this.#timestampType,
      key,
      value,
      headers,
    }
  }

  /** After the last record nothing may follow. */
  finish(): void {
    const { at, end } = this.#cursor
    if (at !== end) throw corruptRecord(at, `${end - at} bytes follow the last record`)
  }
}

function readNullable(cursor: VarintCursor, end: number): Uint8Array | null {
  const length = cursor.readVarint()
  if (length === -1) return null
  const start = cursor.at
  if (length < 0 || length > end - start) throw corruptRecord(start, `a field of ${length} bytes leaves its record`)
  cursor.at = start + length
  return cursor.bytes.subarray(start, start + length)
}

function readHeaders(cursor: VarintCursor, count: number, end: number): readonly RecordHeader[] {
  if (count < 0 || count * RECORD_HEADER_BYTES_MIN > end - cursor.at) {
    throw corruptRecord(cursor.at, `${count} headers do not fit the record`)
  }
  const headers: RecordHeader[] = []
  for (let left = count; left > 0; left--) {
    const name = readNullable(cursor, end)
    if (name === null) throw corruptRecord(cursor.at, 'the name of a header is null')
    headers.push([nameOf(name), readNullable(cursor, end)])
  }
  return headers
}

/** Names are short and ASCII nearly always; the decoder of the runtime costs more than they do. */
function nameOf(bytes: Uint8Array): string {
  if (bytes.length > 32) return TEXT_DECODER.decode(bytes)
  let name = ''
  for (let index = 0; index < bytes.length; index++) {
    const unit = bytes[index] ?? 0
    if (unit > 0x7f) return TEXT_DECODER.decode(bytes)
    name += String.fromCharCode(unit)
  }
  return name
}
