// What a start finds out about the life before it, and what of that must outlive this one (FORMAT.md, Starts). Owns the
// count of starts and the judgement whether records may be missing; knows nothing of logs and of what follows from it.
//
// Invariant: that the directory was found untrustworthy is durable before anything by which that could be told is changed.

import type { Logger } from '../../shared/logger.ts'
import { fieldOf, writeCheckpoint } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { isCount, readHint } from './recovery-points.ts'

export interface StartFacts {
  readonly directoryId: string
  /** Counts the starts, from 1 on; undefined when it could not be made durable, and then no replica may take part. */
  readonly incarnation: number | undefined
  /** The stop before was in order, for all logs. */
  readonly isClean: boolean
  /** The page cache has outlived the process before. */
  readonly kernelLived: boolean
  /** A log has a failed sync behind it. */
  readonly hadSyncFailure: boolean
  /** The last incarnation that began with a directory that records may be missing from; 0 when none did. */
  readonly suspectSince: number
  /** The last incarnation that began with a failed sync behind it: what was synced before may be missing, too; 0 for none. */
  readonly failedSince: number
  /** It is not known any more what the replicas of this directory have promised; that stays so. */
  readonly hasLostPromises: boolean
}

/** What the file holds. */
export interface StartRecord {
  readonly incarnation: number
  readonly bootId: string | undefined
  readonly suspectSince: number
  readonly failedSince: number
  readonly hasLostPromises: boolean
  readonly markIncarnation: number | undefined
}

export interface StartFindings {
  readonly directoryId: string
  readonly before: StartRecord | undefined
  /** Whether there is anything that could be missing. */
  readonly hasTopics: boolean
  /** The incarnation of a clean mark of this directory, if there is one that holds. */
  readonly markIncarnation: number | undefined
  readonly isEveryLogClosed: boolean
  readonly kernelLived: boolean
  readonly hadSyncFailure: boolean
  readonly arePromisesLost: boolean
}

/** Without a file, or with a damaged one, nothing is known. @throws DIRECTORY_FORMAT_UNKNOWN */
export function readStarts(disk: Disk, path: string, logger: Logger): StartRecord | undefined {
  const value = readHint(disk, path, logger)
  const incarnation = fieldOf(value, 'incarnation')
  const suspectSince = fieldOf(value, 'suspectSince')
  const failedSince = fieldOf(value, 'failedSince')
  const markIncarnation = fieldOf(value, 'markIncarnation')
  const bootId = fieldOf(value, 'bootId')
  if (!isCount(incarnation) || !isCount(suspectSince)) return undefined
  return {
    incarnation,
    suspectSince,
    failedSince: isCount(failedSince) ? failedSince : suspectSince,
    bootId: typeof bootId === 'string' ? bootId : undefined,
    hasLostPromises: fieldOf(value, 'promisesLost') === true,
    markIncarnation: isCount(markIncarnation) ? markIncarnation : undefined,
  }
}

/** Whether a clean mark of this incarnation speaks of the state that the directory is in. */
export function isMarkOf(before: StartRecord | undefined, markIncarnation: number | undefined): boolean {
  if (before === undefined) return true
  return (
    markIncarnation !== undefined &&
    (markIncarnation === before.incarnation || markIncarnation === before.markIncarnation)
  )
}

/** Judges what was found, and makes the judgement durable. On a full disk there is no incarnation. @throws DiskError */
export async function recordStart(disk: Disk, path: string, found: StartFindings, logger: Logger): Promise<StartFacts> {
  const { before, directoryId, kernelLived, hadSyncFailure, markIncarnation } = found
  const isClean = markIncarnation !== undefined && found.isEveryLogClosed
  const incarnation = Math.max(before?.incarnation ?? 0, markIncarnation ?? 0) + 1
  const isTrusted = !hadSyncFailure && (isClean || kernelLived || !found.hasTopics)
  const suspectSince = isTrusted ? (before?.suspectSince ?? 0) : incarnation
  const failedSince = hadSyncFailure ? incarnation : (before?.failedSince ?? 0)
  const hasLostPromises = found.arePromisesLost || before?.hasLostPromises === true
  const facts = { directoryId, isClean, kernelLived, hadSyncFailure, suspectSince, failedSince, hasLostPromises }
  const bootId = disk.bootId()
  try {
    const record = { incarnation, bootId, suspectSince, failedSince, promisesLost: hasLostPromises, markIncarnation }
    await writeCheckpoint(disk, path, record)
  } catch (error) {
    if (!(error instanceof DiskError) || (error.code !== 'ENOSPC' && error.code !== 'EDQUOT')) throw error
    logger.warn({ path, error: error.message }, 'the start could not be counted; replicas take no part')
    return { ...facts, incarnation: undefined }
  }
  if (!isTrusted) logger.warn({ path, incarnation, hadSyncFailure }, 'records may be missing; replicas are suspect')
  return { ...facts, incarnation }
}
