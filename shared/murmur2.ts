// The hash by which Kafka's producers choose a partition for a key. It must agree with theirs in every bit: records of one
// key keep their order only while all producers send them to one partition.

const SEED = 0x9747_b28c
const MULTIPLIER = 0x5bd1_e995

/** Kafka's 32-bit murmur2 of the bytes, signed. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let hash = SEED ^ length
  let at = 0
  for (const stop = length - 3; at < stop; at += 4) {
    let word =
      byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24)
    word = Math.imul(word, MULTIPLIER)
    word ^= word >>> 24
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER)
  }
  const left = length - at
  if (left > 0) {
    if (left === 3) hash ^= byteAt(bytes, at + 2) << 16
    if (left >= 2) hash ^= byteAt(bytes, at + 1) << 8
    hash = Math.imul(hash ^ byteAt(bytes, at), MULTIPLIER)
  }
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}

/** The partition of a key, from 0 to partitionCount - 1, as Kafka's own producers choose it. */
export function partitionForKey(key: Uint8Array, partitionCount: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitionCount
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}
