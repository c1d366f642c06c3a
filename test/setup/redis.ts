// How a suite gets at Redis. `redisServer` is the program, for suites that stop, pause or kill a server of their own;
// `describeWithRedis` skips a suite where there is none (the start and the end of the run say so, and CI fails instead).

import { describe, inject } from 'vitest'
import type { RedisServer } from '../../scripts/ensure-redis.ts'
import { type PrivateRedis, type PrivateRedisOptions, startPrivateRedis } from './private-redis.ts'

/** The redis-server of this machine, if there is one. */
const redisServer: RedisServer | undefined = inject('redisServer') ?? undefined

/** A suite that needs Redis: skipped where there is none. */
export const describeWithRedis: ReturnType<typeof describe.skipIf> = describe.skipIf(redisServer === undefined)

/** A server of the caller's own; stop() it, or hold it with `await using`. */
export async function startRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  if (redisServer === undefined) throw new Error('there is no redis-server; the suite must be a describeWithRedis')
  return startPrivateRedis(redisServer, options)
}
