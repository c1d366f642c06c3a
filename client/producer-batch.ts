// A batch on its way from the first record to the answer, and the promise of each record in it. Knows nothing of when and
// where a batch is sent. Invariant: it is settled once, with one outcome for all of its records.

import { assert } from '../shared/assert.ts'
import type { TidemarkError } from '../shared/errors.ts'
import type { BatchBuilder } from '../shared/record-batch/encode.ts'

/** Where a record stands in the log. */
export interface RecordMetadata {
  readonly topic: string
  readonly partition: number
  /** -1 with acks 0, when nobody knows it. */
  readonly offset: number
  /** Milliseconds since 1970: the record's own, or the broker's where the topic says so. */
  readonly timestamp: number
}

export type BatchOutcome =
  | { readonly kind: 'appended'; readonly baseOffset: number; readonly logAppendTime: number | undefined }
  | { readonly kind: 'failed'; readonly error: TidemarkError }

type Appended = Extract<BatchOutcome, { kind: 'appended' }>

export class ProducerBatch {
  readonly topic: string
  readonly partition: number
  /** By the monotonic clock, milliseconds. */
  readonly openedAt: number
  /** Holds the records until the batch is first sent. */
  builder: BatchBuilder | undefined
  /** What is sent, from the first time on. */
  bytes: Uint8Array | undefined
  recordCount = 0
  /** Bytes that it counts for in the producer's memory. */
  heldBytes = 0
  /** It does not linger while nothing else is on its way. */
  isUrgent = false
  /** Has a record whose failure is to be told by flush, because nobody may be looking at its promise. */
  isReportedByFlush = false
  /** How often an answer refused it or was lost. */
  failures = 0
  /** How often its session was lost under it. */
  sessionRestarts = 0
  /** It was sent before without an outcome. */
  isSentAgain = false
  /** An earlier attempt may have reached the log. */
  mayBeAppended = false
  baseSequence = -1
  /** When it was sent last, by the monotonic clock. */
  sentAt = -1
  /** Its place among all batches that were ever sent. */
  order = -1
  outcome: BatchOutcome | undefined
  readonly #settled: Promise<Appended>
  #resolve: (outcome: Appended) => void = () => undefined
  #reject: (error: TidemarkError) => void = () => undefined
  readonly #timestamps: number[] = []
  readonly #promises: Promise<RecordMetadata>[] = []
  readonly #onSettled: (() => void)[] = []
  #abandonedCount = 0
  readonly #toMetadata: (outcome: Appended) => RecordMetadata
  #told = 0

  constructor(topic: string, partition: number, openedAt: number) {
    this.topic = topic
    this.partition = partition
    this.openedAt = openedAt
    this.#settled = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#toMetadata = (outcome) => this.#nextMetadata(outcome)
  }

  /**
   * The promise of the next record. All of them are reactions to one promise with one function: reactions run in the order
   * in which they were added, so the n-th run is the n-th record, and no record needs a function of its own.
   */
  promiseOf(timestamp: number): Promise<RecordMetadata> {
    const promise = this.#settled.then(this.#toMetadata)
    this.#timestamps.push(timestamp)
    this.#promises.push(promise)
    return promise
  }

  /** Calls back when the batch is settled, or nobody waits for it any more; at once if it is so. */
  onSettled(callback: () => void): void {
    if (this.outcome === undefined && !this.isAbandoned) this.#onSettled.push(callback)
    else callback()
  }

  /** Whether the senders of all its records have given up waiting. */
  get isAbandoned(): boolean {
    return this.recordCount > 0 && this.#abandonedCount === this.recordCount
  }

  /** The sender of one of its records waits no more, and has been told so. */
  abandonRecord(): void {
    this.#abandonedCount += 1
    if (this.isAbandoned) for (const callback of this.#onSettled.splice(0)) callback()
  }

  settle(outcome: BatchOutcome): void {
    assert(this.outcome === undefined, 'a batch is settled once')
    this.outcome = outcome
    this.builder = undefined
    this.bytes = undefined
    if (outcome.kind === 'appended') {
      this.#resolve(outcome)
    } else {
      // Who does not look at a promise is told by flush; that must not end the process before.
      for (const promise of this.#promises) promise.catch(ignore)
      this.#settled.catch(ignore)
      this.#reject(outcome.error)
    }
    this.#promises.length = 0
    for (const callback of this.#onSettled) callback()
    this.#onSettled.length = 0
  }

  #nextMetadata(outcome: Appended): RecordMetadata {
    const index = this.#told
    this.#told += 1
    return {
      topic: this.topic,
      partition: this.partition,
      offset: outcome.baseOffset < 0 ? -1 : outcome.baseOffset + index,
      timestamp: outcome.logAppendTime ?? this.#timestamps[index] ?? -1,
    }
  }
}

const ignore = (): void => undefined
