// A commit in somebody else's name, straight over the wire: what a member would send that has been asleep while its group
// went on without it. Judges nothing.

import { Connection } from '../../client/connection.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { errorCodeOf } from '../../shared/errors.ts'

export interface CommitInName {
  readonly group: string
  readonly topic: string
  readonly member: string
  readonly generation: number
}

/** What others answer who are not in charge, or not yet. */
const NOT_IN_CHARGE = new Set<string>([
  'NOT_COORDINATOR',
  'COORDINATOR_NOT_AVAILABLE',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'REBALANCE_IN_PROGRESS',
])

/**
 * Commits offset 0 of partition 0. Answers what it was refused with, and nothing if it was taken.
 * @throws when nobody could be asked who is in charge.
 */
export async function commitAs(addresses: readonly string[], what: CommitInName): Promise<string | undefined> {
  for (const address of addresses) {
    const answer = await commitAt(address, what).catch(() => 'unknown' as const)
    if (answer === 'unknown') continue
    return answer === 'taken' ? undefined : answer
  }
  throw new Error(`no coordinator of group ${what.group} answers`)
}

async function commitAt(address: string, { group, topic, member, generation }: CommitInName): Promise<string> {
  const [host = '', port = ''] = address.split(':')
  const connection = new Connection(systemEnvironment, {
    address: { host, port: Number(port) },
    clientId: 'zombie',
    connectTimeoutMs: 1_000,
    requestTimeoutMs: 2_000,
  })
  try {
    await connection.opened
    const part = { topic, partition: 0, offset: 0, leaderEpoch: undefined, metadata: '' }
    const request = { group, member, instance: undefined, generation, partitions: [part] }
    const { body } = await connection.ask('commitOffsets', request)
    const [outcome] = body.partitions
    if (outcome === undefined) return 'unknown'
    const error = outcome.error === 0 ? 'taken' : errorCodeOf(outcome.error)
    return NOT_IN_CHARGE.has(error) ? 'unknown' : error
  } finally {
    connection.close()
  }
}
