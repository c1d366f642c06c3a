// Which brokers there are, and who leads what, as clients need it to find their partitions.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { ERRORS, TidemarkError } from '../../shared/errors.ts'
import { isInternalTopic } from '../groups/offsets-topic.ts'
import { addressFor } from './advertised.ts'
import { leadershipOf, liveBrokers } from './leadership.ts'
import { NO_ERROR, refused } from './outcome.ts'
import type { WireOutcome } from './outcome.ts'
import type { RequestContext } from './requests.ts'
import { topicNameFault } from './topic-name.ts'
import type { TopicRequests } from './topics.ts'

type TopicMetadata = ResponseOf<'metadata'>['topics'][number]
type PartitionMetadata = TopicMetadata['partitions'][number]

export async function metadata(
  services: RequestServices,
  administration: TopicRequests,
  request: RequestOf<'metadata'>,
  context: RequestContext,
): Promise<ResponseOf<'metadata'>> {
  const { coordinator, cluster } = services
  const topics: TopicMetadata[] = []
  const live = liveBrokers(services)
  if (request.topics === undefined) {
    for (const topic of coordinator.topics.list()) topics.push(describe(services, topic, live))
    topics.sort((a, b) => (a.topic < b.topic ? -1 : 1))
  } else {
    // Each once, however often it is asked for: an answer must not be many times as long as all topics together.
    for (const name of new Set(request.topics)) {
      const topic = coordinator.topics.byName(name)
      if (topic !== undefined) topics.push(describe(services, topic, live))
      else topics.push(await missing(services, administration, name, request.createMissing))
    }
  }
  const brokers = coordinator.brokers().map((broker) => {
    const { host, port } = addressFor(broker, context)
    return { brokerId: broker.brokerId, host, port, rack: broker.rack }
  })
  return { cluster, controllerId: coordinator.controller(), brokers, topics }
}

async function missing(
  services: RequestServices,
  administration: TopicRequests,
  name: string,
  createMissing: boolean,
): Promise<TopicMetadata> {
  const fault = topicNameFault(name)
  if (fault !== undefined) return refusedTopic(name, refused('INVALID_TOPIC_EXCEPTION', fault))
  if (!createMissing || !services.limits.autoCreateTopics || isInternalTopic(name)) {
    return refusedTopic(name, refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${name}`))
  }
  const created = await administration.createOne(
    { topic: name, partitions: undefined, replicationFactor: undefined, config: [] },
    false,
  )
  const topic = services.coordinator.topics.byName(name)
  if (topic !== undefined) return describe(services, topic)
  return refusedTopic(name, created)
}

function refusedTopic(topic: string, { error, message }: WireOutcome): TopicMetadata {
  return { topic, error, message, topicId: undefined, isInternal: false, partitions: [], batchBytesMax: undefined }
}

function describe(services: RequestServices, topic: TopicDefinition, live = liveBrokers(services)): TopicMetadata {
  const partitions: PartitionMetadata[] = []
  for (let partition = 0; partition < topic.partitions; partition += 1) {
    const leadership = leadershipOf(services, topic.topicId, partition, live)
    partitions.push({
      error: leadership?.leader === undefined ? ERRORS.LEADER_NOT_AVAILABLE.number : 0,
      partition,
      leader: leadership?.leader,
      leaderEpoch: leadership?.leaderEpoch,
      replicas: leadership?.replicas ?? [],
      inSyncReplicas: leadership?.inSyncReplicas ?? [],
    })
  }
  const batchBytesMax = batchBytesMaxOf(services, topic)
  const isInternal = isInternalTopic(topic.name)
  return { topic: topic.name, ...NO_ERROR, topicId: topic.topicId, isInternal, partitions, batchBytesMax }
}

/** What an append checks a batch against, so that producers can make theirs fit. */
function batchBytesMaxOf({ partitions }: RequestServices, topic: TopicDefinition): number | undefined {
  try {
    const { maxMessageBytes, segmentBytes } = partitions.parseConfig(topic.config)
    return Math.min(maxMessageBytes, segmentBytes)
  } catch (error) {
    // Made by another version, say. Its partitions tell of it when they are used.
    if (error instanceof TidemarkError) return undefined
    throw error
  }
}
