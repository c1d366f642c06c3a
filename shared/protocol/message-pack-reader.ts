// Reads MessagePack where it lies, value by value. Knows the formats and the limits, and no message.
//
// A generic decoder believes what a peer declares: 16 KiB of nested array headers make it open hundreds of megabytes.
// Here a count is held against the bytes that are left, depth and number of values are bounded, and extensions and maps
// are refused, because no message has them. Text that repeats, as topic names do, is made into a string once.

import { TidemarkError } from '../errors.ts'
import { ARRAY_LENGTH_MAX, NESTING_DEPTH_MAX, STRING_BYTES_MAX } from '../limits.ts'

const NIL = 0xc0
const TWO_TO_32 = 0x1_0000_0000
const KNOWN_STRINGS = 512
const KNOWN_STRING_BYTES_MAX = 64

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const floatBytes = new DataView(new ArrayBuffer(8))

interface KnownString {
  readonly bytes: Uint8Array
  readonly text: string
}

export class MessagePackReader {
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0
  #end = 0
  #valuesLeft = 0
  /** Direct-mapped: a new string takes the place of whichever was there. */
  readonly #known: (KnownString | undefined)[] = Array.from({ length: KNOWN_STRINGS }, () => undefined)

  /** Begins at `start`; nothing from `end` on is looked at. */
  open(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
  }

  /** @throws MALFORMED_FRAME when bytes are left. */
  expectEnd(): void {
    if (this.#at !== this.#end) throw malformed(`${this.#end - this.#at} bytes stand behind its end`)
  }

  /** Whether nil was next; it is read then. */
  maybeNil(): boolean {
    if (this.#at >= this.#end || this.#bytes[this.#at] !== NIL) return false
    this.#at += 1
    return true
  }

  /** The number of elements of an array, or -1 (and nothing is read) when something else is next. */
  maybeArray(): number {
    const head = this.#peek()
    if ((head & 0xf0) === 0x90) {
      this.#at += 1
      return this.#checkCount(head & 0x0f)
    }
    if (head !== 0xdc && head !== 0xdd) return -1
    this.#at += 1
    return this.#checkCount(this.#readUint(head === 0xdc ? 2 : 4))
  }

  /** An integer, or NaN (and nothing is read) when something else is next. */
  maybeInteger(): number {
    const head = this.#peek()
    if (head < 0x80) {
      this.#at += 1
      return head
    }
    if (head >= 0xe0) {
      this.#at += 1
      return head - 0x100
    }
    if (head < 0xcc || head > 0xd3) return NaN
    this.#at += 1
    return this.#readInteger(head)
  }

  /** A string, or undefined (and nothing is read) when something else is next. */
  maybeString(): string | undefined {
    const head = this.#peek()
    if ((head & 0xe0) === 0xa0) {
      this.#at += 1
      return this.#readString(head & 0x1f)
    }
    if (head < 0xd9 || head > 0xdb) return undefined
    this.#at += 1
    return this.#readString(this.#readUint(1 << (head - 0xd9)))
  }

  /** Whatever is next. @throws MALFORMED_FRAME. */
  readValue(valuesMax: number): unknown {
    this.#valuesLeft = valuesMax
    return this.#readValue(0)
  }

  #readValue(depth: number): unknown {
    this.#valuesLeft -= 1
    if (this.#valuesLeft < 0) throw malformed('it has too many values')
    const count = this.maybeArray()
    if (count >= 0) return this.#readArray(count, depth + 1)
    const integer = this.maybeInteger()
    if (!Number.isNaN(integer)) return integer
    const text = this.maybeString()
    if (text !== undefined) return text
    const head = this.#readUint(1)
    switch (head) {
      case NIL:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#readBytes(this.#readUint(1 << (head - 0xc4)))
      case 0xca:
      case 0xcb:
        return this.#readFloat(head === 0xca ? 4 : 8)
      default:
        throw malformed(`a value that begins with 0x${head.toString(16)} is not part of the protocol`)
    }
  }

  #readArray(count: number, depth: number): unknown[] {
    if (depth > NESTING_DEPTH_MAX) throw malformed(`arrays are nested deeper than ${NESTING_DEPTH_MAX}`)
    const values: unknown[] = []
    for (let index = 0; index < count; index += 1) values.push(this.#readValue(depth))
    return values
  }

  #checkCount(count: number): number {
    if (count > ARRAY_LENGTH_MAX) throw malformed(`an array of ${count}; at most ${ARRAY_LENGTH_MAX}`)
    if (count > this.#end - this.#at) throw malformed(`an array of ${count} in ${this.#end - this.#at} bytes`)
    return count
  }

  #readInteger(head: number): number {
    switch (head) {
      case 0xd0:
        return (this.#readUint(1) << 24) >> 24
      case 0xd1:
        return (this.#readUint(2) << 16) >> 16
      case 0xd2:
        return this.#readUint(4) | 0
      case 0xcf:
      case 0xd3: {
        const high = head === 0xd3 ? this.#readUint(4) | 0 : this.#readUint(4)
        const value = high * TWO_TO_32 + this.#readUint(4)
        if (!Number.isSafeInteger(value)) throw malformed('an integer is beyond 2^53 - 1')
        return value
      }
      default:
        return this.#readUint(1 << (head - 0xcc))
    }
  }

  #readFloat(width: number): number {
    const high = this.#readUint(4)
    floatBytes.setUint32(0, high)
    if (width === 4) return floatBytes.getFloat32(0)
    floatBytes.setUint32(4, this.#readUint(4))
    return floatBytes.getFloat64(0)
  }

  #readString(length: number): string {
    if (length > STRING_BYTES_MAX) throw malformed(`a string of ${length} bytes; at most ${STRING_BYTES_MAX}`)
    if (length > this.#end - this.#at) throw malformed('it ends within a string')
    const start = this.#at
    this.#at += length
    if (length === 0) return ''
    if (length > KNOWN_STRING_BYTES_MAX) return decodeText(this.#bytes.subarray(start, start + length))
    return this.#knownString(start, length)
  }

  #knownString(start: number, length: number): string {
    const bytes = this.#bytes
    // A sample is enough: a wrong guess only costs the comparison. The last byte is where numbered names differ.
    let hash = length ^ (bytes[start + length - 1] ?? 0)
    const step = (length >> 3) + 1
    for (let at = start; at < start + length; at += step) hash = (Math.imul(hash, 31) + (bytes[at] ?? 0)) | 0
    const slot = (hash ^ (hash >>> 15)) & (KNOWN_STRINGS - 1)
    const known = this.#known[slot]
    if (known !== undefined && isSame(known.bytes, bytes, start, length)) return known.text
    const own = Uint8Array.from(bytes.subarray(start, start + length))
    const text = decodeText(own)
    this.#known[slot] = { bytes: own, text }
    return text
  }

  #readBytes(length: number): Uint8Array {
    if (length > STRING_BYTES_MAX) throw malformed(`${length} bytes in one value; at most ${STRING_BYTES_MAX}`)
    if (length > this.#end - this.#at) throw malformed('it ends within a value')
    this.#at += length
    return Uint8Array.from(this.#bytes.subarray(this.#at - length, this.#at))
  }

  #peek(): number {
    if (this.#at >= this.#end) throw malformed('it ends too early')
    return this.#bytes[this.#at] ?? 0
  }

  #readUint(width: number): number {
    if (width > this.#end - this.#at) throw malformed('it ends too early')
    let value = 0
    for (let index = 0; index < width; index += 1) {
      value = value * 0x100 + (this.#bytes[this.#at] ?? 0)
      this.#at += 1
    }
    return value
  }
}

function isSame(known: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (known.length !== length) return false
  for (let index = 0; index < length; index += 1) if (known[index] !== bytes[start + index]) return false
  return true
}

function decodeText(bytes: Uint8Array): string {
  try {
    return textDecoder.decode(bytes)
  } catch (cause) {
    throw new TidemarkError('MALFORMED_FRAME', 'the message cannot be read: a string is not UTF-8', { cause })
  }
}

function malformed(what: string): TidemarkError {
  return new TidemarkError('MALFORMED_FRAME', `the message cannot be read: ${what}`)
}
