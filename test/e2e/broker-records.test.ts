// Records through a whole broker over real sockets: appended, read, waited for, and still there after a stop or a kill.

import { describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import { fetchOf } from '../network/raw-client.ts'
import { BrokerClient, fetched } from './broker-client.ts'

describe('a broker', () => {
  it('gives back what was appended, in order, with its offsets', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const client = await BrokerClient.connect(broker.port)
    expect(await client.createTopic('orders')).toMatchObject({ error: undefined })
    expect(await client.produce('orders', ['a', 'b'])).toMatchObject({ error: undefined, baseOffset: 0 })
    expect(await client.produce('orders', ['c'])).toMatchObject({ error: undefined, baseOffset: 2 })
    const part = await client.fetch('orders', 0)
    expect(part).toMatchObject({ values: ['a', 'b', 'c'], offsets: [0, 1, 2], highWatermark: 3 })
    client.close()
  })

  it('keeps what it has acknowledged through a stop and through a kill', async () => {
    await using broker = await startBroker()
    let client = await BrokerClient.connect(broker.port)
    await client.createTopic('orders', { partitions: 2 })
    await client.produce('orders', ['a'])
    await broker.restart()
    client = await BrokerClient.connect(broker.port)
    await client.produce('orders', ['b'])
    await broker.restart({ crash: true })
    client = await BrokerClient.connect(broker.port)
    await client.produce('orders', ['c'])
    expect(await client.readAll('orders')).toEqual(['a', 'b', 'c'])
    client.close()
  })

  it('answers a fetch that waits as soon as there is a record', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const client = await BrokerClient.connect(broker.port)
    await client.createTopic('orders')
    const waiting = client.raw.request('fetch', fetchOf('orders', 0, 60_000))
    // The next answer on the connection shows that the fetch has been read and is not answered.
    await client.raw.ask('clusterInfo', {})
    expect(client.raw.frames.some((frame) => frame.correlationId === waiting)).toBe(false)
    await client.produce('orders', ['a'])
    expect(fetched(await client.raw.answer(waiting))[0]).toMatchObject({ values: ['a'] })
    client.close()
  })
})
