// Topics from creation to deletion: what is legal, what is answered, what metadata and descriptions say of them, and that all
// of it is still so after a kill.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RequestOf } from '../../shared/protocol/api.ts'
import type { TestBroker, TestBrokerOptions } from '../../broker/testing.ts'
import { errorCodeOf } from '../../shared/errors.ts'
import { startBroker } from '../../broker/testing.ts'
import { batch } from '../storage/log-fixture.ts'
import { Asker, from } from './asker.ts'

let broker: TestBroker
let asker: Asker

async function start(options: TestBrokerOptions = {}): Promise<void> {
  broker = await startBroker({ dataDir: 'memory', ...options })
  asker = new Asker(broker.broker.requests)
}

async function crash(): Promise<void> {
  await broker.restart({ crash: true })
  asker = new Asker(broker.broker.requests)
}

beforeEach(() => start())
afterEach(() => broker.stop())

type NewTopic = RequestOf<'createTopics'>['topics'][number]

const topicOf = (topic: string, options: Partial<NewTopic> = {}): NewTopic => ({
  topic,
  partitions: undefined,
  replicationFactor: undefined,
  config: [],
  ...options,
})

async function create(...topics: readonly NewTopic[]) {
  const answer = await asker.ask('createTopics', { topics, validateOnly: false, timeoutMs: 1_000 })
  return answer.topics.map(({ error, message }) => (error === 0 ? 'created' : `${errorCodeOf(error)}: ${message}`))
}

async function names(): Promise<string[]> {
  const { topics } = await asker.ask('metadata', { topics: undefined, createMissing: false })
  return topics.map(({ topic }) => topic)
}

async function describeOne(topic: string) {
  const { topics } = await asker.ask('describeTopics', { topics: [topic] })
  const [described] = topics
  if (described === undefined) throw new Error('there was no answer for the topic')
  return described
}

describe('creating topics', () => {
  it('answers each topic for itself', async () => {
    expect(await create(topicOf('a'), topicOf('b', { partitions: 3 }), topicOf('..'))).toEqual([
      'created',
      'created',
      "INVALID_TOPIC_EXCEPTION: a topic cannot be named '..'",
    ])
    expect(await create(topicOf('a'))).toEqual(['TOPIC_ALREADY_EXISTS: topic a exists already'])
    expect(await names()).toEqual(['a', 'b'])
  })

  it.each([
    ['', 'INVALID_TOPIC_EXCEPTION: a topic name is not empty'],
    ['x'.repeat(250), 'INVALID_TOPIC_EXCEPTION: the topic name has 250 characters, at most 249 are allowed'],
    ['a/b', `INVALID_TOPIC_EXCEPTION: topic name "a/b": only letters, digits, '.', '_' and '-' are allowed`],
    ['ä', `INVALID_TOPIC_EXCEPTION: topic name "ä": only letters, digits, '.', '_' and '-' are allowed`],
  ])('refuses the name %j', async (name, answer) => {
    expect(await create(topicOf(name))).toEqual([answer])
  })

  it('refuses numbers and settings that are not legal, and says what would be', async () => {
    expect(await create(topicOf('a', { partitions: 0 }))).toEqual([
      'INVALID_PARTITIONS: a topic has 1 to 10000 partitions, not 0',
    ])
    expect(await create(topicOf('a', { replicationFactor: 2 }))).toEqual([
      'INVALID_REPLICATION_FACTOR: replication factor 2 is not possible: there is 1 broker; ask for fewer replicas, or start more brokers',
    ])
    expect(await create(topicOf('a', { config: [['retention.mss', '1']] }))).toEqual([
      expect.stringMatching(/^INVALID_CONFIG: .*did you mean retention.ms/),
    ])
    expect(await create(topicOf('a', { config: [['retention.ms', 'soon']] }))).toEqual([
      expect.stringMatching(/^INVALID_CONFIG: retention.ms/),
    ])
    expect(await create(topicOf('a'), topicOf('a'))).toEqual([
      'INVALID_REQUEST: topic a is there twice',
      'INVALID_REQUEST: topic a is there twice',
    ])
    expect(await names()).toEqual([])
  })

  it('only checks when it is asked to', async () => {
    const request = { topics: [topicOf('a', { partitions: 2 })], validateOnly: true, timeoutMs: 1_000 }
    const { topics } = await asker.ask('createTopics', request)
    expect(topics).toMatchObject([{ error: 0, topicId: undefined, partitions: 2, replicationFactor: 1 }])
    expect(await names()).toEqual([])
  })

  it('makes no more partitions than the broker may hold', async () => {
    await broker.stop()
    await start({ partitionsMax: 4 })
    expect(await create(topicOf('a', { partitions: 3 }))).toEqual(['created'])
    expect(await create(topicOf('b', { partitions: 2 }))).toEqual([
      'TOO_MANY_PARTITIONS: the broker holds 3 partitions and may hold 4: there is no room for 2 more',
    ])
    expect(await create(topicOf('b', { partitions: 1 }))).toEqual(['created'])
  })

  it('makes one topic when two ask for it at once', async () => {
    const answers = (await Promise.all([create(topicOf('a')), create(topicOf('a'))])).flat()
    expect(answers.toSorted()).toEqual(['TOPIC_ALREADY_EXISTS: topic a exists already', 'created'])
  })
})

describe('metadata', () => {
  it('names this broker as the leader of every partition', async () => {
    await create(topicOf('a', { partitions: 2 }))
    const { cluster, brokers, controllerId, topics } = await asker.ask('metadata', {
      topics: ['a', 'b', 'b/'],
      createMissing: true,
    })
    expect({ cluster, controllerId }).toEqual({ cluster: 'tidemark', controllerId: 1 })
    expect(brokers).toEqual([{ brokerId: 1, host: '127.0.0.1', port: broker.port, rack: undefined }])
    const leader = { error: 0, leader: 1, leaderEpoch: 0, replicas: [1], inSyncReplicas: [1] }
    expect(topics[0]).toMatchObject({
      error: 0,
      partitions: [
        { partition: 0, ...leader },
        { partition: 1, ...leader },
      ],
    })
    expect(topics.slice(1).map(({ error }) => errorCodeOf(error))).toEqual([
      'UNKNOWN_TOPIC_OR_PARTITION',
      'INVALID_TOPIC_EXCEPTION',
    ])
  })

  it('says how large a batch of a topic may be', async () => {
    const config = [['max.message.bytes', '2000'] as const, ['segment.bytes', '1048576'] as const]
    await create(topicOf('a'), topicOf('b', { config }), topicOf('c', { config: config.slice(1) }))
    const { topics } = await asker.ask('metadata', { topics: undefined, createMissing: false })
    expect(topics.map(({ batchBytesMax }) => batchBytesMax)).toEqual([1_048_588, 2_000, 1_048_576])
  })

  it('creates what is missing where the broker allows it and the client asks for it', async () => {
    await broker.stop()
    await start({ autoCreateTopics: true, defaultPartitions: 2, defaultReplicationFactor: 3 })
    const ask = async (createMissing: boolean) =>
      (await asker.ask('metadata', { topics: ['a'], createMissing })).topics[0]
    expect((await ask(false))?.partitions).toEqual([])
    const both = await Promise.all([ask(true), ask(true)])
    expect(both.map((topic) => topic?.partitions.length)).toEqual([2, 2])
    expect((await asker.produce('a', ['x'])).refusal).toBeUndefined()
  })

  it('tells what was advertised instead of where it listens', async () => {
    await broker.stop()
    await start({ advertise: 'example.test:1234', rack: 'r1' })
    const { brokers } = await asker.ask('metadata', { topics: [], createMissing: false })
    expect(brokers).toEqual([{ brokerId: 1, host: 'example.test', port: 1234, rack: 'r1' }])
  })
})

describe('changing a topic', () => {
  it('sets and resets its settings, which hold at once and after a kill', async () => {
    await create(topicOf('a'))
    const alter = (set: [string, string][], remove: string[] = [], validateOnly = false) =>
      asker.ask('alterTopic', { topic: 'a', set, remove, validateOnly })
    const setting = async (name: string) => (await describeOne('a')).config.find((entry) => entry.name === name)
    await alter([['max.message.bytes', '100']])
    expect((await asker.produce('a', ['x'.repeat(200)])).refusal?.error).toBe('MESSAGE_TOO_LARGE')
    await alter([['max.message.bytes', '1000']], [], true)
    await crash()
    expect(await setting('max.message.bytes')).toMatchObject({ value: '100', isDefault: false })
    await alter([], ['max.message.bytes'])
    expect(await setting('max.message.bytes')).toMatchObject({ isDefault: true })
    expect((await asker.produce('a', ['x'.repeat(200)])).refusal).toBeUndefined()
    await expect(alter([['max.message.bytes', '-5']])).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
    await expect(alter([], ['no.such.key'])).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
    const other = asker.ask('alterTopic', { topic: 'b', set: [], remove: [], validateOnly: false })
    await expect(other).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  })

  it('loses no change when several come at once', async () => {
    await create(topicOf('a'))
    const set = (key: string, value: string) =>
      asker.ask('alterTopic', { topic: 'a', set: [[key, value]], remove: [], validateOnly: false })
    await Promise.all([set('retention.ms', '5000'), set('segment.bytes', '4096'), set('retention.bytes', '9999')])
    const changed = (await describeOne('a')).config.filter(({ isDefault }) => !isDefault)
    expect(changed.map(({ name, value }) => `${name}=${value}`).toSorted()).toEqual([
      'retention.bytes=9999',
      'retention.ms=5000',
      'segment.bytes=4096',
    ])
  })

  it('adds partitions that can be used when it is answered, and never takes any away', async () => {
    await create(topicOf('a', { partitions: 2 }))
    await asker.produce('a', ['x'], { partition: 1 })
    const add = (partitions: number) => asker.ask('addPartitions', { topic: 'a', partitions, validateOnly: false })
    await add(4)
    expect((await asker.produce('a', ['y'], { partition: 3 })).refusal).toBeUndefined()
    await expect(add(4)).rejects.toMatchObject({ code: 'INVALID_PARTITIONS' })
    await expect(add(1)).rejects.toMatchObject({ code: 'INVALID_PARTITIONS' })
    await crash()
    const read = await asker.fetch([from('a', 0, { partition: 1 }), from('a', 0, { partition: 3 })])
    expect(new Set(read.flatMap(({ values }) => values))).toEqual(new Set(['x', 'y']))
  })
})

describe('deleting topics', () => {
  it('takes the records with it, also after a kill, and a topic of the same name begins anew', async () => {
    await create(topicOf('a'))
    await asker.produce('a', ['old'])
    const remove = (...topics: string[]) => asker.ask('deleteTopics', { topics, timeoutMs: 1_000 })
    const { topics } = await remove('a', 'b')
    expect(topics.map(({ error }) => error === 0 || errorCodeOf(error))).toEqual([true, 'UNKNOWN_TOPIC_OR_PARTITION'])
    expect((await asker.produce('a', ['x'])).refusal?.error).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    await crash()
    expect(await names()).toEqual([])
    await create(topicOf('a'))
    await asker.produce('a', ['new'])
    await crash()
    expect((await asker.fetch([from('a', 0)]))[0]?.values).toEqual(['new'])
  })

  it('while records are on their way settles every one of them', async () => {
    await create(topicOf('a', { config: [['durability', 'fsync']] }))
    const produced = Array.from({ length: 20 }, (_, index) => asker.produce('a', [String(index)]))
    await asker.ask('deleteTopics', { topics: ['a'], timeoutMs: 1_000 })
    const outcomes = await Promise.all([...produced, asker.produce('a', ['after'])])
    expect(outcomes).toHaveLength(21)
    expect(outcomes[20]?.refusal?.error).toBe('UNKNOWN_TOPIC_OR_PARTITION')
  })
})

describe('offsets', () => {
  it('are listed for the first, the last, a time and the youngest record', async () => {
    await create(topicOf('a'))
    expect([await asker.offsetAt('a', -1), await asker.offsetAt('a', -2), await asker.offsetAt('a', -3)]).toEqual([
      0,
      0,
      undefined,
    ])
    for (const timestamp of [1_000, 5_000, 3_000]) await asker.produceBytes('a', batch(['x', 'y'], { timestamp }))
    const at = (...times: number[]) => Promise.all(times.map((time) => asker.offsetAt('a', time)))
    expect(await at(-1, -2, -3)).toEqual([6, 0, 2])
    expect(await at(0, 1_000, 1_001, 5_000, 5_001)).toEqual([0, 0, 2, 2, undefined])
  })

  it('below which a topic is trimmed are gone, also after a kill', async () => {
    await create(topicOf('a'))
    for (const value of ['a', 'b', 'c']) await asker.produce('a', [value])
    const trim = async (beforeOffset: number) =>
      (await asker.ask('trim', { partitions: [{ topic: 'a', partition: 0, beforeOffset }] })).partitions[0]
    expect(await trim(2)).toMatchObject({ error: 0, logStartOffset: 2 })
    expect(await trim(1)).toMatchObject({ error: 0, logStartOffset: 2 })
    expect(errorCodeOf((await trim(4))?.error ?? 0)).toBe('OFFSET_OUT_OF_RANGE')
    expect(errorCodeOf((await trim(-2))?.error ?? 0)).toBe('OFFSET_OUT_OF_RANGE')
    await crash()
    expect(await asker.offsetAt('a', -2)).toBe(2)
    expect((await asker.fetch([from('a', 2)]))[0]?.values).toEqual(['c'])
    expect(await trim(-1)).toMatchObject({ error: 0, logStartOffset: 3 })
    expect(await asker.produce('a', ['d'])).toMatchObject({ baseOffset: 3 })
  })
})

describe('descriptions', () => {
  it('say of every partition where it stands', async () => {
    await create(topicOf('a', { partitions: 2 }))
    await asker.produce('a', ['x', 'y'], { partition: 1 })
    const { partitions, config, replicationFactor } = await describeOne('a')
    expect(replicationFactor).toBe(1)
    expect(config.find(({ name }) => name === 'durability')).toMatchObject({ value: 'os', isDefault: true })
    expect(partitions[1]).toMatchObject({
      partition: 1,
      leader: 1,
      logStartOffset: 0,
      highWatermark: 2,
      logEndOffset: 2,
      segments: 1,
      bytes: batch(['x', 'y']).byteLength,
      state: 'online',
      quarantined: [],
    })
    expect(errorCodeOf((await describeOne('b')).error)).toBe('UNKNOWN_TOPIC_OR_PARTITION')
  })

  it('of the cluster count what the broker holds, and say whether all is well', async () => {
    await create(topicOf('a', { partitions: 2 }))
    const { brokers, checks, controllerId } = await asker.ask('clusterInfo', {})
    expect(controllerId).toBe(1)
    expect(brokers).toMatchObject([{ brokerId: 1, port: broker.port, topics: 1, partitions: 2, bytes: 0 }])
    expect(checks.every(({ isOk }) => isOk)).toBe(true)
  })
})
