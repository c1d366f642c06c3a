// How far a log is compacted, in its directory. Owns the file and what may be believed of it. Where it is lost, all of the
// log counts as new and is looked at once more. It must never say too much of a log that was cut back, because a tombstone
// that was put there since would go without what it deletes: the cut lowers it first.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import { fieldOf, readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import { COMPACTED_FILE } from './file-names.ts'
import type { StorageContext } from './storage-context.ts'

export interface CompactedTo {
  /** Of every key, what lies below is superseded by nothing that lies below. */
  readonly cleanedTo: Offset
  /** The end of the newest tombstone that was dropped: who has read less than this may not have seen it. */
  readonly droppedTo: Offset
}

const NOTHING: CompactedTo = { cleanedTo: 0 as Offset, droppedTo: 0 as Offset }

/** @throws DiskError */
export function readCompacted({ disk, events }: StorageContext, directory: string): CompactedTo {
  const path = `${directory}/${COMPACTED_FILE}`
  try {
    const value = readCheckpoint(disk, path)
    const cleanedTo = fieldOf(value, 'cleanedTo')
    const droppedTo = fieldOf(value, 'droppedTo')
    return isOffset(cleanedTo) && isOffset(droppedTo) ? { cleanedTo, droppedTo } : NOTHING
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
    events.onCacheRebuilt?.(directory, COMPACTED_FILE, error.message)
    return NOTHING
  }
}

/** Durable when it resolves. @throws DiskError */
export async function writeCompacted({ disk }: StorageContext, directory: string, value: CompactedTo): Promise<void> {
  await writeCheckpoint(disk, `${directory}/${COMPACTED_FILE}`, value)
}

/** The log is about to be cut at the offset: what is put there in its place is not compacted. @throws DiskError */
export async function lowerCompacted(context: StorageContext, directory: string, offset: Offset): Promise<void> {
  if (context.disk.stat(`${directory}/${COMPACTED_FILE}`) === undefined) return
  const { cleanedTo, droppedTo } = readCompacted(context, directory)
  if (cleanedTo > offset) await writeCompacted(context, directory, { cleanedTo: offset, droppedTo })
}

function isOffset(value: unknown): value is Offset {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
