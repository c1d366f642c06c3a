// Administers topics and the brokers that hold them: makes, describes, changes, deletes, moves, and asks for offsets. Each
// call is one request, or one a leader; refusals of single topics become errors. Knows nothing of records.

import type { TidemarkError } from '../shared/errors.ts'
import type { RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import { wordsOf } from '../shared/protocol/api-words.ts'
import { MOVES_MAX } from '../shared/protocol/operations.ts'
import { OFFSET_AT } from '../shared/protocol/offsets.ts'
import type { Cluster } from './cluster.ts'
import { errorFromWire, errorOf } from './errors.ts'
import {
  GroupAdmin,
  type GroupDescription,
  type GroupListing,
  type GroupOffset,
  type GroupOffsetsRequest,
  type ResetOffset,
  type ResetOffsetsRequest,
} from './group-admin.ts'
import { listOffsets } from './offsets.ts'
import { checkOptions, integerFrom, isBoolean, isObject, type Rule, topicName, WAIT_RULES } from './options.ts'
import { parsePosition, type ReadPosition } from './read-position.ts'
import type { Scope, WaitOptions } from './scope.ts'
import type { TopicPartition } from './topic-partitions.ts'

export interface TopicToCreate {
  readonly topic: string
  /** Default: the broker's. */
  readonly numPartitions?: number | undefined
  /** Default: the broker's. */
  readonly replicationFactor?: number | undefined
  /** Names and values as in Kafka. */
  readonly config?: Readonly<Record<string, string | number | boolean>> | undefined
}

export interface CreateTopicsRequest {
  readonly topics: readonly TopicToCreate[]
  /** Only check, change nothing. */
  readonly validateOnly?: boolean | undefined
}

export interface CreatedTopic {
  readonly topic: string
  readonly topicId: string | undefined
  readonly partitions: number | undefined
  readonly replicationFactor: number | undefined
}

/** What is refused is thrown, so a description carries no error. */
export type TopicDescription = Omit<ResponseOf<'describeTopics'>['topics'][number], 'error' | 'message'>
export type ClusterInfo = ResponseOf<'clusterInfo'>

export interface TopicOffset {
  readonly partition: number
  /** Absent when no record is as young as the time that was asked for. */
  readonly offset: number | undefined
  readonly timestamp: number | undefined
}

export interface OffsetsRequest extends WaitOptions {
  /** 'start', 'end' (the default), 'max-timestamp', a Date or a span like '-10m'. */
  readonly at?: ReadPosition | 'max-timestamp' | undefined
  /** Default: all. */
  readonly partitions?: readonly number[] | undefined
}

export interface PartitionMove {
  readonly topic: string
  readonly partition: number
  /** The brokers that are to have a replica, the preferred leader first. Empty: the move under way is called off. */
  readonly replicas: readonly number[]
}

export interface MovePartitionsRequest {
  readonly moves: readonly PartitionMove[]
  /** Only check, change nothing. */
  readonly validateOnly?: boolean | undefined
}

export interface MovedPartition {
  readonly topic: string
  readonly partition: number
  /** Before the move. */
  readonly from: readonly number[]
  /** What is wanted now; it takes as long as the copying of the records does. */
  readonly to: readonly number[]
  /** There was nothing to do. */
  readonly isThere: boolean
}

export interface Decommission {
  /** What was set in motion by this call. */
  readonly moved: readonly MovedPartition[]
  /** Replicas that the broker has still, those included that are on their way. */
  readonly left: number
}

export interface Balance {
  /** What was set in motion by this call. */
  readonly moved: readonly MovedPartition[]
  /** Partitions that were on their way before. */
  readonly underWay: number
}

export type PartitionRecovery = ResponseOf<'recoverPartition'>

export interface TrimRequest {
  readonly topic: string
  /** The records below beforeOffset go; 'end' gives up everything that can be read now. */
  readonly partitions: readonly { readonly partition: number; readonly beforeOffset: number | 'end' }[]
}

const BALANCE_MOVES_MAX = 100

const isArray: Rule = (value) => (Array.isArray(value) && value.length > 0 ? undefined : 'an array that is not empty')

export class Admin {
  readonly #cluster: Cluster
  readonly #groups: GroupAdmin

  /** Made by client.admin(). */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.#groups = new GroupAdmin(cluster)
  }

  /** @throws TOPIC_ALREADY_EXISTS, INVALID_CONFIG and the like; with several refusals the first, the others as its cause. */
  async createTopics(request: CreateTopicsRequest, options: WaitOptions = {}): Promise<CreatedTopic[]> {
    checkOptions('createTopics', request, { topics: isArray, validateOnly: isBoolean })
    const topics = request.topics.map(toCreate)
    const validateOnly = request.validateOnly ?? false
    return this.#call('createTopics', options, async (scope) => {
      const message = { topics, validateOnly, timeoutMs: this.#timeoutMs(scope) }
      const body = await this.#change('createTopics', message, scope)
      throwRefusals(body.topics)
      if (!validateOnly)
        await this.#awaitLeaders(
          topics.map(({ topic }) => topic),
          scope,
        )
      return body.topics.map(({ topic, topicId, partitions, replicationFactor }) => ({
        topic,
        topicId,
        partitions,
        replicationFactor,
      }))
    })
  }

  /** The names of all topics, those of the machinery left out. */
  async listTopics(options: WaitOptions & { readonly includeInternal?: boolean | undefined } = {}): Promise<string[]> {
    const { includeInternal, ...wait } = options
    return this.#call('listTopics', wait, async (scope) => {
      const message = { topics: undefined, createMissing: false }
      const body = await this.#cluster.ask('metadata', message, scope, { isRepeatable: true })
      const shown = body.topics.filter(
        ({ isInternal, error }) => error === 0 && (includeInternal === true || !isInternal),
      )
      return shown.map(({ topic }) => topic).toSorted()
    })
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION. */
  async describeTopic(topic: string, options: WaitOptions = {}): Promise<TopicDescription> {
    const [described] = await this.describeTopics([topic], options)
    if (described === undefined) throw errorOf('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`, { topic })
    return described
  }

  /** All topics when none are named. @throws UNKNOWN_TOPIC_OR_PARTITION. */
  async describeTopics(topics?: readonly string[], options: WaitOptions = {}): Promise<TopicDescription[]> {
    if (topics !== undefined) checkTopics('describeTopics', topics)
    return this.#call('describeTopics', options, async (scope) => {
      const body = await this.#cluster.ask('describeTopics', { topics }, scope, { isRepeatable: true })
      throwRefusals(body.topics)
      return body.topics.map(({ error: _error, message: _message, ...topic }) => topic)
    })
  }

  /** @throws UNKNOWN_TOPIC_OR_PARTITION. */
  async deleteTopics(
    request: { readonly topics: readonly string[] } | readonly string[],
    options: WaitOptions = {},
  ): Promise<void> {
    const topics = 'topics' in request ? request.topics : request
    checkTopics('deleteTopics', topics)
    await this.#call('deleteTopics', options, async (scope) => {
      const body = await this.#change('deleteTopics', { topics, timeoutMs: this.#timeoutMs(scope) }, scope)
      throwRefusals(body.topics)
      await this.#cluster.metadata.refresh(topics, false).catch(() => undefined)
    })
  }

  /** Sets configuration, and gives back to their defaults the names in `remove`. @throws INVALID_CONFIG. */
  async alterTopic(
    request: {
      readonly topic: string
      readonly config?: TopicToCreate['config']
      readonly remove?: readonly string[] | undefined
      readonly validateOnly?: boolean | undefined
    },
    options: WaitOptions = {},
  ): Promise<void> {
    const rules = { topic: topicName, config: isObject, remove: isArray, validateOnly: isBoolean }
    checkOptions('alterTopic', request, rules)
    const { topic, config, remove = [], validateOnly = false } = request
    const message = { topic, set: toPairs(config), remove, validateOnly }
    // Doing it twice leaves the same behind.
    const how = { isRepeatable: true, to: 'controller' } as const
    await this.#call('alterTopic', options, (scope) => this.#cluster.ask('alterTopic', message, scope, how))
  }

  /** `partitions` is their number afterwards. @throws INVALID_PARTITIONS. */
  async addPartitions(
    request: { readonly topic: string; readonly partitions: number; readonly validateOnly?: boolean | undefined },
    options: WaitOptions = {},
  ): Promise<void> {
    checkOptions('addPartitions', request, { topic: topicName, partitions: integerFrom(1), validateOnly: isBoolean })
    const { topic, partitions, validateOnly = false } = request
    await this.#call('addPartitions', options, async (scope) => {
      await this.#change('addPartitions', { topic, partitions, validateOnly }, scope)
      if (!validateOnly) await this.#awaitLeaders([topic], scope)
    })
  }

  /** Gives up the records below an offset, in every partition named. Answers where the partitions begin now. */
  async trim(
    request: TrimRequest,
    options: WaitOptions = {},
  ): Promise<{ partition: number; logStartOffset: number }[]> {
    checkOptions('trim', request, { topic: topicName, partitions: isArray })
    const { topic } = request
    const wanted = request.partitions.map(({ partition, beforeOffset }) => ({
      topic,
      partition,
      beforeOffset: beforeOffset === 'end' ? -1 : checkedOffset(beforeOffset),
    }))
    return this.#call('trim', options, async (scope) => {
      const done: { partition: number; logStartOffset: number }[] = []
      for (const one of wanted) {
        const trim = (): Promise<number> => this.#trimOne(one, scope)
        const logStartOffset = await this.#cluster.retrying('trim', scope, true, trim, topic)
        done.push({ partition: one.partition, logStartOffset })
      }
      return done
    })
  }

  /** The first, the last or the offset at a time of each partition. */
  async offsets(topic: string, request: OffsetsRequest = {}): Promise<TopicOffset[]> {
    checkOptions('offsets', request, { ...WAIT_RULES, at: () => undefined, partitions: isArray })
    const { at = 'end', partitions, ...wait } = request
    const question = at === 'max-timestamp' ? OFFSET_AT.maxTimestamp : this.#questionOf(at)
    return this.#call('offsets', wait, async (scope) => {
      const metadata = await this.#cluster.topic(topic, scope, { createMissing: false })
      const wanted = partitions ?? metadata.partitions.map(({ partition }) => partition)
      const questions = wanted.map((partition) => ({ partition, at: question }))
      return listOffsets(this.#cluster, topic, questions, scope)
    })
  }

  /** The brokers, and whether all is well. */
  async describeCluster(options: WaitOptions = {}): Promise<ClusterInfo> {
    return this.#call('clusterInfo', options, (scope) =>
      this.#cluster.ask('clusterInfo', {}, scope, { isRepeatable: true }),
    )
  }

  /**
   * The broker is to lead nothing that another can lead, and to be given no more replicas, until undrainBroker. It has to
   * be there, since it keeps the mark on its own disk. Resolves before its leaderships are handed over.
   */
  async drainBroker(brokerId: number, options: WaitOptions = {}): Promise<void> {
    await this.#drain('drainBroker', brokerId, true, options)
  }

  /** Takes the mark away. */
  async undrainBroker(brokerId: number, options: WaitOptions = {}): Promise<void> {
    await this.#drain('undrainBroker', brokerId, false, options)
  }

  /**
   * Gives partitions other replicas, or calls a move off. It has begun when this resolves; describeTopics tells in `movingTo`
   * that it is not done yet. @throws INVALID_REPLICA_ASSIGNMENT; with several refusals the first, the others as its cause
   */
  async movePartitions(request: MovePartitionsRequest, options: WaitOptions = {}): Promise<MovedPartition[]> {
    checkOptions('movePartitions', request, { moves: isArray, validateOnly: isBoolean })
    const moves = request.moves.map(toMove)
    const message = { moves, validateOnly: request.validateOnly ?? false }
    return this.#call('movePartitions', options, async (scope) => {
      // Doing it twice leaves the same behind.
      const how = { isRepeatable: true, to: 'controller' } as const
      const { partitions } = await this.#cluster.ask('movePartitions', message, scope, how)
      throwRefusals(partitions)
      return partitions.map(movedFrom)
    })
  }

  /**
   * Drains a broker and moves all its replicas to others; the broker may be away for good. What is left then is told;
   * it may be stopped when that is 0. @throws INVALID_REPLICATION_FACTOR where too few brokers are left
   */
  async decommissionBroker(
    brokerId: number,
    options: WaitOptions & { readonly validateOnly?: boolean | undefined } = {},
  ): Promise<Decommission> {
    const { validateOnly = false, ...wait } = options
    checkOptions(
      'decommissionBroker',
      { brokerId, validateOnly },
      { brokerId: integerFrom(0), validateOnly: isBoolean },
    )
    return this.#call('decommissionBroker', wait, async (scope) => {
      const ask = async (isTrial: boolean) => {
        const how = { isRepeatable: true, to: 'controller' } as const
        const message = { broker: brokerId, validateOnly: isTrial }
        const answer = await this.#cluster.ask('decommissionBroker', message, scope, how)
        throwRefusals(answer.partitions)
        return answer
      }
      // Nothing is changed where it cannot be done.
      let { partitions, left } = await ask(true)
      if (!validateOnly) {
        await scope.race(this.#cluster.metadata.refresh([], false))
        if (this.#cluster.metadata.brokerIds().includes(brokerId)) {
          const request = { broker: brokerId, isDraining: true }
          await this.#cluster.ask('drainBroker', request, scope, { isRepeatable: true, to: brokerId })
        }
        ;({ partitions, left } = await ask(false))
      }
      return { moved: partitions.map(movedFrom), left }
    })
  }

  /**
   * Moves replicas from brokers that have many to those that have few, as few as that takes and at most movesMax partitions
   * (100 unless said). Asked again, it goes on. @throws as movePartitions
   */
  async balanceReplicas(
    options: WaitOptions & { readonly validateOnly?: boolean | undefined; readonly movesMax?: number | undefined } = {},
  ): Promise<Balance> {
    const { validateOnly = false, movesMax = BALANCE_MOVES_MAX, ...wait } = options
    const rules = { movesMax: integerFrom(1, MOVES_MAX), validateOnly: isBoolean }
    checkOptions('balanceReplicas', { movesMax, validateOnly }, rules)
    return this.#call('balanceReplicas', wait, async (scope) => {
      // Doing it twice leaves the brokers no less even.
      const how = { isRepeatable: true, to: 'controller' } as const
      const answer = await this.#cluster.ask('balanceReplicas', { movesMax, validateOnly }, scope, how)
      throwRefusals(answer.partitions)
      return { moved: answer.partitions.map(movedFrom), underWay: answer.underWay }
    })
  }

  /**
   * Lets the replica on a broker lead a partition whose other replicas are gone for good, though it may lack records. Only
   * tells what would be lost, unless isLossAccepted.
   */
  async recoverPartition(
    request: {
      readonly topic: string
      readonly partition: number
      readonly brokerId: number
      readonly isLossAccepted?: boolean | undefined
    },
    options: WaitOptions = {},
  ): Promise<PartitionRecovery> {
    const number = integerFrom(0)
    const rules = { topic: topicName, partition: number, brokerId: number, isLossAccepted: isBoolean }
    checkOptions('recoverPartition', request, rules)
    const { topic, partition, brokerId: broker, isLossAccepted = false } = request
    const message = { topic, partition, broker, isLossAccepted }
    return this.#call('recoverPartition', options, (scope) =>
      this.#cluster.ask('recoverPartition', message, scope, { isRepeatable: !isLossAccepted, to: broker }),
    )
  }

  /** The groups that the brokers coordinate, by name; `states` leaves out those in others. */
  async listGroups(
    options: WaitOptions & { readonly states?: readonly string[] | undefined } = {},
  ): Promise<GroupListing[]> {
    const { states = [], ...wait } = options
    return this.#call('listGroups', wait, (scope) => this.#groups.list(states, scope))
  }

  /** Members, what they have, and how far the group is in each partition. @throws GROUP_ID_NOT_FOUND. */
  async describeGroup(groupId: string, options: WaitOptions = {}): Promise<GroupDescription> {
    return this.#call('describeGroups', options, (scope) => this.#groups.describe(groupId, scope))
  }

  /** Forgets groups without members, with what they have committed. @throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND. */
  async deleteGroups(
    request: { readonly groups: readonly string[] } | readonly string[],
    options: WaitOptions = {},
  ): Promise<void> {
    const groups = 'groups' in request ? request.groups : request
    checkOptions('deleteGroups', { groups }, { groups: isArray })
    await this.#call('deleteGroups', options, (scope) => this.#groups.delete(groups, scope))
  }

  /** What a group has committed. */
  async fetchOffsets(request: GroupOffsetsRequest, options: WaitOptions = {}): Promise<GroupOffset[]> {
    return this.#call('fetchOffsets', options, (scope) => this.#groups.offsets(request, scope))
  }

  /**
   * Forgets what a group has committed, of a topic or some of its partitions. Answers what was forgotten: nothing where nothing
   * was committed. @throws GROUP_SUBSCRIBED_TO_TOPIC.
   */
  async deleteOffsets(request: GroupOffsetsRequest, options: WaitOptions = {}): Promise<TopicPartition[]> {
    return this.#call('deleteOffsets', options, (scope) => this.#groups.deleteOffsets(request, scope))
  }

  /**
   * Sets where a group without members goes on in a topic. Answers what was committed and what is; with dryRun nothing is
   * changed. @throws NON_EMPTY_GROUP, INVALID_ARGUMENT.
   */
  async resetOffsets(request: ResetOffsetsRequest, options: WaitOptions = {}): Promise<ResetOffset[]> {
    return this.#call('commitOffsets', options, (scope) => this.#groups.reset(request, scope))
  }

  async #drain(what: string, brokerId: number, isDraining: boolean, options: WaitOptions): Promise<void> {
    checkOptions(what, { brokerId }, { brokerId: integerFrom(0) })
    const how = { isRepeatable: true, to: brokerId } as const
    await this.#call(what, options, (scope) =>
      this.#cluster.ask('drainBroker', { broker: brokerId, isDraining }, scope, how),
    )
  }

  #call<T>(what: string, options: WaitOptions, work: (scope: Scope) => Promise<T>): Promise<T> {
    checkOptions(what, options, WAIT_RULES)
    return this.#cluster.call(wordsOf(what), options, work)
  }

  #change<Name extends 'createTopics' | 'deleteTopics' | 'addPartitions'>(
    api: Name,
    message: RequestOf<Name>,
    scope: Scope,
  ): Promise<ResponseOf<Name>> {
    return this.#cluster.ask(api, message, scope, { isRepeatable: false, to: 'controller' })
  }

  /** What the broker may take: a little less than is left, so that its answer comes in time. */
  #timeoutMs(scope: Scope): number {
    return Math.max(1, Math.floor(Math.min(scope.remainingMs, this.#cluster.settings.requestTimeoutMs) * 0.9))
  }

  /** A topic that was made is of use when its partitions are led; who made it should not meet the moment before. */
  async #awaitLeaders(topics: readonly string[], scope: Scope): Promise<void> {
    const { metadata } = this.#cluster
    await this.#cluster.retrying('metadata', scope, true, async () => {
      await scope.race(metadata.refresh(topics, false))
      for (const topic of topics) {
        const isLed = metadata.topic(topic)?.partitions.every(({ leader }) => leader !== undefined) === true
        if (!isLed) throw errorOf('LEADER_NOT_AVAILABLE', `${topic} has no leaders yet`, { topic })
      }
    })
  }

  async #trimOne(
    one: { readonly topic: string; readonly partition: number; readonly beforeOffset: number },
    scope: Scope,
  ): Promise<number> {
    const { topic, partition } = one
    const { brokerId } = await this.#cluster.leaderOf(topic, partition, scope)
    const how = { purpose: 'control', scope } as const
    const { body } = await this.#cluster.askBroker(brokerId, 'trim', { partitions: [one] }, how)
    const [answer] = body.partitions
    if (answer === undefined) throw errorOf('MALFORMED_FRAME', 'an answer without the partition', { topic, partition })
    if (answer.error !== 0) {
      throw errorFromWire(answer.error, answer.message ?? `trim of ${topic}-${partition}`, { topic, partition })
    }
    return answer.logStartOffset ?? 0
  }

  #questionOf(at: ReadPosition): number {
    const position = parsePosition(at, 'at', this.#cluster.environment.clock.now())
    switch (position.kind) {
      case 'earliest':
        return OFFSET_AT.earliest
      case 'latest':
        return OFFSET_AT.latest
      case 'time':
        return position.timestamp
      default:
        throw errorOf('INVALID_ARGUMENT', `offsets: at must be 'start', 'end', 'max-timestamp', a Date or '-10m'`)
    }
  }
}

function toCreate(topic: TopicToCreate): RequestOf<'createTopics'>['topics'][number] {
  const rules = {
    topic: topicName,
    numPartitions: integerFrom(1),
    replicationFactor: integerFrom(1),
    config: isObject,
  }
  checkOptions('createTopics: a topic', topic, rules)
  const { numPartitions: partitions, replicationFactor, config } = topic
  return { topic: topic.topic, partitions, replicationFactor, config: toPairs(config) }
}

const isBrokers: Rule = (value) => {
  const isList = Array.isArray(value) && value.every((id) => Number.isInteger(id) && Number(id) >= 0)
  return isList ? undefined : 'an array of broker ids'
}

function toMove(move: PartitionMove): RequestOf<'movePartitions'>['moves'][number] {
  const { topic, partition, replicas } = move
  checkOptions('movePartitions: a move', move, { topic: topicName, partition: integerFrom(0), replicas: isBrokers })
  return { topic, partition, replicas }
}

function movedFrom({ topic, partition, from, to, isThere }: MovedPartition): MovedPartition {
  return { topic, partition, from, to, isThere }
}

function toPairs(config: TopicToCreate['config']): (readonly [string, string])[] {
  return Object.entries(config ?? {}).map(([name, value]) => [name, String(value)] as const)
}

function checkTopics(where: string, topics: readonly string[]): void {
  checkOptions(where, { topics }, { topics: isArray })
  for (const topic of topics) checkOptions(where, { topic }, { topic: topicName })
}

function checkedOffset(beforeOffset: number): number {
  if (Number.isSafeInteger(beforeOffset) && beforeOffset >= 0) return beforeOffset
  throw errorOf('INVALID_ARGUMENT', `trim: beforeOffset must be an offset or 'end', not ${String(beforeOffset)}`)
}

interface Outcome {
  readonly topic: string
  readonly partition?: number
  readonly error: number
  readonly message?: string | undefined
}

/** The first refusal; all of them, when there are several, as its cause. */
function throwRefusals(outcomes: readonly Outcome[]): void {
  const errors: TidemarkError[] = []
  for (const { topic, partition, error, message } of outcomes) {
    if (error === 0) continue
    const what = partition === undefined ? `topic ${topic}` : `partition ${topic}-${partition}`
    const where = partition === undefined ? { topic } : { topic, partition }
    errors.push(errorFromWire(error, `${what}: ${message ?? 'refused'}`, where))
  }
  const [first] = errors
  if (first === undefined) return
  if (errors.length === 1) throw first
  const cause = new AggregateError(errors, `${errors.length} were refused`)
  throw errorOf(first.code, `${first.message} (and ${errors.length - 1} more)`, { topic: first.topic ?? '', cause })
}
