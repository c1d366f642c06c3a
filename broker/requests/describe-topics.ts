// Everything about topics, for people and tools: settings with their sentences, and each partition as it is right now.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { BrokerId } from '../../shared/ids.ts'
import type { RequestServices } from './request-services.ts'
import { offset } from '../../shared/ids.ts'
import { isHosted } from '../storage/hosted-partitions.ts'
import { type KnownLeadership, explainPartition, leadershipSeen, liveBrokers } from './leadership.ts'
import { NO_ERROR, refused } from './outcome.ts'

type DescribedTopic = ResponseOf<'describeTopics'>['topics'][number]
type DescribedPartition = DescribedTopic['partitions'][number]

export function describeTopics(
  services: RequestServices,
  request: RequestOf<'describeTopics'>,
): ResponseOf<'describeTopics'> {
  const { topics } = services.coordinator
  const live = liveBrokers(services)
  if (request.topics === undefined) {
    const all = [...topics.list()].map((topic) => describe(services, topic, live))
    return { topics: all.sort((a, b) => (a.topic < b.topic ? -1 : 1)) }
  }
  return {
    // Each once, however often it is asked for.
    topics: [...new Set(request.topics)].map((name) => {
      const topic = topics.byName(name)
      return topic === undefined ? unknown(name) : describe(services, topic, live)
    }),
  }
}

function unknown(topic: string): DescribedTopic {
  const outcome = refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`)
  return { topic, ...outcome, topicId: undefined, replicationFactor: undefined, config: [], partitions: [] }
}

function describe(services: RequestServices, topic: TopicDefinition, live: ReadonlySet<BrokerId>): DescribedTopic {
  const partitions: DescribedPartition[] = []
  for (let partition = 0; partition < topic.partitions; partition += 1) {
    partitions.push(describePartition(services, topic, partition, live))
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

/** Where the log is another broker's, its offsets are told as 0, as nobody's. */
function describePartition(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  live: ReadonlySet<BrokerId>,
): DescribedPartition {
  const leadership = leadershipSeen(services, topic.topicId, partition, live)
  const found = services.partitions.find(topic.name, topic.topicId, partition)
  const facts = found?.describe()
  const { leader, leaderEpoch, replicas = [], inSyncReplicas = [] } = leadership ?? {}
  const isLed = leader !== undefined || topic.assignment === undefined
  return {
    partition,
    leader,
    leaderEpoch,
    replicas,
    // In sync is who keeps up with a leader.
    inSyncReplicas: isLed ? inSyncReplicas : [],
    logStartOffset: facts?.logStartOffset ?? offset(0),
    highWatermark: facts?.highWatermark ?? offset(0),
    logEndOffset: facts?.logEndOffset ?? offset(0),
    recoveryPoint: facts?.recoveryPoint ?? offset(0),
    segments: facts?.segments ?? 0,
    bytes: facts?.bytes ?? 0,
    ...(facts === undefined
      ? stateElsewhere(services, topic, partition, live)
      : {
          state: isLost(services, topic, partition, leadership) ? 'offline' : facts.state,
          reason: facts.reason ?? explainPartition(services, topic, partition, live),
        }),
    quarantined: facts?.quarantined ?? [],
    movingTo: topic.moves?.[partition]?.map(({ brokerId }) => brokerId),
    figuresOf: facts === undefined ? undefined : services.brokerId,
    last: isLed || leaderEpoch === undefined ? undefined : { leader: leadership?.named, inSyncReplicas },
  }
}

/** Nobody leads it, and a former leader of it, which could still be read from, is not here either. */
function isLost(
  { localLeadership }: RequestServices,
  { assignment, topicId }: TopicDefinition,
  partition: number,
  leadership: KnownLeadership | undefined,
): boolean {
  if (assignment === undefined || leadership?.leader !== undefined) return false
  return localLeadership?.(topicId, partition) === undefined
}

function stateElsewhere(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  live: ReadonlySet<BrokerId>,
): Pick<DescribedPartition, 'state' | 'reason'> {
  if (isHosted(topic, partition, services.brokerId)) {
    const { message } = services.partitions.whyNotFound(topic.name, topic.topicId, partition)
    return { state: 'offline', reason: message }
  }
  const isLed = leadershipSeen(services, topic.topicId, partition, live)?.leader !== undefined
  return { state: isLed ? 'online' : 'offline', reason: explainPartition(services, topic, partition, live) }
}
