// Writes a partition's staged batches to its segments, rolls them and syncs them. Owns which names of the directory are not
// durable yet; knows nothing of offsets beyond those it is told.
//
// Invariant: a write either puts all of its runs into the files or can be undone by its mark.

import type { Offset, TimestampMs } from '../../shared/ids.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import type { BatchHistory } from './batch-history.ts'
import { syncNames } from './failed-sync.ts'
import { keepEnd, keepSegment } from './kept-files.ts'
import type { LogPlace } from './log-files.ts'
import { Segment } from './segment.ts'
import type { Segments } from './segments.ts'
import type { StagedRun } from './staging.ts'
import type { StorageContext } from './storage-context.ts'

/** How the files were before a write. */
export interface WriteMark {
  readonly segments: number
  readonly active: Segment
  readonly size: number
}

export class LogWriter {
  /** Whether all names in the directory are durable. */
  isDirectorySynced = false
  readonly #context: StorageContext
  readonly #directory: string
  readonly #segments: Segments
  readonly #history: BatchHistory
  /** It has been cut back after a failed write, and that is not durable. */
  #undone: Segment | undefined

  constructor(context: StorageContext, directory: string, segments: Segments, history: BatchHistory) {
    this.#context = context
    this.#directory = directory
    this.#segments = segments
    this.#history = history
  }

  /** Whether a sync has anything to do. */
  get hasUnsynced(): boolean {
    const { active } = this.#segments
    return !this.isDirectorySynced || active.syncedSize < active.size || this.hasUndone
  }

  /** Whether a power loss could bring back what has been undone. */
  get hasUndone(): boolean {
    return this.#undone !== undefined
  }

  mark(): WriteMark {
    const { active } = this.#segments
    return { segments: this.#segments.count, active, size: active.size }
  }

  /** Writes the runs, with one append a segment. @throws DiskError, and then it must be undone */
  write(runs: readonly StagedRun[], now: TimestampMs, indexIntervalBytes: number): void {
    let from = 0
    while (from < runs.length) {
      let to = from + 1
      while (to < runs.length && runs[to]?.isRoll === false) to++
      const first = runs[from]
      if (first?.isRoll === true) this.roll(first.baseOffset, now)
      this.#writeTo(this.#segments.active, runs.slice(from, to), now, indexIntervalBytes)
      from = to
    }
    for (const { block, to, endOffset } of runs) {
      block.written = to
      block.writtenEndOffset = endOffset
    }
  }

  /** Seals the active segment and makes a new one, which begins at the offset. @throws DiskError */
  roll(baseOffset: Offset, now: TimestampMs): void {
    const { disk, files, indexes, events } = this.#context
    const sealed = this.#segments.active
    const place = { offset: baseOffset, segmentBase: sealed.baseOffset, position: sealed.size }
    this.#segments.push(Segment.create(disk, files, this.#directory, baseOffset))
    this.isDirectorySynced = false
    sealed.isSealed = true
    sealed.writeIndexes(disk)
    if (sealed.isIndexed) indexes.touch(sealed)
    this.#history.saveProducers(place, now, { isForced: true })
    events.onRoll?.(this.#directory, baseOffset)
  }

  /** Puts the files back to what they were. @throws DiskError when what they hold is not known any more */
  undo(mark: WriteMark, endOffset: Offset): void {
    const { disk, files, indexes } = this.#context
    while (this.#segments.count > mark.segments) this.#segments.pop().remove(disk, files)
    const { active } = mark
    if (active.isSealed) {
      active.isSealed = false
      indexes.remove(active)
      active.removeIndexFiles(disk)
    }
    const file = files.acquire(active.file)
    try {
      file.truncate(mark.size)
    } finally {
      files.release(active.file)
    }
    if (active.size > mark.size) active.truncate(mark.size, endOffset)
    this.#undone = active
  }

  /** Cuts the log at the place, keeping a copy, and makes the cut durable but for names. @throws DiskError */
  async cut(place: LogPlace, now: TimestampMs): Promise<void> {
    const { disk, files, indexes } = this.#context
    while (this.#segments.count > 1 && this.#segments.active.baseOffset > place.segmentBase) {
      const segment = this.#segments.pop()
      indexes.remove(segment)
      keepSegment(this.#context, segment, now)
      segment.remove(disk, files)
    }
    const { active } = this.#segments
    keepEnd(this.#context, active, place.position, now)
    active.isSealed = false
    // It may have been opened for reading only, and somebody may be reading.
    files.makeWritable(active.file)
    indexes.remove(active)
    active.removeIndexFiles(disk)
    const file = files.acquire(active.file)
    try {
      file.truncate(place.position)
      active.truncate(place.position, place.offset)
      await file.sync()
    } finally {
      files.release(active.file)
    }
  }

  /** What was written before the call, and the names of its segments, are on stable storage. @throws DiskError */
  async sync(): Promise<void> {
    const isDirectorySynced = this.isDirectorySynced
    this.isDirectorySynced = true
    try {
      const undone = this.#undone
      const segments = new Set(this.#unsyncedSegments())
      if (undone !== undefined) segments.add(undone)
      for (const segment of segments) await this.#syncSegment(segment)
      if (this.#undone === undone) this.#undone = undefined
      if (!isDirectorySynced) await syncNames(this.#context.disk, this.#directory)
    } catch (error) {
      this.isDirectorySynced = false
      throw error
    }
  }

  #writeTo(segment: Segment, runs: readonly StagedRun[], now: TimestampMs, indexIntervalBytes: number): void {
    let bytes = 0
    const buffers = runs.map(({ block, from, to }) => {
      bytes += to - from
      return block.bytes.subarray(from, to)
    })
    let position = segment.size
    segment.append(this.#context.files, buffers, bytes)
    segment.firstAppendMs ??= now
    segment.lastAppendMs = now
    for (const { block, from, to } of runs) {
      for (let at = from; at < to;) {
        segment.noteBatch(block.bytes, at, position, indexIntervalBytes)
        const size = batchBytes(block.bytes, at)
        at += size
        position += size
      }
    }
  }

  /** In order; they are the last ones. */
  #unsyncedSegments(): Segment[] {
    const unsynced: Segment[] = []
    for (let index = this.#segments.count - 1; index >= 0; index--) {
      const segment = this.#segments.at(index)
      if (segment === undefined || (segment.size > 0 && segment.syncedSize === segment.size)) break
      if (segment.size > 0) unsynced.push(segment)
    }
    return unsynced.toReversed()
  }

  async #syncSegment(segment: Segment): Promise<void> {
    const size = segment.size
    const file = this.#context.files.acquire(segment.file)
    try {
      await file.sync()
    } finally {
      this.#context.files.release(segment.file)
    }
    segment.syncedSize = Math.max(segment.syncedSize, Math.min(size, segment.size))
    segment.file.hasUnsyncedBytes = segment.syncedSize < segment.size
  }
}
