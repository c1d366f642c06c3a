// Reads record batches, for consumers and tools; the broker's produce path never comes here. Every length that a batch
// claims is held against the bytes that are there before anything is made for it. Keys and values are views of the
// batch's bytes (or of their decompressed form): whoever keeps one longer than the batch copies it.

import type { Offset, TimestampMs } from '../ids.ts'
import type { RecordHeader } from './encode.ts'
import type { ControlType, TimestampType } from './format.ts'
import type { BatchHeader } from './header.ts'
import { decompress } from '../compression/codec.ts'
import { TidemarkError } from '../errors.ts'
import { BATCH_UNCOMPRESSED_BYTES_MAX } from '../limits.ts'
import { BATCH_HEADER_BYTES, BATCH_MAGIC, CONTROL_TYPES, RECORD_BYTES_MIN, RECORD_HEADER_BYTES_MIN } from './format.ts'
import { batchBytes, computeCrc, readHeader } from './header.ts'
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

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([])
const TEXT_DECODER = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })

/**
 * Opens the batch at `at`: reads its header, compares the checksum, decompresses. @throws CORRUPT_MESSAGE when it is cut
 * or malformed or decompresses to more than is allowed, UNSUPPORTED_FOR_MESSAGE_FORMAT for another format version,
 * UNSUPPORTED_COMPRESSION_TYPE for a codec that is unknown, absent or not prepared.
 */
export function decodeBatch(bytes: Uint8Array, at = 0, options: DecodeOptions = {}): Batch {
  const room = bytes.length - at
  if (room < BATCH_HEADER_BYTES) throw corruptBatch(at, `${room} bytes are too few for a batch`)
  const size = batchBytes(bytes, at)
  if (size < BATCH_HEADER_BYTES || size > room) throw corruptBatch(at, `it claims ${size} bytes, ${room} are there`)
  const header = readHeader(bytes, at)
  if (header.magic !== BATCH_MAGIC) {
    throw new TidemarkError(
      'UNSUPPORTED_FOR_MESSAGE_FORMAT',
      `record batch at byte ${at}: its format version is ${header.magic}, not ${BATCH_MAGIC}`,
    )
  }
  if (options.checkCrc !== false && computeCrc(bytes, at, at + size) !== header.crc) {
    throw corruptBatch(at, 'its checksum does not match')
  }
  if (header.recordCount < 0) throw corruptBatch(at, `it counts ${header.recordCount} records`)
  if (header.codec === undefined) {
    throw new TidemarkError('UNSUPPORTED_COMPRESSION_TYPE', `record batch at byte ${at}: its codec is not known`)
  }
  const payload = bytes.subarray(at + BATCH_HEADER_BYTES, at + size)
  const bytesMax = options.uncompressedBytesMax ?? BATCH_UNCOMPRESSED_BYTES_MAX
  const isPlain = header.codec === 'none' || payload.length === 0
  const records = isPlain ? payload : decompress(header.codec, payload, bytesMax)
  if (header.recordCount * RECORD_BYTES_MIN > records.length) {
    throw corruptBatch(at, `${header.recordCount} records do not fit ${records.length} bytes`)
  }
  return new Batch(header, records)
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
  for (const type of ['abort', 'commit', 'leaderChange'] as const) if (CONTROL_TYPES[type] === number) return type
  return undefined
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
      throw corruptRecord(cursor.at, `a record has ${length} bytes`)
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
    return {
      offset: (this.#baseOffset + offsetDelta) as Offset,
      timestamp: (this.#isAppendTime ? this.#appendTimestamp : this.#baseTimestamp + timestampDelta) as TimestampMs,
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

function corruptBatch(at: number, what: string): TidemarkError {
  return new TidemarkError('CORRUPT_MESSAGE', `record batch at byte ${at}: ${what}`)
}
