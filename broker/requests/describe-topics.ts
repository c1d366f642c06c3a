// Everything about topics, for people and tools: settings with their sentences, and each partition as it is right now.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { offset } from '../../shared/ids.ts'
import { NO_ERROR, refused } from './outcome.ts'

type DescribedTopic = ResponseOf<'describeTopics'>['topics'][number]
type DescribedPartition = DescribedTopic['partitions'][number]

export function describeTopics(
  services: RequestServices,
  request: RequestOf<'describeTopics'>,
): ResponseOf<'describeTopics'> {
  const { topics } = services.coordinator
  if (request.topics === undefined) {
    const all = [...topics.list()].map((topic) => describe(services, topic))
    return { topics: all.sort((a, b) => (a.topic < b.topic ? -1 : 1)) }
  }
  return {
    topics: request.topics.map((name) => {
      const topic = topics.byName(name)
      return topic === undefined ? unknown(name) : describe(services, topic)
    }),
  }
}

function unknown(topic: string): DescribedTopic {
  const outcome = refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`)
  return { topic, ...outcome, topicId: undefined, replicationFactor: undefined, config: [], partitions: [] }
}

function describe(services: RequestServices, topic: TopicDefinition): DescribedTopic {
  const partitions: DescribedPartition[] = []
  for (let partition = 0; partition < topic.partitions; partition += 1) {
    partitions.push(describePartition(services, topic, partition))
  }
  return {
    topic: topic.name,
    ...NO_ERROR,
    topicId: topic.topicId,
    replicationFactor: topic.replicationFactor,
    config: services.partitions.describeConfig(topic.config),
    partitions,
  }
}

function describePartition(services: RequestServices, topic: TopicDefinition, partition: number): DescribedPartition {
  const leadership = services.coordinator.leaderships.of(topic.topicId, partition)
  const found = services.partitions.find(topic.name, topic.topicId, partition)
  const facts = found?.describe()
  return {
    partition,
    leader: leadership?.leader,
    leaderEpoch: leadership?.leaderEpoch,
    replicas: leadership?.replicas ?? [],
    inSyncReplicas: leadership?.inSyncReplicas ?? [],
    logStartOffset: facts?.logStartOffset ?? offset(0),
    highWatermark: facts?.highWatermark ?? offset(0),
    logEndOffset: facts?.logEndOffset ?? offset(0),
    recoveryPoint: facts?.recoveryPoint ?? offset(0),
    segments: facts?.segments ?? 0,
    bytes: facts?.bytes ?? 0,
    state: facts?.state ?? 'offline',
    reason:
      facts === undefined
        ? services.partitions.whyNotFound(topic.name, topic.topicId, partition).message
        : facts.reason,
    quarantined: facts?.quarantined ?? [],
  }
}
