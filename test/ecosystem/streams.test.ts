// Kafka Streams, at least once: a word count with a store, the topic of its changes, and a topic for repartitioning.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import type { Client } from '../../client/index.ts'
import { compile, JavaProgram } from './java-program.ts'
import { describeWithProgram, jarsFolder } from './programs.ts'

const PATIENCE = { timeout: 40_000, interval: 200 }
const START_LIMIT_MS = 40_000
const APPLICATION = 'words'
const REPARTITION = 'words-by-word-repartition'
const CHANGELOG = 'words-counts-changelog'
const PARTITIONS = 2

describeWithProgram('Kafka Streams', jarsFolder !== undefined, () => {
  const jars = jarsFolder ?? ''
  let broker: TestBroker
  let native: Client
  let folder: string
  let classes: string
  let application: JavaProgram

  const start = async (state: string): Promise<JavaProgram> => {
    const classPath = [classes, `${jars}/*`]
    const program = new JavaProgram({ main: 'WordCount', args: [broker.brokers, join(folder, state)], classPath })
    await program.until('state RUNNING', START_LIMIT_MS)
    return program
  }
  const write = async (...lines: readonly string[]): Promise<void> => {
    const messages = lines.map((line, index) => ({ value: Buffer.from(line), partition: index % PARTITIONS }))
    await native.producer().send({ topic: 'text', messages })
  }
  /** The last count of each word. */
  const counts = async (): Promise<Record<string, number>> => {
    const last: Record<string, number> = {}
    for await (const { key, value } of native.read('counted', { from: 'start', to: 'end' })) {
      last[String(key)] = Number(String(value))
    }
    return last
  }
  const settingOf = async (topic: string, name: string): Promise<string | undefined> => {
    const { config } = await native.admin().describeTopic(topic)
    return config.find((one) => one.name === name)?.value
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-streams-'))
    classes = await compile(fileURLToPath(new URL('java/WordCount.java', import.meta.url)), jars)
    broker = await startBroker({ dataDir: 'memory' })
    native = broker.client()
    const topics = ['text', 'counted'].map((topic) => ({ topic, numPartitions: PARTITIONS }))
    await native.admin().createTopics({ topics })
    application = await start('state')
  })

  afterAll(async () => {
    await application?.[Symbol.asyncDispose]()
    await native?.close()
    await broker?.stop()
    for (const one of [folder, classes]) await rm(one, { recursive: true, force: true })
  })

  it('counts words in a store', async () => {
    await write('one two two', 'three three three', 'one')
    await expect.poll(counts, PATIENCE).toEqual({ one: 2, two: 2, three: 3 })
  })

  it('makes the topics that it wants for itself, and as it wants them', async () => {
    for (const topic of [REPARTITION, CHANGELOG]) {
      expect((await native.admin().describeTopic(topic)).partitions, topic).toHaveLength(PARTITIONS)
    }
    expect(await settingOf(CHANGELOG, 'cleanup.policy')).toBe('compact')
    expect(await settingOf(REPARTITION, 'cleanup.policy')).toBe('delete')
  })

  it('deletes what it has repartitioned', async () => {
    const left = async (): Promise<number> => {
      const [starts, ends] = await Promise.all([
        native.admin().offsets(REPARTITION, { at: 'start' }),
        native.admin().offsets(REPARTITION, { at: 'end' }),
      ])
      const sum = (rows: typeof starts): number => rows.reduce((total, { offset }) => total + (offset ?? 0), 0)
      expect(sum(ends)).toBeGreaterThan(0)
      return sum(ends) - sum(starts)
    }
    await expect.poll(left, PATIENCE).toBe(0)
  })

  it('goes on where it was when it is stopped and comes back', async () => {
    await application.end('SIGTERM')
    await write('one four')
    application = await start('state')
    await expect.poll(counts, PATIENCE).toEqual({ one: 3, two: 2, three: 3, four: 1 })
  })

  it('restores its store from the topic of its changes when its own folder is gone', async () => {
    await application.end('SIGTERM')
    await rm(join(folder, 'state'), { recursive: true })
    application = await start('state')
    expect(application.hasSaid('restored counts')).toBe(true)
    await write('one two three four')
    await expect.poll(counts, PATIENCE).toEqual({ one: 4, two: 3, three: 4, four: 2 })
  })

  it('goes on when the broker is killed and comes back', async () => {
    await broker.restart({ crash: true })
    await write('four four')
    await expect.poll(async () => (await counts())['four'], PATIENCE).toBeGreaterThanOrEqual(4)
  })

  it('shares its tasks among two processes, and one counts all when the other goes', async () => {
    const members = async (): Promise<number> => (await native.admin().describeGroup(APPLICATION)).members.length
    const before = await counts()
    const other = await start('state-2')
    try {
      await expect.poll(members, PATIENCE).toBe(2)
      await write('five', 'five')
      await expect.poll(async () => (await counts())['five'], PATIENCE).toBeGreaterThanOrEqual(2)
    } finally {
      await other.end('SIGTERM')
    }
    await write('one', 'one', 'two', 'two')
    const more = async (word: string): Promise<number> => ((await counts())[word] ?? 0) - (before[word] ?? 0)
    await expect.poll(() => more('one'), PATIENCE).toBeGreaterThanOrEqual(2)
    await expect.poll(() => more('two'), PATIENCE).toBeGreaterThanOrEqual(2)
  }, 120_000)
})
