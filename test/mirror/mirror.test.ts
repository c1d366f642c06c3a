// Topics copied from one broker to another, both in this process, over Kafka's protocol.

import { describe, expect, it } from 'vitest'
import { produce } from '../../broker/protocols/kafka/00-produce.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { KafkaSocket } from '../kafka/kafka-socket.ts'
import { batch } from '../storage/log-fixture.ts'
import { fill, makeTopic, memoryBroker, recordsOf, runMirror } from './mirror-fixture.ts'

describe('a mirror', () => {
  it('copies every record of every partition as it is, and counts and sums up both sides', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders', { 'max.message.bytes': '2000000', 'retention.ms': '86400000000' }, 3)
    await fill(source.client(), 'orders', 15, 20, 3)
    const { report, notes } = await runMirror(source.brokers, target.brokers)
    expect(notes).toEqual([])
    expect(report).toMatchObject({ isComplete: true, topics: [{ topic: 'orders', outcome: 'verified' }] })
    for (const { source: from, target: to, offsets } of report.topics[0]?.partitions ?? []) {
      expect(from).toEqual(to)
      expect(offsets).toBe('equal')
      expect(from.records).toBe(100)
    }
    for (const partition of [0, 1, 2]) {
      const records = await recordsOf(source.client(), 'orders', partition)
      expect(records).toHaveLength(100)
      expect(await recordsOf(target.client(), 'orders', partition)).toEqual(records)
    }
    const { config } = await target.client().admin().describeTopic('orders')
    const own = config.filter(({ isDefault }) => !isDefault).map(({ name, value }) => [name, value] as const)
    expect(Object.fromEntries(own)).toEqual({ 'max.message.bytes': '2000000', 'retention.ms': '86400000000' })
  })

  it('goes on where it ended when there is more, and does nothing when there is not', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    for (const expected of [100, 60, 0]) {
      await fill(source.client(), 'orders', expected / 20)
      const { report } = await runMirror(source.brokers, target.brokers)
      expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: expected }] })
    }
    expect(await recordsOf(target.client(), 'orders')).toEqual(await recordsOf(source.client(), 'orders'))
  })

  it('compares only what is new when it is told to', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fill(source.client(), 'orders', 5)
    await runMirror(source.brokers, target.brokers)
    await fill(source.client(), 'orders', 2)
    const { report } = await runMirror(source.brokers, target.brokers, { verification: 'new' })
    const sides = { source: { records: 40 }, target: { records: 40 } }
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: 40, ...sides }] })
    const nothing = await runMirror(source.brokers, target.brokers, { verification: 'none' })
    expect(nothing.report.topics[0]).toMatchObject({
      outcome: 'copied',
      partitions: [{ source: { records: undefined } }],
    })
  })

  it('adds the partitions that the source has got since', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fill(source.client(), 'orders', 1)
    await runMirror(source.brokers, target.brokers)
    await source.client().admin().addPartitions({ topic: 'orders', partitions: 3 })
    await fill(source.client(), 'orders', 3, 20, 3)
    const { report } = await runMirror(source.brokers, target.brokers)
    const partitions = [{ records: 20 }, { records: 20 }, { records: 20 }]
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions })
    const back = await runMirror(target.brokers, source.brokers)
    expect(back.report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: 0 }, {}, {}] })
  })

  it('begins where the source begins now, with the same offsets', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders', { 'segment.bytes': '2048' })
    await fill(source.client(), 'orders', 10)
    await source
      .client()
      .admin()
      .trim({ topic: 'orders', partitions: [{ partition: 0, beforeOffset: 73 }] })
    const { report } = await runMirror(source.brokers, target.brokers)
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ offsets: 'equal' }] })
    const records = await recordsOf(target.client(), 'orders')
    expect(records[0]?.offset).toBe(73)
    expect(records).toEqual(await recordsOf(source.client(), 'orders'))
    expect(await target.client().admin().offsets('orders', { at: 'start' })).toMatchObject([{ offset: 73 }])
  })

  it.each([true, false])(
    'finds no difference in what the source has dropped since (keeping offsets: %s)',
    async (keeps) => {
      await using source = await memoryBroker()
      await using target = await memoryBroker()
      await makeTopic(source, 'orders')
      await fill(source.client(), 'orders', 5)
      await runMirror(source.brokers, target.brokers, { keepsOffsets: keeps })
      await source
        .client()
        .admin()
        .trim({ topic: 'orders', partitions: [{ partition: 0, beforeOffset: 33 }] })
      await fill(source.client(), 'orders', 1)
      const { report } = await runMirror(source.brokers, target.brokers, { keepsOffsets: keeps })
      const sides = { source: { records: 87 }, target: { records: 87 } }
      expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: 20, ...sides }] })
      expect(await recordsOf(target.client(), 'orders')).toHaveLength(120)
    },
  )

  it('refuses a target with records that the source does not have, and says where', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await makeTopic(target, 'orders')
    await fill(source.client(), 'orders', 3)
    await target
      .client()
      .producer()
      .send({ topic: 'orders', messages: [{ value: Buffer.from('another') }] })
    const { report, notes } = await runMirror(source.brokers, target.brokers)
    expect(report).toMatchObject({ isComplete: false, topics: [{ outcome: 'failed' }] })
    expect(notes.join('\n')).toContain('MIRROR_DIVERGED')
    expect(await recordsOf(target.client(), 'orders')).toHaveLength(1)
  })

  it('finds a record that is another one at the target', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await makeTopic(target, 'orders')
    await fill(source.client(), 'orders', 1)
    const wrong = { value: Buffer.from('another'), timestamp: 5 }
    const right = { value: Buffer.from('the same'), timestamp: 6 }
    await source
      .client()
      .producer()
      .send({ topic: 'orders', messages: [right] })
    await target
      .client()
      .producer()
      .send({ topic: 'orders', messages: Array.from({ length: 20 }, () => wrong) })
    await target
      .client()
      .producer()
      .send({ topic: 'orders', messages: [right] })
    const { report } = await runMirror(source.brokers, target.brokers)
    expect(report.isComplete).toBe(false)
  })

  it('copies the others when a topic is deleted at the source meanwhile', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    for (const topic of ['deleted', 'kept']) {
      await makeTopic(source, topic, topic === 'deleted' ? { 'retention.ms': '86400000000' } : {}, 5)
      await fill(source.client(), topic, 3)
    }
    await makeTopic(target, 'deleted', { 'retention.ms': '-1' }, 5)
    let deletion: Promise<unknown> | undefined
    const onNote = (): void => void (deletion ??= source.client().admin().deleteTopics(['deleted']))
    const options = { patienceMs: 1_000, bytesPerSecond: 3_000, parallel: 1 }
    const { report, notes } = await runMirror(source.brokers, target.brokers, options, systemEnvironment, onNote)
    await deletion
    // The patience is spent once, not for each partition.
    expect(notes.filter((line) => line.includes('there is no topic deleted'))).toHaveLength(1)
    expect(report.isComplete).toBe(false)
    const outcomes = report.topics.map(({ topic, outcome }) => [topic, outcome])
    expect(Object.fromEntries(outcomes)).toEqual({ deleted: 'failed', kept: 'verified' })
  })

  it('refuses to copy a cluster to itself', async () => {
    await using broker = await memoryBroker()
    await makeTopic(broker, 'orders')
    const itself = `source and target are the same cluster: ${broker.brokers} is a broker of both`
    await expect(runMirror(broker.brokers, broker.brokers)).rejects.toThrow(itself)
  })

  it('shows what it would do, and does none of it', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await makeTopic(source, 'other')
    await fill(source.client(), 'orders', 2)
    const { report } = await runMirror(source.brokers, target.brokers, { isDryRun: true, topics: ['ord*'] })
    expect(report.topics).toMatchObject([
      { topic: 'orders', outcome: 'would be created', partitions: [{ source: { endOffset: 40 } }] },
    ])
    expect(await target.client().admin().listTopics()).toEqual([])
  })
})

describe('a mirror to a target that gives the offsets itself', () => {
  it('leaves the identity of the producer that wrote there before to that one', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    for (const broker of [source, target]) await makeTopic(broker, 'orders')
    const timestamp = Date.now()
    const socket = await KafkaSocket.connect(target.port)
    const send = async (value: string, baseSequence: number) => {
      const records = batch([value], { producerId: 7, producerEpoch: 0, baseSequence, timestamp })
      const topicData = [{ name: 'orders', partitionData: [{ index: 0, records }] }]
      const common = { transactionalId: undefined, acks: -1, timeoutMs: 10_000, keepsOffsets: false }
      return (await socket.ask(produce, 9, { ...common, topicData })).responses[0]?.partitionResponses[0]
    }
    await send('both', 0)
    const both = ['both', 'new'].map((value) => ({ value, timestamp, key: null }))
    for (const message of both)
      await source
        .client()
        .producer()
        .send({ topic: 'orders', messages: [message] })
    const { report } = await runMirror(source.brokers, target.brokers, { keepsOffsets: false })
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: 1 }] })
    expect(await send('its own', 1)).toMatchObject({ errorCode: 0, baseOffset: 2 })
  })

  it('copies every record once, through runs that follow one another', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    for (const expected of [60, 40]) {
      await fill(source.client(), 'orders', expected / 20)
      const { report } = await runMirror(source.brokers, target.brokers, { keepsOffsets: false })
      expect(report.topics[0]).toMatchObject({
        outcome: 'verified',
        partitions: [{ records: expected, offsets: 'equal' }],
      })
    }
    expect(await recordsOf(target.client(), 'orders')).toEqual(await recordsOf(source.client(), 'orders'))
  })

  it('says that the offsets are others where the source does not begin at 0, and goes on all the same', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fill(source.client(), 'orders', 5)
    await source
      .client()
      .admin()
      .trim({ topic: 'orders', partitions: [{ partition: 0, beforeOffset: 33 }] })
    const first = await runMirror(source.brokers, target.brokers, { keepsOffsets: false })
    expect(first.report.topics[0]).toMatchObject({
      outcome: 'verified',
      partitions: [{ records: 67, offsets: 'moved' }],
    })
    await fill(source.client(), 'orders', 1)
    const second = await runMirror(source.brokers, target.brokers, { keepsOffsets: false })
    expect(second.report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: 20 }] })
    const records = await recordsOf(source.client(), 'orders')
    const copies = await recordsOf(target.client(), 'orders')
    expect(copies.map(({ record }) => record)).toEqual(records.map(({ record }) => record))
    expect(copies[0]?.offset).toBe(0)
  })
})

describe('a mirror of a compacted topic', () => {
  const config = { 'cleanup.policy': 'compact', 'segment.bytes': '2048', 'min.cleanable.dirty.ratio': '0.1' }

  async function update(broker: TestBroker, rounds: number): Promise<void> {
    const producer = broker.client().producer({ lingerMs: 0 })
    for (let round = 0; round < rounds; round += 1) {
      const messages = Array.from({ length: 10 }, (_, key) => ({
        key: Buffer.from(`key ${key}`),
        value: Buffer.from(`${round}`.padEnd(100, '.')),
      }))
      await producer.send({ topic: 'state', messages })
    }
  }

  /** Resolves when records have gone, and no more go. */
  async function compacted(broker: TestBroker): Promise<void> {
    let before = -1
    const isSettled = async (): Promise<boolean> => {
      const count = (await recordsOf(broker.client(), 'state')).length
      const isSame = count === before
      before = count
      return isSame && count < 500
    }
    await expect.poll(isSettled, { timeout: 15_000, interval: 200 }).toBe(true)
  }

  it.each([true, false])(
    'copies what is left of it, holes and all, and goes on (keeping offsets: %s)',
    async (keeps) => {
      await using source = await startBroker({ dataDir: 'memory', compactionIntervalMs: 20, flushIntervalMs: 20 })
      await using target = await memoryBroker()
      await makeTopic(source, 'state', config)
      await update(source, 50)
      await compacted(source)
      const { report } = await runMirror(source.brokers, target.brokers, { keepsOffsets: keeps })
      expect(report.topics[0]).toMatchObject({
        outcome: 'verified',
        partitions: [{ offsets: keeps ? 'equal' : 'moved' }],
      })
      const records = await recordsOf(source.client(), 'state')
      const copies = await recordsOf(target.client(), 'state')
      expect(copies.map(({ record }) => record)).toEqual(records.map(({ record }) => record))
      const offsets = records.map(({ offset }, index) => (keeps ? offset : index))
      expect(copies.map(({ offset }) => offset)).toEqual(offsets)
      const [described] = await target.client().admin().describeTopics(['state'])
      const own = described?.config
        .filter(({ isDefault }) => !isDefault)
        .map(({ name, value }) => [name, value] as const)
      expect(Object.fromEntries(own ?? [])).toEqual(config)
    },
  )

  it('finds no difference where the target has compacted its copy meanwhile, and goes on', async () => {
    await using source = await memoryBroker()
    await using target = await startBroker({ dataDir: 'memory', compactionIntervalMs: 20, flushIntervalMs: 20 })
    await makeTopic(source, 'state', config)
    await update(source, 50)
    await runMirror(source.brokers, target.brokers)
    await compacted(target)
    await update(source, 2)
    const { report } = await runMirror(source.brokers, target.brokers)
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ records: 20, offsets: 'equal' }] })
    const last = (await recordsOf(source.client(), 'state')).slice(-10)
    expect((await recordsOf(target.client(), 'state')).slice(-10)).toEqual(last)
  })
})

describe('what groups have committed', () => {
  it('is committed at the target at the same records, and never set back', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fill(source.client(), 'orders', 5)
    await source
      .client()
      .admin()
      .trim({ topic: 'orders', partitions: [{ partition: 0, beforeOffset: 33 }] })
    const commit = (broker: TestBroker, groupId: string, to: number) =>
      broker.client().admin().resetOffsets({ groupId, topic: 'orders', to })
    await commit(source, 'billing', 50)
    await commit(source, 'done', 100)
    const first = await runMirror(source.brokers, target.brokers, { keepsOffsets: false, copiesGroups: true })
    expect(first.report.groups).toMatchObject([
      { group: 'billing', committed: 1, refusal: undefined },
      { group: 'done', committed: 1, refusal: undefined },
    ])
    const at = (groupId: string) => target.client().admin().fetchOffsets({ groupId })
    expect(await at('billing')).toMatchObject([{ offset: 17 }])
    expect(await at('done')).toMatchObject([{ offset: 67 }])
    await commit(target, 'billing', 60)
    const second = await runMirror(source.brokers, target.brokers, { keepsOffsets: false, copiesGroups: true })
    expect(second.report.groups).toMatchObject([{ group: 'billing', committed: 0, ahead: 1 }, { group: 'done' }])
    expect(await at('billing')).toMatchObject([{ offset: 60 }])
  })

  it('stays as it is for a group with members at the target, which is said', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    for (const broker of [source, target]) await makeTopic(broker, 'orders')
    await fill(source.client(), 'orders', 1)
    await source.client().admin().resetOffsets({ groupId: 'billing', topic: 'orders', to: 10 })
    const consumer = target.client().consumer({ groupId: 'billing', topics: ['orders'] })
    const assigned = new Promise((resolve) => consumer.on('assigned', resolve))
    const running = consumer.run({ eachMessage: async () => undefined })
    await assigned
    const { report, notes } = await runMirror(source.brokers, target.brokers, { copiesGroups: true })
    expect(report).toMatchObject({ isComplete: false, groups: [{ group: 'billing', committed: 0 }] })
    expect(notes.join('\n')).toContain('it has members at the target')
    await consumer.close()
    await running
  })
})

it('copies no faster than it is told to', async () => {
  await using source = await memoryBroker()
  await using target = await memoryBroker()
  await makeTopic(source, 'orders')
  await fill(source.client(), 'orders', 10)
  const begun = performance.now()
  const { report } = await runMirror(source.brokers, target.brokers, { bytesPerSecond: 20_000, keepsOffsets: false })
  const [partition] = report.topics[0]?.partitions ?? []
  // The last piece has not to be waited for.
  expect(performance.now() - begun).toBeGreaterThan(((partition?.bytes ?? 0) - 3_000) / 20)
})
