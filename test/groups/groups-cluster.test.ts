// Groups on three brokers in processes of their own with a real Redis: coordinators die, hang and stop, and the groups go on
// elsewhere with what was committed. Needs the built command.

import { expect, it } from 'vitest'
import { makeTopic, onStage, type Stage } from '../setup/cluster-stage.ts'
import { inSync } from '../setup/cluster-state.ts'
import { pause, within } from '../setup/cluster-load.ts'
import { describeWithRedis } from '../setup/redis.ts'
import { codeOf, type JoinOptions, WireMember } from './wire-member.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { partitionOfGroup } from '../../broker/groups/offsets-topic.ts'

const OFFSETS = '__consumer_offsets'
const SESSION: JoinOptions = { sessionTimeoutMs: 4_000, rebalanceTimeoutMs: 6_000 }
const PASSING = new Set(['COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_LOAD_IN_PROGRESS', 'NOT_COORDINATOR'])

interface Placed {
  readonly member: WireMember
  readonly broker: number
}

/** A connection to whoever coordinates the group, once that one answers for it; not one of `besides`. */
async function atCoordinator({ cluster }: Stage, group: string, besides: readonly number[] = []): Promise<Placed> {
  const deadline = performance.now() + 30_000
  for (let at = 0; performance.now() < deadline; at += 1) {
    const others = cluster.living.filter((id) => !besides.includes(id))
    const asked = others[at % others.length]
    try {
      if (asked === undefined) throw new Error('there is nobody to ask')
      const member = await WireMember.connect(cluster.address(asked), group)
      const place = await member.findCoordinator()
      member.die()
      if (place.error === 0 && !besides.includes(place.broker)) {
        const placed = await WireMember.connect(`${place.host}:${place.port}`, group)
        const described = await placed.describe()
        if (described.error === 0) return { member: placed, broker: place.broker }
        placed.die()
      }
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
    }
    await pause(50)
  }
  throw new Error(`nobody coordinates ${group}`)
}

/** A member that has its share; the partition of its group has all its replicas. */
async function settledMember(stage: Stage, group: string): Promise<Placed> {
  await makeTopic(stage, 2)
  const placed = await atCoordinator(stage, group)
  await inSync(stage.client.admin(), OFFSETS, 3, partitionOfGroup(group, 16))
  const { member } = placed
  expect(codeOf(await member.join(SESSION))).toBeUndefined()
  expect((await member.sync({ [member.member]: 'all' })).share).toBe('all')
  return placed
}

/** The same member by another connection: it knows what it knew. */
function goesOn(member: WireMember, by: WireMember): void {
  by.member = member.member
  by.generation = member.generation
}

describeWithRedis('a group on a cluster', () => {
  it('is kept on three replicas, and goes on at another broker when its coordinator is killed', () =>
    onStage(async (stage) => {
      const { member, broker } = await settledMember(stage, 'g')
      for (let offset = 1; offset <= 20; offset += 1) {
        expect(await member.commit('t', offset, { metadata: `${offset}` })).toMatchObject({ error: undefined })
      }
      await stage.cluster.kill(broker)
      const next = await atCoordinator(stage, 'g', [broker])
      expect(await next.member.committed()).toEqual({ 't-0': 20 })
      // The member is in still, with its share, and may commit.
      goesOn(member, next.member)
      expect(codeOf(await next.member.heartbeat())).toBeUndefined()
      expect((await next.member.sync()).share).toBe('all')
      expect(await next.member.commit('t', 21)).toMatchObject({ error: undefined })
      const before = next.member.generation
      expect(codeOf(await next.member.join(SESSION))).toBeUndefined()
      expect(next.member.generation).toBeGreaterThan(before)
      expect(await next.member.committed()).toEqual({ 't-0': 21 })
    }))

  it('refuses a zombie: who was out while its coordinator changed commits nothing', () =>
    onStage(async (stage) => {
      const { member: zombie, broker } = await settledMember(stage, 'g')
      expect(await zombie.commit('t', 5)).toMatchObject({ error: undefined })
      await stage.cluster.kill(broker)
      const next = await atCoordinator(stage, 'g', [broker])
      expect(codeOf(await next.member.join(SESSION))).toBeUndefined()
      await next.member.sync({ [next.member.member]: 'all' })
      expect(next.member.generation).toBeGreaterThan(zombie.generation)
      expect(await next.member.commit('t', 9)).toMatchObject({ error: undefined })
      const back = await WireMember.connect(stage.cluster.address(next.broker), 'g')
      goesOn(zombie, back)
      expect((await back.commit('t', 1)).error).toMatch(/UNKNOWN_MEMBER_ID|ILLEGAL_GENERATION/)
      expect(await next.member.committed()).toEqual({ 't-0': 9 })
    }))

  it('tells whoever waits when its coordinator stops in order, and goes on', () =>
    onStage(async (stage) => {
      const { member, broker } = await settledMember(stage, 'g')
      await member.commit('t', 3)
      const waiting = member.heartbeat(2_000)
      const stopped = stage.cluster.stop(broker)
      expect(codeOf(await waiting)).toBe('NOT_COORDINATOR')
      expect(await stopped).toBe(0)
      const next = await atCoordinator(stage, 'g', [broker])
      goesOn(member, next.member)
      expect(codeOf(await next.member.heartbeat())).toBeUndefined()
      expect(await next.member.committed()).toEqual({ 't-0': 3 })
    }))

  it('goes on without a coordinator that hangs, which coordinates it no more when it wakes up', () =>
    onStage(async (stage) => {
      const { member, broker } = await settledMember(stage, 'g')
      await member.commit('t', 3)
      const waiting = member.heartbeat(2_000)
      stage.cluster.pause(broker)
      const next = await atCoordinator(stage, 'g', [broker])
      goesOn(member, next.member)
      expect(await next.member.commit('t', 4)).toMatchObject({ error: undefined })
      stage.cluster.resume(broker)
      const told = await within(waiting, 10_000)
      // Whether it had heard of it before it hung or hears of it only now.
      expect(['NOT_COORDINATOR', 'COORDINATOR_NOT_AVAILABLE']).toContain(told === 'late' ? told : codeOf(told))
      const late = await member.commit('t', 1)
      expect(PASSING).toContain(late.error)
      expect(await next.member.committed()).toEqual({ 't-0': 4 })
    }))

  it('acknowledges no commit that too few replicas hold, and goes on when they are back', () =>
    onStage(async (stage) => {
      const { member, broker } = await settledMember(stage, 'g')
      expect(await member.commit('t', 3)).toMatchObject({ error: undefined })
      const followers = stage.cluster.ids.filter((id) => id !== broker)
      for (const id of followers) stage.cluster.pause(id)
      const refused = await member.commit('t', 4)
      expect(['REQUEST_TIMED_OUT', ...PASSING]).toContain(refused.error)
      for (const id of followers) stage.cluster.resume(id)
      const next = await atCoordinator(stage, 'g')
      goesOn(member, next.member)
      const known = await next.member.committed()
      // It was in one log, and may stay or go; nothing else can be.
      expect([3, 4]).toContain(known['t-0'])
      await expect
        .poll(async () => (await rejoined(next.member)).error, { timeout: 20_000, interval: 200 })
        .toBeUndefined()
      expect(await next.member.committed()).toEqual({ 't-0': 5 })
    }))

  it('shows how far it is behind in partitions that its coordinator has no replica of', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const admin = client.admin()
      await makeTopic(stage)
      await admin.createTopics({ topics: [{ topic: 'spread', numPartitions: 3, replicationFactor: 1 }] })
      const [described] = await admin.describeTopics(['spread'])
      const places = described?.partitions.map(({ replicas }) => replicas[0]) ?? []
      expect(new Set(places)).toEqual(new Set([1, 2, 3]))
      const messages = [0, 1, 2].flatMap((partition) => ['a', 'b', 'c'].map((value) => ({ value, partition })))
      await client.producer().send({ topic: 'spread', messages })
      const { member, broker } = await atCoordinator(stage, 'g')
      for (const { partition, offset = 0 } of await admin.offsets('spread')) {
        const { error } = await member.commit('spread', offset - 3 + partition, { partition, generation: -1 })
        expect(error).toBeUndefined()
      }
      const url = `http://${cluster.http(broker)}`
      const lags = async (): Promise<string[]> => {
        const text = await (await fetch(`${url}/metrics`)).text()
        return text.split('\n').filter((line) => /^(tidemark_group_lag_records|kafka_consumergroup_lag)\{/.test(line))
      }
      const known = [
        'kafka_consumergroup_lag{consumergroup="g",topic="spread",partition="0"} 3',
        'kafka_consumergroup_lag{consumergroup="g",topic="spread",partition="1"} 2',
        'kafka_consumergroup_lag{consumergroup="g",topic="spread",partition="2"} 1',
      ]
      const sum = 'tidemark_group_lag_records{group="g",topic="spread"} 6'
      await expect.poll(lags, { timeout: 10_000 }).toEqual(expect.arrayContaining([...known, sum]))
      const shown = (await (await fetch(`${url}/api/v1/groups/g`)).json()) as { offsets: { lagRecords: number }[] }
      expect(shown.offsets.map(({ lagRecords }) => lagRecords)).toEqual([3, 2, 1])
      // Of a partition whose broker is gone nobody knows; the others are told all the same.
      const victim = cluster.ids.find((id) => id !== broker) ?? 0
      await cluster.kill(victim)
      const left = known.filter((_, partition) => places[partition] !== victim)
      const perPartition = async () => (await lags()).filter((line) => line.startsWith('kafka'))
      await expect.poll(perPartition, { timeout: 10_000 }).toEqual(left)
    }))
})

/** Comes in anew where it has to, and commits. */
async function rejoined(member: WireMember): Promise<{ readonly error: string | undefined }> {
  const committed = await member.commit('t', 5)
  if (committed.error !== 'UNKNOWN_MEMBER_ID' && committed.error !== 'ILLEGAL_GENERATION') return committed
  member.member = ''
  await member.join(SESSION)
  await member.sync({ [member.member]: 'all' })
  return member.commit('t', 5)
}
