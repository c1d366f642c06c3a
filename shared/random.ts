// The second door: chance. Random is handed to everything that needs it; this file holds the only calls of the system's
// generators. The seeded one gives the same sequence for the same seed on every machine.

import { randomFillSync, randomUUID } from 'node:crypto'

export interface Random {
  /** Uniform in [0, 1). */
  fraction(): number
  /** Uniform integer in [0, end); end is at most 2^32. */
  integer(end: number): number
  /** Uniform integer of 53 bits, for identities that must not collide. */
  identity(): number
  /** A version 4 UUID. */
  uuid(): string
}

export const systemRandom: Random = {
  fraction: () => Math.random(),
  integer: (end) => Math.floor(Math.random() * end),
  identity() {
    const words = randomFillSync(new Uint32Array(2))
    return ((words[0] ?? 0) & 0x1f_ffff) * 0x1_0000_0000 + (words[1] ?? 0)
  },
  uuid: () => randomUUID(),
}

/** The generator known as mulberry32: small, fast, good enough to drive tests and simulations; not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  const hex = (digits: number): string => (next() >>> (32 - 4 * digits)).toString(16).padStart(digits, '0')
  return {
    fraction: () => next() / 0x1_0000_0000,
    integer: (end) => Math.floor((next() / 0x1_0000_0000) * end),
    identity: () => (next() & 0x1f_ffff) * 0x1_0000_0000 + next(),
    uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(6)}${hex(6)}`,
  }
}
