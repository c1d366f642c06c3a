// The groups of this broker: follows which partitions of the offsets topic it leads, and finds the group that is asked for.
// Owns who is asked, and the answers that do not come from a group itself; what a group answers is its rules' alone.
//
// Leadership is looked at, not told: at every request, whenever something has happened to a partition of the topic, and once
// a second in case nobody has said so.

import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import type { ClusterChange, Coordinator, TopicDefinition } from '../coordination/coordinator.ts'
import type { PartitionManager } from '../replication/partition-manager.ts'
import type { GroupRefusal } from './group-events.ts'
import type { Group } from './group.ts'
import type { GroupOptions } from './group-state.ts'
import { DelayedOperations } from '../replication/delayed-operations.ts'
import { FetchWaiter } from '../replication/fetch-waiters.ts'
import type { Partition } from '../replication/partition.ts'
import { CoordinatedPartition } from './coordinated-partition.ts'
import { staticMemberId } from './member-id.ts'
import { OFFSETS_TOPIC, partitionOfGroup } from './offsets-topic.ts'

export interface GroupCoordinatorOptions {
  readonly coordinator: Coordinator
  readonly partitions: PartitionManager
  /** Whether others may come to lead: a broker that is alone leads what it has. */
  readonly isCluster: boolean
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly groups: Omit<GroupOptions, 'leaderEpoch' | 'isEpochKept' | 'generationBase'>
  readonly commitTimeoutMs: number
  readonly groupsMax: number
  readonly offsetsRetentionMs: number
  readonly offsetsRetentionCheckMs: number
}

/** To be told of what groups come and go. */
export interface GroupObserver {
  onGroup(group: Group): void
  onGroupGone(group: Group): void
}

export type FoundGroup =
  | { readonly kind: 'found'; readonly group: Group; readonly on: CoordinatedPartition }
  | { readonly kind: 'refused'; readonly refusal: GroupRefusal }

const LOOK_EVERY_MS = 1_000
/** More deadlines than there can be groups and batches on their way. */
const DEADLINES_MAX = 10_000_000
/** Groups that are looked at in one go for what has expired. */
const EXPIRE_AT_ONCE = 1_000
const GROUP_NAME_BYTES_MAX = 256
// Letters that nobody sees make two groups look like one.
const UNPRINTABLE = /\p{Cc}/u

export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions
  readonly #delayed: DelayedOperations
  readonly #slots: Slot[] = []
  /** By connection: the groups whose members were heard on it. */
  readonly #connections = new Map<number, Set<Group>>()
  readonly #observers: GroupObserver[] = []
  #groupCount = 0
  #staticIds = 0
  #isRunning = false
  #subscription: { remove(): void } | undefined
  #lookTimer: Timer | undefined
  #expireTimer: Timer | undefined

  constructor(options: GroupCoordinatorOptions) {
    const { clock, timers } = options
    this.#options = options
    this.#delayed = new DelayedOperations({ clock, timers, countMax: DEADLINES_MAX })
  }

  start(): void {
    this.#isRunning = true
    this.#subscription = this.#options.coordinator.subscribe((change) => this.#onChange(change))
    if (this.#options.isCluster) this.#lookLater()
    this.#expireLater()
    this.lookAtAll()
  }

  /** Whoever waits is answered. Idempotent. */
  stop(): void {
    if (!this.#isRunning) return
    this.#isRunning = false
    this.#subscription?.remove()
    this.#lookTimer?.cancel()
    this.#expireTimer?.cancel()
    for (const slot of this.#slots) slot.stop()
    this.#delayed.expireAll()
  }

  observe(observer: GroupObserver): void {
    this.#observers.push(observer)
  }

  get clock(): Clock {
    return this.#options.clock
  }

  /** A member id that nobody has had, for a member that is to be coordinated there. */
  newMemberId({ epoch }: CoordinatedPartition, who: { instance: string | undefined; clientId: string }): string {
    const { instance, clientId } = who
    const uuid = this.#options.random.uuid()
    if (instance === undefined) return `${clientId === '' ? 'member' : clientId}-${uuid}`
    this.#staticIds += 1
    return staticMemberId(instance, { leaderEpoch: epoch, number: this.#staticIds }, uuid)
  }

  get groupCount(): number {
    return this.#groupCount
  }

  /** Partitions of the offsets topic that are led here and have not been read yet. */
  get loading(): number {
    return this.#slots.reduce((sum, { current }) => sum + (current?.isServing === false ? 1 : 0), 0)
  }

  /** All groups that are coordinated here. */
  *groups(): IterableIterator<Group> {
    for (const { current } of this.#slots) if (current?.isServing === true) yield* current.groups()
  }

  /** The group, or why this broker does not answer for it. `isToBeMade`: a new one, if there is none. */
  find(name: string): FoundGroup {
    const on = this.#partitionOf(name)
    if ('error' in on) return { kind: 'refused', refusal: on }
    const group = on.findOrMake(name)
    if (group !== undefined) return { kind: 'found', group, on }
    const message = `this broker coordinates ${this.#groupCount} groups, and may not coordinate more`
    return { kind: 'refused', refusal: { error: 'POLICY_VIOLATION', message } }
  }

  /** As find, but a group that is not there is undefined. */
  findKnown(name: string): Group | GroupRefusal | undefined {
    const on = this.#partitionOf(name)
    return 'error' in on ? on : on.find(name)
  }

  /** A member of the group was heard on the connection. */
  noteConnection(connection: number, group: Group): void {
    if (group.connections.has(connection)) return
    group.connections.add(connection)
    const groups = this.#connections.get(connection)
    if (groups === undefined) this.#connections.set(connection, new Set([group]))
    else groups.add(group)
  }

  onConnectionClosed(connection: number): void {
    const groups = this.#connections.get(connection)
    if (groups === undefined) return
    this.#connections.delete(connection)
    for (const group of groups) group.onConnectionClosed(connection)
  }

  /** Looks who leads what now. */
  lookAtAll(): void {
    const topic = this.#options.coordinator.topics.byName(OFFSETS_TOPIC)
    if (topic === undefined || !this.#isRunning) return
    for (let number = 0; number < topic.partitions; number += 1) this.#slot(number).look()
  }

  #partitionOf(name: string): CoordinatedPartition | GroupRefusal {
    const fault = groupNameFault(name)
    if (fault !== undefined) return { error: 'INVALID_GROUP_ID', message: fault }
    const topic = this.#options.coordinator.topics.byName(OFFSETS_TOPIC)
    if (topic === undefined || !this.#isRunning) {
      const message = this.#isRunning ? 'groups have no topic yet: ask for their coordinator' : 'the broker is stopping'
      return { error: 'COORDINATOR_NOT_AVAILABLE', message }
    }
    const number = partitionOfGroup(name, topic.partitions)
    const slot = this.#slot(number)
    slot.look()
    if (slot.current?.isServing === true) return slot.current
    return this.#whyNot(topic, number, slot)
  }

  #whyNot(topic: TopicDefinition, number: number, slot: Slot): GroupRefusal {
    const where = `partition ${number} of ${OFFSETS_TOPIC}`
    if (slot.current !== undefined || slot.isBeginning) {
      return { error: 'COORDINATOR_LOAD_IN_PROGRESS', message: `${where} is being read` }
    }
    const leader = this.#options.coordinator.leaderships.of(topic.topicId, number)?.leader
    if (leader === undefined) return { error: 'COORDINATOR_NOT_AVAILABLE', message: `${where} has no leader` }
    return { error: 'NOT_COORDINATOR', message: `${where} is not led by this broker` }
  }

  #slot(number: number): Slot {
    return (this.#slots[number] ??= new Slot(number, this.#options, {
      clock: this.#options.clock,
      timers: this.#options.timers,
      logger: this.#options.logger,
      delayed: this.#delayed,
      groups: this.#options.groups,
      commitTimeoutMs: this.#options.commitTimeoutMs,
      groupsMax: this.#options.groupsMax,
      groupCount: () => this.#groupCount,
      onGroup: (group) => this.#onGroup(group),
      onGroupGone: (group) => this.#onGroupGone(group),
    }))
  }

  #onGroup(group: Group): void {
    this.#groupCount += 1
    for (const observer of this.#observers) observer.onGroup(group)
  }

  #onGroupGone(group: Group): void {
    this.#groupCount -= 1
    for (const connection of group.connections) {
      const groups = this.#connections.get(connection)
      groups?.delete(group)
      if (groups?.size === 0) this.#connections.delete(connection)
    }
    group.connections.clear()
    for (const observer of this.#observers) observer.onGroupGone(group)
  }

  #onChange(change: ClusterChange): void {
    switch (change.kind) {
      case 'topic-deleted':
        return this.#onTopicDeleted(change.topic.name)
      case 'topic-created':
      case 'topic-changed':
        return change.topic.name === OFFSETS_TOPIC ? this.lookAtAll() : undefined
      case 'leadership-changed': {
        const topic = this.#options.coordinator.topics.byName(OFFSETS_TOPIC)
        return change.topicId === topic?.topicId ? this.#slot(change.partition).look() : undefined
      }
      case 'session-lost':
        return this.lookAtAll()
      case 'brokers-changed':
    }
  }

  /** What was worked off of a topic that is gone says nothing of one that is made under its name. */
  #onTopicDeleted(topic: string): void {
    for (const group of [...this.groups()]) dropTopic(group, topic)
  }

  #lookLater(): void {
    this.#lookTimer = this.#options.timers.after(
      LOOK_EVERY_MS,
      () => {
        this.lookAtAll()
        this.#lookLater()
      },
      { background: true },
    )
  }

  #expireLater(): void {
    this.#expireTimer = this.#options.timers.after(
      this.#options.offsetsRetentionCheckMs,
      () => {
        if (this.#isRunning) this.#expire([...this.groups()])
        this.#expireLater()
      },
      { background: true },
    )
  }

  #expire(groups: Group[]): void {
    const { clock, offsetsRetentionMs, coordinator } = this.#options
    for (const group of groups.splice(0, EXPIRE_AT_ONCE)) {
      group.expire(clock.now(), offsetsRetentionMs)
      for (const [topic] of [...group.offsets.topics()]) {
        // Its deletion was not heard of, since somebody else led then.
        if (coordinator.topics.byName(topic) === undefined && coordinator.health().isOk) dropTopic(group, topic)
      }
    }
    if (groups.length > 0 && this.#isRunning) this.#options.timers.atEndOfTurn(() => this.#expire(groups))
  }
}

/** One partition of the offsets topic, as far as this broker has to do with it. */
class Slot {
  readonly number: number
  current: CoordinatedPartition | undefined
  /** This broker leads it, and nobody knows its end yet. */
  isBeginning = false
  readonly #options: GroupCoordinatorOptions
  readonly #parts: ConstructorParameters<typeof CoordinatedPartition>[2]
  readonly #waiter: FetchWaiter
  #watched: Partition | undefined
  #isLookScheduled = false
  /** What the last leadership had given out, should the next be one of the same epoch. */
  #generationMax = 0
  #isStopped = false

  constructor(
    number: number,
    options: GroupCoordinatorOptions,
    parts: ConstructorParameters<typeof CoordinatedPartition>[2],
  ) {
    this.number = number
    this.#options = options
    this.#parts = parts
    this.#waiter = new FetchWaiter({
      onReadable: () => {
        if (this.current === undefined) this.#lookSoon()
        else if (!this.current.isServing) this.current.onReadable()
      },
      // It is in the middle of its change.
      onPartitionGone: () => this.#lookSoon(),
    })
  }

  look(): void {
    if (this.#isStopped) return
    const partition = this.#options.partitions.find(OFFSETS_TOPIC, undefined, this.number)
    this.#watch(partition)
    const isLed = partition !== undefined && partition.checkLeading() === undefined
    const leads = isLed && partition.isLatestKnown
    this.isBeginning = isLed && !leads
    const { current } = this
    if (
      current !== undefined &&
      (!leads || current.partition !== partition || current.epoch !== partition.leaderEpoch)
    ) {
      this.#end(current)
    }
    if (leads && this.current === undefined) this.#begin(partition)
  }

  stop(): void {
    this.#isStopped = true
    this.#waiter.leave()
    if (this.current !== undefined) this.#end(this.current)
  }

  #begin(partition: Partition): void {
    const current = new CoordinatedPartition(this.number, partition, this.#parts, this.#generationMax)
    this.current = current
    current.load().catch((error: unknown) => {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#options.logger.error({ partition: this.number, reason }, 'groups could not be read')
      // Tried anew when it is looked at the next time.
      if (this.current === current) this.#end(current)
    })
  }

  #end(current: CoordinatedPartition): void {
    this.current = undefined
    current.end()
    this.#generationMax = current.generationMax
    this.#options.logger.info({ partition: this.number, leaderEpoch: current.epoch }, 'coordinates a partition no more')
  }

  #watch(partition: Partition | undefined): void {
    if (this.#watched === partition) return
    this.#waiter.leave()
    this.#watched = partition
    partition?.waiters.add(this.#waiter)
  }

  #lookSoon(): void {
    if (this.#isLookScheduled) return
    this.#isLookScheduled = true
    this.#options.timers.atEndOfTurn(() => {
      this.#isLookScheduled = false
      this.look()
    })
  }
}

function dropTopic(group: Group, topic: string): void {
  const gone = group.offsets.keys().filter((key) => key.topic === topic)
  if (gone.length > 0) group.forget(gone, () => undefined)
}

/** Why no group can have this name; undefined if one can. */
export function groupNameFault(name: string): string | undefined {
  if (name === '') return 'a group must have a name'
  const bytes = Buffer.byteLength(name)
  if (bytes > GROUP_NAME_BYTES_MAX) {
    return `the name of a group has at most ${GROUP_NAME_BYTES_MAX} bytes; this one, '${name.slice(0, 32)}…', has ${bytes}`
  }
  return UNPRINTABLE.test(name) ? 'the name of a group has no control characters' : undefined
}
