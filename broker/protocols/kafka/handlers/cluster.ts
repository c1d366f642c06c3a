// Which versions are spoken, which brokers there are, and who leads what.

import type { ResponseOf as Answer } from '../../../../shared/protocol/api.ts'
import type { AllRequests } from '../../../requests/other-requests.ts'
import type { RequestContext } from '../../../requests/requests.ts'
import type { RequestOf, ResponseOf } from '../api.ts'
import { metadata } from '../03-metadata.ts'
import { findCoordinator } from '../10-find-coordinator.ts'
import { apiVersions, KEPT_OFFSETS } from '../18-api-versions.ts'
import { describeCluster } from '../60-describe-cluster.ts'
import { describeTopicPartitions } from '../75-describe-topic-partitions.ts'
import { KAFKA_APIS } from '../api-table.ts'
import { groupCode, kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { NO_UUID } from '../primitives.ts'
import { type AnyHandler, type Call, distinct, handler } from './handler.ts'

type Metadata = Answer<'metadata'>
type MetadataTopic = Metadata['topics'][number]
type AskedTopics = RequestOf<typeof metadata>['topics']

const SOFTWARE_PATTERN = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/
const SOFTWARE_LENGTH_MAX = 256
const KEY_TYPES = { group: 0, transaction: 1 }
const BROKERS = 1
const PARTITIONS_A_PAGE_MAX = 2_000

export function clusterHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [
    apiVersionsHandler(),
    metadataHandler(requests),
    describeClusterHandler(requests),
    findCoordinatorHandler(requests),
    describeTopicPartitionsHandler(requests),
  ]
}

function apiVersionsHandler(): AnyHandler {
  return handler({
    api: apiVersions,
    answer({ clientSoftwareName: name, clientSoftwareVersion: version }, call) {
      if (call.version >= 3) {
        if (![name, version].every(isSoftwareName)) return { errorCode: kafkaCode('INVALID_REQUEST'), apiKeys: [] }
        call.context.software = `${name}/${version}`
      }
      return spokenVersions()
    },
    refuse: (_request, { code }) => ({ errorCode: kafkaCode(code), apiKeys: [] }),
  })
}

function metadataHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: metadata,
    isLong: true,
    answer: (request, call) => answerMetadata(requests, request, call),
    // The message has no place for it before version 13: whoever asks goes to another broker.
    refuse: () => undefined,
  })
}

function describeClusterHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: describeCluster,
    async answer({ endpointType }, { context }) {
      if (endpointType !== BROKERS) {
        const errorMessage = 'there are no controllers apart from the brokers'
        return { errorCode: kafkaCode('INVALID_REQUEST'), errorMessage, clusterId: '', brokers: [] }
      }
      const { cluster, brokers, controllerId } = await requests.ask(
        'metadata',
        { topics: [], createMissing: false },
        context,
      )
      return {
        errorCode: 0,
        clusterId: cluster,
        controllerId: controllerId ?? -1,
        brokers: brokers.map(({ brokerId, host, port, rack }) => ({ brokerId, host, port, rack, isFenced: false })),
      }
    },
    refuse: (_request, { code, message }) => {
      return { errorCode: kafkaCode(code), errorMessage: message, clusterId: '', brokers: [] }
    },
  })
}

function findCoordinatorHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: findCoordinator,
    answer: (request, call) => answerCoordinators(requests, request, call),
    refuse: ({ coordinatorKeys }, { code, message }, { version }) => {
      const error = { nodeId: -1, host: '', port: -1, errorCode: groupCode(code), errorMessage: message }
      return version < 4 ? error : { coordinators: coordinatorKeys.map((key) => ({ key, ...error })) }
    },
  })
}

function describeTopicPartitionsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: describeTopicPartitions,
    isLong: true,
    answer: (request, call) => answerTopicPartitions(requests, request, call),
    refuse: ({ topics }, { code }) => ({
      topics: topics.map(({ name }) => ({ errorCode: kafkaCode(code), name, topicId: NO_UUID, partitions: [] })),
    }),
  })
}

/** What is told to everybody, whatever they ask for next. */
export function spokenVersions(): ResponseOf<typeof apiVersions> {
  const apiKeys = Object.values(KAFKA_APIS).map(({ key, announced: { min, max } }) => {
    return { apiKey: key, minVersion: min, maxVersion: max }
  })
  return { errorCode: 0, apiKeys, supportedFeatures: [{ name: KEPT_OFFSETS, minVersion: 1, maxVersion: 1 }] }
}

function isSoftwareName(text: string): boolean {
  return text.length <= SOFTWARE_LENGTH_MAX && SOFTWARE_PATTERN.test(text)
}

async function answerMetadata(
  requests: AllRequests,
  request: RequestOf<typeof metadata>,
  { version, context }: Call,
): Promise<ResponseOf<typeof metadata>> {
  const { topics: wanted, allowAutoTopicCreation: createMissing } = request
  const isAll = wanted === undefined || (version === 0 && wanted.length === 0)
  // Each once, however often it is asked for, as Kafka does.
  const asked = distinct(wanted ?? [], (topic) => nameOf(requests, topic) ?? `id ${topic.topicId}`)
  const named = isAll ? undefined : asked.map((topic) => nameOf(requests, topic))
  const topics = named?.filter((name) => name !== undefined)
  const found = await requests.ask('metadata', { topics, createMissing }, context)
  const live = new Set(found.brokers.map(({ brokerId }) => brokerId))
  const described = found.topics.map((topic) => topicOf(topic, live))
  const answers = named === undefined ? described : inOrder(asked, named, described, version)
  return {
    brokers: found.brokers.map(({ brokerId, ...rest }) => ({ nodeId: brokerId, ...rest })),
    errorCode: 0,
    clusterId: found.cluster,
    controllerId: found.controllerId ?? -1,
    topics: answers,
  }
}

type DescribedTopic = ResponseOf<typeof metadata>['topics'][number]

function nameOf(requests: AllRequests, { name, topicId }: NonNullable<AskedTopics>[number]): string | undefined {
  return topicId === NO_UUID ? (name ?? '') : requests.topicName(topicId)
}

/** A topic that was asked for by an id that there is not stands where it was asked for. */
function inOrder(
  asked: NonNullable<AskedTopics>,
  named: readonly (string | undefined)[],
  described: readonly DescribedTopic[],
  version: number,
): DescribedTopic[] {
  let next = 0
  return named.flatMap((name, index) => {
    const topic = name === undefined ? undefined : described[next++]
    if (topic !== undefined) return [topic]
    const topicId = asked[index]?.topicId ?? NO_UUID
    return [{ errorCode: kafkaCode('UNKNOWN_TOPIC_ID'), name: version < 12 ? '' : undefined, topicId, partitions: [] }]
  })
}

function topicOf(topic: MetadataTopic, live: ReadonlySet<number>): DescribedTopic {
  const { topic: name, topicId = NO_UUID, isInternal } = topic
  return {
    errorCode: kafkaCodeOf(topic.error),
    name,
    topicId,
    isInternal,
    partitions: topic.partitions.map((partition) => partitionOf(partition, live)),
  }
}

function partitionOf(partition: MetadataTopic['partitions'][number], live: ReadonlySet<number>) {
  const { replicas, inSyncReplicas } = partition
  return {
    errorCode: kafkaCodeOf(partition.error),
    partitionIndex: partition.partition,
    leaderId: partition.leader ?? -1,
    leaderEpoch: partition.leaderEpoch ?? -1,
    replicaNodes: replicas,
    isrNodes: inSyncReplicas,
    offlineReplicas: replicas.filter((id) => !live.has(id)),
  }
}

async function answerCoordinators(
  requests: AllRequests,
  request: RequestOf<typeof findCoordinator>,
  { version, context }: Call,
): Promise<ResponseOf<typeof findCoordinator>> {
  const { keyType, key, coordinatorKeys } = request
  const keys = version < 4 ? [key] : coordinatorKeys
  const found =
    keyType === KEY_TYPES.group ? await coordinatorsOf(requests, keys, context) : keys.map(() => none(keyType))
  const [first] = found
  if (version < 4 && first !== undefined) return first
  return {
    coordinators: found.map(({ errorCode, errorMessage, nodeId, host, port }, index) => {
      return { key: keys[index] ?? '', errorCode, errorMessage, nodeId, host, port }
    }),
  }
}

async function coordinatorsOf(requests: AllRequests, groups: readonly string[], context: RequestContext) {
  const { coordinators } = await requests.ask('findCoordinator', { groups }, context)
  return coordinators.map(({ error, message, broker, host, port }) => {
    return { errorCode: kafkaCodeOf(error), errorMessage: message, nodeId: broker, host, port }
  })
}

/** Told as an error that no client asks again after. */
function none(keyType: number) {
  const isTransaction = keyType === KEY_TYPES.transaction
  const errorCode = kafkaCode(isTransaction ? 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED' : 'INVALID_REQUEST')
  const errorMessage = isTransaction
    ? 'transactions are not supported'
    : `nothing is coordinated by keys of type ${keyType}`
  return { errorCode, errorMessage, nodeId: -1, host: '', port: -1 }
}

async function answerTopicPartitions(
  requests: AllRequests,
  request: RequestOf<typeof describeTopicPartitions>,
  { context }: Call,
): Promise<ResponseOf<typeof describeTopicPartitions>> {
  const { cursor } = request
  const names = [...new Set(request.topics.map(({ name }) => name))].toSorted(compare)
  const topics = names.length === 0 ? undefined : names.filter((name) => name >= (cursor?.topicName ?? ''))
  const found = await requests.ask('metadata', { topics, createMissing: false }, context)
  const live = new Set(found.brokers.map(({ brokerId }) => brokerId))
  const limit = Math.max(1, Math.min(request.responsePartitionLimit, PARTITIONS_A_PAGE_MAX))
  const answers: ResponseOf<typeof describeTopicPartitions>['topics'][number][] = []
  let left = limit
  for (const topic of found.topics.toSorted((a, b) => compare(a.topic, b.topic))) {
    if (cursor !== undefined && topic.topic < cursor.topicName) continue
    const from = cursor?.topicName === topic.topic ? cursor.partitionIndex : 0
    if (left === 0) return { topics: answers, nextCursor: { topicName: topic.topic, partitionIndex: from } }
    const { topicId = NO_UUID, isInternal, error } = topic
    const page = topic.partitions.filter(({ partition }) => partition >= from).slice(0, left)
    const partitions = page.map((partition) => {
      return { ...partitionOf(partition, live), eligibleLeaderReplicas: [], lastKnownElr: [] }
    })
    answers.push({ errorCode: kafkaCodeOf(error), name: topic.topic, topicId, isInternal, partitions })
    left -= page.length
    const next = from + page.length
    if (next < topic.partitions.length) {
      return { topics: answers, nextCursor: { topicName: topic.topic, partitionIndex: next } }
    }
  }
  return { topics: answers }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
