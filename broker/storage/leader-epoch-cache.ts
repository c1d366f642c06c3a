// Which leader epoch each offset was written in: the first offset of each epoch. Owns the list; it is a cache, since every
// batch carries its epoch.
//
// Invariant: epochs grow strictly, and so do their start offsets.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'

export interface EpochStart {
  readonly epoch: LeaderEpoch
  readonly startOffset: Offset
}

export class LeaderEpochCache {
  #starts: EpochStart[] = []

  /** Undefined when nothing was written. */
  get latest(): LeaderEpoch | undefined {
    return this.#starts[this.#starts.length - 1]?.epoch
  }

  get starts(): readonly EpochStart[] {
    return this.#starts
  }

  /** Takes note of an epoch in which the batch at startOffset was written. Answers whether it is a new one. */
  assign(epoch: LeaderEpoch, startOffset: Offset): boolean {
    const last = this.#starts[this.#starts.length - 1]
    if (last !== undefined && epoch <= last.epoch) return false
    // An epoch in which nothing was written leaves no trace.
    if (last !== undefined && startOffset <= last.startOffset) this.truncate(startOffset)
    this.#starts.push({ epoch, startOffset })
    return true
  }

  /**
   * Where the epoch ends: the start of the next one, or the log end offset for the latest. Answers the greatest known epoch
   * that is not above the one asked for; undefined when there is none.
   */
  endOffsetFor(
    epoch: LeaderEpoch,
    logEndOffset: Offset,
  ): { readonly epoch: LeaderEpoch; readonly endOffset: Offset } | undefined {
    let found: { readonly epoch: LeaderEpoch; readonly endOffset: Offset } | undefined
    for (let at = 0; at < this.#starts.length; at++) {
      const start = this.#starts[at]
      if (start === undefined || start.epoch > epoch) break
      found = { epoch: start.epoch, endOffset: this.#starts[at + 1]?.startOffset ?? logEndOffset }
    }
    return found
  }

  /** The epoch of the batch at the offset; undefined below the first known one. */
  epochAt(offset: Offset): LeaderEpoch | undefined {
    let epoch: LeaderEpoch | undefined
    for (const start of this.#starts) {
      if (start.startOffset > offset) break
      epoch = start.epoch
    }
    return epoch
  }

  /** Forgets the epochs that began at or above the offset. Answers whether there were any. */
  truncate(offset: Offset): boolean {
    const before = this.#starts.length
    this.#starts = this.#starts.filter((start) => start.startOffset < offset)
    return this.#starts.length < before
  }

  /**
   * Forgets the epochs that ended at or below the log start offset. The one it lies in keeps its start, so that it is still
   * known when the log is cut back to where it begins. Answers whether there were any.
   */
  trim(logStartOffset: Offset): boolean {
    const before = this.#starts.length
    const first = this.#starts.findLastIndex((start) => start.startOffset <= logStartOffset)
    if (first > 0) this.#starts = this.#starts.slice(first)
    return this.#starts.length < before
  }

  clear(): void {
    this.#starts = []
  }

  snapshot(): unknown {
    return this.#starts.map((start) => [start.epoch, start.startOffset])
  }

  /** Takes a snapshot over; false, and nothing known, when it is none. */
  restore(snapshot: unknown): boolean {
    this.#starts = []
    if (!Array.isArray(snapshot)) return false
    for (const row of snapshot as unknown[]) {
      if (!isRow(row) || !this.assign(row[0] as LeaderEpoch, row[1] as Offset)) {
        this.#starts = []
        return false
      }
    }
    return true
  }
}

function isRow(row: unknown): row is [number, number] {
  return Array.isArray(row) && row.length === 2 && row.every((value) => Number.isSafeInteger(value) && value >= 0)
}
