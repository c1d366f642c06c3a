// Three brokers in processes of their own while their Redis is away, hangs, or has lost everything. Needs the built
// command.

import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { makeTopic, onStage } from '../setup/cluster-stage.ts'
import { anomaliesOf, Load, pause, readAll } from '../setup/cluster-load.ts'
import { inSync, leaderOf } from '../setup/cluster-state.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'

const topic = 't'
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

/** Sends one command and answers the first of what comes back. */
function tell(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(port, '127.0.0.1', () => socket.write(`${command}\r\n`))
    socket.once('data', (bytes) => {
      socket.destroy()
      resolve(bytes.toString())
    })
    socket.once('error', reject)
  })
}

describeWithRedis('a cluster whose Redis', () => {
  it('is gone takes records all the same, and elects leaders again when it is back', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tidemark-redis-'))
    try {
      await onStage(
        async (stage) => {
          const { client, cluster, redis } = stage
          await makeTopic(stage)
          const load = new Load(client, { topic, writers: 3, burst: 3, pauseMs: 2 })
          await load.more(200)
          await redis.stop()
          // Longer than the sessions of all brokers.
          await pause(4_000)
          await load.more(200)
          await using again = await startRedis({ port: redis.port, directory, args: DURABLE })
          expect(await tell(again.port, 'PING')).toBe('+PONG\r\n')
          await load.more(200)
          const leader = await leaderOf(client.admin(), topic)
          await cluster.kill(leader)
          await load.more(200)
          await load.stop()
          expect(load.failed).toEqual([])
          expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
        },
        { directory },
      )
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })

  it('hangs takes records all the same', () =>
    onStage(async (stage) => {
      const { client, redis } = stage
      await makeTopic(stage)
      const load = new Load(client, { topic, writers: 3, burst: 3, pauseMs: 2 })
      await load.more(200)
      redis.signal('SIGSTOP')
      await pause(4_000)
      await load.more(200)
      redis.signal('SIGCONT')
      await load.more(200)
      await load.stop()
      expect(load.failed).toEqual([])
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
    }))

  it('has lost everything gets it back from the brokers', () =>
    onStage(async (stage) => {
      const { client, cluster, redis } = stage
      await makeTopic(stage, 3)
      const load = new Load(client, { topic, partitions: 3, writers: 3, burst: 3, pauseMs: 2 })
      await load.more(200)
      expect(await tell(redis.port, 'FLUSHALL')).toBe('+OK\r\n')
      await expect.poll(() => tell(redis.port, 'DBSIZE'), { timeout: 10_000 }).toMatch(/^:[1-9]/)
      await load.more(200)
      const leader = await leaderOf(client.admin(), topic)
      await cluster.kill(leader)
      await load.more(200)
      await cluster.restart(leader)
      await inSync(client.admin(), topic, 3)
      await load.stop()
      expect(load.failed).toEqual([])
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
      expect(await client.admin().listTopics()).toEqual([topic])
    }))
})
