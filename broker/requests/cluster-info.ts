// The brokers, and whether all is well.

import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { BrokerId } from '../../shared/ids.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'

export function clusterInfo(services: RequestServices): ResponseOf<'clusterInfo'> {
  const { coordinator, cluster, brokerId, partitions } = services
  const hosted = hostedBy(
    coordinator.brokers().map((broker) => broker.brokerId),
    coordinator.topics.list(),
  )
  return {
    cluster,
    controllerId: coordinator.controller(),
    brokers: coordinator.brokers().map((broker) => {
      const isSelf = broker.brokerId === brokerId
      return {
        brokerId: broker.brokerId,
        host: broker.host,
        port: broker.port,
        rack: broker.rack,
        software: broker.software,
        startedAt: broker.startedAt,
        topics: hosted.get(broker.brokerId)?.topics ?? 0,
        partitions: hosted.get(broker.brokerId)?.partitions ?? 0,
        // What others hold in bytes is for them to say.
        bytes: isSelf ? partitions.bytes : 0,
      }
    }),
    checks: services.checks().map(({ name, isOk, detail }) => ({ name, isOk, detail })),
  }
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
