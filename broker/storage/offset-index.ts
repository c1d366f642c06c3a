// The sparse offset index of one segment: for a batch every few kilobytes, where it begins. Owns the entries and their file
// format (FORMAT.md); knows nothing of the log it points into. A cache: whoever doubts it builds it again.
//
// Invariant: relative offsets and positions both grow strictly from entry to entry.

import { crc32c } from '../../shared/crc32c.ts'

const INDEX_MAGIC = 0x544d4958
/** Entry count, segment bytes, largest timestamp, checksum, magic. */
export const INDEX_FOOTER_BYTES = 24
const ENTRY_BYTES = 8
const ENTRIES_MIN = 8
const NO_ENTRIES = new Uint32Array(0)

/** What the footer of an index file says of the segment that it was made from. */
export interface IndexFooter {
  readonly entryCount: number
  readonly segmentBytes: number
  /** Milliseconds; -1 when no record has a timestamp. */
  readonly largestTimestamp: number
}

export class OffsetIndex {
  /** Pairs of relative offset and position. */
  #entries = NO_ENTRIES
  #count = 0

  get count(): number {
    return this.#count
  }

  /** Bytes of memory held. */
  get memoryBytes(): number {
    return this.#entries.byteLength
  }

  /** Adds an entry behind all others. Says nothing, and adds nothing, if it would not grow. */
  append(relativeOffset: number, position: number): void {
    const at = this.#count * 2
    if (at > 0 && (relativeOffset <= this.#value(at - 2) || position <= this.#value(at - 1))) return
    if (at === this.#entries.length) this.#grow()
    this.#entries[at] = relativeOffset
    this.#entries[at + 1] = position
    this.#count++
  }

  /** Where to begin looking for the offset: the position of the last entry at or below it; 0 when there is none. */
  floor(relativeOffset: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#value(middle * 2) <= relativeOffset) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : this.#value(low * 2 - 1)
  }

  /** Forgets the entries at and behind the position. */
  truncate(position: number): void {
    while (this.#count > 0 && this.#value(this.#count * 2 - 1) >= position) this.#count--
  }

  /** Puts the entries of an index of what lies before in front of these. */
  prepend(before: OffsetIndex): void {
    const merged = new Uint32Array((before.#count + this.#count) * 2)
    merged.set(before.#entries.subarray(0, before.#count * 2))
    merged.set(this.#entries.subarray(0, this.#count * 2), before.#count * 2)
    this.#entries = merged
    this.#count += before.#count
  }

  encode(segmentBytes: number, largestTimestamp: number): Uint8Array {
    const bytes = new Uint8Array(this.#count * ENTRY_BYTES + INDEX_FOOTER_BYTES)
    const view = new DataView(bytes.buffer)
    for (let at = 0; at < this.#count * 2; at++) view.setUint32(at * 4, this.#value(at))
    writeIndexFooter(view, { entryCount: this.#count, segmentBytes, largestTimestamp })
    return bytes
  }

  /** Undefined on any doubt: the file was not made from the first `segmentBytesMax` bytes of this segment or is damaged. */
  static decode(bytes: Uint8Array, segmentBytesMax: number): { index: OffsetIndex; footer: IndexFooter } | undefined {
    const footer = readIndexFooter(bytes, ENTRY_BYTES, segmentBytesMax)
    if (footer === undefined) return undefined
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const index = new OffsetIndex()
    const entries = new Uint32Array(footer.entryCount * 2)
    for (let at = 0; at < entries.length; at++) entries[at] = view.getUint32(at * 4)
    index.#entries = entries
    index.#count = footer.entryCount
    for (let at = 2; at < entries.length; at += 2) {
      if (index.#value(at) <= index.#value(at - 2) || index.#value(at + 1) <= index.#value(at - 1)) return undefined
    }
    if (entries.length > 0 && index.#value(entries.length - 1) >= footer.segmentBytes) return undefined
    return { index, footer }
  }

  #value(at: number): number {
    return this.#entries[at] ?? 0
  }

  #grow(): void {
    const grown = new Uint32Array(Math.max(ENTRIES_MIN * 2, this.#entries.length * 2))
    grown.set(this.#entries)
    this.#entries = grown
  }
}

/** Writes the footer that both kinds of index end with, its checksum included, behind the entries. */
export function writeIndexFooter(view: DataView, footer: IndexFooter): void {
  const at = view.byteLength - INDEX_FOOTER_BYTES
  view.setUint32(at, footer.entryCount)
  view.setUint32(at + 4, footer.segmentBytes)
  view.setBigInt64(at + 8, BigInt(footer.largestTimestamp))
  const covered = new Uint8Array(view.buffer, view.byteOffset, at + 16)
  view.setUint32(at + 16, crc32c(covered))
  view.setUint32(at + 20, INDEX_MAGIC)
}

/** The footer, when magic, length and checksum are right; undefined otherwise. */
export function readIndexFooter(
  bytes: Uint8Array,
  entryBytes: number,
  segmentBytesMax: number,
): IndexFooter | undefined {
  const at = bytes.length - INDEX_FOOTER_BYTES
  if (at < 0) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(at + 20) !== INDEX_MAGIC) return undefined
  const entryCount = view.getUint32(at)
  if (entryCount * entryBytes !== at) return undefined
  if (view.getUint32(at + 16) !== crc32c(bytes.subarray(0, at + 16))) return undefined
  const segmentBytes = view.getUint32(at + 4)
  const largestTimestamp = Number(view.getBigInt64(at + 8))
  if (segmentBytes > segmentBytesMax || !Number.isSafeInteger(largestTimestamp)) return undefined
  return { entryCount, segmentBytes, largestTimestamp }
}
