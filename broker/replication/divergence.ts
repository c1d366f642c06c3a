// Where two logs part, found by leader epochs. Owns the leader's check of a fetch position and the follower's choice of
// the offset to cut at; knows nothing of files. Pure. A cut is never chosen by a high watermark: a follower's is late, and
// would cut off what others count on.
//
// It rests on log matching: two logs that have the same epoch at an offset are equal up to it.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import { assert } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'

/** What the rules read of a log. It changes only by effects, and by the records of producers. */
export interface ReplicaLog {
  readonly logStartOffset: Offset
  /** Where the batch begins that holds the log start, for whoever takes whole batches; the log start if absent. */
  readonly firstBatchOffset?: Offset
  readonly logEndOffset: Offset
  /** Up to here the replica may be counted: what is written, or, with durability fsync, on stable storage. */
  readonly heldEndOffset: Offset
  /** Remembered even when all records have been trimmed. */
  readonly latestEpoch: LeaderEpoch | undefined
  /** From the newest epoch-start record: the newest epoch whose election accepted a loss. */
  readonly lossAcceptedIn: LeaderEpoch | undefined
  /** Its voters records, ascending, and the last one of what has been trimmed. None: those of the beginning are in force. */
  readonly votersRecords?: readonly VotersRecord[] | undefined
  /** Of the record at the offset; in an empty log the latest, since the start is its end. */
  epochAt(offset: Offset): LeaderEpoch | undefined
  /** The greatest epoch that is not above the one asked for, and where it ends; undefined when there is none. */
  endOffsetFor(epoch: LeaderEpoch): EpochEnd | undefined
}

export interface EpochEnd {
  readonly epoch: LeaderEpoch
  readonly endOffset: Offset
}

export type FetchCheck =
  /** The follower's log is the beginning of the leader's. */
  | { readonly kind: 'on-log' }
  | { readonly kind: 'diverging'; readonly epoch: LeaderEpoch | undefined; readonly endOffset: Offset }
  /** What the follower needs, or what it would have to be compared with, has been trimmed. */
  | { readonly kind: 'before-log-start'; readonly logStartOffset: Offset; readonly epoch: LeaderEpoch }

/**
 * At the leader. A position (epoch, offset) says: my log is the log of that epoch's leader, up to the offset. Where this log
 * has the epoch and reaches as far in it, both are the same up to there.
 */
export function checkFetch(
  log: ReplicaLog,
  fetchOffset: Offset,
  lastFetchedEpoch: LeaderEpoch | undefined,
): FetchCheck {
  if (fetchOffset < (log.firstBatchOffset ?? log.logStartOffset)) return beforeLogStart(log)
  if (lastFetchedEpoch === undefined) return fetchOffset === 0 ? ON_LOG : beforeLogStart(log)
  const known = log.endOffsetFor(lastFetchedEpoch)
  if (known === undefined) return beforeLogStart(log)
  if (known.epoch < lastFetchedEpoch || fetchOffset > known.endOffset) return { kind: 'diverging', ...known }
  return ON_LOG
}

export type Truncation =
  | { readonly kind: 'cut'; readonly offset: Offset }
  /** The log becomes empty, and it is this epoch's log that it is the beginning of. */
  | { readonly kind: 'restart'; readonly offset: Offset; readonly epoch: LeaderEpoch }

/**
 * At the follower: what to do when the leader's greatest epoch that is not above its own ends at endOffset. The offset may
 * lie below the log start: then a trimmed record, which enough replicas held, is not the leader's.
 */
export function planTruncation(
  log: ReplicaLog,
  diverging: { readonly epoch: LeaderEpoch | undefined; readonly endOffset: Offset },
): Truncation {
  const { logStartOffset, logEndOffset } = log
  if (diverging.epoch === undefined) return { kind: 'cut', offset: offset(0) }
  const own = log.endOffsetFor(diverging.epoch)
  const ownEndOffset = own?.endOffset ?? logStartOffset
  const shared = offset(Math.min(ownEndOffset, diverging.endOffset))
  assert(shared <= logEndOffset, 'a cut lies within the log')
  const isEmptied = shared === logStartOffset && logStartOffset > 0
  return isEmptied
    ? { kind: 'restart', offset: shared, epoch: own?.epoch ?? diverging.epoch }
    : { kind: 'cut', offset: shared }
}

const ON_LOG: FetchCheck = { kind: 'on-log' }

function beforeLogStart(log: ReplicaLog): FetchCheck {
  const { latestEpoch } = log
  const epoch = log.epochAt(log.logStartOffset) ?? latestEpoch
  const logStartOffset = log.firstBatchOffset ?? log.logStartOffset
  if (logStartOffset === 0 || epoch === undefined) return { kind: 'diverging', epoch: undefined, endOffset: offset(0) }
  return { kind: 'before-log-start', logStartOffset, epoch }
}
