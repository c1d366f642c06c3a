// What compaction leaves of batches of which no record is left: a batch that spans their offsets and holds nothing
// (FORMAT.md, Compaction). Owns its bytes and how to tell one; knows nothing of what was in the batches.
//
// Invariant: batches join one another across it, so that a hole in a log is a loss whether or not the log is compacted.

import { assert } from '../../shared/assert.ts'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import {
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_AT,
  BATCH_MAGIC,
  BATCH_OVERHEAD_BYTES,
  CONTROL_BIT,
  CRC_AT,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  NO_PRODUCER_EPOCH,
  NO_PRODUCER_ID,
  NO_SEQUENCE,
  NO_TIMESTAMP,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
} from '../../shared/record-batch/format.ts'
import {
  attributesAt,
  baseOffsetAt,
  checkBatch,
  computeCrc,
  endOffsetAt,
  leaderEpochAt,
  producerIdAt,
  recordCountAt,
  writeInt16,
  writeInt32,
  writeInt64,
} from '../../shared/record-batch/header.ts'

export const GAP_BYTES = BATCH_HEADER_BYTES
/** The last offset delta of a batch is an int32. */
export const GAP_OFFSETS_MAX = 0x8000_0000

/** Offsets of which no record is left, all of one leader epoch. */
export interface Gap {
  readonly baseOffset: number
  readonly endOffset: number
  readonly epoch: LeaderEpoch
}

/** Writes the batch at `at`. */
export function writeGap(target: Uint8Array, at: number, { baseOffset, endOffset, epoch }: Gap): void {
  assert(endOffset > baseOffset, 'a gap has offsets')
  assert(endOffset - baseOffset <= GAP_OFFSETS_MAX, 'a gap fits its last offset delta')
  target.fill(0, at, at + GAP_BYTES)
  writeInt64(target, at + BASE_OFFSET_AT, baseOffset)
  writeInt32(target, at + BATCH_LENGTH_AT, GAP_BYTES - BATCH_OVERHEAD_BYTES)
  writeInt32(target, at + LEADER_EPOCH_AT, epoch)
  target[at + MAGIC_AT] = BATCH_MAGIC
  writeInt32(target, at + LAST_OFFSET_DELTA_AT, endOffset - baseOffset - 1)
  writeInt64(target, at + BASE_TIMESTAMP_AT, NO_TIMESTAMP)
  writeInt64(target, at + MAX_TIMESTAMP_AT, NO_TIMESTAMP)
  writeInt64(target, at + PRODUCER_ID_AT, NO_PRODUCER_ID)
  writeInt16(target, at + PRODUCER_EPOCH_AT, NO_PRODUCER_EPOCH)
  writeInt32(target, at + BASE_SEQUENCE_AT, NO_SEQUENCE)
  writeInt32(target, at + CRC_AT, computeCrc(target, at, at + GAP_BYTES))
}

/** Whether the sound batch at `at` is one: it says nothing but which offsets there were. */
export function isGapAt(bytes: Uint8Array, at: number): boolean {
  const isControl = (attributesAt(bytes, at) & CONTROL_BIT) !== 0
  return recordCountAt(bytes, at) === 0 && producerIdAt(bytes, at) < 0 && !isControl
}

/**
 * The batches for a log that ends at the offset: if they begin with a gap in which it lies, without the part of the gap that
 * lies below. The bytes themselves in every other case, damaged ones too.
 */
export function fromOffset(records: Uint8Array, offset: Offset): Uint8Array {
  if (records.length < GAP_BYTES || recordCountAt(records, 0) !== 0) return records
  if (checkBatch(records, 0, records.length, { mayBeCompacted: true }) !== undefined) return records
  const endOffset = endOffsetAt(records, 0)
  const isInside = baseOffsetAt(records, 0) < offset && offset < endOffset
  if (!isInside || !isGapAt(records, 0)) return records
  const clipped = records.slice()
  writeGap(clipped, 0, { baseOffset: offset, endOffset, epoch: leaderEpochAt(records, 0) })
  return clipped
}
