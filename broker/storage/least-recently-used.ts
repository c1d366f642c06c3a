// A list of things in the order in which they were last used, so that the coldest can be let go first. Owns the links only:
// what a thing costs, and what letting go of it means, is known to the budget that holds the list. The links lie in the
// things themselves, so that using one allocates nothing.

/** What an entry brings along. The list alone writes these. */
export interface Linked<T> {
  newer: T | undefined
  older: T | undefined
  isLinked: boolean
}

export class RecencyList<T extends Linked<T>> {
  #newest: T | undefined
  #oldest: T | undefined
  #count = 0

  get oldest(): T | undefined {
    return this.#oldest
  }

  get count(): number {
    return this.#count
  }

  /** Makes the entry the newest, whether it is in the list or not. */
  touch(entry: T): void {
    if (entry === this.#newest) return
    if (entry.isLinked) this.remove(entry)
    entry.older = this.#newest
    entry.newer = undefined
    entry.isLinked = true
    if (this.#newest !== undefined) this.#newest.newer = entry
    this.#newest = entry
    this.#oldest ??= entry
    this.#count++
  }

  /** Idempotent. */
  remove(entry: T): void {
    if (!entry.isLinked) return
    if (entry.newer === undefined) this.#newest = entry.older
    else entry.newer.older = entry.older
    if (entry.older === undefined) this.#oldest = entry.newer
    else entry.older.newer = entry.newer
    entry.newer = undefined
    entry.older = undefined
    entry.isLinked = false
    this.#count--
  }
}
