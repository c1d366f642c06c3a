// The log of the daemon: one JSON object a line, or one plain line for people, on the error stream, because the output
// stream belongs to data. The only file that knows pino, which is loaded when a log is made and not before.
//
// Invariant: the log never holds the broker up. Lines wait in memory while the stream is slow, and those beyond
// BUFFERED_BYTES_MAX are lost.

import type { Logger } from '../shared/logger.ts'
import { silentLogger } from '../shared/logger.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'
export type LogFormat = 'json' | 'pretty'

export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat
  /** Facts that every line carries, such as the broker's id. */
  readonly base?: Readonly<Record<string, string | number>>
}

export interface Log extends Logger {
  /** Writes out what is waiting. To be called before the process ends. */
  flush(): void
}

const BUFFERED_BYTES_MAX = 4 * 1024 * 1024
const STANDARD_ERROR = 2

export async function createLog(options: LogOptions): Promise<Log> {
  if (options.level === 'silent') return { ...silentLogger, flush: () => undefined }
  const { pino } = await import('pino')
  const destination = pino.destination({ fd: STANDARD_ERROR, sync: false, maxLength: BUFFERED_BYTES_MAX })
  const stream = options.format === 'json' ? destination : { write: (line: string) => destination.write(pretty(line)) }
  const log = pino(
    {
      level: options.level,
      base: options.base ?? {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      errorKey: 'error',
    },
    stream,
  )
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    flush() {
      try {
        destination.flushSync()
      } catch (error) {
        // The stream is gone or was never ready; there is nobody left to tell.
        if (!(error instanceof Error)) throw error
      }
    },
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
