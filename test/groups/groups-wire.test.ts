// Groups on a real broker, over the wire: members that share out, commit, go and come back.

import { describe, expect, it, onTestFinished } from 'vitest'
import { startBroker, type TestBroker, type TestBrokerOptions } from '../../broker/testing.ts'
import { codeOf, WireMember } from './wire-member.ts'

async function aBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const broker = await startBroker({ dataDir: 'memory', ...options })
  onTestFinished(() => broker.stop())
  const client = broker.client()
  await client.admin().createTopics({ topics: [{ topic: 't', numPartitions: 4 }] })
  return broker
}

async function aMember(broker: TestBroker, group = 'g'): Promise<WireMember> {
  const member = await WireMember.connect(broker.brokers, group)
  expect(codeOf(await member.findCoordinator())).toBeUndefined()
  return member
}

/** One member, alone in its group, that has its share. */
async function aSettledMember(broker: TestBroker, group = 'g'): Promise<WireMember> {
  const member = await aMember(broker, group)
  await member.join()
  await member.sync({ [member.member]: 'all' })
  return member
}

/** Two members of one generation; the first one leads. */
async function twoMembers(broker: TestBroker): Promise<[WireMember, WireMember]> {
  const one = await aSettledMember(broker)
  const two = await aMember(broker)
  const joining = two.join()
  await expect.poll(async () => codeOf(await one.heartbeat())).toBe('REBALANCE_IN_PROGRESS')
  await Promise.all([joining, one.join()])
  const shares = { [one.member]: 'first', [two.member]: 'second' }
  await Promise.all([one.sync(shares), two.sync()])
  return [one, two]
}

describe('a group on a broker', () => {
  it('is coordinated by the broker, which makes the topic for it', async () => {
    const broker = await aBroker()
    const member = await WireMember.connect(broker.brokers, 'g')
    const place = await member.findCoordinator()
    expect(place).toMatchObject({ error: 0, broker: broker.broker.brokerId, host: '127.0.0.1', port: broker.port })
    const { topics } = await member.ask('metadata', { topics: ['__consumer_offsets'], createMissing: false })
    expect(topics[0]).toMatchObject({ error: 0, isInternal: true })
    expect(topics[0]?.partitions).toHaveLength(16)
  })

  it('gives a newcomer an id first, and then a generation in which it leads', async () => {
    const broker = await aBroker()
    const member = await aMember(broker)
    const first = await member.joinOnce()
    expect(codeOf(first)).toBe('MEMBER_ID_REQUIRED')
    expect(first.member).toMatch(/^member-[0-9a-f-]{36}$/)
    const second = await member.joinOnce({ protocols: { range: 'what I want' } })
    expect(second).toMatchObject({ error: 0, protocol: 'range', protocolType: 'consumer', leader: first.member })
    expect(second.members.map(({ metadata }) => Buffer.from(metadata).toString())).toEqual(['what I want'])
    expect(await member.sync({ [member.member]: 'all of it' })).toMatchObject({ error: 0, share: 'all of it' })
    expect(codeOf(await member.heartbeat())).toBeUndefined()
  })

  it('shares out among two, and tells a heartbeat that waits as soon as a third comes', async () => {
    const broker = await aBroker()
    const [one, two] = await twoMembers(broker)
    expect(one.generation).toBe(two.generation)
    expect((await two.sync()).share).toBe('second')
    const waiting = [one.heartbeat(5_000), two.heartbeat(5_000)]
    const three = await aMember(broker)
    const joining = three.join()
    for (const heartbeat of waiting) expect(codeOf(await heartbeat)).toBe('REBALANCE_IN_PROGRESS')
    const [first] = await Promise.all([one.join(), two.join(), joining])
    expect(first.members).toHaveLength(3)
    expect(three.generation).toBe(one.generation)
  })

  it('gives no generation out twice, though nobody has written it down before a kill', async () => {
    const broker = await aBroker({ dataDir: undefined })
    const generations: number[] = []
    for (let life = 0; life < 3; life += 1) {
      const member = await aMember(broker)
      await expect.poll(async () => codeOf(await member.join())).toBeUndefined()
      // Before anybody has shared out: nothing of it is in the log but the generation.
      generations.push(member.generation)
      await broker.restart({ crash: true })
    }
    expect(generations).toEqual([...new Set(generations)].toSorted((one, other) => one - other))
    expect(generations).toHaveLength(3)
  })

  it('keeps what is committed, with its text, over a restart', async () => {
    const broker = await aBroker()
    const member = await aSettledMember(broker)
    expect(await member.commit('t', 17, { metadata: 'Grüße' })).toEqual({ error: undefined, message: undefined })
    expect(await member.commit('t', 4, { partition: 3 })).toEqual({ error: undefined, message: undefined })
    expect(await member.committed()).toEqual({ 't-0': 17, 't-3': 4 })
    const { member: id, generation } = member
    member.die()
    await broker.restart()
    const next = await aMember(broker)
    await expect.poll(async () => next.committed().catch(() => undefined)).toEqual({ 't-0': 17, 't-3': 4 })
    const { partitions } = await next.ask('fetchOffsets', { group: 'g', partitions: [{ topic: 't', partition: 0 }] })
    expect(partitions[0]).toMatchObject({ offset: 17, metadata: 'Grüße' })
    // The member is in it still: it has a session to come back in.
    next.member = id
    expect(codeOf(await next.heartbeat(0, generation))).toBeUndefined()
    await next.join()
    expect(next.generation).toBeGreaterThan(generation)
  })

  it('goes on without a member whose connection has closed, long before its session is over', async () => {
    const broker = await aBroker()
    const [one, two] = await twoMembers(broker)
    const waiting = one.heartbeat(5_000)
    two.die()
    expect(codeOf(await waiting)).toBe('REBALANCE_IN_PROGRESS')
    const joined = await one.join()
    expect(joined.members.map(({ member }) => member)).toEqual([one.member])
  })

  it('goes on without a member that leaves, at once', async () => {
    const broker = await aBroker()
    const [one, two] = await twoMembers(broker)
    const waiting = one.heartbeat(5_000)
    expect(await two.leave()).toMatchObject({ error: 0, members: [{ member: two.member, error: 0 }] })
    expect(codeOf(await waiting)).toBe('REBALANCE_IN_PROGRESS')
    expect((await one.join()).members).toHaveLength(1)
    expect((await two.commit('t', 1)).error).toBe('UNKNOWN_MEMBER_ID')
  })
})
