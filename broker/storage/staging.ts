// What has been appended in memory and not yet written: runs of bytes in the tail's blocks, in order, and where a new
// segment must begin. Owns the decision to roll; knows nothing of files.
//
// Invariant: the runs follow one another from the written end offset to the log end offset; a run lies in one block and in
// one segment.

import type { Offset } from '../../shared/ids.ts'
import type { TailBlock } from './hot-tail.ts'
import type { LogConfig } from './log-config.ts'

/** Relative offsets in an index are unsigned and have 32 bits. */
const RELATIVE_OFFSET_MAX = 0xffff_ffff

export interface StagedRun {
  readonly block: TailBlock
  readonly from: number
  to: number
  readonly baseOffset: Offset
  endOffset: Offset
  /** Whether a new segment begins with this run. */
  readonly isRoll: boolean
}

export class Staging {
  #runs: StagedRun[] = []
  /** The segment that the next batch goes to, as it will be when everything staged is written. */
  #segmentBase: Offset
  #segmentBytes: number
  #segmentStartMs: number | undefined
  /** Bytes staged. */
  bytes = 0

  constructor(segmentBase: Offset, segmentBytes: number, segmentStartMs: number | undefined) {
    this.#segmentBase = segmentBase
    this.#segmentBytes = segmentBytes
    this.#segmentStartMs = segmentStartMs
  }

  get runs(): readonly StagedRun[] {
    return this.#runs
  }

  /** The active segment is this one; nothing is staged. */
  reset(segmentBase: Offset, segmentBytes: number, segmentStartMs: number | undefined): void {
    this.#segmentBase = segmentBase
    this.#segmentBytes = segmentBytes
    this.#segmentStartMs = segmentStartMs
    this.clear()
  }

  /** Everything staged has been written. */
  clear(): void {
    if (this.#runs.length > 0) this.#runs = []
    this.bytes = 0
  }

  /** Takes note of a batch that was put into the block from `from` on. */
  add(block: TailBlock, from: number, batch: StagedBatch, config: LogConfig, now: number): void {
    const { baseOffset, endOffset, bytes } = batch
    const isRoll = this.#mustRoll(batch, config, now)
    if (isRoll) {
      this.#segmentBase = baseOffset
      this.#segmentBytes = 0
      this.#segmentStartMs = undefined
    }
    this.#segmentStartMs ??= now
    this.#segmentBytes += bytes
    this.bytes += bytes
    const last = this.#runs[this.#runs.length - 1]
    if (!isRoll && last !== undefined && last.block === block && last.to === from) {
      last.to += bytes
      last.endOffset = endOffset
      return
    }
    this.#runs.push({ block, from, to: from + bytes, baseOffset, endOffset, isRoll })
  }

  #mustRoll(batch: StagedBatch, config: LogConfig, now: number): boolean {
    if (this.#segmentBytes === 0) return false
    if (this.#segmentBytes + batch.bytes > config.segmentBytes) return true
    if (this.#segmentStartMs !== undefined && now - this.#segmentStartMs >= config.segmentMs) return true
    return batch.endOffset - this.#segmentBase > RELATIVE_OFFSET_MAX
  }
}

export interface StagedBatch {
  readonly baseOffset: Offset
  readonly endOffset: Offset
  readonly bytes: number
}
