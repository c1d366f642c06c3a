// Looks through a segment for what has gone bad since it was written, every byte of it. Owns what becomes of it: the range
// is quarantined, as in a recovery, and the rest stays readable. Knows nothing of when to look.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { BatchWalk, runWalk } from './batch-walk.ts'
import { keptFile } from './file-names.ts'
import { failureOf } from './log-failure.ts'
import { placeLost } from './log-files.ts'
import type { Quarantine, QuarantinedRange } from './quarantine.ts'
import { copyBytes, findNextBatch } from './salvage.ts'
import type { Segment } from './segment.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'

/**
 * Checks the segment's first `size` bytes, whose offsets end at endOffset, and adds to the quarantine what is bad. Answers
 * what it has added; the caller makes the quarantine durable. @throws DiskError
 */
export async function scrubSegment(
  context: StorageContext,
  segment: Segment,
  quarantine: Quarantine,
  endOffset: Offset,
): Promise<QuarantinedRange[]> {
  const found: QuarantinedRange[] = []
  const size = segment.size
  const file = context.files.acquire(segment.file)
  try {
    let expected = segment.baseOffset
    for (let position = 0; position < size;) {
      const known = segment.lost.find((lost) => lost.bytes > 0 && lost.position === position)
      if (known !== undefined) {
        position += known.bytes
        expected = known.endOffset as Offset
        continue
      }
      const end = Math.min(size, segment.readableEnd(position))
      const walk = new BatchWalk({ position, end, expectedOffset: expected, isFullCheck: true, visit: () => false })
      await runWalk(walk, file)
      expected = (walk.expectedOffset ?? expected) as Offset
      position = walk.position
      if (walk.fault === undefined) continue
      const epochMin = -1 as LeaderEpoch
      const search = { position, end: size, afterOffset: expected, beforeOffset: endOffset, epochMin }
      const next = findNextBatch(file, search) ?? { position: size, offset: endOffset }
      const range: QuarantinedRange = {
        startOffset: expected,
        endOffset: next.offset,
        segmentBase: segment.baseOffset,
        position,
        bytes: next.position - position,
        reason: walk.fault,
      }
      quarantine.add(range)
      placeLost([segment], quarantine)
      found.push(range)
      const copy = `${segment.directory}/${keptFile('corrupt', segment.baseOffset, position)}`
      copyBytes(context, segment, copy, { position, end: next.position })
      context.events.onQuarantine?.(segment.directory, range)
      position = next.position
      expected = next.offset
    }
    const known = segment.lost.find((lost) => lost.bytes === 0 && lost.endOffset > expected)
    if (segment.isSealed && expected < endOffset && known === undefined) {
      // Cut off between two batches, or the next file is gone: nothing is bad, but what was there is not.
      const reason = `the segment ends before offset ${endOffset}, which follows it`
      const range = {
        startOffset: expected,
        endOffset,
        segmentBase: segment.baseOffset,
        position: size,
        bytes: 0,
        reason,
      }
      quarantine.add(range)
      placeLost([segment], quarantine)
      found.push(range)
      context.events.onQuarantine?.(segment.directory, range)
    }
  } finally {
    context.files.release(segment.file)
  }
  if (found.length > 0) forgetIndexes(context, segment)
  return found
}

/** Looked at between two pauses. */
const STEP_BYTES = 4 * 1024 * 1024

/** What is needed of a log to look through it. */
export interface ScrubbedLog {
  readonly directory: string
  /** Called every few megabytes, with how many they were; answers whether to go on. */
  readonly pause: (bytes: number) => Promise<boolean>
  readonly isOver: () => boolean
  /** Checks a segment alone, and quarantines what is bad. */
  readonly scrub: (segment: Segment) => Promise<readonly QuarantinedRange[]>
}

/**
 * Looks at all sealed segments, beside whatever else goes on in the log, and has those that look bad scrubbed. Answers what
 * was quarantined. @throws STORAGE_ERROR
 */
export async function scrubSealed(
  context: StorageContext,
  segments: Segments,
  log: ScrubbedLog,
): Promise<readonly QuarantinedRange[]> {
  const found: QuarantinedRange[] = []
  let isStopped = false
  const pause = async (bytes: number): Promise<boolean> => {
    isStopped = !(await log.pause(bytes))
    return !isStopped
  }
  for (const segment of [...segments]) {
    if (isStopped || log.isOver()) break
    const next = segments.after(segment.baseOffset)
    // Removed meanwhile, or the active one, which every start looks at.
    if (next === undefined || segments.floor(segment.baseOffset) !== segment) continue
    try {
      if (await looksSound(context, segment, next.baseOffset, pause)) continue
    } catch (error) {
      throw failureOf(error, `${log.directory} cannot be checked`)
    }
    if (!log.isOver()) found.push(...(await log.scrub(segment)))
  }
  return found
}

/**
 * Whether every byte of a sealed segment, whose offsets end at endOffset, is sound, or known to be lost. Changes nothing
 * and may run beside anything: of a segment that is cut meanwhile it says no. @throws DiskError
 */
async function looksSound(
  context: StorageContext,
  segment: Segment,
  endOffset: Offset,
  pause: (bytes: number) => Promise<boolean>,
): Promise<boolean> {
  const file = context.files.acquire(segment.file)
  try {
    const { size } = segment
    let expected: number = segment.baseOffset
    for (let position = 0; position < size;) {
      const known = segment.lost.find((lost) => lost.bytes > 0 && lost.position === position)
      if (known !== undefined) {
        position += known.bytes
        expected = known.endOffset
        continue
      }
      const begin = position
      const end = Math.min(size, segment.readableEnd(position))
      const visit = (_bytes: Uint8Array, _at: number, batchSize: number, at: number): boolean =>
        at + batchSize - begin >= STEP_BYTES
      const walk = new BatchWalk({ position, end, expectedOffset: expected, isFullCheck: true, visit })
      await runWalk(walk, file)
      if (walk.fault !== undefined) return false
      position = walk.position
      expected = walk.expectedOffset ?? expected
      if (!(await pause(position - begin))) return true
    }
    return expected >= endOffset || segment.lost.some((lost) => lost.bytes === 0 && lost.endOffset > expected)
  } finally {
    context.files.release(segment.file)
  }
}

/** They may have been made from bad bytes, or be what is bad. */
export function forgetIndexes(context: StorageContext, segment: Segment): void {
  context.indexes.remove(segment)
  segment.forgetIndexes()
  segment.removeIndexFiles(context.disk)
}
