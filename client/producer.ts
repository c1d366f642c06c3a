// The producer: takes records, finds their partitions, sends what the accumulator plans and tells it the answers. Owns the
// pump that turns time and answers into requests. Holds no rule of batching, order or retry. Invariant: requests to one
// broker are written in the order in which they were planned.

import { prepareCodec } from '../shared/compression/codec.ts'
import type { TidemarkError } from '../shared/errors.ts'
import { partitionForKey } from '../shared/murmur2.ts'
import type { RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import type { Timer } from '../shared/time.ts'
import type { Cluster } from './cluster.ts'
import type { Connection } from './connection.ts'
import { errorFromWire, errorOf, toTidemarkError } from './errors.ts'
import { checkOptions, topicName, WAIT_RULES } from './options.ts'
import { nextStickyPartition, type Partitioner } from './partitioner.ts'
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
import { type BatchAnswer, PartitionQueue, type PlannedRequest, RecordAccumulator } from './record-accumulator.ts'
import { backoffMs } from './retry.ts'
import { inScope, type Scope, type WaitOptions } from './scope.ts'

export interface SendRequest<K, V> {
  readonly topic: string
  readonly messages: readonly ProducerRecord<K, V>[]
}

interface TopicState {
  readonly name: string
  readonly queues: PartitionQueue[]
  /** Version of the metadata that the queues were made from. */
  version: number
  /** Where records without a key go, until its batch is closed. */
  sticky: number
}

/** A record whose topic's partitions are not known yet. */
interface Unplaced {
  readonly record: PreparedRecord
  readonly isAwaited: boolean
  readonly cost: number
  resolve(metadata: Promise<RecordMetadata>): void
  reject(error: TidemarkError): void
}

/** The way to one broker. While a connection is made, requests wait here in their order. */
interface Lane {
  isConnecting: boolean
  readonly waiting: PlannedRequest[]
}

const SEND_RULES = { topic: topicName, messages: (value: unknown) => (Array.isArray(value) ? undefined : 'an array') }

export class Producer<K = unknown, V = unknown> {
  readonly #cluster: Cluster
  readonly #settings: ProducerSettings
  readonly #serializers: Serializers<K, V>
  readonly #partitioner: Partitioner | undefined
  readonly #accumulator: RecordAccumulator
  readonly #topics = new Map<string, TopicState>()
  readonly #unplaced = new Map<string, Unplaced[]>()
  /** One search for a topic at a time. */
  readonly #searches = new Map<string, Promise<void>>()
  readonly #lanes = new Map<number, Lane>()
  readonly #roomWaiters: (() => void)[] = []
  readonly #codecReady: Promise<void>
  readonly #stopping = new AbortController()
  readonly #now: () => number
  #isPumpScheduled = false
  #timer: Timer | undefined
  #timerAt = Infinity
  #isFetchingIdentity = false
  #isRefreshing = false
  #failuresOfHelp = 0
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
   * on its way. @throws TidemarkError of the first record that failed; ABORTED leaves open what becomes of the records.
   */
  async send(request: SendRequest<K, V>, options: WaitOptions = {}): Promise<RecordMetadata[]> {
    checkOptions('send', request, SEND_RULES)
    checkOptions('send', options, WAIT_RULES)
    this.#checkAlive()
    const { topic, messages } = request
    const now = this.#cluster.environment.clock.now()
    const records = messages.map((message) => this.#prepare(topic, message, now))
    const isPlainWait = options.signal === undefined && options.timeoutMs === undefined
    if (isPlainWait && this.#hasRoomFor(records)) return this.#sendAll(topic, records)
    const { closing, environment } = this.#cluster
    return inScope(environment, { ...options, closing, what: `send to ${topic}` }, async (scope) => {
      const promises: Promise<RecordMetadata>[] = []
      for (const record of records) {
        await this.#room(record, scope)
        promises.push(this.#add(topic, record, true))
      }
      return scope.race(Promise.all(promises))
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
      if (used + RecordAccumulator.costOf(prepared) > this.#settings.bufferBytes) throw this.#full(prepared)
      return this.#add(topic, prepared, false)
    } catch (error) {
      return Promise.reject(toTidemarkError(error, 'INVALID_ARGUMENT', 'enqueue'))
    }
  }

  /** Resolves when there is room for more; at once while less than half the buffer is in use. */
  async ready(options: WaitOptions = {}): Promise<void> {
    if (this.#isOver || this.#accumulator.fatal !== undefined) this.#checkAlive()
    if (this.#accumulator.usedBytes <= this.#settings.bufferBytes / 2) return
    const { closing, environment } = this.#cluster
    await inScope(environment, { ...options, closing, what: 'ready' }, async (scope) => {
      while (this.#accumulator.usedBytes > this.#settings.bufferBytes / 2) await this.#waitForRoom(scope)
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
      this.#timer?.cancel()
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

  #hasRoomFor(records: readonly PreparedRecord[]): boolean {
    let bytes = this.#accumulator.usedBytes
    for (const record of records) bytes += RecordAccumulator.costOf(record)
    return bytes <= this.#settings.bufferBytes
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
  #add(topic: string, record: PreparedRecord, isAwaited: boolean): Promise<RecordMetadata> {
    const state = this.#topics.get(topic)
    return state === undefined ? this.#wait(topic, record, isAwaited) : this.#place(state, record, isAwaited)
  }

  #place(state: TopicState, record: PreparedRecord, isAwaited: boolean): Promise<RecordMetadata> {
    const partition = this.#partitionOf(state, record)
    const queue = state.queues[partition]
    if (queue === undefined) throw this.#noPartition(state, partition)
    const batch = this.#accumulator.append(queue, record, this.#now)
    const promise = batch.promiseOf(record.timestamp)
    if (isAwaited) batch.isUrgent = true
    else batch.isReportedByFlush = true
    if (!this.#settings.isLingerGiven) batch.isUrgent = true
    // Full batches go from within a long loop of enqueues, too: the system takes them without the event loop's help.
    if (queue.open === batch) this.#schedulePump()
    else this.#pump()
    return promise
  }

  #partitionOf(state: TopicState, record: PreparedRecord): number {
    if (record.partition !== undefined) return record.partition
    const { key, value } = record
    const partitionCount = state.queues.length
    if (this.#partitioner !== undefined) {
      const chosen = this.#partitioner({ topic: state.name, key, value, partitionCount })
      if (chosen !== undefined) return chosen
    }
    if (key !== null) return partitionForKey(key, partitionCount)
    if (state.queues[state.sticky]?.open === undefined) this.#moveSticky(state)
    return state.sticky
  }

  /** To another partition, if possible one that has a leader. */
  #moveSticky(state: TopicState): void {
    const { metadata, environment } = this.#cluster
    for (let tries = 0; tries < 3; tries += 1) {
      state.sticky = nextStickyPartition(state.sticky, state.queues.length, environment.random)
      if (metadata.leaderOf(state.name, state.sticky)?.leader !== undefined) return
    }
  }

  #wait(topic: string, record: PreparedRecord, isAwaited: boolean): Promise<RecordMetadata> {
    const cost = RecordAccumulator.costOf(record)
    this.#accumulator.charge(cost)
    const list = this.#unplaced.get(topic) ?? []
    this.#unplaced.set(topic, list)
    const promise = new Promise<RecordMetadata>((resolve, reject) => {
      list.push({ record: copyRecord(record), isAwaited, cost, resolve, reject })
    })
    promise.catch(() => undefined)
    this.#search(topic)
    return promise
  }

  #search(topic: string): void {
    if (this.#searches.has(topic)) return
    const run = async (): Promise<void> => {
      try {
        await this.#codecReady
        const metadata = await this.#cluster.call(
          `topic ${topic}`,
          { signal: this.#stopping.signal, timeoutMs: this.#settings.accumulator.deliveryTimeoutMs },
          (scope) => this.#cluster.topic(topic, scope, { createMissing: true }),
        )
        const queues = metadata.partitions.map(({ partition }) => new PartitionQueue(topic, partition))
        const { environment } = this.#cluster
        const sticky = environment.random.integer(queues.length)
        const state = { name: topic, queues, version: this.#cluster.metadata.version, sticky }
        this.#topics.set(topic, state)
        this.#placeAll(state)
      } catch (error) {
        this.#failUnplaced(topic, toTidemarkError(error, 'CONNECTION_FAILED', `topic ${topic}`))
      } finally {
        this.#searches.delete(topic)
      }
    }
    this.#searches.set(topic, run())
  }

  #placeAll(state: TopicState): void {
    const list = this.#unplaced.get(state.name) ?? []
    this.#unplaced.delete(state.name)
    for (const unplaced of list) {
      this.#accumulator.charge(-unplaced.cost)
      try {
        unplaced.resolve(this.#place(state, unplaced.record, unplaced.isAwaited))
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

  #fail(unplaced: Unplaced, error: TidemarkError): void {
    if (!unplaced.isAwaited) this.#accumulator.noteFailure(error)
    unplaced.reject(error)
  }

  async #drain(scope: Scope): Promise<void> {
    while (this.#searches.size > 0) await scope.race(Promise.all(this.#searches.values()))
    await scope.race(
      new Promise<void>((resolve) => {
        this.#accumulator.flush(resolve)
        this.#pump()
      }),
    )
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
    const { accumulator, cluster } = { accumulator: this.#accumulator, cluster: this.#cluster }
    if (accumulator.fatal !== undefined) return this.#giveUp(accumulator.fatal)
    const requests = accumulator.plan(this.#now(), (queue) => this.#leaderOf(queue))
    for (const request of requests) this.#dispatch(request)
    if (accumulator.needsIdentity) this.#fetchIdentity()
    const stale = accumulator.takeStaleTopics()
    for (const topic of this.#topics.keys()) {
      if (!accumulator.isEmpty && cluster.metadata.isStale(topic) && !stale.includes(topic)) stale.push(topic)
    }
    if (stale.length > 0) this.#refresh(stale)
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

  #dispatch(request: PlannedRequest): void {
    let lane = this.#lanes.get(request.broker)
    if (lane === undefined) {
      lane = { isConnecting: false, waiting: [] }
      this.#lanes.set(request.broker, lane)
    }
    const connection = lane.isConnecting ? undefined : this.#cluster.connectionNow(request.broker, 'control')
    if (connection !== undefined) return this.#transmit(connection, request)
    lane.waiting.push(request)
    if (!lane.isConnecting) this.#connect(request.broker, lane)
  }

  #connect(broker: number, lane: Lane): void {
    lane.isConnecting = true
    const { closing, environment, settings } = this.#cluster
    const options = { signal: this.#stopping.signal, closing, timeoutMs: settings.requestTimeoutMs, what: 'connect' }
    inScope(environment, options, (scope) => this.#cluster.connection(broker, 'control', scope)).then(
      (connection) => {
        lane.isConnecting = false
        for (const request of lane.waiting.splice(0)) this.#transmit(connection, request)
      },
      (error: unknown) => {
        lane.isConnecting = false
        const failure = toTidemarkError(error, 'CONNECTION_FAILED', `broker ${broker}`)
        for (const request of lane.waiting.splice(0)) this.#onLost(request, failure)
      },
    )
  }

  #transmit(connection: Connection, request: PlannedRequest): void {
    const message = this.#messageOf(request)
    const tail: Uint8Array[] = []
    for (const { bytes } of request.batches) if (bytes !== undefined) tail.push(bytes)
    if (message.acks === 0) {
      connection.tell(message, tail).then(
        () => this.#onAnswer(request, request.batches.map(acknowledgedByNobody)),
        (error: unknown) => this.#onLost(request, toTidemarkError(error, 'CONNECTION_FAILED', 'produce')),
      )
      return
    }
    connection.ask('produce', message, { tail }).then(
      ({ body }) => this.#onAnswer(request, this.#answersOf(request, body)),
      (error: unknown) => this.#onLost(request, toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', 'produce')),
    )
  }

  #messageOf(request: PlannedRequest): RequestOf<'produce'> {
    const { metadata, settings } = this.#cluster
    return {
      acks: this.#settings.accumulator.acks,
      // Less than the connection waits, so that a broker that is slow can still say so.
      timeoutMs: Math.max(1, Math.floor(settings.requestTimeoutMs * 0.8)),
      partitions: request.batches.map(({ topic, partition, bytes }) => ({
        topic,
        topicId: metadata.topic(topic)?.topicId,
        partition,
        leaderEpoch: metadata.leaderOf(topic, partition)?.leaderEpoch,
        bytes: bytes?.length ?? 0,
      })),
    }
  }

  #answersOf(request: PlannedRequest, body: ResponseOf<'produce'>): BatchAnswer[] {
    return request.batches.map((batch, index) => answerOf(batch, body.partitions[index]))
  }

  #onAnswer(request: PlannedRequest, answers: readonly BatchAnswer[]): void {
    this.#failuresOfHelp = 0
    this.#accumulator.onAnswer(request, answers, this.#now())
    this.#pump()
  }

  #onLost(request: PlannedRequest, error: TidemarkError): void {
    this.#cluster.logger.debug({ broker: request.broker, reason: error.message }, 'a produce request was lost')
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
          this.#pumpAfterPause()
        },
      )
  }

  #refresh(topics: readonly string[]): void {
    if (this.#isRefreshing) return
    this.#isRefreshing = true
    this.#cluster.metadata.refresh(topics, false).then(
      () => {
        this.#isRefreshing = false
        this.#growTopics()
        const isHelped = topics.every((topic) => this.#cluster.metadata.topic(topic) !== undefined)
        if (isHelped && !this.#hasLeaderless(topics)) this.#pump()
        else this.#pumpAfterPause()
      },
      () => {
        this.#isRefreshing = false
        this.#pumpAfterPause()
      },
    )
  }

  #hasLeaderless(topics: readonly string[]): boolean {
    const { metadata } = this.#cluster
    return topics.some((topic) => metadata.topic(topic)?.partitions.some(({ leader }) => leader === undefined) === true)
  }

  /** Partitions that were added since. */
  #growTopics(): void {
    for (const state of this.#topics.values()) {
      const partitions = this.#cluster.metadata.topic(state.name)?.partitions ?? []
      for (let partition = state.queues.length; partition < partitions.length; partition += 1) {
        state.queues.push(new PartitionQueue(state.name, partition))
      }
    }
  }

  /** What the pump needs could not be had; it tries again, at growing intervals. */
  #pumpAfterPause(): void {
    if (this.#isOver || this.#accumulator.isEmpty) return
    this.#failuresOfHelp += 1
    const { environment, settings } = this.#cluster
    this.#setTimer(this.#now() + backoffMs(this.#failuresOfHelp, settings.retry, environment.random))
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

  #noPartition(state: TopicState, partition: number): TidemarkError {
    const text = `${state.name} has the partitions 0 to ${state.queues.length - 1}, not ${String(partition)}`
    return errorOf('INVALID_ARGUMENT', text, { topic: state.name })
  }
}

const acknowledgedByNobody = (): BatchAnswer => ({ kind: 'appended', baseOffset: -1, logAppendTime: undefined })

function answerOf(batch: ProducerBatch, part: ResponseOf<'produce'>['partitions'][number] | undefined): BatchAnswer {
  const { topic, partition } = batch
  if (part === undefined) {
    const error = errorOf('MALFORMED_FRAME', 'an answer without the partition', { topic, partition })
    return { kind: 'refused', error }
  }
  if (part.error === 0) {
    return { kind: 'appended', baseOffset: part.baseOffset ?? -1, logAppendTime: part.logAppendTime }
  }
  const text = part.message === undefined ? undefined : `${topic}-${partition}: ${part.message}`
  return { kind: 'refused', error: errorFromWire(part.error, text, { topic, partition }) }
}
