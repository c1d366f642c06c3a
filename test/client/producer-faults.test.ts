// The producer when things go wrong on the way: over real sockets, against a broker that does what the test says.

import { describe, expect, it } from 'vitest'
import { type Client, connect } from '../../client/client.ts'
import type { ConnectOptions } from '../../client/options.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import { FakeBroker, FakeCluster, type Script } from './fake-broker.ts'

const FAST = { retry: { minMs: 5, maxMs: 20 }, connectTimeoutMs: 2_000 } as const

function clientOf(broker: FakeBroker, options: Partial<ConnectOptions> = {}): Client {
  return connect({ brokers: [broker.address], ...FAST, ...options })
}

/** A broker with the topic t of some partitions. */
async function brokerWithTopic(partitions = 1): Promise<FakeBroker> {
  const broker = await FakeBroker.start()
  broker.cluster.addTopic('t', partitions)
  return broker
}

/** Does something at the n-th produce (from 0) and lets everything else be. */
function atProduce(index: number, script: Script): Script {
  return (request) => (request.api === 'produce' && request.index === index ? script(request) : undefined)
}

function valuesIn(broker: FakeBroker): string[] {
  return broker.cluster.topics.get('t')?.logs.flatMap((log) => log.values()) ?? []
}

describe('an idempotent producer', () => {
  it('keeps order and repeats nothing when the connection breaks in the middle', async () => {
    await using broker = await brokerWithTopic()
    broker.script = (request) => {
      if (request.api !== 'produce') return undefined
      if (request.index % 7 === 3) return { kind: 'apply-and-drop' }
      return request.index % 5 === 4 ? { kind: 'drop' } : undefined
    }
    await using client = clientOf(broker)
    const producer = client.producer({ batchBytes: 256 })
    const values = Array.from({ length: 200 }, (_, index) => `value ${index}`)
    const acknowledged = await Promise.all(values.map((value) => producer.enqueue('t', { value })))
    expect(valuesIn(broker)).toEqual(values)
    expect(acknowledged.map(({ offset }) => offset)).toEqual(values.map((_, index) => index))
    expect(broker.connections).toBeGreaterThan(3)
  })

  it('is told the first offsets when the answer to an append was lost', async () => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(1, () => ({ kind: 'apply-and-drop' }))
    await using client = clientOf(broker)
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    const [meta] = await producer.send({ topic: 't', messages: [{ value: 'b' }] })
    expect(meta?.offset).toBe(1)
    expect(valuesIn(broker)).toEqual(['a', 'b'])
    expect(broker.countOf('produce')).toBe(3)
  })

  it('tries again after an error that may pass', async () => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(0, () => ({ kind: 'refuse-partitions', error: 'NOT_ENOUGH_REPLICAS' }))
    await using client = clientOf(broker)
    const [meta] = await client.producer().send({ topic: 't', messages: [{ value: 'a' }] })
    expect(meta?.offset).toBe(0)
    expect(broker.countOf('produce')).toBe(2)
  })

  it('does not try again after an error that will not pass, and goes on with the next record', async () => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(0, () => ({ kind: 'refuse-partitions', error: 'MESSAGE_TOO_LARGE', message: 'too much' }))
    await using client = clientOf(broker)
    const producer = client.producer()
    await expect(producer.send({ topic: 't', messages: [{ value: 'a' }] })).rejects.toMatchObject({
      name: 'RecordTooLargeError',
      code: 'MESSAGE_TOO_LARGE',
      retriable: false,
      kafkaCode: 10,
      topic: 't',
      partition: 0,
      message: 't-0: too much',
    })
    const [meta] = await producer.send({ topic: 't', messages: [{ value: 'b' }] })
    expect(meta?.offset).toBe(0)
  })

  it('follows a partition to its new leader', async () => {
    const cluster = new FakeCluster()
    await using first = await FakeBroker.start(cluster, 0)
    await using second = await FakeBroker.start(cluster, 1)
    const topic = cluster.addTopic('t', 1, 0)
    await using client = clientOf(first)
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    topic.leaders = [1]
    const [meta] = await producer.send({ topic: 't', messages: [{ value: 'b' }] })
    expect(meta?.offset).toBe(1)
    expect(second.countOf('produce')).toBe(1)
  })

  it('waits for a partition that has no leader', async () => {
    await using broker = await brokerWithTopic()
    const topic = broker.cluster.topics.get('t')
    if (topic === undefined) throw new Error('t')
    topic.leaders = [undefined]
    broker.script = ({ api, index }) => {
      if (api === 'metadata' && index === 3) topic.leaders = [0]
      return undefined
    }
    await using client = clientOf(broker)
    const [meta] = await client.producer().send({ topic: 't', messages: [{ value: 'a' }] })
    expect(meta?.offset).toBe(0)
  })

  it('survives a broker that restarts, with records on their way all the time', async () => {
    await using broker = await brokerWithTopic(3)
    await using client = clientOf(broker)
    const producer = client.producer({ batchBytes: 512 })
    const promises: Promise<unknown>[] = []
    for (let count = 0; count < 300; count += 1) {
      promises.push(producer.enqueue('t', { key: `${count % 10}`, value: String(count).padStart(4, '0') }))
      if (count === 100) await broker.stop()
      if (count === 200) await broker.listen()
      if (count % 20 === 0) await producer.ready()
    }
    await Promise.all(promises)
    for (const log of broker.cluster.topics.get('t')?.logs ?? []) expect(log.values()).toEqual(log.values().toSorted())
    expect(valuesIn(broker)).toHaveLength(300)
  })

  it('begins a new session when the broker has forgotten it', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker)
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    broker.cluster.topics.get('t')?.logs[0]?.forgetProducers()
    const [meta] = await producer.send({ topic: 't', messages: [{ value: 'b' }] })
    expect(meta?.offset).toBe(1)
    expect(broker.countOf('initProducerId')).toBe(2)
  })

  it('sends to a topic that was deleted and made anew', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker)
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    broker.cluster.topics.delete('t')
    broker.cluster.nextProducerId += 50
    broker.cluster.addTopic('t')
    const [meta] = await producer.send({ topic: 't', messages: [{ value: 'b' }] })
    expect(meta?.offset).toBe(0)
    expect(valuesIn(broker)).toEqual(['b'])
  })

  it('gives up at its deadline and says that the records may have been appended', async () => {
    await using broker = await brokerWithTopic()
    broker.script = ({ api }) => (api === 'produce' ? { kind: 'drop' } : undefined)
    await using client = clientOf(broker)
    const producer = client.producer({ deliveryTimeoutMs: 150 })
    await expect(producer.send({ topic: 't', messages: [{ value: 'a' }] })).rejects.toMatchObject({
      name: 'TimeoutError',
      code: 'TIMEOUT',
      message: containing('may have been appended'),
    })
  })

  it('takes a broker that keeps silent for dead', async () => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(0, () => ({ kind: 'silence' }))
    await using client = clientOf(broker, { requestTimeoutMs: 100 })
    const [meta] = await client.producer().send({ topic: 't', messages: [{ value: 'a' }] })
    expect(meta?.offset).toBe(0)
    expect(broker.connections).toBe(2)
  })

  it.each<[string, Uint8Array]>([
    ['an endless frame', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4)],
    ['a frame without a header', Uint8Array.of(0, 0, 0, 2, 2, 2)],
    ['an answer to no request', Uint8Array.of(0, 0, 0, 13, 2, 2, 0, 0, 0, 0, 0x27, 0x0f, 0, 0, 0, 1, 0x90)],
    ['a body that is no MessagePack', Uint8Array.of(0, 0, 0, 13, 2, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0xc1)],
  ])('closes the connection when it is sent %s, and goes on over another', async (_, bytes) => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(0, () => ({ kind: 'garbage', bytes }))
    await using client = clientOf(broker, { requestTimeoutMs: 1_000 })
    const [meta] = await client.producer().send({ topic: 't', messages: [{ value: 'a' }] })
    expect(meta?.offset).toBe(0)
    expect(broker.connections).toBe(2)
  })
})

describe('a producer that is not idempotent', () => {
  it('says that the outcome is not known when the connection broke, and does not repeat the record', async () => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(0, () => ({ kind: 'apply-and-drop' }))
    await using client = clientOf(broker)
    const producer = client.producer({ idempotent: false })
    await expect(producer.send({ topic: 't', messages: [{ value: 'a' }] })).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      retriable: false,
      cause: { code: 'CONNECTION_FAILED' },
    })
    expect(valuesIn(broker)).toEqual(['a'])
    expect(broker.countOf('initProducerId')).toBe(0)
  })

  it('with acks 0 waits for no answer and knows no offset', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker)
    const producer = client.producer({ acks: 0 })
    const sent = await producer.send({ topic: 't', messages: [{ value: 'a' }, { value: 'b' }] })
    expect(sent.map(({ offset }) => offset)).toEqual([-1, -1])
    await expect.poll(() => valuesIn(broker)).toEqual(['a', 'b'])
  })
})

describe('a producer with a full buffer', () => {
  it('refuses enqueue, lets send wait, and goes on when there is room', async () => {
    await using broker = await brokerWithTopic()
    let release: () => void = () => undefined
    const held = new Promise<undefined>((resolve) => (release = () => resolve(undefined)))
    broker.script = atProduce(1, () => held)
    await using client = clientOf(broker)
    const producer = client.producer({ bufferBytes: 4_096, batchBytes: 512 })
    await producer.send({ topic: 't', messages: [{ value: 'first' }] })
    const value = 'x'.repeat(400)
    const accepted: Promise<unknown>[] = []
    let refusal: unknown
    while (refusal === undefined) {
      const promise = producer.enqueue('t', { value })
      const isFull = await Promise.race([
        promise.then(
          () => undefined,
          (error: unknown) => error,
        ),
        pause(),
      ])
      if (isFull === undefined) accepted.push(promise)
      refusal = isFull
    }
    expect(refusal).toMatchObject({ name: 'BufferFullError', code: 'BUFFER_FULL', retriable: true })
    expect(producer.bufferedBytes).toBeLessThanOrEqual(4_096)
    let isReady = false
    const ready = producer.ready().then(() => (isReady = true))
    const sent = producer.send({ topic: 't', messages: [{ value: 'last' }] })
    await pause()
    expect(isReady).toBe(false)
    release()
    await Promise.all([ready, sent, ...accepted])
    expect(valuesIn(broker)).toEqual(['first', ...accepted.map(() => value), 'last'])
    expect(producer.bufferedBytes).toBe(0)
  })

  it('refuses a record that could never fit', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker)
    const producer = client.producer({ bufferBytes: 2_048 })
    await expect(producer.enqueue('t', { value: 'x'.repeat(4_000) })).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    })
    const messages = [{ value: 'x'.repeat(4_000) }]
    await expect(producer.send({ topic: 't', messages })).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
  })
})

describe('flush and close', () => {
  it('send what lingers', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker)
    const producer = client.producer({ lingerMs: 60_000 })
    const promise = producer.enqueue('t', { value: 'a' })
    await producer.flush({ timeoutMs: 5_000 })
    expect(await promise).toMatchObject({ offset: 0 })
  })

  it('tell of the records that nobody looked at', async () => {
    await using broker = await brokerWithTopic()
    broker.script = atProduce(0, () => ({ kind: 'refuse-partitions', error: 'INVALID_RECORD' }))
    await using client = clientOf(broker)
    const producer = client.producer()
    producer.enqueue('t', { value: 'a' }).catch(() => undefined)
    await expect(producer.flush()).rejects.toMatchObject({ code: 'INVALID_RECORD' })
    await producer.flush()
  })

  it('give up at their deadline and leave nothing behind', async () => {
    await using broker = await brokerWithTopic()
    broker.script = ({ api }) => (api === 'produce' ? { kind: 'silence' } : undefined)
    const client = clientOf(broker)
    const producer = client.producer()
    const promise = producer.enqueue('t', { value: 'a' })
    await expect(producer.flush({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    await expect(client.close({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    await expect(promise).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    await expect.poll(() => broker.openConnections).toBe(0)
    await expect(producer.enqueue('t', { value: 'b' })).rejects.toMatchObject({ code: 'CLIENT_CLOSED', fatal: true })
  })
})

describe('an abort', () => {
  const silent: Script = ({ api }) => (api === 'produce' || api === 'metadata' ? { kind: 'silence' } : undefined)

  it.each<[string, (client: Client, signal: AbortSignal) => Promise<unknown>]>([
    ['send', (client, signal) => client.producer().send({ topic: 't', messages: [{ value: 'a' }] }, { signal })],
    [
      'flush',
      (client, signal) => {
        const producer = client.producer()
        producer.enqueue('t', { value: 'a' }).catch(() => undefined)
        return producer.flush({ signal })
      },
    ],
    [
      'ready',
      (client, signal) => {
        const producer = client.producer({ bufferBytes: 1_024 })
        producer.enqueue('t', { value: 'x'.repeat(600) }).catch(() => undefined)
        return producer.ready({ signal })
      },
    ],
    ['createTopics', (client, signal) => client.admin().createTopics({ topics: [{ topic: 'n' }] }, { signal })],
    ['listTopics', (client, signal) => client.admin().listTopics({ signal })],
    ['offsets', (client, signal) => client.admin().offsets('t', { signal })],
    ['read', (client, signal) => client.read('t', { signal }).next()],
    ['the start of a reader', (client, signal) => client.read('t').ready({ signal })],
  ])('ends %s at once, with the reason as its cause', async (_, wait) => {
    await using broker = await brokerWithTopic()
    broker.script = silent
    const client = clientOf(broker)
    const controller = new AbortController()
    const promise = wait(client, controller.signal)
    promise.catch(() => undefined)
    await pause()
    controller.abort('enough')
    await expect(promise).rejects.toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: 'enough' })
    await expect(wait(client, AbortSignal.abort('enough'))).rejects.toMatchObject({ code: 'ABORTED' })
    await client.close({ timeoutMs: 10 }).catch(() => undefined)
  })
})

describe('a cluster that cannot be reached', () => {
  it('is told of with the reason, not only with the time', async () => {
    const broker = await FakeBroker.start()
    await broker.stop()
    const client = clientOf(broker)
    const refused = { code: 'TIMEOUT', message: containing('ECONNREFUSED'), cause: { code: 'CONNECTION_FAILED' } }
    await expect(client.admin().listTopics({ timeoutMs: 150 })).rejects.toMatchObject(refused)
    await expect(client.read('t').ready({ timeoutMs: 150 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    const producer = client.producer()
    const promise = producer.enqueue('t', { value: 'a' })
    await expect(producer.flush({ timeoutMs: 150 })).rejects.toMatchObject(refused)
    await client.close({ timeoutMs: 10 }).catch(() => undefined)
    await expect(promise).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })
})

describe('a stream into a topic', () => {
  it('turns chunks into records and ends when they are acknowledged', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker)
    const sink = client.producer({ bufferBytes: 4_096, batchBytes: 512 }).writable('t')
    const { pipeline } = await import('node:stream/promises')
    const lines = Array.from({ length: 500 }, (_, index) => `line ${index}`)
    await pipeline(lines, sink)
    expect(valuesIn(broker)).toEqual(lines)
    expect(sink.acknowledged).toBe(500)
  })

  it('ends in the first failure', async () => {
    await using broker = await brokerWithTopic()
    broker.script = ({ api }) =>
      api === 'produce' ? { kind: 'refuse-partitions', error: 'POLICY_VIOLATION' } : undefined
    const client = clientOf(broker)
    const { pipeline } = await import('node:stream/promises')
    const sink = client.producer().writable('t')
    await expect(pipeline(['a', { key: 'k', value: 'b' }], sink)).rejects.toMatchObject({ code: 'POLICY_VIOLATION' })
    await client.close().catch(() => undefined)
  })
})

describe('a topic that is not there', () => {
  it('is asked for a few times and then an error of its own', async () => {
    await using broker = await FakeBroker.start()
    await using client = clientOf(broker)
    await expect(client.producer().send({ topic: 'typo', messages: [{ value: 'a' }] })).rejects.toMatchObject({
      name: 'UnknownTopicError',
      code: 'UNKNOWN_TOPIC_OR_PARTITION',
      topic: 'typo',
      message: 'there is no topic typo',
    })
    const asked = broker.seen.filter(({ api }) => api === 'metadata').map(({ body }) => body as RequestOf<'metadata'>)
    expect(asked.every(({ createMissing }) => createMissing)).toBe(true)
  })

  it('is made by the broker where it may', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.createsMissing = true
    await using client = clientOf(broker)
    const [meta] = await client.producer().send({ topic: 'new', messages: [{ value: 'a' }] })
    expect(meta).toMatchObject({ topic: 'new', offset: 0 })
  })
})

function pause(): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), 20))
}

function containing(text: string): unknown {
  return expect.stringContaining(text)
}
