// Followers that wait for records at a broker where as many consumers wait as may: brokers in this process, and a real Redis.

import { expect, it } from 'vitest'
import type { Logger } from '../../shared/logger.ts'
import { startBroker } from '../../broker/testing.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'

/** Keeps what is warned of. */
function newLogger(warnings: string[]): Logger {
  const say = (fields: object, message: string): void => void warnings.push(`${message} ${JSON.stringify(fields)}`)
  return { debug: () => undefined, info: () => undefined, warn: say, error: say }
}

describeWithRedis('followers', () => {
  it('wait at their leader however many consumers do', async () => {
    await using redis = await startRedis()
    const warnings: string[] = []
    const common = { dataDir: 'memory', redis: redis.url, delayedOperationsMax: 1, logger: newLogger(warnings) }
    await using one = await startBroker({ ...common, brokerId: 1 })
    await using _two = await startBroker({ ...common, brokerId: 2 })
    await using _three = await startBroker({ ...common, brokerId: 3 })
    const client = one.client()
    await expect
      .poll(() =>
        client
          .admin()
          .createTopics({ topics: [{ topic: 't', numPartitions: 3, replicationFactor: 3 }] })
          .then(
            () => true,
            () => false,
          ),
      )
      .toBe(true)
    const producer = client.producer()
    for (let at = 0; at < 30; at += 1) await producer.send({ topic: 't', messages: [{ key: String(at), value: 'a' }] })
    expect(warnings.filter((line) => line.includes('BROKER_OVERLOADED'))).toEqual([])
  })
})
