// Administering topics: create, delete, change, add partitions, trim. Owns what is legal to ask for; that a change happens
// wholly or not at all is the catalogue's. Every topic is answered for itself.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { TopicChange, TopicDefinition, TopicOutcome } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { topicId } from '../../shared/ids.ts'
import { PARTITIONS_PER_TOPIC_MAX } from '../../shared/limits.ts'
import { NO_ERROR, outcomeOf, refused } from './outcome.ts'
import { topicNameFault } from './topic-name.ts'

type NewTopic = RequestOf<'createTopics'>['topics'][number]
type CreatedTopic = ResponseOf<'createTopics'>['topics'][number]
type DeletedTopic = ResponseOf<'deleteTopics'>['topics'][number]
type TrimmedPartition = ResponseOf<'trim'>['partitions'][number]

/** How often a change is tried again because somebody else has changed the topic meanwhile. */
const CONFLICTS_MAX = 10

export class TopicRequests {
  readonly #services: RequestServices

  constructor(services: RequestServices) {
    this.#services = services
  }

  async createTopics(request: RequestOf<'createTopics'>): Promise<ResponseOf<'createTopics'>> {
    const topics: CreatedTopic[] = []
    const names = request.topics.map(({ topic }) => topic)
    for (const topic of request.topics) {
      const isTwice = names.indexOf(topic.topic) !== names.lastIndexOf(topic.topic)
      if (isTwice)
        topics.push(notCreated(topic.topic, refused('INVALID_REQUEST', `topic ${topic.topic} is there twice`)))
      else topics.push(await this.createOne(topic, request.validateOnly))
    }
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
    for (const name of request.topics) topics.push({ topic: name, ...(await this.#deleteOne(name)) })
    return { topics }
  }

  async alterTopic(request: RequestOf<'alterTopic'>): Promise<void> {
    await this.#change(request.topic, request.validateOnly, (topic) => {
      const config: Record<string, string> = { ...topic.config }
      for (const key of request.remove) {
        this.#services.partitions.checkConfigKey(key)
        delete config[key]
      }
      for (const [key, value] of request.set) config[key] = value
      this.#services.partitions.parseConfig(config)
      return { config }
    })
  }

  async addPartitions(request: RequestOf<'addPartitions'>): Promise<void> {
    const { topic: name, partitions } = request
    await this.#change(name, request.validateOnly, (topic) => {
      if (partitions <= topic.partitions) {
        const text = `topic ${name} has ${topic.partitions} partitions; asked for ${partitions}, which is not more`
        throw new TidemarkError('INVALID_PARTITIONS', text)
      }
      checkPartitions(partitions)
      this.#services.partitions.checkRoom(partitions - topic.partitions)
      return { partitions }
    })
  }

  async trim(request: RequestOf<'trim'>): Promise<ResponseOf<'trim'>> {
    const partitions: TrimmedPartition[] = []
    for (const part of request.partitions) {
      const { topic, partition } = part
      const found = this.#services.partitions.find(topic, undefined, partition)
      if (found === undefined) {
        const { error, message } = this.#services.partitions.whyNotFound(topic, undefined, partition)
        partitions.push({ topic, partition, ...refused(error, message), logStartOffset: undefined })
        continue
      }
      try {
        const logStartOffset = await found.trim(part.beforeOffset === -1 ? undefined : part.beforeOffset)
        partitions.push({ topic, partition, ...NO_ERROR, logStartOffset })
      } catch (error) {
        partitions.push({ topic, partition, ...outcomeOf(error, this.#services.logger), logStartOffset: undefined })
      }
    }
    return { partitions }
  }

  #define(topic: NewTopic): TopicDefinition {
    const { coordinator, limits, random, clock, partitions: manager } = this.#services
    const fault = topicNameFault(topic.topic)
    if (fault !== undefined) throw new TidemarkError('INVALID_TOPIC_EXCEPTION', fault)
    if (coordinator.topics.byName(topic.topic) !== undefined) throw exists(topic.topic)
    const brokers = coordinator.brokers().length
    const partitions = topic.partitions ?? limits.defaultPartitions
    const replicationFactor = topic.replicationFactor ?? Math.min(limits.defaultReplicationFactor, Math.max(1, brokers))
    checkPartitions(partitions)
    if (replicationFactor < 1 || replicationFactor > brokers) {
      const there = brokers === 1 ? 'is 1 broker' : `are ${brokers} brokers`
      const text = `replication factor ${replicationFactor} is not possible: there ${there}`
      throw new TidemarkError('INVALID_REPLICATION_FACTOR', text)
    }
    const config: Record<string, string> = {}
    for (const [key, value] of topic.config) {
      if (Object.hasOwn(config, key)) throw new TidemarkError('INVALID_CONFIG', `${key} is there twice`)
      config[key] = value
    }
    manager.parseConfig(config)
    manager.checkRoom(partitions)
    const id = topicId(random.uuid())
    return { topicId: id, name: topic.topic, partitions, replicationFactor, config, version: 1, createdAt: clock.now() }
  }

  async #deleteOne(name: string) {
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
