// The record that a new leader writes first: a control record of type leaderChange. Owns its value: who leads (int32), and
// the newest epoch whose election accepted a loss (int32, -1 for none). Foreign clients skip control records.

import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { ReadSlice } from '../storage/hot-tail.ts'
import type { ControlRecord } from '../storage/log-appender.ts'
import type { PartitionLog } from '../storage/partition-log.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { controlTypeOf, forEachRecord } from '../../shared/record-batch/decode.ts'
import { CONTROL_BIT } from '../../shared/record-batch/format.ts'
import { attributesAt, batchBytes } from '../../shared/record-batch/header.ts'

const VALUE_BYTES = 8
const NO_EPOCH = -1
/** A control batch is far shorter. */
const READ_BYTES = 256

export function encodeEpochStart(leader: BrokerId, accepted: LeaderEpoch | undefined): ControlRecord {
  const value = new Uint8Array(VALUE_BYTES)
  const view = new DataView(value.buffer)
  view.setInt32(0, leader)
  view.setInt32(4, accepted ?? NO_EPOCH)
  return { type: 'leaderChange', value }
}

/** What the last epoch-start record among these batches says; undefined when there is none among them. */
export function lossAcceptedIn(records: Uint8Array): { readonly epoch: LeaderEpoch | undefined } | undefined {
  let found: { readonly epoch: LeaderEpoch | undefined } | undefined
  for (let at = 0; at < records.length; at += batchBytes(records, at)) {
    if ((attributesAt(records, at) & CONTROL_BIT) !== 0) found = readAt(records, at) ?? found
  }
  return found
}

/** What the record that opened the log's latest epoch says; undefined as well when it is not there any more. */
export async function lossAcceptedInLog(log: PartitionLog): Promise<LeaderEpoch | undefined> {
  const latest = log.latestEpoch
  if (latest === undefined) return undefined
  const before = latest === 0 ? undefined : log.epochEndOffset(leaderEpoch(latest - 1))
  const start = before?.endOffset ?? log.logStartOffset
  if (start < log.logStartOffset || start >= log.writtenEndOffset) return undefined
  const slice = await readOrNothing(log, offset(start))
  if (slice === undefined) return undefined
  try {
    const isControl = slice.bytes.length > 0 && (attributesAt(slice.bytes, 0) & CONTROL_BIT) !== 0
    return isControl ? readAt(slice.bytes, 0)?.epoch : undefined
  } finally {
    slice.release()
  }
}

/** A damaged batch must not keep the others from being served: not to know of a loss only makes whoever follows more careful. */
async function readOrNothing(log: PartitionLog, at: Offset): Promise<ReadSlice | undefined> {
  try {
    return await log.read(at, READ_BYTES, log.writtenEndOffset)
  } catch (error) {
    if (error instanceof TidemarkError) return undefined
    throw error
  }
}

function readAt(bytes: Uint8Array, at: number): { readonly epoch: LeaderEpoch | undefined } | undefined {
  let found: { readonly epoch: LeaderEpoch | undefined } | undefined
  forEachRecord(bytes, at, (record) => {
    if (controlTypeOf(record) !== 'leaderChange') return
    const { value } = record
    const isShort = value === null || value.length < VALUE_BYTES
    const accepted = isShort ? NO_EPOCH : new DataView(value.buffer, value.byteOffset, VALUE_BYTES).getInt32(4)
    found = { epoch: accepted === NO_EPOCH ? undefined : leaderEpoch(accepted) }
  })
  return found
}
