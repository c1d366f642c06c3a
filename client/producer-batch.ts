// A batch on its way from the first record to the answer, and the promise of each record in it. Owns who is told of the
// outcome. Knows nothing of when and where a batch is sent. Invariant: it is settled once, with one outcome for all.

import { assert } from '../shared/assert.ts'
import type { TidemarkError } from '../shared/errors.ts'
import type { BatchBuilder } from '../shared/record-batch/encode.ts'

/** Where a record stands in the log. */
export interface RecordMetadata {
  readonly topic: string
  readonly partition: number
  /** -1 when it is not known: with acks 0, or for a duplicate of long ago. */
  readonly offset: number
  /** Milliseconds since 1970: the record's own, or the broker's where the topic says so. */
  readonly timestamp: number
}

export type BatchOutcome =
  | { readonly kind: 'appended'; readonly baseOffset: number; readonly logAppendTime: number | undefined }
  | { readonly kind: 'failed'; readonly error: TidemarkError }

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
  /** Somebody waits for it: it does not linger while nothing else is on its way. */
  isUrgent = false
  /** How often an answer refused it or was lost. */
  failures = 0
  /** How often its session was lost under it. */
  sessionRestarts = 0
  /** An earlier attempt may have reached the log. */
  mayBeAppended = false
  baseSequence = -1
  outcome: BatchOutcome | undefined
  /** Its place among all batches that were ever sent. */
  order = -1
  readonly #waiting: PendingRecord[] = []
  readonly #onSettled: (() => void)[] = []

  constructor(topic: string, partition: number, openedAt: number) {
    this.topic = topic
    this.partition = partition
    this.openedAt = openedAt
  }

  /** Whether the outcome of every record is awaited by somebody. */
  get isAttended(): boolean {
    return this.#waiting.length === this.recordCount
  }

  /** Calls back when the batch is settled; at once if it is. */
  onSettled(callback: () => void): void {
    if (this.outcome === undefined) this.#onSettled.push(callback)
    else callback()
  }

  /** Remembers a record whose promise somebody holds. */
  notify(record: PendingRecord): void {
    this.#waiting.push(record)
  }

  settle(outcome: BatchOutcome): void {
    assert(this.outcome === undefined, 'a batch is settled once')
    this.outcome = outcome
    this.builder = undefined
    this.bytes = undefined
    for (const record of this.#waiting) record.settle(outcome)
    this.#waiting.length = 0
    for (const callback of this.#onSettled) callback()
    this.#onSettled.length = 0
  }
}

type Resolve = (metadata: RecordMetadata) => void
type Reject = (error: unknown) => void

// One executor for all promises: a closure for each record would cost as much as encoding it.
let lastResolve: Resolve = () => undefined
let lastReject: Reject = () => undefined
function capture(resolve: Resolve, reject: Reject): void {
  lastResolve = resolve
  lastReject = reject
}

/**
 * The promise of one record. A real promise is made only when somebody asks for the outcome, so that a record that nobody
 * waits for costs a quarter of a microsecond less; and a failure of such a record is no unhandled rejection, flush tells
 * of it. Whoever asks for it before it is sent makes its batch urgent.
 */
export class PendingRecord implements Promise<RecordMetadata> {
  readonly [Symbol.toStringTag] = 'Promise' as const
  readonly #timestamp: number
  #batch: ProducerBatch | undefined
  #index = 0
  #promise: Promise<RecordMetadata> | undefined
  #resolve: Resolve | undefined
  #reject: Reject | undefined
  #failure: TidemarkError | undefined

  constructor(timestamp: number) {
    this.#timestamp = timestamp
  }

  get batch(): ProducerBatch | undefined {
    return this.#batch
  }

  /** Whether anybody has asked for the outcome. */
  get isAttended(): boolean {
    return this.#promise !== undefined
  }

  /** Its place is found: the record is the index-th of the batch. */
  place(batch: ProducerBatch, index: number): void {
    this.#batch = batch
    this.#index = index
    if (this.#promise === undefined) return
    batch.isUrgent = true
    batch.notify(this)
  }

  /** It found no place. */
  fail(error: TidemarkError): void {
    this.#failure = error
    this.#reject?.(error)
  }

  settle(outcome: BatchOutcome): void {
    if (outcome.kind === 'appended') this.#resolve?.(this.#metadata(outcome))
    else this.#reject?.(outcome.error)
  }

  /** The outcome as a real promise, without hurrying the batch. */
  observe(): Promise<RecordMetadata> {
    if (this.#promise !== undefined) return this.#promise
    const promise = new Promise<RecordMetadata>(capture)
    this.#resolve = lastResolve
    this.#reject = lastReject
    this.#promise = promise
    if (this.#failure !== undefined) this.#reject(this.#failure)
    else if (this.#batch?.outcome !== undefined) this.settle(this.#batch.outcome)
    else this.#batch?.notify(this)
    return promise
  }

  // A record is awaited like any promise; that is what this class is for.
  // oxlint-disable-next-line unicorn/no-thenable
  then<A = RecordMetadata, B = never>(
    onFulfilled?: ((metadata: RecordMetadata) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (this.#batch !== undefined) this.#batch.isUrgent = true
    return this.observe().then(onFulfilled, onRejected)
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<RecordMetadata | B> {
    return this.then(undefined, onRejected)
  }

  finally(onFinally?: (() => void) | null): Promise<RecordMetadata> {
    if (this.#batch !== undefined) this.#batch.isUrgent = true
    return this.observe().finally(onFinally)
  }

  #metadata(outcome: Extract<BatchOutcome, { kind: 'appended' }>): RecordMetadata {
    const { topic = '', partition = 0 } = this.#batch ?? {}
    return {
      topic,
      partition,
      offset: outcome.baseOffset < 0 ? -1 : outcome.baseOffset + this.#index,
      timestamp: outcome.logAppendTime ?? this.#timestamp,
    }
  }
}
