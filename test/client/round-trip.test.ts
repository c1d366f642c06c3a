// The client against a broker that does as it should: what is sent is read, in order, with keys, headers and times.

import { describe, expect, it } from 'vitest'
import { Partitioners } from 'kafkajs'
import { connect } from '../../client/client.ts'
import { json, number, string } from '../../client/serializers.ts'
import { FakeBroker } from './fake-broker.ts'

describe('a producer and a reader', () => {
  it('wait many at once without a warning of the runtime', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('t', 1)
    await using client = connect({ brokers: [broker.address] })
    const producer = client.producer({ serializers: { value: string }, bufferBytes: 2_000 })
    const warnings: string[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning.message)
    process.on('warning', onWarning)
    try {
      const value = 'x'.repeat(1_000)
      await Promise.all(Array.from({ length: 40 }, () => producer.send({ topic: 't', messages: [{ value }] })))
      await new Promise(setImmediate)
      expect(warnings).toEqual([])
    } finally {
      process.off('warning', onWarning)
    }
  })

  it('hand records through with key, value, headers and timestamp', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('orders', 1)
    await using client = connect({ brokers: [broker.address] })
    const producer = client.producer({ serializers: { key: string, value: json<{ total: number }>() } })
    const sent = await producer.send({
      topic: 'orders',
      messages: [
        {
          key: 'u1',
          value: { total: 3 },
          headers: { a: 'b', many: ['1', null], none: null },
          timestamp: 1_700_000_000_000,
        },
        { key: null, value: null, timestamp: new Date(5) },
      ],
    })
    expect(sent).toEqual([
      { topic: 'orders', partition: 0, offset: 0, timestamp: 1_700_000_000_000 },
      { topic: 'orders', partition: 0, offset: 1, timestamp: 5 },
    ])
    const messages = []
    const deserializers = { key: string, value: json<{ total: number }>() }
    for await (const message of client.read('orders', { from: 'start', to: 'end', deserializers }))
      messages.push(message)
    expect(messages).toEqual([
      {
        topic: 'orders',
        partition: 0,
        offset: 0,
        timestamp: 1_700_000_000_000,
        key: 'u1',
        value: { total: 3 },
        headers: { a: Buffer.from('b'), many: [Buffer.from('1'), null], none: null },
      },
      { topic: 'orders', partition: 0, offset: 1, timestamp: 5, key: null, value: null, headers: {} },
    ])
  })

  it.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)('compress with %s and read it again', async (codec) => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('logs', 1)
    await using client = connect({ brokers: [broker.address] })
    const producer = client.producer({ compression: codec })
    const values = Array.from({ length: 500 }, (_, index) => `line ${index} `.repeat(5))
    await producer.send({ topic: 'logs', messages: values.map((value) => ({ value })) })
    const read: string[] = []
    for await (const { value } of client.read('logs', { to: 'end' })) read.push(String(value))
    expect(read).toEqual(values)
  })

  it('send the records of one key to the partition that Kafka would choose', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('keyed', 6)
    await using client = connect({ brokers: [broker.address] })
    const producer = client.producer()
    const keys = ['a', 'foobar', 'user-17', 'user-18']
    const sent = await producer.send({ topic: 'keyed', messages: keys.map((key) => ({ key, value: 'x' })) })
    const partitionMetadata = Array.from({ length: 6 }, (_, partitionId) => ({
      partitionId,
      leader: 0,
      partitionErrorCode: 0,
      replicas: [],
      isr: [],
    }))
    const theirs = Partitioners.DefaultPartitioner()
    const expected = keys.map((key) => theirs({ topic: 'keyed', partitionMetadata, message: { key, value: 'x' } }))
    expect(sent.map(({ partition }) => partition)).toEqual(expected)
  })

  it('spread records without a key over all partitions', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('spread', 4)
    await using client = connect({ brokers: [broker.address] })
    const producer = client.producer()
    const seen = new Set<number | undefined>()
    for (let sends = 0; sends < 60; sends += 1) {
      const [meta] = await producer.send({ topic: 'spread', messages: [{ value: 'x' }] })
      seen.add(meta?.partition)
    }
    expect([...seen].sort((a = -1, b = -1) => a - b)).toEqual([0, 1, 2, 3])
  })

  it('ask a partitioner of the application and refuse a partition that is none', async () => {
    await using broker = await FakeBroker.start()
    broker.cluster.addTopic('mine', 3)
    await using client = connect({ brokers: [broker.address] })
    const producer = client.producer({
      serializers: { key: number },
      partitioner: ({ key, partitionCount }) => (Buffer.from(key ?? []).readDoubleBE() === 7 ? partitionCount : 2),
    })
    const [meta] = await producer.send({ topic: 'mine', messages: [{ key: 1, value: 'x' }] })
    expect(meta?.partition).toBe(2)
    await expect(producer.send({ topic: 'mine', messages: [{ key: 7, value: 'x' }] })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'mine has the partitions 0 to 2, not 3',
    })
  })
})
