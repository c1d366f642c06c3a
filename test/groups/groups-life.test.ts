// What becomes of groups on a broker: deleted, expired, listed, read again from a long log, and let go of when it stops.

import { describe, expect, it, onTestFinished } from 'vitest'
import { startBroker, type TestBroker, type TestBrokerOptions } from '../../broker/testing.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import { readKey } from '../../broker/groups/group-records.ts'
import { within } from '../setup/cluster-load.ts'
import { aMember, aSettledMember, codeOf, type WireMember } from './wire-member.ts'

const CONTEXT = { connectionId: 0, protocol: 'native', remote: 'test', clientId: 'test', software: '' } as const

async function aBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const broker = await startBroker({ dataDir: 'memory', ...options })
  onTestFinished(() => broker.stop())
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 't', numPartitions: 4 }, { topic: 'u' }] })
  return broker
}

/** Somebody who has come into no group, and commits and resets for one. */
async function nobody(broker: TestBroker, group = 'g'): Promise<WireMember> {
  return aMember(broker, group)
}

describe('the groups of a broker', () => {
  it('are listed, by state if that is asked for, and described', async () => {
    const broker = await aBroker()
    const member = await aSettledMember(broker, 'busy')
    await (await nobody(broker, 'idle')).commit('t', 1)
    const { groups } = await member.ask('listGroups', { states: [] })
    const listed = groups.map(
      ({ group, state, members, protocolType }) => `${group} ${state} ${members} ${protocolType}`,
    )
    expect(listed.toSorted()).toEqual(['busy Stable 1 consumer', 'idle Empty 0 '])
    const stable = await member.ask('listGroups', { states: ['stable'] })
    expect(stable.groups.map(({ group }) => group)).toEqual(['busy'])
    const described = await member.describe()
    expect(described).toMatchObject({ error: 0, state: 'Stable', protocol: 'range', leader: member.member })
    expect(described.members).toHaveLength(1)
    expect(described.members[0]).toMatchObject({ member: member.member, clientId: 'member', sessionTimeoutMs: 10_000 })
    expect(Buffer.from(described.members[0]?.assignment ?? []).toString()).toBe('all')
    const unknown = await aMember(broker, 'unknown')
    expect(await unknown.describe()).toMatchObject({ error: 0, state: 'Dead', members: [] })
  })

  it('are reset by nobody while nobody is in, which the next member goes on from', async () => {
    const broker = await aBroker()
    const admin = await nobody(broker)
    expect(await admin.commit('t', 42)).toMatchObject({ error: undefined })
    const member = await aSettledMember(broker)
    expect(await member.committed()).toEqual({ 't-0': 42 })
    expect(await admin.commit('t', 7)).toMatchObject({ error: 'UNKNOWN_MEMBER_ID' })
  })

  it('are forgotten when they are deleted, over a restart, too', async () => {
    const broker = await aBroker()
    const member = await aSettledMember(broker)
    await member.commit('t', 1)
    await member.leave()
    expect((await member.ask('deleteGroups', { groups: ['g'] })).groups.map(codeOf)).toEqual([undefined])
    expect(await member.committed()).toEqual({})
    await broker.restart()
    const next = await aMember(broker)
    await expect.poll(async () => next.committed().catch(() => 'loading')).toEqual({})
    expect((await next.ask('listGroups', { states: [] })).groups).toEqual([])
  })

  it('lose single offsets when those are deleted, over a restart, too', async () => {
    const broker = await aBroker()
    const member = await nobody(broker)
    for (const partition of [0, 1, 2]) await member.commit('t', 5, { partition })
    const partitions = [0, 2].map((partition) => ({ topic: 't', partition }))
    const deleted = await member.ask('deleteOffsets', { group: 'g', partitions })
    expect(deleted.partitions.map(codeOf)).toEqual([undefined, undefined])
    expect(await member.committed()).toEqual({ 't-1': 5 })
    await broker.restart()
    const next = await aMember(broker)
    await expect.poll(async () => next.committed().catch(() => 'loading')).toEqual({ 't-1': 5 })
  })

  it('lose what they have committed of a topic that is deleted', async () => {
    const broker = await aBroker()
    const member = await nobody(broker)
    await member.commit('t', 5)
    await member.commit('u', 6)
    await broker
      .client()
      .admin()
      .deleteTopics({ topics: ['t'] })
    await expect.poll(() => member.committed()).toEqual({ 'u-0': 6 })
  })

  it('expire without members, and go with their last offset', async () => {
    let days = 0
    const { systemClock } = await import('../../shared/time.ts')
    const now = (): ReturnType<typeof systemClock.now> => {
      return (systemClock.now() + days * 86_400_000) as ReturnType<typeof systemClock.now>
    }
    const clock = { now, monotonic: () => systemClock.monotonic() }
    const broker = await aBroker({ environment: { clock }, offsetsRetentionCheckIntervalMs: 20 })
    const used = await aSettledMember(broker, 'used')
    await used.commit('t', 1)
    const left = await aSettledMember(broker, 'left')
    await left.commit('t', 2)
    await left.leave()
    days = 6
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(await left.committed()).toEqual({ 't-0': 2 })
    days = 8
    await expect.poll(() => left.committed()).toEqual({})
    const listed = async (): Promise<string[]> => {
      return (await used.ask('listGroups', { states: [] })).groups.map(({ group }) => group)
    }
    await expect.poll(listed).toEqual(['used'])
    expect(await used.committed()).toEqual({ 't-0': 1 })
  })

  it('are written as Kafka would: what any consumer reads of the topic are its records', async () => {
    const broker = await aBroker()
    const member = await aSettledMember(broker)
    await member.commit('t', 3, { partition: 2 })
    const keys: unknown[] = []
    for await (const record of broker.client().read('__consumer_offsets', { from: 'start', to: 'end' })) {
      keys.push(readKey(record.key ?? new Uint8Array(0)))
    }
    expect(keys).toEqual([
      // Of a broker that has just started, the first generation is written down before it is told.
      { kind: 'group', group: 'g' },
      { kind: 'group', group: 'g' },
      { kind: 'offset', group: 'g', topic: 't', partition: 2 },
    ])
  })

  it('are read again from a long log in slices: others are answered meanwhile', async () => {
    const broker = await aBroker({ offsetsTopicNumPartitions: 1 })
    const writer = await nobody(broker)
    const partitions = Array.from({ length: 400 }, (_, at) => ({
      topic: 't',
      partition: at % 4,
      offset: at,
      leaderEpoch: undefined,
      metadata: 'x'.repeat(100),
    }))
    const request: RequestOf<'commitOffsets'> = {
      group: 'g',
      member: '',
      instance: undefined,
      generation: -1,
      partitions,
    }
    for (let turn = 0; turn < 250; turn += 1) await writer.ask('commitOffsets', request)
    await broker.restart()
    // Without a network between: it has hardly begun to read.
    const { requests } = broker.broker
    const answers: (string | undefined)[] = []
    let others = 0
    for (;;) {
      const answer = await requests.ask('fetchOffsets', { group: 'g', partitions: undefined }, CONTEXT)
      answers.push(codeOf(answer))
      if (answer.error === 0) break
      await requests.ask('metadata', { topics: ['t'], createMissing: false }, CONTEXT)
      others += 1
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(new Set(answers.slice(0, -1))).toEqual(new Set(['COORDINATOR_LOAD_IN_PROGRESS']))
    expect(others).toBeGreaterThan(100)
    const reader = await aMember(broker)
    expect(await reader.committed()).toEqual({ 't-0': 396, 't-1': 397, 't-2': 398, 't-3': 399 })
  })

  it('are there still when their topic has been compacted', async () => {
    const broker = await aBroker({ compactionIntervalMs: 20, offsetsTopicNumPartitions: 1 })
    const member = await aSettledMember(broker)
    const topic = '__consumer_offsets'
    const admin = broker.client().admin()
    await admin.alterTopic({ topic, config: { 'segment.bytes': '4096', 'min.cleanable.dirty.ratio': '0.01' } })
    const sizes = async (): Promise<number> => {
      const [described] = await admin.describeTopics([topic])
      return described?.partitions[0]?.bytes ?? 0
    }
    let largest = 0
    let offset = 0
    await expect
      .poll(
        async () => {
          for (let turn = 0; turn < 50; turn += 1) {
            offset += 1
            await member.commit('t', offset, { partition: offset % 3, metadata: 'x'.repeat(50) })
          }
          const bytes = await sizes()
          largest = Math.max(largest, bytes)
          return bytes < largest
        },
        { timeout: 20_000 },
      )
      .toBe(true)
    const before = await member.committed()
    expect(Object.keys(before).toSorted()).toEqual(['t-0', 't-1', 't-2'])
    await broker.restart()
    const next = await aMember(broker)
    await expect.poll(async () => next.committed().catch(() => 'loading')).toEqual(before)
    next.member = member.member
    next.generation = member.generation
    expect(codeOf(await next.heartbeat())).toBeUndefined()
  })

  it('are let go of at once when the broker stops: nobody who waits holds it up', async () => {
    const broker = await aBroker()
    const one = await aSettledMember(broker)
    const two = await aMember(broker)
    const heartbeat = one.heartbeat(5_000).then(codeOf, () => 'closed')
    const joining = two.join().then(codeOf, () => 'closed')
    expect(await heartbeat).toBe('REBALANCE_IN_PROGRESS')
    expect(
      await within(
        broker.stop().then(() => 'stopped'),
        5_000,
      ),
    ).toBe('stopped')
    expect(['NOT_COORDINATOR', 'closed']).toContain(await joining)
  })
})
