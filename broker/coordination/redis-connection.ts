// The one connection by which a broker coordinates. Owns its life and how failures are told; the only file that knows the
// client library. Knows nothing of what the scripts mean.
//
// Invariant: a command is sent at most once. Nothing is queued while there is no connection and nothing is sent again on
// the next one. Redis may still apply a command late, long after it has been given up: a rejection says that the outcome
// is not known, and scripts are made for that.

import { Redis } from 'ioredis'
import { TidemarkError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { RedisScript } from './redis-scripts.ts'

/** What the coordinator needs of a Redis. */
export interface RedisLink {
  /** Whether commands can be sent at the moment. */
  readonly isUp: boolean
  /** Host, port and database, without secrets. */
  readonly where: string
  /** Begins to connect, and goes on for ever. */
  open(): void
  /** Runs a script. @throws COORDINATOR_NOT_AVAILABLE: unknown outcome; COORDINATOR_NOT_USABLE: refused, nothing done. */
  run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
  /** A section of INFO. @throws as run */
  info(section: string): Promise<string>
  /** A setting of the server; undefined if this user may not see it or there is none. @throws as run */
  setting(name: string): Promise<string | undefined>
  /** Idempotent. */
  close(): void
}

export interface RedisConnectionOptions {
  readonly url: string
  /** How long an answer may take, in milliseconds. */
  readonly commandTimeoutMs: number
  readonly clientName: string
  readonly random: Random
  readonly logger: Logger
  /** Called whenever commands can be sent again. */
  readonly onUp: () => void
}

/** A connection on which nothing has come in for this many answer times is given up: it may lead nowhere. */
const SILENT_TIMES_MAX = 3
const RETRY_DELAY_MS_MIN = 50
const RETRY_DELAY_MS_MAX = 1_000
const PORT = 6379
/** How Redis begins its refusals, and what somebody has to do about them. */
const REFUSALS: readonly (readonly [start: string, remedy: string])[] = [
  ['NOAUTH', 'it needs a password: give it as redis://user:password@host:port'],
  ['WRONGPASS', 'it does not take this user and password'],
  ['NOPERM', 'its user may not do this: allow the keys of the cluster, EVAL, EVALSHA and INFO'],
  ['READONLY', 'it is a read-only replica: name the master'],
  ['OOM', 'its memory is used up: raise maxmemory'],
  ['MISCONF', 'it cannot write to its disk'],
]

export class RedisConnection implements RedisLink {
  readonly where: string
  readonly #options: RedisConnectionOptions
  readonly #redis: Redis
  #isClosed = false

  /** @throws INVALID_OPTION */
  constructor(options: RedisConnectionOptions) {
    this.#options = options
    this.where = placeOf(options.url)
    const { commandTimeoutMs, random } = options
    this.#redis = new Redis(options.url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      commandTimeout: commandTimeoutMs,
      connectTimeout: commandTimeoutMs,
      socketTimeout: commandTimeoutMs * SILENT_TIMES_MAX,
      connectionName: options.clientName,
      disableClientInfo: true,
      retryStrategy: (attempts) => {
        const delayMs = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** Math.min(attempts, 10))
        return Math.ceil(delayMs * (0.5 + random.fraction() / 2))
      },
    })
    this.#redis.on('ready', () => {
      if (!this.#isClosed) options.onUp()
    })
    // Without a listener an error would end the process. Whoever runs a command is told by its rejection.
    this.#redis.on('error', (error) => this.#onError(error))
  }

  get isUp(): boolean {
    return this.#redis.status === 'ready'
  }

  /** Why there is no connection, as far as it is known. */
  #lastError: unknown

  open(): void {
    // Its rejection is the first attempt's only; the attempts go on.
    this.#redis.connect().catch((error: unknown) => this.#onError(error))
  }

  async run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#call(script.name, async () => {
      try {
        return await this.#redis.call('EVALSHA', [script.sha1, keys.length, ...keys, ...args])
      } catch (error) {
        // It forgot all scripts when it was started; nothing has been done.
        if (!isReplyOf(error, 'NOSCRIPT')) throw error
        return this.#redis.call('EVAL', [script.lua, keys.length, ...keys, ...args])
      }
    })
  }

  async info(section: string): Promise<string> {
    return this.#call('INFO', () => this.#redis.info(section))
  }

  async setting(name: string): Promise<string | undefined> {
    return this.#call('CONFIG GET', async () => {
      try {
        const reply = await this.#redis.call('CONFIG', 'GET', name)
        const value: unknown = Array.isArray(reply) ? reply[1] : undefined
        return typeof value === 'string' ? value : undefined
      } catch (error) {
        if (isReplyOf(error, 'NOPERM') || isReplyOf(error, 'ERR')) return undefined
        throw error
      }
    })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#redis.disconnect()
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#failureOf(what, error)
    }
  }

  #failureOf(what: string, error: unknown): TidemarkError {
    const cause = this.isUp ? error : (this.#lastError ?? error)
    const text = messageOf(cause)
    const remedy = REFUSALS.find(([start]) => text.startsWith(start))?.[1]
    if (remedy !== undefined) {
      return new TidemarkError('COORDINATOR_NOT_USABLE', `redis ${this.where}: ${remedy} (${text})`, { cause })
    }
    return new TidemarkError('COORDINATOR_NOT_AVAILABLE', `redis ${this.where} did not answer ${what}: ${text}`, {
      cause,
    })
  }

  #onError(error: unknown): void {
    if (this.#isClosed) return
    this.#lastError = error
    this.#options.logger.debug({ redis: this.where, error: messageOf(error) }, 'no connection to Redis')
  }
}

function placeOf(url: string): string {
  if (!URL.canParse(url)) throw invalid('it is not an address')
  const { protocol, hostname, port, pathname } = new URL(url)
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw invalid('it begins with neither redis: nor rediss:')
  if (hostname === '') throw invalid('it names no host')
  const database = pathname === '' || pathname === '/' ? '/0' : pathname
  if (!/^\/\d{1,5}$/.test(database)) throw invalid('what follows the port is not the number of a database')
  return `${hostname}:${port === '' ? PORT : port}${database}`
}

/** The value is not shown, since it may hold a password. */
function invalid(reason: string): TidemarkError {
  return new TidemarkError('INVALID_OPTION', `redis: ${reason}; write it as redis://127.0.0.1:6379/0`)
}

function isReplyOf(error: unknown, start: string): boolean {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith(start)
}

/** A refused connection to several addresses has its reasons inside. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}
