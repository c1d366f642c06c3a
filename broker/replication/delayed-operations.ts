// Operations that wait for something to happen, or for their deadline: long polls, and produces that wait for a sync. Owns
// the deadlines and the bound on how many may wait; knows nothing of what they wait for. Whoever makes it happen cancels the
// deadline.
//
// Deadlines are kept in buckets of DEADLINE_GRAIN_MS, and one timer serves the earliest bucket: a hundred thousand
// fetches that wait cost one timer, and none when nothing waits. An operation never expires before its deadline.

import type { Clock, Timer, Timers } from '../../shared/time.ts'
import { assert } from '../../shared/assert.ts'

export const DEADLINE_GRAIN_MS = 5

/** One operation that waits. Whoever parks it keeps it in a field or extends it: parking allocates nothing. */
export interface Delayed {
  /** Called once if the deadline passes while it is parked; it is not parked any more then. */
  onDeadline(): void
  /** Owned by DelayedOperations: the bucket it waits in, and its place there. */
  delay: DelayPlace
}

export interface DelayPlace {
  bucket: Bucket | undefined
  index: number
}

interface Bucket {
  readonly number: number
  readonly operations: Delayed[]
}

export function notDelayed(): DelayPlace {
  return { bucket: undefined, index: -1 }
}

export class DelayedOperations {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #countMax: number
  readonly #buckets = new Map<number, Bucket>()
  /** Numbers of the buckets there are, a binary heap with the earliest on top. */
  readonly #order: number[] = []
  #count = 0
  #timer: Timer | undefined
  #timerBucket = 0

  constructor(options: { readonly clock: Clock; readonly timers: Timers; readonly countMax: number }) {
    this.#clock = options.clock
    this.#timers = options.timers
    this.#countMax = options.countMax
  }

  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count >= this.#countMax
  }

  /** Parks the operation for delayMs milliseconds; false when too many wait already. */
  tryPark(operation: Delayed, delayMs: number): boolean {
    assert(operation.delay.bucket === undefined, 'an operation is parked once')
    if (this.isFull) return false
    const number = Math.ceil((this.#clock.monotonic() + delayMs) / DEADLINE_GRAIN_MS)
    let bucket = this.#buckets.get(number)
    if (bucket === undefined) {
      bucket = { number, operations: [] }
      this.#buckets.set(number, bucket)
      this.#push(number)
    }
    operation.delay.bucket = bucket
    operation.delay.index = bucket.operations.push(operation) - 1
    this.#count += 1
    if (this.#timer === undefined || number < this.#timerBucket) this.#arm()
    return true
  }

  /** Takes the operation out, so that its deadline does not matter any more. Idempotent. */
  cancel(operation: Delayed): void {
    const { bucket, index } = operation.delay
    if (bucket === undefined) return
    const last = bucket.operations.pop()
    if (last !== undefined && last !== operation) {
      bucket.operations[index] = last
      last.delay.index = index
    }
    operation.delay.bucket = undefined
    this.#count -= 1
    // An empty bucket keeps its timer: with polls coming and going, rearming would cost more than one idle wake-up.
    if (this.#count === 0) this.#clear()
  }

  /** Expires everything that waits, now. For stopping. */
  expireAll(): void {
    this.#expireUpTo(Number.POSITIVE_INFINITY)
    this.#clear()
  }

  #clear(): void {
    if (this.#count > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
    this.#buckets.clear()
    this.#order.length = 0
  }

  #arm(): void {
    const number = this.#order[0]
    this.#timer?.cancel()
    this.#timer = undefined
    if (number === undefined) return
    this.#timerBucket = number
    const delayMs = Math.max(0, number * DEADLINE_GRAIN_MS - this.#clock.monotonic())
    this.#timer = this.#timers.after(Math.ceil(delayMs), () => {
      this.#timer = undefined
      this.#expireUpTo(Math.floor(this.#clock.monotonic() / DEADLINE_GRAIN_MS))
      // Buckets of what was cancelled may be left, for which nobody waits.
      if (this.#count === 0) this.#clear()
      else if (this.#timer === undefined) this.#arm()
    })
  }

  #expireUpTo(now: number): void {
    for (let number = this.#order[0]; number !== undefined && number <= now; number = this.#order[0]) {
      this.#pop()
      const bucket = this.#buckets.get(number)
      this.#buckets.delete(number)
      if (bucket === undefined) continue
      for (let operation = bucket.operations.pop(); operation !== undefined; operation = bucket.operations.pop()) {
        operation.delay.bucket = undefined
        this.#count -= 1
        operation.onDeadline()
      }
    }
  }

  #push(number: number): void {
    const heap = this.#order
    let at = heap.push(number) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] ?? 0
      if (above <= number) break
      heap[at] = above
      at = parent
    }
    heap[at] = number
  }

  #pop(): void {
    const heap = this.#order
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child += 1
      const below = heap[child] ?? 0
      if (below >= last) break
      heap[at] = below
      at = child
    }
    heap[at] = last
  }
}
