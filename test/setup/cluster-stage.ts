// A cluster of three processes with a Redis and a client of its own, for one test each. Judges nothing.

import { type Client, connect } from '../../client/client.ts'
import { ProcessCluster } from './cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { pause } from './cluster-load.ts'
import { inSync } from './cluster-state.ts'
import type { PrivateRedis, PrivateRedisOptions } from './private-redis.ts'
import { startRedis } from './redis.ts'

export interface Stage {
  readonly cluster: ProcessCluster
  readonly client: Client
  readonly redis: PrivateRedis
}

/** Short, so that a broker that hangs is not waited for long. */
const SESSION = ['--session-timeout-ms', '2s']

export async function onStage(
  work: (stage: Stage) => Promise<void>,
  redisOptions: PrivateRedisOptions = {},
  brokerArgs: readonly string[] = [],
) {
  const args = ['--appendonly', 'yes', '--appendfsync', 'always']
  await using redis = await startRedis({ args, ...redisOptions })
  await using cluster = await ProcessCluster.start({ redis: redis.url, args: [...SESSION, ...brokerArgs] })
  const client = connect({ brokers: cluster.addresses })
  try {
    await work({ cluster, client, redis })
  } finally {
    await client.close({ timeoutMs: 500 }).catch(() => undefined)
  }
}

/** The topic t with three replicas that all keep up; answers its id. */
export async function makeTopic(
  { client }: Stage,
  numPartitions = 1,
  config: Readonly<Record<string, string>> = {},
): Promise<string> {
  const request = { topics: [{ topic: 't', numPartitions, replicationFactor: 3, config }] }
  const [created] = await whenAllAreThere(() => client.admin().createTopics(request))
  for (let partition = 0; partition < numPartitions; partition += 1) await inSync(client.admin(), 't', 3, partition)
  return created?.topicId ?? ''
}

/** Whoever administers may hear of the last broker a moment after that one has said that it is ready. */
async function whenAllAreThere<T>(create: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await create()
    } catch (error) {
      const isEarly = error instanceof TidemarkError && error.code === 'INVALID_REPLICATION_FACTOR'
      if (!isEarly || attempt >= 50) throw error
      await pause(100)
    }
  }
}
