// Where two logs part, found by leader epochs. Owns the leader's check of a fetch position and the follower's choice of
// the offset to cut at; knows nothing of files. Pure. A cut is never chosen by a high watermark: a follower's is late, and
// would cut off what others count on.
//
// It rests on log matching: two logs that have the same epoch at an offset are equal up to it.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { LogPosition } from './replication-events.ts'
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
  /** Absent where nothing was ever compacted. */
  readonly compaction?: LogCompactionView | undefined
  /** Of the record at the offset; in an empty log the latest, since the start is its end. */
  epochAt(offset: Offset): LeaderEpoch | undefined
  /** The greatest epoch that is not above the one asked for, and where it ends; undefined when there is none. */
  endOffsetFor(epoch: LeaderEpoch): EpochEnd | undefined
}

/** What compaction has taken from a log (storage/FORMAT.md), as far as other replicas must know. */
export interface LogCompactionView {
  /** How often tombstones have been dropped in this life. */
  readonly drops: number
  /** The end of the newest tombstone that was dropped after so many drops; without a number, that was ever dropped. */
  droppedSince(drops?: number): Offset
  /** Records below may be gone because of records below. */
  readonly touchedTo: Offset
  /** Where the log was begun anew: the position that it had, which others go by until it is reached again. */
  readonly floor: LogPosition | undefined
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
  /** It lies on this log, and what it has may be deleted by tombstones that this log has dropped. */
  | {
      readonly kind: 'before-dropped'
      readonly logStartOffset: Offset
      readonly epoch: LeaderEpoch | undefined
      readonly drops: number
      readonly droppedTo: Offset
    }

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

/**
 * At the leader, of a position on its log: whether tombstones have been dropped that the follower has not come to. Where
 * these have deleted something that the follower has, it would keep it for ever. `copiedSince` is for one that has begun to
 * copy this log when so many drops had been: what it has, it has from this log as that was then, or later.
 */
export function checkDropped(
  log: ReplicaLog,
  { fetchOffset, copiedSince }: { readonly fetchOffset: Offset; readonly copiedSince?: number | undefined },
  mustBeginAnew: (fetchOffset: Offset, droppedTo: Offset, copiedSince: number | undefined) => boolean,
): FetchCheck {
  const { compaction, latestEpoch } = log
  if (compaction === undefined) return ON_LOG
  if (!mustBeginAnew(fetchOffset, compaction.droppedSince(copiedSince), copiedSince)) return ON_LOG
  const logStartOffset = log.firstBatchOffset ?? log.logStartOffset
  const epoch = logStartOffset === 0 ? undefined : (log.epochAt(log.logStartOffset) ?? latestEpoch)
  const { drops } = compaction
  return { kind: 'before-dropped', logStartOffset, epoch, drops, droppedTo: compaction.droppedSince() }
}

export type Truncation =
  | { readonly kind: 'cut'; readonly offset: Offset }
  /** The log becomes empty, and it is this epoch's log that it is the beginning of. */
  | { readonly kind: 'restart'; readonly offset: Offset; readonly epoch: LeaderEpoch }
  /** As restart, and by more than the leader has asked for: what stays would lack records that the leader has. */
  | {
      readonly kind: 'begin-anew'
      readonly offset: Offset
      readonly epoch: LeaderEpoch | undefined
      /** What a cut would have left. */
      readonly floor: LogPosition
    }

/**
 * At the follower: what to do when the leader's greatest epoch that is not above its own ends at endOffset. The offset may
 * lie below the log start: then a trimmed record, which enough replicas held, is not the leader's. `committedEnd` is how far
 * the follower knows of records that may have been compacted.
 */
export function planTruncation(
  log: ReplicaLog,
  diverging: { readonly epoch: LeaderEpoch | undefined; readonly endOffset: Offset },
  committedEnd?: Offset,
): Truncation {
  const { logStartOffset, logEndOffset } = log
  if (diverging.epoch === undefined) return { kind: 'cut', offset: offset(0) }
  const own = log.endOffsetFor(diverging.epoch)
  const ownEndOffset = own?.endOffset ?? logStartOffset
  const shared = offset(Math.min(ownEndOffset, diverging.endOffset))
  assert(shared <= logEndOffset, 'a cut lies within the log')
  const isEmptied = shared === logStartOffset && logStartOffset > 0
  if (shared > logStartOffset && committedEnd !== undefined && mayLackRecords(log, shared, committedEnd)) {
    const floor = { latestEpoch: log.epochAt(offset(shared - 1)), logEndOffset: shared }
    return { kind: 'begin-anew', ...startOf(log), floor }
  }
  return isEmptied
    ? { kind: 'restart', offset: shared, epoch: own?.epoch ?? diverging.epoch }
    : { kind: 'cut', offset: shared }
}

/** Where a log that is emptied begins, and of which epoch what stands before is; not below what has been trimmed here. */
export function startOf(log: ReplicaLog): { readonly offset: Offset; readonly epoch: LeaderEpoch | undefined } {
  const start = log.firstBatchOffset ?? log.logStartOffset
  return { offset: start, epoch: start === 0 ? undefined : (log.epochAt(log.logStartOffset) ?? log.latestEpoch) }
}

/**
 * Whether a log that is cut there may lack what its leader has: records that were superseded by such as are cut off. Only what
 * is committed is compacted; how far this replica itself has come may be forgotten, and what it was copied from may have come
 * further.
 */
function mayLackRecords({ compaction }: ReplicaLog, cutOffset: Offset, committedEnd: Offset): boolean {
  return compaction !== undefined && cutOffset < Math.max(compaction.touchedTo, committedEnd)
}

const ON_LOG: FetchCheck = { kind: 'on-log' }

function beforeLogStart(log: ReplicaLog): FetchCheck {
  const { latestEpoch } = log
  const epoch = log.epochAt(log.logStartOffset) ?? latestEpoch
  const logStartOffset = log.firstBatchOffset ?? log.logStartOffset
  if (logStartOffset === 0 || epoch === undefined) return { kind: 'diverging', epoch: undefined, endOffset: offset(0) }
  return { kind: 'before-log-start', logStartOffset, epoch }
}
