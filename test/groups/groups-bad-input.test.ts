// What members get wrong, on a real broker over the wire: each a clear error, and nobody else is troubled by it.

import { describe, expect, it, onTestFinished } from 'vitest'
import { startBroker, type TestBroker, type TestBrokerOptions } from '../../broker/testing.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import { aMember, aSettledMember, codeOf, WireMember } from './wire-member.ts'

async function aBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const broker = await startBroker({ dataDir: 'memory', ...options })
  onTestFinished(() => broker.stop())
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 't', numPartitions: 2 }] })
  return broker
}

/** So many ways to share out, with as much to say for each as a message carries in one value. */
function many(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => [`way-${at}`, 'x'.repeat(65_000)]))
}

describe('a coordinator', () => {
  it('knows no member that was given no id, by any request', async () => {
    const stranger = await aMember(await aBroker())
    stranger.member = 'nobody'
    stranger.generation = 1
    const answers = [await stranger.joinOnce(), await stranger.sync(), await stranger.heartbeat()]
    expect(answers.map(codeOf)).toEqual(['UNKNOWN_MEMBER_ID', 'UNKNOWN_MEMBER_ID', 'UNKNOWN_MEMBER_ID'])
    expect(answers[2]?.message).toContain("'nobody'")
    expect(await stranger.commit('t', 1)).toMatchObject({ error: 'UNKNOWN_MEMBER_ID' })
    expect((await stranger.leave()).members.map(codeOf)).toEqual(['UNKNOWN_MEMBER_ID'])
    // Nothing is left of the group that was asked for.
    expect((await stranger.ask('listGroups', { states: [] })).groups).toEqual([])
  })

  it('refuses what is of an old generation, and of one that is to come', async () => {
    const member = await aSettledMember(await aBroker())
    for (const generation of [member.generation - 1, member.generation + 1, -1]) {
      const heartbeat = await member.heartbeat(0, generation)
      expect(codeOf(heartbeat)).toBe('ILLEGAL_GENERATION')
      expect(heartbeat.message).toContain(`generation ${member.generation}, not ${generation}`)
      expect(await member.commit('t', 1, { generation })).toMatchObject({ error: 'ILLEGAL_GENERATION' })
    }
    expect(await member.committed()).toEqual({})
  })

  it.each([
    ['is empty', '', 'must have a name'],
    ['is 1,000 characters long', 'x'.repeat(1_000), 'has 1000'],
    ['has a line break', 'a\nb', 'control characters'],
  ])('refuses a group whose name %s, by every request', async (_, group, text) => {
    const member = await aMember(await aBroker(), group)
    const place = await member.findCoordinator()
    expect(codeOf(place)).toBe('INVALID_GROUP_ID')
    expect(place.message).toContain(text)
    const answers = [await member.joinOnce(), await member.sync(), await member.heartbeat(), await member.leave()]
    for (const answer of [...answers, await member.describe()]) expect(codeOf(answer)).toBe('INVALID_GROUP_ID')
    expect(await member.commit('t', 1)).toMatchObject({ error: 'INVALID_GROUP_ID' })
    expect(codeOf(await member.ask('fetchOffsets', { group, partitions: undefined }))).toBe('INVALID_GROUP_ID')
    const deleted = await member.ask('deleteGroups', { groups: [group] })
    expect(deleted.groups.map(codeOf)).toEqual(['INVALID_GROUP_ID'])
    expect(codeOf(await member.ask('deleteOffsets', { group, partitions: [] }))).toBe('INVALID_GROUP_ID')
  })

  it('refuses a commit for a partition or a topic that does not exist, and takes the others of it', async () => {
    const member = await aSettledMember(await aBroker())
    expect(await member.commit('t', 1, { partition: 2 })).toEqual({
      error: 'UNKNOWN_TOPIC_OR_PARTITION',
      message: 'topic t has 2 partitions, and partition 2 is none of them',
    })
    expect(await member.commit('none', 1)).toEqual({
      error: 'UNKNOWN_TOPIC_OR_PARTITION',
      message: 'there is no topic none',
    })
    const part = { topic: 't', partition: 1, offset: 7, leaderEpoch: undefined, metadata: '' }
    const { group, member: id, generation } = member
    const request: RequestOf<'commitOffsets'> = {
      group,
      member: id,
      instance: undefined,
      generation,
      partitions: [{ ...part, partition: 9 }, part, { ...part, metadata: 'x'.repeat(4_097) }],
    }
    const { partitions } = await member.ask('commitOffsets', request)
    expect(partitions.map(codeOf)).toEqual(['UNKNOWN_TOPIC_OR_PARTITION', undefined, 'OFFSET_METADATA_TOO_LARGE'])
    expect(partitions[2]?.message).toContain('4097 bytes')
    expect(await member.committed()).toEqual({ 't-1': 7 })
  })

  it('takes a commit past the end, as it cannot know the end better than who has read it', async () => {
    const member = await aSettledMember(await aBroker())
    expect(await member.commit('t', 1_000_000)).toMatchObject({ error: undefined })
    expect(await member.committed()).toEqual({ 't-0': 1_000_000 })
  })

  it('fences the older of two members with one static name', async () => {
    const broker = await aBroker()
    const older = await aMember(broker)
    await older.join({ instance: 'worker-1' })
    await older.sync({ [older.member]: 'all' })
    const newer = await aMember(broker)
    const waiting = older.heartbeat(5_000)
    expect(await newer.join({ instance: 'worker-1' })).toMatchObject({ error: 0, generation: older.generation })
    expect(newer.member).not.toBe(older.member)
    expect(codeOf(await waiting)).toBe('FENCED_INSTANCE_ID')
    const again = await older.heartbeat()
    expect(codeOf(again)).toBe('FENCED_INSTANCE_ID')
    expect(again.message).toContain("'worker-1'")
    expect(await older.commit('t', 1)).toMatchObject({ error: 'FENCED_INSTANCE_ID' })
    expect((await newer.sync()).share).toBe('all')
  })

  it.each([1, 999, 1_800_001, -5])('refuses a session timeout of %d ms', async (sessionTimeoutMs) => {
    const member = await aMember(await aBroker())
    const answer = await member.joinOnce({ sessionTimeoutMs })
    expect(codeOf(answer)).toBe('INVALID_SESSION_TIMEOUT')
    expect(answer.message).toBe(`the session timeout must be from 1000 to 1800000 ms, not ${sessionTimeoutMs}`)
  })

  it('refuses a member that shares out in no way the others know', async () => {
    const broker = await aBroker()
    await aSettledMember(broker)
    const other = await aMember(broker)
    const answer = await other.join({ protocols: { own: '' } })
    expect(codeOf(answer)).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(answer.message).toContain('own')
    expect(codeOf(await other.join({ protocolType: 'connect' }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(codeOf(await other.join({ protocols: {} }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
  })

  it('refuses more members, more groups and more bytes than it may have', async () => {
    const broker = await aBroker({ groupMaxSize: 1, groupsMax: 2 })
    const member = await aSettledMember(broker)
    expect(codeOf(await (await aMember(broker)).join())).toBe('GROUP_MAX_SIZE_REACHED')
    const { group, member: id, generation } = member
    const shares = { group, member: id, instance: undefined, generation, protocolType: undefined, protocol: undefined }
    const rejoined = await member.join({ protocols: many(14) })
    expect(codeOf(rejoined)).toBe('GROUP_MAX_SIZE_REACHED')
    await aSettledMember(broker, 'second')
    const third = await aMember(broker, 'third')
    const refused = await third.join()
    expect(codeOf(refused)).toBe('POLICY_VIOLATION')
    expect(refused.message).toContain('coordinates 2 groups')
    const synced = await member.ask('syncGroup', { ...shares, assignments: [] })
    expect(codeOf(synced)).toBeUndefined()
  })

  it('shares nothing more out than the offsets topic holds', async () => {
    const member = await aMember(await aBroker())
    await member.join({ protocols: many(13) })
    const answer = await member.sync({ [member.member]: 'x'.repeat(65_000) })
    expect(codeOf(answer)).toBe('INVALID_REQUEST')
    expect((await member.sync({ [member.member]: 'less' })).share).toBe('less')
  })

  it('refuses to delete what is in use or not there, and says which', async () => {
    const broker = await aBroker()
    const member = await aMember(broker)
    await member.join({ protocols: { range: '\u0000\u0001\u0000\u0000\u0000\u0001\u0000\u0001t' } })
    await member.sync()
    await member.commit('t', 5)
    const { groups } = await member.ask('deleteGroups', { groups: ['g', 'none'] })
    expect(groups.map(codeOf)).toEqual(['NON_EMPTY_GROUP', 'GROUP_ID_NOT_FOUND'])
    const key = { topic: 't', partition: 0 }
    const deleted = await member.ask('deleteOffsets', { group: 'g', partitions: [key] })
    expect(deleted.partitions.map(codeOf)).toEqual(['GROUP_SUBSCRIBED_TO_TOPIC'])
    expect(codeOf(await member.ask('deleteOffsets', { group: 'none', partitions: [key] }))).toBe('GROUP_ID_NOT_FOUND')
    expect(await member.committed()).toEqual({ 't-0': 5 })
  })
})

it('answers for a group that is to be deleted twice at once, each time', async () => {
  const broker = await aBroker()
  const admin = await aMember(broker)
  await admin.commit('t', 1)
  const other = await aMember(broker)
  const [both, third] = await Promise.all([
    admin.ask('deleteGroups', { groups: ['g', 'g'] }),
    other.ask('deleteGroups', { groups: ['g'] }),
  ])
  const codes = [...both.groups, ...third.groups].map(codeOf)
  expect(codes.filter((code) => code === undefined)).toHaveLength(1)
  expect(codes.filter((code) => code === 'COORDINATOR_NOT_AVAILABLE' || code === 'GROUP_ID_NOT_FOUND')).toHaveLength(2)
  expect(await admin.committed()).toEqual({})
})

describe('the topic of groups', () => {
  it('cannot be written, made, deleted, grown or trimmed by clients', async () => {
    const broker = await aBroker()
    const member = await aMember(broker)
    const admin = broker.client().admin()
    const topic = '__consumer_offsets'
    const asks = [
      () =>
        broker
          .client()
          .producer()
          .send({ topic, messages: [{ value: 'x' }] }),
      () => admin.deleteTopics({ topics: [topic] }),
      () => admin.createTopics({ topics: [{ topic }] }),
      () => member.ask('addPartitions', { topic, partitions: 32, validateOnly: false }),
    ]
    for (const ask of asks) await expect(ask()).rejects.toMatchObject({ code: 'INVALID_TOPIC_EXCEPTION' })
    const trimmed = await member.ask('trim', { partitions: [{ topic, partition: 0, beforeOffset: -1 }] })
    expect(trimmed.partitions.map(codeOf)).toEqual(['INVALID_TOPIC_EXCEPTION'])
  })

  it('is not made by asking for its metadata', async () => {
    const broker = await aBroker()
    const member = await WireMember.connect(broker.brokers, 'g')
    const { topics } = await member.ask('metadata', { topics: ['__consumer_offsets'], createMissing: true })
    expect(topics.map(codeOf)).toEqual(['UNKNOWN_TOPIC_OR_PARTITION'])
    const joining = await member.joinOnce()
    expect(codeOf(joining)).toBe('COORDINATOR_NOT_AVAILABLE')
    expect(joining.message).toContain('ask for their coordinator')
  })
})
