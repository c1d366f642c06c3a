// The project's own client against a whole broker: the two halves of the protocol meet here.

import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'

describe('a client of a broker', () => {
  it('writes, reads back and finds its records again after a kill', async () => {
    await using broker = await startBroker()
    const client = broker.client()
    await client.admin().createTopics({ topics: [{ topic: 'orders', numPartitions: 3 }] })
    const producer = client.producer()
    const sent = Array.from({ length: 500 }, (_, index) => ({ key: `k${index % 7}`, value: `v${index}` }))
    await producer.send({ topic: 'orders', messages: sent })
    await broker.restart({ crash: true })
    await producer.send({ topic: 'orders', messages: [{ key: 'k0', value: 'after' }] })
    const values: string[] = []
    for await (const message of client.read('orders', { from: 'start', to: 'end' })) {
      values.push(Buffer.from(message.value ?? []).toString())
    }
    expect(new Set(values)).toEqual(new Set([...sent.map(({ value }) => value), 'after']))
    expect(values).toHaveLength(501)
  })

  it.each(['max.message.bytes', 'segment.bytes'])('makes batches that the %s of the topic lets in', async (name) => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const client = broker.client()
    const limit = 4_000
    await client.admin().createTopics({ topics: [{ topic: 't', config: { [name]: limit } }] })
    for (const compression of ['none', 'lz4', 'snappy'] as const) {
      const producer = client.producer({ compression, batchBytes: 4_194_304 })
      const headers = { name: 'h'.repeat(Math.floor(limit / 8)) }
      const messages = Array.from({ length: 20 }, () => ({ value: randomBytes(Math.floor(limit / 4)), headers }))
      const sent = await producer.send({ topic: 't', messages })
      expect(sent).toHaveLength(messages.length)
    }
    const tooLarge = client.producer().send({ topic: 't', messages: [{ value: 'x'.repeat(limit) }] })
    await expect(tooLarge).rejects.toMatchObject({ name: 'RecordTooLargeError' })
  })

  it('makes smaller batches when the topic has come to take only those', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const client = broker.client()
    await client.admin().createTopics({ topics: [{ topic: 't' }] })
    const producer = client.producer()
    const messages = Array.from({ length: 20 }, () => ({ value: 'x'.repeat(500) }))
    await producer.send({ topic: 't', messages })
    await client.admin().alterTopic({ topic: 't', config: { 'max.message.bytes': 2_000 } })
    await expect(producer.send({ topic: 't', messages })).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
    await expect.poll(() => producer.send({ topic: 't', messages }).catch(() => [])).toHaveLength(20)
  })

  it('is closed with its broker', async () => {
    const broker = await startBroker({ dataDir: 'memory' })
    const client = broker.client()
    await client.admin().createTopics({ topics: [{ topic: 't' }] })
    await broker.stop()
    expect(() => client.admin()).toThrow(expect.objectContaining({ code: 'CLIENT_CLOSED' }) as Error)
  })
})
