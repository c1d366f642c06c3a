// What can still be made of a segment behind bytes that are no batch: where the next sound one begins, whether there are
// only zeroes, a copy for a person to look at. Owns the search; judges nothing and changes nothing in the log.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { BATCH_HEADER_BYTES, BATCH_MAGIC, MAGIC_AT } from '../../shared/record-batch/format.ts'
import { baseOffsetAt, checkBatch, leaderEpochAt } from '../../shared/record-batch/header.ts'
import { frameBytes } from './batch-walk.ts'
import type { File } from './disk.ts'
import { DiskError } from './disk.ts'
import type { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'

const CHUNK_BYTES = 1024 * 1024
/** Bytes of checksums that a search may compute beyond those of the bytes it looks at: noise can look like many headers. */
const EXTRA_CHECKED_BYTES_MAX = 256 * 1024 * 1024
/** How far offsets may lie apart within a segment. */
const OFFSET_DISTANCE_MAX = 0xffff_ffff
/** Bytes that are copied for a person to look at, at most; all of them stay in the segment. */
const COPIED_BYTES_MAX = 64 * 1024 * 1024

export interface NextBatchSearch {
  /** Where the bad batch begins. */
  readonly position: number
  /** Where the segment ends. */
  readonly end: number
  /** The next batch has a greater base offset, */
  readonly afterOffset: Offset
  /** and a smaller one than this, */
  readonly beforeOffset: Offset | undefined
  /** and an epoch that is no older. */
  readonly epochMin: LeaderEpoch
}

/** The first sound batch behind the position that fits into the log. @throws DiskError */
export function findNextBatch(
  file: File,
  search: NextBatchSearch,
): { readonly position: number; readonly offset: Offset } | undefined {
  const budget = { file, bytes: 2 * (search.end - search.position) + EXTRA_CHECKED_BYTES_MAX }
  // If the bad batch's length is right, the next one begins behind it; a record may look like a batch, this cannot.
  const header = new Uint8Array(BATCH_HEADER_BYTES)
  if (file.readAtSync(header, search.position) === BATCH_HEADER_BYTES) {
    const next = search.position + frameBytes(header, 0)
    if (next > search.position && next + BATCH_HEADER_BYTES <= search.end) {
      file.readAtSync(header, next)
      const offset = checkCandidate(header, 0, next, search, budget)
      if (offset !== undefined) return { position: next, offset }
    }
  }
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  for (let from = search.position + 1; from + BATCH_HEADER_BYTES <= search.end;) {
    const length = file.readAtSync(buffer.subarray(0, Math.min(CHUNK_BYTES, search.end - from)), from)
    if (length < BATCH_HEADER_BYTES) return undefined
    const last = length - BATCH_HEADER_BYTES
    // Every header has its magic number at the same place.
    for (let at = buffer.indexOf(BATCH_MAGIC, MAGIC_AT) - MAGIC_AT; at >= 0 && at <= last;) {
      const offset = checkCandidate(buffer, at, from + at, search, budget)
      if (offset !== undefined) return { position: from + at, offset }
      const magicAt = buffer.indexOf(BATCH_MAGIC, at + MAGIC_AT + 1)
      if (magicAt < 0) break
      at = magicAt - MAGIC_AT
    }
    from += last + 1
  }
  return undefined
}

/** The base offset of the batch whose header stands at `at`, if it is sound and fits. */
function checkCandidate(
  bytes: Uint8Array,
  at: number,
  position: number,
  search: NextBatchSearch,
  budget: { readonly file: File; bytes: number },
): Offset | undefined {
  const size = frameBytes(bytes, at)
  if (size === 0 || position + size > search.end) return undefined
  const offset = baseOffsetAt(bytes, at)
  if (offset <= search.afterOffset || offset - search.afterOffset > OFFSET_DISTANCE_MAX) return undefined
  if (search.beforeOffset !== undefined && offset >= search.beforeOffset) return undefined
  if (leaderEpochAt(bytes, at) < search.epochMin || size > budget.bytes) return undefined
  budget.bytes -= size
  const batch = Buffer.allocUnsafeSlow(size)
  if (budget.file.readAtSync(batch, position) < size) return undefined
  return checkBatch(batch, 0, size, { mayBeCompacted: true }) === undefined ? offset : undefined
}

/** Whether all bytes of [position, end) are zero. @throws DiskError */
export function isZeroToEnd(file: File, position: number, end: number): boolean {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(1, end - position)))
  for (let from = position; from < end;) {
    const length = file.readAtSync(buffer.subarray(0, Math.min(buffer.length, end - from)), from)
    if (length === 0) return true
    for (let at = 0; at < length; at++) if (buffer[at] !== 0) return false
    from += length
  }
  return true
}

/**
 * Copies bytes of the segment into a new file. For people, not for the log: one that is there already stays, and that the
 * copy could not be made is no failure.
 */
export function copyBytes(
  context: StorageContext,
  segment: Segment,
  to: string,
  range: { readonly position: number; readonly end: number },
): void {
  const { disk, files } = context
  const end = Math.min(range.end, range.position + COPIED_BYTES_MAX)
  const file = files.acquire(segment.file)
  try {
    const copy = disk.open(to, 'create')
    try {
      const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - range.position))
      for (let from = range.position; from < end;) {
        const length = file.readAtSync(buffer.subarray(0, Math.min(buffer.length, end - from)), from)
        if (length === 0) break
        copy.append([buffer.subarray(0, length)])
        from += length
      }
    } finally {
      copy.close()
    }
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
  } finally {
    files.release(segment.file)
  }
}
