// The producer's rules: which records share a batch, when a batch goes, in which order, what is sent again, and what an
// answer means. Pure: it is told the time and what happened, and answers which requests to send. Knows no socket and no
// promise machinery beyond settling a batch. Invariants: batches of a partition are first sent in the order of their
// records; with idempotence they are appended in that order, each at most once; usedBytes is the sum of what is held.

import { assert } from '../shared/assert.ts'
import type { ErrorCode, TidemarkError } from '../shared/errors.ts'
import type { Random } from '../shared/random.ts'
import { BatchBuilder, type RecordToEncode } from '../shared/record-batch/encode.ts'
import type { Codec } from '../shared/record-batch/format.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import { type PartitionQueue, placeOf, waitingOf, where } from './partition-queue.ts'
import { type BatchOutcome, ProducerBatch } from './producer-batch.ts'
import { type ProducerIdentity, restamp } from './producer-session.ts'
import { backoffMs, isMetadataStale, isOutcomeUnknown, type RetryOptions } from './retry.ts'

export interface AccumulatorOptions {
  readonly acks: -1 | 0 | 1
  readonly isIdempotent: boolean
  readonly lingerMs: number
  /** Bytes of a batch before compression, unless its topic allows less; a single larger record still goes, alone. */
  readonly batchBytes: number
  readonly codec: Codec
  /** Requests that may wait for their answers at one broker. */
  readonly inFlightMax: number
  /** Bytes of one request, unless its first batch alone is larger. */
  readonly requestBytesMax: number
  /** Milliseconds from the first record of a batch to its outcome. */
  readonly deliveryTimeoutMs: number
  readonly retry: RetryOptions
}

/** One produce request: at most one batch a partition. */
export interface PlannedRequest {
  readonly broker: number
  readonly batches: ProducerBatch[]
  readonly queues: PartitionQueue[]
  /** By the monotonic clock. */
  readonly plannedAt: number
  /** Batches whose answer is not waited for any more: they are sent to another broker. */
  readonly given: Set<ProducerBatch>
  bytes: number
}

/** What the broker said of one batch. */
export type BatchAnswer =
  | { readonly kind: 'appended'; readonly baseOffset: number; readonly logAppendTime: number | undefined }
  | { readonly kind: 'refused'; readonly error: TidemarkError }

/** Bytes that a waiting record costs besides its own: its promise, its place in lists. */
const RECORD_OVERHEAD_BYTES = 96
/** Bytes that a record's frame within a batch may take, for the estimate of whether it fits. */
const RECORD_FRAME_BYTES = 24
/** Batches of one request, at most; an array of the protocol has its limit. */
const REQUEST_BATCHES_MAX = 5_000
const BUILDERS_KEPT_MAX = 64
/** A batch whose session is lost under it more often than this is given up. */
const SESSION_RESTARTS_MAX = 3
/** A batch that has not been answered for so many milliseconds may be at a broker that hangs. */
export const SILENT_MS = 1_000

export class RecordAccumulator {
  readonly #options: AccumulatorOptions
  readonly #random: Random
  readonly #active = new Set<PartitionQueue>()
  readonly #requestsByBroker = new Map<number, number>()
  readonly #builders: BatchBuilder[] = []
  /** Sessions take it when they begin; replaced when one of them is lost. */
  #identity: ProducerIdentity | undefined
  #usedBytes = 0
  #wakeAt = Infinity
  #needsIdentity = false
  #nextOrder = 0
  #fatal: TidemarkError | undefined
  #failure: TidemarkError | undefined
  readonly #staleTopics = new Set<string>()

  constructor(options: AccumulatorOptions, random: Random) {
    this.#options = options
    this.#random = random
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Set when the producer can go on no more. */
  get fatal(): TidemarkError | undefined {
    return this.#fatal
  }

  /** When `plan` has something new to look at, by the monotonic clock; set by `plan`. */
  get wakeAt(): number {
    return this.#wakeAt
  }

  /** Whether a session waits for an identity; set by `plan`. */
  get needsIdentity(): boolean {
    return this.#needsIdentity
  }

  get isEmpty(): boolean {
    return this.#active.size === 0
  }

  /** Topics whose leaders ought to be asked for again. Reading clears it. */
  takeStaleTopics(): string[] {
    const topics = [...this.#staleTopics]
    this.#staleTopics.clear()
    return topics
  }

  /** The first failure that flush is to tell of. Reading clears it. */
  takeFailure(): TidemarkError | undefined {
    const error = this.#failure
    this.#failure = undefined
    return error
  }

  noteFailure(error: TidemarkError): void {
    this.#failure ??= error
  }

  provideIdentity(identity: ProducerIdentity): void {
    this.#identity = identity
  }

  /** Bytes that the record will be charged with, about. */
  static costOf(record: RecordToEncode): number {
    return (record.key?.length ?? 0) + (record.value?.length ?? 0) + RECORD_FRAME_BYTES + RECORD_OVERHEAD_BYTES
  }

  /**
   * Adds a record to the partition's open batch and answers the batch, which is not the open one any more when the record
   * has filled it. @throws MESSAGE_TOO_LARGE, INVALID_ARGUMENT; the record is not taken then.
   */
  append(queue: PartitionQueue, record: RecordToEncode, now: () => number): ProducerBatch {
    const bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0) + RECORD_FRAME_BYTES
    let batch = queue.open
    let builder = batch?.builder
    const limit = this.#batchBytesOf(queue)
    if (builder !== undefined && !builder.wouldFit(record, limit)) {
      this.#close(queue)
      builder = undefined
    }
    if (batch === undefined || builder === undefined) {
      builder = this.#builders.pop() ?? new BatchBuilder({ codec: this.#options.codec })
      builder.append(record)
      batch = new ProducerBatch(queue.topic, queue.partition, now())
      batch.builder = builder
      queue.open = batch
      this.#active.add(queue)
      this.#hold(batch, builder.byteLength + RECORD_OVERHEAD_BYTES)
    } else {
      const before = builder.byteLength
      builder.append(record)
      this.#hold(batch, builder.byteLength - before + RECORD_OVERHEAD_BYTES)
    }
    batch.recordCount += 1
    if (builder.byteLength + bytes > limit) this.#close(queue)
    return batch
  }

  #batchBytesOf({ batchBytesMax }: PartitionQueue): number {
    const { batchBytes, codec } = this.#options
    // What cannot be compressed grows a little, by the frame of the codec and a few bytes a block.
    const fitting = codec === 'none' ? batchBytesMax : batchBytesMax * (63 / 64) - 64
    return Math.min(batchBytes, fitting)
  }

  /** Counts memory for what is not in a batch yet. */
  charge(bytes: number): void {
    this.#usedBytes += bytes
  }

  /** Closes every open batch; calls back when all batches that exist now are settled. */
  flush(onDone: () => void): void {
    let left = 1
    const countDown = (): void => {
      left -= 1
      if (left === 0) onDone()
    }
    for (const queue of this.#active) {
      this.#close(queue)
      for (const list of [queue.inFlight, queue.resend, queue.closed]) {
        left += list.length
        for (const batch of list) batch.onSettled(countDown)
      }
    }
    countDown()
  }

  /**
   * The requests to send now. Every request must be answered by onAnswer or onLost, in the order in which those to one
   * broker were planned, unless the connection broke. `leaderOf` says where a partition's leader is, undefined if nobody
   * knows at the moment.
   */
  plan(now: number, leaderOf: (queue: PartitionQueue) => number | undefined): PlannedRequest[] {
    const requests: PlannedRequest[] = []
    this.#wakeAt = Infinity
    this.#needsIdentity = false
    for (const queue of this.#active) {
      this.#expire(queue, now)
      if (queue.isEmpty) this.#active.delete(queue)
    }
    // A request has one batch of a partition at most, so several rounds fill the window.
    for (let isProgress = true; isProgress;) {
      isProgress = false
      const round = new Map<number, PlannedRequest>()
      for (const queue of [...this.#active]) {
        const broker = leaderOf(queue)
        if (broker === undefined) {
          this.#staleTopics.add(queue.topic)
          continue
        }
        const batch = this.#nextOf(queue, broker, round, now)
        if (batch === undefined) continue
        this.#take(queue, batch, { broker, round, now })
        isProgress = true
      }
      for (const request of round.values()) {
        this.#requestsByBroker.set(request.broker, this.#inFlightAt(request.broker) + 1)
        requests.push(request)
      }
    }
    return requests
  }

  /** The broker answered, one answer a batch. */
  onAnswer(request: PlannedRequest, answers: readonly BatchAnswer[], now: number): void {
    if (isGiven(request)) return
    this.#leaveBroker(request)
    for (const [index, batch] of request.batches.entries()) {
      const queue = request.queues[index]
      const answer = answers[index]
      assert(queue !== undefined && answer !== undefined, 'every batch of a request has its queue and its answer')
      if (batch.outcome !== undefined || request.given.has(batch)) continue
      if (answer.kind === 'appended') this.#onAppended(queue, batch, answer)
      else this.#onRefused(queue, batch, answer.error, now)
      this.#afterAnswer(queue)
    }
  }

  /** The request failed as a whole; whether it arrived is what the error says. */
  onLost(request: PlannedRequest, error: TidemarkError, now: number): void {
    if (isGiven(request)) return
    this.#leaveBroker(request)
    this.#lose(request, () => true, error, now)
  }

  /** The batches of some partitions are not waited for any more: another broker leads them. Answers come too late then. */
  onMoved(
    request: PlannedRequest,
    hasMoved: (queue: PartitionQueue) => boolean,
    error: TidemarkError,
    now: number,
  ): void {
    if (isGiven(request)) return
    this.#lose(request, hasMoved, error, now)
    if (isGiven(request)) this.#leaveBroker(request)
  }

  #lose(request: PlannedRequest, isLost: (queue: PartitionQueue) => boolean, error: TidemarkError, now: number): void {
    for (const [index, batch] of request.batches.entries()) {
      const queue = request.queues[index]
      assert(queue !== undefined, 'every batch of a request has its queue')
      if (request.given.has(batch) || !isLost(queue)) continue
      request.given.add(batch)
      if (batch.outcome !== undefined) continue
      this.#onRefused(queue, batch, error, now)
      this.#afterAnswer(queue)
    }
  }

  /** Topics in which something waits for another leader, or for an answer for too long; undefined: nothing is on its way. */
  stuckTopics(now: number, leaderOf: (queue: PartitionQueue) => number | undefined): string[] | undefined {
    if (this.isEmpty) return undefined
    const topics = new Set<string>()
    for (const queue of this.#active) {
      const oldest = queue.inFlight[0]
      const isSilent = oldest !== undefined && now - oldest.sentAt >= SILENT_MS
      if (isSilent || queue.resend.length > 0 || leaderOf(queue) === undefined) topics.add(queue.topic)
    }
    return [...topics]
  }

  /**
   * What some partitions need before anything can be sent, a leader or an identity, could not be had. Their waiting batches
   * are given up when that has happened more often in a row than `limit`.
   */
  onStranded(isStranded: (queue: PartitionQueue) => boolean, error: TidemarkError, limit: number, now: number): void {
    for (const queue of this.#active) {
      if (!isStranded(queue)) continue
      queue.lastError = error
      queue.strandings += 1
      if (queue.strandings <= limit) continue
      queue.strandings = 0
      for (const batch of waitingOf(queue)) this.#giveUp(queue, batch, this.#givenUp(queue, batch, now))
    }
  }

  /** Nobody waits for the batch any more. It goes no more; if it is on its way, it is not sent again. */
  abandon(batch: ProducerBatch, error: TidemarkError): void {
    for (const queue of this.#active) {
      if (queue.topic !== batch.topic || queue.partition !== batch.partition) continue
      if (waitingOf(queue).includes(batch)) this.#giveUp(queue, batch, error)
    }
  }

  /** Takes a batch that waits out of its queue. */
  #giveUp(queue: PartitionQueue, batch: ProducerBatch, error: TidemarkError): void {
    if (queue.open === batch) queue.open = undefined
    const index = queue.closed.indexOf(batch)
    if (index >= 0) queue.closed.splice(index, 1)
    this.#fail(queue, batch, error)
    if (queue.inFlight.length === 0) this.#afterAnswer(queue)
  }

  /** Gives everything up. What is in flight is settled too: its answers are not heard any more. */
  failAll(error: TidemarkError): void {
    for (const queue of this.#active) {
      for (const batch of [...queue.inFlight, ...queue.resend, ...queue.closed, queue.open]) {
        if (batch !== undefined) this.#release(batch, { kind: 'failed', error })
      }
      queue.inFlight.length = 0
      queue.resend.length = 0
      queue.closed.length = 0
      queue.open = undefined
    }
    this.#active.clear()
    this.#requestsByBroker.clear()
  }

  #inFlightAt(broker: number): number {
    return this.#requestsByBroker.get(broker) ?? 0
  }

  #leaveBroker(request: PlannedRequest): void {
    const left = this.#inFlightAt(request.broker) - 1
    if (left > 0) this.#requestsByBroker.set(request.broker, left)
    else this.#requestsByBroker.delete(request.broker)
  }

  #close(queue: PartitionQueue): void {
    if (queue.open === undefined) return
    queue.closed.push(queue.open)
    queue.open = undefined
  }

  #hold(batch: ProducerBatch, bytes: number): void {
    batch.heldBytes += bytes
    this.#usedBytes += bytes
  }

  /** The batch of this partition that may go in this round, if any. */
  #nextOf(
    queue: PartitionQueue,
    broker: number,
    round: ReadonlyMap<number, PlannedRequest>,
    now: number,
  ): ProducerBatch | undefined {
    if (queue.notBefore > now) return this.#wakeNoLaterThan(queue.notBefore)
    if (queue.inFlight.length >= this.#windowOf(queue)) return undefined
    const batch = queue.resend[0] ?? queue.closed[0] ?? this.#dueOpen(queue, broker, now)
    if (batch === undefined) return undefined
    const request = round.get(broker)
    if (request === undefined) {
      if (this.#inFlightAt(broker) >= this.#options.inFlightMax) return undefined
    } else if (
      request.batches.length >= REQUEST_BATCHES_MAX ||
      request.bytes + (batch.bytes?.length ?? batch.heldBytes) > this.#options.requestBytesMax
    ) {
      return undefined
    }
    if (this.#options.isIdempotent && queue.session.identity === undefined) {
      if (this.#identity === undefined) {
        this.#needsIdentity = true
        return undefined
      }
      queue.session.begin(this.#identity)
      this.#restamp(queue, -1)
    }
    return batch
  }

  /** How many batches of the partition may be in flight. */
  #windowOf(queue: PartitionQueue): number {
    if (queue.inFlight.length > 0) {
      if (queue.hole !== undefined) return 0
      if (this.#options.isIdempotent && queue.session.identity === undefined) return 0
      // After a failure one batch at a time goes, until all that failed have their outcome: what was sent behind one of
      // them comes back first, and none of them may be overtaken by more batches than the broker remembers.
      if (queue.resend.length > 0 || queue.inFlight[0]?.isSentAgain === true) return 0
      // A broker that has not seen the session takes whatever comes first for its beginning: were the first batch refused,
      // the second would be appended in its place, and the first could never follow.
      if (this.#options.isIdempotent && !queue.session.isConfirmed) return 0
    }
    if (this.#options.acks === 0 || this.#options.isIdempotent) return this.#options.inFlightMax
    // Without sequence numbers a retry would be overtaken by what is in flight behind it.
    return 1
  }

  #dueOpen(queue: PartitionQueue, broker: number, now: number): ProducerBatch | undefined {
    const open = queue.open
    if (open === undefined) return undefined
    const dueAt = open.openedAt + this.#options.lingerMs
    const isIdle = this.#inFlightAt(broker) === 0
    if (now >= dueAt || (open.isUrgent && isIdle)) return open
    return this.#wakeNoLaterThan(dueAt)
  }

  #wakeNoLaterThan(at: number): undefined {
    if (at < this.#wakeAt) this.#wakeAt = at
  }

  #take(
    queue: PartitionQueue,
    batch: ProducerBatch,
    to: { readonly broker: number; readonly round: Map<number, PlannedRequest>; readonly now: number },
  ): void {
    const { broker, round, now } = to
    if (queue.resend[0] === batch) queue.resend.shift()
    else if (queue.closed[0] === batch) queue.closed.shift()
    else queue.open = undefined
    if (batch.bytes === undefined) {
      try {
        this.#finish(queue, batch)
      } catch (error) {
        const failure = toTidemarkError(error, 'INVALID_ARGUMENT', where(queue))
        return this.#release(batch, { kind: 'failed', error: failure })
      }
    }
    const bytes = batch.bytes
    assert(bytes !== undefined, 'a batch that is sent is finished')
    batch.sentAt = now
    queue.inFlight.push(batch)
    queue.strandings = 0
    let request = round.get(broker)
    if (request === undefined) {
      request = { broker, batches: [], queues: [], plannedAt: now, given: new Set(), bytes: 0 }
      round.set(broker, request)
    }
    request.batches.push(batch)
    request.queues.push(queue)
    request.bytes += bytes.length
    // Those at the end of the set come first the next time, so that a full request starves nobody.
    this.#active.delete(queue)
    this.#active.add(queue)
  }

  #finish(queue: PartitionQueue, batch: ProducerBatch): void {
    const builder = batch.builder
    assert(builder !== undefined, 'a batch that was not sent yet has its builder')
    batch.order = this.#nextOrder
    this.#nextOrder += 1
    batch.builder = undefined
    try {
      if (this.#options.isIdempotent) {
        const stamp = queue.session.stamp(batch.recordCount)
        batch.baseSequence = stamp.baseSequence
        batch.bytes = builder.finish(stamp)
      } else {
        batch.bytes = builder.finish()
      }
    } catch (error) {
      if (batch.baseSequence >= 0) queue.session.rewind(batch.baseSequence)
      throw error
    } finally {
      builder.reset()
      if (this.#builders.length < BUILDERS_KEPT_MAX) this.#builders.push(builder)
    }
  }

  #settle(queue: PartitionQueue, batch: ProducerBatch, outcome: BatchOutcome): void {
    const at = queue.inFlight.indexOf(batch)
    if (at >= 0) queue.inFlight.splice(at, 1)
    this.#release(batch, outcome)
  }

  #release(batch: ProducerBatch, outcome: BatchOutcome): void {
    this.#usedBytes -= batch.heldBytes
    if (outcome.kind === 'failed' && batch.isReportedByFlush) this.#failure ??= outcome.error
    batch.settle(outcome)
  }

  #onAppended(queue: PartitionQueue, batch: ProducerBatch, outcome: BatchOutcome): void {
    queue.session.confirm()
    // The broker counts from here: numbers before it cannot be given to anybody any more.
    if (queue.hole !== undefined && queue.hole.order < batch.order) queue.hole = undefined
    this.#settle(queue, batch, outcome)
  }

  #onRefused(queue: PartitionQueue, batch: ProducerBatch, error: TidemarkError, now: number): void {
    const { isIdempotent, retry, deliveryTimeoutMs } = this.#options
    if (isMetadataStale(error.code) || isBatchTooLarge(error.code)) this.#staleTopics.add(queue.topic)
    queue.lastError = error
    if (error.code === 'DUPLICATE_SEQUENCE_NUMBER') return this.#onOldSequence(queue, batch, error, now)
    if (error.code === 'INVALID_PRODUCER_EPOCH') {
      this.#fatal = error
      return this.#fail(queue, batch, error)
    }
    if (isSessionError(error.code) && isIdempotent) return this.#onSessionError(queue, batch, error, now)
    const isUnknown = isOutcomeUnknown(error)
    if (isUnknown) batch.mayBeAppended = true
    if (isUnknown && !isIdempotent) {
      const text = `${where(queue)}: the broker may or may not have appended the records: ${error.message}`
      return this.#fail(queue, batch, errorOf('OUTCOME_UNKNOWN', text, { cause: error, ...placeOf(queue) }))
    }
    batch.failures += 1
    const isLate = now >= batch.openedAt + deliveryTimeoutMs || batch.isAbandoned
    if (!error.retriable || batch.failures > retry.retries || isLate) {
      return this.#fail(queue, batch, error.retriable ? this.#givenUp(queue, batch, now) : error)
    }
    this.#sendAgain(queue, batch, now + backoffMs(batch.failures, retry, this.#random))
  }

  /** The broker does not know what comes before this batch. */
  #onSessionError(queue: PartitionQueue, batch: ProducerBatch, error: TidemarkError, now: number): void {
    const oldest = [queue.resend[0], queue.inFlight[0]]
    const isFirst = !oldest.some((other) => other !== undefined && other.order < batch.order)
    // Behind a batch that failed nothing is wrong with this one: it goes again after that.
    if (!isFirst || queue.hole !== undefined || queue.session.identity === undefined) {
      return this.#sendAgain(queue, batch, now)
    }
    if (error.code === 'UNKNOWN_PRODUCER_ID' && batch.mayBeAppended) {
      const text = `${where(queue)}: the broker has forgotten this producer; the records may have been appended before`
      this.#loseSession(queue)
      return this.#fail(queue, batch, errorOf('OUTCOME_UNKNOWN', text, { cause: error, ...placeOf(queue) }))
    }
    batch.sessionRestarts += 1
    if (batch.sessionRestarts > SESSION_RESTARTS_MAX) {
      this.#loseSession(queue)
      return this.#fail(queue, batch, error)
    }
    this.#loseSession(queue)
    this.#sendAgain(queue, batch, now + backoffMs(batch.sessionRestarts, this.#options.retry, this.#random))
  }

  /**
   * The broker takes the batch for one of long ago. It remembers more batches than can be behind one whose answer is
   * missing, so this is never an acknowledgement: the broker has lost count, say because the topic was made anew, and has
   * taken what came behind for the first it sees.
   */
  #onOldSequence(queue: PartitionQueue, batch: ProducerBatch, error: TidemarkError, now: number): void {
    if (!batch.mayBeAppended) return this.#onSessionError(queue, batch, error, now)
    const text = `${where(queue)}: the broker has lost count of this producer; the records may have been appended before`
    this.#loseSession(queue)
    this.#fail(queue, batch, errorOf('OUTCOME_UNKNOWN', text, { cause: error, ...placeOf(queue) }))
  }

  /** The partition gets a new identity. All that was stamped is stamped again; see #nextOf. */
  #loseSession(queue: PartitionQueue): void {
    // Another partition may have fetched a new identity already.
    if (this.#identity === queue.session.identity) this.#identity = undefined
    queue.session.lose()
    queue.hole = undefined
  }

  #sendAgain(queue: PartitionQueue, batch: ProducerBatch, notBefore: number): void {
    const index = queue.inFlight.indexOf(batch)
    if (index >= 0) queue.inFlight.splice(index, 1)
    let place = queue.resend.length
    while (place > 0) {
      const before = queue.resend[place - 1]
      if (before === undefined || before.order < batch.order) break
      place -= 1
    }
    queue.resend.splice(place, 0, batch)
    batch.isSentAgain = true
    queue.notBefore = Math.max(queue.notBefore, notBefore)
  }

  #fail(queue: PartitionQueue, batch: ProducerBatch, error: TidemarkError): void {
    const index = queue.resend.indexOf(batch)
    if (index >= 0) queue.resend.splice(index, 1)
    // Its numbers are free again only if it is certain that it is not in the log. If it is not certain, those behind it
    // keep theirs: should the broker miss it, it says so, and the session begins anew.
    if (batch.baseSequence >= 0 && !batch.mayBeAppended && (queue.hole?.order ?? Infinity) > batch.order) {
      queue.hole = batch
    }
    this.#settle(queue, batch, { kind: 'failed', error })
  }

  /** When nothing of the partition is in flight any more, the numbers close up over what failed. */
  #afterAnswer(queue: PartitionQueue): void {
    if (queue.inFlight.length === 0) {
      if (queue.hole !== undefined && queue.session.identity !== undefined) {
        queue.session.rewind(queue.hole.baseSequence)
        this.#restamp(queue, queue.hole.order)
      }
      queue.hole = undefined
    }
    if (queue.isEmpty) this.#active.delete(queue)
  }

  /** Numbers anew what is sent again and was first sent after that place. What is before it may be in the log. */
  #restamp(queue: PartitionQueue, afterOrder: number): void {
    for (const batch of queue.resend) {
      if (batch.order <= afterOrder) continue
      const bytes = batch.bytes
      assert(bytes !== undefined, 'a batch that is sent again is finished')
      const stamp = queue.session.stamp(batch.recordCount)
      batch.baseSequence = stamp.baseSequence
      // A copy: the old bytes may still be on their way to a broker that hangs.
      batch.bytes = Uint8Array.from(bytes)
      restamp(batch.bytes, stamp)
    }
  }

  #expire(queue: PartitionQueue, now: number): void {
    const deadline = this.#options.deliveryTimeoutMs
    for (const list of [queue.resend, queue.closed]) {
      while (list[0] !== undefined && now >= list[0].openedAt + deadline) {
        const batch = list[0]
        list.shift()
        this.#fail(queue, batch, this.#givenUp(queue, batch, now))
      }
      if (list[0] !== undefined) this.#wakeNoLaterThan(list[0].openedAt + deadline)
    }
    const open = queue.open
    if (open !== undefined && now >= open.openedAt + deadline) {
      queue.open = undefined
      this.#fail(queue, open, this.#givenUp(queue, open, now))
    } else if (open !== undefined) {
      this.#wakeNoLaterThan(open.openedAt + deadline)
    }
    if (queue.inFlight.length === 0) this.#afterAnswer(queue)
  }

  #givenUp(queue: PartitionQueue, batch: ProducerBatch, now: number): TidemarkError {
    const cause = queue.lastError
    const attempts = batch.failures === 0 ? 'never sent' : `${batch.failures} attempts failed`
    const fate = batch.mayBeAppended ? 'the records may have been appended' : 'the records were not appended'
    const reason = cause === undefined ? '' : `; the last error was: ${cause.message}`
    const text = `${where(queue)}: ${attempts}, ${fate}${reason}`
    const isLate = now >= batch.openedAt + this.#options.deliveryTimeoutMs
    const code = isLate || cause === undefined ? 'TIMEOUT' : cause.code
    return errorOf(batch.mayBeAppended ? 'TIMEOUT' : code, text, { cause, ...placeOf(queue) })
  }
}

/** Whether none of its batches is waited for any more. */
export function isGiven({ batches, given }: PlannedRequest): boolean {
  return given.size > 0 && given.size === batches.length
}

function isSessionError(code: ErrorCode): boolean {
  return code === 'OUT_OF_ORDER_SEQUENCE_NUMBER' || code === 'UNKNOWN_PRODUCER_ID'
}

/** Whether the topic takes smaller batches than was known. */
function isBatchTooLarge(code: ErrorCode): boolean {
  return code === 'MESSAGE_TOO_LARGE' || code === 'RECORD_LIST_TOO_LARGE'
}
