// A data directory that is put back to what it was, as a volume is from a snapshot, while the cluster has gone on: the broker
// that starts on it must not speak for the directory any more.

import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createBroker } from '../../broker/broker.ts'
import { systemEnvironment } from '../../broker/environment.ts'
import { silentLogger } from '../../shared/logger.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'

/** The directory's id, after a life of a broker on it. */
async function live(redis: string, dataDir: string): Promise<string> {
  const settings = { dataDir, redis, http: 'off', listen: '127.0.0.1:0', diskReserveBytes: 0 }
  const broker = await createBroker(systemEnvironment(), settings, { logger: silentLogger })
  await broker.stop()
  const identity = await readFile(join(dataDir, 'identity'), 'latin1')
  return /"directoryId":"([^"]+)"/.exec(identity)?.[1] ?? ''
}

describeWithRedis('a broker whose data directory was put back to what it was', () => {
  it('goes on under another directory id, once', async () => {
    await using redis = await startRedis()
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-snapshot-'))
    try {
      const [data, snapshot] = [join(directory, 'data'), join(directory, 'snapshot')]
      const first = await live(redis.url, data)
      await cp(data, snapshot, { recursive: true })
      expect(await live(redis.url, data)).toBe(first)
      await rm(data, { recursive: true })
      await cp(snapshot, data, { recursive: true })
      const renewed = await live(redis.url, data)
      expect(renewed).not.toBe(first)
      expect(await live(redis.url, data)).toBe(renewed)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
