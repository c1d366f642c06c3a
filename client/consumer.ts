// A consumer: a member of a group that hands the records of its partitions to the application. Composes membership, fetching,
// handlers and commits, and owns their life: what runs, and how it ends. Each rule is in a file of its own.

import type { TidemarkError } from '../shared/errors.ts'
import { setMaxListeners } from 'node:events'
import { prepareCodec } from '../shared/compression/codec.ts'
import { AssignedPartitions } from './assigned-partitions.ts'
import { BatchRunner } from './batch-runner.ts'
import type { Cluster } from './cluster.ts'
import { ConsumerEmitter, type ConsumerEventName, type ConsumerListener } from './consumer-events.ts'
import {
  type ConsumerOptions,
  type ConsumerSettings,
  readConsumerOptions,
  readRunOptions,
  type RunOptions,
  type RunSettings,
} from './consumer-options.ts'
import type { ConsumerPartition, Running, Work } from './consumer-partition.ts'
import { ConsumerStream } from './consumer-stream.ts'
import { ConsumerWatch } from './consumer-watch.ts'
import { type Why, whyMember, whyPartition } from './consumer-why.ts'
import { CorruptBatchError, errorOf, FatalError, toTidemarkError } from './errors.ts'
import { GroupMembership } from './group-membership.ts'
import { KeyedRunner } from './keyed-runner.ts'
import { MessageRunner } from './message-runner.ts'
import { MissingTopics } from './missing-topics.ts'
import { OffsetCommitter } from './offset-committer.ts'
import { resolvePositions } from './offsets.ts'
import { checkOptions, isSignal, WAIT_RULES } from './options.ts'
import { PausedPartitions, type PartitionSelections } from './paused-partitions.ts'
import { PollWatch, type Watched } from './poll-watch.ts'
import { parsePosition, type ReadPosition } from './read-position.ts'
import { RecordFailures } from './record-failures.ts'
import type { DecodeSettings } from './record-chunk.ts'
import { inScope, Scope, type WaitOptions } from './scope.ts'
import type { TopicPartition } from './topic-partitions.ts'
import { WorkQueue } from './work-queue.ts'
import type { Runner, WorkSource } from './work-source.ts'

/** Where a partition is to go on. */
export interface SeekRequest extends TopicPartition {
  /** An offset, 'start', 'end', a Date or a span like '-10m'. */
  readonly offset: ReadPosition
}

export interface CommitOffset extends TopicPartition {
  /** The offset to go on from: one more than that of the last record that is done. */
  readonly offset: number
  /** Text that goes with it, at most 4,096 bytes. */
  readonly metadata?: string | undefined
}

const CLOSE_TIMEOUT_MS = 10_000

export class Consumer<K = Buffer, V = Buffer> {
  readonly groupId: string
  readonly #cluster: Cluster
  readonly #settings: ConsumerSettings
  readonly #decode = new Map<string, DecodeSettings<K, V>>()
  readonly #decodeOf: (topic: string) => DecodeSettings<K, V>
  readonly #events: ConsumerEmitter
  readonly #scope: Scope
  readonly #queue = new WorkQueue<ConsumerPartition<K, V>>()
  readonly #paused = new PausedPartitions()
  readonly #assigned: AssignedPartitions<K, V>
  readonly #membership: GroupMembership
  readonly #committer: OffsetCommitter
  readonly #polls: PollWatch
  readonly #missing: MissingTopics
  readonly #onClosed: () => void
  readonly #watch: ConsumerWatch
  #runner: Runner | undefined
  #stream: ConsumerStream<K, V> | undefined
  #failures: RecordFailures<K, V> | undefined
  #begun: Promise<void> | undefined
  /** Nobody takes records since. */
  #unattended: Running = { offset: 0, since: Infinity, isWarned: false }
  #onFirstAssignment: { resolve: () => void; reject: (error: Error) => void } | undefined
  #failed: TidemarkError | undefined
  #closed: Promise<void> | undefined
  /** Once it closes: resolves when all has been given up. */
  #surrendered: Promise<void> = Promise.resolve()
  #isClosing = false
  #isOver = false

  /** Made by client.consumer(). */
  constructor(cluster: Cluster, options: ConsumerOptions<K, V>, onClosed: () => void) {
    const settings = readConsumerOptions(options)
    this.groupId = settings.groupId
    this.#cluster = cluster
    this.#settings = settings
    this.#onClosed = onClosed
    const { key, value } = options.deserializers ?? {}
    this.#decodeOf = (topic) => {
      const made = this.#decode.get(topic) ?? { topic, checkCrc: settings.checkCrc, key, value }
      this.#decode.set(topic, made)
      return made
    }
    this.#events = new ConsumerEmitter(cluster.logger)
    const { environment, closing } = cluster
    this.#scope = new Scope(environment, { closing, what: `consumer of group ${settings.groupId}` })
    // Every fetch and question that waits listens to it: many at once are no leak.
    setMaxListeners(0, this.#scope.signal)
    this.#assigned = new AssignedPartitions<K, V>({
      cluster,
      settings,
      events: this.#events,
      queue: this.#queue,
      paused: this.#paused,
      scope: this.#scope,
      onWork: () => this.#runner?.wake(),
    })
    this.#membership = this.#makeMembership()
    this.#committer = new OffsetCommitter(cluster, settings, this.#membership, {
      onCommitted: (offsets, generation) => {
        if (!this.#events.has('committed')) return
        const partitions = offsets.map(({ of: { topic, partition }, offset }) => ({ topic, partition, offset }))
        this.#events.tell('committed', { partitions, generation })
      },
      onTrouble: (error) => this.#events.error(error),
    })
    this.#assigned.connect(this.#membership, this.#committer)
    this.#polls = new PollWatch(environment, settings.maxPollIntervalMs, {
      watched: () => this.#watched(),
      onSlow: (of, running, handlingMs) => this.#onSlow(of, running, handlingMs),
      onExceeded: (of, running, handlingMs) => this.#onExceeded(of, running, handlingMs),
    })
    this.#watch = new ConsumerWatch(cluster, settings, {
      events: this.#events,
      assigned: this.#assigned,
      membership: this.#membership.state,
      commit: () => this.#autoCommit(),
    })
    this.#missing = new MissingTopics(cluster.metadata, settings.topics, (topic, error) => {
      this.#assigned.onTopicGone(topic)
      this.#events.error(error)
    })
    this.#closeOn(options.signal)
  }

  /**
   * Comes into the group and hands records to eachMessage or eachBatch. Resolves when the group has shared out for the first
   * time; the handlers go on until the consumer is closed. @throws INVALID_ARGUMENT; what the group refused for good, such
   * as INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL, FENCED_INSTANCE_ID.
   */
  async run(options: RunOptions<K, V>): Promise<void> {
    const settings = readRunOptions(options)
    this.#checkFree('run')
    this.#runner = this.#makeRunner(options, settings)
    this.#closeOn(options.signal)
    this.#checkAlive()
    await this.#begin()
    for (const partition of this.#assigned.current()) this.#queue.offer(partition)
    this.#runner.wake()
  }

  /**
   * Comes into the group; the records as an iterator, one at a time. With autoCommit a message is done when the next one is
   * asked for, or when its commit() is called; without, only by commit(). Ends quietly when the signal fires or the consumer
   * is closed, which do not wait for the message in hand: it is not done, and comes again elsewhere. Who leaves the loop
   * may begin another. @throws INVALID_ARGUMENT.
   */
  stream(options: { readonly signal?: AbortSignal | undefined } = {}): ConsumerStream<K, V> {
    checkOptions('stream', options, { signal: isSignal })
    this.#checkFree('stream')
    const stream = new ConsumerStream<K, V>(this.#sourceOf('retry'), {
      isDoneByNext: this.#settings.autoCommitEveryMs !== undefined,
      commit: (partition) => {
        const committed = this.#committer.commit(this.#assigned.dirty([partition]))
        committed.catch((error: unknown) => {
          if (!this.#isOver) this.#events.error(toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', 'commit'))
        })
        return committed
      },
      onEnded: () => this.#onStreamEnded(stream),
    })
    this.#stream = stream
    this.#runner = stream
    const { signal } = options
    const end = (): void => stream.end()
    if (signal?.aborted === true) stream.end()
    else signal?.addEventListener('abort', end, { once: true })
    // Whoever asks for the next message is told.
    this.#begin().catch((error: unknown) => stream.end(toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', 'stream')))
    for (const partition of this.#assigned.current()) this.#queue.offer(partition)
    return stream
  }

  on<Name extends ConsumerEventName>(name: Name, listener: ConsumerListener<Name>): this {
    this.#events.on(name, listener)
    return this
  }

  off<Name extends ConsumerEventName>(name: Name, listener: ConsumerListener<Name>): this {
    this.#events.off(name, listener)
    return this
  }

  /** The partitions that it has, and how far it is in them. */
  assignment(): (TopicPartition & { readonly position: number })[] {
    return [...this.#assigned.current()].map(({ topic, partition, tracker }) => {
      return { topic, partition, position: tracker.position }
    })
  }

  /** What the coordinator knows it by; no id and generation -1 while it is not in the group. */
  membership(): { readonly memberId: string; readonly generation: number } {
    const { member, generation } = this.#membership.identity
    return { memberId: member, generation }
  }

  /**
   * Commits what is done, or the offsets that are given. Resolves when the coordinator has them on stable storage.
   * @throws INVALID_ARGUMENT for partitions that it does not have; ILLEGAL_GENERATION when they went meanwhile.
   */
  async commit(offsets?: readonly CommitOffset[] | CommitOffset, options: WaitOptions = {}): Promise<void> {
    checkOptions('commit', options, WAIT_RULES)
    if (this.#failed !== undefined) throw this.#failed
    // A handler of revoked may commit while the consumer closes.
    if (this.#isOver) throw errorOf('CLIENT_CLOSED', 'the consumer has been closed')
    const list = offsets === undefined ? undefined : 'topic' in offsets ? [offsets] : offsets
    const wanted =
      list === undefined
        ? this.#assigned.dirty()
        : list.map((one) => ({
            of: this.#mine('commit', one, true),
            offset: checkedOffset(one.offset),
            metadata: one.metadata,
          }))
    await this.#cluster.call('commit', options, (scope) => scope.race(this.#committer.commit(wanted)))
  }

  /** Hands out nothing of these partitions until they are resumed, also when they go and come back. */
  pause(partitions: PartitionSelections): void {
    this.#paused.set(partitions, true)
    this.#applyPauses()
  }

  /** @throws INVALID_ARGUMENT. */
  resume(partitions: PartitionSelections): void {
    this.#paused.set(partitions, false)
    this.#applyPauses()
  }

  /**
   * Goes on elsewhere in a partition: the next record that is handed out is the one there. What runs is waited for by
   * nobody, and does not count any more. @throws INVALID_ARGUMENT for a partition that it does not have.
   */
  async seek(request: SeekRequest, options: WaitOptions = {}): Promise<void> {
    checkOptions('seek', options, WAIT_RULES)
    this.#checkAlive()
    const of = this.#mine('seek', request)
    const position = parsePosition(request.offset, 'offset', this.#cluster.environment.clock.now())
    const { topic, partition } = of
    const offset =
      position.kind === 'offset'
        ? position.offset
        : await this.#cluster.call('seek', options, async (scope) => {
            const found = await resolvePositions(this.#cluster, topic, new Map([[partition, position]]), scope)
            return found.get(partition) ?? 0
          })
    // It may have gone meanwhile.
    this.#mine('seek', request).moveTo(offset)
    this.#assigned.pump()
  }

  /** Why nothing comes: a row for each partition, and one of the membership where that holds something up. */
  why(): Why[] {
    const now = this.#now()
    const { metadata } = this.#cluster
    const facts = {
      now,
      isAttended: this.#runner !== undefined,
      leaderOf: (topic: string, partition: number) => metadata.leaderOf(topic, partition)?.leader,
    }
    const rows = [...this.#assigned.all()].map((partition) => whyPartition(partition, facts))
    const member = whyMember(this.#membership.state, this.#assigned.size, now)
    return member === undefined ? rows : [member, ...rows]
  }

  /**
   * Hands out nothing more, waits for the handlers that run, tells `revoked`, commits unless autoCommit is false, and leaves,
   * so that others take over at once. timeoutMs (milliseconds, default 10,000) is for the handlers: those that are not done
   * then are not waited for, and their records come again elsewhere. Not to be awaited in a handler, which it would wait
   * for. Idempotent. @throws TIMEOUT when handlers were not done; what a last commit was refused with.
   */
  close(options: WaitOptions = {}): Promise<void> {
    this.#closed ??= this.#close(options)
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #makeMembership(): GroupMembership {
    const { groupId, instanceId, topics, assignors, sessionTimeoutMs, heartbeatIntervalMs, topicsRefreshMs } =
      this.#settings
    const settings = {
      groupId,
      instanceId,
      topics,
      assignors,
      sessionTimeoutMs,
      heartbeatIntervalMs,
      topicsRefreshMs,
      rebalanceTimeoutMs: this.#settings.maxPollIntervalMs,
    }
    return new GroupMembership(this.#cluster, settings, {
      onAssigned: (partitions) => {
        if (this.#isClosing) return
        this.#assigned
          .assign(partitions)
          .then(() => this.#onFirstAssignment?.resolve())
          .catch((error: unknown) => this.#fail(error))
      },
      // Who closes is giving everything up already: nobody is to have it before that is done, unless it is lost.
      onRevoked: (partitions, how) =>
        this.#isClosing && !how.isLost ? this.#surrendered : this.#assigned.revoke(partitions, how),
      onFailed: (error) => this.#fail(error),
    })
  }

  #makeRunner(options: RunOptions<K, V>, settings: RunSettings): Runner {
    const source = this.#sourceOf(settings)
    const { concurrency, order } = settings
    if (options.eachBatch !== undefined) return new BatchRunner<K, V>(source, options.eachBatch, concurrency)
    if (options.eachMessage === undefined) throw errorOf('INVALID_ARGUMENT', 'run: expects eachMessage or eachBatch')
    if (order === 'key') return new KeyedRunner<K, V>(source, options.eachMessage, concurrency)
    return new MessageRunner<K, V>(source, options.eachMessage, concurrency)
  }

  #sourceOf(settings: RunSettings | 'retry'): WorkSource<K, V> {
    const policy =
      settings === 'retry'
        ? ({ action: 'retry', retries: 0, backoff: { minMs: 1, maxMs: 1 }, topic: undefined } as const)
        : settings.onError
    const failures = new RecordFailures<K, V>(this.#cluster, this.groupId, policy, {
      events: this.#events,
      onFatal: (error) => this.#fail(error),
    })
    this.#failures = failures
    const { timers } = this.#cluster.environment
    return {
      queue: this.#queue,
      failures,
      take: (partition) => this.#take(partition),
      now: () => this.#now(),
      turn: () => new Promise<void>((resolve) => timers.atEndOfTurn(resolve)),
      onFault: (error) => this.#fail(error),
    }
  }

  /** What is damaged is told of, and either passed over or fetched again some time later. */
  #take(partition: ConsumerPartition<K, V>): Work<K, V> | undefined {
    const settings = this.#decodeOf(partition.topic)
    for (;;) {
      try {
        return partition.take(settings)
      } catch (thrown) {
        const error = toTidemarkError(thrown, 'CORRUPT_MESSAGE', `${partition.topic}-${partition.partition}`)
        this.#events.error(error)
        const next = error instanceof CorruptBatchError ? error.nextOffset : undefined
        if (this.#settings.pump.onQuarantined === 'skip' && next !== undefined) {
          const from = partition.tracker.end
          partition.tracker.passOver(next)
          const { topic, partition: number } = partition
          this.#events.tell('moved', { topic, partition: number, from, to: next, reason: error.message })
          continue
        }
        partition.fetchAgain(this.#now() + this.#cluster.settings.retry.maxMs, error)
        this.#assigned.pump()
        return undefined
      }
    }
  }

  #begin(): Promise<void> {
    this.#unattended.since = Infinity
    this.#begun ??= this.#comeIn()
    // Out since nobody took records: somebody does now.
    if (this.#membership.state.phase === 'out') this.#begun.then(() => this.#comeBack()).catch(() => undefined)
    return this.#begun
  }

  async #comeIn(): Promise<void> {
    const { topics } = this.#settings
    const { metadata } = this.#cluster
    // zstd may have to be loaded before the first batch that needs it; who has no such batches does not miss it.
    await prepareCodec('zstd').catch(() => undefined)
    try {
      await this.#scope.race(metadata.refresh(topics, false))
    } catch (error) {
      this.#scope.check()
      this.#events.error(toTidemarkError(error, 'CONNECTION_FAILED', 'metadata'))
    }
    this.#checkAlive()
    this.#assigned.noteTopics()
    this.#missing.start()
    const first = new Promise<void>((resolve, reject) => {
      this.#onFirstAssignment = { resolve, reject }
    })
    first.catch(() => undefined)
    this.#membership.begin()
    this.#polls.start()
    this.#watch.start()
    if (this.#failed !== undefined) throw this.#failed
    await this.#scope.race(first)
  }

  #autoCommit(): void {
    const offsets = this.#assigned.dirty()
    if (offsets.length === 0) return
    this.#committer.commit(offsets).catch((error: unknown) => {
      if (!this.#isClosing) this.#events.error(toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', 'commit'))
    })
  }

  *#watched(): Generator<Watched> {
    yield* this.#assigned.busy()
    if (this.#unattended.since !== Infinity && this.#membership.state.phase !== 'out') {
      yield { topic: '', partition: -1, running: new Set([this.#unattended]) }
    }
  }

  #onSlow({ topic, partition }: Watched, { offset }: Running, ms: number): void {
    const { maxPollIntervalMs } = this.#settings
    const handlingMs = Math.round(ms)
    if (topic === '') return
    this.#cluster.logger.warn({ topic, partition, offset, handlingMs, maxPollIntervalMs }, 'a handler takes long')
    this.#events.tell('slow', { topic, partition, offset, handlingMs, maxPollIntervalMs })
  }

  /** The member leaves, so that others go on; it comes back when its handlers have. */
  #onExceeded({ topic, partition }: Watched, { offset }: Running, ms: number): void {
    if (this.#isClosing || this.#membership.state.phase === 'out') return
    const spent = `${Math.round(ms)} ms, longer than maxPollIntervalMs (${this.#settings.maxPollIntervalMs})`
    const what =
      topic === '' ? 'nobody has taken records' : `the handler of ${topic}-${partition}, offset ${offset}, has run`
    const reason = `${what} for ${spent}`
    const where = topic === '' ? {} : { topic, partition }
    const text = `group ${this.groupId}: ${reason}: the member leaves, and its partitions go to others`
    this.#events.error(errorOf('MAX_POLL_INTERVAL_EXCEEDED', text, where))
    const overdue = [...this.#assigned.busy()].map((one) => one.idle())
    this.#membership.go(reason)
    if (topic === '') return
    Promise.all(overdue)
      .then(() => this.#comeBack())
      .catch((error: unknown) => this.#fail(error))
  }

  #comeBack(): void {
    if (!this.#isClosing && this.#failed === undefined) this.#membership.begin()
  }

  #onStreamEnded(stream: ConsumerStream<K, V>): void {
    if (this.#stream !== stream) return
    this.#stream = undefined
    this.#runner = undefined
    this.#unattended = { offset: 0, since: this.#now(), isWarned: false }
  }

  #applyPauses(): void {
    for (const partition of this.#assigned.current()) {
      const isPaused = this.#paused.has(partition)
      if (isPaused === partition.isPaused) continue
      if (isPaused) partition.pause()
      else {
        partition.resume()
        this.#queue.offer(partition)
      }
    }
    this.#runner?.wake()
  }

  /** @throws INVALID_ARGUMENT unless the consumer has it. */
  #mine(what: string, { topic, partition }: TopicPartition, isLeavingToo = false): ConsumerPartition<K, V> {
    const mine = isLeavingToo ? this.#assigned.findCommittable(topic, partition) : this.#assigned.get(topic, partition)
    if (mine !== undefined) return mine
    const text = `${what}: ${topic}-${String(partition)} is not assigned to this consumer at the moment`
    throw errorOf('INVALID_ARGUMENT', text, { topic })
  }

  #closeOn(signal: AbortSignal | undefined): void {
    const close = (): void => {
      this.close().catch((error: unknown) => this.#events.error(toTidemarkError(error, 'ABORTED', 'close')))
    }
    if (signal?.aborted === true) close()
    else signal?.addEventListener('abort', close, { once: true, signal: this.#scope.signal })
  }

  /** There is no way on: handlers are not waited for. */
  #fail(thrown: unknown): void {
    if (this.#failed !== undefined || this.#isClosing) return
    const cause = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `group ${this.groupId}`)
    const error = cause.fatal ? cause : new FatalError(cause.code, cause.message, { cause })
    this.#failed = error
    const isTold = this.#onFirstAssignment !== undefined
    this.#onFirstAssignment?.reject(error)
    if (!isTold || this.#stream === undefined) this.#events.error(error)
    this.#stream?.end(error)
    this.#closed ??= this.#close({ timeoutMs: 1 }).catch(() => undefined)
  }

  async #close(options: WaitOptions): Promise<void> {
    checkOptions('close', options, WAIT_RULES)
    this.#isClosing = true
    this.#polls.stop()
    this.#missing.stop()
    this.#watch.stop()
    this.#onFirstAssignment?.reject(errorOf('CLIENT_CLOSED', 'the consumer was closed'))
    const { environment } = this.#cluster
    this.#stream?.end()
    const wait = {
      ...options,
      timeoutMs: options.timeoutMs ?? CLOSE_TIMEOUT_MS,
      what: `close the consumer of ${this.groupId}`,
    }
    const surrendered = inScope(environment, wait, (scope) => this.#assigned.surrender('the consumer closes', scope))
    this.#surrendered = surrendered.catch(() => undefined)
    try {
      await surrendered
    } finally {
      this.#isOver = true
      await this.#membership.close('the consumer closes')
      this.#committer.close()
      this.#assigned.close()
      await this.#failures?.close()
      this.#scope.cancel(errorOf('CLIENT_CLOSED', 'the consumer was closed'))
      this.#onClosed()
    }
  }

  #checkFree(what: string): void {
    this.#checkAlive()
    if (this.#runner === undefined) return
    throw errorOf('INVALID_ARGUMENT', `${what}: the consumer runs already; a consumer has one run or stream at a time`)
  }

  #checkAlive(): void {
    if (this.#failed !== undefined) throw this.#failed
    if (this.#isClosing) throw errorOf('CLIENT_CLOSED', 'the consumer has been closed')
  }

  #now(): number {
    return this.#cluster.environment.clock.monotonic()
  }
}

function checkedOffset(offset: number): number {
  if (Number.isSafeInteger(offset) && offset >= 0) return offset
  throw errorOf('INVALID_ARGUMENT', `commit: offset must be an offset, not ${String(offset)}`)
}
