// Kafka Connect and Streams on three brokers, of which each is killed and comes back while they run. Needs the built command.

import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, type Client } from '../../client/index.ts'
import { inSync } from '../setup/cluster-state.ts'
import { ProcessCluster } from '../setup/cluster.ts'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { ConnectWorker, WORKER_TOPICS } from './connect-worker.ts'
import { compile, JavaProgram } from './java-program.ts'
import { describeWithProgram, jarsFolder } from './programs.ts'

const PATIENCE = { timeout: 60_000, interval: 200 }
const LINES = 'lines'
const ROUNDS = [1, 2, 3]
const EACH = 100

describeWithRedis('three brokers', () => {
  describeWithProgram('Kafka Connect and Streams', jarsFolder !== undefined, () => {
    const jars = jarsFolder ?? ''
    let redis: PrivateRedis
    let cluster: ProcessCluster
    let native: Client
    let folder: string
    let classes: string
    let worker: ConnectWorker
    let streams: JavaProgram

    const file = (name: string): string => join(folder, name)
    const lines = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, index) => `line ${from + index}`)
    const append = (some: readonly string[]): Promise<void> =>
      appendFile(file('in'), some.map((one) => `${one}\n`).join(''))
    /** Those that came again are told once. */
    const arrived = async (): Promise<string[]> => {
      const text = await readFile(file('out'), 'utf8').catch(() => '')
      return [...new Set(text.split('\n').slice(0, -1))]
    }
    const counts = async (): Promise<Map<string, number>> => {
      const last = new Map<string, number>()
      for await (const { key, value } of native.read('counted', { from: 'start', to: 'end' })) {
        last.set(String(key), Number(String(value)))
      }
      return last
    }

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tidemark-programs-'))
      classes = await compile(fileURLToPath(new URL('java/WordCount.java', import.meta.url)), jars)
      redis = await startRedis()
      cluster = await ProcessCluster.start({ redis: redis.url, args: ['--session-timeout-ms', '2s'] })
      native = connect({ brokers: cluster.addresses })
      const brokers = cluster.addresses.join(',')
      // While a broker is away, nobody could make them with three replicas.
      const topics = ['text', 'counted'].map((topic) => ({ topic, numPartitions: 2, replicationFactor: 3 }))
      const one = { topic: LINES, numPartitions: 1, replicationFactor: 3 }
      await native.admin().createTopics({ topics: [...topics, one] })
      worker = await ConnectWorker.start({ brokers, jars, folder, replicationFactor: 3 })
      await writeFile(file('in'), '')
      await worker.put('source', {
        'connector.class': 'org.apache.kafka.connect.file.FileStreamSourceConnector',
        file: file('in'),
        topic: LINES,
      })
      await worker.put('sink', {
        'connector.class': 'org.apache.kafka.connect.file.FileStreamSinkConnector',
        file: file('out'),
        topics: LINES,
      })
      const classPath = [classes, `${jars}/*`]
      streams = new JavaProgram({ main: 'WordCount', args: [brokers, join(folder, 'state')], classPath })
      await streams.until('state RUNNING', 60_000)
    }, 180_000)

    afterAll(async () => {
      await worker?.[Symbol.asyncDispose]()
      await streams?.[Symbol.asyncDispose]()
      await native?.close({ timeoutMs: 500 }).catch(() => undefined)
      await cluster?.[Symbol.asyncDispose]()
      await redis?.stop()
      for (const one of [folder, classes]) await rm(one, { recursive: true, force: true })
    })

    it('go on when each of the brokers is killed in turn: no line and no word is missing', async () => {
      for (const round of ROUNDS) {
        const before = (round - 1) * 2 * EACH
        const word = `word${round}`
        const write = async (): Promise<void> => {
          const messages = Array.from({ length: EACH }, () => ({ value: Buffer.from(`${word} all`) }))
          await native.producer().send({ topic: 'text', messages })
        }
        await append(lines(before, before + EACH))
        await write()
        await cluster.kill(round)
        await append(lines(before + EACH, before + 2 * EACH))
        await write()
        await expect.poll(arrived, PATIENCE).toHaveLength(before + 2 * EACH)
        await expect.poll(async () => (await counts()).get(word), PATIENCE).toBeGreaterThanOrEqual(2 * EACH)
        await cluster.restart(round)
        for (const topic of [LINES, ...WORKER_TOPICS, 'text', 'counted', 'words-counts-changelog']) {
          await inSync(native.admin(), topic, 3)
        }
      }
      expect(await arrived()).toEqual(lines(0, ROUNDS.length * 2 * EACH))
      expect((await counts()).get('all')).toBeGreaterThanOrEqual(ROUNDS.length * 2 * EACH)
    }, 240_000)
  })
})
