// The fetches that wait at one partition, as a list through the waiters themselves: joining, leaving and waking cost no
// lookup and no memory. Knows nothing of what a fetch does when it is woken.

export interface WaitingFetch {
  /** The partition has so many more bytes that may be read. */
  onReadable(bytes: number): void
  /** The partition is no longer what it was: deleted, or out of service. */
  onPartitionGone(): void
}

/** A fetch at one partition. */
export class FetchWaiter {
  readonly fetch: WaitingFetch
  list: FetchWaiters | undefined = undefined
  previous: FetchWaiter | undefined = undefined
  next: FetchWaiter | undefined = undefined

  constructor(fetch: WaitingFetch) {
    this.fetch = fetch
  }

  /** Idempotent. */
  leave(): void {
    this.list?.remove(this)
  }
}

export class FetchWaiters {
  #first: FetchWaiter | undefined = undefined
  #last: FetchWaiter | undefined = undefined

  get isEmpty(): boolean {
    return this.#first === undefined
  }

  add(waiter: FetchWaiter): void {
    waiter.list = this
    waiter.previous = this.#last
    waiter.next = undefined
    if (this.#last === undefined) this.#first = waiter
    else this.#last.next = waiter
    this.#last = waiter
  }

  remove(waiter: FetchWaiter): void {
    if (waiter.list !== this) return
    if (waiter.previous === undefined) this.#first = waiter.next
    else waiter.previous.next = waiter.next
    if (waiter.next === undefined) this.#last = waiter.previous
    else waiter.next.previous = waiter.previous
    waiter.list = undefined
    waiter.previous = undefined
    waiter.next = undefined
  }

  /** Tells everybody who waits now, in the order of arrival. Being told may make any of them leave. */
  onReadable(bytes: number): void {
    if (this.#first === undefined) return
    for (const waiter of this.#all()) {
      if (waiter.list === this) waiter.fetch.onReadable(bytes)
    }
  }

  onPartitionGone(): void {
    for (const waiter of this.#all()) {
      if (waiter.list === this) waiter.fetch.onPartitionGone()
    }
  }

  #all(): readonly FetchWaiter[] {
    const all: FetchWaiter[] = []
    for (let waiter = this.#first; waiter !== undefined; waiter = waiter.next) all.push(waiter)
    return all
  }
}
