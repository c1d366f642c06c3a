// All handlers, by the number of their API. Produce and fetch are not among them: those answer through callbacks, and the
// session has them on a path of their own.

import type { AllRequests } from '../../../requests/other-requests.ts'
import { clusterHandlers } from './cluster.ts'
import { configHandlers } from './configs.ts'
import { groupAdminHandlers } from './group-admin.ts'
import { groupHandlers } from './groups.ts'
import type { AnyHandler } from './handler.ts'
import { offsetHandlers } from './offsets.ts'
import { replicaHandlers } from './replicas.ts'
import { securityHandlers } from './security.ts'
import { topicHandlers } from './topics.ts'

export type KafkaHandlers = ReadonlyMap<number, AnyHandler>

export function kafkaHandlers(requests: AllRequests): KafkaHandlers {
  const all = [
    ...clusterHandlers(requests),
    ...offsetHandlers(requests),
    ...groupHandlers(requests),
    ...groupAdminHandlers(requests),
    ...topicHandlers(requests),
    ...configHandlers(requests),
    ...replicaHandlers(requests),
    ...securityHandlers(),
  ]
  return new Map(all.map((one) => [one.api.key, one]))
}
