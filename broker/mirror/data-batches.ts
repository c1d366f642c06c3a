// What of fetched records is data: batches with records in them, of no transaction that was given up. Owns the walk over the
// bytes of one answer; knows nothing of where they come from or go to.
//
// Invariant: every offset of the answer is either in a batch that is given out or counted as dropped or was empty before.

import { TidemarkError } from '../../shared/errors.ts'
import { BATCH_OVERHEAD_BYTES, CONTROL_BIT, TRANSACTIONAL_BIT } from '../../shared/record-batch/format.ts'
import { controlTypeOf, decodeBatch } from '../../shared/record-batch/decode.ts'
import {
  attributesAt,
  baseOffsetAt,
  batchBytes,
  checkBatch,
  endOffsetAt,
  producerIdAt,
  recordCountAt,
} from '../../shared/record-batch/header.ts'

export interface DataBatch {
  /** A view of what was fetched: the whole batch. */
  readonly bytes: Uint8Array
  readonly baseOffset: number
  /** Exclusive. */
  readonly endOffset: number
  readonly recordCount: number
}

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

export interface DataBatches {
  readonly batches: readonly DataBatch[]
  /** Where the next fetch begins. */
  readonly nextOffset: number
  /** Records of transactions that were given up. */
  readonly abortedRecords: number
}

const CHECK = { mayBeCompacted: true, bytesMax: Number.MAX_SAFE_INTEGER }

/**
 * The batches that have anything at or past `from`. Bytes of a batch that was cut off at the end are left alone.
 * @throws CORRUPT_MESSAGE, UNSUPPORTED_FOR_MESSAGE_FORMAT for batches older than Kafka 0.11 wrote
 */
export function dataBatches(
  records: Uint8Array,
  from: number,
  aborted: readonly AbortedTransaction[] = [],
): DataBatches {
  const waiting = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset)
  const givenUp = new Set<number>()
  const batches: DataBatch[] = []
  let abortedRecords = 0
  let nextOffset = from
  for (let at = 0; isWholeAt(records, at); at += batchBytes(records, at)) {
    const fault = checkBatch(records, at, records.length, CHECK)
    if (fault !== undefined) throw new TidemarkError(fault.code, fault.message)
    const endOffset = endOffsetAt(records, at)
    const baseOffset = baseOffsetAt(records, at)
    const producer = producerIdAt(records, at)
    while (waiting[0] !== undefined && waiting[0].firstOffset < endOffset) {
      givenUp.add(waiting[0].producerId)
      waiting.shift()
    }
    const attributes = attributesAt(records, at)
    const recordCount = recordCountAt(records, at)
    if ((attributes & CONTROL_BIT) !== 0) {
      if (endsTransaction(records, at)) givenUp.delete(producer)
    } else if ((attributes & TRANSACTIONAL_BIT) !== 0 && givenUp.has(producer)) {
      abortedRecords += recordCount
    } else if (recordCount > 0 && endOffset > from) {
      batches.push({ bytes: records.subarray(at, at + batchBytes(records, at)), baseOffset, endOffset, recordCount })
    }
    nextOffset = Math.max(nextOffset, endOffset)
  }
  return { batches, nextOffset, abortedRecords }
}

/** Whether a whole batch begins there; Kafka cuts the last one off where the answer is full. */
function isWholeAt(records: Uint8Array, at: number): boolean {
  const left = records.length - at
  return left >= BATCH_OVERHEAD_BYTES && batchBytes(records, at) <= left
}

function endsTransaction(records: Uint8Array, at: number): boolean {
  const [marker] = decodeBatch(records, at, { checkCrc: false }).toArray()
  return marker !== undefined && controlTypeOf(marker) === 'abort'
}
