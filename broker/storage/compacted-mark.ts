// How far a log is compacted, in its directory. Owns the file and what may be believed of it. Where it is lost, all of the
// log counts as new and is looked at once more. It must never say too much of a log that was cut back, because a tombstone
// that was put there since would go without what it deletes: the cut lowers it first. A log that has become empty begins
// with nothing compacted; the floor of a replica that has begun anew stays, for that is what it is for.

import { TidemarkError } from '../../shared/errors.ts'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { fieldOf, readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import { COMPACTED_FILE } from './file-names.ts'
import type { StorageContext } from './storage-context.ts'

export interface CompactedTo {
  /** Of every key, what lies below is superseded by nothing that lies below. */
  readonly cleanedTo: Offset
  /** The end of the newest tombstone that was dropped, here or where the log was copied from: who has read less may lack it. */
  readonly droppedTo: Offset
  /** Records below may lack what records below supersede: a log that is cut below this may lack keys. At least the two above. */
  readonly touchedTo: Offset
  /** How far the log reached before it was begun anew, until it reaches as far again. */
  readonly floor: LogFloor | undefined
}

/** A position that a log once had. */
export interface LogFloor {
  readonly latestEpoch: LeaderEpoch | undefined
  readonly logEndOffset: Offset
}

const NOTHING_COMPACTED: CompactedTo = {
  cleanedTo: 0 as Offset,
  droppedTo: 0 as Offset,
  touchedTo: 0 as Offset,
  floor: undefined,
}

/** @throws DiskError */
export function readCompacted({ disk, events }: StorageContext, directory: string): CompactedTo {
  const path = `${directory}/${COMPACTED_FILE}`
  if (disk.stat(path) === undefined) return NOTHING_COMPACTED
  try {
    const value = readCheckpoint(disk, path)
    const cleanedTo = fieldOf(value, 'cleanedTo')
    const droppedTo = fieldOf(value, 'droppedTo')
    if (!isOffset(cleanedTo) || !isOffset(droppedTo)) return NOTHING_COMPACTED
    const touched = fieldOf(value, 'touchedTo')
    const touchedTo = Math.max(isOffset(touched) ? touched : 0, cleanedTo, droppedTo) as Offset
    return { cleanedTo, droppedTo, touchedTo, floor: floorOf(fieldOf(value, 'floor')) }
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
    events.onCacheRebuilt?.(directory, COMPACTED_FILE, error.message)
    return NOTHING_COMPACTED
  }
}

/** Durable when it resolves. @throws DiskError */
export async function writeCompacted({ disk }: StorageContext, directory: string, value: CompactedTo): Promise<void> {
  await writeCheckpoint(disk, `${directory}/${COMPACTED_FILE}`, value)
}

/** What is to be known once the log is cut at the offset; the same object if that is nothing new. */
export function loweredTo(compacted: CompactedTo, offset: Offset, isEmptied: boolean): CompactedTo {
  const { cleanedTo, droppedTo, touchedTo, floor } = compacted
  if (isEmptied) return touchedTo === 0 ? compacted : { ...NOTHING_COMPACTED, floor }
  if (cleanedTo <= offset) return compacted
  return { cleanedTo: offset, droppedTo, touchedTo, floor }
}

function floorOf(value: unknown): LogFloor | undefined {
  const logEndOffset = fieldOf(value, 'logEndOffset')
  const latestEpoch = fieldOf(value, 'latestEpoch')
  if (!isOffset(logEndOffset)) return undefined
  return { latestEpoch: isOffset(latestEpoch) ? (latestEpoch as number as LeaderEpoch) : undefined, logEndOffset }
}

function isOffset(value: unknown): value is Offset {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
