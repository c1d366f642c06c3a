// What peers have asked for and not read yet, of all connections together, and how much of it one connection may hold.
// Pure arithmetic. A connection may hold half of what is left: few slow readers get all they may have, many get little
// each, and one that reads never finds the memory taken by those that do not.

import { assert } from '../../shared/assert.ts'

/** What a connection may hold at least, so that it still gets an answer when others hold everything. */
const CONNECTION_BYTES_MIN = 64 * 1024

export class OutputShare {
  readonly #totalBytesMax: number
  readonly #connectionBytesMax: number
  #heldBytes = 0

  constructor(options: { readonly totalBytesMax: number; readonly connectionBytesMax: number }) {
    this.#totalBytesMax = options.totalBytesMax
    this.#connectionBytesMax = options.connectionBytesMax
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Bytes that one connection may hold now, beyond which nothing more is read from it. */
  get connectionBytesMax(): number {
    const half = Math.floor((this.#totalBytesMax - this.#heldBytes) / 2)
    return Math.min(this.#connectionBytesMax, Math.max(CONNECTION_BYTES_MIN, half))
  }

  /** A connection holds so many bytes more, or less, than it said before. */
  change(bytes: number): void {
    this.#heldBytes += bytes
    assert(this.#heldBytes >= 0, 'no connection gives back more than it held')
  }
}
