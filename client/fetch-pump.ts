// Fetches from any changing set of partitions: sends what the planner plans, and survives moved leaders, silent brokers and
// broken connections. Owns the fetches that are on their way, and when to ask who leads. Holds no rule of what to fetch,
// that is the planner's, and does not know what becomes of the bytes. Invariant: the bytes of a partition are handed on in
// growing order, each once, and none after it was removed.

import type { TidemarkError } from '../shared/errors.ts'
import type { RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import type { Timer } from '../shared/time.ts'
import type { Cluster } from './cluster.ts'
import type { Answer } from './connection.ts'
import { errorFromWire, errorOf, OffsetOutOfRangeError, QuarantinedError, toTidemarkError } from './errors.ts'
import { FetchPlanner, type FetchPlannerOptions, type PartitionCursor, type PlannedFetch } from './fetch-planner.ts'
import { LeaderWatch } from './leader-watch.ts'
import { resolvePositions } from './offsets.ts'
import type { ParsedPosition } from './read-position.ts'
import { endOfBatches } from './record-chunk.ts'
import { backoffMs, isMetadataStale } from './retry.ts'
import { Scope } from './scope.ts'

type FetchedPart = ResponseOf<'fetch'>['partitions'][number]

export interface FetchPumpSettings {
  readonly planner: FetchPlannerOptions
  /** Milliseconds that a broker waits for records. */
  readonly maxWaitMs: number
  readonly onOutOfRange: 'error' | 'earliest' | 'latest'
  readonly onQuarantined: 'error' | 'skip'
  /** Milliseconds of failures after which a partition is given up. */
  readonly unavailableTimeoutMs: number
}

export interface FetchPumpOwner {
  /** Whole batches; `from` is the first offset that is wanted of them. To be given back by `onConsumed`. */
  onRecords(cursor: PartitionCursor, bytes: Uint8Array, from: number): void
  /** What will not pass by itself. Tried again all the same, after the longest pause, while the cursor is not removed. */
  onFailed(cursor: PartitionCursor, error: TidemarkError): void
  /** Offsets were passed over or gone back to: those that were wanted are not there. */
  onMoved(cursor: PartitionCursor, move: { readonly from: number; readonly to: number; readonly reason: string }): void
  /** After each answer. */
  onProgress(): void
}

/** A partition whose topic the broker denies is asked for so often before that is believed. */
const UNKNOWN_TOPIC_TRIES = 5
/** A fetch that has waited longer than it may, by so many milliseconds, may be at a broker that hangs. */
const SILENT_MS = 1_000
/** A fetch that was sent so many milliseconds ago is given up when another leads: who is alive has refused it by then. */
const MOVED_MS = 300
/** So often a new leader may say that the offset that is read next is past its end before that is believed. */
const BEHIND_TRIES = 8

export class FetchPump {
  readonly #cluster: Cluster
  readonly #settings: FetchPumpSettings
  readonly #owner: FetchPumpOwner
  /** What is read, for messages. */
  readonly #what: string
  readonly #signal: AbortSignal
  readonly #now: () => number
  readonly #planner: FetchPlanner
  readonly #watch: LeaderWatch
  readonly #unlisten: () => void
  /** Fetches that are on their way, oldest first. */
  readonly #running = new Map<PlannedFetch, { readonly startedAt: number; readonly scope: Scope }>()
  #timer: Timer | undefined
  #isRefreshing = false
  #isOver = false

  /** The signal ends what waits; close() has to be called besides. */
  constructor(
    cluster: Cluster,
    settings: FetchPumpSettings,
    owner: FetchPumpOwner,
    { what, signal }: { readonly what: string; readonly signal: AbortSignal },
  ) {
    this.#cluster = cluster
    this.#settings = settings
    this.#owner = owner
    this.#what = what
    this.#signal = signal
    this.#now = () => cluster.environment.clock.monotonic()
    this.#planner = new FetchPlanner(settings.planner, [])
    this.#watch = new LeaderWatch(cluster, () => this.#findStuck())
    this.#unlisten = cluster.metadata.onLearned(() => this.#onLearned())
  }

  get cursors(): readonly PartitionCursor[] {
    return this.#planner.cursors
  }

  /** Whether every partition has come to its end. */
  get isDone(): boolean {
    return this.#planner.isDone
  }

  /** Begins to fetch with the next `pump`. */
  add(cursor: PartitionCursor): void {
    cursor.leaderEpoch = this.#cluster.metadata.leaderOf(cursor.topic, cursor.partition)?.leaderEpoch
    this.#planner.add(cursor)
  }

  /** What it has buffered is still to be given back. */
  remove(cursor: PartitionCursor): void {
    this.#planner.remove(cursor)
  }

  /** What is on its way still comes. */
  pause(cursor: PartitionCursor): void {
    cursor.isPaused = true
  }

  resume(cursor: PartitionCursor): void {
    if (!cursor.isPaused) return
    cursor.isPaused = false
    cursor.isNew = true
    this.pump()
  }

  /** The application has used up bytes of the partition. */
  onConsumed(cursor: PartitionCursor, bytes: number): void {
    this.#planner.onConsumed(cursor, bytes)
    this.pump()
  }

  /** Sends what is to be sent now. */
  pump(): void {
    if (this.#isOver) return
    const now = this.#now()
    this.#checkAvailability(now)
    const { metadata } = this.#cluster
    let unled: Set<string> | undefined
    const fetches = this.#planner.plan(now, ({ topic, partition }) => {
      const leader = metadata.leaderOf(topic, partition)?.leader
      if (leader === undefined) (unled ??= new Set()).add(topic)
      return leader
    })
    for (const fetch of fetches) {
      this.#run(fetch).catch((error: unknown) => this.#failAll(fetch.cursors, error))
    }
    const isUnled = unled !== undefined
    for (const { topic } of this.#planner.cursors) if (metadata.isStale(topic)) (unled ??= new Set()).add(topic)
    if (unled !== undefined) this.#refresh([...unled])
    if (isUnled) this.#watch.hurry()
    if (this.#planner.cursors.length > 0) this.#watch.watch()
    this.#setTimer(this.#planner.wakeAt)
  }

  /** Nothing is handed on any more. Idempotent. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    this.#watch.stop()
    this.#unlisten()
  }

  #setTimer(at: number): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (at === Infinity || this.#isOver) return
    this.#timer = this.#cluster.environment.timers.after(Math.max(0, Math.ceil(at - this.#now())), () => this.pump())
  }

  /** Whoever gets nowhere says so. */
  #checkAvailability(now: number): void {
    const { unavailableTimeoutMs } = this.#settings
    if (unavailableTimeoutMs === Infinity) return
    for (const cursor of this.#planner.cursors) {
      const { topic, partition, answeredAt, failures, isDone, lastFailure: cause } = cursor
      if (isDone || failures === 0 || now - answeredAt < unavailableTimeoutMs) continue
      const text = `${topic}-${partition} could not be read for ${Math.round(now - answeredAt)} ms`
      this.#giveUp(cursor, errorOf('TIMEOUT', text, { topic, partition, cause }))
    }
  }

  async #run(fetch: PlannedFetch): Promise<void> {
    const { environment, logger } = this.#cluster
    const scope = new Scope(environment, { signal: this.#signal, what: `fetch from ${this.#what}` })
    this.#running.set(fetch, { startedAt: this.#now(), scope })
    try {
      let answer: Answer<'fetch'>
      try {
        answer = await this.#ask(fetch, scope)
      } finally {
        // In one go with what becomes of it: a fetch planned in between would ask for the same records again.
        this.#planner.onEnded(fetch)
      }
      if (this.#isOver) return
      this.#onFetched(fetch, answer.body, answer.tail)
    } catch (thrown) {
      const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `fetch from ${this.#what}`)
      if (this.#isOver) return
      if (!error.retriable) return this.#failAll(fetch.cursors, error)
      logger.debug({ what: this.#what, broker: fetch.broker, reason: error.message }, 'a fetch failed')
      if (scope.isOver) for (const cursor of fetch.cursors) cursor.notBefore = 0
      else for (const cursor of fetch.cursors) this.#pause(cursor, error)
    } finally {
      this.#running.delete(fetch)
      scope.end()
    }
    this.pump()
    this.#owner.onProgress()
  }

  #ask(fetch: PlannedFetch, scope: Scope): Promise<Answer<'fetch'>> {
    return this.#cluster.askBroker(fetch.broker, 'fetch', this.#messageOf(fetch), {
      purpose: 'fetch',
      scope,
      timeoutMs: this.#settings.maxWaitMs + this.#cluster.settings.requestTimeoutMs,
    })
  }

  #messageOf(fetch: PlannedFetch): RequestOf<'fetch'> {
    const { metadata } = this.#cluster
    return {
      maxWaitMs: this.#settings.maxWaitMs,
      minBytes: 1,
      maxBytes: fetch.maxBytes,
      partitions: fetch.cursors.map(({ topic, topicId, partition, position }) => ({
        topic,
        topicId,
        partition,
        leaderEpoch: metadata.leaderOf(topic, partition)?.leaderEpoch,
        fetchOffset: position,
        maxBytes: fetch.partitionBytes,
      })),
    }
  }

  #onFetched(fetch: PlannedFetch, body: ResponseOf<'fetch'>, tail: Uint8Array): void {
    const now = this.#now()
    const failed = new Map<PartitionCursor, FetchedPart>()
    let at = 0
    for (const part of body.partitions) {
      const cursor = fetch.cursors[part.index]
      if (cursor === undefined || part.bytes > tail.length - at) {
        throw errorOf('CORRUPT_MESSAGE', `the answer to a fetch from ${this.#what} contradicts itself`)
      }
      const bytes = tail.subarray(at, at + part.bytes)
      at += part.bytes
      if (cursor.isRemoved) continue
      cursor.highWatermark = part.highWatermark ?? cursor.highWatermark
      if (part.error !== 0) failed.set(cursor, part)
      else if (bytes.length > 0) this.#onRecords(cursor, bytes)
    }
    for (const cursor of fetch.cursors) {
      if (failed.has(cursor) || cursor.isRemoved) continue
      this.#planner.onAnswered(cursor, now)
      cursor.answeredEpoch = cursor.leaderEpoch
      // Nothing at all came in the whole wait: that is where each of them ends.
      if (body.partitions.length === 0) cursor.highWatermark = Math.max(cursor.highWatermark ?? 0, cursor.position)
    }
    for (const [cursor, part] of failed) this.#onPartitionError(cursor, part)
  }

  #onRecords(cursor: PartitionCursor, bytes: Uint8Array): void {
    const from = cursor.position
    this.#planner.onRecords(cursor, bytes.length, endOfBatches(bytes, from))
    this.#owner.onRecords(cursor, bytes, from)
  }

  #onPartitionError(cursor: PartitionCursor, part: FetchedPart): void {
    const { topic, partition, position } = cursor
    const text = `${topic}-${partition}, offset ${position}: ${part.message ?? 'refused'}`
    const error = errorFromWire(part.error, text, { topic, partition })
    if (error.code === 'OFFSET_OUT_OF_RANGE') {
      if (this.#mayBeBehind(cursor, part)) return this.#pause(cursor, error)
      return this.#move(cursor, () => this.#onOutOfRange(cursor, part, error))
    }
    if (error.code === 'QUARANTINED') return this.#move(cursor, () => this.#onQuarantined(cursor, error))
    if (error.code === 'UNKNOWN_TOPIC_OR_PARTITION' && cursor.failures + 1 >= UNKNOWN_TOPIC_TRIES) {
      return this.#giveUp(cursor, error)
    }
    if (!error.retriable) return this.#giveUp(cursor, error)
    this.#pause(cursor, error)
  }

  /** Whether the leader is a new one that may not know yet how far its predecessor had come. */
  #mayBeBehind({ position, answeredEpoch, leaderEpoch, failures }: PartitionCursor, part: FetchedPart): boolean {
    const isPastTheEnd = part.highWatermark !== undefined && position > part.highWatermark
    return isPastTheEnd && answeredEpoch !== undefined && answeredEpoch !== leaderEpoch && failures < BEHIND_TRIES
  }

  /** Others are read meanwhile, but not this one: two answers would move it twice. */
  #move(cursor: PartitionCursor, work: () => Promise<void>): void {
    cursor.isMoving = true
    const onMoved = (thrown?: unknown): void => {
      cursor.isMoving = false
      if (this.#isOver || cursor.isRemoved) return
      if (thrown !== undefined) {
        const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `fetch from ${this.#what}`)
        if (error.retriable) this.#pause(cursor, error)
        else this.#giveUp(cursor, error)
      }
      this.pump()
      this.#owner.onProgress()
    }
    work()
      .then(() => onMoved(), onMoved)
      .catch((error: unknown) => this.#failAll([cursor], error))
  }

  async #onOutOfRange(cursor: PartitionCursor, part: FetchedPart, cause: TidemarkError): Promise<void> {
    const { topic, partition, position: from } = cursor
    const { logStartOffset, highWatermark } = part
    const { onOutOfRange } = this.#settings
    if (onOutOfRange === 'error') {
      const known = `the partition has the offsets from ${logStartOffset ?? '?'} to ${highWatermark ?? '?'} (exclusive)`
      const text = `${topic}-${partition}: offset ${from} is out of range, ${known}`
      const range = { logStartOffset, highWatermark }
      throw new OffsetOutOfRangeError(text, range, { topic, partition, cause })
    }
    const positions = new Map<number, ParsedPosition>([[partition, { kind: onOutOfRange }]])
    const moved = await this.#cluster.call('offsets', { signal: this.#signal }, (scope) =>
      resolvePositions(this.#cluster, topic, positions, scope),
    )
    const to = moved.get(partition) ?? from
    this.#cluster.logger.warn({ topic, partition, from, to }, 'the offset was out of range; reading goes on elsewhere')
    this.#moveTo(cursor, to, 'the offset was out of range')
  }

  async #onQuarantined(cursor: PartitionCursor, cause: TidemarkError): Promise<void> {
    const { topic, partition, position } = cursor
    const described = await this.#cluster.call('describeTopics', { signal: this.#signal }, (scope) =>
      this.#cluster.ask('describeTopics', { topics: [topic] }, scope, { isRepeatable: true }),
    )
    const ranges = described.topics[0]?.partitions.find((one) => one.partition === partition)?.quarantined ?? []
    const range = ranges.find(({ startOffset, endOffset }) => startOffset <= position && position < endOffset)
    const nextOffset = range?.endOffset
    if (this.#settings.onQuarantined === 'skip' && nextOffset !== undefined) {
      const facts = { topic, partition, from: position, to: nextOffset }
      this.#cluster.logger.warn(facts, 'offsets that were lost to corruption are passed over')
      return this.#moveTo(cursor, nextOffset, 'the offsets were lost to corruption')
    }
    const known = nextOffset === undefined ? '' : `; the next readable offset is ${nextOffset}`
    const text = `${topic}-${partition}: offset ${position} was lost to corruption${known}`
    throw new QuarantinedError(text, nextOffset, { topic, partition, cause })
  }

  #moveTo(cursor: PartitionCursor, to: number, reason: string): void {
    const from = cursor.position
    if (cursor.isRemoved || this.#isOver) return
    cursor.position = to
    this.#owner.onMoved(cursor, { from, to, reason })
  }

  #pause(cursor: PartitionCursor, error: TidemarkError): void {
    this.#postpone(cursor, error)
    if (!isMetadataStale(error.code)) return
    this.#refresh([cursor.topic])
    this.#watch.hurry()
  }

  #postpone(cursor: PartitionCursor, error: TidemarkError): void {
    const { environment, settings } = this.#cluster
    const pauseMs = backoffMs(cursor.failures + 1, settings.retry, environment.random)
    this.#planner.onFailed(cursor, this.#now(), pauseMs, error)
  }

  #giveUp(cursor: PartitionCursor, error: TidemarkError): void {
    if (this.#isOver || cursor.isRemoved) return
    this.#planner.onFailed(cursor, this.#now(), this.#cluster.settings.retry.maxMs, error)
    this.#owner.onFailed(cursor, error)
  }

  #failAll(cursors: readonly PartitionCursor[], thrown: unknown): void {
    const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `fetch from ${this.#what}`)
    for (const cursor of cursors) this.#giveUp(cursor, error)
    this.pump()
  }

  /** Topics in which a partition waits for another leader or for an answer for too long; undefined: nothing is read. */
  #findStuck(): readonly string[] | undefined {
    if (this.#isOver || this.#planner.isDone) return undefined
    const { metadata } = this.#cluster
    const topics = new Set<string>()
    for (const [{ cursors }, { startedAt }] of this.#running) {
      if (this.#now() - startedAt < this.#settings.maxWaitMs + SILENT_MS) break
      for (const { topic } of cursors) topics.add(topic)
    }
    for (const { isDone, failures, topic, partition } of this.#planner.cursors) {
      if (isDone || topics.has(topic)) continue
      if (failures > 0 || metadata.leaderOf(topic, partition)?.leader === undefined) topics.add(topic)
    }
    return [...topics]
  }

  /** What waits for another leader goes on as soon as there is one; its position stays. */
  #onLearned(): void {
    if (this.#isOver) return
    const { metadata, environment } = this.#cluster
    let isNewer = false
    for (const cursor of this.#planner.cursors) {
      const epoch = metadata.leaderOf(cursor.topic, cursor.partition)?.leaderEpoch
      if (epoch === undefined || epoch === cursor.leaderEpoch) continue
      isNewer ||= cursor.leaderEpoch !== undefined
      cursor.leaderEpoch = epoch
      cursor.notBefore = 0
    }
    for (const [{ broker, cursors }, { startedAt, scope }] of this.#running) {
      const hasMoved = cursors.some(
        ({ topic, partition }) => (metadata.leaderOf(topic, partition)?.leader ?? broker) !== broker,
      )
      if (!hasMoved) continue
      const isWaiting = this.#cluster.connectionNow(broker, 'fetch') === undefined
      if (!isWaiting && this.#now() - startedAt < MOVED_MS) continue
      scope.cancel(errorOf('CONNECTION_FAILED', `broker ${broker} has not answered, and another leads by now`))
    }
    if (isNewer) environment.timers.atEndOfTurn(() => this.pump())
  }

  #refresh(topics: readonly string[]): void {
    if (this.#isRefreshing || this.#isOver) return
    this.#isRefreshing = true
    const { metadata } = this.#cluster
    metadata.refresh(topics, false).then(
      () => this.#onRefreshed(topics, undefined),
      (error: unknown) => this.#onRefreshed(topics, toTidemarkError(error, 'CONNECTION_FAILED', 'metadata')),
    )
  }

  #onRefreshed(topics: readonly string[], failure: TidemarkError | undefined): void {
    this.#isRefreshing = false
    const { metadata } = this.#cluster
    for (const cursor of [...this.#planner.cursors]) {
      const { topic, partition } = cursor
      if (this.#isOver) return
      if (!topics.includes(topic)) continue
      const known = metadata.topic(topic)
      if (known !== undefined && known.topicId !== cursor.topicId) {
        const text = `${topic} was deleted and made anew; its offsets mean other records now`
        this.#giveUp(cursor, errorOf('UNKNOWN_TOPIC_OR_PARTITION', text, { topic }))
        continue
      }
      if (cursor.isDone || known?.partitions[partition]?.leader !== undefined) continue
      const where = { topic, partition }
      const error =
        failure ??
        metadata.refusalOf(topic) ??
        errorOf('LEADER_NOT_AVAILABLE', `${topic}-${partition} has no leader`, where)
      if (error.code === 'UNKNOWN_TOPIC_OR_PARTITION' && cursor.failures + 1 >= UNKNOWN_TOPIC_TRIES) {
        this.#giveUp(cursor, error)
      } else if (!cursor.isFetching) this.#postpone(cursor, error)
    }
    this.pump()
  }
}
