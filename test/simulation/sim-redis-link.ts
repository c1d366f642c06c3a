// The way between brokers and a simulated Redis: connections that come and go, commands that take their time, are held back
// where the way is cut or Redis stands still, and may be applied long after they were given up. Owns that way and its
// faults; what commands do is sim-redis.ts's. The coordinator that uses it is the real one.
//
// As the real connection does: a command is sent at most once, and rejects while there is no connection; those of one
// connection are applied in their order.

import type { CoordinatorFactory, OnDisk } from '../../broker/coordination/coordinator.ts'
import type { RedisConnectionOptions, RedisLink } from '../../broker/coordination/redis-connection.ts'
import type { RedisScript } from '../../broker/coordination/redis-scripts.ts'
import type { Random } from '../../shared/random.ts'
import type { Timer } from '../../shared/time.ts'
import { redisCoordinator } from '../../broker/coordination/redis-coordinator.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimProcess } from './sim-process.ts'
import { SimRedis, type RedisSnapshot } from './sim-redis.ts'

/** What brokers are told to find it by. */
export const REDIS_URL = 'redis://redis:6379/0'
const SESSION_TIMEOUT_MS = 6_000
const NOTHING_ON_DISK: OnDisk = { clusterId: undefined, tombstones: () => [], leaderships: () => [] }
const INFO = ['redis_version:7.4.0', 'aof_enabled:1', 'connected_slaves:0', 'maxmemory:0'].join('\n')
const SETTINGS: Readonly<Record<string, string>> = {
  appendonly: 'yes',
  appendfsync: 'always',
  maxmemory: '0',
  'maxmemory-policy': 'noeviction',
  'min-replicas-to-write': '0',
}
const RETRY_MS = 300
/** A connection on which nothing has come in for this many answer times is given up. */
const SILENT_TIMES_MAX = 3

export class SimRedisServer {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly redis: SimRedis
  /** Milliseconds on top of every latency. */
  extraLatencyMs = 0
  readonly #onEvent: (who: string, what: string, details: string) => void
  readonly #cuts = new Set<string>()
  readonly #links = new Set<SimRedisLink>()
  #held: { readonly host: string; readonly deliver: () => void }[] = []
  #isDown = false
  #isSilent = false
  /** Of the process: a connection ends with it. */
  #run = 1

  constructor(parts: {
    readonly scheduler: Scheduler
    readonly random: Random
    readonly onEvent: (who: string, what: string, details: string) => void
  }) {
    this.scheduler = parts.scheduler
    this.random = parts.random
    this.#onEvent = parts.onEvent
    this.redis = new SimRedis({ now: () => parts.scheduler.nowMs, random: parts.random })
    this.redis.onPublished = (channel, message) => {
      for (const link of this.#links) link.onPublished(channel, message)
    }
  }

  get run(): number {
    return this.#run
  }

  get isDown(): boolean {
    return this.#isDown
  }

  /** A coordinator as the brokers have it, on a host. */
  coordinator(host: string, process: SimProcess): CoordinatorFactory {
    return (context) => {
      const { redis, onDisk = NOTHING_ON_DISK } = context
      const sessionTtlMs = redis?.sessionTimeoutMs ?? SESSION_TIMEOUT_MS
      return redisCoordinator({ url: REDIS_URL, connect: this.#connector(host, process), onDisk, sessionTtlMs })(
        context,
      )
    }
  }

  /** The process is gone: connections end, new ones are refused. */
  goDown(): void {
    if (this.#isDown) return
    this.#isDown = true
    this.#run += 1
    this.note('redis', 'down', '')
    for (const link of this.#links) link.onServerGone()
  }

  /** Another process, over the data there was, or over that of the snapshot. */
  comeUp(data?: RedisSnapshot): void {
    if (!this.#isDown) return
    this.redis.restart(data)
    this.#isDown = false
    this.note('redis', 'up', data === undefined ? 'as it was' : `with ${data.size} keyspaces`)
  }

  /** As SIGSTOP: what is sent waits. */
  standStill(): void {
    this.#isSilent = true
    this.note('redis', 'stands still', '')
  }

  cut(host: string): void {
    this.#cuts.add(host)
  }

  heal(host: string): void {
    this.#cuts.delete(host)
    this.#deliverHeld()
  }

  healAll(): void {
    this.#cuts.clear()
    this.#isSilent = false
    this.redis.role = 'master'
    this.extraLatencyMs = 0
    this.comeUp()
    this.#deliverHeld()
  }

  goOn(): void {
    this.#isSilent = false
    this.note('redis', 'goes on', '')
    this.#deliverHeld()
  }

  isReachable(host: string): boolean {
    return !this.#isSilent && !this.#cuts.has(host)
  }

  arrivalMs(): number {
    return this.scheduler.nowMs + 0.05 + this.random.fraction() * 2 + this.extraLatencyMs
  }

  /** Delivers now, or as soon as the way is free, behind what waits already. */
  pass(host: string, deliver: () => void): void {
    if (this.isReachable(host) && !this.#held.some((one) => one.host === host)) deliver()
    else this.#held.push({ host, deliver })
  }

  note(who: string, what: string, details: string): void {
    this.#onEvent(who, what, details)
  }

  forget(link: SimRedisLink): void {
    this.#links.delete(link)
  }

  #connector(host: string, process: SimProcess): (options: RedisConnectionOptions) => RedisLink {
    return (parts) => {
      const link = new SimRedisLink(this, host, process, parts)
      this.#links.add(link)
      process.onDeath(() => this.#links.delete(link))
      return link
    }
  }

  #deliverHeld(): void {
    const held = this.#held
    this.#held = []
    for (const { host, deliver } of held) {
      if (this.isReachable(host)) this.scheduler.at(this.arrivalMs(), deliver)
      else this.#held.push({ host, deliver })
    }
  }
}

interface Pending {
  readonly reject: (error: TidemarkError) => void
}

export class SimRedisLink implements RedisLink {
  readonly where = 'redis:6379/0'
  readonly #server: SimRedisServer
  readonly #host: string
  readonly #process: SimProcess
  readonly #options: RedisConnectionOptions
  readonly #pending = new Set<Pending>()
  #isUp = false
  #isOpen = false
  /** Grows with every connection; what belongs to an earlier one is no longer answered. */
  #connection = 0
  #run = 0
  #requestsUntilMs = 0
  #repliesUntilMs = 0
  #heardMs = 0
  #listening: { channel: string; onMessage: (message: string) => void; onListening: () => void } | undefined
  #isListening = false
  #retryTimer: Timer | undefined

  constructor(server: SimRedisServer, host: string, process: SimProcess, options: RedisConnectionOptions) {
    this.#server = server
    this.#host = host
    this.#process = process
    this.#options = options
  }

  get isUp(): boolean {
    return this.#isUp
  }

  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#connect()
  }

  async run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const { redis } = this.#server
    return this.#ask(script.name, () => {
      const isRefused = redis.role !== 'master' && script.name !== 'read'
      return isRefused ? readOnly() : redis.run(script.name, keys, args.map(String))
    })
  }

  async info(section: string): Promise<string> {
    return this.#ask(`INFO ${section}`, () => `${INFO}\nrole:${this.#server.redis.role}`)
  }

  async setting(name: string): Promise<string | undefined> {
    return this.#ask('CONFIG GET', () => SETTINGS[name])
  }

  get isListening(): boolean {
    return this.#isListening
  }

  listen(channel: string, onMessage: (message: string) => void, onListening: () => void): void {
    this.#listening = { channel, onMessage, onListening }
    if (this.#isUp) this.#listenAgain()
  }

  /** Hints get lost where the way is not free, and now and then elsewhere. */
  onPublished(channel: string, message: string): void {
    const server = this.#server
    if (!this.#isListening || this.#listening?.channel !== channel) return
    if (!server.isReachable(this.#host) || server.random.integer(10) === 0) return
    server.scheduler.at(server.arrivalMs(), () => {
      this.#process.run('redis tells', message, () => {
        if (this.#isOpen) this.#listening?.onMessage(message)
      })
    })
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#retryTimer?.cancel()
    this.#server.forget(this)
    this.#lose('the connection is closed')
  }

  onServerGone(): void {
    const connection = this.#connection
    this.#server.pass(this.#host, () => {
      this.#server.scheduler.at(this.#server.arrivalMs(), () => {
        this.#process.run('redis closed', '', () => {
          if (connection === this.#connection) this.#lose('the connection was closed')
        })
      })
    })
  }

  #connect(): void {
    const server = this.#server
    this.#connection += 1
    const connection = this.#connection
    const isCurrent = (): boolean => this.#isOpen && connection === this.#connection && this.#process.isAlive
    server.scheduler.at(server.arrivalMs(), () => {
      server.pass(this.#host, () => {
        const { run, isDown } = server
        server.scheduler.at(server.arrivalMs(), () => {
          this.#process.run('redis connected', '', () => {
            if (!isCurrent()) return
            if (isDown || run !== server.run) this.#retryLater()
            else this.#onConnected(run)
          })
        })
      })
    })
  }

  #onConnected(run: number): void {
    this.#isUp = true
    this.#run = run
    this.#heardMs = this.#process.monotonic()
    this.#requestsUntilMs = 0
    this.#repliesUntilMs = 0
    this.#options.onUp()
    this.#listenAgain()
  }

  #listenAgain(): void {
    const server = this.#server
    const connection = this.#connection
    if (this.#listening === undefined) return
    server.scheduler.at(server.arrivalMs() + server.random.fraction() * 50, () => {
      this.#process.run('redis listens', '', () => {
        if (!this.#isUp || connection !== this.#connection || !server.isReachable(this.#host)) return
        this.#isListening = true
        this.#listening?.onListening()
      })
    })
  }

  #retryLater(): void {
    const delayMs = RETRY_MS * (0.5 + this.#server.random.fraction())
    const connection = this.#connection
    this.#retryTimer = this.#process.after(delayMs, () => {
      if (this.#isOpen && connection === this.#connection) this.#connect()
    })
  }

  #lose(reason: string): void {
    this.#isUp = false
    this.#isListening = false
    this.#connection += 1
    for (const { reject } of this.#pending) reject(unavailable(reason))
    this.#pending.clear()
    if (this.#isOpen) this.#retryLater()
  }

  #ask<T>(what: string, apply: () => T): Promise<T> {
    if (!this.#isUp) return Promise.reject(unavailable(`${what}: there is no connection`))
    return new Promise<T>((resolve, reject) => {
      const timer = this.#process.after(this.#options.commandTimeoutMs, () => {
        settle()
        reject(unavailable(`${what}: no answer in time`))
        const silentMs = this.#process.monotonic() - this.#heardMs
        const isDead = silentMs > this.#options.commandTimeoutMs * SILENT_TIMES_MAX
        if (isDead && this.#isUp) this.#lose('the connection is silent')
      })
      const settle = (): void => {
        timer.cancel()
        this.#pending.delete(pending)
      }
      const pending: Pending = {
        reject: (error) => {
          settle()
          reject(error)
        },
      }
      this.#pending.add(pending)
      this.#send(what, apply, (value) => {
        settle()
        if (value instanceof TidemarkError) reject(value)
        else resolve(value)
      })
    })
  }

  #send<T>(what: string, apply: () => T, onReply: (value: T) => void): void {
    const server = this.#server
    const connection = this.#connection
    const run = this.#run
    this.#requestsUntilMs = Math.max(this.#requestsUntilMs, server.arrivalMs())
    server.scheduler.at(this.#requestsUntilMs, () => {
      server.pass(this.#host, () => {
        // What was sent to a process that is gone is gone with it.
        if (server.isDown || run !== server.run) return
        const value = apply()
        if (what !== 'read' && what !== 'renew-session') server.note(this.#host, what, JSON.stringify(value))
        this.#repliesUntilMs = Math.max(this.#repliesUntilMs, server.arrivalMs())
        server.scheduler.at(this.#repliesUntilMs, () => {
          server.pass(this.#host, () => {
            this.#process.run('redis answers', what, () => {
              if (connection !== this.#connection) return
              this.#heardMs = this.#process.monotonic()
              onReply(value)
            })
          })
        })
      })
    })
  }
}

function readOnly(): TidemarkError {
  return new TidemarkError('COORDINATOR_NOT_USABLE', 'redis: redis:6379/0 is a read-only replica; name its master')
}

function unavailable(reason: string): TidemarkError {
  return new TidemarkError('COORDINATOR_NOT_AVAILABLE', `redis redis:6379/0 ${reason}`)
}
