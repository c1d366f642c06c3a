// The offset of the last record of each key, for a pass of compaction. Owns a table of fixed size in which a key is 128 bits
// and an offset 32; knows nothing of records.
//
// A key is known by its fingerprint alone, so that two keys with one fingerprint would be taken for one, and a record of
// the one deleted for the sake of the other. Among 2^32 keys that happens once in 2^65 passes by chance; and so that nobody
// can look for such keys, the fingerprint depends on numbers drawn for each pass: the state of HalfSipHash (the rounds of
// SipHash on 32-bit words, two a word) keyed with 128 bits.
//
// Invariant: a slot is empty or holds a fingerprint with the greatest offset put for it; at most keysMax are taken.

import { assert } from '../../shared/assert.ts'
import type { Random } from '../../shared/random.ts'

/** Four of fingerprint, one of offset. */
const SLOT_WORDS = 5
const SLOT_BYTES = 4 * SLOT_WORDS
/** Taken slots, of all: more would make the search for one long. */
const LOAD_MAX = 0.75
const SLOTS_MIN = 16
const TWO_TO_32 = 0x1_0000_0000
/** Offsets are kept as their distance from the first, plus one. */
export const KEY_MAP_OFFSETS_MAX = TWO_TO_32 - 2

/** The bytes of a table with room for so many keys. */
export function keyMapBytes(keys: number): number {
  return Math.max(SLOTS_MIN, Math.ceil(keys / LOAD_MAX) + 1) * SLOT_BYTES
}

export class KeyMap {
  readonly keysMax: number
  readonly #baseOffset: number
  readonly #slots: number
  readonly #slotsPerUnit: number
  readonly #table: Uint32Array
  readonly #seed: Int32Array
  readonly #fingerprint = new Int32Array(4)
  #count = 0

  /** A table of at most so many bytes, for offsets from the base offset on. */
  constructor(bytes: number, baseOffset: number, random: Random) {
    this.#slots = Math.max(SLOTS_MIN, Math.floor(bytes / SLOT_BYTES))
    this.#slotsPerUnit = this.#slots / TWO_TO_32
    this.keysMax = Math.floor(this.#slots * LOAD_MAX)
    this.#baseOffset = baseOffset
    this.#table = new Uint32Array(this.#slots * SLOT_WORDS)
    this.#seed = Int32Array.from({ length: 4 }, () => random.integer(TWO_TO_32))
  }

  get count(): number {
    return this.#count
  }

  /** Notes the offset for the key bytes[at, at + length). False, and nothing noted, when there is no room for a new key. */
  put(bytes: Uint8Array, at: number, length: number, offset: number): boolean {
    const value = offset - this.#baseOffset + 1
    assert(value > 0 && value < TWO_TO_32, 'the offset is one that the table can hold')
    const table = this.#table
    const slot = this.#find(bytes, at, length)
    const known = table[slot + 4] ?? 0
    if (known !== 0) {
      if (value > known) table[slot + 4] = value
      return true
    }
    if (this.#count === this.keysMax) return false
    this.#count++
    const fingerprint = this.#fingerprint
    for (let word = 0; word < 4; word++) table[slot + word] = fingerprint[word] ?? 0
    table[slot + 4] = value
    return true
  }

  /** The greatest offset that was noted for the key; -1 when there is none. */
  get(bytes: Uint8Array, at: number, length: number): number {
    const known = this.#table[this.#find(bytes, at, length) + 4] ?? 0
    return known === 0 ? -1 : known - 1 + this.#baseOffset
  }

  /** The first word of the slot that has the key, or would get it. Leaves the fingerprint behind. */
  #find(bytes: Uint8Array, at: number, length: number): number {
    const fingerprint = this.#fingerprint
    const seed = this.#seed
    let v0 = seed[0] ?? 0
    let v1 = seed[1] ?? 0
    let v2 = seed[2] ?? 0
    let v3 = seed[3] ?? 0
    const end = at + length
    const wordsEnd = end - (length & 3)
    // One word more than there are: the rest of the bytes, with the length above them.
    for (let from = at; from <= wordsEnd; from += 4) {
      let word: number
      if (from < wordsEnd) {
        word =
          (bytes[from] ?? 0) |
          ((bytes[from + 1] ?? 0) << 8) |
          ((bytes[from + 2] ?? 0) << 16) |
          ((bytes[from + 3] ?? 0) << 24)
      } else {
        word = length << 24
        for (let index = from; index < end; index++) word |= (bytes[index] ?? 0) << (8 * (index - from))
      }
      v3 ^= word
      for (let round = 0; round < 2; round++) {
        v0 = (v0 + v1) | 0
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
        v0 = (v0 << 16) | (v0 >>> 16)
        v2 = (v2 + v3) | 0
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
        v0 = (v0 + v3) | 0
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
        v2 = (v2 + v1) | 0
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
        v2 = (v2 << 16) | (v2 >>> 16)
      }
      v0 ^= word
    }
    v2 ^= 0xff
    for (let round = 0; round < 3; round++) {
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
    }
    fingerprint[0] = v0
    fingerprint[1] = v1
    fingerprint[2] = v2
    fingerprint[3] = v3
    return this.#slotOf(v0 >>> 0, v1 >>> 0, v2 >>> 0, v3 >>> 0)
  }

  #slotOf(v0: number, v1: number, v2: number, v3: number): number {
    const table = this.#table
    const end = this.#slots * SLOT_WORDS
    let slot = Math.floor(((v0 ^ v1) >>> 0) * this.#slotsPerUnit) * SLOT_WORDS
    for (;;) {
      if (table[slot + 4] === 0) return slot
      if (table[slot] === v0 && table[slot + 1] === v1 && table[slot + 2] === v2 && table[slot + 3] === v3) return slot
      slot += SLOT_WORDS
      if (slot === end) slot = 0
    }
  }
}
