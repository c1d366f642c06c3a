// Which segments a partition has kept long enough. Owns the rules of time and size, and the distrust of a clock that
// jumps; a core that decides and deletes nothing.
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
   * Takes note of the clock before a look. `evidence` is the wall clock of the newest append: time must have come at least
   * so far by then.
   */
  observe(now: TimestampMs, evidence: number | undefined): void {
    const seen = Math.max(this.#lastNow ?? 0, evidence ?? 0)
    if (this.#cautiousRuns > 0) this.#cautiousRuns--
    if (seen > 0 && now - seen > CLOCK_JUMP_MS) this.#cautiousRuns = CAUTIOUS_RUNS
    this.#lastNow = now
  }

  /** How many of so many segments time may take away in this look. */
  segmentsMax(count: number): number {
    return this.#cautiousRuns === 0 ? count : Math.max(1, Math.ceil(count / CAUTIOUS_RUNS))
  }
}

/** Whether all of the segment's records are older than retention.ms. Never so when their age is not known. */
export function isExpired(segment: AgedSegment, config: LogConfig, now: TimestampMs): boolean {
  if (config.retentionMs === undefined || segment.size === 0) return false
  if (segment.largestTimestamp === undefined || segment.lastAppendMs === undefined) return false
  const hasTimestamp = segment.largestTimestamp >= 0
  const youngest = hasTimestamp ? Math.min(segment.largestTimestamp, segment.lastAppendMs) : segment.lastAppendMs
  return now - youngest > config.retentionMs
}

/** Whether the log keeps retention.bytes even without its oldest segment. */
export function isAboveSize(logBytes: number, oldest: AgedSegment, config: LogConfig): boolean {
  return config.retentionBytes !== undefined && logBytes - oldest.size >= config.retentionBytes
}
