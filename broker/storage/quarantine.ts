// The ranges of offsets that a partition has lost to corruption. Owns the list and its file; knows nothing of how they were
// found. The offsets of a range are never given out again; it goes when its own records are back, or are nobody's any more.
//
// Invariant: ranges are in order, do not overlap and are not empty.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'

/** Offsets that were given out and whose records cannot be read. */
export interface QuarantinedRange {
  readonly startOffset: Offset
  readonly endOffset: Offset
  /** Where the bad bytes stand: a segment by its base offset, and the bytes [position, position + bytes), maybe none. */
  readonly segmentBase: Offset
  readonly position: number
  readonly bytes: number
  readonly reason: string
}

/** A read would begin inside of a lost range. */
export class QuarantinedError extends TidemarkError {
  /** The first offset behind the range. */
  readonly resumeOffset: Offset

  constructor(range: QuarantinedRange) {
    super(
      'QUARANTINED',
      `offsets ${range.startOffset} up to ${range.endOffset} were lost to corruption (${range.reason}); ` +
        `go on from ${range.endOffset}`,
    )
    this.resumeOffset = range.endOffset
  }
}

export class Quarantine {
  #ranges: readonly QuarantinedRange[]

  constructor(ranges: readonly QuarantinedRange[] = []) {
    this.#ranges = ranges
  }

  get ranges(): readonly QuarantinedRange[] {
    return this.#ranges
  }

  /** The range that the offset lies in. */
  rangeAt(offset: Offset): QuarantinedRange | undefined {
    for (const range of this.#ranges) {
      if (offset >= range.startOffset && offset < range.endOffset) return range
    }
    return undefined
  }

  /** The range whose bad bytes begin at the position of the segment. */
  rangeAtPosition(segmentBase: Offset, position: number): QuarantinedRange | undefined {
    return this.#ranges.find((range) => range.segmentBase === segmentBase && range.position === position)
  }

  /** Adds a range. What it covers of others is part of it from now on. */
  add(range: QuarantinedRange): void {
    const others = this.#ranges.filter(
      (other) => other.endOffset <= range.startOffset || other.startOffset >= range.endOffset,
    )
    this.#ranges = [...others, range].toSorted((a, b) => a.startOffset - b.startOffset)
  }

  /** Its records are back in their place. */
  remove(range: QuarantinedRange): void {
    this.#ranges = this.#ranges.filter((other) => other !== range)
  }

  /** Forgets what lies below the log start offset. Answers whether there was any. */
  trim(logStartOffset: Offset): boolean {
    const before = this.#ranges.length
    this.#ranges = this.#ranges.filter((range) => range.endOffset > logStartOffset)
    return this.#ranges.length < before
  }

  /** Forgets what lies at or above the offset, which is about to be written anew by somebody who has the records. */
  truncate(offset: Offset): boolean {
    const before = this.#ranges.length
    this.#ranges = this.#ranges.filter((range) => range.startOffset < offset)
    return this.#ranges.length < before
  }

  snapshot(): unknown {
    return this.#ranges
  }

  /** Undefined when the value is no snapshot. */
  static restore(snapshot: unknown): Quarantine | undefined {
    if (!Array.isArray(snapshot)) return undefined
    const quarantine = new Quarantine()
    for (const range of snapshot as unknown[]) {
      if (!isRange(range)) return undefined
      quarantine.add(range)
    }
    return quarantine
  }
}

function isRange(value: unknown): value is QuarantinedRange {
  if (typeof value !== 'object' || value === null) return false
  const range = value as Partial<Record<keyof QuarantinedRange, unknown>>
  const numbers = [range.startOffset, range.endOffset, range.segmentBase, range.position, range.bytes]
  if (!numbers.every((number) => Number.isSafeInteger(number) && Number(number) >= 0)) return false
  return Number(range.endOffset) > Number(range.startOffset) && typeof range.reason === 'string'
}
