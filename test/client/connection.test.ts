// One connection and the pool of them, over real sockets.

import { describe, expect, it } from 'vitest'
import { Connection } from '../../client/connection.ts'
import { ConnectionPool } from '../../client/connection-pool.ts'
import { RECONNECT } from '../../client/retry.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { readConnectOptions } from '../../client/options.ts'
import { Scope } from '../../client/scope.ts'
import { FakeBroker } from './fake-broker.ts'

const metadata = { topics: undefined, createMissing: false }

function open(broker: FakeBroker, options: { requestTimeoutMs?: number; connectTimeoutMs?: number } = {}): Connection {
  const address = { host: '127.0.0.1', port: broker.port }
  const limits = { connectTimeoutMs: 2_000, requestTimeoutMs: 2_000, ...options }
  return new Connection(systemEnvironment, { address, clientId: 'test', ...limits })
}

describe('a connection', () => {
  it('says hello, asks without waiting, and matches answers by number', async () => {
    await using broker = await FakeBroker.start()
    const connection = open(broker)
    await connection.opened
    expect(connection.hello).toMatchObject({ cluster: 'fake', brokerId: 0 })
    const answers = await Promise.all(Array.from({ length: 50 }, () => connection.ask('initProducerId', {})))
    expect(answers.map(({ body }) => body.producerId)).toEqual(Array.from({ length: 50 }, (_, index) => index + 1))
    connection.close()
  })

  it('fails what waits, and all that comes after, when it breaks', async () => {
    await using broker = await FakeBroker.start()
    broker.script = ({ api }) => (api === 'metadata' ? { kind: 'silence' } : undefined)
    const connection = open(broker)
    await connection.opened
    const waiting = connection.ask('metadata', metadata)
    waiting.catch(() => undefined)
    await expect.poll(() => broker.countOf('metadata')).toBe(1)
    broker.dropAll()
    await expect(waiting).rejects.toMatchObject({ name: 'ConnectionError', code: 'CONNECTION_FAILED', retriable: true })
    expect(connection.isOpen).toBe(false)
    await expect(connection.ask('metadata', metadata)).rejects.toMatchObject({ name: 'NotConnectedError' })
  })

  it('fails with the cause when nobody listens', async () => {
    const broker = await FakeBroker.start()
    await broker.stop()
    await expect(open(broker).opened).rejects.toMatchObject({
      name: 'NotConnectedError',
      code: 'CONNECTION_FAILED',
      cause: { code: 'ECONNREFUSED' },
    })
  })

  it('fails when hello is not answered in time, refused or hung up on', async () => {
    await using broker = await FakeBroker.start()
    broker.script = () => ({ kind: 'silence' })
    await expect(open(broker, { connectTimeoutMs: 30 }).opened).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
    broker.script = () => ({ kind: 'refuse', error: 'BROKER_OVERLOADED', message: 'too many connections' })
    await expect(open(broker).opened).rejects.toMatchObject({ code: 'BROKER_OVERLOADED' })
    broker.script = () => ({ kind: 'drop' })
    await expect(open(broker).opened).rejects.toMatchObject({ message: /other side closed it/ })
  })

  it('is given up for dead when the broker keeps silent', async () => {
    await using broker = await FakeBroker.start()
    broker.script = ({ api }) => (api === 'metadata' ? { kind: 'silence' } : undefined)
    const connection = open(broker, { requestTimeoutMs: 40 })
    await connection.opened
    await expect(connection.ask('metadata', metadata)).rejects.toMatchObject({ name: 'TimeoutError', code: 'TIMEOUT' })
    expect(connection.isOpen).toBe(false)
  })

  it('forgets an aborted request and reads on over its answer', async () => {
    await using broker = await FakeBroker.start()
    const connection = open(broker)
    await connection.opened
    const controller = new AbortController()
    const aborted = connection.ask('initProducerId', {}, { signal: controller.signal })
    aborted.catch(() => undefined)
    controller.abort('enough')
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED', cause: 'enough' })
    expect((await connection.ask('initProducerId', {})).body.producerId).toBe(2)
    connection.close()
  })

  it('refuses what the broker does not speak or take', async () => {
    await using broker = await FakeBroker.start()
    broker.helloAnswer = {
      frameBytesMax: 1_000,
      apis: [
        { api: 2, versionMin: 0, versionMax: 0 },
        { api: 5, versionMin: 1, versionMax: 3 },
      ],
    }
    const connection = open(broker)
    await connection.opened
    await expect(connection.ask('clusterInfo', {})).rejects.toMatchObject({ message: /does not know it/ })
    await expect(connection.ask('initProducerId', {})).rejects.toMatchObject({ message: /speaks 1 to 3/ })
    const produce = { acks: -1, timeoutMs: 1, partitions: [] }
    await expect(connection.ask('produce', produce, { tail: [new Uint8Array(2_000)] })).rejects.toMatchObject({
      name: 'RecordTooLargeError',
      code: 'FRAME_TOO_LARGE',
    })
    connection.close()
  })
})

describe('the pool', () => {
  const settings = readConnectOptions({ brokers: 'unused:1', connectTimeoutMs: 2_000 })

  it('opens one connection for all who ask at once, and one for each purpose', async () => {
    await using broker = await FakeBroker.start()
    const pool = new ConnectionPool(systemEnvironment, settings)
    const scope = new Scope(systemEnvironment, { what: 'test' })
    const address = { host: '127.0.0.1', port: broker.port }
    const [one, two] = await Promise.all([pool.get(address, 'control', scope), pool.get(address, 'control', scope)])
    expect(one).toBe(two)
    expect(await pool.get(address, 'fetch', scope)).not.toBe(one)
    expect(broker.connections).toBe(2)
    pool.close()
    await expect(pool.get(address, 'fetch', scope)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })

  it('pauses for growing times before it calls a broker that hangs up after hello', async () => {
    await using broker = await FakeBroker.start()
    const pauses: number[] = []
    const environment = {
      ...systemEnvironment,
      timers: {
        ...systemEnvironment.timers,
        after(delayMs: number, callback: () => void) {
          // The timer for hello has the settings' length; what is left is pauses, which the test does not wait for.
          if (delayMs === 2_000) return systemEnvironment.timers.after(delayMs, callback)
          pauses.push(delayMs)
          return systemEnvironment.timers.after(0, callback)
        },
      },
    }
    const pool = new ConnectionPool(environment, settings)
    const scope = new Scope(environment, { what: 'test' })
    const address = { host: '127.0.0.1', port: broker.port }
    for (let calls = 0; calls < 5; calls += 1) {
      const connection = await pool.get(address, 'control', scope)
      const closed = new Promise<void>((resolve) => connection.onClosed(() => resolve()))
      broker.dropAll()
      await closed
    }
    expect(pauses).toHaveLength(3)
    for (const [index, pause] of pauses.entries()) {
      expect(pause).toBeGreaterThan(RECONNECT.minMs * 2 ** index * 0.3)
      expect(pause).toBeLessThanOrEqual(RECONNECT.minMs * 2 ** index)
    }
    pool.close()
  })
})
