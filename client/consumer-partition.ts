// One partition that a consumer has: what was fetched of it, what is handed out, how far it is done, and what it waits for.
// Holds no rule of who works on it when. Invariant: nothing of it is handed out before it is known where it begins, nor
// after it was taken away.

import { setMaxListeners } from 'node:events'
import type { Cluster } from './cluster.ts'
import { WorkBatch } from './consumer-batch.ts'
import { errorOf } from './errors.ts'
import { PartitionCursor } from './fetch-planner.ts'
import type { FetchPump } from './fetch-pump.ts'
import { OffsetTracker } from './offset-tracker.ts'
import { type DecodeSettings, RecordChunk } from './record-chunk.ts'

/** A handler that runs. */
export interface Running {
  offset: number
  /** By the monotonic clock. */
  since: number
  /** Whether it was told that it takes long. */
  isWarned: boolean
}

/** A record that is to be handled again, or a dead letter that is to be written again. */
export interface Retrying {
  readonly offset: number
  readonly tries: number
  readonly error: Error
  /** What is tried: the handler, or writing to a topic. */
  readonly what: string
  /** By the monotonic clock. */
  readonly at: number
}

/** A batch that was taken, and the index of the message that comes next. */
export interface Work<K, V> {
  readonly batch: WorkBatch<K, V>
  readonly from: number
  /** Of the partition when it was taken; when that is another, the work is nobody's any more. */
  readonly epoch: number
}

interface Fetched<K, V> {
  readonly cursor: PartitionCursor
  readonly chunk: RecordChunk<K, V>
}

export class ConsumerPartition<K, V> {
  readonly topic: string
  readonly partition: number
  /** Since it came in, by the monotonic clock. */
  readonly since: number
  readonly tracker = new OffsetTracker(0)
  /** Handlers that run. */
  readonly running = new Set<Running>()
  retrying: Retrying | undefined
  /** The offset that the group has, as far as this member knows. */
  committed: number | undefined
  /** Why it is not known yet where it begins. */
  startFailure: Error | undefined
  /** When the record was written that was handed out last. */
  lastTimestamp: number | undefined
  /** Grows when it goes on elsewhere: what was handed out before counts no more. */
  epoch = 0
  isPaused = false
  /** It is to be given up: nothing more is handed out. */
  isStale = false
  /** Somebody else may have it. */
  isLost = false
  /** Nothing of it is to be committed any more. */
  isGivenUp = false
  /** Resolves when it has been given up, and nothing is waited for any more. */
  readonly givenUp: Promise<void>
  /** Resolves when besides no handler runs, nor one of whoever had its name before. */
  gone: Promise<void> = Promise.resolve()
  #onGivenUp: () => void = () => undefined
  readonly #pump: FetchPump
  readonly #cluster: Cluster
  readonly #controller = new AbortController()
  readonly #chunks: Fetched<K, V>[] = []
  readonly #idleWaiters: (() => void)[] = []
  readonly #staleWaiters = new Set<() => void>()
  #cursor: PartitionCursor | undefined
  #rest: Work<K, V> | undefined
  #hasBegun = false

  constructor(name: { readonly topic: string; readonly partition: number }, cluster: Cluster, pump: FetchPump) {
    this.topic = name.topic
    this.partition = name.partition
    this.#cluster = cluster
    this.#pump = pump
    this.since = cluster.environment.clock.monotonic()
    this.givenUp = new Promise((resolve) => {
      this.#onGivenUp = resolve
    })
    // Every handler may listen to it.
    setMaxListeners(0, this.#controller.signal)
  }

  /** For handlers: fires when their result is not wanted any more. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** undefined until it is known where it begins. */
  get cursor(): PartitionCursor | undefined {
    return this.#cursor
  }

  get hasWork(): boolean {
    return (this.#chunks.length > 0 || this.#rest !== undefined) && !this.isPaused && !this.isStale
  }

  /** Whether no handler runs. */
  get isIdle(): boolean {
    return this.running.size === 0
  }

  /** Records up to the end that are not handed out, as last heard. */
  get lag(): number | undefined {
    const end = this.#cursor?.highWatermark
    return end === undefined ? undefined : Math.max(0, end - this.tracker.end)
  }

  /** Whether it is known where it begins, and it has. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** Of the records that were fetched last. */
  get leaderEpoch(): number | undefined {
    return this.#cursor?.answeredEpoch
  }

  onStartKnown(offset: number, isCommitted: boolean): void {
    this.startFailure = undefined
    if (this.#hasBegun) return
    this.tracker.reset(offset)
    this.committed = isCommitted ? offset : undefined
  }

  /** From where it is known to begin, unless the application has sent it elsewhere. */
  begin(): void {
    if (!this.#hasBegun && !this.isStale) this.moveTo(this.tracker.position)
  }

  /** Offsets were passed over, or gone back to, since those that were wanted are not there. */
  onMoved(to: number): void {
    if (to >= this.tracker.end) this.tracker.passOver(to)
    else {
      this.epoch += 1
      this.tracker.reset(to)
    }
  }

  /** Goes on from an offset, and forgets what was fetched and handed out. The pump has to be told to go on. */
  moveTo(offset: number): void {
    this.epoch += 1
    this.#hasBegun = true
    this.tracker.reset(offset)
    this.#fetchFrom(offset)
  }

  /** Fetches again what comes next, not before a moment by the monotonic clock: what was fetched cannot be used. */
  fetchAgain(notBefore: number, failure: Error): void {
    this.#fetchFrom(this.tracker.end)
    if (this.#cursor === undefined) return
    this.#cursor.notBefore = notBefore
    this.#cursor.lastFailure = failure
    this.#cursor.failures = 1
  }

  #fetchFrom(offset: number): void {
    this.#drop()
    if (this.isStale) return
    const { metadata, environment } = this.#cluster
    const { topicId } = metadata.topic(this.topic) ?? {}
    const cursor = new PartitionCursor(this, { position: offset, topicId }, environment.clock.monotonic())
    cursor.isPaused = this.isPaused
    this.#cursor = cursor
    this.#pump.add(cursor)
  }

  onRecords(cursor: PartitionCursor, bytes: Uint8Array, from: number): void {
    const chunk = new RecordChunk<K, V>(this.partition, bytes, { from, to: Infinity })
    this.#chunks.push({ cursor, chunk })
  }

  /** What was taken and not handed out comes again with the next `take`: the partition pauses. */
  putBack(work: Work<K, V>): void {
    if (!this.isStale) this.#rest = work
  }

  /** The next batch that has messages; undefined when nothing is there. @throws what a damaged batch is refused with. */
  take(settings: DecodeSettings<K, V>): Work<K, V> | undefined {
    const rest = this.#rest
    if (rest !== undefined && !this.isPaused) {
      this.#rest = undefined
      return rest
    }
    for (;;) {
      const [fetched] = this.#chunks
      if (fetched === undefined || this.isStale || this.isPaused) return undefined
      const { cursor, chunk } = fetched
      try {
        const batch = WorkBatch.next(chunk, settings)
        if (batch.messages.length > 0) return { batch, from: 0, epoch: this.epoch }
        this.tracker.passOver(batch.endOffset)
      } finally {
        if (chunk.isUsedUp) {
          this.#chunks.shift()
          this.#pump.onConsumed(cursor, chunk.bytes.length)
        }
      }
    }
  }

  pause(): void {
    this.isPaused = true
    if (this.#cursor !== undefined) this.#pump.pause(this.#cursor)
  }

  resume(): void {
    this.isPaused = false
    if (this.#cursor !== undefined) this.#pump.resume(this.#cursor)
  }

  /** A handler begins; to be ended by `onHandled`. */
  onHandling(running: Running): void {
    this.running.add(running)
  }

  onHandled(running: Running): void {
    this.running.delete(running)
    if (this.running.size === 0) for (const wake of this.#idleWaiters.splice(0)) wake()
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    return this.isIdle ? Promise.resolve() : new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  /** Nothing more is handed out, and what waits to be tried again is not. */
  retire(): void {
    if (this.isStale) return
    this.isStale = true
    for (const wake of this.#staleWaiters) wake()
    this.#staleWaiters.clear()
    this.#drop()
  }

  onGivenUp(): void {
    this.isGivenUp = true
    this.#onGivenUp()
  }

  /** Resolves when no handler runs, or nobody waits for it any more. */
  async settled(): Promise<void> {
    if (this.signal.aborted) return
    const { signal } = this
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    await Promise.race([this.idle(), aborted])
  }

  /** Others may have it: what runs is not wanted any more, and what is done is not committed. */
  lose(reason: string): void {
    this.isLost = true
    this.abandon(reason)
  }

  /** What runs is not waited for any more. */
  abandon(reason: string): void {
    this.retire()
    const { topic, partition } = this
    this.#controller.abort(errorOf('ABORTED', `${topic}-${partition} is not this member's any more: ${reason}`))
  }

  /** Waits, but no longer than until the partition is to be given up. Says whether it still is this member's. */
  async pauseFor(delayMs: number): Promise<boolean> {
    if (this.isStale) return false
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel()
        this.#staleWaiters.delete(done)
        resolve()
      }
      const timer = this.#cluster.environment.timers.after(delayMs, done)
      this.#staleWaiters.add(done)
    })
    return !this.isStale
  }

  #drop(): void {
    this.#rest = undefined
    const cursor = this.#cursor
    if (cursor === undefined) return
    this.#pump.remove(cursor)
    this.#cursor = undefined
    for (const { cursor: of, chunk } of this.#chunks.splice(0)) this.#pump.onConsumed(of, chunk.bytes.length)
  }
}
