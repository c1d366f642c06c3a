// kcat: run to its end with some arguments, and, for the tests with three brokers, behind a few verbs of foreign-client.ts.
// What it prints is read as lines of JSON.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { pause } from '../setup/cluster-load.ts'
import { kcat } from './clients.ts'
import { type ForeignClient, LocalClient, type PlacedRecord, UNTOLD } from './foreign-client.ts'
import { MemberQueue, memberOf } from './member-queue.ts'
import { textOf } from './samples.ts'
import { Waiters } from './waiters.ts'

interface Printed {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly ts: number
  readonly key: string | null
  readonly payload: string | null
  /** Names and values in turn. */
  readonly headers?: readonly (string | null)[]
}

interface Listed {
  readonly controllerid: number
  readonly brokers: readonly { readonly id: number; readonly name: string }[]
  readonly topics: readonly {
    readonly topic: string
    readonly partitions: readonly {
      readonly partition: number
      readonly leader: number
      readonly replicas: readonly { readonly id: number }[]
      readonly isrs: readonly { readonly id: number }[]
    }[]
  }[]
}

const RUN_LIMIT_MS = 25_000

/** Runs it to its end. @throws with its complaints when it ends in another way than well */
export async function runKcat(brokers: string, args: readonly string[], input = ''): Promise<string> {
  const child = start(brokers, args)
  const [out, err] = [gather(child.stdout), gather(child.stderr)]
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_LIMIT_MS)
  child.stdin?.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  if (code !== 0) throw new Error(`kcat ${args.join(' ')} ended with ${code}: ${err()}`)
  return out()
}

/** What it has printed with -J. */
export function recordsIn(text: string): PlacedRecord[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(toPlaced)
}

export async function listedBy(brokers: string, args: readonly string[] = []): Promise<Listed> {
  return JSON.parse(await runKcat(brokers, ['-L', '-J', ...args])) as Listed
}

/** A producer that is given a line now and then. */
class LineLoad {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #complaints: () => string
  readonly #waiters = new Waiters()
  readonly #writing: Promise<void>
  #count = 0
  #isEnding = false

  constructor(child: ChildProcess, name: string) {
    this.#child = child
    this.#name = name
    this.#complaints = gather(child.stderr)
    this.#writing = this.#write()
  }

  /** Lines that it was given: what it has been acknowledged it does not say. */
  async more(count: number): Promise<number> {
    const goal = this.#count + count
    await this.#waiters.until(() => this.#count >= goal, RUN_LIMIT_MS)
    return this.#count
  }

  async end() {
    this.#isEnding = true
    await this.#writing
    this.#child.stdin?.end()
    const [code] = (await once(this.#child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`kcat ended with ${code}: ${this.#complaints()}`)
    // It ends well when all are acknowledged.
    const numbers = Array.from({ length: this.#count }, (_, at) => at)
    const acknowledged = numbers.map((at): [string, number] => [`${this.#name}:${at}`, UNTOLD])
    return { acknowledged, failed: [] }
  }

  async #write(): Promise<void> {
    while (!this.#isEnding) {
      this.#child.stdin?.write(`${this.#name}:${this.#count}\n`)
      this.#count += 1
      this.#waiters.tell()
      await pause(3)
    }
  }
}

export function startKcat(brokers: string): ForeignClient {
  const loads = new Map<string, LineLoad>()
  const members = new Map<string, { readonly child: ChildProcess; readonly queue: MemberQueue }>()
  const children: ChildProcess[] = []
  return new LocalClient(
    {
      load: ({ name, topic }) => {
        const limits = ['-X', 'message.timeout.ms=60000', '-X', 'socket.timeout.ms=3000']
        const child = start(brokers, ['-P', '-t', topic, '-p', '0', '-X', 'enable.idempotence=true', '-E', ...limits])
        children.push(child)
        loads.set(name, new LineLoad(child, name))
      },
      loaded: ({ name, count }) => memberOf(loads, name).more(count),
      endLoad: ({ name }) => memberOf(loads, name).end(),
      join: ({ member, group, topics }) => {
        const sessions = ['-X', 'session.timeout.ms=6000', '-X', 'heartbeat.interval.ms=500']
        const where = ['-X', 'auto.offset.reset=earliest', '-X', 'fetch.wait.max.ms=200']
        const child = start(brokers, ['-G', group, '-u', '-E', '-J', ...sessions, ...where, ...topics])
        children.push(child)
        const queue = new MemberQueue()
        if (child.stdout === null) throw new Error('kcat was started without a pipe')
        createInterface({ input: child.stdout }).on('line', (line) => queue.push(toPlaced(line)))
        // What it prints about rebalances stands here, and nobody needs it.
        child.stderr?.resume()
        members.set(member, { child, queue })
      },
      take: ({ member, count }) => memberOf(members, member).queue.take(count),
      // It commits by itself.
      commit: () => undefined,
      describeCluster: async () => {
        const { controllerid, brokers: found } = await listedBy(brokers)
        return { cluster: '', controller: controllerid, nodes: found.map(({ id, name }) => ({ id, address: name })) }
      },
      describeTopic: async ({ topic }) => {
        const { topics } = await listedBy(brokers, ['-t', topic])
        return (topics[0]?.partitions ?? []).map(({ partition, leader, replicas, isrs }) => {
          return { partition, leader, replicas: replicas.map(({ id }) => id), isr: isrs.map(({ id }) => id) }
        })
      },
    },
    async () => {
      const living = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      await Promise.all(
        living.map(async (child) => {
          child.kill('SIGKILL')
          await once(child, 'close')
        }),
      )
    },
  )
}

function start(brokers: string, args: readonly string[]): ChildProcess {
  if (kcat === undefined) throw new Error('kcat is not there: see `npm run clients`')
  const child = spawn(kcat.bin, ['-b', brokers, ...args], {
    env: { ...process.env, ...kcat.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // One that has ended is told of by its exit.
  child.stdin.on('error', () => undefined)
  const killAtExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killAtExit)
  child.once('close', () => process.off('exit', killAtExit))
  return child
}

function gather(stream: NodeJS.ReadableStream | null): () => string {
  const parts: Buffer[] = []
  stream?.on('data', (part: Buffer) => parts.push(part))
  return () => Buffer.concat(parts).toString()
}

function toPlaced(line: string): PlacedRecord {
  const { topic, partition, offset, ts, key, payload, headers = [] } = JSON.parse(line) as Printed
  const pairs: [string, string | null][] = []
  for (let at = 0; at < headers.length; at += 2) pairs.push([headers[at] ?? '', encoded(headers[at + 1])])
  return { topic, partition, offset, timestamp: ts, key: encoded(key), value: encoded(payload), headers: pairs }
}

function encoded(text: string | null | undefined): string | null {
  return text === null || text === undefined ? null : textOf(Buffer.from(text))
}
