// Runs once before all suites: looks for a redis-server and hands its place to them. Downloads nothing (`npm test` has
// done that in its pretest step), so a single suite starts at once.

import type { TestProject } from 'vitest/node'
import { findRedis, isRedisRequired, type RedisServer } from '../../scripts/ensure-redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    redisServer: RedisServer | null
  }
}

const BANNER = 'NO REDIS: the suites that need a redis-server are SKIPPED; `npm test` looks for one and says why not'

export default async function setup(project: TestProject): Promise<() => void> {
  const server = await findRedis()
  project.provide('redisServer', server ?? null)
  if (server !== undefined) return () => undefined
  if (isRedisRequired()) throw new Error('a redis-server is required (CI or REQUIRE_REDIS is set) and there is none')
  process.stderr.write(`\n${BANNER}\n`)
  return () => void process.stderr.write(`\n${BANNER}\n`)
}
