// Which segments a partition has kept long enough. Owns the rules of time and size, and the distrust of a clock that
// jumps. Decides, and deletes nothing.
//
// A record's age is counted from its timestamp, but a timestamp ahead of the append counts as the append: a producer whose
// clock runs ahead cannot keep data for ever. When the broker's clock has run ahead of everything it has seen by more
// than an hour, it may have jumped: until it has proven itself, only a part of the log goes at once.

import type { TimestampMs } from '../../shared/ids.ts'
import type { LogConfig } from './log-config.ts'

/** How far the clock may advance between two looks before it is distrusted. */
export const CLOCK_JUMP_MS = 3_600_000
/** After a jump, so many looks take away at most a tenth of the segments each. */
const CAUTIOUS_RUNS = 10

/** One segment, as retention sees it. */
export interface AgedSegment {
  readonly isSealed: boolean
  readonly size: number
  /** Greatest timestamp of any record (milliseconds); undefined when it is not known, -1 when none has one. */
  readonly largestTimestamp: number | undefined
  /** Wall clock of the last append; undefined when nothing was appended. */
  readonly lastAppendMs: number | undefined
}

export class Retention {
  #lastNow: number | undefined
  #cautiousRuns = 0

  /**
   * How many segments, from the oldest on, need not be kept; all of them when even the active one has expired. `load` makes
   * the greatest timestamp of a segment known, which costs a look at its index.
   */
  async removable<S extends AgedSegment>(
    segments: Iterable<S>,
    config: LogConfig,
    now: TimestampMs,
    load: (segment: S) => Promise<void>,
  ): Promise<number> {
    const list = [...segments]
    const expiredMax = this.#observe(list, now)
    let bytes = 0
    for (const segment of list) bytes += segment.size
    let removable = 0
    let expired = 0
    for (const segment of list) {
      if (!segment.isSealed || !isAboveSize(bytes, segment, config)) {
        if (expired === expiredMax || !mayBeExpired(segment, config, now)) break
        await load(segment)
        if (!isExpired(segment, config, now)) break
        expired++
      }
      bytes -= segment.size
      removable++
    }
    return removable
  }

  /** Takes note of the clock. Answers how many segments time may take away in this look. */
  #observe(segments: readonly AgedSegment[], now: TimestampMs): number {
    // Time must have come at least so far by the newest append.
    const seen = Math.max(this.#lastNow ?? 0, segments[segments.length - 1]?.lastAppendMs ?? 0)
    if (this.#cautiousRuns > 0) this.#cautiousRuns--
    if (seen > 0 && now - seen > CLOCK_JUMP_MS) this.#cautiousRuns = CAUTIOUS_RUNS
    this.#lastNow = now
    return this.#cautiousRuns === 0 ? segments.length : Math.ceil(segments.length / CAUTIOUS_RUNS)
  }
}

/** Whether it is worth to look for the segment's greatest timestamp. */
function mayBeExpired(segment: AgedSegment, config: LogConfig, now: TimestampMs): boolean {
  if (config.retentionMs === undefined || segment.size === 0) return false
  if (segment.largestTimestamp !== undefined) return isExpired(segment, config, now)
  // Timestamps may be far older than the append, but only a sealed segment is looked into for that.
  return segment.isSealed || now - (segment.lastAppendMs ?? now) > config.retentionMs
}

/** Whether all of the segment's records are older than retention.ms. Never so when their age is not known. */
function isExpired(segment: AgedSegment, config: LogConfig, now: TimestampMs): boolean {
  if (config.retentionMs === undefined || segment.size === 0) return false
  if (segment.largestTimestamp === undefined || segment.lastAppendMs === undefined) return false
  const hasTimestamp = segment.largestTimestamp >= 0
  const youngest = hasTimestamp ? Math.min(segment.largestTimestamp, segment.lastAppendMs) : segment.lastAppendMs
  return now - youngest > config.retentionMs
}

/** Whether the log keeps retention.bytes even without its oldest segment. */
function isAboveSize(logBytes: number, oldest: AgedSegment, config: LogConfig): boolean {
  return config.retentionBytes !== undefined && logBytes - oldest.size >= config.retentionBytes
}
