// Where a group is coordinated: one question, which any broker answers.

import type { Cluster } from './cluster.ts'
import { errorFromWire, errorOf } from './errors.ts'
import type { Scope } from './scope.ts'
import type { Address } from './transport.ts'

/** Where the group is coordinated. One attempt. @throws what the broker refused. */
export async function findCoordinator(cluster: Cluster, groupId: string, scope: Scope): Promise<Address> {
  const { coordinators } = await cluster.ask('findCoordinator', { groups: [groupId] }, scope, { isRepeatable: true })
  const [found] = coordinators
  if (found === undefined) throw errorOf('MALFORMED_FRAME', 'an answer without the coordinator that was asked for')
  if (found.error !== 0) throw errorFromWire(found.error, found.message)
  return { host: found.host, port: found.port }
}
