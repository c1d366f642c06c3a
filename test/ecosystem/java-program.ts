// A program of Kafka's in a process of its own, with the jars of the ecosystem. Owns the process and the end of what it has
// said. Judges nothing. Invariant: no process outlives the one that started it.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { Waiters } from '../interop/waiters.ts'

/** Started quickly rather than made quick: it does not live long. */
const OPTIONS = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx512m']
const LINES_KEPT = 2_000
const LINES_TOLD = 30

export interface JavaProgramOptions {
  readonly main: string
  readonly args: readonly string[]
  /** Folders of classes and jars. */
  readonly classPath: readonly string[]
}

export class JavaProgram implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #waiters = new Waiters()
  readonly #gone: Promise<number | null>
  readonly #killAtExit: () => void
  #hasEnded = false

  constructor({ main, args, classPath }: JavaProgramOptions) {
    const words = [...OPTIONS, '-cp', classPath.join(':'), main, ...args]
    const child = spawn('java', words, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.#lines.push(line)
        if (this.#lines.length > LINES_KEPT) this.#lines.shift()
        this.#waiters.tell()
      })
    }
    this.#killAtExit = () => void child.kill('SIGKILL')
    process.once('exit', this.#killAtExit)
    this.#gone = new Promise((resolve) => {
      const end = (code: number | null): void => {
        this.#hasEnded = true
        process.off('exit', this.#killAtExit)
        this.#waiters.tell()
        resolve(code)
      }
      child.once('error', () => end(null))
      child.once('close', end)
    })
  }

  /** All that it has said of late, line by line. */
  get lines(): readonly string[] {
    return this.#lines
  }

  /** What it has said last. */
  get said(): string {
    return this.#lines.slice(-LINES_TOLD).join('\n')
  }

  hasSaid(text: string): boolean {
    return this.#lines.some((line) => line.includes(text))
  }

  /** Waits until it has said it. */
  async until(text: string, limitMs: number): Promise<void> {
    await this.#waiters.until(() => this.hasSaid(text) || this.#hasEnded, limitMs)
    if (!this.hasSaid(text)) throw new Error(`still waiting for ${text}:\n${this.said}`)
  }

  /** Waits until it has ended by itself, and answers with what. */
  async ended(limitMs: number): Promise<number | null> {
    await this.#waiters.until(() => this.#hasEnded, limitMs)
    if (!this.#hasEnded) throw new Error(`still running:\n${this.said}`)
    return this.#gone
  }

  /** Ends it, in order or not. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#child.kill(signal)
    await this.#gone
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end('SIGKILL')
  }
}

/** The folder of the classes of one source. */
export async function compile(source: string, jars: string): Promise<string> {
  const classes = await mkdtemp(join(tmpdir(), 'tidemark-classes-'))
  await promisify(execFile)('javac', ['-nowarn', '-d', classes, '-cp', `${jars}/*`, source])
  return classes
}
