// The primitive types of Kafka's messages, read and written where they lie. Owns widths, length forms and limits; knows no
// message.
//
// Invariants of the reader: it never looks past its end; a length is held against the bytes that are left before anything
// is made of it; the elements of all arrays of a message together are bounded, because an empty element takes one byte
// here and a hundred in memory. Text and bytes are copies; only records are a view of the input.
// Invariant of the writer: records are never copied, they become pieces between what is written round them.

import { assert } from '../../../shared/assert.ts'
import { TidemarkError } from '../../../shared/errors.ts'
import { REQUEST_VALUES_MAX } from '../../../shared/limits.ts'

/** Bytes of any string in a message, at most: the older form of the length is an int16. */
const STRING_BYTES_MAX = 0x7fff
/** Tags of one struct, at most; Kafka's own messages have no more than three. */
const TAGS_MAX = 1_000
/** How Kafka says that there is no identity. */
export const NO_UUID = '00000000-0000-0000-0000-000000000000'

const INT32_MAX = 0x7fff_ffff
const TWO_TO_32 = 0x1_0000_0000
const SCRATCH_BYTES = 16 * 1024
const EMPTY = Buffer.alloc(0)

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** How a tagged field is read, and where its value goes. */
export interface TaggedRead {
  readonly name: string
  readonly read: (reader: KafkaReader) => unknown
}

/** The tagged fields of a struct that are known, by tag. */
export type TaggedReads = ReadonlyMap<number, TaggedRead>

export class KafkaReader {
  #bytes: Buffer = EMPTY
  #at = 0
  #end = 0
  #elementsMax = REQUEST_VALUES_MAX
  #elementsLeft = 0
  #message = ''
  #version = 0
  /** The field that is read now; for error messages. */
  field = ''

  /** Begins at the first byte. The bytes must not change while they are read, nor as long as the records are used. */
  open(bytes: Uint8Array, elementsMax = REQUEST_VALUES_MAX): void {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#at = 0
    this.#end = bytes.length
    this.#elementsMax = elementsMax
    this.#elementsLeft = elementsMax
    this.begin('frame', 0)
  }

  /** Names the message that follows; for error messages. */
  begin(message: string, version: number): void {
    this.#message = message
    this.#version = version
    this.field = ''
  }

  get bytesLeft(): number {
    return this.#end - this.#at
  }

  /** @throws MALFORMED_FRAME when bytes are left. */
  expectEnd(): void {
    this.field = ''
    if (this.#at !== this.#end) throw this.#malformed(`${this.#end - this.#at} bytes stand behind its end`)
  }

  boolean(): boolean {
    return this.int8() !== 0
  }

  int8(): number {
    return ((this.#bytes[this.#take(1)] ?? 0) << 24) >> 24
  }

  int16(): number {
    const at = this.#take(2)
    return (((this.#bytes[at] ?? 0) << 24) >> 16) | (this.#bytes[at + 1] ?? 0)
  }

  int32(): number {
    return this.#int32At(this.#take(4))
  }

  /** @throws MALFORMED_FRAME for what a number cannot hold exactly: no offset, time or producer id is that large. */
  int64(): number {
    const at = this.#take(8)
    const value = this.#int32At(at) * TWO_TO_32 + (this.#int32At(at + 4) >>> 0)
    if (!Number.isSafeInteger(value)) throw this.#malformed('a 64-bit integer is beyond 2^53 - 1')
    return value
  }

  uvarint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#bytes[this.#take(1)] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw this.#malformed('a variable-length integer has more than five bytes')
  }

  /** In its canonical 36 characters. */
  uuid(): string {
    const at = this.#take(16)
    const hex = this.#bytes.toString('hex', at, at + 16)
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }

  string(isCompact: boolean): string | undefined {
    const length = isCompact ? this.uvarint() - 1 : this.int16()
    if (length < 0) return undefined
    if (length > STRING_BYTES_MAX) throw this.#malformed(`a string of ${length} bytes; at most ${STRING_BYTES_MAX}`)
    return length === 0 ? '' : this.#text(this.#takePart(length), length)
  }

  bytes(isCompact: boolean): Uint8Array | undefined {
    const view = this.records(isCompact)
    return view === undefined ? undefined : Uint8Array.from(view)
  }

  /** A view of the input. */
  records(isCompact: boolean): Uint8Array | undefined {
    const length = isCompact ? this.uvarint() - 1 : this.int32()
    if (length < 0) return undefined
    const at = this.#takePart(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** The number of elements, each of which takes so many bytes at least; -1 when there is no array. */
  arrayLength(isCompact: boolean, elementBytesMin: number): number {
    const count = isCompact ? this.uvarint() - 1 : this.int32()
    if (count < 0) return -1
    if (count * elementBytesMin > this.bytesLeft)
      throw this.#malformed(`an array of ${count} in ${this.bytesLeft} bytes`)
    this.#elementsLeft -= count
    if (this.#elementsLeft < 0) throw this.#malformed(`its arrays have more than ${this.#elementsMax} elements`)
    return count
  }

  /** Reads the tagged fields of a struct that are known into it, and skips all others. */
  taggedFields(known: TaggedReads, into: Record<string, unknown>): void {
    const count = this.uvarint()
    if (count === 0) return
    if (count > TAGS_MAX || count * 2 > this.bytesLeft) throw this.#malformed(`${count} tagged fields`)
    for (let index = 0; index < count; index += 1) {
      const tag = this.uvarint()
      const size = this.uvarint()
      const start = this.#takePart(size)
      const found = known.get(tag)
      if (found !== undefined) this.#readTagged(found, into, { start, end: start + size })
    }
  }

  /** A null stands where the version allows none. */
  unexpectedNull(): TidemarkError {
    return this.#malformed('it is null')
  }

  #readTagged(tagged: TaggedRead, into: Record<string, unknown>, part: { start: number; end: number }): void {
    const end = this.#end
    this.#at = part.start
    this.#end = part.end
    this.field = tagged.name
    into[tagged.name] = tagged.read(this)
    if (this.#at !== part.end) throw this.#malformed(`${part.end - this.#at} bytes of the tagged field are left`)
    this.#end = end
  }

  #text(start: number, length: number): string {
    const bytes = this.#bytes
    const end = start + length
    let at = start
    while (at < end && (bytes[at] ?? 0) < 0x80) at += 1
    if (at === end) return bytes.toString('latin1', start, end)
    try {
      return textDecoder.decode(bytes.subarray(start, end))
    } catch (cause) {
      throw this.#malformed('a string is not UTF-8', cause)
    }
  }

  #int32At(at: number): number {
    const bytes = this.#bytes
    return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)
  }

  #take(width: number): number {
    const at = this.#at
    if (width > this.#end - at) throw this.#malformed('it ends too early')
    this.#at = at + width
    return at
  }

  #takePart(length: number): number {
    if (length > this.bytesLeft) throw this.#malformed(`${length} bytes are announced and ${this.bytesLeft} left`)
    return this.#take(length)
  }

  #malformed(what: string, cause?: unknown): TidemarkError {
    const field = this.field === '' ? '' : `, field ${this.field}`
    const where = `${this.#message} v${this.#version}${field}, byte ${this.#at}`
    return new TidemarkError('MALFORMED_FRAME', `${where}: ${what}`, { cause })
  }
}

interface Cut {
  /** How much of what is written stands before the records. */
  readonly at: number
  readonly records: Uint8Array
}

// Shared by all writers: a message is written in one go, and what stands here is copied when it is done.
const sharedScratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

export class KafkaWriter {
  #scratch: Buffer = sharedScratch
  #at = 0
  #cuts: Cut[] = []
  #recordsBytes = 0
  #tagDepth = 0

  /** Forgets what has been written. */
  reset(): void {
    this.#scratch = sharedScratch
    this.#at = 0
    this.#cuts = []
    this.#recordsBytes = 0
    this.#tagDepth = 0
  }

  /** Bytes written since the reset, records with them. */
  get byteLength(): number {
    return this.#at + this.#recordsBytes
  }

  boolean(value: boolean): void {
    this.int8(value ? 1 : 0)
  }

  int8(value: number): void {
    assert((value << 24) >> 24 === value, 'an int8 is in range')
    this.#byte(value)
  }

  int16(value: number): void {
    assert((value << 16) >> 16 === value, 'an int16 is in range')
    const at = this.#room(2)
    this.#scratch[at] = value >> 8
    this.#scratch[at + 1] = value
  }

  int32(value: number): void {
    assert((value | 0) === value, 'an int32 is in range')
    this.#int32At(this.#room(4), value)
  }

  int64(value: number): void {
    assert(Number.isSafeInteger(value), 'an int64 is a safe integer')
    const at = this.#room(8)
    const high = Math.floor(value / TWO_TO_32)
    this.#int32At(at, high)
    this.#int32At(at + 4, value - high * TWO_TO_32)
  }

  uvarint(value: number): void {
    let left = value
    while (left >= 0x80) {
      this.#byte((left % 0x80) | 0x80)
      left = Math.floor(left / 0x80)
    }
    this.#byte(left)
  }

  uuid(value: string): void {
    const at = this.#room(16)
    const written = this.#scratch.write(value.replaceAll('-', ''), at, 16, 'hex')
    assert(written === 16 && value.length === 36, 'a uuid has its canonical 36 characters')
  }

  string(value: string, isCompact: boolean): void {
    const length = Buffer.byteLength(value)
    assert(length <= STRING_BYTES_MAX, 'a string fits the length before it')
    if (isCompact) this.uvarint(length + 1)
    else this.int16(length)
    const at = this.#room(length)
    this.#scratch.write(value, at, length, 'utf8')
  }

  bytes(value: Uint8Array, isCompact: boolean): void {
    this.#length(value.length, isCompact)
    const at = this.#room(value.length)
    this.#scratch.set(value, at)
  }

  /** Puts the bytes between the pieces without copying them. */
  records(value: Uint8Array, isCompact: boolean): void {
    assert(this.#tagDepth === 0, 'records are in no tagged field')
    this.#length(value.length, isCompact)
    if (value.length === 0) return
    this.#cuts.push({ at: this.#at, records: value })
    this.#recordsBytes += value.length
  }

  arrayLength(count: number, isCompact: boolean): void {
    this.#length(count, isCompact)
  }

  nullString(isCompact: boolean): void {
    if (isCompact) this.uvarint(0)
    else this.int16(-1)
  }

  /** Of bytes, records and arrays. */
  nullLength(isCompact: boolean): void {
    if (isCompact) this.uvarint(0)
    else this.int32(-1)
  }

  /** The size is known only when the content is written, which then makes room for it. */
  taggedField(tag: number, write: () => void): void {
    this.uvarint(tag)
    const start = this.#at
    this.#tagDepth += 1
    write()
    this.#tagDepth -= 1
    const size = this.#at - start
    this.uvarint(size)
    const width = this.#at - start - size
    this.#scratch.copyWithin(start + width, start, start + size)
    this.#at = start
    this.uvarint(size)
    this.#at += size
  }

  /** Writes over the first four bytes. */
  patchInt32(value: number): void {
    assert(this.#at >= 4, 'there is something to write over')
    this.#int32At(0, value)
  }

  /**
   * What has been written, in order: pieces with an even index belong to the caller, those with an odd one are the
   * records as they were given. The writer is empty then.
   */
  take(): readonly Uint8Array[] {
    const written = this.#scratch === sharedScratch ? Buffer.from(this.#scratch.subarray(0, this.#at)) : this.#scratch
    const pieces: Uint8Array[] = []
    let start = 0
    for (const { at, records } of this.#cuts) {
      pieces.push(written.subarray(start, at), records)
      start = at
    }
    pieces.push(written.subarray(start, this.#at))
    this.reset()
    return pieces
  }

  #length(length: number, isCompact: boolean): void {
    assert(length < INT32_MAX, 'a length is an int32')
    if (isCompact) this.uvarint(length + 1)
    else this.int32(length)
  }

  #int32At(at: number, value: number): void {
    const scratch = this.#scratch
    scratch[at] = value >> 24
    scratch[at + 1] = value >> 16
    scratch[at + 2] = value >> 8
    scratch[at + 3] = value
  }

  #byte(value: number): void {
    const at = this.#room(1)
    this.#scratch[at] = value
  }

  #room(bytes: number): number {
    const at = this.#at
    this.#at = at + bytes
    if (this.#at > this.#scratch.length) this.#grow(at)
    return at
  }

  #grow(filled: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#at, this.#scratch.length * 2))
    this.#scratch.copy(larger, 0, 0, filled)
    this.#scratch = larger
  }
}
