// The offset of the last record of each key, for a pass of compaction. Owns a table of bounded size in which a key is a
// fingerprint; knows nothing of records.
//
// Two keys with one fingerprint would be taken for one, and a record of the one deleted for the sake of the other. A
// fingerprint has 106 bits: among 2^32 keys that happens once in 2^42 passes by chance. So that nobody can look for such
// keys, it depends on numbers drawn for each pass: it is of the state of HalfSipHash (the rounds of SipHash on 32-bit words,
// two a word) keyed with 128 bits.
//
// The table is one of many small ones by ten bits of the fingerprint, each of which grows by itself: a few keys stay close
// together, which the cache of the processor rewards, and no growth takes long.
//
// Invariant: a slot is empty or holds a fingerprint with the greatest offset put for it.

import { assert, must } from '../../shared/assert.ts'
import type { Random } from '../../shared/random.ts'

/** Three of fingerprint, one of offset: a slot lies within one line of the cache. */
const SLOT_WORDS = 4
const SLOT_BYTES = 4 * SLOT_WORDS
/** Taken slots, of all: more would make the search for one long. */
const LOAD_MAX = 0.75
const SLOTS_MIN = 16
const GROWTH = 1.5
const SHARDS_MAX = 1024
const TWO_TO_32 = 0x1_0000_0000
/** Offsets are kept as their distance from the first, plus one. */
export const KEY_MAP_OFFSETS_MAX = TWO_TO_32 - 2

interface Shard {
  table: Uint32Array
  slots: number
  /** By which the first word of a fingerprint becomes a slot. */
  slotsPerUnit: number
  count: number
  countMax: number
}

export class KeyMap {
  readonly #bytesMax: number
  readonly #baseOffset: number
  readonly #shards: Shard[]
  readonly #seed: Int32Array
  readonly #fingerprint = new Uint32Array(4)
  #shard: Shard
  #bytes: number
  #count = 0

  /** A table of at most so many bytes, or of a few slots, for offsets from the base offset on. */
  constructor(bytesMax: number, baseOffset: number, random: Random) {
    const shards = Math.max(1, Math.min(SHARDS_MAX, Math.floor(bytesMax / (4 * SLOTS_MIN * SLOT_BYTES))))
    this.#bytesMax = bytesMax
    this.#baseOffset = baseOffset
    this.#shards = Array.from({ length: shards }, () => shardOf(SLOTS_MIN))
    this.#shard = must(this.#shards[0], 'there is at least one')
    this.#bytes = shards * SLOTS_MIN * SLOT_BYTES
    this.#seed = Int32Array.from({ length: 4 }, () => random.integer(TWO_TO_32))
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Notes the offset for the key bytes[at, at + length). False, and nothing noted, when there is no room for a new key. */
  put(bytes: Uint8Array, at: number, length: number, offset: number): boolean {
    const value = offset - this.#baseOffset + 1
    assert(value > 0 && value < TWO_TO_32, 'the offset is one that the table can hold')
    let slot = this.#find(bytes, at, length)
    let shard = this.#shard
    const known = shard.table[slot + 3] ?? 0
    if (known !== 0) {
      if (value > known) shard.table[slot + 3] = value
      return true
    }
    if (shard.count >= shard.countMax) {
      if (!this.#grow(shard)) return false
      slot = this.#find(bytes, at, length)
      shard = this.#shard
    }
    shard.count++
    this.#count++
    const fingerprint = this.#fingerprint
    shard.table[slot] = fingerprint[0] ?? 0
    shard.table[slot + 1] = fingerprint[1] ?? 0
    shard.table[slot + 2] = fingerprint[2] ?? 0
    shard.table[slot + 3] = value
    return true
  }

  /** The greatest offset that was noted for the key; -1 when there is none. */
  get(bytes: Uint8Array, at: number, length: number): number {
    const slot = this.#find(bytes, at, length)
    const known = this.#shard.table[slot + 3] ?? 0
    return known === 0 ? -1 : known - 1 + this.#baseOffset
  }

  #grow(shard: Shard): boolean {
    const larger = shardOf(Math.ceil(shard.slots * GROWTH))
    const bytes = this.#bytes + (larger.slots - shard.slots) * SLOT_BYTES
    if (bytes > this.#bytesMax) return false
    const { table } = shard
    for (let from = 0; from < table.length; from += SLOT_WORDS) {
      if (table[from + 3] === 0) continue
      const slot = slotOf(larger, table[from] ?? 0, table[from + 1] ?? 0, table[from + 2] ?? 0)
      for (let word = 0; word < SLOT_WORDS; word++) larger.table[slot + word] = table[from + word] ?? 0
    }
    this.#bytes = bytes
    Object.assign(shard, larger, { count: shard.count })
    return true
  }

  /** The first word of the slot that has the key, or would get it. Leaves the fingerprint and the shard behind. */
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
    const shard = this.#shards[((v3 >>> 22) * this.#shards.length) >>> 10] ?? this.#shard
    this.#shard = shard
    return slotOf(shard, v0 >>> 0, v1 >>> 0, v2 >>> 0)
  }
}

function shardOf(slots: number): Shard {
  const table = new Uint32Array(slots * SLOT_WORDS)
  return { table, slots, slotsPerUnit: slots / TWO_TO_32, count: 0, countMax: Math.floor(slots * LOAD_MAX) }
}

/** The first word of the slot that has the fingerprint, or would get it. */
function slotOf({ table, slotsPerUnit }: Shard, v0: number, v1: number, v2: number): number {
  let slot = Math.floor(v0 * slotsPerUnit) * SLOT_WORDS
  for (;;) {
    if (table[slot + 3] === 0) return slot
    if (table[slot] === v0 && table[slot + 1] === v1 && table[slot + 2] === v2) return slot
    slot += SLOT_WORDS
    if (slot === table.length) slot = 0
  }
}
