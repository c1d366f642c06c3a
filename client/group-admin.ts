// Administers groups: lists and describes them, deletes them or single offsets, and sets where they go on. Each question goes
// to the group's coordinator, or to every broker for the list. Knows what members tell each other as far as it can be read.

import type { TidemarkError } from '../shared/errors.ts'
import type { ApiName, RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import { wordsOf } from '../shared/protocol/api-words.ts'
import type { Cluster } from './cluster.ts'
import { decodeAssignment, decodeSubscription } from './consumer-protocol.ts'
import { groupName } from './consumer-options.ts'
import { findCoordinator } from './coordinator-search.ts'
import { errorFromWire, errorOf } from './errors.ts'
import { type OffsetQuestion, listOffsets, resolvePositions } from './offsets.ts'
import { checkOptions, integerFrom, isBoolean, type Rule, topicName } from './options.ts'
import { type ParsedPosition, parsePosition, type ReadPosition } from './read-position.ts'
import type { Scope } from './scope.ts'
import { comparePartitions, type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'
import { OFFSET_AT } from '../shared/protocol/offsets.ts'

/** As in Kafka: 'Empty', 'PreparingRebalance', 'CompletingRebalance', 'Stable', 'Dead'. */
export type GroupStateName = string & {}

export interface GroupListing {
  readonly groupId: string
  /** 'consumer' for consumers. */
  readonly protocolType: string
  readonly state: GroupStateName
  readonly members: number
}

export interface GroupMemberDescription {
  readonly memberId: string
  readonly instanceId: string | undefined
  readonly clientId: string
  readonly host: string
  readonly sessionTimeoutMs: number
  /** Milliseconds since it was last heard of. */
  readonly silentMs: number
  /** What it wants; undefined where what members tell each other cannot be read. */
  readonly topics: readonly string[] | undefined
  readonly partitions: readonly TopicPartition[] | undefined
}

export interface GroupOffset extends TopicPartition {
  /** The offset to go on from. */
  readonly offset: number
  readonly metadata: string
  /** Milliseconds since 1970. */
  readonly committedAt: number | undefined
}

export interface GroupPartition extends TopicPartition {
  /** undefined: nothing is committed. */
  readonly offset: number | undefined
  /** undefined: the topic is no more, or cannot be asked. */
  readonly endOffset: number | undefined
  /** Records between the two; undefined where one of them is. */
  readonly lag: number | undefined
  readonly metadata: string
  readonly committedAt: number | undefined
  /** Who has it at the moment. */
  readonly memberId: string | undefined
}

export interface GroupDescription {
  readonly groupId: string
  readonly state: GroupStateName
  readonly protocolType: string
  /** How partitions are shared out. */
  readonly protocol: string
  readonly generation: number
  readonly leader: string
  /** Milliseconds since 1970. */
  readonly stateSince: number
  readonly members: readonly GroupMemberDescription[]
  /** Those with a committed offset, and those that a member has; by topic and number. */
  readonly partitions: readonly GroupPartition[]
}

export interface GroupOffsetsRequest {
  readonly groupId: string
  /** Default: all topics. */
  readonly topic?: string | undefined
  /** Of the topic. Default: all. */
  readonly partitions?: readonly number[] | undefined
}

export interface ResetOffsetsRequest {
  readonly groupId: string
  readonly topic: string
  /** Default: all of the topic. */
  readonly partitions?: readonly number[] | undefined
  /** 'earliest', 'latest', a Date or a span like '-10m', an offset, or so many records on or back from what is committed. */
  readonly to: ReadPosition | { readonly shift: number }
  /** Only tell what would be done. */
  readonly dryRun?: boolean | undefined
}

export interface ResetOffset extends TopicPartition {
  /** Committed before; undefined: nothing. */
  readonly from: number | undefined
  /** Within what the partition has. */
  readonly to: number
}

const isPartitions: Rule = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((one) => integerFrom(0)(one) === undefined)
    ? undefined
    : 'an array of partition numbers, not empty'

const isTarget: Rule = (value) => {
  const isShift = typeof value === 'object' && value !== null && 'shift' in value
  if (!isShift) return undefined
  return Number.isSafeInteger(value.shift) && Object.keys(value).length === 1 ? undefined : '{ shift }, an integer'
}

const OFFSETS_RULES = { groupId: groupName, topic: topicName, partitions: isPartitions }
const RESET_RULES = { ...OFFSETS_RULES, to: isTarget, dryRun: isBoolean }

/** Groups of one request. */
const GROUPS_MAX = 1_000

export class GroupAdmin {
  readonly #cluster: Cluster

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** Of every broker, by name. */
  async list(states: readonly string[], scope: Scope): Promise<GroupListing[]> {
    await scope.race(this.#cluster.metadata.refresh([], false))
    const listings = this.#cluster.metadata.brokerIds().map((broker) =>
      this.#cluster.retrying('list groups', scope, true, async () => {
        const answer = await this.#cluster.ask('listGroups', { states }, scope, { isRepeatable: true, to: broker })
        if (answer.loading === 0) return answer
        throw errorOf('COORDINATOR_LOAD_IN_PROGRESS', `broker ${broker} has not read all its groups yet`)
      }),
    )
    const found = new Map<string, GroupListing>()
    for (const { groups, isCut } of await Promise.all(listings)) {
      if (isCut) this.#cluster.logger.warn({ groups: groups.length }, 'a broker has more groups than it has told of')
      for (const { group: groupId, protocolType, state, members } of groups) {
        found.set(groupId, { groupId, protocolType, state, members })
      }
    }
    return [...found.values()].toSorted((a, b) => (a.groupId < b.groupId ? -1 : 1))
  }

  /** @throws GROUP_ID_NOT_FOUND. */
  async describe(groupId: string, scope: Scope): Promise<GroupDescription> {
    checkOptions('describeGroup', { groupId }, { groupId: groupName })
    const { groups } = await this.#ask(groupId, 'describeGroups', { groups: [groupId] }, scope, firstGroupError)
    const [described] = groups
    const offsets = await this.offsets({ groupId }, scope)
    if (described === undefined || (described.state === 'Dead' && offsets.length === 0)) {
      throw errorOf('GROUP_ID_NOT_FOUND', `there is no group ${groupId}`)
    }
    const { state, protocolType, protocol, generation, leader, stateSince } = described
    const members = described.members.map((member) => describeMember(member, protocolType))
    const partitions = await this.#partitionsOf(members, offsets, scope)
    return { groupId, state, protocolType, protocol, generation, leader, stateSince, members, partitions }
  }

  /** @throws NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND; with several refusals the first, the others as its cause. */
  async delete(groupIds: readonly string[], scope: Scope): Promise<void> {
    for (const groupId of groupIds) checkOptions('deleteGroups', { groupId }, { groupId: groupName })
    if (groupIds.length > GROUPS_MAX) {
      throw errorOf('INVALID_ARGUMENT', `deleteGroups: at most ${GROUPS_MAX} groups at once, not ${groupIds.length}`)
    }
    const errors: TidemarkError[] = []
    for (const groupId of groupIds) {
      const { groups } = await this.#ask(groupId, 'deleteGroups', { groups: [groupId] }, scope, firstRetriableError)
      for (const { error, message } of groups) {
        if (error !== 0) errors.push(errorFromWire(error, `group ${groupId}: ${message ?? 'refused'}`))
      }
    }
    const [first] = errors
    if (first === undefined) return
    if (errors.length === 1) throw first
    const cause = new AggregateError(errors, `${errors.length} were refused`)
    throw errorOf(first.code, `${first.message} (and ${errors.length - 1} more)`, { cause })
  }

  /** What is committed, by topic and number. */
  async offsets(request: GroupOffsetsRequest, scope: Scope): Promise<GroupOffset[]> {
    checkOptions('fetchOffsets', request, OFFSETS_RULES)
    const { groupId, topic, partitions } = checkedOffsets('fetchOffsets', request)
    const message = { group: groupId, partitions: undefined }
    const answer = await this.#ask(groupId, 'fetchOffsets', message, scope, ({ error, message: text }) => {
      return error === 0 ? undefined : errorFromWire(error, text)
    })
    const found: GroupOffset[] = []
    for (const one of answer.partitions) {
      const isWanted = (topic === undefined || one.topic === topic) && (partitions?.includes(one.partition) ?? true)
      const { offset, metadata, committedAt } = one
      if (!isWanted || offset === undefined) continue
      found.push({ topic: one.topic, partition: one.partition, offset, metadata, committedAt })
    }
    return found.sort(comparePartitions)
  }

  /** @throws GROUP_SUBSCRIBED_TO_TOPIC. */
  async deleteOffsets(request: GroupOffsetsRequest, scope: Scope): Promise<TopicPartition[]> {
    checkOptions('deleteOffsets', request, OFFSETS_RULES)
    const { groupId } = checkedOffsets('deleteOffsets', request)
    const offsets = await this.offsets(request, scope)
    const partitions = offsets.map(({ topic, partition }) => ({ topic, partition }))
    if (partitions.length === 0) return []
    const message = { group: groupId, partitions }
    const answer = await this.#ask(
      groupId,
      'deleteOffsets',
      message,
      scope,
      ({ error, message: text, partitions: parts }) => {
        const refused = [{ error, message: text }, ...parts].find((one) => one.error !== 0)
        return refused === undefined ? undefined : errorFromWire(refused.error, refused.message)
      },
    )
    if (answer.partitions.length !== partitions.length)
      throw errorOf('MALFORMED_FRAME', 'an answer without a partition')
    return partitions
  }

  /**
   * Where the group goes on. Answers what is (or with dryRun would be) committed, partition by partition; nothing is when one
   * of them is refused. @throws NON_EMPTY_GROUP while it has members; INVALID_ARGUMENT.
   */
  async reset(request: ResetOffsetsRequest, scope: Scope): Promise<ResetOffset[]> {
    checkOptions('resetOffsets', request, RESET_RULES)
    const { groupId, topic, dryRun = false } = request
    for (const name of ['groupId', 'topic', 'to'] as const) {
      if (request[name] === undefined) throw errorOf('INVALID_ARGUMENT', `resetOffsets: ${name} must be given`)
    }
    const metadata = await this.#cluster.topic(topic, scope, { createMissing: false })
    const all = metadata.partitions.map(({ partition }) => partition)
    const partitions = request.partitions ?? all
    for (const partition of partitions) {
      if (partition < all.length) continue
      const text = `${topic} has the partitions 0 to ${all.length - 1}, not ${partition}`
      throw errorOf('INVALID_ARGUMENT', text, { topic, partition })
    }
    const before = new Map<number, number>()
    for (const { partition, offset } of await this.offsets({ groupId, topic }, scope)) before.set(partition, offset)
    const targets = await this.#targetsOf(request, partitions, before, scope)
    const plan = partitions.map((partition) => {
      return { topic, partition, from: before.get(partition), to: targets.get(partition) ?? 0 }
    })
    if (!dryRun) await this.#commit(groupId, plan, scope)
    return plan
  }

  async #targetsOf(
    { topic, to }: ResetOffsetsRequest,
    partitions: readonly number[],
    before: ReadonlyMap<number, number>,
    scope: Scope,
  ): Promise<Map<number, number>> {
    const now = this.#cluster.environment.clock.now()
    const positions = new Map<number, ParsedPosition>()
    for (const partition of partitions) {
      if (typeof to !== 'object' || to instanceof Date) {
        positions.set(partition, parsePosition(to, 'to', now))
        continue
      }
      const from = before.get(partition)
      if (from === undefined) {
        const text = `resetOffsets: nothing is committed for ${topic}-${partition} that could be shifted`
        throw errorOf('INVALID_ARGUMENT', text, { topic, partition })
      }
      positions.set(partition, { kind: 'offset', offset: Math.max(0, from + to.shift) })
    }
    const wanted = await resolvePositions(this.#cluster, topic, positions, scope)
    const ask = (at: number): Promise<readonly { partition: number; offset: number | undefined }[]> =>
      listOffsets(
        this.#cluster,
        topic,
        partitions.map((partition) => ({ partition, at })),
        scope,
      )
    const [starts, ends] = await Promise.all([ask(OFFSET_AT.earliest), ask(OFFSET_AT.latest)])
    const targets = new Map<number, number>()
    for (const [index, { partition, offset: end = 0 }] of ends.entries()) {
      const start = starts[index]?.offset ?? 0
      targets.set(partition, Math.min(end, Math.max(start, wanted.get(partition) ?? start)))
    }
    return targets
  }

  async #commit(groupId: string, plan: readonly ResetOffset[], scope: Scope): Promise<void> {
    const request: RequestOf<'commitOffsets'> = {
      group: groupId,
      // Of nobody's: taken only while the group has no members.
      member: '',
      instance: undefined,
      generation: -1,
      partitions: plan.map(({ topic, partition, to }) => {
        return { topic, partition, offset: to, leaderEpoch: undefined, metadata: '' }
      }),
    }
    await this.#ask(groupId, 'commitOffsets', request, scope, ({ partitions }) => {
      const refused = partitions.find(({ error }) => error !== 0)
      if (refused === undefined) return undefined
      const error = errorFromWire(refused.error, `group ${groupId}: ${refused.message ?? 'refused'}`)
      if (error.code !== 'UNKNOWN_MEMBER_ID') return error
      const text = `group ${groupId} has members: its offsets can be set when they have left`
      return errorOf('NON_EMPTY_GROUP', text, { cause: error })
    })
  }

  async #partitionsOf(
    members: readonly GroupMemberDescription[],
    offsets: readonly GroupOffset[],
    scope: Scope,
  ): Promise<GroupPartition[]> {
    const known = new TopicPartitionMap<{ memberId: string | undefined; committed: GroupOffset | undefined }>()
    for (const one of offsets) known.set(one.topic, one.partition, { memberId: undefined, committed: one })
    for (const { memberId, partitions = [] } of members) {
      for (const { topic, partition } of partitions) {
        known.set(topic, partition, { memberId, committed: known.get(topic, partition)?.committed })
      }
    }
    const ends = await this.#endsOf([...known.entries()], scope)
    const described = [...known.entries()].map(({ topic, partition, value: { memberId, committed } }) => {
      const endOffset = ends.get(topic, partition)
      const offset = committed?.offset
      const lag = offset === undefined || endOffset === undefined ? undefined : Math.max(0, endOffset - offset)
      const { metadata = '', committedAt } = committed ?? {}
      return { topic, partition, offset, endOffset, lag, metadata, committedAt, memberId }
    })
    return described.sort(comparePartitions)
  }

  /** What cannot be asked is left out: a group is described though one of its topics is gone. */
  async #endsOf(partitions: readonly TopicPartition[], scope: Scope): Promise<TopicPartitionMap<number>> {
    const byTopic = new Map<string, OffsetQuestion[]>()
    for (const { topic, partition } of partitions) {
      const questions = byTopic.get(topic) ?? []
      questions.push({ partition, at: OFFSET_AT.latest })
      byTopic.set(topic, questions)
    }
    const ends = new TopicPartitionMap<number>()
    const asked = [...byTopic].map(async ([topic, questions]) => {
      try {
        for (const { partition, offset } of await listOffsets(this.#cluster, topic, questions, scope)) {
          if (offset !== undefined) ends.set(topic, partition, offset)
        }
      } catch (error) {
        scope.check()
        this.#cluster.logger.debug({ topic, reason: String(error) }, 'the ends of a topic are not known')
      }
    })
    await Promise.all(asked)
    return ends
  }

  /** Asks the coordinator, and again after what may pass. @throws what `refusal` makes of the answer. */
  #ask<Name extends ApiName>(
    groupId: string,
    api: Name,
    request: RequestOf<Name>,
    scope: Scope,
    refusal: (answer: ResponseOf<Name>) => TidemarkError | undefined,
  ): Promise<ResponseOf<Name>> {
    return this.#cluster.retrying(wordsOf(api), scope, true, async () => {
      const address = await findCoordinator(this.#cluster, groupId, scope)
      const connection = await this.#cluster.connectionAt(address, 'control', scope)
      const { body } = await connection.ask(api, request, { signal: scope.signal })
      const error = refusal(body)
      if (error !== undefined) throw error
      return body
    })
  }
}

function checkedOffsets(where: string, request: GroupOffsetsRequest): GroupOffsetsRequest {
  if (request.groupId === undefined) throw errorOf('INVALID_ARGUMENT', `${where}: groupId must be given`)
  if (request.partitions === undefined || request.topic !== undefined) return request
  throw errorOf('INVALID_ARGUMENT', `${where}: partitions are those of a topic: topic must be given`)
}

function firstGroupError({ groups }: ResponseOf<'describeGroups'>): TidemarkError | undefined {
  const refused = groups.find(({ error }) => error !== 0)
  return refused === undefined ? undefined : errorFromWire(refused.error, refused.message)
}

function firstRetriableError({ groups }: ResponseOf<'deleteGroups'>): TidemarkError | undefined {
  const errors = groups.filter(({ error }) => error !== 0).map(({ error, message }) => errorFromWire(error, message))
  return errors.find(({ retriable }) => retriable)
}

function describeMember(
  member: ResponseOf<'describeGroups'>['groups'][number]['members'][number],
  protocolType: string,
): GroupMemberDescription {
  const { member: memberId, instance: instanceId, clientId, host, sessionTimeoutMs, silentMs } = member
  const read = <T>(decode: () => T): T | undefined => {
    if (protocolType !== 'consumer') return undefined
    try {
      return decode()
    } catch {
      // Another program's business.
      return undefined
    }
  }
  const topics = read(() => decodeSubscription(member.metadata).topics)
  const partitions = read(() => decodeAssignment(member.assignment))
  return { memberId, instanceId, clientId, host, sessionTimeoutMs, silentMs, topics, partitions }
}
