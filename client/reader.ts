// Reads a topic without a group: tail, replay, export. Fetches ahead of the application within a bound, and ends in an
// error rather than in silence. Owns what was fetched and not taken yet; the fetching itself is the pump's. Invariant:
// offsets of a partition are handed out in growing order, each once.

import { prepareCodec } from '../shared/compression/codec.ts'
import type { Cluster } from './cluster.ts'
import { CorruptBatchError, errorOf, toTidemarkError } from './errors.ts'
import { PartitionCursor } from './fetch-planner.ts'
import { FetchPump } from './fetch-pump.ts'
import { resolvePositions } from './offsets.ts'
import { type ParsedPosition, parsePosition, positionsByPartition } from './read-position.ts'
import { type ReadOptions, type ReadSettings, readReadOptions } from './reader-options.ts'
import { type DecodeSettings, type Message, RecordChunk } from './record-chunk.ts'
import { inScope, Scope, type WaitOptions } from './scope.ts'

interface Fetched<K, V> {
  readonly cursor: PartitionCursor
  readonly chunk: RecordChunk<K, V>
}

export class Reader<K = Buffer, V = Buffer> implements AsyncIterableIterator<Message<K, V>, undefined> {
  readonly topic: string
  readonly #cluster: Cluster
  readonly #settings: ReadSettings
  readonly #decode: DecodeSettings<K, V>
  readonly #scope: Scope
  readonly #now: () => number
  readonly #chunks: Fetched<K, V>[] = []
  readonly #waiters: (() => void)[] = []
  readonly #started: Promise<void>
  readonly #onClosed: () => void
  readonly #pump: FetchPump
  /** Whether it is known from which offsets on is read. */
  #hasBegun = false
  #messages: readonly Message<K, V>[] = []
  #next = 0
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
    this.#scope = new Scope(environment, { signal: options.signal, closing, what: `read ${topic}` })
    this.#pump = new FetchPump(
      cluster,
      settings,
      {
        onRecords: (cursor, bytes, from) => {
          const chunk = new RecordChunk<K, V>(cursor.partition, bytes, { from, to: cursor.endOffset ?? Infinity })
          this.#chunks.push({ cursor, chunk })
        },
        onFailed: (_, error) => this.#fail(error),
        onMoved: () => undefined,
        onProgress: () => this.#wake(),
      },
      { what: topic, signal: this.#scope.signal },
    )
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
    for (const { partition, position, highWatermark } of this.#pump.cursors) {
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
      const [fetched] = this.#chunks
      if (fetched === undefined) return undefined
      const { cursor, chunk } = fetched
      const batch = this.#decodeNext(chunk)
      if (chunk.isUsedUp) {
        this.#chunks.shift()
        this.#pump.onConsumed(cursor, chunk.bytes.length)
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
      if (this.#hasBegun && this.#pump.isDone && this.#chunks.length === 0) {
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
        const cursors = await this.#findCursors(scope)
        for (const cursor of cursors) this.#pump.add(cursor)
        this.#hasBegun = true
      })
    } catch (error) {
      this.#fail(error)
      throw error
    }
    this.#pump.pump()
    this.#wake()
  }

  async #findCursors(scope: Scope): Promise<PartitionCursor[]> {
    // zstd may have to be loaded before the first batch that needs it; who has no such batches does not miss it.
    await prepareCodec('zstd').catch(() => undefined)
    const { topic } = this
    const metadata = await this.#cluster.topic(topic, scope, { createMissing: false })
    const { topicId } = metadata
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
    return partitions.map((partition) => {
      const start = { position: startOffsets.get(partition) ?? 0, endOffset: endOffsets.get(partition), topicId }
      return new PartitionCursor({ topic, partition }, start, now)
    })
  }

  #fail(thrown: unknown): void {
    if (this.#isOver) return
    this.#error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `read ${this.topic}`)
    this.#end()
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#pump.close()
    this.#messages = []
    this.#next = 0
    this.#chunks.length = 0
    // Wakes the fetch that waits at a broker; nobody listens to its answer.
    this.#scope.cancel(errorOf('CLIENT_CLOSED', 'the reader was closed'))
    this.#onClosed()
    this.#wake()
  }
}
