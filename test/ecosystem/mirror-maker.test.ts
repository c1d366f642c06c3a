// Kafka's MirrorMaker 2 in a process of its own, from one tidemark to another.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import type { Client } from '../../client/index.ts'
import { numbered, samples, toMessages, toPlain } from '../interop/samples.ts'
import { propertiesOf } from './connect-worker.ts'
import { JavaProgram } from './java-program.ts'
import { describeWithProgram, jarsFolder } from './programs.ts'

const PATIENCE = { timeout: 60_000, interval: 300 }
const GROUP = 'billing'
/** As it is called where it came from, and where it is mirrored to. */
const TOPIC = 'orders'
const MIRRORED = 'one.orders'

interface Side {
  readonly broker: TestBroker
  readonly native: Client
}

async function startSide(): Promise<Side> {
  const broker = await startBroker({ dataDir: 'memory' })
  return { broker, native: broker.client() }
}

describeWithProgram('MirrorMaker 2', jarsFolder !== undefined, () => {
  let one: Side
  let two: Side
  let folder: string
  let mirror: JavaProgram

  const start = async (): Promise<JavaProgram> => {
    const settings = {
      clusters: 'one, two',
      'one.bootstrap.servers': one.broker.brokers,
      'two.bootstrap.servers': two.broker.brokers,
      'one->two.enabled': 'true',
      'one->two.topics': 'orders.*',
      'one->two.groups': GROUP,
      'two->one.enabled': 'false',
      // One broker each.
      'replication.factor': '1',
      'offset-syncs.topic.replication.factor': '1',
      'checkpoints.topic.replication.factor': '1',
      'heartbeats.topic.replication.factor': '1',
      'config.storage.replication.factor': '1',
      'offset.storage.replication.factor': '1',
      'status.storage.replication.factor': '1',
      // Sooner than by itself.
      'refresh.topics.interval.seconds': '1',
      'refresh.groups.interval.seconds': '1',
      'sync.topic.configs.interval.seconds': '1',
      'sync.group.offsets.enabled': 'true',
      'sync.group.offsets.interval.seconds': '1',
      'emit.checkpoints.interval.seconds': '1',
      'offset.lag.max': '0',
      'offset.flush.interval.ms': '500',
    }
    const file = join(folder, 'mirror.properties')
    await writeFile(file, propertiesOf(settings))
    const main = 'org.apache.kafka.connect.mirror.MirrorMaker'
    const program = new JavaProgram({ main, args: [file], classPath: [`${jarsFolder ?? ''}/*`] })
    await program.until('Kafka MirrorMaker started', 60_000)
    return program
  }
  const arrived = async (): Promise<ReturnType<typeof toPlain>[]> => {
    const found: ReturnType<typeof toPlain>[] = []
    for await (const message of two.native.read(MIRRORED, { from: 'start', to: 'end' })) found.push(toPlain(message))
    return found
  }
  const settingOf = async (name: string): Promise<string | undefined> => {
    const { config } = await two.native.admin().describeTopic(MIRRORED)
    return config.find((each) => each.name === name)?.value
  }
  const records = samples()

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-mirror-'))
    one = await startSide()
    two = await startSide()
    const wish = { topic: TOPIC, numPartitions: 2, config: { 'retention.ms': '123456789' } }
    await one.native.admin().createTopics({ topics: [wish] })
    await one.native.producer().send({ topic: TOPIC, messages: toMessages(records) })
    mirror = await start()
  })

  afterAll(async () => {
    await mirror?.[Symbol.asyncDispose]()
    for (const side of [one, two]) {
      await side?.native.close()
      await side?.broker.stop()
    }
    await rm(folder, { recursive: true, force: true })
  })

  it('carries records over byte for byte', async () => {
    await expect.poll(arrived, PATIENCE).toHaveLength(records.length)
    expect(await arrived()).toEqual(
      records.map((record, offset) => Object.assign({}, record, { topic: MIRRORED, offset })),
    )
  })

  it('makes the topic as it is on the other side, and follows when it changes', async () => {
    expect((await two.native.admin().describeTopic(MIRRORED)).partitions).toHaveLength(2)
    await expect.poll(() => settingOf('retention.ms'), PATIENCE).toBe('123456789')
    await one.native.admin().alterTopic({ topic: TOPIC, config: { 'retention.ms': '987654321' } })
    await expect.poll(() => settingOf('retention.ms'), PATIENCE).toBe('987654321')
  })

  it('carries over what a group has committed', async () => {
    await one.native.admin().resetOffsets({ groupId: GROUP, topic: TOPIC, to: 'end' })
    const committed = async (): Promise<number | undefined> => {
      const found = await two.native.admin().fetchOffsets({ groupId: GROUP })
      return found.find(({ topic, partition }) => topic === MIRRORED && partition === 0)?.offset
    }
    await expect.poll(committed, PATIENCE).toBe(records.length)
  })

  it('goes on where it was when it is stopped and comes back', async () => {
    await mirror.end('SIGTERM')
    await one.native.producer().send({ topic: TOPIC, messages: toMessages(numbered(10)) })
    mirror = await start()
    const all = [...records, ...numbered(10)].map(({ value }) => value)
    await expect.poll(async () => (await arrived()).length, PATIENCE).toBeGreaterThanOrEqual(all.length)
    expect((await arrived()).map(({ value }) => value)).toEqual(all)
  })
})
