// The client when leaders move, die and hang: over real sockets, against brokers that share their logs and do what the
// test says. A broker that hangs accepts connections and answers nothing.

import { describe, expect, it } from 'vitest'
import { type Client, connect } from '../../client/client.ts'
import type { ConnectOptions } from '../../client/options.ts'
import type { Reader } from '../../client/reader.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { type Behaviour, FakeBroker, FakeCluster, type FakeTopic } from './fake-broker.ts'

interface Trio extends AsyncDisposable {
  readonly cluster: FakeCluster
  readonly brokers: readonly [FakeBroker, FakeBroker, FakeBroker]
  readonly topic: FakeTopic
}

/** Three brokers, of which the first leads the topic t in epoch 1. */
async function startTrio(partitions = 1): Promise<Trio> {
  const cluster = new FakeCluster()
  const topic = cluster.addTopic('t', partitions, 0)
  topic.leaderEpochs = topic.leaders.map(() => 1)
  const brokers = [
    await FakeBroker.start(cluster, 0),
    await FakeBroker.start(cluster, 1),
    await FakeBroker.start(cluster, 2),
  ] as const
  return {
    cluster,
    brokers,
    topic,
    [Symbol.asyncDispose]: async () => void (await Promise.all(brokers.map((broker) => broker.stop()))),
  }
}

function clientOf(brokers: readonly FakeBroker[], options: Partial<ConnectOptions> = {}): Client {
  return connect({ brokers: brokers.map(({ address }) => address), ...options })
}

/** Answers nothing any more, until it is woken; then it answers what it was asked meanwhile. */
function hang(broker: FakeBroker): { resume: () => void } {
  let resume: () => void = () => undefined
  const resumed = new Promise<undefined>((resolve) => {
    resume = () => {
      broker.script = () => undefined
      resolve(undefined)
    }
  })
  broker.script = () => resumed
  return { resume }
}

const valuesOf = (topic: FakeTopic, partition = 0): string[] => topic.logs[partition]?.values() ?? []
const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `value ${index}`)

/** Resolves when the broker has been asked so. */
async function asked(broker: FakeBroker, api: 'produce' | 'fetch' | 'listOffsets', count: number): Promise<void> {
  await expect.poll(() => broker.countOf(api), { interval: 5 }).toBeGreaterThanOrEqual(count)
}

async function take(reader: Reader, count: number): Promise<string[]> {
  const values: string[] = []
  while (values.length < count) {
    const next = await reader.next()
    if (next.done === true) break
    values.push(next.value.value?.toString() ?? '')
  }
  return values
}

function fill(topic: FakeTopic, values: readonly string[]): void {
  for (const value of values) {
    topic.logs[0]?.append(encodeBatch([{ key: null, value: Buffer.from(value), timestamp: 1 }]))
  }
}

const REFUSALS: readonly ErrorCode[] = [
  'NOT_LEADER_OR_FOLLOWER',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'LEADER_NOT_AVAILABLE',
  'NOT_ENOUGH_REPLICAS',
  'REQUEST_TIMED_OUT',
  'SHUTTING_DOWN',
  'STORAGE_ERROR',
]

describe('a producer whose leader moves', () => {
  const behaviours: [string, Behaviour][] = [
    ...REFUSALS.map((error): [string, Behaviour] => [error, { kind: 'refuse-partitions', error }]),
    ['SHUTTING_DOWN for the whole request', { kind: 'refuse', error: 'SHUTTING_DOWN' }],
    ['REQUEST_TIMED_OUT after it has appended', { kind: 'apply-and-refuse-partitions', error: 'REQUEST_TIMED_OUT' }],
    [
      'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
      { kind: 'apply-and-refuse-partitions', error: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND' },
    ],
    ['a broken connection', { kind: 'drop' }],
    ['a broken connection after it has appended', { kind: 'apply-and-drop' }],
  ]
  it.each(behaviours)('sends the same records in their order to the new one after %s', async (_, behaviour) => {
    await using trio = await startTrio()
    const [first, second] = trio.brokers
    first.script = ({ api, index }) => {
      if (api !== 'produce' || index < 8) return undefined
      if (index === 12) trio.cluster.elect('t', 0, 1)
      return behaviour
    }
    await using client = clientOf([first])
    const producer = client.producer({ batchBytes: 128 })
    const values = numbered(200)
    const acknowledged = await Promise.all(values.map((value) => producer.enqueue('t', { value })))
    expect(valuesOf(trio.topic)).toEqual(values)
    expect(acknowledged.map(({ offset }) => offset)).toEqual(values.map((__, index) => index))
    expect(second.countOf('produce')).toBeGreaterThan(0)
    expect(trio.cluster.nextProducerId).toBe(2)
  })

  it('goes on when the leader is gone, though it was the only broker that was named', async () => {
    await using trio = await startTrio()
    const [first] = trio.brokers
    await using client = clientOf([first])
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    await first.stop()
    const sent = producer.send({ topic: 't', messages: [{ value: 'b' }] })
    // It is tried, and who leads is asked for, before there is a new leader.
    await expect
      .poll(() => trio.brokers[1].countOf('metadata') + trio.brokers[2].countOf('metadata'))
      .toBeGreaterThan(2)
    trio.cluster.elect('t', 0, 2)
    expect((await sent)[0]?.offset).toBe(1)
    expect(valuesOf(trio.topic)).toEqual(['a', 'b'])
  })

  it('does not wait for a leader that hangs when another leads, and is not misled when that one wakes up', async () => {
    await using trio = await startTrio()
    const [first, second, third] = trio.brokers
    await using client = clientOf([first])
    const producer = client.producer({ batchBytes: 128 })
    await producer.send({ topic: 't', messages: [{ value: 'value 0' }] })
    const hanging = hang(first)
    const values = numbered(100)
    const promises = values.slice(1).map((value) => producer.enqueue('t', { value }))
    await asked(first, 'produce', 2)
    trio.cluster.elect('t', 0, 1)
    const acknowledged = await Promise.all(promises)
    hanging.resume()
    await producer.send({ topic: 't', messages: [{ value: 'last' }] })
    expect(acknowledged.map(({ offset }) => offset)).toEqual(values.slice(1).map((_, index) => index + 1))
    expect(valuesOf(trio.topic)).toEqual([...values, 'last'])
    expect(second.countOf('produce') + third.countOf('produce')).toBeGreaterThan(0)
  })

  it('keeps waiting for a partition that the hanging broker still leads, and gives up only the others', async () => {
    await using trio = await startTrio(2)
    const [first] = trio.brokers
    await using client = clientOf([first])
    const producer = client.producer({ acks: 1, lingerMs: 50 })
    await producer.send({ topic: 't', messages: [{ value: 'warm', partition: 0 }] })
    const hanging = hang(first)
    const moved = producer.send({ topic: 't', messages: [{ value: 'moved', partition: 0 }] })
    const kept = producer.enqueue('t', { value: 'kept', partition: 1 })
    await asked(first, 'produce', 2)
    trio.cluster.elect('t', 0, 1)
    // Without sequence numbers it must not be sent again: the old leader may have it.
    await expect(moved).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    hanging.resume()
    expect(await kept).toMatchObject({ partition: 1, offset: 0 })
  })

  it('with acks 0 finds the new leader when the old one ends the connection', async () => {
    await using trio = await startTrio()
    const [first] = trio.brokers
    await using client = clientOf([first])
    const producer = client.producer({ acks: 0 })
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    await expect.poll(() => valuesOf(trio.topic)).toEqual(['a'])
    trio.cluster.elect('t', 0, 1)
    first.script = ({ api }) => (api === 'produce' ? { kind: 'drop' } : undefined)
    await expect
      .poll(async () => {
        await producer.send({ topic: 't', messages: [{ value: 'b' }] })
        return valuesOf(trio.topic)
      })
      .toContain('b')
  })
})

describe('a client', () => {
  it('finds the cluster when one of the named brokers is dead and another hangs', async () => {
    await using trio = await startTrio()
    const [first, second, third] = trio.brokers
    await first.stop()
    hang(second)
    trio.cluster.elect('t', 0, 2)
    await using client = clientOf([first, second, third])
    const [meta] = await client.producer().send({ topic: 't', messages: [{ value: 'a' }] })
    expect(meta?.offset).toBe(0)
    expect(await client.admin().offsets('t')).toHaveLength(1)
  })

  it('asks another broker when the one that it is connected to hangs', async () => {
    await using trio = await startTrio()
    const [first] = trio.brokers
    await using client = clientOf([first])
    await client.admin().offsets('t')
    hang(first)
    expect((await client.admin().describeTopics(['t'])).map(({ topic }) => topic)).toEqual(['t'])
  })

  it('asks the new leader for offsets when the old one hangs', async () => {
    await using trio = await startTrio()
    const [first] = trio.brokers
    fill(trio.topic, ['a', 'b'])
    await using client = clientOf([first])
    await client.admin().offsets('t')
    hang(first)
    const offsets = client.admin().offsets('t')
    await asked(first, 'listOffsets', 2)
    trio.cluster.elect('t', 0, 1)
    expect(await offsets).toMatchObject([{ partition: 0, offset: 2 }])
  })

  it('asks the new leader for offsets when the old one is gone', async () => {
    await using trio = await startTrio()
    const [first, second] = trio.brokers
    fill(trio.topic, ['a', 'b'])
    await using client = clientOf([first, second])
    await client.admin().offsets('t')
    await first.stop()
    trio.cluster.elect('t', 0, 1)
    expect(await client.admin().offsets('t', { timeoutMs: 5_000 })).toMatchObject([{ partition: 0, offset: 2 }])
  })

  it('does not believe a broker that has missed an election', async () => {
    await using trio = await startTrio()
    const [first, second, third] = trio.brokers
    third.belief = { leaders: [0], leaderEpochs: [1] }
    trio.cluster.elect('t', 0, 1)
    await using client = clientOf([second])
    const producer = client.producer()
    await producer.send({ topic: 't', messages: [{ value: 'a' }] })
    second.script = ({ api, index }) =>
      api === 'produce' && index < 6 ? { kind: 'refuse-partitions', error: 'NOT_LEADER_OR_FOLLOWER' } : undefined
    await producer.send({ topic: 't', messages: [{ value: 'b' }] })
    expect(third.countOf('metadata')).toBeGreaterThan(0)
    expect(first.countOf('produce')).toBe(0)
    expect(valuesOf(trio.topic)).toEqual(['a', 'b'])
  })
})

describe('a reader whose leader moves', () => {
  it.each<[string, (trio: Trio) => Promise<void> | void]>([
    ['that says so', (trio) => trio.cluster.elect('t', 0, 1)],
    [
      'that dies',
      async (trio) => {
        await trio.brokers[0].stop()
        trio.cluster.elect('t', 0, 1)
      },
    ],
    [
      'that hangs',
      async (trio) => {
        const before = trio.brokers[0].countOf('fetch')
        hang(trio.brokers[0])
        await asked(trio.brokers[0], 'fetch', before + 1)
        trio.cluster.elect('t', 0, 1)
      },
    ],
  ])('goes on where it was after one %s', async (_, move) => {
    await using trio = await startTrio()
    const [first, second] = trio.brokers
    fill(trio.topic, ['a', 'b'])
    await using client = clientOf([first])
    const reader = client.read('t', { maxWaitMs: 100 })
    expect(await take(reader, 2)).toEqual(['a', 'b'])
    await move(trio)
    fill(trio.topic, ['c', 'd'])
    trio.cluster.notify()
    expect(await take(reader, 2)).toEqual(['c', 'd'])
    expect(second.countOf('fetch')).toBeGreaterThan(0)
  })

  it('waits for a new leader that does not know yet how far its predecessor had come', async () => {
    await using trio = await startTrio()
    const [first, second] = trio.brokers
    fill(trio.topic, ['a', 'b'])
    await using client = clientOf([first])
    const reader = client.read('t', { maxWaitMs: 100 })
    expect(await take(reader, 2)).toEqual(['a', 'b'])
    second.script = ({ api, index }) => {
      if (api !== 'fetch') return undefined
      if (index < 2) return { kind: 'refuse-partitions', error: 'OFFSET_NOT_AVAILABLE' }
      return index < 4 ? { kind: 'behind', highWatermark: 1 } : undefined
    }
    trio.cluster.elect('t', 0, 1)
    fill(trio.topic, ['c'])
    trio.cluster.notify()
    expect(await take(reader, 1)).toEqual(['c'])
    expect(second.countOf('fetch')).toBeGreaterThanOrEqual(5)
  })
})
