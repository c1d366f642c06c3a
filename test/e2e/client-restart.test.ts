// The client against the real broker: everything that a client can ask, and a broker that stops and dies under it.

import { describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import { connect } from '../../client/client.ts'
import { json, string } from '../../client/serializers.ts'

const FAST = { retry: { minMs: 10, maxMs: 100 } } as const

describe('the client and the broker', () => {
  it('make, list, describe, alter, widen, trim and delete a topic', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    await using client = connect({ brokers: broker.brokers, ...FAST })
    const admin = client.admin()
    const config = { 'retention.ms': 86_400_000 }
    const [made] = await admin.createTopics({ topics: [{ topic: 'orders', numPartitions: 2, config }] })
    expect(made).toMatchObject({ topic: 'orders', partitions: 2, replicationFactor: 1 })
    await expect(admin.createTopics({ topics: [{ topic: 'orders' }] })).rejects.toMatchObject({
      code: 'TOPIC_ALREADY_EXISTS',
      topic: 'orders',
    })
    expect(await admin.listTopics()).toEqual(['orders'])
    await admin.alterTopic({ topic: 'orders', config: { 'retention.ms': 1_000_000 } })
    await admin.addPartitions({ topic: 'orders', partitions: 3 })
    const described = await admin.describeTopic('orders')
    expect(described).not.toHaveProperty('error')
    expect(described.partitions.map(({ partition }) => partition)).toEqual([0, 1, 2])
    expect(described.config.find(({ name }) => name === 'retention.ms')).toMatchObject({ value: '1000000' })
    const producer = client.producer()
    const messages = Array.from({ length: 10 }, (_, index) => ({ partition: 2, value: String(index) }))
    await producer.send({ topic: 'orders', messages })
    expect(await admin.offsets('orders')).toMatchObject([{ offset: 0 }, { offset: 0 }, { partition: 2, offset: 10 }])
    const trimmed = await admin.trim({ topic: 'orders', partitions: [{ partition: 2, beforeOffset: 4 }] })
    expect(trimmed).toEqual([{ partition: 2, logStartOffset: 4 }])
    expect(await admin.offsets('orders', { at: 'start', partitions: [2] })).toMatchObject([{ offset: 4 }])
    await expect(client.read('orders', { from: { 2: 1 } }).next()).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      logStartOffset: 4,
      highWatermark: 10,
    })
    expect((await admin.describeCluster()).brokers).toHaveLength(1)
    await admin.deleteTopics({ topics: ['orders'] })
    expect(await admin.listTopics()).toEqual([])
    await expect(admin.describeTopic('orders')).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  })

  it('read from a time, and to one', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    await using client = connect({ brokers: broker.brokers, ...FAST })
    await client.admin().createTopics({ topics: [{ topic: 't', numPartitions: 1 }] })
    const producer = client.producer()
    const start = Date.now() - 3_600_000
    for (let minute = 0; minute < 60; minute += 1) {
      await producer.send({ topic: 't', messages: [{ value: `${minute}`, timestamp: start + minute * 60_000 }] })
    }
    const values: string[] = []
    const range = {
      from: new Date(start + 10 * 60_000),
      to: new Date(start + 13 * 60_000),
      deserializers: { value: string },
    }
    for await (const { value } of client.read('t', range)) values.push(String(value))
    expect(values).toEqual(['10', '11', '12'])
    const recent: string[] = []
    for await (const { value } of client.read('t', { from: '-150s', to: 'end' })) recent.push(String(value))
    expect(recent).toEqual(['58', '59'])
  })

  it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)('carry %s batches', async (compression) => {
    await using broker = await startBroker({ dataDir: 'memory' })
    await using client = connect({ brokers: broker.brokers, ...FAST })
    await client.admin().createTopics({ topics: [{ topic: 't', numPartitions: 1 }] })
    const serde = { value: json<{ n: number }>() }
    const producer = client.producer({ compression, serializers: serde })
    const messages = Array.from({ length: 1_000 }, (_, n) => ({ value: { n } }))
    await producer.send({ topic: 't', messages })
    const seen: number[] = []
    for await (const { value } of client.read('t', { to: 'end', deserializers: serde })) seen.push(value?.n ?? -1)
    expect(seen).toEqual(messages.map((_, n) => n))
  })

  it.each([
    ['stops', false],
    ['dies', true],
  ])('lose, repeat and reorder nothing when the broker %s and comes back', async (_, crash) => {
    await using broker = await startBroker()
    await using client = connect({ brokers: broker.brokers, ...FAST })
    await client.admin().createTopics({ topics: [{ topic: 't', numPartitions: 2, config: { durability: 'fsync' } }] })
    const producer = client.producer({ batchBytes: 2_048 })
    const reader = client.read('t', { maxWaitMs: 200 })
    const total = 6_000
    const seen: [number[], number[]] = [[], []]
    const reading = (async () => {
      let count = 0
      for await (const { partition, value } of reader) {
        seen[partition === 0 ? 0 : 1].push(Number(value))
        count += 1
        if (count === total) break
      }
    })()
    const acknowledgements: Promise<unknown>[] = []
    for (let index = 0; index < total; index += 1) {
      acknowledgements.push(producer.enqueue('t', { partition: index % 2, value: String(index) }))
      if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      if (index === 2_000 || index === 4_000) await broker.restart({ crash })
    }
    await producer.flush({ timeoutMs: 20_000 })
    await Promise.all(acknowledgements)
    await reading
    const expected = Array.from({ length: total / 2 }, (__, index) => index * 2)
    expect(seen).toEqual([expected, expected.map((even) => even + 1)])
  })

  it('share a broker that is started by whom it serves', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const client = connect({ brokers: broker.brokers })
    await client.admin().createTopics({ topics: [{ topic: 't' }] })
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'x' }] })
    await client.close()
    await client.close()
    expect(() => client.producer()).toThrow('closed')
    await expect(producer.send({ topic: 't', messages: [{ value: 'x' }] })).rejects.toMatchObject({
      code: 'CLIENT_CLOSED',
    })
  })
})
