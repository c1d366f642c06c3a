// Three brokers in processes of their own and a real Redis: replicas that were away, came back without their disk, or are
// too few, and topics that were deleted meanwhile. Needs the built command.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { connect } from '../../client/client.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { onStage, makeTopic, type Stage } from '../setup/cluster-stage.ts'
import { anomaliesOf, Load, readAll } from '../setup/cluster-load.ts'
import { inSync, leaderOf, stateOf } from '../setup/cluster-state.ts'
import { describeWithRedis } from '../setup/redis.ts'
import { run } from '../cli/tidemark-process.ts'
import { MAGIC_AT } from '../../shared/record-batch/format.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'

const topic = 't'

async function followersOf({ client, cluster }: Stage): Promise<{ leader: number; followers: number[] }> {
  const leader = await leaderOf(client.admin(), topic)
  return { leader, followers: cluster.ids.filter((id) => id !== leader) }
}

/**
 * Too few replicas live: what is written is refused before its deadline. Soon because of that: a process that is gone is not
 * waited for, as one that hangs would be.
 */
async function expectRefused({ client }: Stage): Promise<void> {
  const impatient = client.producer({ deliveryTimeoutMs: 1_500 })
  const refusal = async (): Promise<unknown> => {
    const sent = impatient.send({ topic, messages: [{ value: 'too few hold it' }] })
    return sent.then(
      () => 'acknowledged',
      (error: unknown) =>
        error instanceof TidemarkError && error.cause instanceof TidemarkError ? error.cause.code : error,
    )
  }
  expect(['REQUEST_TIMED_OUT', 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'NOT_ENOUGH_REPLICAS']).toContain(await refusal())
  await expect.poll(refusal, { timeout: 3_000 }).toBe('NOT_ENOUGH_REPLICAS')
}

async function write(stage: Stage, count: number): Promise<Load> {
  const load = new Load(stage.client, { topic, writers: 3, burst: 5 })
  await load.more(count)
  await load.stop()
  return load
}

/** In the second batch of the second segment, in its header and in its records. */
function flipBits(directory: string): void {
  const names = readdirSync(directory).filter((name) => name.endsWith('.log'))
  const path = join(directory, names.toSorted()[1] ?? '')
  const bytes = readFileSync(path)
  for (const at of [MAGIC_AT, 1_000]) bytes[batchBytes(bytes, 0) + at] = 0xff
  writeFileSync(path, bytes)
}

describeWithRedis('the replicas of a cluster', () => {
  it('catch up after a long absence, and lead then what they had not seen', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const topicId = await makeTopic(stage, 1, { 'segment.bytes': '1048576' })
      const { followers } = await followersOf(stage)
      const [away = 0] = followers
      await cluster.kill(away)
      const load = new Load(client, { topic, writers: 3, burst: 10, valueBytes: 2_000 })
      await load.more(3_000)
      await cluster.restart(away)
      await inSync(client.admin(), topic, 3)
      await load.more(100)
      await load.stop()
      const sums = (): string[] =>
        cluster.ids.map((id) =>
          createHash('sha256')
            .update(cluster.logBytes(id, topicId) ?? '')
            .digest('hex'),
        )
      await expect.poll(() => new Set(sums()).size, { timeout: 10_000 }).toBe(1)
      for (const id of cluster.ids) if (id !== away) await cluster.stop(id)
      await cluster.restart(cluster.ids.find((id) => id !== away) ?? 0)
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
    }))

  it('are not counted when they come back without their disk, and health says so', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await makeTopic(stage)
      const load = await write(stage, 300)
      const { followers } = await followersOf(stage)
      const [replaced = 0, other = 0] = followers
      await cluster.kill(replaced)
      await cluster.wipe(replaced)
      await cluster.restart(replaced)
      await write(stage, 50)
      const health = await run(['cluster', 'health', '--brokers', cluster.addresses.join(',')])
      expect(health.code).toBe(1)
      expect(`${health.stdout}${health.stderr}`).toMatch(new RegExp(`broker ${replaced}\\b.*(disk|directory)`, 'i'))
      await cluster.kill(other)
      await expectRefused(stage)
      await cluster.restart(other)
      await write(stage, 50)
      expect(anomaliesOf(load, await readAll(client, topic)).filter(({ kind }) => kind === 'lost')).toEqual([])
    }))

  it('are led by nobody, as every broker says, when one of two has lost its disk and the other was started again', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await client.admin().createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 2 }] })
      await write(stage, 20)
      const [leader = 0, wiped = 0] = (await client.admin().describeTopic(topic)).partitions[0]?.replicas ?? []
      const third = cluster.ids.find((id) => id !== leader && id !== wiped) ?? 0
      for (const id of [wiped, leader]) await cluster.kill(id)
      await cluster.wipe(wiped)
      for (const id of [leader, wiped]) await cluster.restart(id)
      const healthAt = async (id: number): Promise<string> =>
        (await run(['cluster', 'health', '-b', cluster.address(id)])).stdout
      await expect.poll(() => healthAt(third), { timeout: 15_000 }).toMatch(/^brokers +ok +3 there/m)
      for (const id of [leader, wiped, third]) {
        expect(await healthAt(id)).toMatch(/^leaders +bad +1 of 1 partitions have no leader: t-0/m)
      }
      const { stdout } = await run(['topic', 'describe', topic, '-p', '-b', cluster.address(leader)])
      expect(stdout).toMatch(
        /only 1 of the 2 voters that an election needs are there: broker \d has another disk; start it/,
      )
    }))

  it('get back what damage has taken from one of them, and nobody who reads is refused', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const topicId = await makeTopic(stage, 1, { 'segment.bytes': '262144' })
      const load = new Load(client, { topic, writers: 3, burst: 10, valueBytes: 2_000 })
      await load.more(1_000)
      await load.stop()
      const { leader, followers } = await followersOf(stage)
      const sums = (): string[] =>
        cluster.ids.map((id) =>
          createHash('sha256')
            .update(cluster.logBytes(id, topicId) ?? '')
            .digest('hex'),
        )
      await expect.poll(() => new Set(sums()).size, { timeout: 10_000 }).toBe(1)
      // The leader of before leads again, and reads from its disk.
      for (const id of followers) await cluster.stop(id)
      await cluster.stop(leader)
      flipBits(join(cluster.dataDir(leader), 'logs', `${topicId}-0`))
      await cluster.restart(leader)
      for (const id of followers) await cluster.restart(id)
      await inSync(client.admin(), topic, 3)
      expect(await leaderOf(client.admin(), topic)).toBe(leader)
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
      expect(await leaderOf(client.admin(), topic)).not.toBe(leader)
      await expect.poll(() => new Set(sums()).size, { timeout: 20_000 }).toBe(1)
      const health = await run(['cluster', 'health', '-b', cluster.address(leader)])
      expect(health.stdout).toMatch(/^records +ok/m)
    }))

  it('take no records when they are too few, say so before the deadline, and are read as before', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await makeTopic(stage, 1, { 'min.insync.replicas': '2' })
      const load = await write(stage, 300)
      const { followers } = await followersOf(stage)
      await Promise.all(followers.map((id) => cluster.kill(id)))
      await expectRefused(stage)
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
      for (const id of followers) await cluster.restart(id)
      await write(stage, 50)
      expect(anomaliesOf(load, await readAll(client, topic)).filter(({ kind }) => kind === 'lost')).toEqual([])
    }))

  it('forget a topic that was deleted while they were away', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const topicId = await makeTopic(stage, 2)
      await write(stage, 100)
      const { followers } = await followersOf(stage)
      const [away = 0] = followers
      await cluster.kill(away)
      await client.admin().deleteTopics([topic])
      expect(cluster.logBytes(away, topicId)).toBeDefined()
      await cluster.restart(away)
      for (const id of cluster.ids) {
        await expect.poll(() => cluster.logBytes(id, topicId), { timeout: 10_000 }).toBeUndefined()
      }
      await using fresh = connect({ brokers: [cluster.address(away)] })
      expect(await fresh.admin().listTopics()).toEqual([])
      await makeTopic(stage)
      const load = await write(stage, 50)
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])
      expect((await stateOf(client.admin(), topic)).inSyncReplicas).toHaveLength(3)
    }))
})
