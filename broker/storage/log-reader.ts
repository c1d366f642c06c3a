// Reads from the segment files of one partition: slices for consumers, and offsets by time. Owns where sequential readers
// have stopped, so that they need no index, and the checks without which a broken frame would go out as data. Knows
// nothing of the tail in memory or of appending.
//
// Invariant: a slice holds whole batches whose offsets join one another, the first of which holds the fetch offset.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset, TimestampMs } from '../../shared/ids.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { baseOffsetAt, checkBatch, endOffsetAt, maxTimestampAt } from '../../shared/record-batch/header.ts'
import { frameBytes } from './batch-walk.ts'
import type { BufferPool } from './buffer-pool.ts'
import { POOLED_BYTES_MAX } from './buffer-pool.ts'
import type { File } from './disk.ts'
import type { ReadSlice } from './hot-tail.ts'
import type { LogPlace } from './log-files.ts'
import type { AheadRead } from './read-ahead.ts'
import type { Segment } from './segment.ts'
import { walkSegment } from './segment.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'

/** Read beyond maxBytes when the first batch must be looked for. */
const SEARCH_BYTES = 8 * 1024
/** Readers whose place is remembered. */
const PLACES_MAX = 8

interface Place {
  nextOffset: number
  segmentBase: number
  position: number
  /** What stands there, already being read. */
  ahead: AheadRead | undefined
}

const NOWHERE: Place = { nextOffset: -1, segmentBase: 0, position: 0, ahead: undefined }

export class LogReader {
  readonly #context: StorageContext
  readonly #directory: string
  readonly #segments: Segments
  readonly #places: Place[] = []
  #nextPlace = 0
  #replacements = 0

  constructor(context: StorageContext, directory: string, segments: Segments) {
    this.#context = context
    this.#directory = directory
    this.#segments = segments
  }

  /** Places behind a truncation are no places any more. */
  forgetPlaces(): void {
    for (const place of this.#places) this.#dropAhead(place)
    this.#places.length = 0
    this.#nextPlace = 0
  }

  /** Compaction has put other segments in the place of some: a search that meets one that is gone begins anew. */
  onReplaced(): void {
    this.#replacements++
    this.forgetPlaces()
  }

  /**
   * The batches from the one that holds fetchOffset on: at least one, then as many as fit maxBytes and a buffer of the
   * pool; none past endOffset. fetchOffset is one that was written and is not quarantined. @throws CORRUPT_MESSAGE, STORAGE_ERROR by the caller.
   */
  read(range: ReadRange, writtenEndOffset: Offset, indexIntervalBytes: number): Promise<ReadSlice> {
    return this.#again(() => this.#read(range, writtenEndOffset, indexIntervalBytes))
  }

  async #read(range: ReadRange, writtenEndOffset: Offset, indexIntervalBytes: number): Promise<ReadSlice> {
    const { fetchOffset, endOffset } = range
    const maxBytes = Math.min(range.maxBytes, POOLED_BYTES_MAX)
    const segment = this.#segments.floor(fetchOffset)
    if (segment === undefined) throw new TidemarkError('OFFSET_OUT_OF_RANGE', `offset ${fetchOffset} is below the log`)
    const place = this.#places.find((known) => known.nextOffset === fetchOffset)
    let position = place?.segmentBase === segment.baseOffset ? place.position : undefined
    const ahead = this.#takeAhead(place)
    let wantedBytes = maxBytes
    if (position === undefined) {
      await this.loadIndexes(segment, indexIntervalBytes)
      position = segment.floorPosition(fetchOffset)
      wantedBytes += SEARCH_BYTES
    }
    const next = this.#segments.after(segment.baseOffset)
    const segmentEndOffset = next?.baseOffset ?? writtenEndOffset
    // One snapshot of the length: what is appended meanwhile belongs to the next read.
    const end = segment.readableEnd(position)
    const file = this.#context.files.acquire(segment.file)
    try {
      const slice = await this.#search(
        { segment, file, end, segmentEndOffset, fetchOffset, maxBytes, endOffset },
        position,
        wantedBytes,
        ahead,
      )
      const nextPlace = this.#remember(place, slice.endOffset, segment, slice.nextPosition)
      // Whoever has read on from a place once will do it again, unless it has reached the end.
      if (place !== undefined && nextPlace.nextOffset >= 0 && end - slice.nextPosition >= maxBytes) {
        nextPlace.ahead = this.#context.readAhead.begin(segment.file, nextPlace.position, maxBytes)
      }
      return slice
    } finally {
      this.#context.files.release(segment.file)
    }
  }

  /**
   * The first record at or above startOffset and below endOffset whose timestamp is at or above the one given, looked for
   * from its segment on; undefined when there is none.
   */
  offsetForTimestamp(
    timestamp: TimestampMs,
    startOffset: Offset,
    endOffset: Offset,
    indexIntervalBytes: number,
  ): Promise<{ readonly offset: Offset; readonly timestamp: TimestampMs } | undefined> {
    return this.#again(() => this.#findTimestamp(timestamp, startOffset, endOffset, indexIntervalBytes))
  }

  async #findTimestamp(
    timestamp: TimestampMs,
    startOffset: Offset,
    endOffset: Offset,
    indexIntervalBytes: number,
  ): Promise<{ readonly offset: Offset; readonly timestamp: TimestampMs } | undefined> {
    for (const segment of [...this.#segments]) {
      const next = this.#segments.after(segment.baseOffset)
      if (next !== undefined && next.baseOffset <= startOffset) continue
      if (segment.baseOffset >= endOffset) break
      await this.loadIndexes(segment, indexIntervalBytes)
      if ((segment.largestTimestamp ?? timestamp) < timestamp) continue
      const found = await this.#searchTime(segment, timestamp, startOffset, endOffset)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Of all records; undefined when none has a timestamp. @throws DiskError */
  largestTimestamp(indexIntervalBytes: number): Promise<TimestampMs | undefined> {
    return this.#again(() => this.#findLargest(indexIntervalBytes))
  }

  async #findLargest(indexIntervalBytes: number): Promise<TimestampMs | undefined> {
    let largest = -1
    for (const segment of [...this.#segments]) {
      if (segment.largestTimestamp === undefined) await this.loadIndexes(segment, indexIntervalBytes)
      largest = Math.max(largest, segment.largestTimestamp ?? -1)
    }
    return largest < 0 ? undefined : (largest as TimestampMs)
  }

  /** Where the batch that holds the offset begins, or the first one behind it. @throws DiskError */
  async placeOf(offset: Offset, indexIntervalBytes: number): Promise<LogPlace> {
    const segment = this.#segments.floor(offset) ?? this.#segments.first
    const segmentBase = segment.baseOffset
    if (offset <= segmentBase) return { offset: segmentBase, segmentBase, position: 0 }
    await this.loadIndexes(segment, indexIntervalBytes)
    let place: LogPlace = { offset, segmentBase, position: segment.size }
    const file = this.#context.files.acquire(segment.file)
    try {
      await walkSegment(segment, file, segment.floorPosition(offset), segment.size, (bytes, at, _size, position) => {
        if (endOffsetAt(bytes, at) <= offset) return false
        place = { offset: Math.min(baseOffsetAt(bytes, at), offset) as Offset, segmentBase, position }
        return true
      })
    } finally {
      this.#context.files.release(segment.file)
    }
    return place
  }

  /** @throws DiskError */
  async loadIndexes(segment: Segment, indexIntervalBytes: number): Promise<void> {
    const { disk, files, indexes, events } = this.#context
    if (!segment.isIndexed) {
      const from = await segment.loadIndexes(disk, files, indexIntervalBytes)
      if (from === 'log' && segment.isSealed) {
        events.onCacheRebuilt?.(this.#directory, `${segment.file.path} (indexes)`, 'missing, incomplete or damaged')
        segment.writeIndexes(disk)
      }
    }
    if (segment.isSealed) indexes.touch(segment)
  }

  async #search(request: SearchRequest, from: number, bytes: number, begun: AheadRead | undefined): Promise<FileSlice> {
    const buffers = this.#context.buffers
    let position = from
    let wantedBytes = Math.max(bytes, BATCH_HEADER_BYTES)
    let ahead = await this.#usableAhead(begun, request, from, wantedBytes)
    for (;;) {
      const length = ahead?.length ?? Math.min(wantedBytes, request.end - position)
      if (length < BATCH_HEADER_BYTES) throw this.#corrupt(request, position, 'the segment ends before the offset')
      const buffer = ahead?.buffer ?? buffers.take(length)
      let isGiven = false
      try {
        const read = ahead?.length ?? (await request.file.readAt(buffer.subarray(0, length), position))
        ahead = undefined
        if (read < length) throw this.#corrupt(request, position, `${length - read} bytes are missing`)
        const found = findBatch(buffer, length, request.fetchOffset)
        if (found.kind === 'broken') throw this.#corrupt(request, position + found.at, 'no batch begins there')
        if (found.kind === 'whole') {
          isGiven = true
          return this.#slice(request, buffer, length, position, found.at)
        }
        position += found.at
        wantedBytes = Math.max(wantedBytes, found.bytes)
        if (position + found.bytes > request.end) throw this.#corrupt(request, position, 'the batch is cut')
      } finally {
        if (!isGiven) buffers.give(buffer)
      }
    }
  }

  #slice(request: SearchRequest, buffer: Uint8Array, length: number, position: number, start: number): FileSlice {
    let at = start
    let previousAt = start
    let nextOffset: number = baseOffsetAt(buffer, start)
    let fault: { readonly at: number; readonly what: string } | undefined
    while (length - at >= BATCH_HEADER_BYTES) {
      const size = frameBytes(buffer, at)
      if (size === 0) {
        fault = { at, what: 'no batch begins there' }
        break
      }
      if (baseOffsetAt(buffer, at) !== nextOffset) {
        // One of the two is wrong. The checksum covers how many offsets the first one has.
        fault = { at, what: `the base offset is ${baseOffsetAt(buffer, at)}, not ${nextOffset}` }
        if (checkBatch(buffer, previousAt, at) !== undefined) at = previousAt
        break
      }
      const batchEndOffset = endOffsetAt(buffer, at)
      if (batchEndOffset > request.segmentEndOffset) {
        fault = { at, what: 'the batch has more offsets than the segment' }
        break
      }
      if (at + size > length || batchEndOffset > request.endOffset) break
      if (at > start && at + size - start > request.maxBytes) break
      previousAt = at
      at += size
      nextOffset = batchEndOffset
    }
    if (fault !== undefined && at === start) {
      this.#context.buffers.give(buffer)
      throw this.#corrupt(request, position + fault.at, fault.what)
    }
    // What stands before a fault is good and goes out; whoever reads on from there is told.
    if (at < length && fault !== undefined) nextOffset = at === previousAt ? baseOffsetAt(buffer, at) : nextOffset
    const endOffset = at === start ? request.fetchOffset : (nextOffset as Offset)
    return new FileSlice(this.#context.buffers, buffer, { start, end: at }, endOffset, position + at)
  }

  async #again<T>(search: () => Promise<T>): Promise<T> {
    for (;;) {
      const replacements = this.#replacements
      try {
        return await search()
      } catch (error) {
        if (replacements === this.#replacements) throw error
      }
    }
  }

  #takeAhead(place: Place | undefined): AheadRead | undefined {
    const ahead = place?.ahead
    if (place === undefined || ahead === undefined) return undefined
    place.ahead = undefined
    return this.#context.readAhead.take(ahead) ? ahead : undefined
  }

  #dropAhead(place: Place): void {
    if (place.ahead !== undefined) this.#context.readAhead.drop(place.ahead)
    place.ahead = undefined
  }

  /** The read that was begun ahead, if it holds what is asked for now; its buffer is given back otherwise. */
  async #usableAhead(
    ahead: AheadRead | undefined,
    request: SearchRequest,
    position: number,
    wantedBytes: number,
  ): Promise<AheadRead | undefined> {
    if (ahead === undefined) return undefined
    const read = await ahead.done
    const readable = request.end - position
    const isThere = ahead.entry === request.segment.file && ahead.position === position && ahead.length <= readable
    if (isThere && read === ahead.length && read >= Math.min(wantedBytes, readable)) return ahead
    this.#context.buffers.give(ahead.buffer)
    return undefined
  }

  #remember(place: Place | undefined, nextOffset: Offset, segment: Segment, position: number): Place {
    // Forgotten meanwhile, because other segments stand in the place of some.
    if (this.#segments.floor(segment.baseOffset) !== segment) return { ...NOWHERE }
    let slot = place !== undefined && this.#places.includes(place) ? place : undefined
    if (slot === undefined) {
      slot = this.#places[this.#nextPlace]
      if (slot === undefined) {
        slot = { nextOffset: 0, segmentBase: 0, position: 0, ahead: undefined }
        this.#places.push(slot)
      }
      this.#nextPlace = (this.#nextPlace + 1) % PLACES_MAX
    }
    slot.nextOffset = nextOffset
    slot.segmentBase = segment.baseOffset
    slot.position = segment.skipLost(position)
    this.#dropAhead(slot)
    return slot
  }

  async #searchTime(
    segment: Segment,
    timestamp: TimestampMs,
    startOffset: Offset,
    endOffset: Offset,
  ): Promise<{ readonly offset: Offset; readonly timestamp: TimestampMs } | undefined> {
    const relativeOffset = segment.times?.floor(timestamp) ?? 0
    const from = segment.floorPosition(Math.max(startOffset, segment.baseOffset + relativeOffset))
    let found: { readonly offset: Offset; readonly timestamp: TimestampMs } | undefined
    const file = this.#context.files.acquire(segment.file)
    try {
      await walkSegment(segment, file, from, segment.size, (bytes, at, size) => {
        if (baseOffsetAt(bytes, at) >= endOffset) return true
        if (endOffsetAt(bytes, at) <= startOffset || maxTimestampAt(bytes, at) < timestamp) return false
        found = firstAtOrAfter(bytes.subarray(at, at + size), timestamp, startOffset)
        return found !== undefined
      })
    } finally {
      this.#context.files.release(segment.file)
    }
    return found === undefined || found.offset >= endOffset ? undefined : found
  }

  #corrupt(request: SearchRequest, position: number, what: string): TidemarkError {
    const where = `${request.segment.file.path} at byte ${position}, reading offset ${request.fetchOffset}`
    const error = new TidemarkError('CORRUPT_MESSAGE', `${where}: ${what}`)
    this.#context.events.onCorruptRead?.(this.#directory, error)
    return error
  }
}

/** What a reader asks for. */
export interface ReadRange {
  readonly fetchOffset: Offset
  readonly maxBytes: number
  readonly endOffset: Offset
}

interface SearchRequest extends ReadRange {
  readonly segment: Segment
  readonly file: File
  /** Where the readable bytes end. */
  readonly end: number
  /** Where the offsets of the segment end. */
  readonly segmentEndOffset: Offset
}

type Found =
  | { readonly kind: 'whole'; readonly at: number }
  /** More must be read: from `at` on, at least so many bytes. */
  | { readonly kind: 'beyond'; readonly at: number; readonly bytes: number }
  | { readonly kind: 'broken'; readonly at: number }

function findBatch(bytes: Uint8Array, length: number, offset: number): Found {
  let at = 0
  while (length - at >= BATCH_HEADER_BYTES) {
    const size = frameBytes(bytes, at)
    if (size === 0 || baseOffsetAt(bytes, at) > offset) return { kind: 'broken', at }
    if (at + size > length) return { kind: 'beyond', at, bytes: size }
    if (endOffsetAt(bytes, at) > offset) return { kind: 'whole', at }
    at += size
  }
  return { kind: 'beyond', at, bytes: BATCH_HEADER_BYTES }
}

function firstAtOrAfter(
  batch: Uint8Array,
  timestamp: TimestampMs,
  startOffset: Offset,
): { readonly offset: Offset; readonly timestamp: TimestampMs } | undefined {
  try {
    for (const record of decodeBatch(batch)) {
      if (record.offset >= startOffset && record.timestamp >= timestamp) {
        return { offset: record.offset, timestamp: record.timestamp }
      }
    }
    return undefined
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'UNSUPPORTED_COMPRESSION_TYPE') throw error
    // A codec that this machine lacks: the batch begins at or before the record, so nothing is missed.
    const offset = Math.max(baseOffsetAt(batch, 0), startOffset)
    return { offset: offset as Offset, timestamp: maxTimestampAt(batch, 0) }
  }
}

class FileSlice implements ReadSlice {
  readonly bytes: Uint8Array
  readonly endOffset: Offset
  /** Where the batch behind the slice begins. */
  readonly nextPosition: number
  readonly #buffers: BufferPool
  #buffer: Uint8Array | undefined

  constructor(
    buffers: BufferPool,
    buffer: Uint8Array,
    range: { readonly start: number; readonly end: number },
    endOffset: Offset,
    nextPosition: number,
  ) {
    this.bytes = buffer.subarray(range.start, range.end)
    this.endOffset = endOffset
    this.nextPosition = nextPosition
    this.#buffers = buffers
    this.#buffer = buffer
  }

  release(): void {
    if (this.#buffer === undefined) return
    this.#buffers.give(this.#buffer)
    this.#buffer = undefined
  }
}
