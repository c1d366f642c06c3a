// A cluster on this machine, for a look: a private redis-server and three brokers, each a process of its own, everything on
// 127.0.0.1. A broker that dies is started again, so that one may be killed to see what the others do. Run from the
// checkout:
//
//   npm run cluster -- [--brokers 3] [--keep DIR] [--listen-from 9092] [--http-from 9644] [--set KEY=VALUE]
//
// Invariant: whatever it has started is gone, by its process id, when it ends; unless it is killed itself by a signal that
// cannot be caught.

import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import yargs from 'yargs'
import { sleep, systemTimers } from '../shared/time.ts'
import { ensureRedis, type RedisServer } from './ensure-redis.ts'

const CLI = fileURLToPath(new URL('../broker/cli.js', import.meta.url))
const STARTED_AGAIN_AFTER_MS = 3_000
/** A broker that cannot start is not tried for ever. */
const SHORT_LIVES_MAX = 3
const SHORT_LIFE_MS = 5_000
const REDIS_READY_LINE = 'Ready to accept connections'
const COLORS = [36, 33, 35, 32, 34, 31]

interface ClusterOptions {
  readonly brokers: number
  readonly directory: string
  readonly isTemporary: boolean
  readonly listenFrom: number
  readonly httpFrom: number
  readonly settings: readonly string[]
}

/** A process that was started here. Its output goes to the terminal, each line with its name before it. */
class Member {
  readonly name: string
  readonly child: ChildProcess
  readonly startedMs = performance.now()
  /** Resolves with how it ended. */
  readonly ended: Promise<string>

  constructor(name: string, color: number, program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.name = name
    // In a group of its own: the terminal's Ctrl-C is for this script, which stops everything in order.
    this.child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    const prefix = process.stdout.isTTY ? `\u001b[${color}m${name.padEnd(8)}\u001b[0m` : name.padEnd(8)
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => console.log(`${prefix} ${line}`))
    }
    this.ended = new Promise((end) => {
      this.child.once('error', (error) => end(error.message))
      this.child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`))
    })
  }

  get isRunning(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  /** The first line of its output that matches. @throws when it ends before */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    const seen = new Promise<RegExpExecArray>((found) => {
      if (this.child.stdout === null) return
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        const match = pattern.exec(line)
        if (match !== null) found(match)
      })
    })
    const first = await Promise.race([seen, this.ended])
    if (typeof first === 'string') throw new Error(`${this.name} did not start: ${first}`)
    return first
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    if (this.isRunning) this.child.kill(signal)
    await this.ended
  }
}

class LocalCluster {
  readonly #options: ClusterOptions
  readonly #redis: Member
  readonly #redisUrl: string
  readonly #brokers = new Map<number, Member>()
  readonly #stopping = new AbortController()

  private constructor(options: ClusterOptions, redis: Member, redisUrl: string) {
    this.#options = options
    this.#redis = redis
    this.#redisUrl = redisUrl
  }

  static async start(
    options: ClusterOptions,
    server: RedisServer,
    kill: (member: Member) => void,
  ): Promise<LocalCluster> {
    const port = await freePort()
    const directory = join(options.directory, 'redis')
    mkdirSync(directory, { recursive: true })
    const place = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory]
    const contract = [
      '--save',
      '',
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
      '--maxmemory-policy',
      'noeviction',
    ]
    const redis = new Member('redis', 90, server.bin, [...place, ...contract], { ...process.env, ...server.env })
    kill(redis)
    await redis.said(new RegExp(REDIS_READY_LINE))
    const cluster = new LocalCluster(options, redis, `redis://127.0.0.1:${port}/0`)
    const all = Array.from({ length: options.brokers }, (_, index) => cluster.#startBroker(index + 1, kill))
    try {
      const lines = await Promise.all(all)
      cluster.#tellWhatToTry(lines)
    } catch (error) {
      await cluster.stop('SIGTERM')
      throw error
    }
    return cluster
  }

  /** The brokers one by one, so that each can hand over what it leads; Redis last. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    this.#stopping.abort()
    for (const [, broker] of [...this.#brokers].toReversed()) await broker.stop(signal)
    await this.#redis.stop(signal)
  }

  async #startBroker(id: number, kill: (member: Member) => void, shortLives = 0): Promise<string> {
    const { directory, listenFrom, httpFrom, settings } = this.#options
    const listen = await portOr(listenFrom + id - 1)
    const http = await portOr(httpFrom + id - 1)
    const words = [
      ...['start', '--broker-id', `${id}`, '--redis', this.#redisUrl, '--data-dir', join(directory, `broker-${id}`)],
      ...['--listen', `127.0.0.1:${listen}`, '--http', `127.0.0.1:${http}`, '--log-format', 'pretty'],
      ...settings.flatMap((setting) => ['--set', setting]),
    ]
    const broker = new Member(
      `broker ${id}`,
      COLORS[id % COLORS.length] ?? 36,
      process.execPath,
      [CLI, ...words],
      process.env,
    )
    kill(broker)
    this.#brokers.set(id, broker)
    const again = (how: string): void => {
      if (this.#stopping.signal.aborted) return
      const lives = performance.now() - broker.startedMs < SHORT_LIFE_MS ? shortLives + 1 : 0
      if (lives >= SHORT_LIVES_MAX) return say(`broker ${id} ended (${how}) and is not started again`)
      say(`broker ${id} ended (${how}); it is started again in ${STARTED_AGAIN_AFTER_MS / 1000} s`)
      sleep(systemTimers, STARTED_AGAIN_AFTER_MS, this.#stopping.signal)
        .then(() => (this.#stopping.signal.aborted ? undefined : this.#startBroker(id, kill, lives)))
        .catch((error: unknown) => {
          if (!this.#stopping.signal.aborted) say(error instanceof Error ? error.message : String(error))
        })
    }
    const [, address = '', admin = ''] = await broker.said(/^tidemark ready listen=(\S+) http=(\S+)/)
    broker.ended.then(again, again)
    return `  broker ${id}  ${address}  http://${admin}  pid ${broker.child.pid}`
  }

  #tellWhatToTry(lines: readonly string[]): void {
    const addresses = lines.map((line) => /127\.0\.0\.1:\d+/.exec(line)?.[0] ?? '')
    const { directory, isTemporary } = this.#options
    const b = `-b ${addresses.join(',')}`
    const tidemark = 'node dist/broker/cli.js'
    say(`a cluster of ${lines.length} brokers is running

${lines.join('\n')}
  redis     ${this.#redisUrl}  pid ${this.#redis.child.pid}
  data      ${directory}${isTemporary ? ', removed at the end; --keep DIR keeps it' : ''}

in another terminal:
  ${tidemark} cluster info ${b}
  ${tidemark} topic create orders -p 6 -r ${Math.min(3, lines.length)} ${b}
  ${tidemark} bench produce --topic orders --records 1m --rate 10k ${b}
  ${tidemark} topic describe orders -p ${b}
  ${tidemark} cluster health --watch ${b}
kill -9 one of the brokers meanwhile: the others take over, and it is started again after ${STARTED_AGAIN_AFTER_MS / 1000} s.
Ctrl-C stops all.`)
  }
}

function say(text: string): void {
  console.log(`\n${text}\n`)
}

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  listener.close()
  await once(listener, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** The port if it can be had, else 0 for any. */
async function portOr(port: number): Promise<number> {
  const listener = createServer()
  try {
    listener.listen(port, '127.0.0.1')
    await once(listener, 'listening')
    listener.close()
    await once(listener, 'close')
    return port
  } catch {
    return 0
  }
}

async function main(args: readonly string[]): Promise<number> {
  const flags = await yargs([...args])
    .scriptName('npm run cluster --')
    .usage('$0 [flags]\n\nA cluster on this machine, for a look.')
    .option('brokers', { type: 'number', default: 3, describe: 'How many brokers' })
    .option('keep', { type: 'string', describe: 'Directory that the data are kept in, and found in again' })
    .option('listen-from', { type: 'number', default: 9092, describe: 'Port of the first broker, if it is free' })
    .option('http-from', { type: 'number', default: 9644, describe: 'Admin port of the first broker, if it is free' })
    .option('set', { type: 'string', array: true, default: [], describe: 'A setting of all brokers, KEY=VALUE' })
    .strict()
    .parseAsync()
  if (!Number.isInteger(flags.brokers) || flags.brokers < 1 || flags.brokers > 20) {
    console.error('cluster: --brokers must be an integer from 1 to 20')
    return 2
  }
  const server = await ensureRedis()
  if (server === undefined) return 1
  const isTemporary = flags.keep === undefined
  const directory = flags.keep === undefined ? mkdtempSync(join(tmpdir(), 'tidemark-cluster-')) : resolve(flags.keep)
  const members: Member[] = []
  process.once('exit', () => {
    for (const member of members) if (member.isRunning) member.child.kill('SIGKILL')
    if (isTemporary) rmSync(directory, { recursive: true, force: true })
  })
  const asked = untilStopAsked()
  const { brokers, listenFrom, httpFrom, set: settings } = flags
  const options = { brokers, directory, isTemporary, listenFrom, httpFrom, settings }
  const starting = LocalCluster.start(options, server, (member) => members.push(member))
  const cluster = await Promise.race([starting, asked])
  if (cluster === undefined) return 130
  await asked
  say('stopping the brokers one by one, then Redis; once more ends all at once')
  process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143))
  await cluster.stop('SIGTERM')
  return 0
}

function untilStopAsked(): Promise<undefined> {
  return new Promise((asked) => {
    const onSignal = (): void => {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
      asked(undefined)
    }
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  })
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(`cluster: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
process.exit()
