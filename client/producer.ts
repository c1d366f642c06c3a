// The producer: takes records, finds their partitions, sends what the accumulator plans and tells it the answers. Owns the
// pump that turns time and answers into requests. Holds no rule of batching, order or retry. Invariant: requests to one
// broker are written in the order in which they were planned.

import { prepareCodec } from '../shared/compression/codec.ts'
import type { TidemarkError } from '../shared/errors.ts'
import type { Timer } from '../shared/time.ts'
import type { Cluster } from './cluster.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import { LeaderWatch } from './leader-watch.ts'
import { checkOptions, topicName, WAIT_RULES } from './options.ts'
import type { Partitioner } from './partitioner.ts'
import type { PartitionQueue } from './partition-queue.ts'
import { ProduceLanes } from './produce-lanes.ts'
import type { ProducerBatch, RecordMetadata } from './producer-batch.ts'
import { type ProducerOptions, type ProducerSettings, readProducerOptions } from './producer-options.ts'
import {
  copyRecord,
  type PreparedRecord,
  prepareRecord,
  type ProducerRecord,
  type Serializers,
} from './producer-record.ts'
import { ProducerSink } from './producer-sink.ts'
import { ProducerTopic } from './producer-topic.ts'
import { type BatchAnswer, type PlannedRequest, RecordAccumulator } from './record-accumulator.ts'
import { backoffMs } from './retry.ts'
import { inScope, type Scope, type WaitOptions } from './scope.ts'

export interface SendRequest<K, V> {
  readonly topic: string
  readonly messages: readonly ProducerRecord<K, V>[]
}

/** The batches that the records of one send with a deadline or a signal are in, one entry a record. */
type Handed = ProducerBatch[]

/** Asks for a topic until its partitions are known. */
interface Search {
  readonly done: Promise<void>
  readonly stop: AbortController
}

/** A record whose topic's partitions are not known yet. */
interface Unplaced {
  readonly record: PreparedRecord
  readonly isAwaited: boolean
  readonly cost: number
  /** The send that it belongs to, if that may end before its outcome. */
  readonly handed: Handed | undefined
  resolve(metadata: Promise<RecordMetadata>): void
  reject(error: TidemarkError): void
}

const SEND_RULES = { topic: topicName, messages: (value: unknown) => (Array.isArray(value) ? undefined : 'an array') }

export class Producer<K = unknown, V = unknown> {
  readonly #cluster: Cluster
  readonly #settings: ProducerSettings
  readonly #serializers: Serializers<K, V>
  readonly #partitioner: Partitioner | undefined
  readonly #accumulator: RecordAccumulator
  readonly #topics = new Map<string, ProducerTopic>()
  readonly #unplaced = new Map<string, Unplaced[]>()
  /** One search for a topic at a time. */
  readonly #searches = new Map<string, Search>()
  readonly #lanes: ProduceLanes
  readonly #watch: LeaderWatch
  readonly #unlisten: () => void
  readonly #roomWaiters: (() => void)[] = []
  /** Sends that wait for room, and the promise that the last of them has had its turn. */
  #waitingSends = 0
  #lastSend: Promise<void> = Promise.resolve()
  readonly #codecReady: Promise<void>
  readonly #stopping = new AbortController()
  readonly #now: () => number
  #isPumpScheduled = false
  #timer: Timer | undefined
  #timerAt = Infinity
  #isFetchingIdentity = false
  #isRefreshing = false
  #failuresOfHelp = 0
  /** Of the pause after the last such failure; by the monotonic clock. */
  #pauseEndsAt = 0
  /** Of the last request, if it was lost or could not be sent; for messages. */
  #lastFailure: TidemarkError | undefined
  #closed: Promise<void> | undefined
  #isOver = false
  readonly #onClosed: () => void

  /** Made by client.producer(). */
  constructor(cluster: Cluster, options: ProducerOptions<K, V>, onClosed: () => void) {
    this.#cluster = cluster
    const { settings, serializers, partitioner } = readProducerOptions(options, cluster.settings)
    this.#settings = settings
    this.#serializers = serializers
    this.#partitioner = partitioner
    this.#onClosed = onClosed
    this.#now = () => cluster.environment.clock.monotonic()
    this.#accumulator = new RecordAccumulator(settings.accumulator, cluster.environment.random)
    const { signal } = this.#stopping
    this.#lanes = new ProduceLanes(
      cluster,
      { acks: settings.accumulator.acks, deliveryTimeoutMs: settings.accumulator.deliveryTimeoutMs, signal },
      {
        onAnswer: (request, answers) => this.#onAnswer(request, answers),
        onLost: (request, error) => this.#onLost(request, error),
        onMoved: (request, hasMoved, error) => {
          this.#cluster.logger.debug({ broker: request.broker, reason: error.message }, 'a broker is not waited for')
          this.#accumulator.onMoved(request, hasMoved, error, this.#now())
        },
        onBroken: () => this.#refresh([...this.#topics.keys()]),
      },
    )
    this.#watch = new LeaderWatch(cluster, () =>
      this.#accumulator.stuckTopics(this.#now(), (queue) => this.#leaderOf(queue)),
    )
    this.#unlisten = cluster.metadata.onLearned(() => this.#onLearned())
    this.#codecReady = prepareCodec(settings.accumulator.codec)
    this.#codecReady.catch(() => undefined)
  }

  /** Bytes that are held: of records that are not acknowledged yet. */
  get bufferedBytes(): number {
    return this.#accumulator.usedBytes
  }

  /**
   * Sends records and resolves when all are acknowledged as `acks` asks, with where each of them stands, in their order.
   * Waits when the producer holds as much as it may. A send that is awaited does not pay the linger while nothing else is
   * on its way. @throws TidemarkError of the first record that failed. TIMEOUT and ABORTED take back what is not on its way
   * yet and shares no batch with records of others, and leave open what becomes of the rest.
   */
  async send(request: SendRequest<K, V>, options: WaitOptions = {}): Promise<RecordMetadata[]> {
    checkOptions('send', request, SEND_RULES)
    checkOptions('send', options, WAIT_RULES)
    this.#checkAlive()
    const { topic, messages } = request
    const now = this.#cluster.environment.clock.now()
    const records = messages.map((message) => this.#prepare(topic, message, now))
    const isPlainWait = options.signal === undefined && options.timeoutMs === undefined
    const hasRoom = this.#waitingSends === 0 && this.#hasRoomFor(records)
    if (isPlainWait && hasRoom) return this.#sendAll(topic, records)
    const { closing, environment } = this.#cluster
    return inScope(environment, { ...options, closing, what: `send to ${topic}` }, async (scope) => {
      const promises: Promise<RecordMetadata>[] = []
      const handed: Handed = []
      try {
        const add = (record: PreparedRecord): void => void promises.push(this.#add(topic, record, true, handed))
        if (hasRoom) for (const record of records) add(record)
        else await this.#addInTurn(records, scope, add)
        return await scope.race(Promise.all(promises))
      } catch (thrown) {
        if (!scope.isOver) throw thrown
        const error = this.#explain(toTidemarkError(thrown, 'TIMEOUT', 'send'), '')
        this.#takeBack(topic, handed, error)
        throw error
      }
    })
  }

  /**
   * Adds one record to its batch and returns at once; the promise is of its acknowledgement. Nobody needs to look at it:
   * flush and close tell of records that failed. Rejects with BUFFER_FULL when the producer holds as much as it may:
   * `await producer.ready()` before adding more.
   */
  enqueue(topic: string, record: ProducerRecord<K, V>): Promise<RecordMetadata> {
    try {
      if (this.#isOver || this.#accumulator.fatal !== undefined) this.#checkAlive()
      const prepared = this.#prepare(topic, record, this.#cluster.environment.clock.now())
      const used = this.#accumulator.usedBytes
      const isFull = used + RecordAccumulator.costOf(prepared) > this.#settings.bufferBytes
      if (isFull || this.#waitingSends > 0) throw this.#full(prepared)
      return this.#add(topic, prepared, false)
    } catch (error) {
      return Promise.reject(toTidemarkError(error, 'INVALID_ARGUMENT', 'enqueue'))
    }
  }

  /** Resolves when there is room for more; at once while less than half the buffer is in use. */
  async ready(options: WaitOptions = {}): Promise<void> {
    if (this.#isOver || this.#accumulator.fatal !== undefined) this.#checkAlive()
    if (this.#isRoomy()) return
    const { closing, environment } = this.#cluster
    await inScope(environment, { ...options, closing, what: 'ready' }, async (scope) => {
      while (!this.#isRoomy()) await this.#waitForRoom(scope)
    })
    this.#checkAlive()
  }

  /**
   * Sends what lingers and resolves when every record added before has its outcome. @throws the first failure of an
   * enqueued record since the last flush; TIMEOUT, ABORTED.
   */
  async flush(options: WaitOptions = {}): Promise<void> {
    checkOptions('flush', options, WAIT_RULES)
    const { closing, environment } = this.#cluster
    await inScope(environment, { ...options, closing, what: 'flush' }, (scope) => this.#drain(scope))
    const failure = this.#accumulator.takeFailure()
    if (failure !== undefined) throw failure
  }

  /** A stream whose every chunk becomes a record of the topic: text and bytes are values, objects are whole records. */
  writable(topic: string): ProducerSink<K, V> {
    this.#checkAlive()
    const text = topicName(topic)
    if (text !== undefined) throw errorOf('INVALID_ARGUMENT', `writable: expects ${text}`)
    return new ProducerSink<K, V>({
      enqueue: (record) => {
        const prepared = this.#prepare(topic, record, this.#cluster.environment.clock.now())
        if (RecordAccumulator.costOf(prepared) > this.#settings.bufferBytes) throw this.#full(prepared)
        return this.#add(topic, prepared, false)
      },
      ready: (signal) => this.ready({ signal }),
      isReady: () => this.#accumulator.usedBytes <= this.#settings.bufferBytes / 2,
      drain: (signal) =>
        inScope(this.#cluster.environment, { signal, closing: this.#cluster.closing, what: 'end' }, (scope) =>
          this.#drain(scope),
        ),
    })
  }

  /** Flushes, for at most timeoutMs (milliseconds; default 30,000), and gives up what is left. Idempotent. @throws as flush. */
  close(options: WaitOptions = {}): Promise<void> {
    this.#closed ??= this.#close(options)
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: WaitOptions): Promise<void> {
    try {
      await this.flush({ ...options, timeoutMs: options.timeoutMs ?? 30_000 })
    } finally {
      this.#isOver = true
      const error = errorOf('CLIENT_CLOSED', 'the producer was closed before the records were acknowledged')
      this.#giveUp(error)
      this.#stopping.abort(error)
      for (const { stop } of this.#searches.values()) stop.abort(error)
      this.#timer?.cancel()
      this.#watch.stop()
      this.#unlisten()
      this.#wakeRoomWaiters()
      this.#onClosed()
    }
  }

  #giveUp(error: TidemarkError): void {
    this.#accumulator.failAll(error)
    for (const [topic] of this.#unplaced) this.#failUnplaced(topic, error)
    this.#wakeRoomWaiters()
  }

  #prepare(topic: string, record: ProducerRecord<K, V>, now: number): PreparedRecord {
    if (typeof topic !== 'string' || topic === '') {
      throw errorOf('INVALID_ARGUMENT', 'the topic must be text that is not empty')
    }
    return prepareRecord(topic, record, this.#serializers, now)
  }

  #isRoomy(): boolean {
    return this.#waitingSends === 0 && this.#accumulator.usedBytes <= this.#settings.bufferBytes / 2
  }

  #hasRoomFor(records: readonly PreparedRecord[]): boolean {
    let bytes = this.#accumulator.usedBytes
    for (const record of records) bytes += RecordAccumulator.costOf(record)
    return bytes <= this.#settings.bufferBytes
  }

  /** Adds records as there is room for them, after every send that waits already: nobody overtakes who waits. */
  async #addInTurn(
    records: readonly PreparedRecord[],
    scope: Scope,
    add: (record: PreparedRecord) => void,
  ): Promise<void> {
    const before = this.#lastSend
    const turn: { end: () => void } = { end: () => undefined }
    this.#lastSend = new Promise((resolve) => {
      turn.end = resolve
    })
    this.#waitingSends += 1
    try {
      await scope.race(before)
      for (const record of records) {
        await this.#room(record, scope)
        add(record)
      }
    } finally {
      this.#waitingSends -= 1
      if (this.#waitingSends === 0) this.#wakeRoomWaiters()
      // Whoever gives up leaves its place, but not that of those before it.
      before.then(turn.end, turn.end)
    }
  }

  async #room(record: PreparedRecord, scope: Scope): Promise<void> {
    const cost = RecordAccumulator.costOf(record)
    if (cost > this.#settings.bufferBytes) throw this.#full(record)
    while (this.#accumulator.usedBytes + cost > this.#settings.bufferBytes) await this.#waitForRoom(scope)
    scope.check()
    this.#checkAlive()
  }

  #waitForRoom(scope: Scope): Promise<void> {
    return scope.race(new Promise<void>((resolve) => this.#roomWaiters.push(resolve)))
  }

  #wakeRoomWaiters(): void {
    for (const wake of this.#roomWaiters.splice(0)) wake()
  }

  async #sendAll(topic: string, records: readonly PreparedRecord[]): Promise<RecordMetadata[]> {
    const [first] = records
    if (records.length === 1 && first !== undefined) return [await this.#add(topic, first, true)]
    return Promise.all(records.map((record) => this.#add(topic, record, true)))
  }

  /** isAwaited: by a caller that is told of a failure. */
  #add(topic: string, record: PreparedRecord, isAwaited: boolean, handed?: Handed): Promise<RecordMetadata> {
    const state = this.#topics.get(topic)
    return state === undefined
      ? this.#wait(topic, record, isAwaited, handed)
      : this.#place(state, record, isAwaited, handed)
  }

  #place(
    state: ProducerTopic,
    record: PreparedRecord,
    isAwaited: boolean,
    handed: Handed | undefined,
  ): Promise<RecordMetadata> {
    const queue = state.queueOf(record, this.#partitioner)
    const batch = this.#accumulator.append(queue, record, this.#now)
    handed?.push(batch)
    const promise = batch.promiseOf(record.timestamp)
    if (isAwaited) batch.isUrgent = true
    else batch.isReportedByFlush = true
    if (!this.#settings.isLingerGiven) batch.isUrgent = true
    // Full batches go from within a long loop of enqueues, too: the system takes them without the event loop's help.
    if (queue.open === batch) this.#schedulePump()
    else this.#pump()
    return promise
  }

  #wait(
    topic: string,
    record: PreparedRecord,
    isAwaited: boolean,
    handed: Handed | undefined,
  ): Promise<RecordMetadata> {
    const cost = RecordAccumulator.costOf(record)
    this.#accumulator.charge(cost)
    const list = this.#unplaced.get(topic) ?? []
    this.#unplaced.set(topic, list)
    const promise = new Promise<RecordMetadata>((resolve, reject) => {
      list.push({ record: copyRecord(record), isAwaited, cost, handed, resolve, reject })
    })
    promise.catch(() => undefined)
    this.#search(topic)
    return promise
  }

  #search(topic: string): void {
    if (this.#searches.has(topic)) return
    const stop = new AbortController()
    // One that was stopped finds nothing any more; another may have begun since.
    const isCurrent = (): boolean => this.#searches.get(topic)?.stop === stop
    const run = async (): Promise<void> => {
      try {
        await this.#codecReady
        const metadata = await this.#cluster.call(
          `topic ${topic}`,
          { signal: stop.signal, timeoutMs: this.#settings.accumulator.deliveryTimeoutMs },
          (scope) => this.#cluster.topic(topic, scope, { createMissing: true }),
        )
        if (!isCurrent()) return
        const state = new ProducerTopic(this.#cluster, metadata)
        this.#topics.set(topic, state)
        this.#placeAll(state)
      } catch (error) {
        if (isCurrent()) this.#failUnplaced(topic, toTidemarkError(error, 'CONNECTION_FAILED', `topic ${topic}`))
      } finally {
        if (isCurrent()) this.#searches.delete(topic)
      }
    }
    this.#searches.set(topic, { done: run(), stop })
  }

  #placeAll(state: ProducerTopic): void {
    const list = this.#unplaced.get(state.name) ?? []
    this.#unplaced.delete(state.name)
    for (const unplaced of list) {
      this.#accumulator.charge(-unplaced.cost)
      try {
        unplaced.resolve(this.#place(state, unplaced.record, unplaced.isAwaited, unplaced.handed))
      } catch (error) {
        this.#fail(unplaced, toTidemarkError(error, 'INVALID_ARGUMENT', 'send'))
      }
    }
  }

  #failUnplaced(topic: string, error: TidemarkError): void {
    const list = this.#unplaced.get(topic) ?? []
    this.#unplaced.delete(topic)
    for (const unplaced of list) {
      this.#accumulator.charge(-unplaced.cost)
      this.#fail(unplaced, error)
    }
    this.#wakeRoomWaiters()
  }

  /** The caller of a send has been told that it failed: what it handed over holds no memory and keeps nobody waiting. */
  #takeBack(topic: string, handed: Handed, error: TidemarkError): void {
    const list = this.#unplaced.get(topic) ?? []
    const kept = list.filter((unplaced) => unplaced.handed !== handed)
    for (const unplaced of list) {
      if (unplaced.handed !== handed) continue
      this.#accumulator.charge(-unplaced.cost)
      unplaced.reject(error)
    }
    if (kept.length > 0) {
      this.#unplaced.set(topic, kept)
    } else if (list.length > 0) {
      this.#unplaced.delete(topic)
      this.#searches.get(topic)?.stop.abort(error)
      this.#searches.delete(topic)
    }
    for (const batch of handed) {
      if (batch.outcome !== undefined) continue
      batch.abandonRecord()
      if (batch.isAbandoned) this.#accumulator.abandon(batch, error)
    }
    this.#wakeRoomWaiters()
  }

  #fail(unplaced: Unplaced, error: TidemarkError): void {
    if (!unplaced.isAwaited) this.#accumulator.noteFailure(error)
    unplaced.reject(error)
  }

  async #drain(scope: Scope): Promise<void> {
    try {
      while (this.#searches.size > 0)
        await scope.race(Promise.all([...this.#searches.values()].map(({ done }) => done)))
      await scope.race(
        new Promise<void>((resolve) => {
          this.#accumulator.flush(resolve)
          this.#pump()
        }),
      )
    } catch (thrown) {
      throw this.#explain(toTidemarkError(thrown, 'TIMEOUT', 'flush'), `; ${this.bufferedBytes} bytes are held`)
    }
  }

  /** A deadline alone does not say what is wrong. */
  #explain(error: TidemarkError, more: string): TidemarkError {
    const cause = this.#lastFailure ?? this.#cluster.lastFailure
    if (error.code !== 'TIMEOUT' || error.cause !== undefined || cause === undefined) return error
    return errorOf('TIMEOUT', `${error.message}${more}; the last error was: ${cause.message}`, { cause })
  }

  #schedulePump(): void {
    if (this.#isPumpScheduled) return
    this.#isPumpScheduled = true
    this.#cluster.environment.timers.atEndOfTurn(() => {
      this.#isPumpScheduled = false
      this.#pump()
    })
  }

  /** Sends what is to be sent now and sees to it that somebody comes back when there is more. */
  #pump(): void {
    if (this.#isOver) return
    const accumulator = this.#accumulator
    const { metadata } = this.#cluster
    if (accumulator.fatal !== undefined) return this.#giveUp(accumulator.fatal)
    const requests = accumulator.plan(this.#now(), (queue) => this.#leaderOf(queue))
    for (const request of requests) this.#lanes.send(request)
    if (accumulator.needsIdentity) this.#fetchIdentity()
    const stale = accumulator.takeStaleTopics()
    for (const topic of this.#topics.keys()) {
      if (!accumulator.isEmpty && metadata.isStale(topic) && !stale.includes(topic)) stale.push(topic)
    }
    if (stale.length > 0) {
      this.#refresh(stale)
      this.#watch.hurry()
    }
    if (!accumulator.isEmpty) this.#watch.watch()
    if (accumulator.usedBytes <= this.#settings.bufferBytes / 2) this.#wakeRoomWaiters()
    this.#setTimer(accumulator.wakeAt)
  }

  #setTimer(at: number): void {
    if (at >= this.#timerAt && this.#timer !== undefined) return
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerAt = Infinity
    if (at === Infinity) return
    this.#timerAt = at
    this.#timer = this.#cluster.environment.timers.after(Math.max(0, Math.ceil(at - this.#now())), () => {
      this.#timer = undefined
      this.#timerAt = Infinity
      this.#pump()
    })
  }

  #leaderOf(queue: PartitionQueue): number | undefined {
    return this.#cluster.metadata.leaderOf(queue.topic, queue.partition)?.leader
  }

  #onAnswer(request: PlannedRequest, answers: readonly BatchAnswer[]): void {
    this.#failuresOfHelp = 0
    this.#lastFailure = undefined
    this.#accumulator.onAnswer(request, answers, this.#now())
    this.#pump()
  }

  #onLost(request: PlannedRequest, error: TidemarkError): void {
    this.#cluster.logger.debug({ broker: request.broker, reason: error.message }, 'a produce request was lost')
    this.#lastFailure = error
    this.#accumulator.onLost(request, error, this.#now())
    this.#pump()
  }

  #fetchIdentity(): void {
    if (this.#isFetchingIdentity) return
    this.#isFetchingIdentity = true
    const wait = { signal: this.#stopping.signal, timeoutMs: this.#settings.accumulator.deliveryTimeoutMs }
    this.#cluster
      .call('initProducerId', wait, (scope) => this.#cluster.ask('initProducerId', {}, scope, { isRepeatable: true }))
      .then(
        (identity) => {
          this.#isFetchingIdentity = false
          this.#accumulator.provideIdentity(identity)
          this.#pump()
        },
        (error: unknown) => {
          this.#isFetchingIdentity = false
          const failure = toTidemarkError(error, 'CONNECTION_FAILED', 'initProducerId')
          if (!failure.retriable) return this.#giveUp(failure)
          // It has been tried again already.
          const limit = this.#cluster.settings.areRetriesGiven ? 0 : Infinity
          this.#pumpAfterPause(failure, (queue) => queue.session.identity === undefined, limit)
        },
      )
  }

  #refresh(topics: readonly string[]): void {
    if (this.#isRefreshing || this.#isOver) return
    this.#isRefreshing = true
    this.#cluster.metadata.refresh(topics, false).then(
      () => {
        this.#isRefreshing = false
        const isHelped = topics.every((topic) => this.#cluster.metadata.topic(topic) !== undefined)
        if (isHelped && !this.#hasLeaderless(topics)) this.#pump()
        else this.#pumpWithoutLeader(this.#refusalOf(topics))
      },
      (error: unknown) => {
        this.#isRefreshing = false
        this.#pumpWithoutLeader(toTidemarkError(error, 'CONNECTION_FAILED', 'metadata'))
      },
    )
  }

  /** What waits for another leader goes as soon as there is one. */
  #onLearned(): void {
    let isNewer = false
    for (const state of this.#topics.values()) isNewer = state.update() || isNewer
    const isAnyGiven = this.#lanes.giveUpMoved((queue) => this.#leaderOf(queue))
    if (isNewer || isAnyGiven) this.#schedulePump()
  }

  #hasLeaderless(topics: readonly string[]): boolean {
    const { metadata } = this.#cluster
    return topics.some((topic) => metadata.topic(topic)?.partitions.some(({ leader }) => leader === undefined) === true)
  }

  #refusalOf(topics: readonly string[]): TidemarkError {
    for (const topic of topics) {
      const refusal = this.#cluster.metadata.refusalOf(topic)
      if (refusal !== undefined) return refusal
    }
    return errorOf('LEADER_NOT_AVAILABLE', `${topics.join(', ')}: a partition has no leader`)
  }

  #pumpWithoutLeader(error: TidemarkError): void {
    const limit = this.#settings.accumulator.retry.retries
    this.#pumpAfterPause(error, (queue) => this.#leaderOf(queue) === undefined, limit)
  }

  /** What the pump needs for some partitions could not be had; it tries again, at growing intervals, as often as it may. */
  #pumpAfterPause(error: TidemarkError, isStranded: (queue: PartitionQueue) => boolean, limit: number): void {
    if (this.#isOver || this.#accumulator.isEmpty) return
    const now = this.#now()
    // New records ask at once; only what was asked for after the pause counts as a retry.
    if (now >= this.#pauseEndsAt) {
      this.#failuresOfHelp += 1
      const { environment, settings } = this.#cluster
      this.#pauseEndsAt = now + backoffMs(this.#failuresOfHelp, settings.retry, environment.random)
      this.#lastFailure = error
      this.#accumulator.onStranded(isStranded, error, limit, now)
      this.#wakeRoomWaiters()
    }
    this.#setTimer(this.#pauseEndsAt)
  }

  #checkAlive(): void {
    if (this.#accumulator.fatal !== undefined) throw this.#accumulator.fatal
    if (this.#isOver || this.#closed !== undefined || this.#cluster.closing.aborted) {
      throw errorOf('CLIENT_CLOSED', 'the producer has been closed')
    }
  }

  #full(record: PreparedRecord): TidemarkError {
    const cost = RecordAccumulator.costOf(record)
    const { bufferBytes } = this.#settings
    if (cost > bufferBytes) {
      return errorOf('MESSAGE_TOO_LARGE', `a record of ${cost} bytes; the producer holds at most ${bufferBytes}`)
    }
    return errorOf('BUFFER_FULL', `the producer holds ${this.bufferedBytes} bytes of ${bufferBytes}; await ready()`)
  }
}
