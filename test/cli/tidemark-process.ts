// Runs the built command as a user does: dist/broker/cli.js in a process of its own. Builds nothing and judges nothing.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const CLI = process.env['TIDEMARK_CLI'] ?? join(import.meta.dirname, '..', '..', 'dist', 'broker', 'cli.js')

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The environment without what the machine may have set for a tidemark of its own. */
function cleanEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_'))
  return { ...Object.fromEntries(inherited), ...extra }
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly environment?: NodeJS.ProcessEnv
  /** A file descriptor that takes the error stream. */
  readonly errorStream?: number
}

export class Tidemark {
  readonly child: ChildProcess
  readonly #exited: Promise<number | null>
  #stdout = ''
  #stderr = ''
  #onOutput: () => void = () => undefined

  constructor(words: readonly string[], options: RunOptions = {}) {
    this.child = spawn(process.execPath, [CLI, ...words], {
      env: cleanEnvironment(options.environment),
      stdio: ['pipe', 'pipe', options.errorStream ?? 'pipe'],
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
      this.#onOutput()
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
      this.#onOutput()
    })
    // Whoever stops reading its input, as after a usage error, is no failure of the test.
    this.child.stdin?.on('error', () => undefined)
    this.child.stdin?.end(options.input ?? '')
    this.#exited = once(this.child, 'close').then(([code]) => code as number | null)
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  async finished(): Promise<Finished> {
    const code = await this.#exited
    return { code, stdout: this.#stdout, stderr: this.#stderr }
  }

  /** Resolves as soon as the output or error stream has matched. @throws when the process ends first */
  async saw(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr)
      if (match !== null) return match
      const moved = new Promise<'moved'>((resolve) => {
        this.#onOutput = () => resolve('moved')
      })
      if ((await Promise.race([moved, this.#exited])) !== 'moved') {
        const last = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr)
        if (last !== null) return last
        throw new Error(`ended without ${String(pattern)}:\n${this.#stdout}\n${this.#stderr}`)
      }
    }
  }
}

export function run(words: readonly string[], options?: RunOptions): Promise<Finished> {
  return new Tidemark(words, options).finished()
}

export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-cli-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

export interface Daemon {
  readonly process: Tidemark
  /** HOST:PORT for clients. */
  readonly brokers: string
  readonly http: string
  readonly ready: string
}

/** A broker that serves, on free ports unless `--listen` is among the extra words. */
export async function startDaemon(
  dataDir: string,
  extra: readonly string[] = [],
  errorStream?: number,
): Promise<Daemon> {
  const listen = extra.includes('--listen') ? [] : ['--listen', '127.0.0.1:0']
  const words = ['start', ...listen, '--http', '127.0.0.1:0', '--data-dir', dataDir, ...extra]
  const daemon = new Tidemark(words, errorStream === undefined ? {} : { errorStream })
  const match = await daemon.saw(/^tidemark ready listen=(\S+) http=(\S+) broker=\d+ cluster=\S+$/m)
  return { process: daemon, ready: match[0], brokers: match[1] ?? '', http: match[2] ?? '' }
}
