// How near the broker comes to what the machine can do: the same bytes over the same socket to the broker and to a bare
// server that only appends them and a bare reader, in turns, in one run. Every figure stands beside its floor; a figure
// without one says nothing on a machine that others use. Run from the checkout after a build:
//
//   node dist/scripts/bench-floor.js [--rounds 3] [--only produce-64k,fetch-1m] [--scale 1] [--json] [--stub] [--cpu-prof DIR]
//
// --stub puts requests that do next to nothing in the broker's place and so measures the network and the protocol alone.
// MB/s are of payload frames, 10^6 bytes; CPU is user and system time of the serving process alone.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import yargs from 'yargs'
import { type Load, LoadConnection, type Measured } from './floor/load.ts'
import {
  bareLoad,
  barePreparation,
  createTopicOf,
  deleteTopicOf,
  FETCH_TOPIC_BATCHES,
  fillLoad,
  TIDEMARK_OPENING,
  tidemarkLoad,
  type Workload,
  WORKLOADS,
} from './floor/workloads.ts'

interface Server {
  readonly process: ChildProcess
  readonly port: number
}

interface Run {
  readonly megabytesPerSecond: number
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly cpuSecondsPerGigabyte: number
}

interface Row {
  readonly workload: string
  readonly about: string
  readonly floor: Run
  readonly tidemark: Run
  /** Throughput of the broker as a share of the floor's. */
  readonly ratio: number
  /** Median latency of the broker as a multiple of the floor's. */
  readonly latencyRatio: number
}

const TICKS_A_SECOND = 100
const BYTES_A_MEGABYTE = 1e6
const FETCH_TOPIC = 'bench-fetch'

const flags = await yargs(process.argv.slice(2))
  .option('rounds', { type: 'number', default: 3, describe: 'how often each workload runs; the median is told' })
  .option('only', { type: 'string', describe: 'names of workloads, by commas' })
  .option('scale', { type: 'number', default: 1, describe: 'multiplies the number of requests of each run' })
  .option('json', { type: 'boolean', default: false, describe: 'one JSON object instead of a table' })
  .option('stub', { type: 'boolean', default: false, describe: 'measure the network and the protocol alone' })
  .option('plain', { type: 'boolean', default: false, describe: 'with --stub: do not share one receive buffer' })
  .option('cpu-prof', { type: 'string', describe: 'a directory for a profile of the broker' })
  .strict()
  .parse()

const directory = mkdtempSync(join(tmpdir(), 'tidemark-floor-'))
const servers: Server[] = []
try {
  const bare = await startServer([scriptAt('floor/bare-server.js'), directory])
  const tidemark = await startServer(tidemarkCommand())
  const rows = await measure(bare, tidemark)
  if (flags.json) console.log(JSON.stringify({ node: process.version, rows, checks: checksOf(rows) }, undefined, 2))
  else print(rows)
} finally {
  await Promise.all(servers.map(stopServer))
  rmSync(directory, { recursive: true, force: true })
}

function tidemarkCommand(): readonly string[] {
  const profile = flags['cpu-prof'] === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${flags['cpu-prof']}`]
  if (flags.stub) return [...profile, scriptAt('floor/stub-server.js'), directory, ...(flags.plain ? ['--plain'] : [])]
  const cli = fileURLToPath(new URL('../broker/cli.js', import.meta.url))
  const data = join(directory, 'data')
  return [...profile, cli, 'start', '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', '--data-dir', data]
}

function scriptAt(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

function startServer(command: readonly string[]): Promise<Server> {
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    let text = ''
    child.once('exit', (code) => reject(new Error(`${command.join(' ')} ended with ${code}`)))
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const port = /ready .*?(?:port=|listen=\S*:)(\d+)/.exec(text)?.[1]
      if (port === undefined) return
      const server = { process: child, port: Number(port) }
      servers.push(server)
      resolve(server)
    })
  })
}

function stopServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.process.once('exit', () => resolve())
    server.process.kill('SIGTERM')
  })
}

async function measure(bare: Server, tidemark: Server): Promise<readonly Row[]> {
  const names = flags.only?.split(',')
  const workloads = WORKLOADS.filter(({ name }) => names === undefined || names.includes(name))
  const floors = new Map<string, Run[]>()
  const runs = new Map<string, Run[]>()
  if (workloads.some(({ name }) => name === 'fetch-1m')) await fillTopic(tidemark)
  // The first round warms both up and does not count.
  for (let round = 0; round <= flags.rounds; round += 1) {
    for (const workload of workloads) {
      const floor = await runBare(bare, workload)
      const run = await runTidemark(tidemark, workload, `bench-${workload.name}-${round}`)
      if (round === 0) continue
      floors.set(workload.name, [...(floors.get(workload.name) ?? []), floor])
      runs.set(workload.name, [...(runs.get(workload.name) ?? []), run])
    }
  }
  return workloads.map(({ name, about }) => rowOf(name, about, floors.get(name) ?? [], runs.get(name) ?? []))
}

async function fillTopic(tidemark: Server): Promise<void> {
  const connection = await LoadConnection.open(tidemark.port, TIDEMARK_OPENING)
  await connection.ask(createTopicOf(FETCH_TOPIC, 'os'))
  await connection.run(fillLoad(FETCH_TOPIC), FETCH_TOPIC_BATCHES)
  connection.close()
}

async function runBare(bare: Server, workload: Workload): Promise<Run> {
  const control = await LoadConnection.open(bare.port, [])
  for (const frame of barePreparation(workload)) await control.ask(frame)
  const run = await runLoad(bare, workload, () => bareLoad(workload), [])
  await control.ask(barePreparation({ ...workload, name: 'produce-1k' })[0] ?? Buffer.alloc(0))
  control.close()
  return run
}

async function runTidemark(tidemark: Server, workload: Workload, topic: string): Promise<Run> {
  if (workload.name === 'fetch-1m') {
    return runLoad(tidemark, workload, () => tidemarkLoad(workload, FETCH_TOPIC), TIDEMARK_OPENING)
  }
  const control = await LoadConnection.open(tidemark.port, TIDEMARK_OPENING)
  await control.ask(createTopicOf(topic, workload.name.startsWith('fsync') ? 'fsync' : 'os'))
  const run = await runLoad(tidemark, workload, () => tidemarkLoad(workload, topic), TIDEMARK_OPENING)
  await control.ask(deleteTopicOf(topic))
  control.close()
  return run
}

async function runLoad(
  server: Server,
  workload: Workload,
  loadOf: () => Load,
  opening: readonly Buffer[],
): Promise<Run> {
  const each = Math.ceil((workload.requests * flags.scale) / workload.connections)
  const connections: LoadConnection[] = []
  for (let index = 0; index < workload.connections; index += 1) {
    connections.push(await LoadConnection.open(server.port, opening))
  }
  const cpuBefore = cpuSecondsOf(server)
  const measured = await Promise.all(connections.map((connection) => connection.run(loadOf(), each)))
  const cpuSeconds = cpuSecondsOf(server) - cpuBefore
  for (const connection of connections) connection.close()
  return runOf(measured, cpuSeconds)
}

function runOf(measured: readonly Measured[], cpuSeconds: number): Run {
  const seconds = Math.max(...measured.map((one) => one.seconds))
  const bytes = measured.reduce((sum, one) => sum + Math.max(one.bytesSent, one.bytesReceived), 0)
  const requests = measured.reduce((sum, one) => sum + one.requests, 0)
  const latencies = measured.flatMap((one) => one.latenciesMs).sort((a, b) => a - b)
  return {
    megabytesPerSecond: bytes / BYTES_A_MEGABYTE / seconds,
    requestsPerSecond: requests / seconds,
    p50Ms: latencies[Math.floor(latencies.length * 0.5)] ?? NaN,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? NaN,
    cpuSecondsPerGigabyte: cpuSeconds / (bytes / 1e9),
  }
}

/** User and system time of the process so far. */
function cpuSecondsOf(server: Server): number {
  const text = readFileSync(`/proc/${server.process.pid ?? 0}/stat`, 'utf8')
  // The name stands in brackets and may hold anything; utime and stime are the 12th and 13th field behind it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND
}

function rowOf(workload: string, about: string, floors: readonly Run[], runs: readonly Run[]): Row {
  const floor = medianOf(floors)
  const tidemark = medianOf(runs)
  const ratio = tidemark.requestsPerSecond / floor.requestsPerSecond
  return { workload, about, floor, tidemark, ratio, latencyRatio: tidemark.p50Ms / floor.p50Ms }
}

function medianOf(runs: readonly Run[]): Run {
  const median = (figure: (run: Run) => number): number => {
    const sorted = runs.map(figure).sort((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)] ?? NaN
  }
  return {
    megabytesPerSecond: median((run) => run.megabytesPerSecond),
    requestsPerSecond: median((run) => run.requestsPerSecond),
    p50Ms: median((run) => run.p50Ms),
    p99Ms: median((run) => run.p99Ms),
    cpuSecondsPerGigabyte: median((run) => run.cpuSecondsPerGigabyte),
  }
}

interface Check {
  readonly what: string
  readonly figure: number
  readonly reach: string
  readonly isMet: boolean
}

/** What was promised, for the workloads that ran. */
function checksOf(rows: readonly Row[]): readonly Check[] {
  const row = (name: string): Row | undefined => rows.find(({ workload }) => workload === name)
  const checks: Check[] = []
  const atLeast = (what: string, figure: number | undefined, bound: number): void => {
    if (figure !== undefined) checks.push({ what, figure, reach: `at least ${bound}`, isMet: figure >= bound })
  }
  const atMost = (what: string, figure: number | undefined, bound: number): void => {
    if (figure !== undefined) checks.push({ what, figure, reach: `at most ${bound}`, isMet: figure <= bound })
  }
  atLeast('produce-64k, share of the floor', row('produce-64k')?.ratio, 0.8)
  atMost('produce-64k, CPU s/GB', row('produce-64k')?.tidemark.cpuSecondsPerGigabyte, 1.8)
  atLeast('produce-1k, requests/s', row('produce-1k')?.tidemark.requestsPerSecond, 70_000)
  atMost('serial-1k, median latency over the floor', row('serial-1k')?.latencyRatio, 1.4)
  atLeast('fetch-1m, share of the floor', row('fetch-1m')?.ratio, 0.8)
  atMost('fetch-1m, CPU s/GB', row('fetch-1m')?.tidemark.cpuSecondsPerGigabyte, 0.75)
  const one = row('fsync-1')?.tidemark.requestsPerSecond
  const sixteen = row('fsync-16')?.tidemark.requestsPerSecond
  if (one !== undefined && sixteen !== undefined) atLeast('fsync, 16 connections over 1', sixteen / one, 5)
  return checks
}

function print(rows: readonly Row[]): void {
  const columns = ['MB/s', 'requests/s', 'p50 ms', 'p99 ms', 'CPU s/GB']
  console.log(`${'workload'.padEnd(14)}${'server'.padEnd(10)}${columns.map((name) => name.padStart(12)).join('')}`)
  for (const row of rows) {
    console.log(`${row.workload.padEnd(14)}${'floor'.padEnd(10)}${figuresOf(row.floor)}`)
    const name = flags.stub ? 'stub' : 'tidemark'
    console.log(`${''.padEnd(14)}${name.padEnd(10)}${figuresOf(row.tidemark)}   ${row.ratio.toFixed(2)} of the floor`)
  }
  for (const { what, figure, reach, isMet } of checksOf(rows)) {
    console.log(`${isMet ? 'reached' : 'MISSED '}  ${what.padEnd(44)}${figure.toFixed(2).padStart(12)}  (${reach})`)
  }
}

function figuresOf(run: Run): string {
  const figures = [
    run.megabytesPerSecond.toFixed(0),
    run.requestsPerSecond.toFixed(0),
    Number.isNaN(run.p50Ms) ? '' : run.p50Ms.toFixed(3),
    Number.isNaN(run.p99Ms) ? '' : run.p99Ms.toFixed(3),
    run.cpuSecondsPerGigabyte.toFixed(2),
  ]
  return figures.map((figure) => figure.padStart(12)).join('')
}
