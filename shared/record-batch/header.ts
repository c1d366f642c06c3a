// Reads and patches the header of a record batch where it lies, without building an object: this is all that the broker
// ever does with a batch. Knows nothing of records or codecs. 64-bit fields are read as two halves; a value that a number
// cannot hold exactly is refused, by checkBatch with a code and by the reading functions with CORRUPT_MESSAGE.

import type { ErrorCode } from '../errors.ts'
import type { LeaderEpoch, Offset, ProducerId, TimestampMs } from '../ids.ts'
import type { Codec, TimestampType } from './format.ts'
import { crc32cRange } from '../crc32c.ts'
import { TidemarkError } from '../errors.ts'
import { BATCH_BYTES_MAX } from '../limits.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_MAGIC,
  BATCH_OVERHEAD_BYTES,
  CODEC_MASK,
  CODECS,
  CONTROL_BIT,
  CRC_AT,
  CRC_START_AT,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LOG_APPEND_TIME_BIT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  NO_PRODUCER_ID,
  NO_TIMESTAMP,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_BYTES_MIN,
  RECORD_COUNT_AT,
  TRANSACTIONAL_BIT,
} from './format.ts'

const TWO_TO_32 = 0x1_0000_0000
/** The high half of a 64-bit value that a number can hold lies in [-SAFE_HIGH, SAFE_HIGH). */
const SAFE_HIGH = 0x20_0000

/** The header as an object, for tools and tests. */
export interface BatchHeader {
  readonly baseOffset: Offset
  /** Bytes of the whole batch, header included. */
  readonly batchBytes: number
  /** -1 until a leader has stamped it. */
  readonly leaderEpoch: LeaderEpoch
  readonly magic: number
  readonly crc: number
  readonly attributes: number
  /** Undefined for a number that no codec has. */
  readonly codec: Codec | undefined
  readonly timestampType: TimestampType
  readonly isTransactional: boolean
  readonly isControl: boolean
  readonly lastOffsetDelta: number
  /** -1 when the producer gave no timestamp. */
  readonly baseTimestamp: TimestampMs
  readonly maxTimestamp: TimestampMs
  /** -1 when the producer is not idempotent; so are the two after it. */
  readonly producerId: ProducerId
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

export interface CheckBatchOptions {
  /** Bytes of the whole batch, at most. Default BATCH_BYTES_MAX. */
  readonly bytesMax?: number
  /** Whether to compare the checksum. Default true; false only where it was compared before. */
  readonly checkCrc?: boolean
  /** Whether compaction may have taken records out, so that fewer (or none) are left than the offsets span. */
  readonly mayBeCompacted?: boolean
}

export interface BatchFault {
  readonly code: ErrorCode
  readonly message: string
}

/** Bytes of the batch at `at`, header included. Needs 12 readable bytes; the value is as the sender wrote it. */
export function batchBytes(bytes: Uint8Array, at: number): number {
  return readInt32(bytes, at + BATCH_LENGTH_AT) + BATCH_OVERHEAD_BYTES
}

/** @throws CORRUPT_MESSAGE when it is no safe integer. */
export function baseOffsetAt(bytes: Uint8Array, at: number): Offset {
  return readInt64(bytes, at + BASE_OFFSET_AT) as Offset
}

/** The number of offsets that the batch spans, minus one. */
export function lastOffsetDeltaAt(bytes: Uint8Array, at: number): number {
  return readInt32(bytes, at + LAST_OFFSET_DELTA_AT)
}

/** The offset after the batch. @throws CORRUPT_MESSAGE when the base offset is no safe integer. */
export function endOffsetAt(bytes: Uint8Array, at: number): Offset {
  return (baseOffsetAt(bytes, at) + lastOffsetDeltaAt(bytes, at) + 1) as Offset
}

export function recordCountAt(bytes: Uint8Array, at: number): number {
  return readInt32(bytes, at + RECORD_COUNT_AT)
}

/** -1 in a batch that no leader has stamped. */
export function leaderEpochAt(bytes: Uint8Array, at: number): LeaderEpoch {
  return readInt32(bytes, at + LEADER_EPOCH_AT) as LeaderEpoch
}

export function magicAt(bytes: Uint8Array, at: number): number {
  return byteAt(bytes, at + MAGIC_AT)
}

export function crcAt(bytes: Uint8Array, at: number): number {
  return readInt32(bytes, at + CRC_AT) >>> 0
}

export function attributesAt(bytes: Uint8Array, at: number): number {
  return readInt16(bytes, at + ATTRIBUTES_AT)
}

/** Undefined for a number that no codec has. */
export function codecAt(bytes: Uint8Array, at: number): Codec | undefined {
  return CODECS[attributesAt(bytes, at) & CODEC_MASK]
}

/** -1 when the producer gave no timestamp. @throws CORRUPT_MESSAGE when it is no safe integer. */
export function baseTimestampAt(bytes: Uint8Array, at: number): TimestampMs {
  return readInt64(bytes, at + BASE_TIMESTAMP_AT) as TimestampMs
}

/** -1 when the producer gave no timestamp. @throws CORRUPT_MESSAGE when it is no safe integer. */
export function maxTimestampAt(bytes: Uint8Array, at: number): TimestampMs {
  return readInt64(bytes, at + MAX_TIMESTAMP_AT) as TimestampMs
}

/** NO_PRODUCER_ID (-1) when the producer is not idempotent. @throws CORRUPT_MESSAGE when it is no safe integer. */
export function producerIdAt(bytes: Uint8Array, at: number): ProducerId {
  return readInt64(bytes, at + PRODUCER_ID_AT) as ProducerId
}

export function producerEpochAt(bytes: Uint8Array, at: number): number {
  return readInt16(bytes, at + PRODUCER_EPOCH_AT)
}

export function baseSequenceAt(bytes: Uint8Array, at: number): number {
  return readInt32(bytes, at + BASE_SEQUENCE_AT)
}

/** Stands outside the checksum, which stays right. */
export function setBaseOffset(bytes: Uint8Array, at: number, offset: Offset): void {
  writeInt64(bytes, at + BASE_OFFSET_AT, offset)
}

/** Stands outside the checksum, which stays right. */
export function setLeaderEpoch(bytes: Uint8Array, at: number, epoch: LeaderEpoch): void {
  writeInt32(bytes, at + LEADER_EPOCH_AT, epoch)
}

/** Stamps the batch with the broker's clock (milliseconds) and computes the checksum anew. */
export function setLogAppendTime(bytes: Uint8Array, at: number, timestamp: TimestampMs): void {
  writeInt16(bytes, at + ATTRIBUTES_AT, attributesAt(bytes, at) | LOG_APPEND_TIME_BIT)
  writeInt64(bytes, at + MAX_TIMESTAMP_AT, timestamp)
  writeInt32(bytes, at + CRC_AT, computeCrc(bytes, at, at + batchBytes(bytes, at)))
}

/** The checksum that a batch of these bytes must carry. */
export function computeCrc(bytes: Uint8Array, at: number, end: number): number {
  return crc32cRange(bytes, at + CRC_START_AT, end)
}

/** Needs 61 readable bytes. @throws CORRUPT_MESSAGE when a 64-bit field is no safe integer. */
export function readHeader(bytes: Uint8Array, at: number): BatchHeader {
  const attributes = attributesAt(bytes, at)
  return {
    baseOffset: baseOffsetAt(bytes, at),
    batchBytes: batchBytes(bytes, at),
    leaderEpoch: leaderEpochAt(bytes, at),
    magic: magicAt(bytes, at),
    crc: crcAt(bytes, at),
    attributes,
    codec: codecAt(bytes, at),
    timestampType: (attributes & LOG_APPEND_TIME_BIT) === 0 ? 'CreateTime' : 'LogAppendTime',
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    lastOffsetDelta: lastOffsetDeltaAt(bytes, at),
    baseTimestamp: baseTimestampAt(bytes, at),
    maxTimestamp: maxTimestampAt(bytes, at),
    producerId: producerIdAt(bytes, at),
    producerEpoch: producerEpochAt(bytes, at),
    baseSequence: baseSequenceAt(bytes, at),
    recordCount: recordCountAt(bytes, at),
  }
}

/**
 * What is wrong with the one batch that starts at `at` and may use the bytes up to `end`; undefined when nothing is. Looks
 * at the header and the checksum only: nothing is decompressed, no record is read. After it has passed, no reading
 * function of this file throws for this batch, and batchBytes is at most end - at.
 */
export function checkBatch(
  bytes: Uint8Array,
  at: number,
  end: number,
  options?: CheckBatchOptions,
): BatchFault | undefined {
  const room = end - at
  if (room < BATCH_HEADER_BYTES) return fault('CORRUPT_MESSAGE', at, `${room} bytes are too few for a batch`)
  const size = batchBytes(bytes, at)
  if (size < BATCH_HEADER_BYTES) return fault('CORRUPT_MESSAGE', at, `its length field gives it ${size} bytes`)
  const bytesMax = options?.bytesMax ?? BATCH_BYTES_MAX
  if (size > bytesMax) return fault('MESSAGE_TOO_LARGE', at, `it has ${size} bytes, at most ${bytesMax} are allowed`)
  if (size > room) return fault('CORRUPT_MESSAGE', at, `it should have ${size} bytes, but only ${room} are there`)
  const magic = magicAt(bytes, at)
  if (magic !== BATCH_MAGIC) {
    const code = magic < BATCH_MAGIC ? 'UNSUPPORTED_FOR_MESSAGE_FORMAT' : 'CORRUPT_MESSAGE'
    return fault(code, at, `its format version is ${magic}, not ${BATCH_MAGIC}`)
  }
  if (options?.checkCrc !== false) {
    const crc = computeCrc(bytes, at, at + size)
    if (crc !== crcAt(bytes, at)) {
      return fault('CORRUPT_MESSAGE', at, `its checksum is ${hex(crc)}, the header says ${hex(crcAt(bytes, at))}`)
    }
  }
  return checkFields(bytes, at, size, options?.mayBeCompacted === true)
}

function checkFields(bytes: Uint8Array, at: number, size: number, mayBeCompacted: boolean): BatchFault | undefined {
  const codec = attributesAt(bytes, at) & CODEC_MASK
  if (codec >= CODECS.length) return fault('UNSUPPORTED_COMPRESSION_TYPE', at, `no codec has the number ${codec}`)
  const count = recordCountAt(bytes, at)
  const span = lastOffsetDeltaAt(bytes, at) + 1
  if (mayBeCompacted ? count < 0 || count > span : count < 1 || count !== span) {
    return fault('INVALID_RECORD', at, `it counts ${count} records for ${span} offsets`)
  }
  if (codec === 0 && count * RECORD_BYTES_MIN > size - BATCH_HEADER_BYTES) {
    return fault('INVALID_RECORD', at, `${count} records do not fit its ${size} bytes`)
  }
  if (!isSafeInt64(bytes, at + BASE_TIMESTAMP_AT) || baseTimestampAt(bytes, at) < NO_TIMESTAMP) {
    return fault('INVALID_TIMESTAMP', at, 'its base timestamp is out of range')
  }
  if (!isSafeInt64(bytes, at + MAX_TIMESTAMP_AT) || maxTimestampAt(bytes, at) < NO_TIMESTAMP) {
    return fault('INVALID_TIMESTAMP', at, 'its maximum timestamp is out of range')
  }
  if (!isSafeInt64(bytes, at + PRODUCER_ID_AT) || producerIdAt(bytes, at) < NO_PRODUCER_ID) {
    return fault('INVALID_RECORD', at, 'its producer id is out of range')
  }
  if (!isSafeInt64(bytes, at + BASE_OFFSET_AT) || !isOffsetRange(baseOffsetAt(bytes, at), span)) {
    return fault('CORRUPT_MESSAGE', at, 'its offsets are out of range')
  }
  return undefined
}

function isOffsetRange(baseOffset: number, span: number): boolean {
  return baseOffset >= 0 && baseOffset + span <= Number.MAX_SAFE_INTEGER
}

function fault(code: ErrorCode, at: number, what: string): BatchFault {
  return { code, message: `record batch at byte ${at}: ${what}` }
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}

// The primitives below are the hottest code of the broker. `?? 0` is for the type checker only: where the index is in
// bounds the compiler drops it.

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}

function readInt16(bytes: Uint8Array, at: number): number {
  return ((byteAt(bytes, at) << 24) >> 16) | byteAt(bytes, at + 1)
}

function readInt32(bytes: Uint8Array, at: number): number {
  return (
    (byteAt(bytes, at) << 24) | (byteAt(bytes, at + 1) << 16) | (byteAt(bytes, at + 2) << 8) | byteAt(bytes, at + 3)
  )
}

function isSafeInt64(bytes: Uint8Array, at: number): boolean {
  const high = readInt32(bytes, at)
  return high >= -SAFE_HIGH && high < SAFE_HIGH
}

function readInt64(bytes: Uint8Array, at: number): number {
  const high = readInt32(bytes, at)
  if (high < -SAFE_HIGH || high >= SAFE_HIGH) {
    throw new TidemarkError('CORRUPT_MESSAGE', `record batch: the 64-bit field at byte ${at} is out of range`)
  }
  return high * TWO_TO_32 + (readInt32(bytes, at + 4) >>> 0)
}

export function writeInt16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8
  bytes[at + 1] = value
}

export function writeInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** The value is a safe integer. */
export function writeInt64(bytes: Uint8Array, at: number, value: number): void {
  writeInt32(bytes, at, Math.floor(value / TWO_TO_32))
  writeInt32(bytes, at + 4, value)
}
