// Who writes idempotently to partitions that are led here, as far as it is remembered. Every partition is answered for itself.

import type { DescribedProducers, ProducersRequest } from './other-requests.ts'
import type { RequestServices } from './request-services.ts'
import { NO_ERROR, outcomeOf, refused } from './outcome.ts'
import { servedPartition } from './served-partition.ts'

export function describeProducers(services: RequestServices, request: ProducersRequest): readonly DescribedProducers[] {
  return request.partitions.map((part) => {
    const { partition, refusal } = servedPartition(services, part.topic, part.partition, (found) =>
      found.checkLeading(),
    )
    if (refusal !== undefined) return { ...refused(refusal.error, refusal.message), producers: [] }
    try {
      return { ...NO_ERROR, producers: partition.log.describeProducers(services.clock.now()) }
    } catch (error) {
      return { ...outcomeOf(error, services.logger), producers: [] }
    }
  })
}
