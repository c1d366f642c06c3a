// Administering topics: create, delete, change, add partitions, trim. Owns what is legal to ask for; that a change happens
// wholly or not at all is the catalogue's. Every topic is answered for itself.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { TopicChange, TopicDefinition, TopicOutcome } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { TopicId } from '../../shared/ids.ts'
import { topicId } from '../../shared/ids.ts'
import { PARTITIONS_PER_TOPIC_MAX } from '../../shared/limits.ts'
import { hostedPartitions } from '../storage/hosted-partitions.ts'
import { minInSyncReplicasOf } from '../storage/log-config.ts'
import type { Replicas } from './assignment.ts'
import { assign, assignMore, candidates, checkChosen, drained } from './assignment.ts'
import { whenLed, within } from './bounded-wait.ts'
import type { AskedAlteration, AskedPartitions, AskedTopic } from './other-requests.ts'
import { type Assignment, checkReplicationFactor } from './placement.ts'
import { NO_ERROR, outcomeOf, refused } from './outcome.ts'
import { servedPartition } from './served-partition.ts'
import { isInternalTopic } from '../groups/offsets-topic.ts'
import { topicNameFault } from './topic-name.ts'

type NewTopic = RequestOf<'createTopics'>['topics'][number] & AskedTopic
type NewTopics = Omit<RequestOf<'createTopics'>, 'topics'> & { readonly topics: readonly NewTopic[] }
type Alteration = RequestOf<'alterTopic'> & AskedAlteration
type MorePartitions = RequestOf<'addPartitions'> & AskedPartitions
type CreatedTopic = ResponseOf<'createTopics'>['topics'][number]
type DeletedTopic = ResponseOf<'deleteTopics'>['topics'][number]
type TrimmedPartition = ResponseOf<'trim'>['partitions'][number]

interface Wanted {
  readonly topicId: TopicId
  readonly from: number
  readonly to: number
}

const MIN_IN_SYNC = 'min.insync.replicas'
/** No request waits longer, whatever it asks for. */
const WAIT_MS_MAX = 300_000
/** How long leaders of added partitions are waited for: the request names no time. */
const ADDED_WAIT_MS = 5_000
/** Which broker comes first among equals is drawn from so many. */
const START_AT_END = 0x1_0000
/** In place of the offset that a partition is trimmed to. */
const AT_END = -1
/** How often a change is tried again because somebody else has changed the topic meanwhile. */
const CONFLICTS_MAX = 10

export class TopicRequests {
  readonly #services: RequestServices

  constructor(services: RequestServices) {
    this.#services = services
  }

  /** Answers when the topics are led, or when the time is up: they are there then all the same. */
  async createTopics(request: NewTopics): Promise<ResponseOf<'createTopics'>> {
    const deadlineMs = this.#services.clock.monotonic() + Math.min(request.timeoutMs, WAIT_MS_MAX)
    const topics: CreatedTopic[] = []
    const names = request.topics.map(({ topic }) => topic)
    for (const topic of request.topics) {
      const isTwice = names.indexOf(topic.topic) !== names.lastIndexOf(topic.topic)
      if (isTwice)
        topics.push(notCreated(topic.topic, refused('INVALID_REQUEST', `topic ${topic.topic} is there twice`)))
      else if (isInternalTopic(topic.topic)) topics.push(notCreated(topic.topic, ownTopic(topic.topic, 'made')))
      else topics.push(await this.createOne(topic, request.validateOnly))
    }
    const awaited = topics.flatMap(({ topicId: id, partitions = 0 }): Wanted[] => {
      return id === undefined ? [] : [{ topicId: topicId(id), from: 0, to: partitions }]
    })
    await this.#whenLed(awaited, deadlineMs - this.#services.clock.monotonic())
    return { topics }
  }

  async createOne(topic: NewTopic, validateOnly: boolean): Promise<CreatedTopic> {
    try {
      const definition = this.#define(topic)
      if (!validateOnly) {
        const outcome = await this.#services.coordinator.topics.create(this.#services.random.uuid(), definition)
        if (outcome.kind !== 'done') throw exists(topic.topic)
        await this.#services.partitions.whenOpen(definition.topicId)
      }
      const { partitions, replicationFactor } = definition
      const id = validateOnly ? undefined : definition.topicId
      return { topic: topic.topic, ...NO_ERROR, topicId: id, partitions, replicationFactor }
    } catch (error) {
      return notCreated(topic.topic, outcomeOf(error, this.#services.logger))
    }
  }

  async deleteTopics(request: RequestOf<'deleteTopics'>): Promise<ResponseOf<'deleteTopics'>> {
    const topics: DeletedTopic[] = []
    const deadlineMs = this.#services.clock.monotonic() + Math.min(request.timeoutMs, WAIT_MS_MAX)
    for (const name of request.topics) {
      const leftMs = Math.max(0, deadlineMs - this.#services.clock.monotonic())
      const outcome = await within(this.#services.delayed, leftMs, this.#deleteOne(name))
      const late = `it is not known yet whether topic ${name} has been deleted; it is being tried`
      topics.push({ topic: name, ...(outcome ?? refused('REQUEST_TIMED_OUT', late)) })
    }
    return { topics }
  }

  async alterTopic(request: Alteration): Promise<void> {
    await this.#change(request.topic, request.validateOnly, (topic) => {
      const kept = topic.config[MIN_IN_SYNC]
      // Which topics of a cluster have for good, so that who replaces the others does not mean it.
      const fixed = topic.assignment === undefined || kept === undefined ? {} : { [MIN_IN_SYNC]: kept }
      const config: Record<string, string> = request.replaces === true ? fixed : { ...topic.config }
      for (const key of request.remove) {
        this.#services.partitions.checkConfigKey(key)
        delete config[key]
      }
      for (const [key, value] of request.set) config[key] = value
      for (const [key, value] of request.append ?? []) config[key] = this.#changeList(config, key, value, true)
      for (const [key, value] of request.subtract ?? []) config[key] = this.#changeList(config, key, value, false)
      checkUnchanged(topic, config)
      this.#services.partitions.parseConfig(config)
      return { config }
    })
  }

  /** The list with the values in it, or without them. @throws INVALID_CONFIG where the setting is none */
  #changeList(config: Readonly<Record<string, string>>, key: string, text: string, isThere: boolean): string {
    this.#services.partitions.checkConfigKey(key)
    const setting = this.#services.partitions.describeConfig(config).find(({ name }) => name === key)
    if (setting?.type !== 'list') throw new TidemarkError('INVALID_CONFIG', `${key} is no list`)
    const values = text.split(',').map((value) => value.trim())
    const others = setting.value.split(',').filter((value) => !values.includes(value.trim()))
    return [...others, ...(isThere ? values : [])].join(',')
  }

  async addPartitions(request: MorePartitions): Promise<void> {
    const { topic: name, partitions } = request
    // Which partition a group is in hangs on how many there are.
    if (isInternalTopic(name)) throw new TidemarkError('INVALID_TOPIC_EXCEPTION', ownTopic(name, 'grown').message)
    let before: TopicDefinition | undefined
    await this.#change(name, request.validateOnly, (topic) => {
      if (partitions <= topic.partitions) {
        const text = `topic ${name} has ${topic.partitions} partitions; asked for ${partitions}, which is not more`
        throw new TidemarkError('INVALID_PARTITIONS', text)
      }
      checkPartitions(partitions)
      before = topic
      if (request.replicas !== undefined && request.replicas.length !== partitions - topic.partitions) {
        const text = `${partitions - topic.partitions} partitions are added, brokers are named for ${request.replicas.length}`
        throw new TidemarkError('INVALID_REPLICA_ASSIGNMENT', text)
      }
      const replicas = this.#assignMore(topic, partitions, request.replicas)
      this.#checkRoom({ ...topic, ...replicas, partitions }, topic)
      return { partitions, ...replicas }
    })
    if (before === undefined || request.validateOnly) return
    await this.#whenLed([{ topicId: before.topicId, from: before.partitions, to: partitions }], ADDED_WAIT_MS)
  }

  async trim(request: RequestOf<'trim'>): Promise<ResponseOf<'trim'>> {
    const partitions: TrimmedPartition[] = []
    for (const part of request.partitions) {
      const { topic, partition } = part
      if (isInternalTopic(topic)) {
        partitions.push({ topic, partition, ...ownTopic(topic, 'trimmed'), logStartOffset: undefined })
        continue
      }
      const { partition: found, refusal } = servedPartition(this.#services, topic, partition, (one) =>
        one.checkServing(),
      )
      if (refusal !== undefined) {
        partitions.push({ topic, partition, ...refused(refusal.error, refusal.message), logStartOffset: undefined })
        continue
      }
      const { beforeOffset } = part
      if (beforeOffset < AT_END) {
        const text = `${beforeOffset} is no offset; ${AT_END} stands for the end`
        partitions.push({ topic, partition, ...refused('OFFSET_OUT_OF_RANGE', text), logStartOffset: undefined })
        continue
      }
      try {
        const logStartOffset = await found.trim(beforeOffset === AT_END ? undefined : beforeOffset)
        partitions.push({ topic, partition, ...NO_ERROR, logStartOffset })
      } catch (error) {
        partitions.push({ topic, partition, ...outcomeOf(error, this.#services.logger), logStartOffset: undefined })
      }
    }
    return { partitions }
  }

  #define(topic: NewTopic): TopicDefinition {
    const { coordinator, limits, random, clock, partitions: manager, isCluster = false } = this.#services
    const fault = topicNameFault(topic.topic)
    if (fault !== undefined) throw new TidemarkError('INVALID_TOPIC_EXCEPTION', fault)
    if (coordinator.topics.byName(topic.topic) !== undefined) throw exists(topic.topic)
    const brokers = isCluster ? candidates(coordinator).length : coordinator.brokers().length
    const { replicas } = topic
    if (replicas !== undefined && (topic.partitions ?? topic.replicationFactor) !== undefined) {
      throw new TidemarkError('INVALID_REQUEST', 'either brokers are named for each partition, or numbers are given')
    }
    const partitions = topic.partitions ?? replicas?.length ?? limits.defaultPartitions
    const replicationFactor =
      topic.replicationFactor ??
      replicas?.[0]?.length ??
      Math.min(limits.defaultReplicationFactor, Math.max(1, brokers))
    checkPartitions(partitions)
    checkReplicationFactor(replicationFactor, brokers, isCluster ? drained(coordinator) : [])
    const chosen = replicas && checkChosen(coordinator, replicas, replicationFactor)
    const config: Record<string, string> = {}
    for (const [key, value] of topic.config) {
      if (Object.hasOwn(config, key)) throw new TidemarkError('INVALID_CONFIG', `${key} is there twice`)
      config[key] = value
    }
    manager.parseConfig(config)
    const id = topicId(random.uuid())
    const basis = { topicId: id, name: topic.topic, partitions, replicationFactor, version: 1, createdAt: clock.now() }
    const definition = isCluster
      ? {
          ...basis,
          config: this.#withMinInSync(replicationFactor, config),
          ...this.#assign(partitions, replicationFactor, chosen),
        }
      : { ...basis, config }
    this.#checkRoom(definition, undefined)
    return definition
  }

  #assign(partitions: number, replicationFactor: number, chosen: Assignment | undefined): Replicas {
    const { coordinator, random } = this.#services
    return assign(coordinator, { partitions, replicationFactor }, random.integer(START_AT_END), chosen)
  }

  /** Nothing for a topic that one broker has alone. */
  #assignMore(
    topic: TopicDefinition,
    partitions: number,
    replicas: AskedPartitions['replicas'],
  ): Partial<Replicas> & Pick<TopicChange, 'origins'> {
    const { assignment, directories = {} } = topic
    const { coordinator, random } = this.#services
    const chosen = replicas && checkChosen(coordinator, replicas, topic.replicationFactor)
    if (assignment === undefined) return {}
    const before = { assignment, directories }
    const startAt = random.integer(START_AT_END)
    return assignMore(coordinator, topic, before, { partitions, startAt, chosen })
  }

  /**
   * The number is written into the topic: all its replicas must go by the same one for ever, whatever their brokers are
   * told later.
   */
  #withMinInSync(replicationFactor: number, config: Readonly<Record<string, string>>): Record<string, string> {
    const described = this.#services.partitions.describeConfig(config).find(({ name }) => name === MIN_IN_SYNC)
    const defaults = described?.source === 'broker' ? { [MIN_IN_SYNC]: described.value } : {}
    return { ...config, [MIN_IN_SYNC]: String(minInSyncReplicasOf({ replicationFactor, config }, defaults)) }
  }

  /** @throws TOO_MANY_PARTITIONS unless this broker may hold what it would get */
  #checkRoom(definition: TopicDefinition, before: TopicDefinition | undefined): void {
    const { brokerId, partitions } = this.#services
    const held = before === undefined ? 0 : hostedPartitions(before, brokerId).length
    const added = hostedPartitions(definition, brokerId).length - held
    if (added > 0) partitions.checkRoom(added)
  }

  /** A broker that is alone leads what it has opened. */
  async #whenLed(wanted: readonly Wanted[], timeoutMs: number): Promise<void> {
    if (this.#services.isCluster !== true || wanted.length === 0) return
    const awaited = wanted.map(({ topicId: id, from, to }) => {
      return [id, new Set(Array.from({ length: to - from }, (_, at) => from + at))] as const
    })
    await whenLed(this.#services, new Map(awaited), timeoutMs)
  }

  async #deleteOne(name: string) {
    if (isInternalTopic(name)) return ownTopic(name, 'deleted')
    const topic = this.#services.coordinator.topics.byName(name)
    if (topic === undefined) return refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${name}`)
    try {
      const outcome = await this.#services.coordinator.topics.delete(this.#services.random.uuid(), topic.topicId)
      if (outcome.kind === 'missing') return refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${name}`)
      return NO_ERROR
    } catch (error) {
      return outcomeOf(error, this.#services.logger)
    }
  }

  /** Works out a change from the topic as it is, and again if the topic has changed meanwhile. */
  async #change(name: string, validateOnly: boolean, plan: (topic: TopicDefinition) => TopicChange): Promise<void> {
    const { coordinator, partitions, random } = this.#services
    for (let attempt = 0; attempt < CONFLICTS_MAX; attempt += 1) {
      const topic = coordinator.topics.byName(name)
      if (topic === undefined) throw unknownTopic(name)
      const change = plan(topic)
      if (validateOnly) return
      const outcome: TopicOutcome = await coordinator.topics.change(random.uuid(), topic.topicId, topic.version, change)
      if (outcome.kind === 'missing') throw unknownTopic(name)
      if (outcome.kind === 'done') return partitions.whenOpen(topic.topicId)
    }
    throw new TidemarkError('NOT_CONTROLLER', `topic ${name} is being changed by others all the time; ask again`)
  }
}

/** Two replicas that counted differently could elect a leader that lacks what the other has acknowledged. */
function checkUnchanged(topic: TopicDefinition, config: Readonly<Record<string, string>>): void {
  if (topic.assignment === undefined || config[MIN_IN_SYNC] === topic.config[MIN_IN_SYNC]) return
  const text = `${MIN_IN_SYNC} of topic ${topic.name} cannot be changed once the topic has replicas`
  throw new TidemarkError('INVALID_CONFIG', text)
}

function ownTopic(name: string, what: string) {
  return refused('INVALID_TOPIC_EXCEPTION', `${name} is kept by the brokers themselves: it cannot be ${what}`)
}

function checkPartitions(partitions: number): void {
  if (partitions < 1 || partitions > PARTITIONS_PER_TOPIC_MAX) {
    const text = `a topic has 1 to ${PARTITIONS_PER_TOPIC_MAX} partitions, not ${partitions}`
    throw new TidemarkError('INVALID_PARTITIONS', text)
  }
}

function notCreated(topic: string, outcome: { error: number; message: string | undefined }): CreatedTopic {
  return { topic, ...outcome, topicId: undefined, partitions: undefined, replicationFactor: undefined }
}

function exists(name: string): TidemarkError {
  return new TidemarkError('TOPIC_ALREADY_EXISTS', `topic ${name} exists already`)
}

function unknownTopic(name: string): TidemarkError {
  return new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${name}`)
}
