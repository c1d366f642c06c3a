// What a broker tells of its groups: metrics, pages, health, and lag in records and in seconds.

import { describe, expect, it, onTestFinished } from 'vitest'
import { startBroker, type TestBroker, type TestBrokerOptions } from '../../broker/testing.ts'
import { groupsCheck } from '../../broker/groups/groups-check.ts'
import { WireMember } from './wire-member.ts'

const OLD_MS = 3_600_000

async function aBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const broker = await startBroker({ http: '127.0.0.1:0', ...options })
  onTestFinished(() => broker.stop())
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 't', numPartitions: 2 }] })
  return broker
}

async function get(broker: TestBroker, path: string): Promise<Response> {
  const { host = '', port = 0 } = broker.broker.http ?? {}
  return fetch(`http://${host}:${port}${path}`)
}

/** The samples of these metrics, without comments. */
async function scrape(broker: TestBroker, prefix: RegExp): Promise<string[]> {
  const text = await (await get(broker, '/metrics')).text()
  return text.split('\n').filter((line) => prefix.test(line))
}

/** A consumer of partition 0 and 1 of t, as Kafka writes what it wants and has. */
async function aConsumer(broker: TestBroker): Promise<WireMember> {
  const member = await WireMember.connect(broker.brokers, 'g')
  await member.findCoordinator()
  await member.join({ protocols: { range: '\0\u0001\0\0\0\u0001\0\u0001t' } })
  await member.sync({ [member.member]: '\0\u0001\0\0\0\u0001\0\u0001t\0\0\0\u0002\0\0\0\0\0\0\0\u0001' })
  return member
}

/** Commits of nobody for so many groups. */
async function makeGroups(broker: TestBroker, count: number): Promise<void> {
  const admin = await WireMember.connect(broker.brokers, 'g')
  await admin.findCoordinator()
  const where = { topic: 't', partition: 0, offset: 1, leaderEpoch: undefined, metadata: '' }
  const nobody = { member: '', instance: undefined, generation: -1, partitions: [where] }
  const groups = Array.from({ length: count }, (_, at) => `many-${at}`)
  const answers = await Promise.all(groups.map((group) => admin.ask('commitOffsets', { group, ...nobody })))
  expect(new Set(answers.map(({ partitions }) => partitions[0]?.error))).toEqual(new Set([0]))
}

/** Ten records in each partition, of an hour ago but for the last, of now. */
async function fill(broker: TestBroker): Promise<void> {
  const producer = broker.client().producer()
  for (const partition of [0, 1]) {
    for (let index = 0; index < 10; index += 1) {
      const timestamp = index < 9 ? Date.now() - OLD_MS : Date.now()
      await producer.send({ topic: 't', messages: [{ value: `${index}`, partition, timestamp }] })
    }
  }
}

describe('a broker', () => {
  it('tells members, rebalances and lag of its groups, by its own names and those of the exporter', async () => {
    const broker = await aBroker()
    await fill(broker)
    const member = await aConsumer(broker)
    await member.commit('t', 4, { partition: 0 })
    await member.commit('t', 9, { partition: 1 })
    expect(await scrape(broker, /^tidemark_group_(members|reb|lag_records)/)).toEqual([
      'tidemark_group_members{group="g"} 1',
      'tidemark_group_rebalances_total{group="g"} 1',
      'tidemark_group_lag_records{group="g",topic="t"} 7',
    ])
    expect(await scrape(broker, /^kafka_consumergroup/)).toEqual([
      'kafka_consumergroup_current_offset{consumergroup="g",topic="t",partition="0"} 4',
      'kafka_consumergroup_current_offset{consumergroup="g",topic="t",partition="1"} 9',
      'kafka_consumergroup_lag{consumergroup="g",topic="t",partition="0"} 6',
      'kafka_consumergroup_lag{consumergroup="g",topic="t",partition="1"} 1',
      'kafka_consumergroup_lag_sum{consumergroup="g",topic="t"} 7',
      'kafka_consumergroup_members{consumergroup="g"} 1',
    ])
    const [seconds = ''] = await scrape(broker, /^tidemark_group_lag_seconds/)
    expect(seconds).toMatch(/^tidemark_group_lag_seconds\{group="g",topic="t"\} 36\d\d/)
  })

  it('tells of 2,000 groups, however many clients think of', async () => {
    const broker = await aBroker({ dataDir: 'memory' })
    await makeGroups(broker, 2_100)
    const members = await scrape(broker, /^tidemark_group_members/)
    expect(members).toHaveLength(2_000)
    expect(await scrape(broker, /^tidemark_group_rebalances_total/)).toHaveLength(2_000)
  })

  it('tells no lag in seconds that is not there: nothing is old once all is worked off', async () => {
    const broker = await aBroker()
    await fill(broker)
    const member = await aConsumer(broker)
    for (const partition of [0, 1]) await member.commit('t', 10, { partition })
    expect(await scrape(broker, /^tidemark_group_lag/)).toEqual([
      'tidemark_group_lag_records{group="g",topic="t"} 0',
      'tidemark_group_lag_seconds{group="g",topic="t"} 0',
    ])
    // A commit past the end is no negative lag.
    await member.commit('t', 1_000)
    expect(await scrape(broker, /^tidemark_group_lag_records/)).toEqual([
      'tidemark_group_lag_records{group="g",topic="t"} 0',
    ])
  })

  it('knows the age of what is no longer in memory, too', async () => {
    const broker = await aBroker({ hotTailBytes: 0 })
    await fill(broker)
    await broker.restart()
    const member = await aConsumer(broker)
    await member.commit('t', 2)
    const [seconds = ''] = await scrape(broker, /^tidemark_group_lag_seconds/)
    expect(Number(seconds.split(' ')[1])).toBeGreaterThan(3_500)
  })

  it('forgets the figures of a group that is gone', async () => {
    const broker = await aBroker()
    const member = await aConsumer(broker)
    await member.commit('t', 0)
    await member.leave()
    expect(await member.ask('deleteGroups', { groups: ['g'] })).toMatchObject({ groups: [{ error: 0 }] })
    expect(await scrape(broker, /^(tidemark_group_|kafka_consumergroup)/)).toEqual([])
  })

  it('shows its groups as JSON, with who has which partition', async () => {
    const broker = await aBroker()
    await fill(broker)
    const member = await aConsumer(broker)
    await member.commit('t', 9, { partition: 1, metadata: 'a note' })
    expect(await (await get(broker, '/api/v1/groups')).json()).toMatchObject({
      groups: [{ group: 'g', state: 'Stable', protocolType: 'consumer', members: 1, topics: ['t'], lagRecords: 1 }],
      isCut: false,
      loading: 0,
    })
    expect(await (await get(broker, '/api/v1/groups/g')).json()).toMatchObject({
      group: 'g',
      state: 'Stable',
      protocol: 'range',
      generation: member.generation,
      leader: member.member,
      members: [{ member: member.member, clientId: 'member', assignment: [{ topic: 't', partitions: [0, 1] }] }],
      offsets: [{ topic: 't', partition: 1, offset: 9, metadata: 'a note', lagRecords: 1, member: member.member }],
    })
    const missing = await get(broker, '/api/v1/groups/none')
    expect(missing.status).toBe(404)
    expect(await missing.json()).toEqual({ error: "there is no group 'none'", code: 'GROUP_ID_NOT_FOUND' })
  })

  it('says that groups are kept with fewer replicas than asked for, and calls it trouble only where that can be mended', async () => {
    const broker = await aBroker()
    await aConsumer(broker)
    const check = broker.broker.checks().find(({ name }) => name === 'groups')
    expect(check).toEqual({
      name: 'groups',
      isOk: true,
      detail: '1 coordinated here, and 1 of the 3 replicas asked for (brokers: 1)',
    })
  })
})

describe('the health of groups', () => {
  const record = { incarnation: '', host: '', port: 1, rack: undefined, software: '', startedAt: 0 }

  it.each([
    [1, 3, false],
    [2, 3, false],
    [3, 3, true],
    [2, 2, true],
    [3, 5, true],
  ])('with %d replicas on %d brokers is well: %s', (replicationFactor, brokers, isOk) => {
    const topic = { name: '__consumer_offsets', replicationFactor, partitions: 16, config: {}, version: 1 }
    const coordinator = {
      topics: { byName: () => topic },
      brokers: () => Array.from({ length: brokers }, (_, brokerId) => ({ ...record, brokerId })),
    }
    const groups = { groupCount: 2, loading: 1 }
    const check = groupsCheck(coordinator, groups, 3)
    expect(check.isOk).toBe(isOk)
    expect(check.detail).toContain('2 coordinated here, 1 partitions being read')
  })
})
