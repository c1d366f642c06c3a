// What batches must be like that keep the offsets they have: copies of another log, which a mirror appends. Owns the rules for
// them and fills the offsets between them, which another log has lost to compaction or to transactions, with gaps; knows
// nothing of who sends them.
//
// Invariant: the batches that it answers join the end of the log and one another, so that to number them from the end of the
// log on gives each the offset that it has.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import {
  BATCH_HEADER_BYTES,
  CONTROL_BIT,
  DELETE_HORIZON_BIT,
  TRANSACTIONAL_BIT,
} from '../../shared/record-batch/format.ts'
import {
  attributesAt,
  baseOffsetAt,
  batchBytes,
  checkBatch,
  endOffsetAt,
  producerIdAt,
  recordCountAt,
} from '../../shared/record-batch/header.ts'
import type { RefusedAppend } from './append-check.ts'
import { refusal } from './append-check.ts'
import { GAP_BYTES, GAP_OFFSETS_MAX, writeGap } from './gap-batch.ts'
import type { LogConfig } from './log-config.ts'

/** Offsets in front of a copy, at most: what is more was not meant. */
const SKIPPED_OFFSETS_MAX = 2 ** 44
const FORBIDDEN_BITS = CONTROL_BIT | TRANSACTIONAL_BIT | DELETE_HORIZON_BIT
const MAY_BE_COMPACTED = { mayBeCompacted: true }

/** The batches, and gaps before those that begin past the end of what stands before them; or why they must not be appended. */
export function joinKept(
  records: Uint8Array,
  config: LogConfig,
  logEndOffset: Offset,
  epoch: LeaderEpoch,
): Uint8Array | RefusedAppend {
  if (records.length === 0) return refusal('INVALID_RECORD', 'there is no batch to append')
  let endOffset: number = logEndOffset
  let gaps = 0
  for (let at = 0; at < records.length; at += batchBytes(records, at)) {
    const refused = checkKept(records, at, config, endOffset)
    if (refused !== undefined) return refused
    gaps += Math.ceil((baseOffsetAt(records, at) - endOffset) / GAP_OFFSETS_MAX)
    endOffset = endOffsetAt(records, at)
  }
  return gaps === 0 ? records : withGaps(records, gaps, logEndOffset, epoch)
}

function checkKept(records: Uint8Array, at: number, config: LogConfig, endOffset: number): RefusedAppend | undefined {
  const fault = checkBatch(records, at, records.length, MAY_BE_COMPACTED)
  if (fault !== undefined) return refusal(fault.code, fault.message)
  const where = `record batch at byte ${at}`
  const baseOffset = baseOffsetAt(records, at)
  if (baseOffset < endOffset) {
    return refusal('OFFSET_OUT_OF_RANGE', `${where}: it keeps offset ${baseOffset}, and ${endOffset} is the next one`)
  }
  if (baseOffset - endOffset > SKIPPED_OFFSETS_MAX) {
    return refusal('OFFSET_OUT_OF_RANGE', `${where}: it keeps offset ${baseOffset}, too far behind ${endOffset}`)
  }
  if ((attributesAt(records, at) & FORBIDDEN_BITS) !== 0) {
    return refusal('INVALID_RECORD', `${where}: markers, transactions and delete horizons cannot be kept`)
  }
  if (producerIdAt(records, at) >= 0) {
    return refusal(
      'INVALID_RECORD',
      `${where}: what keeps its offset has no producer id: the offset tells what comes twice`,
    )
  }
  if (recordCountAt(records, at) === 0) return refusal('INVALID_RECORD', `${where}: it has no records`)
  const size = batchBytes(records, at)
  const sizeMax = Math.min(config.maxMessageBytes, config.segmentBytes)
  if (size > sizeMax)
    return refusal('MESSAGE_TOO_LARGE', `${where}: it has ${size} bytes, at most ${sizeMax} are allowed`)
  return undefined
}

function withGaps(records: Uint8Array, gaps: number, logEndOffset: Offset, epoch: LeaderEpoch): Uint8Array {
  const joined = new Uint8Array(records.length + gaps * GAP_BYTES)
  let to = 0
  let endOffset: number = logEndOffset
  for (let at = 0; at + BATCH_HEADER_BYTES <= records.length; at += batchBytes(records, at)) {
    const baseOffset = baseOffsetAt(records, at)
    while (endOffset < baseOffset) {
      const gapEnd = Math.min(baseOffset, endOffset + GAP_OFFSETS_MAX)
      writeGap(joined, to, { baseOffset: endOffset, endOffset: gapEnd, epoch })
      to += GAP_BYTES
      endOffset = gapEnd
    }
    const size = batchBytes(records, at)
    joined.set(records.subarray(at, at + size), to)
    to += size
    endOffset = endOffsetAt(records, at)
  }
  return joined
}
