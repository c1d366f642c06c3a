// One segment: a log file and its two sparse indexes. Owns how far the file is written and synced, and the indexes, which
// it builds while appending and makes from their files or from the log when they are first asked for. Knows nothing of
// leaders, producers or of the segments beside it.
//
// Invariants: 0 <= syncedSize <= size; the indexes are derivable from the log alone; what they hold in memory covers the
// positions from indexedFrom to size.

import type { Offset } from '../../shared/ids.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { baseOffsetAt, maxTimestampAt } from '../../shared/record-batch/header.ts'
import type { BatchVisitor } from './batch-walk.ts'
import { BatchWalk, frameBytes, runWalk, runWalkSync } from './batch-walk.ts'
import type { Disk, File } from './disk.ts'
import { DiskError } from './disk.ts'
import { logFile, offsetIndexFile, timeIndexFile } from './file-names.ts'
import type { FilePool } from './file-pool.ts'
import { PooledFile } from './file-pool.ts'
import type { Linked } from './least-recently-used.ts'
import { OffsetIndex } from './offset-index.ts'
import { TimeIndex } from './time-index.ts'

/** Where the bytes of a lost range stand in a segment; the range may have none. */
export interface LostBytes {
  readonly position: number
  readonly bytes: number
  /** The offset after the range. */
  readonly endOffset: number
}

const NOTHING_LOST: readonly LostBytes[] = []

export class Segment implements Linked<Segment> {
  readonly directory: string
  readonly baseOffset: Offset
  readonly file: PooledFile
  /** Bytes of the log file. */
  size: number
  /** Bytes known to be on stable storage. */
  syncedSize: number
  isSealed: boolean
  /** Wall clock of the first and the last append; undefined when the segment is empty or the first is not known. */
  firstAppendMs: number | undefined
  lastAppendMs: number | undefined
  /** In order of position. */
  lost: readonly LostBytes[] = NOTHING_LOST
  offsets: OffsetIndex | undefined
  times: TimeIndex | undefined
  /** The indexes cover the positions from here on. */
  indexedFrom: number
  /** Greatest timestamp at and behind indexedFrom, or a little more after a truncation; -1 when there is none. */
  #largestNoted = -1
  /** Of a sealed segment whose indexes were forgotten. */
  #largestKept: number | undefined
  #indexedPosition = -1
  newer: Segment | undefined
  older: Segment | undefined
  isLinked = false
  /** Written by the index budget alone. */
  budgetedBytes = 0

  constructor(directory: string, baseOffset: Offset, size: number, isSealed: boolean) {
    this.directory = directory
    this.baseOffset = baseOffset
    this.file = new PooledFile(`${directory}/${logFile(baseOffset)}`, !isSealed)
    this.size = size
    this.syncedSize = size
    this.isSealed = isSealed
    this.indexedFrom = size
  }

  /** Makes the file of a new, empty segment. Its name is not durable before the directory has been synced. */
  static create(disk: Disk, files: FilePool, directory: string, baseOffset: Offset): Segment {
    const segment = new Segment(directory, baseOffset, 0, false)
    files.adopt(segment.file, disk.open(segment.file.path, 'create'))
    return segment
  }

  /** Takes over what the file system says of a file that was not made by this process. */
  setFound(size: number, modifiedMs: number | undefined): void {
    this.size = size
    this.syncedSize = size
    this.indexedFrom = size
    this.lastAppendMs = size === 0 ? undefined : modifiedMs
  }

  /** Finds out when the first batch of a segment that another process began was appended, as far as it can be told. */
  lookUpFirstAppend(files: FilePool): void {
    if (this.firstAppendMs !== undefined || this.size < BATCH_HEADER_BYTES) return
    this.firstAppendMs = this.lastAppendMs
    const header = new Uint8Array(BATCH_HEADER_BYTES)
    const file = files.acquire(this.file)
    try {
      file.readAtSync(header, 0)
    } finally {
      files.release(this.file)
    }
    if (frameBytes(header, 0) === 0 || this.lastAppendMs === undefined) return
    // The producer's clock is believed as far as it does not run ahead.
    const timestamp = maxTimestampAt(header, 0)
    if (timestamp >= 0) this.firstAppendMs = Math.min(timestamp, this.lastAppendMs)
  }

  /** Removes the index files, which speak of bytes that may be written anew. */
  removeIndexFiles(disk: Disk): void {
    disk.remove(this.#offsetIndexPath())
    disk.remove(this.#timeIndexPath())
  }

  /** Writes whole batches at the end. After a failure the file may hold a part of them. @throws DiskError */
  append(files: FilePool, buffers: readonly Uint8Array[], bytes: number): void {
    const file = files.acquire(this.file)
    try {
      file.append(buffers)
      this.size += bytes
      this.file.hasUnsyncedBytes = true
    } finally {
      files.release(this.file)
    }
  }

  /** Greatest timestamp of any record (milliseconds), -1 when none has one; undefined until the indexes were there. */
  get largestTimestamp(): number | undefined {
    return this.isIndexed ? this.#largestNoted : this.#largestKept
  }

  /** Takes note of a batch that stands at the position: one index entry every few kilobytes. */
  noteBatch(bytes: Uint8Array, at: number, position: number, indexIntervalBytes: number): void {
    const timestamp = maxTimestampAt(bytes, at)
    if (timestamp > this.#largestNoted) this.#largestNoted = timestamp
    if (this.#indexedPosition >= 0 && position - this.#indexedPosition < indexIntervalBytes) return
    this.#indexedPosition = position
    const relativeOffset = baseOffsetAt(bytes, at) - this.baseOffset
    this.offsets ??= new OffsetIndex()
    this.offsets.append(relativeOffset, position)
    this.times ??= new TimeIndex()
    this.times.append(this.#largestNoted, relativeOffset)
  }

  /** Where to begin looking for the offset: at or before its batch, never inside what is lost. */
  floorPosition(offset: number): number {
    let position = this.offsets?.floor(offset - this.baseOffset) ?? 0
    for (const lost of this.lost) {
      if (lost.endOffset <= offset) position = Math.max(position, lost.position + lost.bytes)
    }
    return position
  }

  /** Where the bytes that begin at the position end: at the next lost ones or at the end of the segment. */
  readableEnd(position: number): number {
    for (const lost of this.lost) {
      if (lost.bytes > 0 && lost.position >= position) return lost.position
    }
    return this.size
  }

  /** The first position at or behind this one at which a batch may begin. */
  skipLost(position: number): number {
    for (const lost of this.lost) {
      if (position >= lost.position && position < lost.position + lost.bytes) return lost.position + lost.bytes
    }
    return position
  }

  /** Whether the indexes in memory cover the whole segment. */
  get isIndexed(): boolean {
    return this.indexedFrom === 0
  }

  get indexBytes(): number {
    return (this.offsets?.memoryBytes ?? 0) + (this.times?.memoryBytes ?? 0)
  }

  /** Writes both indexes to their files. They are caches: a failure is not one of the log's, and is answered false. */
  writeIndexes(disk: Disk): boolean {
    if (!this.isIndexed) return true
    const largestTimestamp = this.#largestNoted
    try {
      const offsets = this.offsets ?? new OffsetIndex()
      const times = this.times ?? new TimeIndex()
      disk.writeFile(this.#offsetIndexPath(), offsets.encode(this.size, largestTimestamp))
      disk.writeFile(this.#timeIndexPath(), times.encode(this.size, largestTimestamp))
      return true
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      return false
    }
  }

  /** Gives the memory of the indexes back; they are made again when they are asked for. */
  forgetIndexes(): void {
    this.#largestKept = this.isSealed ? this.largestTimestamp : undefined
    this.offsets = undefined
    this.times = undefined
    this.indexedFrom = this.size
    this.#largestNoted = -1
    this.#indexedPosition = -1
  }

  /**
   * Sees to it that the indexes cover the whole segment: from their files if those are right, from the log where they are
   * not. What is appended meanwhile is kept. @throws DiskError when the log cannot be read.
   */
  async loadIndexes(disk: Disk, files: FilePool, indexIntervalBytes: number): Promise<'files' | 'log' | 'memory'> {
    if (this.isIndexed) return 'memory'
    const end = this.indexedFrom
    const cached = this.#readIndexFiles(disk, end)
    const below = new Segment(this.directory, this.baseOffset, end, true)
    below.lost = this.lost
    below.#largestNoted = cached?.largestTimestamp ?? -1
    below.indexedFrom = 0
    below.offsets = cached?.offsets
    below.times = cached?.times
    const covered = cached?.segmentBytes ?? 0
    if (covered < end) {
      const file = files.acquire(this.file)
      try {
        await walkSegment(below, file, covered, end, (bytes, at, _size, position) => {
          below.noteBatch(bytes, at, position, indexIntervalBytes)
          return false
        })
      } finally {
        files.release(this.file)
      }
    }
    this.#takeIndexes(below, end)
    return covered === end ? 'files' : 'log'
  }

  /** Forgets everything at and behind the position, where the batch of the offset begins. The caller cuts the file. */
  truncate(position: number, offset: number): void {
    this.size = position
    this.syncedSize = Math.min(this.syncedSize, position)
    if (position < this.indexedFrom || position === 0) {
      this.forgetIndexes()
    } else {
      this.offsets?.truncate(position)
      this.times?.truncate(offset - this.baseOffset)
      this.#indexedPosition = -1
    }
    if (position === 0) this.firstAppendMs = undefined
  }

  /** Removes the files. Readers that are under way keep what they have open. */
  remove(disk: Disk, files: FilePool): void {
    files.drop(this.file)
    disk.remove(this.file.path)
    this.removeIndexFiles(disk)
  }

  #takeIndexes(below: Segment, end: number): void {
    // Another caller, or a truncation, was quicker.
    if (this.indexedFrom !== end) return
    if (this.offsets === undefined) this.offsets = below.offsets
    else if (below.offsets !== undefined) this.offsets.prepend(below.offsets)
    if (this.times === undefined) this.times = below.times
    else if (below.times !== undefined) this.times.prepend(below.times)
    this.#largestNoted = Math.max(below.#largestNoted, this.#largestNoted)
    this.indexedFrom = 0
  }

  #readIndexFiles(disk: Disk, end: number): CachedIndexes | undefined {
    try {
      const offsets = OffsetIndex.decode(disk.readFile(this.#offsetIndexPath()), end)
      const times = TimeIndex.decode(disk.readFile(this.#timeIndexPath()), end)
      if (offsets === undefined || times === undefined) return undefined
      if (offsets.footer.segmentBytes !== times.footer.segmentBytes) return undefined
      const { segmentBytes, largestTimestamp } = offsets.footer
      return { segmentBytes, largestTimestamp, offsets: offsets.index, times: times.index }
    } catch (error) {
      if (error instanceof DiskError) return undefined
      throw error
    }
  }

  #offsetIndexPath(): string {
    return `${this.directory}/${offsetIndexFile(this.baseOffset)}`
  }

  #timeIndexPath(): string {
    return `${this.directory}/${timeIndexFile(this.baseOffset)}`
  }
}

interface CachedIndexes {
  readonly segmentBytes: number
  readonly largestTimestamp: number
  readonly offsets: OffsetIndex
  readonly times: TimeIndex
}

/**
 * Shows the batches of [position, end) to the visitor, stepping over what is lost, until it stops or a frame is broken.
 * Only the frames are checked. Answers the position that it came to. @throws DiskError
 */
export async function walkSegment(
  segment: Segment,
  file: File,
  position: number,
  end: number,
  visit: BatchVisitor,
): Promise<number> {
  let from = segment.skipLost(position)
  while (from < end) {
    const to = Math.min(end, segment.readableEnd(from))
    const walk = new BatchWalk({ position: from, end: to, visit })
    await runWalk(walk, file)
    if (walk.isStopped || walk.fault !== undefined || to === end) return walk.position
    from = segment.skipLost(to)
  }
  return from
}

/** As walkSegment, at once. */
export function walkSegmentSync(
  segment: Segment,
  file: File,
  position: number,
  end: number,
  visit: BatchVisitor,
): number {
  let from = segment.skipLost(position)
  while (from < end) {
    const to = Math.min(end, segment.readableEnd(from))
    const walk = new BatchWalk({ position: from, end: to, visit })
    runWalkSync(walk, file)
    if (walk.isStopped || walk.fault !== undefined || to === end) return walk.position
    from = segment.skipLost(to)
  }
  return from
}
