// What a batch from a client must be like before it may be appended. Owns the rules that the batch alone, the topic's
// settings and the clock decide; sequence numbers are producer-state.ts. Looks at the header and the checksum only.

import type { TimestampMs } from '../../shared/ids.ts'
import { CONTROL_BIT, NO_TIMESTAMP, TRANSACTIONAL_BIT } from '../../shared/record-batch/format.ts'
import type { BatchFault } from '../../shared/record-batch/header.ts'
import {
  attributesAt,
  batchBytes,
  baseSequenceAt,
  checkBatch,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
} from '../../shared/record-batch/header.ts'
import type { LogConfig } from './log-config.ts'

/**
 * Why the batch that begins at `at` and may use the bytes up to `end` must not be appended at `now`; undefined when it may.
 * After it has passed, no reading function of the header throws for this batch.
 */
export function checkAppend(
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
  return config.timestampType === 'CreateTime' ? checkTimestamp(records, at, config, now) : undefined
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

function refuse(code: BatchFault['code'], at: number, what: string): BatchFault {
  return { code, message: `record batch at byte ${at}: ${what}` }
}
