// Connections of Kafka clients on a real broker: what is answered, in which order, and what closes them.

import { describe, expect, it, onTestFinished } from 'vitest'
import { fetch } from '../../broker/protocols/kafka/01-fetch.ts'
import { produce } from '../../broker/protocols/kafka/00-produce.ts'
import { metadata } from '../../broker/protocols/kafka/03-metadata.ts'
import { findCoordinator } from '../../broker/protocols/kafka/10-find-coordinator.ts'
import { apiVersions } from '../../broker/protocols/kafka/18-api-versions.ts'
import { createTopics } from '../../broker/protocols/kafka/19-create-topics.ts'
import { initProducerId } from '../../broker/protocols/kafka/22-init-producer-id.ts'
import type { RequestOf } from '../../broker/protocols/kafka/api.ts'
import { KAFKA_APIS } from '../../broker/protocols/kafka/api-table.ts'
import { NO_UUID } from '../../broker/protocols/kafka/primitives.ts'
import { startBroker, type TestBroker, type TestBrokerOptions } from '../../broker/testing.ts'
import { ERRORS } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import { batch } from '../storage/log-fixture.ts'
import { framed, KafkaSocket, NO_TOPICS, readAnswer, requestBytes } from './kafka-socket.ts'

const NOBODY = { clientSoftwareName: 'a-test', clientSoftwareVersion: '1' }
interface Warning {
  readonly reason?: string
  readonly detail?: string
}

/** A broker with a topic of one partition, and what it warns of. */
async function aBroker(options: TestBrokerOptions = {}) {
  const warnings: Warning[] = []
  const say = (): void => undefined
  const logger: Logger = {
    debug: say,
    info: say,
    error: say,
    warn: (fields) => void warnings.push(fields),
  }
  const broker = await startBroker({ dataDir: 'memory', logger, ...options })
  onTestFinished(() => broker.stop())
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 'a', numPartitions: 1 }] })
  return { broker, warnings }
}

async function aClient(broker: TestBroker): Promise<KafkaSocket> {
  return KafkaSocket.connect(broker.port)
}

function records(...values: string[]): Uint8Array {
  return batch(values, { timestamp: 1_000 })
}

function produceOf(bytes: Uint8Array, acks = -1, topic = 'a'): RequestOf<typeof produce> {
  return {
    transactionalId: undefined,
    acks,
    timeoutMs: 10_000,
    topicData: [{ name: topic, partitionData: [{ index: 0, records: bytes }] }],
    keepsOffsets: false,
  }
}

type FetchOptions = Partial<RequestOf<typeof fetch>> & { readonly topicId?: string; readonly fetchOffset?: number }

function fetchOf({ topicId = NO_UUID, fetchOffset = 0, ...more }: FetchOptions = {}): RequestOf<typeof fetch> {
  const partition = {
    partition: 0,
    currentLeaderEpoch: -1,
    fetchOffset,
    lastFetchedEpoch: -1,
    logStartOffset: -1,
    partitionMaxBytes: 1_000_000,
    replicaDirectoryId: NO_UUID,
  }
  return {
    clusterId: undefined,
    replicaId: -1,
    replicaState: { replicaId: -1, replicaEpoch: -1 },
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 1_000_000,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{ topic: 'a', topicId, partitions: [partition] }],
    forgottenTopicsData: [],
    rackId: '',
    ...more,
  }
}

describe('a connection of a Kafka client', () => {
  it('is told in version 0 which versions there are when it asks in one that is not known, and goes on', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    client.send(framed(requestBytes(apiVersions, 4, 77, NOBODY).fill(5, 2, 4).fill(0, 2, 3)))
    await client.until(() => client.answers.length === 1)
    const [first] = client.answers
    const refused = readAnswer(apiVersions, 0, first ?? Buffer.alloc(0))
    expect(refused.errorCode).toBe(35)
    expect(refused.apiKeys).toContainEqual({ apiKey: 18, minVersion: 0, maxVersion: 4 })
    const told = await client.ask(apiVersions, 4, NOBODY)
    expect(told).toMatchObject({ errorCode: 0, finalizedFeaturesEpoch: -1 })
    expect(told.apiKeys).toHaveLength(Object.keys(KAFKA_APIS).length)
  })

  it('is refused the name of a software that is none, and stays', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    for (const clientSoftwareName of ['', '-x', 'a b', 'ä', 'x'.repeat(300)]) {
      const { errorCode } = await client.ask(apiVersions, 3, { ...NOBODY, clientSoftwareName })
      expect(errorCode, clientSoftwareName).toBe(ERRORS.INVALID_REQUEST.number)
    }
    expect((await client.ask(apiVersions, 3, NOBODY)).errorCode).toBe(0)
  })

  it('may begin with any request, in pieces of any size', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    for (const byte of framed(requestBytes(metadata, 12, 1, NO_TOPICS))) client.send(Uint8Array.of(byte))
    await client.until(() => client.answers.length === 1)
    const [first] = client.answers
    const told = readAnswer(metadata, 12, first ?? Buffer.alloc(0))
    expect(told).toMatchObject({ clusterId: 'tidemark', controllerId: 1, topics: [] })
    expect(told.brokers).toEqual([{ nodeId: 1, host: '127.0.0.1', port: broker.port, rack: undefined }])
  })

  it('is answered in the order in which it asked, whatever is ready first', async () => {
    const { broker } = await aBroker()
    const [waiting, other] = [await aClient(broker), await aClient(broker)]
    const ids = [
      waiting.request(fetch, 12, fetchOf({ maxWaitMs: 60_000 })),
      waiting.request(metadata, 9, NO_TOPICS),
      waiting.request(produce, 9, produceOf(records('b'))),
    ]
    await other.ask(metadata, 9, NO_TOPICS)
    await waiting.until(() => waiting.answers.length === ids.length)
    expect(waiting.answers.map((answer) => answer.readInt32BE(0))).toEqual(ids)
    const [first] = waiting.answers
    const [topic] = readAnswer(fetch, 12, first ?? Buffer.alloc(0)).responses
    // What was produced behind it is what the fetch waited for.
    expect(topic?.partitions[0]).toMatchObject({ errorCode: 0, highWatermark: 1, lastStableOffset: 1 })
  })

  it('hears nothing of what it sends with acks=0, unless it is refused: then it is closed', async () => {
    const { broker, warnings } = await aBroker()
    const client = await aClient(broker)
    client.request(produce, 7, produceOf(records('x'), 0))
    const id = client.request(metadata, 4, NO_TOPICS)
    await client.until(() => client.answers.length > 0)
    expect(client.answers.map((answer) => answer.readInt32BE(0))).toEqual([id])
    client.request(produce, 7, produceOf(records('x'), 0, 'missing'))
    await client.until(() => client.isClosed)
    expect(client.answers).toHaveLength(1)
    expect(warnings.at(-1)).toMatchObject({ reason: 'write-refused', detail: 'there is no topic missing (a test)' })
  })

  it.each([
    ['an api that nobody knows', Buffer.from('7fff00000000000100000000', 'hex'), 'there is no api 32767 here'],
    ['an api that is not served', Buffer.from('001800000000000100000000', 'hex'), 'there is no api 24 here'],
    [
      'a version that is not spoken',
      Buffer.from('000000020000000100000000', 'hex'),
      'Produce is spoken in versions 3 to 11, not 2',
    ],
    [
      'a negative version',
      Buffer.from('0003ffff0000000100000000', 'hex'),
      'Metadata is spoken in versions 0 to 13, not -1',
    ],
  ])('is closed for %s, and the log says so', async (_, bytes, detail) => {
    const { broker, warnings } = await aBroker()
    const client = await aClient(broker)
    client.send(framed(bytes))
    await client.until(() => client.isClosed)
    expect(client.answers).toEqual([])
    expect(warnings.at(-1)).toMatchObject({ reason: 'unsupported', detail })
  })

  it.each([
    ['an array that is longer than the request', '00030004000000010000' + '7fffffff' + '00'],
    ['a string of a negative length', '0003000000000001' + 'fffe' + '00000001' + '8000'],
    ['a text that is none', '00030001000000010000' + '00000001' + '0002' + 'c328'],
    ['a message that ends too early', '000b0005000000010001' + '67'],
  ])('is closed for %s, and disturbs nobody', async (_, hex) => {
    const { broker, warnings } = await aBroker()
    const [bad, good] = [await aClient(broker), await aClient(broker)]
    bad.send(framed(Buffer.from(hex, 'hex')))
    await bad.until(() => bad.isClosed)
    expect(warnings.at(-1)).toMatchObject({ reason: 'malformed' })
    expect(warnings.at(-1)?.detail).toMatch(/request/)
    expect((await good.ask(metadata, 9, NO_TOPICS)).brokers).toHaveLength(1)
  })

  it('is closed for a length that no request has, before or after one that has', async () => {
    const { broker } = await aBroker()
    for (const length of ['7fffffff', '80000000', '00000000', '00000009']) {
      const client = await aClient(broker)
      if (length !== '00000000') await client.ask(metadata, 9, NO_TOPICS)
      client.send(Buffer.from(`${length}000300010000000100000000`, 'hex'))
      await client.until(() => client.isClosed)
      expect(client.answers, length).toHaveLength(length === '00000000' ? 0 : 1)
    }
  })

  it('gets what was waiting when the broker stops', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const id = client.request(fetch, 12, fetchOf({ maxWaitMs: 60_000 }))
    // Answered behind it on another connection: the fetch waits by then.
    await (await aClient(broker)).ask(metadata, 9, NO_TOPICS)
    await broker.stop()
    await client.until(() => client.isClosed)
    expect(client.answers.map((answer) => answer.readInt32BE(0))).toEqual([id])
  })
})

describe('records of a Kafka client', () => {
  it('are given back byte for byte but for the offset and the epoch', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const sent = records('one', 'two')
    const produced = await client.ask(produce, 9, produceOf(sent))
    expect(produced.responses[0]?.partitionResponses[0]).toMatchObject({
      errorCode: 0,
      baseOffset: 0,
      logAppendTimeMs: -1,
      logStartOffset: 0,
    })
    const fetched = await client.ask(fetch, 12, fetchOf())
    const got = Buffer.from(fetched.responses[0]?.partitions[0]?.records ?? [])
    expect(got.subarray(16)).toEqual(Buffer.from(sent).subarray(16))
  })

  it('get the time of the broker where the topic says so, and the producer is told it', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const config = { 'message.timestamp.type': 'LogAppendTime' }
    await broker
      .client()
      .admin()
      .createTopics({ topics: [{ topic: 'stamped', config }] })
    const { responses } = await client.ask(produce, 9, produceOf(records('x'), -1, 'stamped'))
    expect(responses[0]?.partitionResponses[0]?.logAppendTimeMs).toBeGreaterThan(1_600_000_000_000)
  })

  it.each([0, 1])('of the older format %d are refused', async (magic) => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const bytes = Buffer.from(records('x'))
    bytes[16] = magic
    const { responses } = await client.ask(produce, 9, produceOf(bytes))
    const [partition] = responses[0]?.partitionResponses ?? []
    expect(partition?.errorCode).toBe(ERRORS.UNSUPPORTED_FOR_MESSAGE_FORMAT.number)
    expect(partition?.errorMessage).toContain('format')
  })

  it.each([
    ['no records', new Uint8Array(0), ERRORS.INVALID_RECORD],
    ['a flipped bit', flipped(records('x')), ERRORS.CORRUPT_MESSAGE],
    ['records that end too early', records('x').subarray(0, 60), ERRORS.CORRUPT_MESSAGE],
  ])('are refused for %s, and the next ones are taken', async (_, bytes, { number }) => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const refused = await client.ask(produce, 9, produceOf(bytes))
    expect(refused.responses[0]?.partitionResponses[0]).toMatchObject({ errorCode: number, baseOffset: -1 })
    const taken = await client.ask(produce, 9, produceOf(records('y')))
    expect(taken.responses[0]?.partitionResponses[0]).toMatchObject({ errorCode: 0, baseOffset: 0 })
  })

  it('are found by the id of their topic from version 13 on; one that there is not is told as such', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    await client.ask(produce, 9, produceOf(records('x')))
    const asked = { ...NO_TOPICS, topics: [{ topicId: NO_UUID, name: 'a' }] }
    const { topics } = await client.ask(metadata, 12, asked)
    const topicId = topics[0]?.topicId ?? ''
    const found = await client.ask(fetch, 17, fetchOf({ topicId }))
    expect(found.responses[0]).toMatchObject({ topicId, partitions: [{ errorCode: 0, highWatermark: 1 }] })
    const unknown = '11111111-2222-4333-8444-555555555555'
    const missing = await client.ask(fetch, 17, fetchOf({ topicId: unknown }))
    expect(missing.responses[0]).toMatchObject({ topicId: unknown, partitions: [{ errorCode: 100 }] })
    const byId = await client.ask(metadata, 12, { ...NO_TOPICS, topics: [{ topicId: unknown, name: undefined }] })
    expect(byId.topics).toMatchObject([{ errorCode: 100, topicId: unknown, name: undefined }])
  })

  it('are fetched without sessions: who asks for one gets none, who believes in one is told to forget it', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    expect((await client.ask(fetch, 12, fetchOf({ sessionEpoch: 0 }))).sessionId).toBe(0)
    const { errorCode, responses } = await client.ask(fetch, 12, fetchOf({ sessionId: 7, sessionEpoch: 3 }))
    expect({ errorCode, responses }).toEqual({ errorCode: 70, responses: [] })
  })

  it('of a transaction have nobody who coordinates it', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const found = await client.ask(findCoordinator, 4, { key: '', keyType: 1, coordinatorKeys: ['tx'] })
    expect(found.coordinators).toMatchObject([
      { key: 'tx', errorCode: 53, errorMessage: 'transactions are not supported' },
    ])
    const asked = { transactionalId: 'tx', transactionTimeoutMs: 1_000, producerId: -1, producerEpoch: -1 }
    expect((await client.ask(initProducerId, 4, asked)).errorCode).toBe(53)
    const { errorCode, producerId } = await client.ask(initProducerId, 4, { ...asked, transactionalId: undefined })
    expect(errorCode).toBe(0)
    expect(producerId).toBeGreaterThan(0)
  })
})

describe('topics that a Kafka client makes', () => {
  it('are told with their id, numbers and settings', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const topic = {
      name: 'made',
      numPartitions: 3,
      replicationFactor: -1,
      assignments: [],
      configs: [{ name: 'cleanup.policy', value: 'compact' }],
    }
    const { topics } = await client.ask(createTopics, 7, { topics: [topic], timeoutMs: 5_000, validateOnly: false })
    const [made] = topics
    expect(made).toMatchObject({ name: 'made', errorCode: 0, numPartitions: 3, replicationFactor: 1 })
    expect(made?.topicId).not.toBe(NO_UUID)
    const policy = made?.configs?.find(({ name }) => name === 'cleanup.policy')
    expect(policy).toMatchObject({ value: 'compact', configSource: 1, readOnly: false, isSensitive: false })
    const again = await client.ask(createTopics, 7, { topics: [topic], timeoutMs: 5_000, validateOnly: false })
    expect(again.topics).toMatchObject([{ errorCode: 36, errorMessage: 'topic made exists already', configs: [] }])
  })

  it('are refused brokers that are not there, where a broker is alone as well', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const on = (name: string, ...brokerIds: number[]) => {
      return {
        name,
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds }],
        configs: [],
      }
    }
    const request = { topics: [on('here', 1), on('there', 5)], timeoutMs: 5_000, validateOnly: false }
    const { topics } = await client.ask(createTopics, 7, request)
    expect(topics).toMatchObject([{ errorCode: 0 }, { errorCode: ERRORS.INVALID_REPLICA_ASSIGNMENT.number }])
    expect(topics[1]?.errorMessage).toBe('broker 5 is not there, or is drained')
  })

  it('are told once, by name or by id, however often they are asked for', async () => {
    const { broker } = await aBroker()
    const client = await aClient(broker)
    const named = { topicId: NO_UUID, name: 'a' }
    const [first] = (await client.ask(metadata, 12, { ...NO_TOPICS, topics: [named] })).topics
    const byId = { topicId: first?.topicId ?? '', name: undefined }
    const { topics } = await client.ask(metadata, 12, { ...NO_TOPICS, topics: [named, byId, named] })
    expect(topics).toEqual([first])
  })

  it('are made by asking for them only where the broker allows it and the client wants it', async () => {
    for (const [autoCreateTopics, allowAutoTopicCreation, errorCode] of [
      [true, true, 0],
      [true, false, 3],
      [false, true, 3],
    ] as const) {
      const { broker } = await aBroker({ autoCreateTopics })
      const client = await aClient(broker)
      const asked = { ...NO_TOPICS, topics: [{ topicId: NO_UUID, name: 'new' }], allowAutoTopicCreation }
      const { topics } = await client.ask(metadata, 9, asked)
      expect(topics).toMatchObject([{ name: 'new', errorCode }])
    }
  })
})

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const last = copy.length - 1
  copy[last] = (copy[last] ?? 0) ^ 1
  return copy
}
