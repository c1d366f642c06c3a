// Which partition is worked on next: each in its turn, and each by one at a time. Knows nothing of records.

export class WorkQueue<P extends { readonly hasWork: boolean }> {
  readonly #ready: P[] = []
  /** In the queue, or with somebody who works on it. */
  readonly #queued = new Set<P>()
  readonly #taken = new Set<P>()

  /** The partition may have work. */
  offer(partition: P): void {
    if (this.#queued.has(partition) || this.#taken.has(partition) || !partition.hasWork) return
    this.#queued.add(partition)
    this.#ready.push(partition)
  }

  /** To be given back by `release`. */
  take(): P | undefined {
    for (let next = this.#ready.shift(); next !== undefined; next = this.#ready.shift()) {
      this.#queued.delete(next)
      if (!next.hasWork) continue
      this.#taken.add(next)
      return next
    }
    return undefined
  }

  release(partition: P): void {
    this.#taken.delete(partition)
    this.offer(partition)
  }
}
