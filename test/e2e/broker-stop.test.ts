// Stopping over real sockets: what has been asked is answered, nothing new is begun, and a stop that must be quick is.

import { setTimeout as later } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestBroker } from '../../broker/testing.ts'
import { startBroker } from '../../broker/testing.ts'
import { APIS } from '../../shared/protocol/api.ts'
import { fetchOf, produceOf, RawClient } from '../network/raw-client.ts'
import { FaultyDisk } from '../requests/faulty-disk.ts'
import { batch } from '../storage/log-fixture.ts'
import { BrokerClient, fetched } from './broker-client.ts'

let disk: FaultyDisk
let broker: TestBroker
let client: BrokerClient

beforeEach(async () => {
  disk = new FaultyDisk()
  broker = await startBroker({ dataDir: '/data', diskReserveBytes: 0, environment: { disk } })
  client = await BrokerClient.connect(broker.port)
  await client.createTopic('os')
  await client.createTopic('fsync', { config: [['durability', 'fsync']] })
})

afterEach(async () => {
  disk.letSyncs()
  client.close()
  await broker.stop()
})

async function reopen(): Promise<void> {
  broker = await startBroker({ dataDir: '/data', diskReserveBytes: 0, environment: { disk } })
  client = await BrokerClient.connect(broker.port)
}

describe('a stop', () => {
  it('answers what has been asked, and keeps what it has acknowledged', async () => {
    disk.holdSyncs()
    const records = batch(['held'])
    const produced = client.raw.request('produce', produceOf('fsync', records), records)
    const waiting = client.raw.request('fetch', fetchOf('os', 0, 60_000))
    // Both have been read when what was asked behind them is answered.
    await client.raw.ask('clusterInfo', {})
    const stopped = broker.stop()
    expect(fetched(await client.raw.answer(waiting))).toEqual([])
    disk.letSyncs()
    const answer = await client.raw.answer(produced)
    expect(APIS.produce.response.decode(answer.body, 'produce').partitions).toMatchObject([{ error: 0, baseOffset: 0 }])
    await client.raw.closed()
    await stopped
    await expect(RawClient.connect(broker.port)).rejects.toThrow('ECONNREFUSED')
    expect(disk.list('/data')).toContain('clean-shutdown')
    await reopen()
    expect(disk.list('/data')).not.toContain('clean-shutdown')
    expect(await client.readAll('fsync')).toEqual(['held'])
  })

  it('that must be quick waits for nobody, and loses nothing that was acknowledged', async () => {
    await client.produce('os', ['kept'])
    disk.holdSyncs()
    const records = batch(['never acknowledged'])
    client.raw.request('produce', produceOf('fsync', records), records)
    await client.raw.ask('clusterInfo', {})
    const answered = client.raw.frames.length
    const stopped = broker.broker.stop({ immediately: true })
    await client.raw.closed()
    disk.letSyncs()
    await stopped
    expect(client.raw.frames).toHaveLength(answered)
    expect(disk.list('/data')).not.toContain('clean-shutdown')
    await reopen()
    expect(await client.readAll('os')).toEqual(['kept'])
  })

  it('under way is cut short by one that must be quick', async () => {
    disk.holdSyncs()
    const records = batch(['held'])
    client.raw.request('produce', produceOf('fsync', records), records)
    await client.raw.ask('clusterInfo', {})
    const stopped = broker.broker.stop()
    const isStopped = await Promise.race([stopped.then(() => true), later(50, false)])
    expect(isStopped).toBe(false)
    const cut = broker.broker.stop({ immediately: true })
    await client.raw.closed()
    disk.letSyncs()
    await Promise.all([stopped, cut])
    expect(disk.list('/data')).not.toContain('clean-shutdown')
  })

  it('is not held up by a client that says nothing', async () => {
    const silent = await RawClient.connect(broker.port)
    const idle = await RawClient.greet(broker.port)
    await broker.stop()
    await Promise.all([silent.closed(), idle.closed()])
    expect(broker.broker.isReady).toBe(false)
  })

  it('waits for requests no longer than it may', async () => {
    await broker.stop()
    broker = await startBroker({ dataDir: '/data', diskReserveBytes: 0, environment: { disk }, stopTimeoutMs: 50 })
    client = await BrokerClient.connect(broker.port)
    await client.createTopic('slow', { config: [['durability', 'fsync']] })
    disk.holdSyncs()
    const records = batch(['held'])
    const produced = client.raw.request('produce', produceOf('slow', records), records)
    await client.raw.ask('clusterInfo', {})
    const stopped = broker.stop()
    await client.raw.closed()
    // Its connections are gone though nothing was answered; what is left is the disk's.
    expect(client.raw.frames.filter(({ correlationId }) => correlationId === produced)).toEqual([])
    disk.letSyncs()
    await stopped
  })

  it('tells its readiness before it closes anything', async () => {
    const stopped = broker.broker.stop()
    expect(broker.broker.isReady).toBe(false)
    expect(broker.broker.readiness().find(({ name }) => name === 'serving')).toMatchObject({ detail: 'stopping' })
    await stopped
  })
})

describe('a data directory', () => {
  it('is used by one broker at a time, and belongs to one cluster and one broker for good', async () => {
    const start = (settings: object) => startBroker({ dataDir: '/data', environment: { disk }, ...settings })
    await expect(start({})).rejects.toMatchObject({ code: 'DIRECTORY_LOCKED' })
    await broker.stop()
    await expect(start({ cluster: 'other' })).rejects.toThrow('belongs to cluster tidemark')
    await expect(start({ brokerId: 7 })).rejects.toThrow('belongs to broker 1')
    await reopen()
    expect(await client.readAll('os')).toEqual([])
  })
})
