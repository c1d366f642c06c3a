// The memory that the indexes of sealed segments may take, over all partitions. Owns who must give his back when there is
// too much; an index that was given back is read from its file again when it is next asked for.

import { RecencyList } from './least-recently-used.ts'
import type { Segment } from './segment.ts'

const INDEX_BYTES_DEFAULT = 64 * 1024 * 1024

export class IndexBudget {
  readonly #limitBytes: number
  readonly #segments = new RecencyList<Segment>()
  #usedBytes = 0

  constructor(options: { readonly limitBytes?: number } = {}) {
    this.#limitBytes = options.limitBytes ?? INDEX_BYTES_DEFAULT
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /** A sealed segment's indexes are in use. The coldest others are given back if they are too many. */
  touch(segment: Segment): void {
    if (!segment.isLinked) {
      segment.budgetedBytes = segment.indexBytes
      this.#usedBytes += segment.budgetedBytes
    }
    this.#segments.touch(segment)
    while (this.#usedBytes > this.#limitBytes) {
      const coldest = this.#segments.oldest
      if (coldest === undefined || coldest === segment) return
      this.remove(coldest)
      coldest.forgetIndexes()
    }
  }

  /** The segment is gone, or is appended to again. Idempotent. */
  remove(segment: Segment): void {
    if (!segment.isLinked) return
    this.#segments.remove(segment)
    this.#usedBytes -= segment.budgetedBytes
    segment.budgetedBytes = 0
  }
}
