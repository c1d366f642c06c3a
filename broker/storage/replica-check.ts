// What batches from a leader must be like before a follower may append them as they are. Owns the rules that the bytes and
// the end of the log decide; knows nothing of promises, and nothing of producers: what the leader has taken, the follower
// takes. A log has no holes but those in its quarantine, since nothing that reads it could tell one from a loss; what
// compaction has taken away, at the leader, is a batch without records.

import type { ErrorCode } from '../../shared/errors.ts'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { baseOffsetAt, batchBytes, checkBatch, endOffsetAt, leaderEpochAt } from '../../shared/record-batch/header.ts'
import type { RefusedAppend } from './append-check.ts'
import { votersFaultAt } from './voters-record.ts'

export interface ReplicatedAppendOptions {
  /** The epoch of the leader that they come from: no batch may have a newer one. */
  readonly epoch: LeaderEpoch
}

/**
 * Why they were refused: `unavailable` the log takes no appends at all; `corrupt` the bytes are no sound batches; `not-next`
 * they do not join the end of the log; `epoch-falls` they are of an older epoch than what stands before them; `epoch-above`
 * of a newer one than their leader's.
 */
export type ReplicatedRefusal = 'unavailable' | 'corrupt' | 'not-next' | 'epoch-falls' | 'epoch-above'

export type ReplicatedAppendResult =
  | { readonly kind: 'appended'; readonly baseOffset: Offset; readonly endOffset: Offset }
  | {
      readonly kind: 'refused'
      readonly reason: ReplicatedRefusal
      readonly error: ErrorCode
      readonly message: string
      /** The offset or the epoch that would have been right, and the one that was there. */
      readonly expected: number | undefined
      readonly found: number | undefined
    }

export type RefusedReplicatedAppend = Extract<ReplicatedAppendResult, { kind: 'refused' }>

/** The end of the log that the batches are to join. */
export interface LogEnd {
  readonly offset: Offset
  /** Of the newest batch. */
  readonly epoch: LeaderEpoch | undefined
}

const MAY_BE_COMPACTED = { mayBeCompacted: true }

/** The same refusal, for a follower. */
export function unavailable({ error, message }: RefusedAppend): RefusedReplicatedAppend {
  return { kind: 'refused', reason: 'unavailable', error, message, expected: undefined, found: undefined }
}

/** Why the batches in `records` must not be appended at this end; undefined when they may, all of them. */
export function checkReplicated(
  records: Uint8Array,
  end: LogEnd,
  options: ReplicatedAppendOptions,
): RefusedReplicatedAppend | undefined {
  if (records.length === 0) return corrupt('INVALID_RECORD', 'there is no batch to append')
  let expectedOffset = end.offset
  let epochMin = end.epoch ?? 0
  for (let at = 0; at < records.length; at += batchBytes(records, at)) {
    const fault = checkBatch(records, at, records.length, MAY_BE_COMPACTED)
    if (fault !== undefined) return corrupt(fault.code, fault.message)
    const votersFault = votersFaultAt(records, at)
    if (votersFault !== undefined)
      return corrupt(votersFault.code, `record batch at byte ${at}: ${votersFault.message}`)
    const baseOffset = baseOffsetAt(records, at)
    if (baseOffset !== expectedOffset) {
      const what = `its base offset is ${baseOffset}, the end of the log ${expectedOffset}`
      return refuse('not-next', 'OFFSET_OUT_OF_RANGE', at, what, { expected: expectedOffset, found: baseOffset })
    }
    const epoch = leaderEpochAt(records, at)
    if (epoch < epochMin) {
      const what = `its leader epoch is ${epoch}, after ${epochMin}`
      return refuse('epoch-falls', 'FENCED_LEADER_EPOCH', at, what, { expected: epochMin, found: epoch })
    }
    if (epoch > options.epoch) {
      const what = `its leader epoch is ${epoch}, that of its leader ${options.epoch}`
      return refuse('epoch-above', 'UNKNOWN_LEADER_EPOCH', at, what, { expected: options.epoch, found: epoch })
    }
    expectedOffset = endOffsetAt(records, at)
    epochMin = epoch
  }
  return undefined
}

function corrupt(error: ErrorCode, message: string): RefusedReplicatedAppend {
  return { kind: 'refused', reason: 'corrupt', error, message, expected: undefined, found: undefined }
}

function refuse(
  reason: ReplicatedRefusal,
  error: ErrorCode,
  at: number,
  what: string,
  values: { readonly expected: number; readonly found: number },
): RefusedReplicatedAppend {
  return { kind: 'refused', reason, error, message: `record batch at byte ${at}: ${what}`, ...values }
}
