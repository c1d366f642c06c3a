// The brokers, and whether all is well.

import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { BrokerId } from '../../shared/ids.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { clusterChecks } from './cluster-health.ts'
import type { PartitionTroubles } from './partition-troubles.ts'
import { addressFor } from './advertised.ts'
import type { RequestContext } from './requests.ts'
import { leadershipOf, liveBrokers } from './leadership.ts'

export function clusterInfo(
  services: RequestServices,
  troubles: PartitionTroubles,
  context: RequestContext,
): ResponseOf<'clusterInfo'> {
  const { coordinator, cluster, brokerId, partitions } = services
  const hosted = hostedBy(
    coordinator.brokers().map((broker) => broker.brokerId),
    coordinator.topics.list(),
  )
  const leads = ledBy(services)
  return {
    cluster,
    controllerId: coordinator.controller(),
    brokers: coordinator.brokers().map((broker) => {
      const isSelf = broker.brokerId === brokerId
      const { host, port } = addressFor(broker, context)
      return {
        brokerId: broker.brokerId,
        host,
        port,
        rack: broker.rack,
        software: broker.software,
        startedAt: broker.startedAt,
        topics: hosted.get(broker.brokerId)?.topics ?? 0,
        partitions: hosted.get(broker.brokerId)?.partitions ?? 0,
        // What others hold in bytes is for them to say.
        bytes: isSelf ? partitions.bytes : 0,
        leaders: leads.get(broker.brokerId) ?? 0,
        isDraining: broker.isDraining === true,
      }
    }),
    checks: [...services.checks(), ...clusterChecks(services, troubles)].map(({ name, isOk, detail }) => ({
      name,
      isOk,
      detail,
    })),
  }
}

/** How many partitions each broker leads. */
function ledBy(services: RequestServices): ReadonlyMap<BrokerId, number> {
  const live = liveBrokers(services)
  const counts = new Map<BrokerId, number>()
  for (const { topicId, partitions } of services.coordinator.topics.list()) {
    for (let partition = 0; partition < partitions; partition += 1) {
      const leader = leadershipOf(services, topicId, partition, live)?.leader
      if (leader !== undefined) counts.set(leader, (counts.get(leader) ?? 0) + 1)
    }
  }
  return counts
}

/** What is assigned to each of the brokers. */
function hostedBy(brokers: readonly BrokerId[], topics: Iterable<TopicDefinition>) {
  const counts = new Map(brokers.map((id) => [id, { topics: 0, partitions: 0 }]))
  const hold = (id: BrokerId, partitions: number): void => {
    const count = counts.get(id)
    if (count === undefined) return
    count.topics += 1
    count.partitions += partitions
  }
  for (const { assignment, partitions } of topics) {
    if (assignment === undefined) {
      for (const id of brokers) hold(id, partitions)
      continue
    }
    const held = new Map<BrokerId, number>()
    for (const id of assignment.flat()) held.set(id, (held.get(id) ?? 0) + 1)
    for (const [id, count] of held) hold(id, count)
  }
  return counts
}
