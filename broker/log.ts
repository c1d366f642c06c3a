// The log of the daemon: one JSON object a line, or one plain line for people, on the error stream, because the output
// stream belongs to data. Pino words the lines; it is loaded when a log is made and not before. The way to the stream is our
// own: the common one retries for ever on a full disk, and would hold up the stop of a broker whose disk is full.
//
// Invariant: the log never holds the broker up. Lines wait in memory while the stream is slow; those beyond
// WAITING_BYTES_MAX, and those that cannot be written, are lost, and their number is told when it goes on.

import type { Logger } from '../shared/logger.ts'
import { write } from 'node:fs'
import { silentLogger } from '../shared/logger.ts'
import { systemTimers } from '../shared/time.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'
export type LogFormat = 'json' | 'pretty'

export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat
}

export interface Log extends Logger {
  /** Resolves when what was said has been written, or after a second. To be awaited before the process ends. */
  flush(): Promise<void>
}

const STANDARD_ERROR = 2
const WAITING_BYTES_MAX = 4 * 1024 * 1024
const RETRY_MS = 20
const FLUSH_TIMEOUT_MS = 1_000

export async function createLog(options: LogOptions): Promise<Log> {
  if (options.level === 'silent') return { ...silentLogger, flush: () => Promise.resolve() }
  const { pino } = await import('pino')
  const lines = new LineWriter()
  const log = pino(
    {
      level: options.level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      errorKey: 'error',
    },
    { write: (line) => lines.write(options.format === 'json' ? line : pretty(line)) },
  )
  lines.onLost = (count) => log.warn({ lines: count }, 'lines of the log were lost')
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    flush: () => lines.flush(),
  }
}

/** Writes lines in order, those that came meanwhile as one. */
class LineWriter {
  /** Told how many lines were lost, when writing has worked again. */
  onLost: (lines: number) => void = () => undefined
  #waiting: string[] = []
  #waitingBytes = 0
  #isWriting = false
  #lost = 0
  readonly #idleWaiters: (() => void)[] = []

  write(line: string): void {
    if (this.#waitingBytes + line.length > WAITING_BYTES_MAX) {
      this.#lost++
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += line.length
    if (!this.#isWriting) this.#writeWaiting()
  }

  flush(): Promise<void> {
    if (!this.#isWriting) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = systemTimers.after(FLUSH_TIMEOUT_MS, resolve)
      this.#idleWaiters.push(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  #writeWaiting(): void {
    const lines = this.#waiting
    if (lines.length === 0) {
      this.#isWriting = false
      for (const wake of this.#idleWaiters.splice(0)) wake()
      return
    }
    this.#isWriting = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#writeAll(Buffer.from(lines.join('')), lines.length)
  }

  #writeAll(bytes: Uint8Array, lines: number): void {
    write(STANDARD_ERROR, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        systemTimers.after(RETRY_MS, () => this.#writeAll(bytes, lines), { background: true })
      } else if (error !== null) {
        this.#lost += lines
        this.#writeWaiting()
      } else if (written < bytes.length) {
        this.#writeAll(bytes.subarray(written), lines)
      } else {
        this.#tellLost()
        this.#writeWaiting()
      }
    })
  }

  #tellLost(): void {
    const lost = this.#lost
    this.#lost = 0
    if (lost > 0) this.onLost(lost)
  }
}

/** A JSON line as `time LEVEL message key=value …`. */
function pretty(line: string): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  const details = Object.entries(fields).map(([key, value]) => ` ${key}=${plain(value)}`)
  return `${plain(time)} ${plain(level).toUpperCase().padEnd(5)} ${typeof msg === 'string' ? msg : ''}${details.join('')}\n`
}

function plain(value: unknown): string {
  if (typeof value === 'string' && !/[\s"=]/.test(value)) return value
  return JSON.stringify(value) ?? ''
}
