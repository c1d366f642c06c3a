// What a batch from a client must be like before it may be appended. Owns the rules that the batch alone, the topic's
// settings and the clock decide; sequence numbers are producer-state.ts. Looks at the header and the checksum only, and at
// records where the topic is compacted: without keys they could never go.

import type { ErrorCode } from '../../shared/errors.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Offset, TimestampMs } from '../../shared/ids.ts'
import { CONTROL_BIT, DELETE_HORIZON_BIT, NO_TIMESTAMP, TRANSACTIONAL_BIT } from '../../shared/record-batch/format.ts'
import type { BatchFault } from '../../shared/record-batch/header.ts'
import {
  attributesAt,
  batchBytes,
  baseSequenceAt,
  checkBatch,
  lastOffsetDeltaAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from '../../shared/record-batch/header.ts'
import type { LogConfig } from './log-config.ts'
import type { ProducerState } from './producer-state.ts'
import { nextSequence } from './producer-state.ts'
import { RecordScan, recordsOf } from './record-scan.ts'

export type RefusedAppend = { readonly kind: 'refused'; readonly error: ErrorCode; readonly message: string }
/** The producer sent these records before; they have these offsets. */
export type DuplicateAppend = { readonly kind: 'duplicate'; readonly baseOffset: Offset; readonly endOffset: Offset }

export type AppendResult =
  | {
      readonly kind: 'appended'
      readonly baseOffset: Offset
      readonly endOffset: Offset
      /** The time all records got; undefined when they keep their own. */
      readonly logAppendTime: TimestampMs | undefined
    }
  | DuplicateAppend
  | RefusedAppend

export function refusal(error: ErrorCode, message: string): RefusedAppend {
  return { kind: 'refused', error, message }
}

const NO_SUCCESSOR = 'the batches that came together do not follow one another'
const PARTLY_NEW = 'some of the batches that came together were appended before, others not'
const MIXED = 'batches with and without a producer id came together'

/**
 * Why the batches in `records` must not be appended at `now`, or that they were appended before; undefined when they are
 * next. Several batches of an idempotent producer that come together are one run of its sequence numbers.
 */
export function checkRecords(
  records: Uint8Array,
  config: LogConfig,
  producers: ProducerState,
  now: TimestampMs,
  mayDiffer = false,
): RefusedAppend | DuplicateAppend | undefined {
  if (records.length === 0) return refusal('INVALID_RECORD', 'there is no batch to append')
  let duplicate: DuplicateAppend | undefined
  let previousAt = -1
  for (let at = 0; at < records.length; at += batchBytes(records, at)) {
    const fault = checkAppend(records, at, records.length, config, now)
    if (fault !== undefined) return refusal(fault.code, fault.message)
    const isNumbered = producerIdAt(records, at) >= 0
    if (at > 0 && isNumbered !== previousAt >= 0) return refusal('INVALID_RECORD', MIXED)
    if (!isNumbered) continue
    if (previousAt >= 0 && duplicate === undefined) {
      if (!followsOn(records, previousAt, at)) {
        return refusal('OUT_OF_ORDER_SEQUENCE_NUMBER', NO_SUCCESSOR)
      }
    } else {
      const verdict = producers.check(records, at, mayDiffer)
      if (verdict.kind === 'refused') return verdict
      if (verdict.kind === 'duplicate') {
        const { endOffset } = verdict
        duplicate = { kind: 'duplicate', baseOffset: duplicate?.baseOffset ?? verdict.baseOffset, endOffset }
      } else if (duplicate !== undefined) {
        return refusal('INVALID_RECORD', PARTLY_NEW)
      }
    }
    previousAt = at
  }
  return duplicate
}

/**
 * Why the batch that begins at `at` and may use the bytes up to `end` must not be appended at `now`; undefined when it may.
 * After it has passed, no reading function of the header throws for this batch.
 */
function checkAppend(
  records: Uint8Array,
  at: number,
  end: number,
  config: LogConfig,
  now: TimestampMs,
): BatchFault | undefined {
  const fault = checkBatch(records, at, end)
  if (fault !== undefined) return fault
  const size = batchBytes(records, at)
  if (size > config.maxMessageBytes) {
    return refuse('MESSAGE_TOO_LARGE', at, `it has ${size} bytes, max.message.bytes is ${config.maxMessageBytes}`)
  }
  if (size > config.segmentBytes) {
    return refuse('RECORD_LIST_TOO_LARGE', at, `it has ${size} bytes, segment.bytes is ${config.segmentBytes}`)
  }
  const attributes = attributesAt(records, at)
  if ((attributes & CONTROL_BIT) !== 0) {
    return refuse('INVALID_RECORD', at, 'it is a control batch, which only the broker may write')
  }
  if ((attributes & TRANSACTIONAL_BIT) !== 0) {
    return refuse('INVALID_RECORD', at, 'it belongs to a transaction, and transactions are not supported')
  }
  if (producerIdAt(records, at) >= 0 && (producerEpochAt(records, at) < 0 || baseSequenceAt(records, at) < 0)) {
    return refuse('INVALID_RECORD', at, 'it has a producer id, but no producer epoch or no sequence number')
  }
  if ((attributes & DELETE_HORIZON_BIT) !== 0) {
    return refuse('INVALID_RECORD', at, 'it says when its tombstones may go, which only compaction may')
  }
  const timestampFault = config.timestampType === 'CreateTime' ? checkTimestamp(records, at, config, now) : undefined
  if (timestampFault !== undefined || config.compaction === undefined) return timestampFault
  return checkKeys(records, at, size)
}

/** A record without a key is superseded by nothing, and one that cannot be read stays for ever. */
function checkKeys(records: Uint8Array, at: number, size: number): BatchFault | undefined {
  try {
    const scan = new RecordScan(records, at, recordsOf(records, at, size))
    while (scan.next()) {
      if (scan.keyLength >= 0) continue
      return refuse('INVALID_RECORD', at, `record ${scan.offsetDelta} has no key, and the topic is compacted`)
    }
    return undefined
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return refuse(error.code, at, error.message)
  }
}

function checkTimestamp(records: Uint8Array, at: number, config: LogConfig, now: TimestampMs): BatchFault | undefined {
  const timestamp = maxTimestampAt(records, at)
  if (timestamp === NO_TIMESTAMP) return undefined
  if (timestamp - now > config.timestampAfterMsMax) {
    const limit = `message.timestamp.after.max.ms is ${config.timestampAfterMsMax}`
    return refuse('INVALID_TIMESTAMP', at, `its youngest record is ${timestamp - now} ms ahead, ${limit}`)
  }
  if (now - timestamp > config.timestampBeforeMsMax) {
    const limit = `message.timestamp.before.max.ms is ${config.timestampBeforeMsMax}`
    return refuse('INVALID_TIMESTAMP', at, `its youngest record is ${now - timestamp} ms behind, ${limit}`)
  }
  return undefined
}

/** Whether the second batch goes on where the first one, of the same producer, ends. */
function followsOn(bytes: Uint8Array, first: number, second: number): boolean {
  if (producerIdAt(bytes, first) !== producerIdAt(bytes, second)) return false
  if (producerEpochAt(bytes, first) !== producerEpochAt(bytes, second)) return false
  return (
    baseSequenceAt(bytes, second) === nextSequence(baseSequenceAt(bytes, first), lastOffsetDeltaAt(bytes, first) + 1)
  )
}

function refuse(code: BatchFault['code'], at: number, what: string): BatchFault {
  return { code, message: `record batch at byte ${at}: ${what}` }
}
