// The reader when things go wrong on the way, and where it begins and ends: over real sockets, against a broker that does
// what the test says.

import { describe, expect, it } from 'vitest'
import { type Client, connect } from '../../client/client.ts'
import type { ConnectOptions } from '../../client/options.ts'
import type { Reader } from '../../client/reader.ts'
import type { Message } from '../../client/record-chunk.ts'
import { json } from '../../client/serializers.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import { encodeBatch, encodeControlBatch } from '../../shared/record-batch/encode.ts'
import { LAST_OFFSET_DELTA_AT } from '../../shared/record-batch/format.ts'
import { FakeBroker, FakeCluster, type FakeTopic } from './fake-broker.ts'

const FAST = { retry: { minMs: 5, maxMs: 20 }, connectTimeoutMs: 2_000 } as const

function clientOf(broker: FakeBroker, options: Partial<ConnectOptions> = {}): Client {
  return connect({ brokers: [broker.address], ...FAST, ...options })
}

function batchOf(values: readonly string[], timestamp = 1): Uint8Array {
  return encodeBatch(values.map((value) => ({ key: null, value: Buffer.from(value), timestamp })))
}

/** Batches of three records each: '0', '1', '2' and so on. */
function fill(topic: FakeTopic, records: number, partition = 0): void {
  for (let first = 0; first < records; first += 3) {
    const values = Array.from({ length: Math.min(3, records - first) }, (_, index) => String(first + index))
    topic.logs[partition]?.append(batchOf(values))
  }
}

async function take(reader: Reader, count: number): Promise<Message[]> {
  const messages: Message[] = []
  while (messages.length < count) {
    const next = await reader.next()
    if (next.done === true) break
    messages.push(next.value)
  }
  return messages
}

const offsetsOf = (messages: readonly Message[]): number[] => messages.map(({ offset }) => offset)
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

describe('a reader', () => {
  it.each<[string, Parameters<Client['read']>[1], number[]]>([
    ['from the start to the end', { to: 'end' }, range(0, 10)],
    ['from an offset within a batch', { from: 4, to: 'end' }, range(4, 10)],
    ['to an offset within a batch', { from: 'start', to: 5 }, range(0, 5)],
    ['the last three', { from: -3, to: 'end' }, range(7, 10)],
    ['more than there are before the end', { from: -30, to: 'end' }, range(0, 10)],
    ['nothing when it begins at its end', { from: 'end', to: 'end' }, []],
    ['nothing when it ends before it begins', { from: 8, to: 3 }, []],
    ['with a position by partition', { from: { 0: 9 }, to: 'end' }, [9]],
    ['with a map of positions', { from: new Map([[0, 8]]), to: new Map([[0, 9]]) }, [8]],
  ])('reads %s', async (_, options, expected) => {
    await using broker = await FakeBroker.start()
    fill(broker.cluster.addTopic('t'), 10)
    await using client = clientOf(broker)
    const messages: Message[] = []
    for await (const message of client.read('t', options)) messages.push(message as Message)
    expect(offsetsOf(messages)).toEqual(expected)
    expect(messages.map(({ value }) => Number(value))).toEqual(expected)
  })

  it('sees what is appended after it was ready, and wakes when it comes', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 6)
    await using client = clientOf(broker)
    const reader = client.read('t', { from: 'end', maxWaitMs: 60_000 })
    await reader.ready()
    const next = reader.next()
    topic.logs[0]?.append(batchOf(['new']))
    broker.cluster.notify()
    expect(await next).toMatchObject({ done: false, value: { offset: 6, value: Buffer.from('new') } })
  })

  it('hands out batches of one partition each', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t', 2)
    fill(topic, 7, 0)
    fill(topic, 5, 1)
    await using client = clientOf(broker)
    const batches: number[][][] = [[], []]
    for await (const batch of client.read('t', { to: 'end' }).batches()) {
      expect(new Set(batch.map(({ partition }) => partition)).size).toBe(1)
      batches[batch[0]?.partition ?? 0]?.push(batch.map(({ offset }) => offset))
    }
    expect(batches).toEqual([
      [[0, 1, 2], [3, 4, 5], [6]],
      [
        [0, 1, 2],
        [3, 4],
      ],
    ])
  })

  it('passes over control records and counts their offsets', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 3)
    topic.logs[0]?.append(encodeControlBatch({ type: 'leaderChange', timestamp: 1 }))
    topic.logs[0]?.append(batchOf(['after']))
    topic.logs[0]?.append(encodeControlBatch({ type: 'leaderChange', timestamp: 1 }))
    await using client = clientOf(broker)
    const messages: Message[] = []
    for await (const message of client.read('t', { to: 'end' })) messages.push(message)
    expect(offsetsOf(messages)).toEqual([0, 1, 2, 4])
  })

  it('goes on where it was, without a gap or a repeat, when connections break', async () => {
    await using broker = await FakeBroker.start()
    fill(broker.cluster.addTopic('t'), 90)
    broker.script = ({ api, index }) => {
      if (api !== 'fetch' || index % 3 === 0) return undefined
      return { kind: index % 3 === 1 ? 'drop' : 'apply-and-drop' }
    }
    await using client = clientOf(broker)
    const messages: Message[] = []
    for await (const message of client.read('t', { to: 'end', fetchBytes: 1_024 })) messages.push(message)
    expect(offsetsOf(messages)).toEqual(range(0, 90))
    expect(broker.connections).toBeGreaterThan(3)
  })

  it('survives a broker that restarts', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 6)
    await using client = clientOf(broker)
    const reader = client.read('t')
    expect(offsetsOf(await take(reader, 6))).toEqual(range(0, 6))
    await broker.stop()
    topic.logs[0]?.append(batchOf(['6', '7']))
    await broker.listen()
    expect(offsetsOf(await take(reader, 2))).toEqual([6, 7])
  })

  it('follows a partition to its new leader', async () => {
    const cluster = new FakeCluster()
    await using first = await FakeBroker.start(cluster, 0)
    await using second = await FakeBroker.start(cluster, 1)
    const topic = cluster.addTopic('t', 2, 0)
    fill(topic, 3, 0)
    fill(topic, 3, 1)
    await using client = clientOf(first)
    const reader = client.read('t', { maxWaitMs: 50 })
    await take(reader, 6)
    topic.leaders = [0, 1]
    topic.logs[1]?.append(batchOf(['3']))
    expect(await take(reader, 1)).toMatchObject([{ partition: 1, offset: 3 }])
    expect(second.countOf('fetch')).toBeGreaterThan(0)
  })

  it('keeps what it fetches ahead within its bound', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    for (let count = 0; count < 100; count += 1) topic.logs[0]?.append(batchOf(['x'.repeat(1_000)]))
    await using client = clientOf(broker)
    const reader = client.read('t', { maxBytes: 8_192, to: 'end' })
    await take(reader, 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const fetched = broker.seen.filter(({ api }) => api === 'fetch').map(({ body }) => body as RequestOf<'fetch'>)
    const furthest = Math.max(...fetched.map(({ partitions }) => partitions[0]?.fetchOffset ?? 0))
    expect(furthest).toBeLessThanOrEqual(10)
    expect(offsetsOf(await take(reader, 1_000))).toEqual(range(1, 100))
  })

  it('ends with the loop that reads it and leaves no handle behind', async () => {
    await using broker = await FakeBroker.start()
    fill(broker.cluster.addTopic('t'), 9)
    const client = clientOf(broker)
    const reader = client.read('t')
    for await (const message of reader) if (message.offset === 4) break
    expect(await reader.next()).toEqual({ done: true, value: undefined })
    await client.close()
    await expect.poll(() => broker.openConnections).toBe(0)
  })

  // While it was asked where a partition goes on, its old offset was fetched again: both answers moved it, and what was read
  // in between was handed out twice. The other partitions were silent until the first answer had come.
  it('misses nothing that comes while it asks where a time stands', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 6)
    broker.script = ({ api, index }) => {
      if (api === 'listOffsets' && index === 1) topic.logs[0]?.append(batchOf(['young'], 1_000))
      return undefined
    }
    await using client = clientOf(broker)
    const reader = client.read('t', { from: new Date(500) })
    await reader.ready()
    topic.logs[0]?.append(batchOf(['younger'], 2_000))
    expect((await take(reader, 2)).map(({ value }) => String(value))).toEqual(['young', 'younger'])
  })

  it('moves a partition once, and reads the others meanwhile', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t', 2)
    fill(topic, 9, 0)
    fill(topic, 90, 1)
    const [behind] = topic.logs
    if (behind !== undefined) behind.logStartOffset = 3
    let answer = (): void => undefined
    const asked = new Promise<void>((resolve) => {
      answer = resolve
    })
    broker.script = async ({ api }) => {
      if (api === 'listOffsets') await asked
      return undefined
    }
    await using client = clientOf(broker)
    const reader = client.read('t', { from: 0, onOutOfRange: 'earliest', fetchBytes: 1_024 })
    const others = await take(reader, 90)
    expect(others.map(({ partition, offset }) => [partition, offset])).toEqual(range(0, 90).map((each) => [1, each]))
    expect(broker.countOf('listOffsets')).toBe(1)
    answer()
    expect((await take(reader, 6)).map(({ partition, offset }) => [partition, offset])).toEqual(
      range(3, 9).map((each) => [0, each]),
    )
    expect(broker.countOf('listOffsets')).toBe(1)
  })
})

describe('a reader ends in an error', () => {
  it('when its offset is out of range, with the range', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 9)
    const log = topic.logs[0]
    if (log !== undefined) log.logStartOffset = 3
    await using client = clientOf(broker)
    const reader = client.read('t', { from: 1 })
    await expect(reader.next()).rejects.toMatchObject({
      name: 'OffsetOutOfRangeError',
      code: 'OFFSET_OUT_OF_RANGE',
      logStartOffset: 3,
      highWatermark: 9,
      topic: 't',
      partition: 0,
      message: 't-0: offset 1 is out of range, the partition has the offsets from 3 to 9 (exclusive)',
    })
    expect(await reader.next()).toEqual({ done: true, value: undefined })
    expect(offsetsOf(await take(client.read('t', { from: 1, to: 'end', onOutOfRange: 'earliest' }), 99))).toEqual(
      range(3, 9),
    )
    expect(await take(client.read('t', { from: 100, to: 'end', onOutOfRange: 'latest' }), 99)).toEqual([])
  })

  it('when offsets were lost to corruption, with the next one that can be read, or passes over them', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 9)
    const log = topic.logs[0]
    if (log !== undefined) log.quarantined = { startOffset: 3, endOffset: 6 }
    await using client = clientOf(broker)
    await expect(client.read('t', { from: 4 }).next()).rejects.toMatchObject({
      name: 'QuarantinedError',
      code: 'QUARANTINED',
      nextOffset: 6,
      message: 't-0: offset 4 was lost to corruption; the next readable offset is 6',
    })
    const skipping = client.read('t', { to: 'end', onQuarantined: 'skip' })
    expect(offsetsOf(await take(skipping, 99))).toEqual([0, 1, 2, 6, 7, 8])
  })

  it('when there is no such topic or partition', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('t', 2)
    await using client = clientOf(broker)
    await expect(client.read('typo').next()).rejects.toMatchObject({
      code: 'UNKNOWN_TOPIC_OR_PARTITION',
      topic: 'typo',
    })
    await expect(client.read('t', { partitions: [0, 2] }).next()).rejects.toMatchObject({
      message: 't has the partitions 0 to 1, not 2',
    })
    expect(broker.cluster.topics.has('typo')).toBe(false)
  })

  it('when the topic is deleted, or made anew', async () => {
    await using broker = await FakeBroker.start()
    fill(broker.cluster.addTopic('t'), 3)
    await using client = clientOf(broker)
    const reader = client.read('t', { maxWaitMs: 10 })
    await take(reader, 3)
    broker.cluster.topics.delete('t')
    await expect(reader.next()).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    fill(broker.cluster.addTopic('t'), 3)
    const other = client.read('t', { maxWaitMs: 10 })
    await take(other, 3)
    broker.cluster.topics.delete('t')
    broker.cluster.nextProducerId += 10
    fill(broker.cluster.addTopic('t'), 6)
    await expect(other.next()).rejects.toMatchObject({ message: containing('made anew') })
  })

  it('when a partition cannot be reached for too long, rather than wait in silence', async () => {
    await using broker = await FakeBroker.start()
    fill(broker.cluster.addTopic('t'), 3)
    await using client = clientOf(broker)
    const reader = client.read('t', { unavailableTimeoutMs: 100, maxWaitMs: 10 })
    await take(reader, 3)
    broker.script = ({ api }) => (api === 'fetch' ? { kind: 'refuse-partitions', error: 'STORAGE_ERROR' } : undefined)
    await expect(reader.next()).rejects.toMatchObject({
      code: 'TIMEOUT',
      topic: 't',
      partition: 0,
      cause: { code: 'STORAGE_ERROR' },
    })
  })

  it('when a batch is damaged, and says where', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 9)
    const damaged = topic.logs[0]?.batches[1]
    if (damaged !== undefined) damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 0xff
    await using client = clientOf(broker)
    const reader = client.read('t')
    expect(offsetsOf(await take(reader, 3))).toEqual([0, 1, 2])
    await expect(reader.next()).rejects.toMatchObject({
      name: 'CorruptBatchError',
      code: 'CORRUPT_MESSAGE',
      message: containing('t-0, the batch at offset 3'),
      startOffset: 3,
      nextOffset: 6,
    })
    expect(offsetsOf(await take(client.read('t', { from: 6, to: 'end' }), 99))).toEqual([6, 7, 8])
    const skipping = client.read('t', { to: 'end', onQuarantined: 'skip' })
    expect(offsetsOf(await take(skipping, 99))).toEqual([0, 1, 2, 6, 7, 8])
  })

  it('when a batch is damaged where it says how many records it has, rather than pass over sound ones', async () => {
    await using broker = await FakeBroker.start()
    const topic = broker.cluster.addTopic('t')
    fill(topic, 9)
    const damaged = topic.logs[0]?.batches[1]
    if (damaged !== undefined) damaged[LAST_OFFSET_DELTA_AT + 3] = 9
    await using client = clientOf(broker)
    const reader = client.read('t', { to: 'end', onQuarantined: 'skip' })
    await expect(take(reader, 99)).rejects.toMatchObject({ name: 'CorruptBatchError', nextOffset: undefined })
  })

  it('when a deserializer fails, with the record that it failed at and its error as the cause', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('t').logs[0]?.append(batchOf(['{}', '{"a":', '{}']))
    await using client = clientOf(broker)
    const reader = client.read('t', { deserializers: { value: json() } })
    await expect(reader.next()).rejects.toMatchObject({
      code: 'DESERIALIZATION_FAILED',
      message: expect.stringMatching(/^t-0, the record at offset 1: /) as string,
      partition: 0,
      cause: { name: 'SyntaxError' },
    })
  })
})

describe('a client that closes', () => {
  it('ends its readers', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('t')
    const client = clientOf(broker)
    const reader = client.read('t')
    await reader.ready()
    const next = reader.next()
    await client.close()
    expect(await next).toEqual({ done: true, value: undefined })
  })
})

function containing(text: string): unknown {
  return expect.stringContaining(text)
}
