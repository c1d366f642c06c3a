// The settings of topics that are copied: what the source has set, what the target takes, and what is held back until the copy
// is complete. Owns which settings go when; knows nothing of records.
//
// While a topic is being copied nothing of it may be cleaned up at the target, and no times may be stamped: else the copy could
// be compared with nothing. A topic that was made for a copy says so by these three settings, which together nobody has.

import type { KafkaCluster, KnownTopic } from './kafka-cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { createTopics } from '../protocols/kafka/19-create-topics.ts'
import { deleteRecords } from '../protocols/kafka/21-delete-records.ts'
import { describeConfigs } from '../protocols/kafka/32-describe-configs.ts'
import { createPartitions } from '../protocols/kafka/37-create-partitions.ts'
import { incrementalAlterConfigs } from '../protocols/kafka/44-incremental-alter-configs.ts'
import { checkCode } from './kafka-cluster.ts'

export interface TopicSettings {
  /** What was set for the topic itself. */
  readonly own: ReadonlyMap<string, string>
  /** What is in force, wherever it comes from. */
  readonly all: ReadonlyMap<string, string>
}

/** A setting that the target does not take, and why. */
export interface RefusedSetting {
  readonly name: string
  readonly value: string
  readonly why: string
}

const HELD: ReadonlyMap<string, string> = new Map([
  ['cleanup.policy', 'delete'],
  ['retention.ms', '-1'],
  ['retention.bytes', '-1'],
])
/** Set when the copy is complete. */
const LATER: ReadonlySet<string> = new Set([...HELD.keys(), 'message.timestamp.type'])
/** What says something of the brokers of the source only. */
const LEFT_OUT = /\.replication\.throttled\.replicas$/
const MESSAGE_BYTES = 'max.message.bytes'

const TOPIC = 2
const OWN = 1
const SET = 0
const REMOVE = 1

/** @throws TidemarkError */
export async function topicSettings(cluster: KafkaCluster, topic: string): Promise<TopicSettings> {
  const what = `the settings of ${topic}`
  return await cluster.persist(what, async () => {
    const resource = { resourceType: TOPIC, resourceName: topic, configurationKeys: undefined }
    const answer = await cluster.askOnce('any', describeConfigs, { resources: [resource] })
    const found = answer.results[0]
    checkCode(found?.errorCode ?? 0, what, found?.errorMessage)
    const known = (found?.configs ?? []).flatMap(({ name, value, configSource }) => {
      return value === undefined ? [] : [{ name, value, isOwn: configSource === OWN }]
    })
    const pairs = (some: typeof known): ReadonlyMap<string, string> => new Map(some.map((one) => [one.name, one.value]))
    return { own: pairs(known.filter(({ isOwn }) => isOwn)), all: pairs(known) }
  })
}

/** Whether the topic was made for a copy that is not complete. */
export function isHeld({ own }: TopicSettings): boolean {
  return [...HELD].every(([name, value]) => own.get(name) === value)
}

/** Whether compaction may take records away. */
export function isCompacted({ all }: TopicSettings): boolean {
  return (all.get('cleanup.policy') ?? '').includes('compact')
}

/** What was set for the topic at the source and is otherwise at the target, as far as the target knows of it. */
export function differingSettings(source: TopicSettings, target: TopicSettings): readonly string[] {
  return [...source.own].flatMap(([name, value]) => {
    const there = target.all.get(name)
    return there === undefined || there === value || LEFT_OUT.test(name) ? [] : [`${name}=${there} instead of ${value}`]
  })
}

/** Makes an empty topic for a copy. @throws TidemarkError */
export async function createHeld(cluster: KafkaCluster, topic: KnownTopic, replicationFactor: number): Promise<void> {
  const { name, partitionCount } = topic
  const configs = [...HELD].map(([key, value]) => ({ name: key, value }))
  const wish = { name, numPartitions: partitionCount, replicationFactor, assignments: [], configs }
  await cluster.persist(`topic ${name}`, async () => {
    const question = { topics: [wish], timeoutMs: 30_000, validateOnly: false }
    const answer = await cluster.askOnce('controller', createTopics, question)
    const made = answer.topics[0]
    if (made?.errorCode === ALREADY_EXISTS) return
    checkCode(made?.errorCode ?? 0, `topic ${name}`, made?.errorMessage)
  })
}

const ALREADY_EXISTS = 36

/** The source has got more partitions since the last run. @throws TidemarkError */
export async function addPartitions(cluster: KafkaCluster, topic: string, count: number): Promise<void> {
  const what = `the partitions of ${topic}`
  await cluster.persist(what, async () => {
    const question = {
      topics: [{ name: topic, count, assignments: undefined }],
      timeoutMs: 30_000,
      validateOnly: false,
    }
    const answer = await cluster.askOnce('controller', createPartitions, question)
    checkCode(answer.results[0]?.errorCode ?? 0, what, answer.results[0]?.errorMessage)
  })
}

/** What can be set before anything is copied. */
export async function setAtFirst(
  cluster: KafkaCluster,
  topic: string,
  source: TopicSettings,
  replicationFactor: number,
): Promise<readonly RefusedSetting[]> {
  const target = await topicSettings(cluster, topic)
  const refused: RefusedSetting[] = []
  const wanted = [...source.own].filter(([name]) => !LATER.has(name) && !LEFT_OUT.test(name))
  const bytes = source.all.get(MESSAGE_BYTES)
  const isLarger = bytes !== undefined && Number(bytes) > Number(target.all.get(MESSAGE_BYTES) ?? 0)
  if (isLarger && !source.own.has(MESSAGE_BYTES)) wanted.push([MESSAGE_BYTES, bytes])
  for (const [name, value] of wanted) {
    if (target.own.get(name) === value) continue
    if (name === 'min.insync.replicas' && Number(value) > replicationFactor) {
      refused.push({ name, value, why: `the topic has ${replicationFactor} replicas there` })
      continue
    }
    const why = await alter(cluster, topic, [{ name, value, configOperation: SET }])
    if (why !== undefined) refused.push({ name, value, why })
  }
  return refused
}

/** What was held back. */
export async function setAtLast(
  cluster: KafkaCluster,
  topic: string,
  source: TopicSettings,
): Promise<readonly RefusedSetting[]> {
  const refused: RefusedSetting[] = []
  const changes = [...LATER].flatMap((name): readonly Change[] => {
    const value = source.own.get(name)
    if (value !== undefined) return [{ name, value, configOperation: SET }]
    return HELD.has(name) ? [{ name, value: undefined, configOperation: REMOVE }] : []
  })
  // Together, so that a copy half released is none; one by one where one of them is not taken.
  const why = await alter(cluster, topic, changes)
  if (why === undefined) return refused
  for (const change of changes) {
    const reason = await alter(cluster, topic, [change])
    if (reason !== undefined) refused.push({ name: change.name, value: change.value ?? '', why: reason })
  }
  return refused
}

/** The first offset of a copy. @throws TidemarkError */
export async function trim(cluster: KafkaCluster, topic: string, partition: number, before: number): Promise<void> {
  const what = `the start of ${topic}-${partition}`
  await cluster.persist(what, async () => {
    const partitions = [{ partitionIndex: partition, offset: before }]
    const question = { topics: [{ name: topic, partitions }], timeoutMs: 30_000 }
    const answer = await cluster.askOnce({ topic, partition, lane: 0 }, deleteRecords, question)
    checkCode(answer.topics[0]?.partitions[0]?.errorCode ?? 0, what)
  })
}

interface Change {
  readonly name: string
  readonly value: string | undefined
  readonly configOperation: number
}

/** Why the target does not take it; undefined when it has. @throws TidemarkError for what is not about the settings */
async function alter(cluster: KafkaCluster, topic: string, configs: readonly Change[]): Promise<string | undefined> {
  const what = `the settings of ${topic}`
  return await cluster.persist(what, async () => {
    const resources = [{ resourceType: TOPIC, resourceName: topic, configs }]
    const answer = await cluster.askOnce('controller', incrementalAlterConfigs, { resources, validateOnly: false })
    const found = answer.responses[0]
    try {
      checkCode(found?.errorCode ?? 0, what, found?.errorMessage)
      return undefined
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.retriable) throw error
      return found?.errorMessage ?? error.message
    }
  })
}
