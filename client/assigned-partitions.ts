// The partitions that a consumer has: begins those that come in, gives up those that go. Owns what is fetched. Knows no
// handler; who hands out records looks into the queue. Invariants: a partition is given up only when its handlers are done,
// the application was told, and what is done was committed, unless it is lost; one that stays is not touched.

import type { TidemarkError } from '../shared/errors.ts'
import type { Cluster } from './cluster.ts'
import type { ConsumerEmitter } from './consumer-events.ts'
import type { ConsumerSettings } from './consumer-options.ts'
import { ConsumerPartition } from './consumer-partition.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import type { PartitionCursor } from './fetch-planner.ts'
import { FetchPump, type FetchPumpOwner } from './fetch-pump.ts'
import type { GroupMembership } from './group-membership.ts'
import type { OffsetCommitter, OffsetToCommit } from './offset-committer.ts'
import type { PausedPartitions } from './paused-partitions.ts'
import { backoffMs } from './retry.ts'
import { inScope, type Scope } from './scope.ts'
import { findStartOffsets, type StartOffset } from './start-offsets.ts'
import { minus, type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'
import type { WorkQueue } from './work-queue.ts'

/** Milliseconds for the last commit, where the deadline was used up by handlers. */
const LAST_COMMIT_MS = 500

export interface AssignedContext<K, V> {
  readonly cluster: Cluster
  readonly settings: ConsumerSettings
  readonly events: ConsumerEmitter
  readonly queue: WorkQueue<ConsumerPartition<K, V>>
  readonly paused: PausedPartitions
  /** For as long as the consumer lives. */
  readonly scope: Scope
  /** There may be work. */
  readonly onWork: () => void
}

export class AssignedPartitions<K, V> implements FetchPumpOwner {
  readonly #context: AssignedContext<K, V>
  readonly #pump: FetchPump
  readonly #current = new TopicPartitionMap<ConsumerPartition<K, V>>()
  /** To be given up, and not given up yet. */
  readonly #leaving = new Set<ConsumerPartition<K, V>>()
  /** Went, and their handlers may still run: who comes in under their name waits for that. */
  readonly #former = new TopicPartitionMap<ConsumerPartition<K, V>>()
  /** How many partitions a topic had when the consumer began: those that came later begin at their first record. */
  readonly #countsAtStart = new Map<string, number>()
  #membership: GroupMembership | undefined
  #committer: OffsetCommitter | undefined

  constructor(context: AssignedContext<K, V>) {
    this.#context = context
    const { cluster, settings, scope } = context
    const what = `group ${settings.groupId}`
    this.#pump = new FetchPump(cluster, settings.pump, this, { what, signal: scope.signal })
  }

  /** Once, before anything else. */
  connect(membership: GroupMembership, committer: OffsetCommitter): void {
    this.#membership = membership
    this.#committer = committer
  }

  /** Topics as they are when the consumer begins. */
  noteTopics(): void {
    const { cluster, settings } = this.#context
    for (const topic of settings.topics) {
      this.#countsAtStart.set(topic, cluster.metadata.topic(topic)?.partitions.length ?? 0)
    }
  }

  /** What comes to be under its name begins at its first record. */
  onTopicGone(topic: string): void {
    this.#countsAtStart.set(topic, 0)
  }

  get(topic: string, partition: number): ConsumerPartition<K, V> | undefined {
    return this.#current.get(topic, partition)
  }

  /**
   * The one whose offset may be committed: also one that is to be given up. Not one that waits for handlers of its time before:
   * what they have done is not its own, and others may have been further since.
   */
  findCommittable(topic: string, partition: number): ConsumerPartition<K, V> | undefined {
    const current = this.#current.get(topic, partition)
    const isWaiting = current?.hasBegun === false && this.#former.get(topic, partition) !== undefined
    if (current !== undefined && !isWaiting) return current
    for (const one of this.#leaving) {
      if (one.topic === topic && one.partition === partition && !one.isLost) return one
    }
    return undefined
  }

  get size(): number {
    return this.#current.size
  }

  current(): Iterable<ConsumerPartition<K, V>> {
    return this.#current.values()
  }

  /** Those that are to be given up too. */
  *all(): Generator<ConsumerPartition<K, V>> {
    yield* this.#current.values()
    yield* this.#leaving
  }

  /** Those too that went and have handlers that have not come back. */
  *busy(): Generator<ConsumerPartition<K, V>> {
    yield* this.#current.values()
    yield* this.#former.values()
  }

  /** Resolves when the first of them have begun, or none came. */
  async assign(partitions: readonly TopicPartition[]): Promise<void> {
    const { cluster, paused } = this.#context
    const added = partitions.map((name) => {
      const partition = new ConsumerPartition<K, V>(name, cluster, this.#pump)
      partition.isPaused = paused.has(name)
      this.#current.set(name.topic, name.partition, partition)
      return partition
    })
    if (added.length === 0) return
    await new Promise<void>((resolve) => {
      const free = added.filter((one) => this.#former.get(one.topic, one.partition) === undefined)
      const starts = [this.#start(free, resolve), ...minus(added, free).map((one) => this.#startAfter(one))]
      Promise.all(starts)
        .catch((error: unknown) => this.#report(error, 'partitions could not be begun'))
        .finally(resolve)
      if (free.length === 0) resolve()
    })
  }

  /** One that has come back before its handlers were done, or before it had been given up. */
  async #startAfter({ topic, partition }: TopicPartition): Promise<void> {
    const mine = this.#current.get(topic, partition)
    const former = this.#former.get(topic, partition)
    if (mine === undefined || former === undefined) return
    mine.startFailure = errorOf('REBALANCE_IN_PROGRESS', "it was this member's before, and is still being given up")
    await former.gone
    if (this.#current.get(topic, partition) === mine) await this.#start([mine], () => undefined)
  }

  async revoke(
    partitions: readonly TopicPartition[],
    { isLost, reason }: { readonly isLost: boolean; readonly reason: string },
  ): Promise<void> {
    const gone: ConsumerPartition<K, V>[] = []
    for (const { topic, partition } of partitions) {
      const one = this.#current.get(topic, partition)
      if (one === undefined) continue
      this.#onLeaving(one)
      gone.push(one)
      if (!isLost) one.retire()
    }
    // Those that are being given up are lost as well.
    if (isLost) for (const one of this.#leaving) one.lose(reason)
    await this.#giveUp(gone, reason)
    // Fetches for what stays may be waiting for the room.
    this.#pump.pump()
  }

  /**
   * Everything, for good: no more is handed out. Handlers are waited for until the scope ends, what is done is committed all
   * the same. @throws the scope's reason when handlers were not done, or the commit was not.
   */
  async surrender(reason: string, scope: Scope): Promise<void> {
    const mine = [...this.#current.values()]
    for (const one of mine) {
      one.retire()
      this.#onLeaving(one)
    }
    const all = [...this.#leaving]
    let failure: TidemarkError | undefined
    try {
      await scope.race(Promise.all(all.map((one) => one.settled())))
    } catch (error) {
      failure = toTidemarkError(error, 'TIMEOUT', 'handlers')
      for (const one of all) one.abandon('the consumer closes')
    }
    const timeoutMs = Math.max(LAST_COMMIT_MS, scope.remainingMs)
    const { environment } = this.#context.cluster
    await inScope(environment, { timeoutMs, what: reason }, (last) => last.race(this.#giveUp(mine, reason)))
    if (failure !== undefined) throw failure
  }

  close(): void {
    this.#pump.close()
  }

  /** Records of partitions that are done and not committed. */
  dirty(partitions: Iterable<ConsumerPartition<K, V>> = this.all()): OffsetToCommit[] {
    const offsets: OffsetToCommit[] = []
    for (const of of partitions) {
      const { position } = of.tracker
      if (of.isLost || !of.hasBegun || position === of.committed) continue
      offsets.push({ of, offset: position, leaderEpoch: of.leaderEpoch })
    }
    return offsets
  }

  pump(): void {
    this.#pump.pump()
  }

  onRecords(cursor: PartitionCursor, bytes: Uint8Array, from: number): void {
    const partition = this.#current.get(cursor.topic, cursor.partition)
    if (partition?.cursor !== cursor) return this.#pump.onConsumed(cursor, bytes.length)
    // A small part of an answer that waits for its handler would keep all of it in memory.
    const isSmall = bytes.length * 2 < bytes.buffer.byteLength
    partition.onRecords(cursor, isSmall ? Buffer.from(bytes) : bytes, from)
    this.#context.queue.offer(partition)
  }

  onFailed(cursor: PartitionCursor, error: TidemarkError): void {
    this.#context.events.error(error)
    const known = this.#context.cluster.metadata.topic(cursor.topic)
    const isAnother = known !== undefined && known.topicId !== cursor.topicId
    if (error.code !== 'UNKNOWN_TOPIC_OR_PARTITION' || !isAnother) return
    const partition = this.#current.get(cursor.topic, cursor.partition)
    if (partition?.cursor !== cursor) return
    this.#beginAnew(partition).catch((thrown: unknown) => this.#report(thrown, `topic ${cursor.topic} was made anew`))
  }

  onMoved(
    cursor: PartitionCursor,
    move: { readonly from: number; readonly to: number; readonly reason: string },
  ): void {
    const { topic, partition } = cursor
    const moved = this.#current.get(topic, partition)
    if (moved?.cursor === cursor) moved.onMoved(move.to)
    this.#context.events.tell('moved', { topic, partition, ...move })
  }

  onProgress(): void {
    this.#context.onWork()
  }

  /** Handlers end, the application is told, what is done is committed; nothing of that when they are lost. */
  async #giveUp(partitions: readonly ConsumerPartition<K, V>[], reason: string): Promise<void> {
    const { events, settings } = this.#context
    await Promise.all(partitions.map((one) => one.settled()))
    const names = partitions.map(({ topic, partition }) => ({ topic, partition }))
    const isLost = partitions.some((one) => one.isLost)
    if (names.length > 0) await events.emit('revoked', { partitions: names, isLost, reason })
    if (settings.autoCommitEveryMs !== undefined && !isLost) {
      try {
        await this.#committer?.commit(this.dirty(partitions))
      } catch (error) {
        this.#report(error, 'offsets could not be committed before their partitions went')
      }
    }
    for (const one of partitions) {
      this.#leaving.delete(one)
      one.onGivenUp()
    }
  }

  #onLeaving(one: ConsumerPartition<K, V>): void {
    const { topic, partition } = one
    this.#current.delete(topic, partition)
    this.#leaving.add(one)
    const before = this.#former.get(topic, partition)
    this.#former.set(topic, partition, one)
    const onGone = (): void => {
      if (this.#former.get(topic, partition) === one) this.#former.delete(topic, partition)
    }
    one.gone = Promise.all([before?.gone, one.givenUp.then(() => one.idle())]).then(() => undefined)
    one.gone.then(onGone, onGone)
  }

  /** The topic has come to be a second time: what is known of its partition is of no use. */
  async #beginAnew(partition: ConsumerPartition<K, V>): Promise<void> {
    const { topic } = partition
    this.#countsAtStart.set(topic, 0)
    await this.revoke([partition], { isLost: true, reason: `topic ${topic} was deleted and made anew` })
    if (!this.#context.scope.isOver) await this.assign([{ topic, partition: partition.partition }])
  }

  async #start(partitions: readonly ConsumerPartition<K, V>[], onFirst: () => void): Promise<void> {
    const { cluster, scope } = this.#context
    let left = partitions
    for (let failures = 1; ; failures += 1) {
      left = left.filter((one) => !one.isStale && !one.hasBegun)
      if (left.length === 0 || scope.isOver) return
      const found = await this.#findOffsets(left)
      const ready = left.filter((one) => found?.has(one.topic, one.partition))
      if (found !== undefined && ready.length > 0) {
        await this.#begin(ready, found)
        onFirst()
      }
      left = left.filter((one) => !ready.includes(one))
      if (left.length === 0) return
      const pauseMs = backoffMs(failures, cluster.settings.retry, cluster.environment.random)
      await scope.sleep(pauseMs).catch(() => undefined)
    }
  }

  async #findOffsets(
    partitions: readonly ConsumerPartition<K, V>[],
  ): Promise<TopicPartitionMap<StartOffset> | undefined> {
    const { cluster, settings, scope } = this.#context
    const membership = this.#membership
    if (membership === undefined) return undefined
    const fail = (error: TidemarkError, topic?: string): void => {
      for (const one of partitions) if (topic === undefined || one.topic === topic) one.startFailure = error
    }
    const rules = {
      groupId: settings.groupId,
      fromBeginning: ({ topic, partition }: TopicPartition): boolean =>
        settings.fromBeginning || partition >= (this.#countsAtStart.get(topic) ?? 0),
    }
    const question = { partitions, rules, onFailure: (topic: string, error: TidemarkError) => fail(error, topic) }
    try {
      return await findStartOffsets(cluster, membership, question, scope)
    } catch (thrown) {
      fail(toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', 'where to begin'))
      return undefined
    }
  }

  async #begin(partitions: readonly ConsumerPartition<K, V>[], found: TopicPartitionMap<StartOffset>): Promise<void> {
    const { events, settings } = this.#context
    const begun = partitions.filter((one) => !one.isStale)
    for (const one of begun) {
      const start = found.get(one.topic, one.partition)
      if (start !== undefined) one.onStartKnown(start.offset, start.isCommitted)
    }
    if (begun.length === 0) return
    const shown = begun.map(({ topic, partition, tracker }) => ({ topic, partition, offset: tracker.position }))
    await events.emit('assigned', { partitions: shown })
    for (const one of begun) one.begin()
    this.#pump.pump()
    if (settings.autoCommitEveryMs === undefined) return
    // Where it begins is committed at once: whoever has it next would else look for the end again, and miss what is between.
    this.#committer?.commit(this.dirty(begun)).catch((error: unknown) => {
      this.#report(error, 'where partitions begin could not be committed')
    })
  }

  #report(thrown: unknown, what: string): void {
    if (this.#context.scope.isOver) return
    const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', what)
    const { topic, partition } = error
    const where = { ...(topic !== undefined && { topic }), ...(partition !== undefined && { partition }) }
    this.#context.events.error(errorOf(error.code, `${what}: ${error.message}`, { cause: error, ...where }))
  }
}
