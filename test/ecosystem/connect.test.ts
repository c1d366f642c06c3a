// Kafka Connect in distributed mode, with the connectors for files that it comes with.

import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import type { Client } from '../../client/index.ts'
import { ConnectWorker, WORKER_GROUP, WORKER_TOPICS } from './connect-worker.ts'
import { describeWithProgram, jarsFolder } from './programs.ts'

const PATIENCE = { timeout: 40_000, interval: 200 }
const TOPIC = 'lines'

function lines(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `line ${from + index}`)
}

describeWithProgram('Kafka Connect', jarsFolder !== undefined, () => {
  const jars = jarsFolder ?? ''
  let broker: TestBroker
  let native: Client
  let folder: string
  let worker: ConnectWorker

  const file = (name: string): string => join(folder, name)
  const append = (some: readonly string[]): Promise<void> =>
    appendFile(file('in'), some.map((one) => `${one}\n`).join(''))
  const arrived = async (): Promise<string[]> => {
    const text = await readFile(file('out'), 'utf8').catch(() => '')
    return text.split('\n').slice(0, -1)
  }
  const source = (name: string, path: string, topic: string): Promise<void> =>
    worker.put(name, {
      'connector.class': 'org.apache.kafka.connect.file.FileStreamSourceConnector',
      'tasks.max': '1',
      file: path,
      topic,
      // Connect makes the topic, so that the broker need not.
      'topic.creation.default.partitions': '1',
      'topic.creation.default.replication.factor': '1',
    })

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-connect-'))
    broker = await startBroker({ dataDir: 'memory' })
    native = broker.client()
    worker = await ConnectWorker.start({ brokers: broker.brokers, jars, folder })
  })

  afterAll(async () => {
    await worker?.[Symbol.asyncDispose]()
    await native?.close()
    await broker?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  it('keeps what it knows in three compacted topics', async () => {
    for (const topic of WORKER_TOPICS) {
      const { config } = await native.admin().describeTopic(topic)
      expect(config.find(({ name }) => name === 'cleanup.policy')?.value, topic).toBe('compact')
    }
  })

  it('is a group that is described as any other', async () => {
    const group = async () => {
      const { state, members } = await native.admin().describeGroup(WORKER_GROUP)
      return { state, members: members.length }
    }
    // It joins after it has said that it serves.
    await expect.poll(group, PATIENCE).toEqual({ state: 'Stable', members: 1 })
  })

  it('carries the lines of a file into a topic, and from there into another file', async () => {
    await writeFile(file('in'), '')
    await append(lines(0, 500))
    await source('source', file('in'), TOPIC)
    await worker.put('sink', {
      'connector.class': 'org.apache.kafka.connect.file.FileStreamSinkConnector',
      'tasks.max': '1',
      file: file('out'),
      topics: TOPIC,
    })
    await expect.poll(arrived, PATIENCE).toHaveLength(500)
    expect(await arrived()).toEqual(lines(0, 500))
    await append(lines(500, 600))
    await expect.poll(arrived, PATIENCE).toEqual(lines(0, 600))
  })

  it('goes on where it was when the worker is stopped and comes back', async () => {
    const { port } = worker
    await worker.program.end('SIGTERM')
    await append(lines(600, 700))
    worker = await ConnectWorker.start({ brokers: broker.brokers, jars, folder, port })
    await expect.poll(arrived, PATIENCE).toHaveLength(700)
    expect(await arrived()).toEqual(lines(0, 700))
  })

  it('goes on when the worker is killed: nothing is missing', async () => {
    const { port } = worker
    await worker.program.end('SIGKILL')
    await append(lines(700, 800))
    worker = await ConnectWorker.start({ brokers: broker.brokers, jars, folder, port })
    await expect.poll(async () => new Set(await arrived()).size, PATIENCE).toBe(800)
    expect([...new Set(await arrived())]).toEqual(lines(0, 800))
  })

  it('goes on when the broker is killed and comes back: nothing is missing', async () => {
    await broker.restart({ crash: true })
    await append(lines(800, 900))
    await expect.poll(async () => new Set(await arrived()).size, PATIENCE).toBe(900)
    expect([...new Set(await arrived())]).toEqual(lines(0, 900))
  })

  it('shares its tasks among two workers, and has them back when one goes', async () => {
    for (const name of ['more-1', 'more-2']) {
      await writeFile(file(name), 'one line\n')
      await source(name, file(name), name)
    }
    const names = ['source', 'sink', 'more-1', 'more-2']
    const places = async (): Promise<string[]> => {
      const found = await Promise.all(names.map((name) => worker.status(name)))
      const all = found.flatMap((one) => (one === undefined ? [] : [one.connector].concat(one.tasks)))
      const running = all.filter(({ state }) => state === 'RUNNING')
      return running.length === 2 * names.length ? [...new Set(running.map((one) => one.worker_id))].toSorted() : []
    }
    await expect.poll(places, PATIENCE).toEqual([worker.id])
    const other = await ConnectWorker.start({ brokers: broker.brokers, jars, folder })
    try {
      await expect.poll(places, PATIENCE).toEqual([worker.id, other.id].toSorted())
      expect((await native.admin().describeGroup(WORKER_GROUP)).members).toHaveLength(2)
    } finally {
      await other.program.end('SIGTERM')
    }
    await expect.poll(places, PATIENCE).toEqual([worker.id])
  }, 120_000)
})
