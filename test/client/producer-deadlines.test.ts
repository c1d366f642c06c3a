// When a producer stops trying, and what stays behind of a send that its caller has given up: nothing.

import { describe, expect, it, vi } from 'vitest'
import { type Client, connect } from '../../client/client.ts'
import type { ConnectOptions } from '../../client/options.ts'
import { FakeBroker } from './fake-broker.ts'

const FAST = { minMs: 1, maxMs: 10 } as const
/** Nobody listens on it. */
const NOWHERE = '127.0.0.1:1'

function clientOf(address: string, options: Partial<ConnectOptions> = {}): Client {
  return connect({ brokers: [address], retry: FAST, ...options })
}

async function brokerWithTopic(): Promise<FakeBroker> {
  const broker = await FakeBroker.start()
  broker.cluster.addTopic('t')
  return broker
}

const MESSAGE = { topic: 't', messages: [{ value: 'a' }] } as const

describe('a number of retries ends a send', () => {
  const retry = { ...FAST, retries: 2 }

  it('whose topic nobody describes, with the error and its cause', async () => {
    const client = clientOf(NOWHERE, { retry })
    const producer = client.producer()
    const error: unknown = await producer.send(MESSAGE).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', cause: { code: 'ECONNREFUSED' } })
    expect(producer.bufferedBytes).toBe(0)
    await client.close()
  })

  it('whose partition has no leader any more', async () => {
    await using broker = await brokerWithTopic()
    await using client = clientOf(broker.address, { retry })
    const producer = client.producer()
    await producer.send(MESSAGE)
    const topic = broker.cluster.topics.get('t')
    if (topic !== undefined) topic.leaders = [undefined]
    broker.script = ({ api }) =>
      api === 'produce' ? { kind: 'refuse-partitions', error: 'NOT_LEADER_OR_FOLLOWER' } : undefined
    await expect(producer.send(MESSAGE)).rejects.toMatchObject({ code: 'LEADER_NOT_AVAILABLE' })
    expect(producer.bufferedBytes).toBe(0)
  })

  it('for which no producer id is given', async () => {
    await using broker = await brokerWithTopic()
    broker.script = ({ api }) => (api === 'initProducerId' ? { kind: 'refuse', error: 'BROKER_OVERLOADED' } : undefined)
    await using client = clientOf(broker.address, { retry })
    await expect(client.producer().send(MESSAGE)).rejects.toMatchObject({ code: 'BROKER_OVERLOADED' })
    expect(broker.countOf('initProducerId')).toBe(3)
  })
})

describe('a send that passes its deadline', () => {
  const soon = { timeoutMs: 200 }

  it('names the last error, and leaves nothing that close would wait for', async () => {
    const client = clientOf(NOWHERE)
    const producer = client.producer()
    await expect(producer.send(MESSAGE, soon)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(
        /^send to t: not done within 200 ms; the last error was: .*ECONNREFUSED/,
      ) as string,
      cause: { code: 'CONNECTION_FAILED' },
    })
    expect(producer.bufferedBytes).toBe(0)
    await client.close({ timeoutMs: 600_000 })
  })

  it('names the missing leader, and takes its records back', async () => {
    await using broker = await brokerWithTopic()
    const topic = broker.cluster.topics.get('t')
    if (topic !== undefined) topic.leaders = [undefined]
    const client = clientOf(broker.address)
    const producer = client.producer()
    await expect(producer.send(MESSAGE, soon)).rejects.toMatchObject({
      code: 'TIMEOUT',
      cause: { code: 'LEADER_NOT_AVAILABLE' },
    })
    expect(producer.bufferedBytes).toBe(0)
    await client.close({ timeoutMs: 600_000 })
    expect(broker.countOf('produce')).toBe(0)
  })

  it('does not send again what is on its way, and close does not wait for it', async () => {
    await using broker = await brokerWithTopic()
    broker.script = ({ api }) => (api === 'produce' ? { kind: 'silence' } : undefined)
    await using client = clientOf(broker.address, { requestTimeoutMs: 400 })
    const producer = client.producer()
    const sent = producer.send(MESSAGE, soon)
    const flushed = vi.waitUntil(() => broker.countOf('produce') === 1).then(() => producer.flush())
    await expect(sent).rejects.toMatchObject({ code: 'TIMEOUT' })
    await flushed
    await vi.waitUntil(() => producer.bufferedBytes === 0)
    await producer.close({ timeoutMs: 600_000 })
    expect(broker.countOf('produce')).toBe(1)
  })

  it('takes nothing from others: what they put into the same batch arrives', async () => {
    await using broker = await brokerWithTopic()
    const topic = broker.cluster.topics.get('t')
    if (topic !== undefined) topic.leaders = [undefined]
    await using client = clientOf(broker.address)
    const producer = client.producer()
    const others = [producer.enqueue('t', { value: 'x' }), producer.enqueue('t', { value: 'y' })]
    await expect(producer.send(MESSAGE, soon)).rejects.toMatchObject({ code: 'TIMEOUT' })
    if (topic !== undefined) topic.leaders = [0]
    expect(await Promise.all(others)).toMatchObject([{ offset: 0 }, { offset: 1 }])
    await producer.flush()
  })

  it('leaves the topic to be found by whoever comes next', async () => {
    await using broker = await brokerWithTopic()
    let isSilent = true
    broker.script = ({ api }) => (api === 'metadata' && isSilent ? { kind: 'silence' } : undefined)
    await using client = clientOf(broker.address, { requestTimeoutMs: 400 })
    const producer = client.producer()
    await expect(producer.send(MESSAGE, soon)).rejects.toMatchObject({ code: 'TIMEOUT' })
    isSilent = false
    expect(await producer.send(MESSAGE)).toMatchObject([{ partition: 0, offset: 0 }])
  })
})
