// Which part of a log compaction may clean, whether that is worth a pass, and which segments are put together. Owns these
// rules (FORMAT.md, Compaction); knows nothing of records and files.

import type { CompactionConfig } from './log-config.ts'

/** One segment, as compaction sees it. */
export interface CleanableSegment {
  readonly baseOffset: number
  readonly size: number
  readonly isSealed: boolean
  /** Greatest timestamp of any record (milliseconds); undefined when it is not known, -1 when none has one. */
  readonly largestTimestamp: number | undefined
  /** Wall clock of the first and the last append, as far as they are known. */
  readonly firstAppendMs: number | undefined
  readonly lastAppendMs: number | undefined
  /** Where bytes are in quarantine. */
  readonly lost: readonly unknown[]
}

/** What bounds compaction from above. */
export interface CleanableBounds {
  /** What lies below is compacted. */
  readonly cleanedTo: number
  /** Nothing at or above may be touched, for it may be cut off. */
  readonly committedEnd: number
  /** The recovery point stands in the segment with this base offset. */
  readonly recoverySegmentBase: number
  readonly now: number
}

export interface CompactionPlan<S> {
  /** All that may be cleaned, in order; never empty. */
  readonly segments: readonly S[]
  /** Where their offsets end. */
  readonly endOffset: number
  /** The first of them that has something new in it. */
  readonly firstDirty: number
  readonly cleanBytes: number
  readonly dirtyBytes: number
  /** Whether it is time for a pass: enough is dirty, or what is dirty has waited long enough. */
  readonly isDue: boolean
  /** It has waited long enough. */
  readonly isOverdue: boolean
  readonly cleanedTo: number
}

/** How much of what may be cleaned is dirty, from 0 to 1. */
export function dirtyRatio(plan: { readonly cleanBytes: number; readonly dirtyBytes: number }): number {
  const bytes = plan.cleanBytes + plan.dirtyBytes
  return bytes === 0 ? 0 : plan.dirtyBytes / bytes
}

/**
 * What may be cleaned now; undefined when there is nothing dirty in it. `load` makes the greatest timestamp of a segment
 * known, which costs a look at its index; it is called only where the topic's lag asks for it.
 */
export async function planCompaction<S extends CleanableSegment>(
  all: Iterable<S>,
  config: CompactionConfig,
  bounds: CleanableBounds,
  load: (segment: S) => Promise<void>,
): Promise<CompactionPlan<S> | undefined> {
  const list = [...all]
  const segments: S[] = []
  let firstDirty = -1
  let cleanBytes = 0
  let dirtyBytes = 0
  let endOffset = 0
  let dirtySinceMs: number | undefined
  for (const [index, segment] of list.entries()) {
    const next = list[index + 1]
    if (next === undefined || !segment.isSealed || segment.baseOffset >= bounds.recoverySegmentBase) break
    if (next.baseOffset > bounds.committedEnd) break
    if (config.lagMsMin > 0 && next.baseOffset > bounds.cleanedTo) {
      await load(segment)
      const youngestMs = Math.max(segment.largestTimestamp ?? 0, segment.lastAppendMs ?? 0)
      if (youngestMs > bounds.now - config.lagMsMin) break
    }
    const isClean = next.baseOffset <= bounds.cleanedTo
    if (!isClean && firstDirty < 0) {
      firstDirty = index
      dirtySinceMs = segment.firstAppendMs ?? segment.lastAppendMs
    }
    if (isClean) cleanBytes += segment.size
    else dirtyBytes += segment.size
    segments.push(segment)
    endOffset = next.baseOffset
  }
  if (firstDirty < 0) return undefined
  const isOverdue = dirtySinceMs !== undefined && bounds.now - dirtySinceMs >= config.lagMsMax
  const isDirty = dirtyRatio({ cleanBytes, dirtyBytes }) >= config.dirtyRatioMin && dirtyBytes > 0
  const { cleanedTo } = bounds
  return { segments, endOffset, firstDirty, cleanBytes, dirtyBytes, isDue: isDirty || isOverdue, isOverdue, cleanedTo }
}

/** Segments that become one. Those in quarantine stay, and nothing is put together across them. */
export interface SegmentGroup<S> {
  readonly segments: readonly S[]
  /** Whether something before it stays as it is, other than what is clean. */
  readonly isBehindLost: boolean
}

/** The offsets of one segment lie so close together at most, for its index. */
const OFFSETS_MAX = 0xffff_ffff

/** Neighbours together as long as they are no larger than a segment may be. `endOf` says where a segment's offsets end. */
export function groupSegments<S extends CleanableSegment>(
  segments: readonly S[],
  segmentBytes: number,
  endOf: (segment: S) => number,
): SegmentGroup<S>[] {
  const groups: SegmentGroup<S>[] = []
  let group: S[] = []
  let bytes = 0
  let isBehindLost = false
  const close = (): void => {
    if (group.length > 0) groups.push({ segments: group, isBehindLost })
    group = []
    bytes = 0
  }
  for (const segment of segments) {
    if (segment.lost.length > 0) {
      close()
      isBehindLost = true
      continue
    }
    const first = group[0]
    const isTooMuch = bytes + segment.size > segmentBytes
    if (isTooMuch || (first !== undefined && endOf(segment) - first.baseOffset > OFFSETS_MAX)) close()
    group.push(segment)
    bytes += segment.size
  }
  close()
  return groups
}
