// The reader's rules: from which offset each partition is fetched next, how much at once, when to wait for the application,
// when a partition is done. Pure: it is told what came and what was used up. Invariants: a partition is in one fetch at a
// time; what is buffered and what is asked for stay within the limit, but for the one batch that a broker sends whole;
// positions only grow.

import { assert } from '../shared/assert.ts'

export interface FetchPlannerOptions {
  /** Bytes that wait for the application or are asked for, at most. */
  readonly bufferBytes: number
  /** Bytes of one fetch. */
  readonly fetchBytes: number
  /** Bytes of one partition in one fetch. */
  readonly partitionBytes: number
}

export class PartitionCursor {
  readonly partition: number
  /** The next offset to fetch. */
  position: number
  /** Exclusive; undefined to go on for ever. */
  readonly endOffset: number | undefined
  /** Nothing is fetched before, by the monotonic clock. */
  notBefore = 0
  /** Failures since something came. */
  failures = 0
  /** When the partition last answered without an error, by the monotonic clock. */
  answeredAt: number
  /** As last heard. */
  highWatermark: number | undefined
  /** As last heard. */
  leaderEpoch: number | undefined
  /** Of the leader that last answered without an error. */
  answeredEpoch: number | undefined
  isFetching = false
  /** It is being found out where it goes on; nothing is fetched meanwhile. */
  isMoving = false

  constructor(
    partition: number,
    start: { readonly position: number; readonly endOffset: number | undefined },
    now: number,
  ) {
    this.partition = partition
    this.position = start.position
    this.endOffset = start.endOffset
    this.answeredAt = now
  }

  get isDone(): boolean {
    return this.endOffset !== undefined && this.position >= this.endOffset
  }
}

export interface PlannedFetch {
  readonly broker: number
  readonly cursors: readonly PartitionCursor[]
  readonly maxBytes: number
  readonly partitionBytes: number
}

/** A fetch for less than this is not worth asking for. */
const FETCH_BYTES_MIN = 64 * 1024

export class FetchPlanner {
  readonly #options: FetchPlannerOptions
  readonly #cursors: PartitionCursor[]
  readonly #busy = new Set<number>()
  #bufferedBytes = 0
  #askedBytes = 0
  #wakeAt = Infinity

  constructor(options: FetchPlannerOptions, cursors: readonly PartitionCursor[]) {
    this.#options = options
    this.#cursors = [...cursors]
  }

  get cursors(): readonly PartitionCursor[] {
    return this.#cursors
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  /** When a partition that waits after a failure may be fetched; set by `plan`. */
  get wakeAt(): number {
    return this.#wakeAt
  }

  /** Whether nothing is left to be fetched. */
  get isDone(): boolean {
    return this.#cursors.every((cursor) => cursor.isDone)
  }

  /** The fetches to send now: one a broker. Each must be ended by `onEnded`. undefined: nobody knows the leader. */
  plan(now: number, leaderOf: (partition: number) => number | undefined): PlannedFetch[] {
    this.#wakeAt = Infinity
    const byBroker = new Map<number, PartitionCursor[]>()
    for (const cursor of this.#cursors) {
      if (cursor.isDone || cursor.isFetching || cursor.isMoving) continue
      if (cursor.notBefore > now) {
        this.#wakeAt = Math.min(this.#wakeAt, cursor.notBefore)
        continue
      }
      const broker = leaderOf(cursor.partition)
      if (broker === undefined || this.#busy.has(broker)) continue
      const list = byBroker.get(broker)
      if (list === undefined) byBroker.set(broker, [cursor])
      else list.push(cursor)
    }
    const fetches: PlannedFetch[] = []
    for (const [broker, cursors] of byBroker) {
      const room = this.#options.bufferBytes - this.#bufferedBytes - this.#askedBytes
      const maxBytes = Math.min(this.#options.fetchBytes, room)
      // With nothing on hand something must be asked for, however small the buffer is.
      const isNothingOnHand = this.#bufferedBytes + this.#askedBytes === 0
      if (maxBytes < Math.min(FETCH_BYTES_MIN, this.#options.fetchBytes) && !isNothingOnHand) break
      for (const cursor of cursors) cursor.isFetching = true
      this.#busy.add(broker)
      this.#askedBytes += maxBytes
      fetches.push({ broker, cursors, maxBytes, partitionBytes: Math.min(this.#options.partitionBytes, maxBytes) })
    }
    return fetches
  }

  /** The fetch is over, whatever came of it. */
  onEnded(fetch: PlannedFetch): void {
    this.#busy.delete(fetch.broker)
    this.#askedBytes -= fetch.maxBytes
    for (const cursor of fetch.cursors) cursor.isFetching = false
    assert(this.#askedBytes >= 0, 'no more bytes are given back than were asked for')
  }

  /** Records came for the partition and wait for the application. */
  onRecords(cursor: PartitionCursor, bytes: number, nextPosition: number): void {
    assert(nextPosition > cursor.position, 'a fetch moves its position on')
    cursor.position = nextPosition
    this.#bufferedBytes += bytes
    // The one that had its turn comes last the next time: the first partition of a fetch is served before the others.
    const at = this.#cursors.indexOf(cursor)
    this.#cursors.splice(at, 1)
    this.#cursors.push(cursor)
  }

  onAnswered(cursor: PartitionCursor, now: number): void {
    cursor.answeredAt = now
    cursor.failures = 0
  }

  onFailed(cursor: PartitionCursor, notBefore: number): void {
    cursor.failures += 1
    cursor.notBefore = notBefore
  }

  /** The application has used up what was buffered. */
  onConsumed(bytes: number): void {
    this.#bufferedBytes -= bytes
    assert(this.#bufferedBytes >= 0, 'no more is used up than was buffered')
  }
}
