// When tombstones were dropped from a log, in the order in which it happened. Owns what can be said of a reader who began to
// copy the log at some moment: how far tombstones have been dropped since. Knows nothing of records and files, and remembers
// nothing beyond the life of the process.

import type { Offset } from '../../shared/ids.ts'

/** More are not worth the memory: whoever began earlier is told of the newest of all. */
const KEPT_MAX = 256

export class DropHistory {
  readonly #ends: Offset[] = []
  #count = 0

  /** How many there were. */
  get count(): number {
    return this.#count
  }

  /** Tombstones were dropped, the newest of which ends there. They may lie below those that were dropped before. */
  add(endOffset: Offset): void {
    this.#count += 1
    this.#ends.push(endOffset)
    if (this.#ends.length > KEPT_MAX) this.#ends.shift()
  }

  /** The end of the newest tombstone that was dropped after so many drops, 0 for none; undefined when that is forgotten. */
  endSince(count: number): Offset | undefined {
    const first = this.#count - this.#ends.length
    if (count < first || count > this.#count) return undefined
    let end = 0 as Offset
    for (const each of this.#ends.slice(count - first)) if (each > end) end = each
    return end
  }
}
