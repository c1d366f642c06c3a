// What operators do wrong with a cluster that runs, by the command as they call it: each is one line that says what and where,
// and what to do. (What keeps a broker from becoming a part of one is in test/cli/redis-start.test.ts.)

import { createServer, type Server } from 'node:net'
import { expect, it } from 'vitest'
import { brokerId } from '../../shared/ids.ts'
import { run } from '../cli/tidemark-process.ts'
import { FakeBroker } from '../client/fake-broker.ts'
import { begin, type Life } from '../coordination/redis-lives.ts'
import { onStage, type Stage } from '../setup/cluster-stage.ts'
import { describeWithRedis } from '../setup/redis.ts'
import { APIS } from '../../shared/protocol/api.ts'

async function complaint({ cluster }: Stage, ...words: string[]): Promise<string> {
  const { code, stderr } = await run([...words, '-b', cluster.addresses.join(',')])
  expect(code).toBeGreaterThanOrEqual(1)
  return stderr.trimEnd()
}

/** A member whose address is this one. */
async function memberAt({ redis }: Stage, port: number): Promise<Life> {
  const life = await begin({ url: redis.url, cluster: 'tidemark', id: 4, port })
  expect(life.record.brokerId).toBe(brokerId(4))
  return life
}

async function connections({ client }: Stage): Promise<string> {
  const { checks } = await client.admin().describeCluster()
  return checks.find(({ name }) => name === 'connections')?.detail ?? ''
}

/** Answers whatever it is sent with what is no frame of ours. */
async function startStranger(): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return { server, port: typeof address === 'object' && address !== null ? address.port : 0 }
}

describeWithRedis('a cluster that is asked for what it cannot do says', () => {
  it('why, and what to do instead', () =>
    onStage(async (stage) => {
      expect(await complaint(stage, 'topic', 'create', 'x', '-r', '4')).toBe(
        'tidemark: topic x: replication factor 4 is not possible: there are 3 brokers; ask for fewer replicas, or start more brokers (INVALID_REPLICATION_FACTOR)',
      )
      expect(await complaint(stage, 'topic', 'create', 'x', '-r', '2', '-c', 'min.insync.replicas=3')).toBe(
        'tidemark: topic x: min.insync.replicas=3 is above the replication factor, which is 2; lower it, or ask for more replicas (INVALID_CONFIG)',
      )
      await stage.client.admin().createTopics({ topics: [{ topic: 't', replicationFactor: 2 }] })
      const altered = ['topic', 'alter', 't', '-c', 'min.insync.replicas=1']
      expect(await complaint(stage, ...altered)).toContain('cannot be changed once the topic has replicas')
      const move = ['broker', 'move', '--topic', 't', '-p', '0']
      expect(await complaint(stage, ...move, '--to', '1,9')).toBe(
        'tidemark: partition t-0: there is no broker 9 at the moment; there are: 1, 2, 3 (INVALID_REPLICA_ASSIGNMENT)',
      )
      expect(await complaint(stage, ...move, '--to', '1,1')).toContain('broker 1 is there twice for t-0')
      expect(await complaint(stage, ...move, '--cancel')).toContain('no move of t-0 is under way')
      expect(await complaint(stage, 'broker', 'drain', '9')).toContain(
        'there is no broker 9 at the moment; there are: 1, 2, 3',
      )
      expect(await complaint(stage, 'broker', 'decommission', '9')).toContain('there is no broker 9, and no replica')
      expect(await complaint(stage, 'topic', 'recover', 't', '-p', '0')).toMatch(
        /leads t-0: there is nothing to recover/,
      )
    }))

  it('which member speaks another language, or an older version of this one, and goes on without it', () =>
    onStage(async (stage) => {
      const stranger = await startStranger()
      const life = await memberAt(stage, stranger.port)
      await expect
        .poll(() => connections(stage), { timeout: 10_000 })
        .toMatch(
          /^broker \d has no connection to broker 4 at 127\.0\.0\.1:\d+: .* cannot be read.*; is that where it listens for the others \(advertise\), and does it run\?$/,
        )
      await using older = await FakeBroker.start()
      const apis = Object.values(APIS).map(({ number: api }) => ({ api, versionMin: 0, versionMax: 0 }))
      older.helloAnswer = {
        cluster: 'tidemark',
        brokerId: 4,
        apis: apis.filter(({ api }) => api !== APIS.fence.number),
      }
      const port = Number(older.address.split(':').at(-1))
      await life.coordinator.announce({ ...life.record, port })
      await expect
        .poll(() => connections(stage), { timeout: 10_000 })
        .toMatch(/fence in version 0: .* does not know it; run versions on all brokers that know each other's requests/)
      await stage.client.admin().createTopics({ topics: [{ topic: 't', replicationFactor: 3 }] })
      await life.coordinator.stop()
      await expect.poll(() => connections(stage), { timeout: 10_000 }).toMatch(/^broker \d is connected to all others$/)
      stranger.server.close()
    }))
})
