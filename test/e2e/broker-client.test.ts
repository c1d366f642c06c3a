// The project's own client against a whole broker: the two halves of the protocol meet here.

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

  it('is closed with its broker', async () => {
    const broker = await startBroker({ dataDir: 'memory' })
    const client = broker.client()
    await client.admin().createTopics({ topics: [{ topic: 't' }] })
    await broker.stop()
    expect(() => client.admin()).toThrow(expect.objectContaining({ code: 'CLIENT_CLOSED' }) as Error)
  })
})
