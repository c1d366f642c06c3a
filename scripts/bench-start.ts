// How fast a broker is there, and what it holds: process start to ready (empty; with 1,000 partitions after a clean stop;
// with 5 GB after kill -9), `startBroker()` in a warm process, and the memory and file descriptors of an idle broker, one
// under full load, and one with 10,000 partitions open. Real processes, real files; run from the checkout after a build:
//
//   node dist/scripts/bench-start.js [--json] [--gigabytes 5] [--only empty,thousand,killed,embedded,load,open]

import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import yargs from 'yargs'
import { connect } from '../client/index.ts'

const CLI = fileURLToPath(new URL('../broker/cli.js', import.meta.url))

interface RunningBroker {
  readonly process: ChildProcess
  readonly brokers: string
  readonly readyMs: number
}

interface Row {
  readonly work: string
  readonly figure: number
  readonly unit: string
  readonly reach: number
  readonly note?: string
}

async function start(dataDir: string, extra: readonly string[] = []): Promise<RunningBroker> {
  const from = performance.now()
  const child = spawn(
    process.execPath,
    [CLI, 'start', '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', '--data-dir', dataDir, ...extra],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const line = await new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const end = text.indexOf('\n')
      if (end >= 0) resolve(text.slice(0, end))
    })
    child.once('exit', (code) => reject(new Error(`the broker ended with ${code} before it was ready`)))
  })
  const readyMs = performance.now() - from
  const address = /listen=(\S+)/.exec(line)?.[1]
  if (address === undefined) throw new Error(`not a ready line: ${line}`)
  return { process: child, brokers: address, readyMs }
}

function stop(broker: RunningBroker, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  return new Promise((resolve) => {
    broker.process.once('exit', () => resolve())
    broker.process.kill(signal)
  })
}

function memoryMiB(broker: RunningBroker): number {
  const status = readFileSync(`/proc/${broker.process.pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024)
}

function peakMemoryMiB(broker: RunningBroker): number {
  const status = readFileSync(`/proc/${broker.process.pid}/status`, 'utf8')
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024)
}

function descriptors(broker: RunningBroker): number {
  return readdirSync(`/proc/${broker.process.pid}/fd`).length
}

async function createTopics(brokers: string, topics: number, numPartitions: number): Promise<void> {
  await using client = connect({ brokers: [brokers] })
  const admin = client.admin()
  for (let index = 0; index < topics; index += 1) {
    await admin.createTopics({ topics: [{ topic: `bench-${index}`, numPartitions }] })
  }
}

/** One record of 100 bytes into each partition, so that each has a log with something in it. */
async function touchPartitions(brokers: string, topics: number, numPartitions: number): Promise<void> {
  await using client = connect({ brokers: [brokers] })
  const producer = client.producer()
  const value = new Uint8Array(100)
  for (let topic = 0; topic < topics; topic += 1) {
    const messages = Array.from({ length: numPartitions }, (_, partition) => ({ partition, value }))
    await producer.send({ topic: `bench-${topic}`, messages })
  }
}

async function fill(brokers: string, topic: string, bytes: number): Promise<number> {
  await using client = connect({ brokers: [brokers] })
  const producer = client.producer({ batchBytes: 1_000_000, bufferBytes: 32 * 1024 * 1024 })
  const value = new Uint8Array(10_000).fill(7)
  const from = performance.now()
  const failures: Error[] = []
  for (let sent = 0; sent < bytes && failures.length === 0; sent += value.length) {
    await producer.ready()
    producer.enqueue(topic, { value }).catch((error: unknown) => {
      failures.push(error instanceof Error ? error : new Error(String(error)))
    })
  }
  await producer.flush()
  if (failures[0] !== undefined) throw failures[0]
  return bytes / 1e6 / ((performance.now() - from) / 1000)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

async function inDirectory<T>(work: (dataDir: string) => Promise<T>): Promise<T> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  try {
    return await work(dataDir)
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

const WORK: Record<string, (gigabytes: number) => Promise<Row[]>> = {
  async empty() {
    const times: number[] = []
    let idleMiB = 0
    for (let run = 0; run < 5; run += 1) {
      await inDirectory(async (dataDir) => {
        const broker = await start(dataDir)
        times.push(broker.readyMs)
        await new Promise((resolve) => setTimeout(resolve, 2_000))
        idleMiB = memoryMiB(broker)
        await stop(broker, 'SIGTERM')
      })
    }
    return [
      { work: 'start to ready, empty', figure: Math.round(median(times)), unit: 'ms', reach: 400 },
      { work: 'memory, idle', figure: idleMiB, unit: 'MiB', reach: 90 },
    ]
  },

  thousand: () =>
    inDirectory(async (dataDir) => {
      const first = await start(dataDir)
      await createTopics(first.brokers, 10, 100)
      await touchPartitions(first.brokers, 10, 100)
      await stop(first, 'SIGTERM')
      const times: number[] = []
      for (let run = 0; run < 3; run += 1) {
        const broker = await start(dataDir)
        times.push(broker.readyMs)
        await stop(broker, 'SIGTERM')
      }
      const figure = Math.round(median(times))
      return [{ work: 'start to ready, 1,000 partitions after a clean stop', figure, unit: 'ms', reach: 1_500 }]
    }),

  killed: (gigabytes) =>
    inDirectory(async (dataDir) => {
      const first = await start(dataDir)
      await createTopics(first.brokers, 1, 6)
      const rate = await fill(first.brokers, 'bench-0', gigabytes * 1e9)
      await stop(first, 'SIGKILL')
      const broker = await start(dataDir)
      await stop(broker, 'SIGTERM')
      const note = `written at ${Math.round(rate)} MB/s until the kill`
      const work = `start to ready, ${gigabytes} GB after kill -9`
      return [{ work, figure: Math.round(broker.readyMs), unit: 'ms', reach: 2_000, note }]
    }),

  async embedded() {
    const { startBroker } = await import('../broker/testing.ts')
    const times: number[] = []
    for (let run = 0; run < 12; run += 1) {
      const from = performance.now()
      const broker = await startBroker()
      times.push(performance.now() - from)
      await broker.stop()
    }
    const figure = Math.round(median(times.slice(2)) * 10) / 10
    return [{ work: 'startBroker() in a warm process', figure, unit: 'ms', reach: 50 }]
  },

  load: () =>
    inDirectory(async (dataDir) => {
      const broker = await start(dataDir)
      await createTopics(broker.brokers, 1, 6)
      await Promise.all([1, 2, 3].map(() => fill(broker.brokers, 'bench-0', 1e9)))
      await using client = connect({ brokers: [broker.brokers] })
      let bytes = 0
      for await (const message of client.read('bench-0', { from: 'start', to: 'end' }))
        bytes += message.value?.length ?? 0
      const figure = peakMemoryMiB(broker)
      await stop(broker, 'SIGTERM')
      const note = `peak, 3 GB in and ${(bytes / 1e9).toFixed(1)} GB out`
      return [{ work: 'memory, full load', figure, unit: 'MiB', reach: 300, note }]
    }),

  open: () =>
    inDirectory(async (dataDir) => {
      const broker = await start(dataDir, ['--partitions-max', '10000'])
      await createTopics(broker.brokers, 100, 100)
      await touchPartitions(broker.brokers, 100, 100)
      await new Promise((resolve) => setTimeout(resolve, 3_000))
      const rows: Row[] = [
        { work: 'memory, 10,000 partitions open', figure: memoryMiB(broker), unit: 'MiB', reach: 700 },
        { work: 'file descriptors, 10,000 partitions open', figure: descriptors(broker), unit: '', reach: 10_000 },
      ]
      await stop(broker, 'SIGTERM')
      return rows
    }),
}

const flags = await yargs(process.argv.slice(2))
  .option('json', { type: 'boolean', default: false })
  .option('gigabytes', { type: 'number', default: 5 })
  .option('only', { type: 'string', default: Object.keys(WORK).join(',') })
  .strict()
  .parseAsync()

const rows: Row[] = []
for (const name of flags.only.split(',')) {
  const work = WORK[name]
  if (work === undefined) throw new Error(`--only knows ${Object.keys(WORK).join(', ')}, not ${name}`)
  for (const row of await work(flags.gigabytes)) {
    rows.push(row)
    if (!flags.json) {
      const verdict = row.figure <= row.reach ? 'reached' : 'missed'
      console.log(`${row.work}: ${row.figure} ${row.unit} (at most ${row.reach}: ${verdict}) ${row.note ?? ''}`)
    }
  }
}
if (flags.json) console.log(JSON.stringify(rows))
