// A cluster for tests and benchmarks: real processes of the built command and one Redis that is handed in. Starts, kills,
// pauses and restarts brokers by their process ids. Judges nothing. Invariants: no broker outlives the process that
// started it; the data directories go with the cluster.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface ProcessClusterOptions {
  /** redis://HOST:PORT/DATABASE. */
  readonly redis: string
  /** Default 3. Their ids are 1, 2, 3 and so on. */
  readonly brokers?: number
  /** More flags of `tidemark start`, for all of them. */
  readonly args?: readonly string[]
  /** The command, dist/broker/cli.js. */
  readonly cli?: string
  /** Where each broker lives. Default: on 127.0.0.1. */
  readonly place?: (id: number) => BrokerPlace
}

export interface BrokerPlace {
  /** The address that it listens on. */
  readonly host: string
  /** Command and arguments that start it there, such as those that enter a network namespace; it must become the broker. */
  readonly within: readonly string[]
}

/** One broker of the cluster, through all its lives. */
interface Member {
  readonly id: number
  readonly dataDir: string
  readonly logFile: string
  child: ChildProcess | undefined
  gone: Promise<number | null>
  /** Whether it was told to end; one that ends otherwise has failed. */
  isEnding: boolean
  /** HOST:PORT; the same in every life. */
  listen: string
  http: string
}

const CLI = process.env['TIDEMARK_CLI'] ?? defaultCli()

function defaultCli(): string {
  // From the sources and from what they are compiled to.
  const here = fileURLToPath(new URL('.', import.meta.url))
  const root = join(here, '..', '..')
  return root.endsWith('dist/') || root.endsWith('dist')
    ? join(root, 'broker/cli.js')
    : join(root, 'dist/broker/cli.js')
}

export class ProcessCluster {
  readonly root: string
  readonly redis: string
  readonly #args: readonly string[]
  readonly #cli: string
  readonly #place: (id: number) => BrokerPlace
  readonly #members = new Map<number, Member>()
  /** Brokers that ended although nobody had told them to, with their last words. */
  readonly failures: string[] = []
  readonly #killAll: () => void

  private constructor(root: string, options: ProcessClusterOptions) {
    this.root = root
    this.redis = options.redis
    this.#args = options.args ?? []
    this.#cli = options.cli ?? CLI
    this.#place = options.place ?? (() => ({ host: '127.0.0.1', within: [] }))
    this.#killAll = () => {
      for (const member of this.#members.values()) {
        member.isEnding = true
        member.child?.kill('SIGKILL')
      }
    }
    process.once('exit', this.#killAll)
  }

  /** Resolves when every broker serves. */
  static async start(options: ProcessClusterOptions): Promise<ProcessCluster> {
    const cluster = new ProcessCluster(await mkdtemp(join(tmpdir(), 'tidemark-cluster-')), options)
    const ids = Array.from({ length: options.brokers ?? 3 }, (_, index) => index + 1)
    try {
      await Promise.all(ids.map((id) => cluster.add(id)))
    } catch (error) {
      await cluster[Symbol.asyncDispose]()
      throw error
    }
    return cluster
  }

  get ids(): number[] {
    return [...this.#members.keys()]
  }

  /** Ids of the brokers whose process lives, paused or not. */
  get living(): number[] {
    return [...this.#members.values()].filter(({ child }) => child !== undefined).map(({ id }) => id)
  }

  /** HOST:PORT of every broker, dead or alive. */
  get addresses(): string[] {
    return [...this.#members.values()].map(({ listen }) => listen)
  }

  /** A new broker. */
  async add(id: number): Promise<void> {
    const dataDir = join(this.root, `data-${id}`)
    const logFile = join(this.root, `broker-${id}.log`)
    await mkdir(dataDir, { recursive: true })
    const none = { child: undefined, gone: Promise.resolve(null), isEnding: true }
    const anywhere = `${this.#place(id).host}:0`
    const member: Member = { id, dataDir, logFile, ...none, listen: anywhere, http: anywhere }
    this.#members.set(id, member)
    await this.#run(member)
  }

  address(id: number): string {
    return this.#member(id).listen
  }

  /** HOST:PORT of metrics and health. */
  http(id: number): string {
    return this.#member(id).http
  }

  pid(id: number): number {
    const pid = this.#member(id).child?.pid
    if (pid === undefined) throw new Error(`broker ${id} does not run`)
    return pid
  }

  /** What the broker has logged in all its lives. */
  logOf(id: number): string {
    return readFileSync(this.#member(id).logFile, 'utf8')
  }

  dataDir(id: number): string {
    return this.#member(id).dataDir
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(id: number): Promise<void> {
    const member = this.#member(id)
    member.isEnding = true
    member.child?.kill('SIGKILL')
    await member.gone
  }

  /** SIGSTOP: it accepts connections and answers nothing. */
  pause(id: number): void {
    this.#member(id).child?.kill('SIGSTOP')
  }

  resume(id: number): void {
    this.#member(id).child?.kill('SIGCONT')
  }

  /** SIGTERM; resolves with the exit code when the process is gone. */
  async stop(id: number): Promise<number | null> {
    const member = this.#member(id)
    member.isEnding = true
    member.child?.kill('SIGTERM')
    return member.gone
  }

  /** Starts a broker that was killed or stopped again, on the same address and directory; resolves when it serves. */
  async restart(id: number): Promise<void> {
    const member = this.#member(id)
    if (member.child !== undefined) throw new Error(`broker ${id} runs`)
    await this.#run(member)
  }

  /** Removes what a broker that does not run has stored: a new disk. */
  async wipe(id: number): Promise<void> {
    const { child, dataDir } = this.#member(id)
    if (child !== undefined) throw new Error(`broker ${id} runs`)
    await rm(dataDir, { recursive: true, force: true })
    await mkdir(dataDir, { recursive: true })
  }

  /** The bytes of a partition's log on the disk of one broker, all segments in their order; undefined without a log. */
  logBytes(id: number, topicId: string, partition = 0): Buffer | undefined {
    const directory = join(this.dataDir(id), 'logs', `${topicId}-${partition}`)
    if (!existsSync(directory)) return undefined
    const segments = readdirSync(directory).filter((name) => name.endsWith('.log'))
    return Buffer.concat(segments.toSorted().map((name) => readFileSync(join(directory, name))))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#killAll()
    await Promise.all([...this.#members.values()].map(({ gone }) => gone))
    process.off('exit', this.#killAll)
    await rm(this.root, { recursive: true, force: true })
  }

  #member(id: number): Member {
    const member = this.#members.get(id)
    if (member === undefined) throw new Error(`there is no broker ${id}`)
    return member
  }

  async #run(member: Member): Promise<void> {
    const { id, dataDir, listen, logFile } = member
    const where = ['--redis', this.redis, '--broker-id', `${id}`, '--data-dir', dataDir]
    const words = ['start', ...where, '--listen', listen, '--http', member.http, ...this.#args]
    // To a file: a broker whose pipe nobody empties would stop at its next line.
    const log = openSync(logFile, 'a')
    const [program = '', ...rest] = [...this.#place(id).within, process.execPath, this.#cli, ...words]
    const child = spawn(program, rest, { env: environment(), stdio: ['ignore', 'pipe', log] })
    closeSync(log)
    member.child = child
    member.isEnding = false
    member.gone = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        member.child = undefined
        const lastWords = this.logOf(id).split('\n').slice(-6).join('\n')
        if (!member.isEnding) this.failures.push(`broker ${id} ended with ${code ?? signal}: ${lastWords}`)
        resolve(code)
      })
    })
    const ready = await untilReady(child, () => `broker ${id} ended before it was ready:\n${this.logOf(id)}`)
    member.listen = ready.listen
    member.http = ready.http
  }
}

function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_')))
}

function untilReady(child: ChildProcess, explain: () => string): Promise<{ listen: string; http: string }> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const match = /^tidemark ready listen=(\S+) http=(\S+) /m.exec(text)
      if (match !== null) resolve({ listen: match[1] ?? '', http: match[2] ?? '' })
    })
    child.once('exit', () => reject(new Error(explain())))
  })
}
