// The variable-length integers of records: zig-zag, seven bits a byte, lowest first. Writing is by hand into a buffer that
// is known to have room; reading goes through a cursor so that no object is made for a number.

import { TidemarkError } from '../errors.ts'

const TWO_TO_32 = 0x1_0000_0000
const SAFE_HIGH = 0x20_0000

/** Bytes of an int32 as a varint. */
export function varintBytes(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  if (zigzag < 0x80) return 1
  if (zigzag < 0x4000) return 2
  if (zigzag < 0x20_0000) return 3
  return zigzag < 0x1000_0000 ? 4 : 5
}

/** Bytes of a safe integer as a varlong. */
export function varlongBytes(value: number): number {
  if (value === (value | 0)) return varintBytes(value)
  // Doubling is exact for every safe integer, and -2v - 1 is rounded only where the number of bytes does not change.
  let zigzag = value < 0 ? -2 * value - 1 : 2 * value
  let count = 1
  for (; zigzag >= 0x80; zigzag /= 0x80) count++
  return count
}

/** Writes an int32 and returns the position after it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  while (zigzag > 0x7f) {
    bytes[at++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  bytes[at++] = zigzag
  return at
}

/** Writes a safe integer and returns the position after it. */
export function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  if (value === (value | 0)) return writeVarint(bytes, at, value)
  const signedHigh = Math.floor(value / TWO_TO_32)
  const sign = signedHigh >> 31
  let low = ((value << 1) ^ sign) >>> 0
  let high = (((signedHigh << 1) | ((value >>> 0) >>> 31)) ^ sign) >>> 0
  while (high !== 0 || low > 0x7f) {
    bytes[at++] = (low & 0x7f) | 0x80
    low = ((low >>> 7) | (high << 25)) >>> 0
    high >>>= 7
  }
  bytes[at++] = low
  return at
}

/** A place in bytes that were written by others; reading past `end` is a CORRUPT_MESSAGE, never a wrong value. */
export class VarintCursor {
  readonly bytes: Uint8Array
  readonly end: number
  at: number

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** Reads an int32. @throws CORRUPT_MESSAGE when it is cut or has more than 32 bits. */
  readVarint(): number {
    const bytes = this.bytes
    const at = this.at
    // Nearly all lengths and deltas have one byte.
    if (at < this.end) {
      const byte = bytes[at] ?? 0
      if (byte < 0x80) {
        this.at = at + 1
        return (byte >>> 1) ^ -(byte & 1)
      }
    }
    return this.#readLongVarint()
  }

  #readLongVarint(): number {
    let zigzag = 0
    let at = this.at
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= this.end) throw corruptRecord(at, 'a number is cut')
      const byte = this.bytes[at++] ?? 0
      if (shift === 28 && byte > 0x0f) throw corruptRecord(at - 1, 'a number has more than 32 bits')
      zigzag |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.at = at
        return (zigzag >>> 1) ^ -(zigzag & 1)
      }
    }
    throw corruptRecord(at, 'a number has more than 32 bits')
  }

  /** Reads an int64. @throws CORRUPT_MESSAGE when it is cut, has more than 64 bits or is no safe integer. */
  readVarlong(): number {
    const at = this.at
    if (at < this.end) {
      const byte = this.bytes[at] ?? 0
      if (byte < 0x80) {
        this.at = at + 1
        return (byte >>> 1) ^ -(byte & 1)
      }
    }
    return this.#readLongVarlong()
  }

  #readLongVarlong(): number {
    let low = 0
    let high = 0
    let at = this.at
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= this.end) throw corruptRecord(at, 'a number is cut')
      const byte = this.bytes[at++] ?? 0
      const bits = byte & 0x7f
      if (shift === 63 && byte > 1) throw corruptRecord(at - 1, 'a number has more than 64 bits')
      if (shift < 32) low |= bits << shift
      if (shift === 28) high = bits >>> 4
      else if (shift > 28) high |= bits << (shift - 32)
      if (byte >= 0x80) continue
      this.at = at
      return fromZigzag(low, high, at)
    }
    throw corruptRecord(at, 'a number has more than 64 bits')
  }
}

function fromZigzag(low: number, high: number, at: number): number {
  const sign = -(low & 1)
  const signedHigh = (high >>> 1) ^ sign
  if (signedHigh < -SAFE_HIGH || signedHigh >= SAFE_HIGH) throw corruptRecord(at, 'a number is out of range')
  return signedHigh * TWO_TO_32 + ((((low >>> 1) | (high << 31)) ^ sign) >>> 0)
}

export function corruptRecord(at: number, what: string): TidemarkError {
  return new TidemarkError('CORRUPT_MESSAGE', `record batch: at byte ${at} of the records ${what}`)
}
