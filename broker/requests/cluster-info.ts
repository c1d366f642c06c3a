// The brokers, and whether all is well.

import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { RequestServices } from './request-services.ts'

export function clusterInfo(services: RequestServices): ResponseOf<'clusterInfo'> {
  const { coordinator, cluster, brokerId, partitions } = services
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
        // A broker counts what it holds itself; of the others it knows only that they are there.
        topics: isSelf ? partitions.topicCount : 0,
        partitions: isSelf ? partitions.partitionCount : 0,
        bytes: isSelf ? partitions.bytes : 0,
      }
    }),
    checks: services.checks().map(({ name, isOk, detail }) => ({ name, isOk, detail })),
  }
}
