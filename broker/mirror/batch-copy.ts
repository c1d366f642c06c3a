// A batch as it goes to the target. Owns what of a batch belongs to where it came from and must not go with it: its producer,
// its transaction, when compaction may drop its tombstones. Records, codec and times stay as they are.
//
// Invariant: two copies of one batch are the same bytes but for what the stamp says, so that an idempotent target takes the
// second for the first.

import { must } from '../../shared/assert.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import {
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  CRC_AT,
  DELETE_HORIZON_BIT,
  LEADER_EPOCH_AT,
  LOG_APPEND_TIME_BIT,
  NO_LEADER_EPOCH,
  NO_PRODUCER_EPOCH,
  NO_PRODUCER_ID,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  TRANSACTIONAL_BIT,
} from '../../shared/record-batch/format.ts'
import {
  attributesAt,
  codecAt,
  computeCrc,
  lastOffsetDeltaAt,
  writeInt16,
  writeInt32,
  writeInt64,
} from '../../shared/record-batch/header.ts'
import type { DataBatch } from './data-batches.ts'

/** Sequence numbers, and what stands in their place, have 31 bits. */
export const SEQUENCES = 2 ** 31

/**
 * The epoch of every producer that is a mirror: by it the mirror knows the batches that it has written itself from those of
 * others, whose identity and sequence numbers it must not use. Identities are new for each mirror, and a cluster takes any
 * epoch for their first.
 */
export const MIRROR_EPOCH = 19_785

export interface ProducerStamp {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

/**
 * For a target that keeps offsets: the batch with the base offset that it shall have there. Where a producer's sequence number
 * would stand, which nobody looks at without a producer, it says which offset it had at the source (modulo 2^31), so that
 * the end of the target tells where to go on.
 */
export function keptCopy(batch: DataBatch, targetOffset: number): Uint8Array {
  const copy = withoutOrigin(batch.bytes)
  writeInt64(copy, BASE_OFFSET_AT, targetOffset)
  writeInt64(copy, PRODUCER_ID_AT, NO_PRODUCER_ID)
  writeInt16(copy, PRODUCER_EPOCH_AT, NO_PRODUCER_EPOCH)
  writeInt32(copy, BASE_SEQUENCE_AT, batch.baseOffset % SEQUENCES)
  return sealed(copy)
}

/**
 * For a target that gives offsets itself: the records from the offset on, one directly behind the other, for an idempotent
 * producer. Only a batch that has holes, begins too early or has the times of its broker is made anew.
 */
export function producedCopy(batch: DataBatch, from: number, stamp: ProducerStamp): Uint8Array {
  const isDense = batch.recordCount === lastOffsetDeltaAt(batch.bytes, 0) + 1
  const isStamped = (attributesAt(batch.bytes, 0) & LOG_APPEND_TIME_BIT) !== 0
  if (!isDense || isStamped || batch.baseOffset < from) return madeAnew(batch, from, stamp)
  const copy = withoutOrigin(batch.bytes)
  writeInt64(copy, BASE_OFFSET_AT, 0)
  writeInt64(copy, PRODUCER_ID_AT, stamp.producerId)
  writeInt16(copy, PRODUCER_EPOCH_AT, stamp.producerEpoch)
  writeInt32(copy, BASE_SEQUENCE_AT, stamp.baseSequence)
  return sealed(copy)
}

function madeAnew(batch: DataBatch, from: number, stamp: ProducerStamp): Uint8Array {
  const codec = must(codecAt(batch.bytes, 0), 'a checked batch has a known codec')
  const records = decodeBatch(batch.bytes, 0, { checkCrc: false }).toArray()
  return encodeBatch(
    records.filter(({ offset }) => offset >= from),
    { codec, ...stamp },
  )
}

function withoutOrigin(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes)
  writeInt32(copy, LEADER_EPOCH_AT, NO_LEADER_EPOCH)
  writeInt16(copy, ATTRIBUTES_AT, attributesAt(copy, 0) & ~(TRANSACTIONAL_BIT | DELETE_HORIZON_BIT))
  return copy
}

function sealed(copy: Uint8Array): Uint8Array {
  writeInt32(copy, CRC_AT, computeCrc(copy, 0, copy.length))
  return copy
}
