// The Redis coordinator is held to the same suite as every other, on a real redis-server.

import { beforeAll } from 'vitest'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { redisCoordinator } from '../../broker/coordination/redis-coordinator.ts'
import { describeCoordinator } from '../conformance/coordinator.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { EMPTY_DISK } from './redis-lives.ts'

describeWithRedis('on a real redis-server', () => {
  let redis: PrivateRedis
  beforeAll(async () => {
    redis = await startRedis()
    return () => redis.stop()
  })

  describeCoordinator('the coordinator by Redis', (context) =>
    Promise.resolve(redisCoordinator({ url: redis.url, onDisk: EMPTY_DISK })(context)),
  )
})
