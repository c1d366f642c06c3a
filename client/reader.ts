// Reads a topic without a group: tail, replay, export. Fetches ahead of the application within a bound, survives moved
// leaders and broken connections, and ends in an error rather than in silence. Holds no rule of what to fetch; that is the
// planner's. Invariant: offsets of a partition are handed out in growing order, each once.

import type { TidemarkError } from '../shared/errors.ts'
import { prepareCodec } from '../shared/compression/codec.ts'
import type { RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import type { Timer } from '../shared/time.ts'
import type { Cluster } from './cluster.ts'
import type { Answer } from './connection.ts'
import {
  CorruptBatchError,
  errorFromWire,
  errorOf,
  OffsetOutOfRangeError,
  QuarantinedError,
  toTidemarkError,
} from './errors.ts'
import { FetchPlanner, PartitionCursor, type PlannedFetch } from './fetch-planner.ts'
import { LeaderWatch } from './leader-watch.ts'
import { resolvePositions } from './offsets.ts'
import { type ParsedPosition, parsePosition, positionsByPartition } from './read-position.ts'
import { type ReadOptions, type ReadSettings, readReadOptions } from './reader-options.ts'
import { type DecodeSettings, endOfBatches, type Message, RecordChunk } from './record-chunk.ts'
import { backoffMs, isMetadataStale } from './retry.ts'
import { inScope, Scope, type WaitOptions } from './scope.ts'

type FetchedPart = ResponseOf<'fetch'>['partitions'][number]

/** A partition whose topic the broker denies is asked for so often before that is believed. */
const UNKNOWN_TOPIC_TRIES = 5
/** A fetch that has waited longer than it may, by so many milliseconds, may be at a broker that hangs. */
const SILENT_MS = 1_000
/** A fetch that was sent so many milliseconds ago is given up when another leads: who is alive has refused it by then. */
const MOVED_MS = 300
/** So often a new leader may say that the offset that is read next is past its end before that is believed. */
const BEHIND_TRIES = 8

export class Reader<K = Buffer, V = Buffer> implements AsyncIterableIterator<Message<K, V>, undefined> {
  readonly topic: string
  readonly #cluster: Cluster
  readonly #settings: ReadSettings
  readonly #decode: DecodeSettings<K, V>
  readonly #scope: Scope
  readonly #now: () => number
  readonly #chunks: RecordChunk<K, V>[] = []
  readonly #waiters: (() => void)[] = []
  readonly #started: Promise<void>
  readonly #onClosed: () => void
  readonly #watch: LeaderWatch
  readonly #unlisten: () => void
  /** Fetches that are on their way, oldest first. */
  readonly #running = new Map<PlannedFetch, { readonly startedAt: number; readonly scope: Scope }>()
  #planner: FetchPlanner | undefined
  #topicId: string | undefined
  #messages: readonly Message<K, V>[] = []
  #next = 0
  #timer: Timer | undefined
  #isRefreshing = false
  #lastFailure: TidemarkError | undefined
  #error: Error | undefined
  #isOver = false

  /** Made by client.read(). */
  constructor(cluster: Cluster, topic: string, options: ReadOptions<K, V>, onClosed: () => void) {
    this.topic = topic
    this.#cluster = cluster
    this.#onClosed = onClosed
    this.#now = () => cluster.environment.clock.monotonic()
    const { settings, key, value } = readReadOptions(topic, options)
    this.#settings = settings
    this.#decode = { topic, checkCrc: settings.checkCrc, key, value }
    const { closing, environment } = cluster
    this.#watch = new LeaderWatch(cluster, () => this.#findStuck())
    this.#unlisten = cluster.metadata.onLearned(() => this.#onLearned())
    this.#scope = new Scope(environment, { signal: options.signal, closing, what: `read ${topic}` })
    this.#scope.signal.addEventListener('abort', () => this.#fail(this.#scope.signal.reason), { once: true })
    if (this.#scope.isOver) this.#fail(this.#scope.signal.reason)
    this.#started = this.#start()
    // next() tells of it.
    this.#started.catch(() => undefined)
  }

  /** Resolves when it is settled from which offsets on is read: what is appended later will be seen. */
  async ready(options: WaitOptions = {}): Promise<void> {
    const { environment } = this.#cluster
    await inScope(environment, { ...options, what: 'ready' }, (scope) => scope.race(this.#started))
  }

  /** The next message. @throws once what ended the reader; then it is done. */
  next(): Promise<IteratorResult<Message<K, V>, undefined>> {
    const message = this.#messages[this.#next]
    if (message !== undefined) {
      this.#next += 1
      return Promise.resolve({ done: false, value: message })
    }
    return this.#nextOf(() => this.#takeMessage())
  }

  /** Ends the reader; what was fetched ahead is dropped. */
  return(): Promise<IteratorResult<Message<K, V>, undefined>> {
    this.#end()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** The same messages, batch by batch in arrays of one partition each: cheaper than one by one. */
  batches(): AsyncIterableIterator<readonly Message<K, V>[], undefined> {
    const iterator: AsyncIterableIterator<readonly Message<K, V>[], undefined> = {
      next: () => this.#nextOf(() => this.#takeBatch()),
      return: async () => {
        this.#end()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  /** How far the reader is behind: records between what was handed out or fetched ahead and the end, as last heard. */
  lag(): ReadonlyMap<number, number> {
    const lags = new Map<number, number>()
    for (const { partition, position, highWatermark } of this.#planner?.cursors ?? []) {
      if (highWatermark !== undefined) lags.set(partition, Math.max(0, highWatermark - position))
    }
    return lags
  }

  /** Ends the reader. Idempotent. */
  close(): void {
    this.#end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
  }

  #takeMessage(): Message<K, V> | undefined {
    const message = this.#messages[this.#next]
    if (message !== undefined) {
      this.#next += 1
      return message
    }
    const batch = this.#takeBatch()
    if (batch === undefined) return undefined
    this.#messages = batch
    this.#next = 1
    return batch[0]
  }

  /** The next batch that has a message; undefined when nothing is there yet. */
  #takeBatch(): readonly Message<K, V>[] | undefined {
    if (this.#next < this.#messages.length) {
      const rest = this.#messages.slice(this.#next)
      this.#next = this.#messages.length
      return rest
    }
    for (;;) {
      const [chunk] = this.#chunks
      if (chunk === undefined) return undefined
      const batch = this.#decodeNext(chunk)
      if (chunk.isUsedUp) {
        this.#chunks.shift()
        this.#planner?.onConsumed(chunk.bytes.length)
        this.#pump()
      }
      if (batch.length > 0) return batch
    }
  }

  /** A damaged batch is passed over when that is asked for, and it is known where it ends. */
  #decodeNext(chunk: RecordChunk<K, V>): readonly Message<K, V>[] {
    try {
      return chunk.next(this.#decode)
    } catch (error) {
      const isSkipped = error instanceof CorruptBatchError && error.nextOffset !== undefined
      if (!isSkipped || this.#settings.onQuarantined !== 'skip') throw error
      const { partition, startOffset: from, nextOffset: to } = error
      const facts = { topic: this.topic, partition, from, to, reason: error.message }
      this.#cluster.logger.warn(facts, 'a damaged batch is passed over')
      return []
    }
  }

  /** What `take` gives, as soon as it gives something. */
  async #nextOf<T>(take: () => T | undefined): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (this.#error !== undefined) throw this.#takeError()
      let taken: T | undefined
      try {
        taken = this.#isOver ? undefined : take()
      } catch (error) {
        this.#fail(error)
        continue
      }
      if (taken !== undefined) return { done: false, value: taken }
      if (this.#error !== undefined) continue
      if (this.#isOver) return { done: true, value: undefined }
      if (this.#planner?.isDone === true && this.#chunks.length === 0) {
        this.#end()
        continue
      }
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  #takeError(): Error {
    const error = this.#error ?? errorOf('CLIENT_CLOSED')
    this.#error = undefined
    return error
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake()
  }

  async #start(): Promise<void> {
    try {
      await this.#cluster.call(`read ${this.topic}`, { signal: this.#scope.signal }, async (scope) => {
        const planner = await this.#findCursors(scope)
        if (!this.#isOver) this.#planner = planner
      })
    } catch (error) {
      this.#fail(error)
      throw error
    }
    this.#pump()
    this.#wake()
  }

  async #findCursors(scope: Scope): Promise<FetchPlanner> {
    // zstd may have to be loaded before the first batch that needs it; who has no such batches does not miss it.
    await prepareCodec('zstd').catch(() => undefined)
    const { topic } = this
    const metadata = await this.#cluster.topic(topic, scope, { createMissing: false })
    this.#topicId = metadata.topicId
    const { from, to, partitions: wanted } = this.#settings
    const starts = positionsByPartition(from)
    const ends = to === undefined ? undefined : positionsByPartition(to)
    const all = metadata.partitions.map(({ partition }) => partition)
    const partitions = wanted ?? (starts === undefined ? all : [...starts.keys()])
    for (const partition of partitions) {
      if (partition < all.length) continue
      const text = `${topic} has the partitions 0 to ${all.length - 1}, not ${partition}`
      throw errorOf('INVALID_ARGUMENT', text, { topic, partition })
    }
    const wallNow = this.#cluster.environment.clock.now()
    const startAt = new Map<number, ParsedPosition>()
    const endAt = new Map<number, ParsedPosition>()
    for (const partition of partitions) {
      const start = starts === undefined ? from : (starts.get(partition) ?? 'start')
      startAt.set(partition, parsePosition(start as string, 'from', wallNow))
      const end = ends === undefined ? to : ends.get(partition)
      if (end !== undefined) endAt.set(partition, parsePosition(end as string, 'to', wallNow))
    }
    // The ends first: records that come between the two questions are then seen by 'start' and by none of 'end'.
    const endOffsets = await resolvePositions(this.#cluster, topic, endAt, scope)
    const startOffsets = await resolvePositions(this.#cluster, topic, startAt, scope)
    const now = this.#now()
    const cursors = partitions.map((partition) => {
      const start = { position: startOffsets.get(partition) ?? 0, endOffset: endOffsets.get(partition) }
      const cursor = new PartitionCursor(partition, start, now)
      cursor.leaderEpoch = this.#cluster.metadata.leaderOf(topic, partition)?.leaderEpoch
      return cursor
    })
    return new FetchPlanner(this.#settings.planner, cursors)
  }

  #pump(): void {
    const planner = this.#planner
    if (planner === undefined || this.#isOver) return
    const now = this.#now()
    this.#checkAvailability(planner, now)
    const { metadata } = this.#cluster
    let isLeaderMissing = false
    const fetches = planner.plan(now, (partition) => {
      const leader = metadata.leaderOf(this.topic, partition)?.leader
      isLeaderMissing ||= leader === undefined
      return leader
    })
    for (const fetch of fetches) {
      this.#run(fetch).catch((error: unknown) => this.#fail(error))
    }
    if (isLeaderMissing || metadata.isStale(this.topic)) this.#refresh()
    if (isLeaderMissing) this.#watch.hurry()
    this.#watch.watch()
    this.#setTimer(planner.wakeAt)
  }

  #setTimer(at: number): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (at === Infinity || this.#isOver) return
    this.#timer = this.#cluster.environment.timers.after(Math.max(0, Math.ceil(at - this.#now())), () => this.#pump())
  }

  /** A reader that gets nowhere says so. */
  #checkAvailability(planner: FetchPlanner, now: number): void {
    for (const { partition, answeredAt, failures, isDone } of planner.cursors) {
      if (isDone || failures === 0 || now - answeredAt < this.#settings.unavailableTimeoutMs) continue
      const text = `${this.topic}-${partition} could not be read for ${Math.round(now - answeredAt)} ms`
      this.#fail(errorOf('TIMEOUT', text, { topic: this.topic, partition, cause: this.#lastFailure }))
    }
  }

  async #run(fetch: PlannedFetch): Promise<void> {
    const planner = this.#planner
    if (planner === undefined) return
    const { environment } = this.#cluster
    const scope = new Scope(environment, { signal: this.#scope.signal, what: `fetch from ${this.topic}` })
    this.#running.set(fetch, { startedAt: this.#now(), scope })
    try {
      const { body, tail } = await this.#ask(planner, fetch, scope)
      if (this.#isOver) return
      this.#onFetched(planner, fetch, body, tail)
    } catch (thrown) {
      const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `fetch from ${this.topic}`)
      if (this.#isOver) return
      if (!error.retriable) return this.#fail(error)
      this.#cluster.logger.debug({ topic: this.topic, broker: fetch.broker, reason: error.message }, 'a fetch failed')
      if (scope.isOver) for (const cursor of fetch.cursors) cursor.notBefore = 0
      else for (const cursor of fetch.cursors) this.#pause(planner, cursor, error)
    } finally {
      this.#running.delete(fetch)
      scope.end()
    }
    this.#pump()
    this.#wake()
  }

  async #ask(planner: FetchPlanner, fetch: PlannedFetch, scope: Scope): Promise<Answer<'fetch'>> {
    try {
      return await this.#cluster.askBroker(fetch.broker, 'fetch', this.#messageOf(fetch), {
        purpose: 'fetch',
        scope,
        timeoutMs: this.#settings.maxWaitMs + this.#cluster.settings.requestTimeoutMs,
      })
    } finally {
      planner.onEnded(fetch)
    }
  }

  #messageOf(fetch: PlannedFetch): RequestOf<'fetch'> {
    return {
      maxWaitMs: this.#settings.maxWaitMs,
      minBytes: 1,
      maxBytes: fetch.maxBytes,
      partitions: fetch.cursors.map(({ partition, position }) => ({
        topic: this.topic,
        topicId: this.#topicId,
        partition,
        leaderEpoch: this.#cluster.metadata.leaderOf(this.topic, partition)?.leaderEpoch,
        fetchOffset: position,
        maxBytes: fetch.partitionBytes,
      })),
    }
  }

  #onFetched(planner: FetchPlanner, fetch: PlannedFetch, body: ResponseOf<'fetch'>, tail: Uint8Array): void {
    const now = this.#now()
    const failed = new Map<PartitionCursor, FetchedPart>()
    let at = 0
    for (const part of body.partitions) {
      const cursor = fetch.cursors[part.index]
      if (cursor === undefined || part.bytes > tail.length - at) {
        throw errorOf('CORRUPT_MESSAGE', `the answer to a fetch from ${this.topic} contradicts itself`)
      }
      const bytes = tail.subarray(at, at + part.bytes)
      at += part.bytes
      cursor.highWatermark = part.highWatermark ?? cursor.highWatermark
      if (part.error !== 0) failed.set(cursor, part)
      else if (bytes.length > 0) this.#onRecords(planner, cursor, bytes)
    }
    for (const cursor of fetch.cursors) {
      if (failed.has(cursor)) continue
      planner.onAnswered(cursor, now)
      cursor.answeredEpoch = cursor.leaderEpoch
    }
    for (const [cursor, part] of failed) this.#onPartitionError(planner, cursor, part)
  }

  #onRecords(planner: FetchPlanner, cursor: PartitionCursor, bytes: Uint8Array): void {
    const from = cursor.position
    planner.onRecords(cursor, bytes.length, endOfBatches(bytes, from))
    this.#chunks.push(new RecordChunk(cursor.partition, bytes, { from, to: cursor.endOffset ?? Infinity }))
  }

  #onPartitionError(planner: FetchPlanner, cursor: PartitionCursor, part: FetchedPart): void {
    const { topic } = this
    const { partition, position } = cursor
    const where = { topic, partition }
    const text = `${topic}-${partition}, offset ${position}: ${part.message ?? 'refused'}`
    const error = errorFromWire(part.error, text, where)
    if (error.code === 'OFFSET_OUT_OF_RANGE') {
      if (this.#mayBeBehind(cursor, part)) return this.#pause(planner, cursor, error)
      return this.#move(planner, cursor, () => this.#onOutOfRange(cursor, part, error))
    }
    if (error.code === 'QUARANTINED') return this.#move(planner, cursor, () => this.#onQuarantined(cursor, error))
    if (error.code === 'UNKNOWN_TOPIC_OR_PARTITION' && cursor.failures + 1 >= UNKNOWN_TOPIC_TRIES) {
      return this.#fail(error)
    }
    if (!error.retriable) return this.#fail(error)
    this.#pause(planner, cursor, error)
  }

  /** Whether the leader is a new one that may not know yet how far its predecessor had come. */
  #mayBeBehind({ position, answeredEpoch, leaderEpoch, failures }: PartitionCursor, part: FetchedPart): boolean {
    const isPastTheEnd = part.highWatermark !== undefined && position > part.highWatermark
    return isPastTheEnd && answeredEpoch !== undefined && answeredEpoch !== leaderEpoch && failures < BEHIND_TRIES
  }

  /** Others are read meanwhile, but not this one: two answers would move it twice. */
  #move(planner: FetchPlanner, cursor: PartitionCursor, work: () => Promise<void>): void {
    cursor.isMoving = true
    const onMoved = (thrown?: unknown): void => {
      cursor.isMoving = false
      if (this.#isOver) return
      if (thrown !== undefined) {
        const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `fetch from ${this.topic}`)
        if (!error.retriable) return this.#fail(error)
        this.#pause(planner, cursor, error)
      }
      this.#pump()
      this.#wake()
    }
    work()
      .then(() => onMoved(), onMoved)
      .catch((error: unknown) => this.#fail(error))
  }

  async #onOutOfRange(cursor: PartitionCursor, part: FetchedPart, cause: TidemarkError): Promise<void> {
    const { partition, position } = cursor
    const { logStartOffset, highWatermark } = part
    const { onOutOfRange } = this.#settings
    if (onOutOfRange === 'error') {
      const known = `the partition has the offsets from ${logStartOffset ?? '?'} to ${highWatermark ?? '?'} (exclusive)`
      const text = `${this.topic}-${partition}: offset ${position} is out of range, ${known}`
      const range = { logStartOffset, highWatermark }
      return this.#fail(new OffsetOutOfRangeError(text, range, { topic: this.topic, partition, cause }))
    }
    const positions = new Map<number, ParsedPosition>([[partition, { kind: onOutOfRange }]])
    const moved = await this.#cluster.call('offsets', { signal: this.#scope.signal }, (scope) =>
      resolvePositions(this.#cluster, this.topic, positions, scope),
    )
    cursor.position = moved.get(partition) ?? position
    const facts = { topic: this.topic, partition, from: position, to: cursor.position }
    this.#cluster.logger.warn(facts, 'the offset was out of range; reading goes on elsewhere')
  }

  async #onQuarantined(cursor: PartitionCursor, cause: TidemarkError): Promise<void> {
    const { topic } = this
    const { partition, position } = cursor
    const described = await this.#cluster.call('describeTopics', { signal: this.#scope.signal }, (scope) =>
      this.#cluster.ask('describeTopics', { topics: [topic] }, scope, { isRepeatable: true }),
    )
    const ranges = described.topics[0]?.partitions.find((one) => one.partition === partition)?.quarantined ?? []
    const range = ranges.find(({ startOffset, endOffset }) => startOffset <= position && position < endOffset)
    const nextOffset = range?.endOffset
    if (this.#settings.onQuarantined === 'skip' && nextOffset !== undefined) {
      cursor.position = nextOffset
      const facts = { topic, partition, from: position, to: nextOffset }
      this.#cluster.logger.warn(facts, 'offsets that were lost to corruption are passed over')
      return
    }
    const known = nextOffset === undefined ? '' : `; the next readable offset is ${nextOffset}`
    const text = `${topic}-${partition}: offset ${position} was lost to corruption${known}`
    this.#fail(new QuarantinedError(text, nextOffset, { topic, partition, cause }))
  }

  #pause(planner: FetchPlanner, cursor: PartitionCursor, error: TidemarkError): void {
    this.#postpone(planner, cursor, error)
    if (!isMetadataStale(error.code)) return
    this.#refresh()
    this.#watch.hurry()
  }

  /** The topic, if any partition waits for another leader or for an answer for too long; undefined: none is read now. */
  #findStuck(): readonly string[] | undefined {
    const planner = this.#planner
    if (planner === undefined || this.#isOver || planner.isDone) return undefined
    const { metadata } = this.#cluster
    const [oldest] = this.#running.values()
    const isSilent = oldest !== undefined && this.#now() - oldest.startedAt >= this.#settings.maxWaitMs + SILENT_MS
    const isStuck = planner.cursors.some(
      ({ isDone, failures, partition }) =>
        !isDone && (failures > 0 || metadata.leaderOf(this.topic, partition)?.leader === undefined),
    )
    return isSilent || isStuck ? [this.topic] : []
  }

  /** What waits for another leader goes on as soon as there is one; its position stays. */
  #onLearned(): void {
    const planner = this.#planner
    if (planner === undefined || this.#isOver) return
    const { metadata } = this.#cluster
    let isNewer = false
    for (const cursor of planner.cursors) {
      const epoch = metadata.leaderOf(this.topic, cursor.partition)?.leaderEpoch
      if (epoch === undefined || epoch === cursor.leaderEpoch) continue
      isNewer ||= cursor.leaderEpoch !== undefined
      cursor.leaderEpoch = epoch
      cursor.notBefore = 0
    }
    for (const [{ broker, cursors }, { startedAt, scope }] of this.#running) {
      const hasMoved = cursors.some(
        ({ partition }) => (metadata.leaderOf(this.topic, partition)?.leader ?? broker) !== broker,
      )
      if (!hasMoved) continue
      const isWaiting = this.#cluster.connectionNow(broker, 'fetch') === undefined
      if (!isWaiting && this.#now() - startedAt < MOVED_MS) continue
      scope.cancel(errorOf('CONNECTION_FAILED', `broker ${broker} has not answered, and another leads by now`))
    }
    if (isNewer) this.#cluster.environment.timers.atEndOfTurn(() => this.#pump())
  }

  #postpone(planner: FetchPlanner, cursor: PartitionCursor, error: TidemarkError): void {
    this.#lastFailure = error
    const { environment, settings } = this.#cluster
    planner.onFailed(cursor, this.#now() + backoffMs(cursor.failures + 1, settings.retry, environment.random))
  }

  #refresh(): void {
    if (this.#isRefreshing || this.#isOver) return
    this.#isRefreshing = true
    const { metadata } = this.#cluster
    metadata.refresh([this.topic], false).then(
      () => this.#onRefreshed(metadata.refusalOf(this.topic)),
      (error: unknown) => this.#onRefreshed(toTidemarkError(error, 'CONNECTION_FAILED', 'metadata')),
    )
  }

  #onRefreshed(failure: TidemarkError | undefined): void {
    this.#isRefreshing = false
    const planner = this.#planner
    if (planner === undefined || this.#isOver) return
    const known = this.#cluster.metadata.topic(this.topic)
    if (known !== undefined && known.topicId !== this.#topicId) {
      const text = `${this.topic} was deleted and made anew; its offsets mean other records now`
      return this.#fail(errorOf('UNKNOWN_TOPIC_OR_PARTITION', text, { topic: this.topic }))
    }
    for (const cursor of planner.cursors) {
      if (cursor.isDone || known?.partitions[cursor.partition]?.leader !== undefined) continue
      const where = { topic: this.topic, partition: cursor.partition }
      const error = failure ?? errorOf('LEADER_NOT_AVAILABLE', `${this.topic}-${cursor.partition} has no leader`, where)
      if (error.code === 'UNKNOWN_TOPIC_OR_PARTITION' && cursor.failures + 1 >= UNKNOWN_TOPIC_TRIES) {
        return this.#fail(error)
      }
      if (!cursor.isFetching) this.#postpone(planner, cursor, error)
    }
    this.#pump()
  }

  #fail(thrown: unknown): void {
    if (this.#isOver) return
    this.#error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `read ${this.topic}`)
    this.#end()
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    this.#watch.stop()
    this.#unlisten()
    this.#messages = []
    this.#next = 0
    this.#chunks.length = 0
    // Wakes the fetch that waits at a broker; nobody listens to its answer.
    this.#scope.cancel(errorOf('CLIENT_CLOSED', 'the reader was closed'))
    this.#onClosed()
    this.#wake()
  }
}
