// The rules of fetching: from which offset each partition is fetched next, how much at once, when to wait for the
// application, when a partition is done. Pure: it is told what came and what was used up. Invariants: a partition is in
// one fetch at a time; what is buffered and what is asked for stay within the limit, but for the one batch that a broker
// sends whole (one a partition, where each has its share); the position of a cursor only grows.

import { assert } from '../shared/assert.ts'
import type { TopicPartition } from './topic-partitions.ts'

export interface FetchPlannerOptions {
  /** Bytes that wait for the application or are asked for, at most. */
  readonly bufferBytes: number
  /** Bytes of one fetch. */
  readonly fetchBytes: number
  /** Bytes of one partition in one fetch. */
  readonly partitionBytes: number
  /**
   * Whether each partition has its share of the buffer, so that one that is not worked off holds up no other, and several
   * fetches may wait at one broker, so that a partition that comes in does not wait for the others. Default false: whoever
   * comes first, and one fetch a broker.
   */
  readonly isShared?: boolean | undefined
}

export class PartitionCursor {
  readonly topic: string
  readonly partition: number
  /** The next offset to fetch. */
  position: number
  /** Exclusive; undefined to go on for ever. */
  readonly endOffset: number | undefined
  /** As far as it is known: a topic that was deleted and made anew is another one. */
  readonly topicId: string | undefined
  /** Nothing is fetched before, by the monotonic clock. */
  notBefore = 0
  /** Failures since something came. */
  failures = 0
  /** When the first of them was, by the monotonic clock. */
  failingSince: number | undefined
  /** When the partition last answered without an error, by the monotonic clock. */
  answeredAt: number
  /** As last heard. */
  highWatermark: number | undefined
  /** As last heard. */
  leaderEpoch: number | undefined
  /** Of the leader that last answered without an error. */
  answeredEpoch: number | undefined
  /** The last of the failures; undefined when something came since. */
  lastFailure: Error | undefined
  isFetching = false
  /** It is being found out where it goes on; nothing is fetched meanwhile. */
  isMoving = false
  /** Nothing is fetched; what is on its way still comes. */
  isPaused = false
  /** Nobody wants it any more; what is on its way is dropped. */
  isRemoved = false
  /** It has not been asked for since it came in or was resumed. */
  isNew = true
  /** Bytes that wait for the application. */
  bufferedBytes = 0

  constructor(
    { topic, partition }: TopicPartition,
    start: {
      readonly position: number
      readonly endOffset?: number | undefined
      readonly topicId?: string | undefined
    },
    now: number,
  ) {
    this.topic = topic
    this.partition = partition
    this.position = start.position
    this.endOffset = start.endOffset
    this.topicId = start.topicId
    this.answeredAt = now
  }

  get isDone(): boolean {
    return this.endOffset !== undefined && this.position >= this.endOffset
  }

  /** Whether there is something to be had, or nobody has looked yet. */
  get isUrgent(): boolean {
    return this.isNew || (this.highWatermark !== undefined && this.highWatermark > this.position)
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
/** Fetches that may wait at one broker where partitions come and go; more only for what is known to be there. */
const WAITING_FETCHES_MAX = 4

export class FetchPlanner {
  readonly #options: FetchPlannerOptions
  readonly #cursors: PartitionCursor[]
  /** Fetches that are on their way, by broker. */
  readonly #busy = new Map<number, number>()
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

  add(cursor: PartitionCursor): void {
    this.#cursors.push(cursor)
  }

  /** What is on its way for it is dropped; what it has buffered is to be used up as before. */
  remove(cursor: PartitionCursor): void {
    cursor.isRemoved = true
    const at = this.#cursors.indexOf(cursor)
    if (at >= 0) this.#cursors.splice(at, 1)
  }

  /** The fetches to send now. Each must be ended by `onEnded`. undefined: nobody knows the leader. */
  plan(now: number, leaderOf: (cursor: PartitionCursor) => number | undefined): PlannedFetch[] {
    this.#wakeAt = Infinity
    const byBroker = new Map<number, PartitionCursor[]>()
    for (const cursor of this.#cursors) {
      if (cursor.isDone || cursor.isFetching || cursor.isMoving || cursor.isPaused) continue
      if (cursor.notBefore > now) {
        this.#wakeAt = Math.min(this.#wakeAt, cursor.notBefore)
        continue
      }
      const broker = leaderOf(cursor)
      if (broker === undefined || !this.#mayAsk(broker, cursor)) continue
      const list = byBroker.get(broker)
      if (list === undefined) byBroker.set(broker, [cursor])
      else list.push(cursor)
    }
    const fetches: PlannedFetch[] = []
    for (const [broker, cursors] of byBroker) {
      const maxBytes = this.#roomFor(cursors)
      if (maxBytes === undefined) break
      const partitionBytes = Math.min(this.#options.partitionBytes, maxBytes, this.#shareBytes)
      for (const cursor of cursors) {
        cursor.isFetching = true
        cursor.isNew = false
      }
      this.#busy.set(broker, (this.#busy.get(broker) ?? 0) + 1)
      this.#askedBytes += maxBytes
      fetches.push({ broker, cursors, maxBytes, partitionBytes })
    }
    return fetches
  }

  /** Bytes that one partition may hold. */
  get #shareBytes(): number {
    const { isShared, bufferBytes } = this.#options
    return isShared === true ? Math.max(1, Math.floor(bufferBytes / this.#cursors.length)) : Infinity
  }

  #mayAsk(broker: number, cursor: PartitionCursor): boolean {
    const fetches = this.#busy.get(broker) ?? 0
    if (this.#options.isShared !== true) return fetches === 0
    if (cursor.bufferedBytes > this.#shareBytes / 2) return false
    return fetches < WAITING_FETCHES_MAX || cursor.isUrgent
  }

  /** Bytes that a fetch of the partitions may bring; undefined when it is not worth asking for. */
  #roomFor(cursors: readonly PartitionCursor[]): number | undefined {
    const { bufferBytes, fetchBytes, partitionBytes, isShared } = this.#options
    // Whoever may be asked for has its share left, and the shares together are the buffer.
    if (isShared === true) return Math.min(fetchBytes, cursors.length * Math.min(partitionBytes, this.#shareBytes))
    const maxBytes = Math.min(fetchBytes, bufferBytes - this.#bufferedBytes - this.#askedBytes)
    // With nothing on hand something must be asked for, however small the buffer is.
    const isNothingOnHand = this.#bufferedBytes + this.#askedBytes === 0
    return maxBytes < Math.min(FETCH_BYTES_MIN, fetchBytes) && !isNothingOnHand ? undefined : maxBytes
  }

  /** The fetch is over, whatever came of it. */
  onEnded(fetch: PlannedFetch): void {
    this.#busy.set(fetch.broker, (this.#busy.get(fetch.broker) ?? 0) - 1)
    this.#askedBytes -= fetch.maxBytes
    for (const cursor of fetch.cursors) cursor.isFetching = false
    assert(this.#askedBytes >= 0, 'no more bytes are given back than were asked for')
  }

  /** Records came for the partition and wait for the application. */
  onRecords(cursor: PartitionCursor, bytes: number, nextPosition: number): void {
    assert(nextPosition > cursor.position, 'a fetch moves its position on')
    cursor.position = nextPosition
    this.#bufferedBytes += bytes
    cursor.bufferedBytes += bytes
    // The one that had its turn comes last the next time: the first partition of a fetch is served before the others.
    const at = this.#cursors.indexOf(cursor)
    this.#cursors.splice(at, 1)
    this.#cursors.push(cursor)
  }

  onAnswered(cursor: PartitionCursor, now: number): void {
    cursor.answeredAt = now
    cursor.failures = 0
    cursor.failingSince = undefined
    cursor.lastFailure = undefined
  }

  onFailed(cursor: PartitionCursor, now: number, pauseMs: number, failure?: Error): void {
    cursor.failures += 1
    cursor.failingSince ??= now
    cursor.lastFailure = failure
    cursor.notBefore = now + pauseMs
  }

  /** The application has used up what was buffered. */
  onConsumed(cursor: PartitionCursor, bytes: number): void {
    cursor.bufferedBytes -= bytes
    this.#bufferedBytes -= bytes
    assert(this.#bufferedBytes >= 0, 'no more is used up than was buffered')
  }
}
