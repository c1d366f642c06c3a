// Three brokers and a Redis, real processes, tormented at random while records are written and read: brokers are killed,
// paused, stopped and given new disks, Redis is killed, paused, emptied. After every round everything heals, and everything
// acknowledged must be there, once, in its order, at its offset, equal on all replicas. Runs until its rounds are over or
// an anomaly is found, whose logs are kept. Run from the checkout after a build:
//
//   node dist/scripts/torture-cluster.js [--rounds 20] [--seed 1] [--faults 6] [--keep DIR]
//
// The seed decides which faults come in which order and after how long; what they meet is up to the machine.

import { createHash } from 'node:crypto'
import { cp, mkdir, rm } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import yargs from 'yargs'
import { type Client, connect } from '../client/index.ts'
import { type Random, seededRandom } from '../shared/random.ts'
import { ProcessCluster } from '../test/setup/cluster.ts'
import { anomaliesOf, Load, pause, readAll } from '../test/setup/cluster-load.ts'
import { inSync } from '../test/setup/cluster-state.ts'
import { type PrivateRedis, startPrivateRedis } from '../test/setup/private-redis.ts'
import { findRedis, type RedisServer } from './ensure-redis.ts'

const PARTITIONS = 4
const REDIS_ARGS = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction']
const BROKER_ARGS = ['--session-timeout-ms', '2s']
/** A partition without an acknowledgement for so long after everything has healed is one that has stopped. */
const HEALED_WITHIN_MS = 30_000

/** What is being tormented. Invariant: a fault is healed before the next of the same thing. */
class Torment {
  readonly cluster: ProcessCluster
  readonly client: Client
  readonly #random: Random
  readonly #server: RedisServer
  readonly #redisDirectory: string
  #redis: PrivateRedis
  readonly #paused = new Set<number>()
  readonly #dead = new Set<number>()
  #isRedisPaused = false
  #isRedisDead = false
  readonly told: string[] = []

  constructor(
    parts: { cluster: ProcessCluster; client: Client; random: Random },
    redis: { server: RedisServer; directory: string; process: PrivateRedis },
  ) {
    this.cluster = parts.cluster
    this.client = parts.client
    this.#random = parts.random
    this.#server = redis.server
    this.#redisDirectory = redis.directory
    this.#redis = redis.process
  }

  /** One fault, or the healing of one. */
  async next(): Promise<void> {
    const id = 1 + this.#random.integer(3)
    switch (this.#random.integer(10)) {
      case 0:
      case 1:
      case 2:
        return this.#kill(id)
      case 3:
      case 4:
        return this.#pauseBroker(id)
      case 5:
        return this.#stop(id)
      case 6:
        return this.#killRedis()
      case 7:
        return this.#pauseRedis()
      case 8:
        return this.#emptyRedis()
      default:
        return this.heal()
    }
  }

  async heal(): Promise<void> {
    this.#tell('everything heals')
    if (this.#isRedisPaused) this.#redis.signal('SIGCONT')
    this.#isRedisPaused = false
    if (this.#isRedisDead) await this.#startRedis()
    for (const id of this.#paused) this.cluster.resume(id)
    this.#paused.clear()
    for (const id of this.#dead) await this.cluster.restart(id)
    this.#dead.clear()
  }

  async end(): Promise<void> {
    await this.#redis.stop()
  }

  #isTouched(id: number): boolean {
    return this.#paused.has(id) || this.#dead.has(id)
  }

  async #kill(id: number): Promise<void> {
    if (this.#dead.has(id)) {
      if (this.#isRedisDead || this.#isRedisPaused) return
      this.#tell(`broker ${id} starts`)
      this.#dead.delete(id)
      return this.cluster.restart(id)
    }
    this.#tell(`broker ${id} is killed`)
    this.#paused.delete(id)
    this.#dead.add(id)
    await this.cluster.kill(id)
  }

  async #pauseBroker(id: number): Promise<void> {
    if (this.#paused.delete(id)) {
      this.#tell(`broker ${id} goes on`)
      return this.cluster.resume(id)
    }
    if (this.#isTouched(id)) return
    this.#tell(`broker ${id} is paused`)
    this.#paused.add(id)
    this.cluster.pause(id)
  }

  async #stop(id: number): Promise<void> {
    if (this.#isTouched(id)) return
    this.#tell(`broker ${id} is stopped`)
    this.#dead.add(id)
    const code = await Promise.race([this.cluster.stop(id), pause(40_000).then(() => 'late' as const)])
    if (code !== 0)
      throw new Error(`broker ${id} was stopped and ended with ${code}:\n${this.cluster.logOf(id).slice(-3_000)}`)
  }

  async #killRedis(): Promise<void> {
    if (this.#isRedisDead) return this.#startRedis()
    this.#tell('Redis is killed')
    this.#isRedisDead = true
    this.#isRedisPaused = false
    this.#redis.signal('SIGCONT')
    await this.#redis.stop()
  }

  async #startRedis(): Promise<void> {
    this.#tell('Redis starts')
    const { port } = this.#redis
    this.#redis = await startPrivateRedis(this.#server, { port, directory: this.#redisDirectory, args: REDIS_ARGS })
    this.#isRedisDead = false
  }

  async #pauseRedis(): Promise<void> {
    if (this.#isRedisDead) return
    this.#tell(this.#isRedisPaused ? 'Redis goes on' : 'Redis is paused')
    this.#redis.signal(this.#isRedisPaused ? 'SIGCONT' : 'SIGSTOP')
    this.#isRedisPaused = !this.#isRedisPaused
  }

  async #emptyRedis(): Promise<void> {
    if (this.#isRedisDead || this.#isRedisPaused) return
    this.#tell('Redis is emptied')
    await new Promise<void>((resolve, reject) => {
      const socket = connectSocket(this.#redis.port, '127.0.0.1', () => socket.write('FLUSHALL\r\n'))
      socket.once('data', () => {
        socket.destroy()
        resolve()
      })
      socket.once('error', reject)
    })
  }

  #tell(what: string): void {
    this.told.push(`${new Date().toISOString()} ${what}`)
  }
}

/** Until all replicas of all partitions have the same bytes. @throws with what differs. */
async function equalReplicas({ cluster, client }: Torment, topic: string): Promise<void> {
  const [described] = await client.admin().describeTopics([topic])
  const topicId = described?.topicId ?? ''
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    await inSync(client.admin(), topic, 3, partition)
    const sums = (): string[] =>
      cluster.ids.map((id) => {
        const bytes = cluster.logBytes(id, topicId, partition) ?? Buffer.of()
        return `broker ${id}: ${bytes.length} bytes, ${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`
      })
    const isEqual = (): boolean => new Set(sums().map((sum) => sum.slice(sum.indexOf(':')))).size === 1
    for (let tries = 0; tries < 100 && !isEqual(); tries += 1) await pause(100)
    if (!isEqual()) throw new Error(`replicas of ${topic}-${partition} differ:\n  ${sums().join('\n  ')}`)
  }
}

/** A reader that follows from the start; offsets must come in order, without gaps but for control records. */
async function follow(client: Client, topic: string, signal: AbortSignal): Promise<number> {
  const next = new Map<number, number>()
  let count = 0
  try {
    for await (const { partition, offset } of client.read(topic, { from: 'start', maxWaitMs: 500, signal })) {
      const expected = next.get(partition) ?? 0
      if (offset < expected) throw new Error(`a reader was given ${partition}/${offset} after ${expected - 1}`)
      next.set(partition, offset + 1)
      count += 1
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return count
}

async function playRound(torment: Torment, random: Random, round: number, faults: number): Promise<string> {
  const { client } = torment
  const topic = `round-${round}`
  await client.admin().createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 3 }] })
  const stop = new AbortController()
  const following = follow(client, topic, stop.signal)
  following.catch(() => undefined)
  const load = new Load(client, { topic, partitions: PARTITIONS, writers: 8, burst: 5, pauseMs: 2 })
  await load.more(500, HEALED_WITHIN_MS)
  for (let fault = 0; fault < faults; fault += 1) {
    await torment.next()
    await pause(100 + random.integer(4_000))
  }
  await torment.heal()
  const healedAt = performance.now()
  await load.more(1_000, HEALED_WITHIN_MS)
  await load.stop()
  const content = await readAll(client, topic, HEALED_WITHIN_MS)
  const anomalies = anomaliesOf(load, content)
  stop.abort()
  const followed = await following
  if (anomalies.length > 0) {
    throw new Error(
      anomalies
        .slice(0, 20)
        .map(({ kind, what }) => `${kind}: ${what}`)
        .join('\n'),
    )
  }
  await equalReplicas(torment, topic)
  const { failed } = load
  await client.admin().deleteTopics([topic])
  const gaps = `longest gap ${Math.round(load.longestGapMs())} ms, ${Math.round(load.firstAfter(healedAt) ?? 0)} ms from healed to writing`
  return `${load.acknowledged.length} acknowledged, ${failed.length} failed, ${followed} read on the way, ${gaps}`
}

const flags = await yargs(process.argv.slice(2))
  .option('rounds', { type: 'number', default: 20, describe: 'How many rounds' })
  .option('seed', { type: 'number', default: 1, describe: 'Of the first round; each round has the next' })
  .option('faults', { type: 'number', default: 6, describe: 'Faults of a round' })
  .option('verbose', { type: 'boolean', default: false, describe: 'Tell the faults of rounds that went well, too' })
  .option('keep', {
    type: 'string',
    default: join(tmpdir(), 'tidemark-torture'),
    describe: 'Where an anomaly leaves its traces',
  })
  .strict()
  .parseAsync()

const server = await findRedis()
if (server === undefined) throw new Error('there is no redis-server; node dist/scripts/ensure-redis.js gets one')
for (let round = 0; round < flags.rounds; round += 1) {
  const seed = flags.seed + round
  const random = seededRandom(seed)
  const directory = join(tmpdir(), `tidemark-torture-redis-${process.pid}-${seed}`)
  await mkdir(directory, { recursive: true })
  const redis = await startPrivateRedis(server, { directory, args: REDIS_ARGS })
  await using cluster = await ProcessCluster.start({ redis: redis.url, args: BROKER_ARGS })
  const client = connect({ brokers: cluster.addresses })
  const torment = new Torment({ cluster, client, random }, { server, directory, process: redis })
  try {
    console.log(`seed ${seed}: ${await playRound(torment, random, round, flags.faults)}`)
    if (flags.verbose) console.log(`  ${torment.told.join('\n  ')}`)
  } catch (error) {
    const kept = join(flags.keep, `seed-${seed}`)
    await cp(cluster.root, kept, { recursive: true })
    console.error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`)
    console.error(`  ${torment.told.join('\n  ')}\n  logs and data are in ${kept}`)
    process.exitCode = 1
  } finally {
    await client.close({ timeoutMs: 500 }).catch(() => undefined)
    await torment.end()
    await rm(directory, { recursive: true, force: true })
  }
}
