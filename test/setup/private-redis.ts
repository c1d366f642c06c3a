// One redis-server of a test's own: started on a free port of the loopback address, stopped by its process id. Knows
// nothing of how the program was found. Invariant: a server never outlives the test process that started it.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { RedisServer } from '../../scripts/ensure-redis.ts'
import { freePort } from './free-port.ts'

export interface PrivateRedisOptions {
  /** To start again where an earlier server stood; a free one if absent. */
  readonly port?: number
  /** To start again on the files of an earlier server; a temporary one, removed at the end, if absent. */
  readonly directory?: string
  /** Where it listens. Default 127.0.0.1. */
  readonly host?: string
  /** Command and arguments that start it, such as those that enter a network namespace; its process must become the server. */
  readonly within?: readonly string[]
  /** More of redis-server's own arguments, such as `--appendonly`, `yes`; they win over those given here. */
  readonly args?: readonly string[]
}

export interface PrivateRedis extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** SIGSTOP and SIGCONT pause and resume it, SIGKILL is a crash. */
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void
  /** Ends the process and resolves when it is gone. Idempotent. */
  stop(): Promise<void>
}

const START_ATTEMPTS_MAX = 5
const READY_LINE = 'Ready to accept connections'
const PORT_TAKEN = 'Address already in use'

/** Resolves when the server accepts connections. */
export async function startPrivateRedis(server: RedisServer, options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort())
    const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'tidemark-redis-')))
    const removeDirectory = async (): Promise<void> => {
      if (options.directory === undefined) await rm(directory, { recursive: true, force: true })
    }
    const { host = '127.0.0.1', within = [] } = options
    const base = ['--port', `${port}`, '--bind', host, '--save', '', '--appendonly', 'no', '--dir', directory]
    const [program = '', ...words] = [...within, server.bin, ...base, ...(options.args ?? [])]
    const child = spawn(program, words, {
      env: { ...process.env, ...server.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const refusal = await untilReady(child)
    if (refusal === undefined) return privateRedis(child, host, port, removeDirectory)
    await removeDirectory()
    // Between choosing the port and listening on it, somebody else may have taken it.
    const mayRetry = refusal.includes(PORT_TAKEN) && options.port === undefined && attempt < START_ATTEMPTS_MAX
    if (!mayRetry) throw new Error(`redis-server did not start on port ${port}: ${refusal}`)
  }
}

function privateRedis(
  child: ChildProcess,
  host: string,
  port: number,
  removeDirectory: () => Promise<void>,
): PrivateRedis {
  const { pid } = child
  if (pid === undefined) throw new Error('redis-server said that it is ready but has no process id')
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const killAtExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killAtExit)
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await gone
    process.off('exit', killAtExit)
    await removeDirectory()
  }
  return {
    url: `redis://${host}:${port}/0`,
    port,
    pid,
    signal: (name) => void child.kill(name),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** Undefined once the server is ready, else what it said before it ended. */
async function untilReady(child: ChildProcess): Promise<string | undefined> {
  if (child.stdout === null) throw new Error('redis-server was started without a pipe')
  const said: string[] = []
  return new Promise((resolve) => {
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    // Reading on after the ready line keeps the pipe from filling up.
    lines.on('line', (line) => {
      if (said.length < 50) said.push(line)
      if (line.includes(READY_LINE)) resolve(undefined)
    })
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code) => resolve(`exit code ${code}\n${said.join('\n')}`))
  })
}
