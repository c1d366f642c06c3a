// Copying from a real Kafka and to one: transactions, compaction, times of the broker, groups, and a copy that was killed.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { CompressionTypes, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemEnvironment } from '../../client/environment.ts'
import { KafkaCluster } from '../../broker/mirror/kafka-cluster.ts'
import { startBroker } from '../../broker/testing.ts'
import { Tidemark } from '../cli/tidemark-process.ts'
import { describeWithClient, hasJava, kcat } from '../interop/clients.ts'
import { type KafkaBroker, KAFKA_VERSION, startKafka } from './kafka-broker.ts'
import { addressOf, fill, makeTopic, memoryBroker, recordsOf, runMirror } from './mirror-fixture.ts'

interface Message {
  readonly partition: number
  readonly offset: number
  readonly record: string
}

describeWithClient(`Kafka ${KAFKA_VERSION} (Java) and kcat`, hasJava(KAFKA_VERSION) && kcat !== undefined, () => {
  let kafka: KafkaBroker
  let source: Kafka

  beforeAll(async () => {
    kafka = await startKafka()
    const cluster = new KafkaCluster(systemEnvironment, {
      name: 'Kafka',
      bootstrap: [addressOf(kafka.brokers)],
      clientId: 'test',
      requestTimeoutMs: 10_000,
      patienceMs: 90_000,
      signal: new AbortController().signal,
    })
    await cluster.topics()
    cluster.close()
    source = new Kafka({
      brokers: [kafka.brokers],
      logLevel: logLevel.NOTHING,
      retry: { retries: 20, maxRetryTime: 1_000 },
    })
    await fillKafka(source)
  }, 120_000)

  afterAll(async () => await kafka?.[Symbol.asyncDispose]())

  it('is copied with offsets, times, settings and groups; what was aborted is left out', async () => {
    await using target = await startBroker({ dataDir: 'memory' })
    const { report, notes } = await runMirror(kafka.brokers, target.brokers, { copiesGroups: true })
    expect(notes).toEqual([])
    expect(report.isComplete).toBe(true)
    for (const { outcome, partitions } of report.topics) {
      expect(outcome).toBe('verified')
      for (const { offsets, source: from, target: to } of partitions) {
        expect(offsets).toBe('equal')
        expect(to.checksum).toBe(from.checksum)
      }
    }
    const sums = Object.fromEntries(
      report.topics.map(({ topic, partitions }) => [topic, partitions.map(recordsOfSide)]),
    )
    expect(sums).toMatchObject({ plain: [80, 80], transactions: [40], stamped: [30] })
    expect(report.topics.find(({ topic }) => topic === 'transactions')?.partitions[0]?.abortedRecords).toBe(20)
    for (const topic of ['plain', 'transactions', 'state', 'stamped']) {
      expect(await readKafka(target.brokers, topic)).toEqual(await readKafka(kafka.brokers, topic))
    }
    const [state] = await target.client().admin().describeTopics(['state'])
    expect(state?.config.find(({ name }) => name === 'cleanup.policy')).toMatchObject({ value: 'compact' })
    const committed = await target.client().admin().fetchOffsets({ groupId: 'billing' })
    expect(committed).toMatchObject([
      { topic: 'plain', partition: 0, offset: 17 },
      { topic: 'transactions', partition: 0, offset: 25 },
    ])
  })

  it('takes a copy of what has holes, closes them, and takes groups to their records', async () => {
    await using middle = await memoryBroker()
    await runMirror(kafka.brokers, middle.brokers, { topics: ['transactions'], copiesGroups: true })
    await source.admin().deleteTopics({ topics: ['transactions'] })
    await source.admin().deleteGroups(['billing'])
    // Deleting takes the broker a moment, in which a new topic of the name is refused.
    const { report } = await runMirror(middle.brokers, kafka.brokers, { topics: ['transactions'], copiesGroups: true })
    expect(report.topics).toMatchObject([{ outcome: 'verified', partitions: [{ records: 40, offsets: 'moved' }] }])
    const before = await recordsOf(middle.client(), 'transactions')
    const after = await readKafka(kafka.brokers, 'transactions')
    expect(after.map(({ offset }) => offset)).toEqual(Array.from({ length: 40 }, (_, offset) => offset))
    const admin = source.admin()
    await admin.connect()
    const [committed] = await admin.fetchOffsets({ groupId: 'billing', topics: ['transactions'] })
    await admin.disconnect()
    const index = before.findIndex(({ offset }) => offset >= 25)
    expect(committed?.partitions).toMatchObject([{ partition: 0, offset: String(index) }])
  })

  it('has every record once when the command was killed half way', async () => {
    await using broker = await memoryBroker()
    await makeTopic(broker, 'orders')
    await fill(broker.client(), 'orders', 60)
    const words = ['mirror', '--from', broker.brokers, '--to', kafka.brokers, '--topics', 'orders']
    for (const end of [100, 600]) {
      const slow = new Tidemark([...words, '--rate', '30000'])
      await expect.poll(() => endOf(source, 'orders'), { timeout: 20_000 }).toBeGreaterThan(end)
      slow.child.kill('SIGKILL')
      await once(slow.child, 'close')
    }
    const { code, stderr } = await new Tidemark(words).finished()
    expect(stderr).toContain('complete')
    expect(code).toBe(0)
    expect(await readKafka(kafka.brokers, 'orders')).toEqual(await readKafka(broker.brokers, 'orders'))
  })
})

function recordsOfSide({ target }: { readonly target: { readonly records: number | undefined } }): number | undefined {
  return target.records
}

async function fillKafka(kafka: Kafka): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  const state = { 'cleanup.policy': 'compact', 'segment.ms': '200', 'min.cleanable.dirty.ratio': '0.01' }
  const entries = (config: Record<string, string>) => Object.entries(config).map(([name, value]) => ({ name, value }))
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      { topic: 'plain', numPartitions: 2, configEntries: entries({ 'retention.ms': '999999999999' }) },
      { topic: 'transactions', numPartitions: 1 },
      { topic: 'state', numPartitions: 1, configEntries: entries(state) },
      { topic: 'stamped', numPartitions: 1, configEntries: entries({ 'message.timestamp.type': 'LogAppendTime' }) },
    ],
  })
  const producer = kafka.producer()
  await producer.connect()
  for (let batch = 0; batch < 8; batch += 1) {
    const compression = batch % 2 === 0 ? CompressionTypes.GZIP : CompressionTypes.None
    const messages = Array.from({ length: 20 }, (_, index) => ({
      key: index % 3 === 0 ? null : `key ${index}`,
      value: `batch ${batch}, record ${index}`,
      timestamp: String(1_700_000_000_000 + batch * 1_000 + index),
      partition: batch % 2,
      ...(index % 4 === 0 ? { headers: { trace: `${batch}-${index}` } } : {}),
    }))
    await producer.send({ topic: 'plain', messages, compression })
    const updates = Array.from({ length: 10 }, (_, index) => ({
      key: `key ${index % 7}`,
      value: index === 3 ? null : `batch ${batch}, record ${index}`,
    }))
    await producer.send({ topic: 'state', messages: updates })
  }
  await producer.send({ topic: 'stamped', messages: Array.from({ length: 30 }, (_, index) => ({ value: `${index}` })) })
  await producer.disconnect()
  const transactional = kafka.producer({ transactionalId: 'test', maxInFlightRequests: 1, idempotent: true })
  await transactional.connect()
  for (let number = 0; number < 6; number += 1) {
    const transaction = await transactional.transaction()
    const messages = Array.from({ length: 10 }, (_, index) => ({ value: `transaction ${number}, record ${index}` }))
    await transaction.send({ topic: 'transactions', messages })
    await (number % 3 === 1 ? transaction.abort() : transaction.commit())
  }
  await transactional.disconnect()
  await admin.setOffsets({ groupId: 'billing', topic: 'plain', partitions: [{ partition: 0, offset: '17' }] })
  await admin.setOffsets({ groupId: 'billing', topic: 'transactions', partitions: [{ partition: 0, offset: '25' }] })
  await admin.disconnect()
}

/** The end of partition 0; 0 while there is none. */
async function endOf(kafka: Kafka, topic: string): Promise<number> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const names = await admin.listTopics()
    if (!names.includes(topic)) return 0
    const [end] = await admin.fetchTopicOffsets(topic)
    return Number(end?.high ?? 0)
  } finally {
    await admin.disconnect()
  }
}

/** Everything of a topic, as a client of Kafka's reads it that sees committed transactions only. */
async function readKafka(brokers: string, topic: string): Promise<readonly Message[]> {
  if (kcat === undefined) throw new Error('kcat is not there')
  const words = [
    '-C',
    '-b',
    brokers,
    '-t',
    topic,
    '-o',
    'beginning',
    '-e',
    '-q',
    '-Z',
    '-X',
    'isolation.level=read_committed',
  ]
  const format = ['-f', '%p|%o|%T|%k|%s|%h\n']
  const { stdout } = await promisify(execFile)(kcat.bin, [...words, ...format], {
    env: { ...process.env, ...kcat.env },
  })
  const found = stdout
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [partition, offset, ...record] = line.split('|')
      return { partition: Number(partition), offset: Number(offset), record: record.join('|') }
    })
  return found.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset)
}
