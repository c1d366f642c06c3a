// The two checkpoints by which a start tells what it must look at: how far every partition is on stable storage, and
// whether the last stop was a clean one. Owns their payloads. Both are hints that may be missing: whoever knows less
// recovers more.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import { fieldOf, parentOf, readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { syncNames } from './failed-sync.ts'
import type { LogPlace } from './log-files.ts'
import type { JournalMark } from './promise-frames.ts'
import type { LogCheckpoint } from './log-description.ts'

export interface RecoveryPoints {
  /** Of the kernel that the points were written under; undefined where that cannot be told. */
  readonly bootId: string | undefined
  /** By the name of the partition's directory: below this offset everything is on stable storage. */
  readonly points: ReadonlyMap<string, LogPlace>
  /** Log start offsets, by the same names, of those logs whose entries tell them. */
  readonly logStarts?: ReadonlyMap<string, Offset> | undefined
  /** Whether there was a sound file: then a log that is not in it is younger than the file. */
  readonly isKnown: boolean
  /** How much of the promise journal is known to have been synced. */
  readonly promises?: JournalMark | undefined
}

/** What a clean stop has left. */
export interface CleanMark {
  /** That has stopped; undefined when there is no mark of this directory. */
  readonly incarnation: number | undefined
  /** By the names of their directories: the logs that were closed in order. */
  readonly closed: ReadonlyMap<string, LogCheckpoint>
}

const BEGINNING: LogPlace = { offset: 0 as Offset, segmentBase: 0 as Offset, position: 0 }

/** The log start offset of a log when the points were written; undefined if that is not known. */
export function logStartOf(found: RecoveryPoints, name: string): Offset | undefined {
  return found.points.has(name) ? found.logStarts?.get(name) : pointOf(found, name)?.offset
}

/** The recovery point of a log; undefined if nothing is known of it. */
export function pointOf(found: RecoveryPoints, name: string): LogPlace | undefined {
  return found.points.get(name) ?? (found.isKnown ? BEGINNING : undefined)
}

export function writeRecoveryPoints(disk: Disk, path: string, value: Omit<RecoveryPoints, 'isKnown'>): Promise<void> {
  const points: Record<string, number[]> = {}
  for (const [name, point] of value.points) {
    const entry = [point.offset, point.segmentBase, point.position]
    const logStart = value.logStarts?.get(name)
    points[name] = logStart === undefined ? entry : [...entry, logStart]
  }
  return writeCheckpoint(disk, path, { bootId: value.bootId, points, promises: value.promises })
}

/** Without a file, or with a damaged one, there are no points. @throws DIRECTORY_FORMAT_UNKNOWN */
export function readRecoveryPoints(disk: Disk, path: string, logger: Logger): RecoveryPoints {
  const points = new Map<string, LogPlace>()
  const logStarts = new Map<string, Offset>()
  const value = readHint(disk, path, logger)
  const bootId = fieldOf(value, 'bootId')
  const entries = fieldOf(value, 'points')
  if (typeof entries !== 'object' || entries === null) return { bootId: undefined, points, isKnown: false }
  for (const [name, entry] of Object.entries(entries)) {
    const [pointOffset, segmentBase, position, logStart] = Array.isArray(entry) ? (entry as unknown[]) : []
    if (isCount(pointOffset) && isCount(segmentBase) && isCount(position)) {
      points.set(name, { offset: pointOffset as Offset, segmentBase: segmentBase as Offset, position })
      if (isCount(logStart)) logStarts.set(name, logStart as Offset)
    }
  }
  const promises = markOf(fieldOf(value, 'promises'))
  return { bootId: typeof bootId === 'string' ? bootId : undefined, points, logStarts, isKnown: true, promises }
}

function markOf(value: unknown): JournalMark | undefined {
  const generation = fieldOf(value, 'generation')
  const bytes = fieldOf(value, 'bytes')
  return isCount(generation) && isCount(bytes) ? { generation, bytes } : undefined
}

/** Says that these logs, by the names of their directories, were closed in order, and how. */
export function writeCleanMark(
  disk: Disk,
  path: string,
  directoryId: string,
  { incarnation, closed }: CleanMark,
): Promise<void> {
  const logs: Record<string, readonly number[]> = {}
  for (const [name, { recoveryPoint, logStartOffset }] of closed) {
    logs[name] = [logStartOffset, recoveryPoint.offset, recoveryPoint.segmentBase, recoveryPoint.position]
  }
  return writeCheckpoint(disk, path, { directoryId, incarnation, logs })
}

/** The mark of this directory; empty without one. @throws DIRECTORY_FORMAT_UNKNOWN */
export function readCleanMark(disk: Disk, path: string, directoryId: string, logger: Logger): CleanMark {
  const closed = new Map<string, LogCheckpoint>()
  const value = readHint(disk, path, logger)
  const logs = fieldOf(value, 'logs')
  if (fieldOf(value, 'directoryId') !== directoryId || typeof logs !== 'object' || logs === null) {
    return { incarnation: undefined, closed }
  }
  for (const [name, entry] of Object.entries(logs)) {
    const [start, end, segmentBase, position] = Array.isArray(entry) ? (entry as unknown[]) : []
    if (!isCount(start) || !isCount(end) || !isCount(segmentBase) || !isCount(position) || start > end) continue
    const recoveryPoint = { offset: end as Offset, segmentBase: segmentBase as Offset, position }
    closed.set(name, { recoveryPoint, logStartOffset: start as Offset, logEndOffset: end as Offset })
  }
  const incarnation = fieldOf(value, 'incarnation')
  return { incarnation: isCount(incarnation) ? incarnation : 0, closed }
}

/** Removes the mark, durably: from now on a crash is a crash. */
export async function removeCleanMark(disk: Disk, path: string): Promise<void> {
  if (disk.stat(path) === undefined) return
  disk.remove(path)
  await syncNames(disk, parentOf(path))
}

/** The value of a checkpoint that may be missing or damaged; undefined then. @throws DIRECTORY_FORMAT_UNKNOWN */
export function readHint(disk: Disk, path: string, logger: Logger): unknown {
  try {
    return readCheckpoint(disk, path)
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
    logger.warn({ path, error: error.message }, 'a checkpoint is damaged; the logs are checked instead')
    return undefined
  }
}

export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
