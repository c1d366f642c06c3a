// The connection by which a broker coordinates. Owns its life and how failures are told; the only file that knows the
// client library. Knows nothing of what the scripts mean.
//
// What is told between brokers comes by a second connection, since a connection that listens takes no commands. It may
// break, or not be allowed at all: what it tells are hints.
//
// Invariant: a command is sent at most once. Nothing is queued while there is no connection and nothing is sent again on
// the next one. Redis may still apply a command late, long after it has been given up: a rejection says that the outcome
// is not known, and scripts are made for that.

import { Redis, type RedisOptions } from 'ioredis'
import { TidemarkError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import { parseRedisUrl } from '../../shared/redis-url.ts'
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
  /**
   * Listens on a channel, for ever. Messages may get lost; `onListening` is told whenever some may have been. Absent where
   * nothing is told.
   */
  listen?(channel: string, onMessage: (message: string) => void, onListening: () => void): void
  /** Whether messages come in at the moment, as far as it is known. */
  readonly isListening?: boolean
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
  /** Called for every command that failed. */
  readonly onFailure?: () => void
}

/** A connection on which nothing has come in for this many answer times is given up: it may lead nowhere. */
const SILENT_TIMES_MAX = 3
const KEEP_ALIVE_MS = 10_000
const RETRY_DELAY_MS_MIN = 50
const RETRY_DELAY_MS_MAX = 1_000
/** How Redis begins its refusals, and what somebody has to do about them. */
const REFUSALS: readonly (readonly [start: string, remedy: string])[] = [
  [
    'NOAUTH',
    'needs a password; write it into the address, as redis://user:password@host:port, or into a file that TIDEMARK_REDIS_FILE names',
  ],
  ['WRONGPASS', 'does not take this user and password; correct them in the address'],
  ['ERR invalid password', 'does not take this password; correct it in the address'],
  ['NOPERM', 'does not allow this to its user; allow the keys of the cluster, EVAL, EVALSHA and INFO'],
  ['ERR DB index', 'has no database with this number; correct what follows the port in the address'],
  ['READONLY', 'is a read-only replica; name its master'],
  ['OOM', 'has used up its memory; raise maxmemory'],
  ['MISCONF', 'cannot write to its disk; its own log says why'],
  ['Unknown RESP type', 'is no Redis; correct the address'],
]

export class RedisConnection implements RedisLink {
  readonly where: string
  readonly #options: RedisConnectionOptions
  readonly #redis: Redis
  /** Why there is no connection, as far as it is known. */
  #lastError: unknown
  /** Why none of its commands may be run on this connection. */
  #refusal: Error | undefined
  #listener: Redis | undefined
  #isListening = false
  #isClosed = false

  /** @throws INVALID_OPTION */
  constructor(options: RedisConnectionOptions) {
    this.#options = options
    this.where = parseRedisUrl(options.url).place
    this.#redis = this.#connection(options.clientName)
    this.#redis.on('ready', () => {
      if (!this.#isClosed) options.onUp()
    })
    // Without a listener an error would end the process. Whoever runs a command is told by its rejection.
    this.#redis.on('error', (error) => this.#onError(error))
  }

  #connection(name: string, more: Pick<RedisOptions, 'socketTimeout' | 'keepAlive'> = {}): Redis {
    const { url, commandTimeoutMs, random } = this.#options
    const { host, port, database, user, password, isEncrypted } = parseRedisUrl(url)
    return new Redis({
      host,
      port,
      db: database,
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password }),
      ...(isEncrypted ? { tls: {} } : {}),
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      commandTimeout: commandTimeoutMs,
      connectTimeout: commandTimeoutMs,
      socketTimeout: commandTimeoutMs * SILENT_TIMES_MAX,
      connectionName: name,
      disableClientInfo: true,
      retryStrategy: (attempts) => {
        const delayMs = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** Math.min(attempts, 10))
        return Math.ceil(delayMs * (0.5 + random.fraction() / 2))
      },
      ...more,
    })
  }

  get isUp(): boolean {
    return this.#redis.status === 'ready'
  }

  open(): void {
    // Its rejection is the first attempt's only; the attempts go on.
    this.#redis.connect().catch((error: unknown) => this.#onError(this.#lastError ?? error))
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

  get isListening(): boolean {
    return this.#isListening
  }

  listen(channel: string, onMessage: (message: string) => void, onListening: () => void): void {
    const { logger, clientName } = this.#options
    // Silence is what a listener mostly hears.
    const listener = this.#connection(`${clientName}-hints`, { socketTimeout: undefined, keepAlive: KEEP_ALIVE_MS })
    this.#listener = listener
    const subscribe = async (): Promise<void> => {
      await listener.subscribe(channel)
      if (this.#isClosed) return
      this.#isListening = true
      onListening()
    }
    const onFailure = (error: unknown): void => {
      if (!this.#isClosed) logger.debug({ redis: this.where, error: messageOf(error) }, 'no hints come from Redis')
    }
    listener.on('ready', () => void subscribe().catch(onFailure))
    listener.on('close', () => (this.#isListening = false))
    listener.on('error', onFailure)
    listener.on('message', (_channel: string, message: string) => {
      if (!this.#isClosed) onMessage(message)
    })
    listener.connect().catch(onFailure)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isListening = false
    this.#redis.disconnect()
    this.#listener?.disconnect()
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      if (this.#refusal !== undefined) throw this.#refusal
      // The library lets some commands through while it still introduces itself: they would be refused for want of a password
      // before it tells that the password is wrong.
      if (!this.isUp) throw new Error('no connection yet')
      return await work()
    } catch (error) {
      throw this.#failureOf(what, error)
    }
  }

  #failureOf(what: string, error: unknown): TidemarkError {
    this.#options.onFailure?.()
    const cause = this.isUp ? error : (this.#lastError ?? error)
    const text = messageOf(cause)
    const remedy = REFUSALS.find(([start]) => text.startsWith(start))?.[1]
    if (remedy !== undefined) {
      return new TidemarkError('COORDINATOR_NOT_USABLE', `redis: ${this.where} ${remedy} (${text})`, { cause })
    }
    const message = this.isUp
      ? `redis: ${this.where} did not answer ${what}: ${text}`
      : `redis: nothing answers at ${this.where}: ${text}`
    return new TidemarkError('COORDINATOR_NOT_AVAILABLE', message, { cause })
  }

  #onError(error: unknown): void {
    if (this.#isClosed) return
    this.#lastError = error
    // The library would go on, with database 0.
    if (isReplyOf(error, 'ERR DB index')) this.#refusal = error
    this.#options.logger.debug({ redis: this.where, error: messageOf(error) }, 'no connection to Redis')
  }
}

function isReplyOf(error: unknown, start: string): error is Error {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith(start)
}

/** A refused connection to several addresses has its reasons inside. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}
