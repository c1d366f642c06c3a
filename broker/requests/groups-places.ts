// Where groups are coordinated: the leader of the partition that each is kept in. Owns that the topic for it is made when it
// is first asked for, with as many replicas as there are brokers for.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { OffsetsTopicOptions, RequestServices } from './request-services.ts'
import type { TopicRequests } from './topics.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { groupNameFault } from '../groups/group-coordinator.ts'
import { OFFSETS_TOPIC, offsetsReplicas, offsetsTopicConfig, partitionOfGroup } from '../groups/offsets-topic.ts'
import { addressFor } from './advertised.ts'
import { candidates } from './assignment.ts'
import type { RequestContext } from './requests.ts'
import { whenLed } from './bounded-wait.ts'
import { leadershipOf } from './leadership.ts'
import { NO_ERROR, refused } from './outcome.ts'

type Place = ResponseOf<'findCoordinator'>['coordinators'][number]

/** How long the leaders of a topic that has just been made are waited for. */
const LED_WAIT_MS = 5_000

export class GroupPlaces {
  readonly #services: RequestServices
  readonly #topics: TopicRequests
  readonly #topic: OffsetsTopicOptions
  #making: Promise<void> | undefined

  constructor(services: RequestServices, topics: TopicRequests, topic: OffsetsTopicOptions) {
    this.#topic = topic
    this.#services = services
    this.#topics = topics
  }

  async find(
    { groups }: RequestOf<'findCoordinator'>,
    context: RequestContext,
  ): Promise<ResponseOf<'findCoordinator'>> {
    const { coordinator } = this.#services
    const areNamed = groups.some((group) => groupNameFault(group) === undefined)
    if (areNamed && coordinator.topics.byName(OFFSETS_TOPIC) === undefined) {
      try {
        this.#making ??= this.#make().finally(() => {
          this.#making = undefined
        })
        await this.#making
      } catch (error) {
        if (!(error instanceof TidemarkError)) throw error
        const message = `the topic of groups cannot be made: ${error.message}`
        return { coordinators: groups.map(() => nowhere(refused('COORDINATOR_NOT_AVAILABLE', message))) }
      }
    }
    const topic = coordinator.topics.byName(OFFSETS_TOPIC)
    return { coordinators: groups.map((group) => this.#placeOf(topic, group, context)) }
  }

  #placeOf(topic: TopicDefinition | undefined, group: string, context: RequestContext): Place {
    const fault = groupNameFault(group)
    if (fault !== undefined) return nowhere(refused('INVALID_GROUP_ID', fault))
    if (topic === undefined) return nowhere(refused('COORDINATOR_NOT_AVAILABLE', 'groups have no topic yet'))
    const partition = partitionOfGroup(group, topic.partitions)
    const leader = leadershipOf(this.#services, topic.topicId, partition)?.leader
    const broker = this.#services.coordinator.brokers().find(({ brokerId }) => brokerId === leader)
    if (broker === undefined) {
      const message = `partition ${partition} of ${OFFSETS_TOPIC}, which the group is kept in, has no leader`
      return nowhere(refused('COORDINATOR_NOT_AVAILABLE', message))
    }
    return { ...NO_ERROR, broker: broker.brokerId, ...addressFor(broker, context) }
  }

  /** @throws TidemarkError what the topic was refused with */
  async #make(): Promise<void> {
    const { coordinator, isCluster = false, logger } = this.#services
    const groupTopic = this.#topic
    const brokers = isCluster ? candidates(coordinator).length : coordinator.brokers().length
    const replicationFactor = offsetsReplicas(groupTopic.replicas, brokers)
    const { partitions } = groupTopic
    const config = offsetsTopicConfig(this.#isCompactable)
    const wanted = { topic: OFFSETS_TOPIC, partitions, replicationFactor, config }
    const { error, message } = await this.#topics.createOne(wanted, false)
    const made = coordinator.topics.byName(OFFSETS_TOPIC)
    // Another broker may have been asked at the same time.
    if (made === undefined) throw new TidemarkError('COORDINATOR_NOT_AVAILABLE', message ?? `error ${error}`)
    if (error === 0) logger.info({ partitions, replicas: replicationFactor, brokers }, 'made the topic of groups')
    if (error === 0 && replicationFactor < groupTopic.replicas) {
      const facts = { replicas: replicationFactor, asked: groupTopic.replicas, brokers }
      logger.warn(facts, 'the topic of groups has fewer replicas than asked for: there are not more brokers')
    }
    if (!isCluster) return
    const all = new Set(Array.from({ length: made.partitions }, (_, number) => number))
    await whenLed(this.#services, new Map([[made.topicId, all]]), LED_WAIT_MS)
  }

  get #isCompactable(): boolean {
    try {
      this.#services.partitions.parseConfig(Object.fromEntries(offsetsTopicConfig(true)))
      return true
    } catch (error) {
      if (error instanceof TidemarkError) return false
      throw error
    }
  }
}

function nowhere(outcome: { readonly error: number; readonly message: string | undefined }): Place {
  return { ...outcome, broker: -1, host: '', port: -1 }
}
