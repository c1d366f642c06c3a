// Side by side with Apache Kafka: the same requests, encoded beforehand, from the same load generator, one after the other on this
// machine in one run. Every figure is a ratio, ours to Kafka's. Run from the checkout after a build:
//
//   node dist/scripts/bench-vs-kafka.js --kafka SCRIPT --load PROGRAM [--only NAME,…] [--json] [--runs 3]
//
// SCRIPT starts and stops Kafka (`SCRIPT up NODES`, which prints pids=…; `SCRIPT down`), on 127.0.0.1 from port 29092 on.
// PROGRAM is the load generator (`PROGRAM produce|fetch|e2e|create -addr … -topic …`), which prints KEY=VALUE words. Of
// each work all runs are made, the first of each side is thrown away as its warm-up, and the medians are compared.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import yargs from 'yargs'
import { must } from '../shared/assert.ts'
import { sleep, systemTimers } from '../shared/time.ts'
import { ProcessCluster } from '../test/setup/cluster.ts'
import { type PrivateRedis, startPrivateRedis } from '../test/setup/private-redis.ts'
import { findRedis } from './ensure-redis.ts'

/** A broker, or three of them, that the load is put on. */
interface Side {
  readonly name: 'tidemark' | 'kafka'
  readonly address: string
  readonly pids: readonly number[]
  readonly readyMs: number
}

type Figures = Readonly<Record<string, number>>

interface Goal {
  readonly figure: string
  /** Ours divided by Kafka's. */
  readonly atLeast?: number
  readonly atMost?: number
}

interface Work {
  readonly name: string
  readonly nodes: 1 | 3
  readonly partitions?: number
  readonly configs?: string
  /** What is written first, without being measured. */
  readonly before?: readonly string[]
  readonly load: readonly string[]
  readonly goals: readonly Goal[]
}

const THROUGHPUT = 'MB/s'
const CPU = 'cpuSecondsPerGB'
const KAFKA_PORT = 29_092
const CLI = fileURLToPath(new URL('../broker/cli.js', import.meta.url))

const records = (count: number, size: number, requests: number, ...more: string[]): readonly string[] => {
  return ['produce', '-records', `${count}`, '-size', `${size}`, '-requests', `${requests}`, ...more]
}

const WORKS: readonly Work[] = [
  {
    name: 'produce, 1 MB batches',
    nodes: 1,
    load: records(1_000, 1_024, 800, '-inflight', '5'),
    goals: [
      { figure: THROUGHPUT, atLeast: 1.2 },
      { figure: CPU, atMost: 0.6 },
    ],
  },
  {
    name: 'produce, 64 KB batches',
    nodes: 1,
    load: records(64, 1_024, 10_000, '-inflight', '5'),
    goals: [
      { figure: THROUGHPUT, atLeast: 3 },
      { figure: CPU, atMost: 0.33 },
    ],
  },
  {
    name: 'produce, 600 x 100 B',
    nodes: 1,
    partitions: 6,
    load: records(600, 100, 10_000, '-partitions', '6', '-inflight', '5'),
    goals: [
      { figure: THROUGHPUT, atLeast: 3 },
      { figure: CPU, atMost: 0.33 },
    ],
  },
  {
    name: 'produce, one record a request, 100 in flight',
    nodes: 1,
    load: records(1, 1_024, 200_000, '-inflight', '100'),
    goals: [{ figure: 'rec/s', atLeast: 6 }],
  },
  {
    name: 'produce, one record a request, 16 connections',
    nodes: 1,
    partitions: 6,
    load: records(1, 1_024, 100_000, '-conns', '16', '-inflight', '1', '-partitions', '6'),
    goals: [{ figure: 'rec/s', atLeast: 2 }],
  },
  {
    name: 'produce, one record a request, serial',
    nodes: 1,
    load: records(1, 1_024, 20_000, '-inflight', '1'),
    goals: [{ figure: 'p50ms', atMost: 0.6 }],
  },
  {
    name: 'fetch 1 MB, cold',
    nodes: 1,
    before: records(1_000, 1_024, 800, '-inflight', '5'),
    load: ['fetch', '-max-bytes', '1048576'],
    goals: [
      { figure: THROUGHPUT, atLeast: 1.8 },
      { figure: CPU, atMost: 0.8 },
    ],
  },
  {
    name: 'fetch 1 MB, the hot tail',
    nodes: 1,
    before: records(64, 1_024, 600, '-inflight', '5'),
    load: ['fetch', '-max-bytes', '1048576', '-conns', '20'],
    goals: [{ figure: THROUGHPUT, atLeast: 3 }],
  },
  ...[200, 2_000].map((rate) => ({
    name: `e2e at ${rate} records/s`,
    nodes: 1 as const,
    load: ['e2e', '-rate', `${rate}`, '-requests', `${rate * 5}`],
    goals: [
      { figure: 'p50ms', atMost: 0.7 },
      { figure: 'p99ms', atMost: 0.5 },
    ],
  })),
  {
    name: 'fsync, serial',
    nodes: 1,
    configs: 'flush.messages=1',
    load: records(1, 1_024, 5_000, '-inflight', '1'),
    goals: [{ figure: 'p50ms', atMost: 0.8 }],
  },
  {
    name: 'fsync, 16 connections',
    nodes: 1,
    configs: 'flush.messages=1',
    partitions: 6,
    load: records(1, 1_024, 20_000, '-conns', '16', '-inflight', '1', '-partitions', '6'),
    goals: [{ figure: 'rec/s', atLeast: 2 }],
  },
  {
    name: 'three nodes, RF 3, acks=all, batches of 64 KB',
    nodes: 3,
    load: records(64, 1_024, 5_000, '-inflight', '5'),
    goals: [
      { figure: THROUGHPUT, atLeast: 3 },
      { figure: CPU, atMost: 0.25 },
    ],
  },
]

interface Options {
  readonly kafka: string
  readonly load: string
  readonly runs: number
}

const run = promisify(execFile)

/** The words KEY=NUMBER of a line. */
function figuresOf(text: string): Figures {
  const figures: Record<string, number> = {}
  for (const [, key = '', value] of text.matchAll(/(\S+)=(-?[\d.]+)/g)) figures[key] = Number(value)
  return figures
}

async function startKafka(script: string, nodes: number): Promise<Side> {
  const home = join(tmpdir(), 'tidemark-bench-kafka')
  const env = { ...process.env, BENCH_HOME: home, KAFKA_PORT: `${KAFKA_PORT}` }
  // Its nodes outlive it and have its streams: what it says is read until it is known which they are.
  const child = spawn('bash', [script, 'up', `${nodes}`], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  child.stdout.destroy()
  const pids = /pids=([\d,]+)/.exec(line)?.[1]?.split(',').map(Number)
  if (pids === undefined) throw new Error(`Kafka did not start: ${line}`)
  return { name: 'kafka', address: `127.0.0.1:${KAFKA_PORT}`, pids, readyMs: figuresOf(line)['readyMs'] ?? Number.NaN }
}

async function startTidemark(directory: string): Promise<{ readonly side: Side; readonly child: ChildProcess }> {
  const startedMs = performance.now()
  const args = [
    CLI,
    'start',
    '--data-dir',
    directory,
    '--listen',
    '127.0.0.1:0',
    '--http',
    'off',
    '--log-level',
    'warn',
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const address = /listen=(\S+)/.exec(line)?.[1]
  if (address === undefined) throw new Error(`tidemark did not start: ${line}`)
  const pids = [must(child.pid, 'a process that speaks has a number')]
  return { side: { name: 'tidemark', address, pids, readyMs: performance.now() - startedMs }, child }
}

class Bench {
  readonly #options: Options
  #topics = 0

  constructor(options: Options) {
    this.#options = options
  }

  /** One run of a work on one side, on a topic of its own. */
  async measure(side: Side, work: Work): Promise<Figures> {
    this.#topics += 1
    const topic = `bench-${this.#topics}`
    const rf = work.nodes === 3 ? ['-rf', '3'] : []
    const configs = work.configs === undefined ? [] : ['-configs', work.configs]
    await this.#load(side, topic, ['create', '-partitions', `${work.partitions ?? 1}`, ...rf, ...configs])
    // Leaders of a new topic are there a moment later.
    await sleep(systemTimers, 500)
    await forgetEarlierRuns()
    if (work.before !== undefined) await this.#load(side, topic, work.before)
    // What is still to be written to the disk does not hold this one up.
    await run('sync')
    return this.#load(side, topic, work.load)
  }

  async #load(side: Side, topic: string, [mode = '', ...more]: readonly string[]): Promise<Figures> {
    const pids = side.pids.join(',')
    const args = [mode, '-addr', side.address, '-topic', topic, '-pid', pids, ...more]
    const { stdout } = await run(this.#options.load, args, { timeout: 300_000 })
    return figuresOf(stdout)
  }
}

/**
 * What earlier runs have written goes to the disk and out of memory, where one may say so (root, Linux): with the page cache
 * full of it, each page that is written costs both sides the search for another to give up.
 */
async function forgetEarlierRuns(): Promise<void> {
  await run('sync')
  await writeFile('/proc/sys/vm/drop_caches', '1').catch(() => undefined)
}

const median = (values: readonly number[]): number => {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

interface Row {
  readonly work: string
  readonly figure: string
  readonly tidemark: number
  readonly kafka: number
  readonly ratio: number
  readonly asked: string
  readonly isReached: boolean
}

function rowOf(work: string, goal: Goal, tidemark: number, kafka: number): Row {
  const ratio = tidemark / kafka
  const { figure, atLeast, atMost } = goal
  const isReached = (atLeast === undefined || ratio >= atLeast) && (atMost === undefined || ratio <= atMost)
  const asked = atLeast === undefined ? `at most ${atMost ?? '-'}` : `at least ${atLeast}`
  return { work, figure, tidemark, kafka, ratio, asked, isReached }
}

async function compare(bench: Bench, sides: readonly Side[], work: Work, runs: number): Promise<Row[]> {
  const figures = new Map<Side, Figures[]>(sides.map((side) => [side, []]))
  for (let turn = 0; turn <= runs; turn += 1) {
    for (const side of sides) {
      const measured = await bench.measure(side, work)
      if (turn > 0) figures.get(side)?.push(measured)
    }
  }
  const medianOf = (name: Side['name'], figure: string): number => {
    const side = must(
      sides.find((one) => one.name === name),
      'both sides are there',
    )
    return median((figures.get(side) ?? []).map((one) => one[figure] ?? Number.NaN))
  }
  return work.goals.map((goal) => {
    return rowOf(work.name, goal, medianOf('tidemark', goal.figure), medianOf('kafka', goal.figure))
  })
}

const digits = (value: number): string => value.toFixed(value < 10 ? 3 : 1)

function print({ work, figure, tidemark, kafka, ratio, asked, isReached }: Row): void {
  const figures = `${figure} ${digits(tidemark)} to ${digits(kafka)}`
  console.log(`${work.padEnd(46)} ${figures.padEnd(36)} ${ratio.toFixed(2)} x (${asked})${isReached ? '' : ' MISSED'}`)
}

/** Megabytes that the processes hold. */
async function residentMiB(side: Side): Promise<number> {
  const { stdout } = await run('ps', ['-o', 'rss=', '-p', side.pids.join(',')])
  return stdout.split('\n').reduce((sum, line) => sum + (Number(line) || 0), 0) / 1_024
}

async function onOne(options: Options, works: readonly Work[], onRow: (row: Row) => void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  // Ours first: a JVM that has just become ready goes on compiling for a while, and what starts beside it starts late.
  const { side: tidemark, child } = await startTidemark(directory)
  const kafka = await startKafka(options.kafka, 1)
  try {
    onRow(rowOf('start to serving', { figure: 'ms', atMost: 0.1 }, tidemark.readyMs, kafka.readyMs))
    const bench = new Bench(options)
    for (const work of works) {
      for (const row of await compare(bench, [tidemark, kafka], work, options.runs)) onRow(row)
    }
    const goal = { figure: 'MiB', atMost: 0.25 }
    onRow(rowOf('memory after all of it', goal, await residentMiB(tidemark), await residentMiB(kafka)))
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
    await stopKafka(options.kafka)
    rmSync(directory, { recursive: true, force: true })
  }
}

async function onThree(options: Options, works: readonly Work[], onRow: (row: Row) => void): Promise<void> {
  const server = await findRedis()
  if (server === undefined) throw new Error('there is no redis-server; node dist/scripts/ensure-redis.js gets one')
  const kafka = await startKafka(options.kafka, 3)
  try {
    await using redis: PrivateRedis = await startPrivateRedis(server)
    await using cluster = await ProcessCluster.start({ redis: redis.url })
    const [address = ''] = cluster.addresses
    const pids = cluster.living.map((id) => cluster.pid(id))
    const tidemark: Side = { name: 'tidemark', address, pids, readyMs: Number.NaN }
    const bench = new Bench(options)
    for (const work of works) {
      for (const row of await compare(bench, [tidemark, kafka], work, options.runs)) onRow(row)
    }
  } finally {
    await stopKafka(options.kafka)
  }
}

async function stopKafka(script: string): Promise<void> {
  await run('bash', [script, 'down'], { env: { ...process.env, BENCH_HOME: join(tmpdir(), 'tidemark-bench-kafka') } })
}

const options = await yargs(process.argv.slice(2))
  .option('kafka', { type: 'string', demandOption: true, describe: 'the script that starts and stops Kafka' })
  .option('load', { type: 'string', demandOption: true, describe: 'the load generator' })
  .option('runs', { type: 'number', default: 3, describe: 'runs of each work on each side, after a warm-up' })
  .option('only', { type: 'string', describe: 'works whose names contain one of these, with commas between' })
  .option('json', { type: 'boolean', default: false })
  .strict()
  .parse()
const wanted = options.only?.split(',')
const works = WORKS.filter(({ name }) => wanted === undefined || wanted.some((text) => name.includes(text)))
const rows: Row[] = []
const onRow = (row: Row): void => {
  rows.push(row)
  if (!options.json) print(row)
}
const one = works.filter(({ nodes }) => nodes === 1)
const three = works.filter(({ nodes }) => nodes === 3)
if (one.length > 0) await onOne(options, one, onRow)
if (three.length > 0) await onThree(options, three, onRow)
if (options.json) console.log(JSON.stringify(rows))
process.exit(rows.every(({ isReached }) => isReached) ? 0 : 1)
