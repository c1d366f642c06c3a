// Three brokers in processes of their own and a real Redis: what clients see while brokers die, hang and stop. Needs the
// built command.

import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { connect } from '../../client/client.ts'
import { anomaliesOf, Load, readAll } from '../setup/cluster-load.ts'
import { inSync, leaderOf } from '../setup/cluster-state.ts'
import { makeTopic, onStage, type Stage } from '../setup/cluster-stage.ts'
import { describeWithRedis } from '../setup/redis.ts'

const topic = 't'

/** The writers stop; what they were told must be so, on every replica. */
async function expectKept(stage: Stage, load: Load): Promise<void> {
  await load.stop()
  expect(load.failed).toEqual([])
  expect(anomaliesOf(load, await readAll(stage.client, load.topic))).toEqual([])
  await expectEqualReplicas(stage)
}

async function expectEqualReplicas({ cluster, client }: Stage): Promise<void> {
  await inSync(client.admin(), 't', 3)
  const [described] = await client.admin().describeTopics(['t'])
  const topicId = described?.topicId ?? ''
  const sums = (): string[] =>
    cluster.ids.map((id) => {
      const bytes = cluster.logBytes(id, topicId) ?? Buffer.of()
      return `${bytes.length} bytes, ${createHash('sha256').update(bytes).digest('hex')}`
    })
  await expect.poll(() => new Set(sums()).size, { timeout: 10_000 }).toBe(1)
  expect(sums()[0]).not.toMatch(/^0 bytes/)
}

describeWithRedis('a cluster of three brokers', () => {
  it('takes records with acks all, 1 and 0, hands them out in order, and all replicas are equal', () =>
    onStage(async (stage) => {
      await makeTopic(stage)
      const { client } = stage
      const written: string[] = []
      for (const acks of ['all', 1, 0] as const) {
        const producer = client.producer({ acks })
        for (let number = 0; number < 50; number += 1) {
          written.push(`${acks} ${number}`)
          await producer.send({ topic, messages: [{ value: `${acks} ${number}` }] })
        }
      }
      const values = async (): Promise<string[] | undefined> =>
        (await readAll(client, topic)).get(0)?.map(({ value }) => value)
      await expect.poll(values, { timeout: 5_000 }).toEqual(written)
      await expectEqualReplicas(stage)
    }))

  it('loses nothing and repeats nothing when its leader is killed under load, again and again', () =>
    onStage(async (stage) => {
      await makeTopic(stage)
      const { client, cluster } = stage
      const load = new Load(client, { topic, writers: 4, burst: 5 })
      for (let kills = 0; kills < 3; kills += 1) {
        await inSync(client.admin(), topic, 3)
        await load.more(300)
        const leader = await leaderOf(client.admin(), topic)
        await cluster.kill(leader)
        await load.more(300)
        await cluster.restart(leader)
      }
      await expectKept(stage, load)
    }))

  it('goes on without a leader that hangs, which does no harm when it wakes up', () =>
    onStage(async (stage) => {
      await makeTopic(stage)
      const { client, cluster } = stage
      const load = new Load(client, { topic, writers: 4, burst: 5 })
      await load.more(300)
      const leader = await leaderOf(client.admin(), topic)
      cluster.pause(leader)
      await leaderOf(client.admin(), topic, { besides: leader })
      await load.more(300)
      cluster.resume(leader)
      await load.more(300)
      await expectKept(stage, load)
    }))

  it('takes records with acks 0 again soon, of a producer that knows only the old leader', () =>
    onStage(async (stage) => {
      await makeTopic(stage)
      const { client, cluster } = stage
      await using careless = connect({ brokers: cluster.addresses })
      const producer = careless.producer({ acks: 0 })
      await producer.send({ topic, messages: [{ value: 'to the first leader' }] })
      const leader = await leaderOf(client.admin(), topic)
      cluster.pause(leader)
      await leaderOf(client.admin(), topic, { besides: leader })
      cluster.resume(leader)
      const isThere = async (): Promise<boolean> => {
        await producer.send({ topic, messages: [{ value: 'to the second leader' }] })
        const content = await readAll(client, topic)
        return content.get(0)?.some(({ value }) => value === 'to the second leader') === true
      }
      await expect.poll(isThere, { timeout: 8_000 }).toBe(true)
    }))

  it('is restarted broker by broker without a failed write', () =>
    onStage(async (stage) => {
      await makeTopic(stage, 3)
      const { client, cluster } = stage
      const load = new Load(client, { topic, partitions: 3, writers: 6, burst: 3 })
      for (const id of cluster.ids) {
        for (const partition of [0, 1, 2]) await inSync(client.admin(), topic, 3, partition)
        await load.more(200)
        expect(await cluster.stop(id)).toBe(0)
        await load.more(200)
        await cluster.restart(id)
      }
      await load.more(200)
      await load.stop()
      expect(load.failed).toEqual([])
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
    }))

  it('is read on by a reader that never notices', () =>
    onStage(async (stage) => {
      await makeTopic(stage)
      const { client, cluster } = stage
      const reader = client.read(topic, { from: 'start', maxWaitMs: 500 })
      const read: number[] = []
      const reading = (async () => {
        for await (const { offset, value } of reader) {
          if (value?.toString() === 'end') return
          read.push(offset)
        }
      })()
      const load = new Load(client, { topic, writers: 2, burst: 2 })
      await load.more(100)
      const first = await leaderOf(client.admin(), topic)
      await cluster.kill(first)
      await load.more(100)
      await cluster.restart(first)
      await inSync(client.admin(), topic, 3)
      const second = await leaderOf(client.admin(), topic)
      cluster.pause(second)
      await leaderOf(client.admin(), topic, { besides: second })
      await load.more(100)
      cluster.resume(second)
      await load.stop()
      await client.producer().send({ topic, messages: [{ value: 'end' }] })
      await reading
      expect(read).toEqual(read.toSorted((a, b) => a - b))
      expect(new Set(read).size).toBe(load.acknowledged.length)
    }))
})
