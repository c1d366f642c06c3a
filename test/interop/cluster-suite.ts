// Three brokers in processes of their own and a real Redis; all foreign clients write and read at the same time while the
// broker that leads all their partitions and coordinates all their groups is killed and comes back. What became of each
// client is judged by itself. Needs the built command.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Client } from '../../client/index.ts'
import { readAll } from '../setup/cluster-load.ts'
import { inSync, leaderOf } from '../setup/cluster-state.ts'
import { ProcessCluster } from '../setup/cluster.ts'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { type ForeignClient, type ForeignVerb, type LoadOutcome, UNTOLD } from './foreign-client.ts'
import { valueOf } from './samples.ts'

export interface Candidate {
  readonly name: string
  readonly isThere: boolean
  readonly start: (brokers: string) => ForeignClient | Promise<ForeignClient>
  readonly lacks: readonly ForeignVerb[]
  /** It never looks for the coordinator of its group again, so that one must stay. */
  readonly needsItsCoordinator?: boolean
  /** Whether the console tools come with it. */
  readonly hasTools?: boolean
}

export interface ClusterSuite {
  readonly candidates: readonly Candidate[]
  /** Whether the tests of a client are run; says so where they are not. */
  readonly canRun: (what: string, isThere: boolean) => boolean
}

/** Leads everything and coordinates all groups, until it is killed. */
const VICTIM = 1
const SURVIVOR = 2
const OFFSETS_TOPIC = '__consumer_offsets'

/** One client through all that happens. What fails is kept, and told by its test. */
class Run {
  readonly name: string
  readonly topic: string
  readonly needsItsCoordinator: boolean
  readonly lacks: readonly ForeignVerb[]
  readonly #client: ForeignClient
  readonly read: string[] = []
  failure: Error | undefined
  outcome: LoadOutcome | undefined

  constructor({ name, lacks, needsItsCoordinator = false }: Candidate, client: ForeignClient) {
    this.name = name
    this.lacks = lacks
    this.needsItsCoordinator = needsItsCoordinator
    this.topic = `topic-of-${name.replaceAll(/[^a-z0-9]/gi, '-')}`
    this.#client = client
  }

  get client(): ForeignClient {
    if (this.failure !== undefined) throw this.failure
    return this.#client
  }

  async step(work: (client: ForeignClient) => Promise<unknown>): Promise<void> {
    if (this.failure !== undefined) return
    try {
      await work(this.#client)
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error))
    }
  }

  /** So many records more, and commits them. */
  async consume(count: number): Promise<void> {
    const records = await this.#client.ask('take', { member: this.name, count })
    this.read.push(...records.map(valueOf))
    // While the coordinator moves, a commit may be refused; then what was read may come again.
    await this.#client.ask('commit', { member: this.name }).catch(() => undefined)
  }

  async close(): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
  }
}

/** The names of groups that the broker coordinates, without end. */
async function* groupsOf(native: Client, broker: number): AsyncGenerator<string, undefined> {
  const [offsets] = await native.admin().describeTopics([OFFSETS_TOPIC])
  const partitions = offsets?.partitions ?? []
  for (let number = 0; ; number += 1) {
    const group = `group-${number}`
    let hash = 0
    for (const char of group) hash = (Math.imul(31, hash) + (char.codePointAt(0) ?? 0)) | 0
    const partition = (hash & 0x7fff_ffff) % partitions.length
    if (partitions.find((one) => one.partition === partition)?.leader === broker) yield group
  }
}

export function clusterSuite({ candidates, canRun }: ClusterSuite): void {
  describeWithRedis('a cluster of three brokers', () => {
    let redis: PrivateRedis
    let cluster: ProcessCluster
    let native: Client
    const runs = new Map<string, Run>()

    const all = (work: (run: Run) => (client: ForeignClient) => Promise<unknown>): Promise<unknown> =>
      Promise.all([...runs.values()].map((run) => run.step(work(run))))

    const runOf = (name: string): Run => {
      const run = runs.get(name)
      if (run === undefined) throw new Error(`${name} is not there`)
      return run
    }

    beforeAll(async () => {
      redis = await startRedis()
      cluster = await ProcessCluster.start({ redis: redis.url, args: ['--session-timeout-ms', '2s'] })
      native = connect({ brokers: cluster.addresses })
      const starting = candidates
        .filter(({ name, isThere }) => canRun(name, isThere))
        .map(async (candidate) => {
          const { name, start } = candidate
          // Who is told of one broker must find the others.
          runs.set(name, new Run(candidate, await start(cluster.address(SURVIVOR))))
        })
      await Promise.all(starting)
      // Makes the topic of the offsets, and waits until its leaders are there.
      await native
        .admin()
        .describeGroup('nobody')
        .catch(() => undefined)
      for (let partition = 0; partition < 16; partition += 1) await inSync(native.admin(), OFFSETS_TOPIC, 3, partition)
      await killUnderLoad()
    }, 120_000)

    afterAll(async () => {
      await Promise.all([...runs.values()].map((run) => run.close()))
      await native?.close({ timeoutMs: 500 }).catch(() => undefined)
      await cluster?.[Symbol.asyncDispose]()
      await redis?.stop()
    })

    async function killUnderLoad(): Promise<void> {
      await all(({ topic, lacks }) => async (client) => {
        const maker = lacks.includes('createTopics') ? runOf('kafkajs').client : client
        await maker.ask('createTopics', { topics: [{ topic, assignments: [[VICTIM, 2, 3]] }] })
      })
      for (const run of runs.values()) await run.step(() => inSync(native.admin(), run.topic, 3))
      const groups = { victim: groupsOf(native, VICTIM), survivor: groupsOf(native, SURVIVOR) }
      const named = new Map<Run, string>()
      for (const run of runs.values()) {
        const next = await groups[run.needsItsCoordinator ? 'survivor' : 'victim'].next()
        if (next.done !== true) named.set(run, next.value)
      }
      await all((run) => async (client) => {
        const { topic, name } = run
        await client.ask('load', { name, topic })
        await client.ask('join', { member: name, group: named.get(run) ?? '', topics: [topic], assignor: 'range' })
        await client.ask('loaded', { name, count: 200 })
        await run.consume(100)
      })
      await cluster.kill(VICTIM)
      await all((run) => async (client) => {
        await client.ask('loaded', { name: run.name, count: 200 })
        await run.consume(100)
      })
      await cluster.restart(VICTIM)
      for (const run of runs.values()) await run.step(() => inSync(native.admin(), run.topic, 3))
      await all((run) => async (client) => {
        await client.ask('loaded', { name: run.name, count: 100 })
        const outcome = await client.ask('endLoad', { name: run.name })
        run.outcome = outcome
        // What was read twice does not count; what is missing is waited for.
        for (;;) {
          const missing = outcome.acknowledged.length - new Set(run.read).size
          if (missing <= 0) return
          await run.consume(Math.min(missing, 500))
        }
      })
    }

    for (const { name, isThere, lacks, hasTools } of candidates) {
      const has = (...verbs: readonly ForeignVerb[]): boolean => !verbs.some((verb) => lacks.includes(verb))

      describe.skipIf(!canRun(name, isThere))(name, () => {
        it('writes as an idempotent producer across a kill of the leader: nothing lost, doubled or reordered', async () => {
          const { topic, client, outcome } = runOf(name)
          expect(client).toBeDefined()
          if (outcome === undefined) throw new Error('it did not come to an end')
          expect(outcome.failed).toEqual([])
          expect(outcome.acknowledged.length).toBeGreaterThanOrEqual(500)
          const stored = (await readAll(native, topic)).get(0) ?? []
          const numbers = stored.map(({ value }) => numberOf(value))
          expect(numbers.length).toBeGreaterThanOrEqual(outcome.acknowledged.length)
          expect(numbers).toEqual(numbers.map((_, index) => index))
          const offsets = new Map(stored.map(({ value, offset }) => [value, offset]))
          const isThere = ([value, offset]: readonly [string, number]): boolean =>
            offset === UNTOLD ? offsets.has(value) : offsets.get(value) === offset
          const wrong = outcome.acknowledged.filter((one) => !isThere(one))
          expect(wrong.slice(0, 3).map(([value, offset]) => ({ value, offset, stored: offsets.get(value) }))).toEqual(
            [],
          )
        })

        it('reads on in its group when a broker is killed: every record, in order', () => {
          const { client, outcome, read } = runOf(name)
          expect(client).toBeDefined()
          const acknowledged = new Set(outcome?.acknowledged.map(([value]) => value))
          const seen = [...new Set(read)]
          expect(seen.filter((value) => !acknowledged.has(value))).toEqual([])
          expect(seen.map(numberOf)).toEqual(seen.map((_, index) => index))
          // Some may come again after a kill, but not all of them.
          expect(read.length).toBeLessThan(2 * seen.length)
        })

        it('describes the three brokers and where replicas are', async () => {
          const { topic, client } = runOf(name)
          const { nodes } = await client.ask('describeCluster')
          expect(nodes.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([1, 2, 3])
          expect(nodes.map(({ address }) => address).toSorted()).toEqual(cluster.addresses.toSorted())
          const [described] = await client.ask('describeTopic', { topic })
          expect(described?.replicas).toEqual([1, 2, 3])
          expect(described?.isr.toSorted()).toEqual([1, 2, 3])
        })

        it.runIf(has('electLeaders'))('gives the preferred leader its place back', async () => {
          const { topic, client } = runOf(name)
          // The cluster may have done it by itself by now.
          expect(['none', 'ElectionNotNeededException', 'ELECTION_NOT_NEEDED']).toContain(
            (await client.ask('electLeaders', { topic, partition: 0 })) ?? 'none',
          )
          await expect.poll(() => leaderOf(native.admin(), topic)).toBe(VICTIM)
        })

        it.runIf(has('reassign'))('moves replicas to other brokers', async () => {
          const { client } = runOf(name)
          const topic = `moved-by-${name.replaceAll(/[^a-z0-9]/gi, '-')}`
          await client.ask('createTopics', { topics: [{ topic, assignments: [[1, 2]] }] })
          await inSync(native.admin(), topic, 2)
          await client.ask('reassign', { topic, partition: 0, replicas: [3, 2] })
          const replicas = async (): Promise<readonly number[] | undefined> =>
            (await client.ask('describeTopic', { topic }))[0]?.replicas
          await expect.poll(replicas, { timeout: 15_000 }).toEqual([3, 2])
        })

        it.runIf(hasTools === true)('moves replicas by kafka-reassign-partitions, which sees them arrive', async () => {
          const { client } = runOf(name)
          const topic = 'moved-by-a-tool'
          await client.ask('createTopics', { topics: [{ topic, assignments: [[2, 3]] }] })
          await inSync(native.admin(), topic, 2)
          await using folder = await temporaryFolder()
          const plan = join(folder.path, 'plan.json')
          const partitions = [{ topic, partition: 0, replicas: [1, 3], log_dirs: ['any', 'any'] }]
          await writeFile(plan, JSON.stringify({ version: 1, partitions }))
          const run = async (...args: readonly string[]): Promise<string> => {
            const main = 'org.apache.kafka.tools.reassign.ReassignPartitionsCommand'
            const words = ['--bootstrap-server', cluster.address(SURVIVOR), '--reassignment-json-file', plan, ...args]
            const { out, err } = await client.ask('tool', { main, args: words })
            return `${out}${err}`
          }
          expect(await run('--execute')).toContain(`Successfully started partition reassignment for ${topic}-0`)
          const state = (): Promise<string> => run('--verify', '--preserve-throttles')
          await expect.poll(state, { timeout: 15_000 }).toContain(`Reassignment of partition ${topic}-0 is completed.`)
        })

        it.runIf(has('reassign', 'reassignments'))('sees no replicas move when they have arrived', async () => {
          const { client } = runOf(name)
          await expect.poll(() => client.ask('reassignments'), { timeout: 15_000 }).toEqual({})
        })
      })
    }
  })
}

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'tidemark-interop-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** Of NAME:NUMBER. */
function numberOf(value: string): number {
  return Number(value.split(':').at(-1))
}
