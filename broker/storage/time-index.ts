// The sparse time index of one segment: up to which offset no record is younger than a timestamp. Owns the entries and
// their file format (FORMAT.md). A cache, like the offset index.
//
// Invariant: timestamps grow strictly from entry to entry, relative offsets too.

import type { IndexFooter } from './offset-index.ts'
import { INDEX_FOOTER_BYTES, readIndexFooter, writeIndexFooter } from './offset-index.ts'

const ENTRY_BYTES = 12
const ENTRIES_MIN = 8
const NO_TIMESTAMPS = new Float64Array(0)
const NO_OFFSETS = new Uint32Array(0)

export class TimeIndex {
  #timestamps = NO_TIMESTAMPS
  #relativeOffsets = NO_OFFSETS
  #count = 0

  get count(): number {
    return this.#count
  }

  /** Bytes of memory held. */
  get memoryBytes(): number {
    return this.#timestamps.byteLength + this.#relativeOffsets.byteLength
  }

  /**
   * Notes that up to and including the batch at the offset no record is younger than the timestamp (milliseconds). Adds
   * nothing when the last entry says so already.
   */
  append(timestamp: number, relativeOffset: number): void {
    const last = this.#count - 1
    if (last >= 0 && (timestamp <= this.#timestamp(last) || relativeOffset <= this.#relativeOffset(last))) return
    if (timestamp < 0) return
    if (this.#count === this.#timestamps.length) this.#grow()
    this.#timestamps[this.#count] = timestamp
    this.#relativeOffsets[this.#count] = relativeOffset
    this.#count++
  }

  /** The relative offset of a batch before which all records are older than the timestamp; 0 when no entry says more. */
  floor(timestamp: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#timestamp(middle) < timestamp) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : this.#relativeOffset(low - 1)
  }

  /** Forgets the entries at and behind the offset. */
  truncate(relativeOffset: number): void {
    while (this.#count > 0 && this.#relativeOffset(this.#count - 1) >= relativeOffset) this.#count--
  }

  /** Puts the entries of an index of what lies before in front of these. */
  prepend(before: TimeIndex): void {
    const merged = new TimeIndex()
    for (const source of [before, this]) {
      for (let at = 0; at < source.#count; at++) merged.append(source.#timestamp(at), source.#relativeOffset(at))
    }
    this.#timestamps = merged.#timestamps
    this.#relativeOffsets = merged.#relativeOffsets
    this.#count = merged.#count
  }

  encode(segmentBytes: number, largestTimestamp: number): Uint8Array {
    const bytes = new Uint8Array(this.#count * ENTRY_BYTES + INDEX_FOOTER_BYTES)
    const view = new DataView(bytes.buffer)
    for (let at = 0; at < this.#count; at++) {
      view.setBigInt64(at * ENTRY_BYTES, BigInt(this.#timestamp(at)))
      view.setUint32(at * ENTRY_BYTES + 8, this.#relativeOffset(at))
    }
    writeIndexFooter(view, { entryCount: this.#count, segmentBytes, largestTimestamp })
    return bytes
  }

  /** Undefined on any doubt. */
  static decode(bytes: Uint8Array, segmentBytesMax: number): { index: TimeIndex; footer: IndexFooter } | undefined {
    const footer = readIndexFooter(bytes, ENTRY_BYTES, segmentBytesMax)
    if (footer === undefined) return undefined
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const index = new TimeIndex()
    index.#timestamps = new Float64Array(footer.entryCount)
    index.#relativeOffsets = new Uint32Array(footer.entryCount)
    index.#count = footer.entryCount
    for (let at = 0; at < footer.entryCount; at++) {
      index.#timestamps[at] = Number(view.getBigInt64(at * ENTRY_BYTES))
      index.#relativeOffsets[at] = view.getUint32(at * ENTRY_BYTES + 8)
      if (at === 0) continue
      const grows = index.#timestamp(at) > index.#timestamp(at - 1)
      if (!grows || index.#relativeOffset(at) <= index.#relativeOffset(at - 1)) return undefined
    }
    return { index, footer }
  }

  #timestamp(at: number): number {
    return this.#timestamps[at] ?? 0
  }

  #relativeOffset(at: number): number {
    return this.#relativeOffsets[at] ?? 0
  }

  #grow(): void {
    const capacity = Math.max(ENTRIES_MIN, this.#count * 2)
    const timestamps = new Float64Array(capacity)
    const relativeOffsets = new Uint32Array(capacity)
    timestamps.set(this.#timestamps)
    relativeOffsets.set(this.#relativeOffsets)
    this.#timestamps = timestamps
    this.#relativeOffsets = relativeOffsets
  }
}
