// What replication has cut off a log, kept for a while for a person to look at: one replica's records that no other had.
// Owns how much is kept and for how long. None of it is the log's, so that no failure here is one.

import type { TimestampMs } from '../../shared/ids.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { cutFile, parseCutFile } from './file-names.ts'
import { copyBytes } from './salvage.ts'
import type { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'

const KEPT_MS = 24 * 60 * 60 * 1000
/** Bytes that are copied at a cut, at most: nothing else happens meanwhile. */
const COPIED_BYTES_MAX = 16 * 1024 * 1024

/** Keeps a segment that is about to be removed, under another name. */
export function keepSegment(context: StorageContext, segment: Segment, now: TimestampMs): void {
  if (segment.size === 0) return
  try {
    context.files.drop(segment.file)
    context.disk.rename(segment.file.path, `${segment.directory}/${cutFile(segment.baseOffset, 0, now)}`)
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
  }
}

/** Keeps a copy of what stands behind the position of a segment. */
export function keepEnd(context: StorageContext, segment: Segment, position: number, now: TimestampMs): void {
  if (segment.size <= position) return
  const end = Math.min(segment.size, position + COPIED_BYTES_MAX)
  copyBytes(context, segment, `${segment.directory}/${cutFile(segment.baseOffset, position, now)}`, { position, end })
}

/** Removes what has been kept for long enough. Answers whether there is more. */
export function expireKept(disk: Disk, directory: string, now: TimestampMs): boolean {
  let isMore = false
  try {
    for (const name of disk.list(directory)) {
      const cutMs = parseCutFile(name)
      if (cutMs === undefined) continue
      // A time to come is that of a clock that went wrong.
      if (Math.abs(now - cutMs) >= KEPT_MS) disk.remove(`${directory}/${name}`)
      else isMore = true
    }
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    return true
  }
  return isMore
}
