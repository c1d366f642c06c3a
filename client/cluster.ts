// The brokers as one thing to ask: finds the broker that a request is for, asks it, and asks again where that may help.
// Owns the pool of connections and the metadata. Knows the errors of asking, not the meaning of what is asked.

import { setMaxListeners } from 'node:events'
import type { TidemarkError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ApiName, RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import { wordsOf } from '../shared/protocol/api-words.ts'
import type { Answer, AskOptions, Connection } from './connection.ts'
import { ConnectionPool, type Purpose } from './connection-pool.ts'
import type { ClientEnvironment } from './environment.ts'
import { errorOf, NotConnectedError, toTidemarkError } from './errors.ts'
import { hedge } from './hedge.ts'
import { isPassing, MetadataCache, type TopicMetadata } from './metadata-cache.ts'
import type { ClientSettings } from './options.ts'
import { backoffMs, isMetadataStale, isOutcomeUnknown } from './retry.ts'
import { inScope, type Scope, type WaitOptions } from './scope.ts'
import type { Address } from './transport.ts'

/** A topic that the broker does not know is asked for so often before that is believed: a new one may take a moment. */
const UNKNOWN_TOPIC_TRIES = 4
/** A broker that has not answered after so many milliseconds has another asked beside it. */
const METADATA_SILENCE_MS = 250
const SILENCE_MS = 1_000
/** Asked for metadata again within so many milliseconds, another broker is asked: the one before may know less. */
const ASKED_AGAIN_MS = 2_000
/** A broker that kept silent is asked last for so many milliseconds. */
const SILENT_FOR_MS = 10_000

export interface AskClusterOptions {
  /** Whether asking twice is as good as asking once; if not, an unknown outcome is the caller's to see. */
  readonly isRepeatable: boolean
  /** The broker that must be asked, also by its id; any when absent. */
  readonly to?: 'controller' | number
}

export class Cluster {
  readonly environment: ClientEnvironment
  readonly settings: ClientSettings
  readonly metadata: MetadataCache
  readonly #pool: ConnectionPool
  readonly #closing = new AbortController()
  #lastFailure: TidemarkError | undefined
  /** Brokers, by host:port, that kept somebody waiting, and until when they are asked last for it; monotonic clock. */
  readonly #silentUntil = new Map<string, number>()
  /** By the monotonic clock. */
  #metadataAskedAt = -Infinity
  #metadataTurn = 0

  constructor(environment: ClientEnvironment, settings: ClientSettings) {
    this.environment = environment
    this.settings = settings
    // Every call that waits listens to it: many at once are no leak.
    setMaxListeners(0, this.closing)
    this.#pool = new ConnectionPool(environment, settings)
    this.metadata = new MetadataCache(environment.clock, settings.metadataMaxAgeMs, (topics, createMissing) =>
      this.#askMetadata(topics, createMissing),
    )
  }

  /** What went wrong the last time that something was tried again, if nothing has gone well since; for messages. */
  get lastFailure(): TidemarkError | undefined {
    return this.#lastFailure
  }

  get logger(): Logger {
    return this.settings.logger
  }

  /** Fires when the client closes. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  close(): void {
    const reason = errorOf('CLIENT_CLOSED', 'the client has been closed')
    this.#closing.abort(reason)
    this.#pool.close(reason)
  }

  /** Runs one call of the application: by its signal, its timeout or the client's, until the client closes. */
  call<T>(what: string, options: WaitOptions, work: (scope: Scope) => Promise<T>): Promise<T> {
    const timeoutMs = options.timeoutMs ?? this.settings.callTimeoutMs
    return inScope(this.environment, { signal: options.signal, timeoutMs, closing: this.closing, what }, work)
  }

  /** The open connection to a broker, without waiting. */
  connectionNow(brokerId: number, purpose: Purpose): Connection | undefined {
    const address = this.metadata.addressOf(brokerId)
    return address === undefined ? undefined : this.#pool.openNow(address, purpose)
  }

  /** @throws CONNECTION_FAILED after one attempt. */
  async connection(brokerId: number, purpose: Purpose, scope: Scope): Promise<Connection> {
    const address = this.metadata.addressOf(brokerId)
    if (address === undefined) throw new NotConnectedError(`the address of broker ${brokerId} is not known`)
    return this.#pool.get(address, purpose, scope)
  }

  /** To an address that a broker has told. @throws CONNECTION_FAILED after one attempt. */
  connectionAt(address: Address, purpose: Purpose, scope: Scope): Promise<Connection> {
    return this.#pool.get(address, purpose, scope)
  }

  /** One attempt at one broker. */
  async askBroker<Name extends ApiName>(
    brokerId: number,
    api: Name,
    request: RequestOf<Name>,
    options: { readonly purpose: Purpose; readonly scope: Scope } & Omit<AskOptions, 'signal'>,
  ): Promise<Answer<Name>> {
    const connection = await this.connection(brokerId, options.purpose, options.scope)
    return connection.ask(api, request, { ...options, signal: options.scope.signal })
  }

  /** Asks whoever answers first, and again after errors that may pass. */
  ask<Name extends ApiName>(
    api: Name,
    request: RequestOf<Name>,
    scope: Scope,
    options: AskClusterOptions,
  ): Promise<ResponseOf<Name>> {
    return this.retrying(wordsOf(api), scope, options.isRepeatable, async () => {
      if (options.isRepeatable && options.to === undefined) {
        return this.#askFirst(api, request, scope, { silenceMs: SILENCE_MS, candidates: () => this.#candidates() })
      }
      const connection =
        typeof options.to === 'number'
          ? await this.#connectionOf(options.to, scope)
          : options.to === 'controller'
            ? await this.#controllerConnection(scope)
            : await this.#anyConnection(scope)
      const { body } = await connection.ask(api, request, { signal: scope.signal })
      return body
    })
  }

  /**
   * Repeats an attempt as long as its error may pass, the retries last and the scope goes on. An outcome that is not known
   * is repeated only if that does no harm. `topic` is the one whose leaders are asked: a broker that is gone says nothing of
   * it. @throws the last error; OUTCOME_UNKNOWN.
   */
  async retrying<T>(
    what: string,
    scope: Scope,
    isRepeatable: boolean,
    attempt: () => Promise<T>,
    topic?: string,
  ): Promise<T> {
    const { retry } = this.settings
    let last: TidemarkError | undefined
    for (let failures = 1; ; failures += 1) {
      try {
        const done = await attempt()
        this.#lastFailure = undefined
        return done
      } catch (thrown) {
        const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', what)
        if (scope.isOver) throw withCause(scope, thrown === scope.signal.reason ? (last ?? error) : error)
        last = error
        if (!isRepeatable && isOutcomeUnknown(error)) {
          throw errorOf('OUTCOME_UNKNOWN', `${what}: ${error.message}; it may have been done`, { cause: error })
        }
        if (!error.retriable || failures > retry.retries) throw error
        this.logger.debug({ what, failures, reason: error.message }, 'trying again')
        await this.#pauseAfter(error, failures, scope)
        const about = error.topic ?? topic
        if (isMetadataStale(error.code)) await this.#refreshQuietly(about === undefined ? [] : [about])
      }
    }
  }

  /**
   * The topic, asked for if need be. @throws UNKNOWN_TOPIC_OR_PARTITION after a few tries, the last error when the caller
   * named a number of retries and they are used up, or what the scope says.
   */
  async topic(name: string, scope: Scope, options: { readonly createMissing: boolean }): Promise<TopicMetadata> {
    const known = this.metadata.topic(name)
    if (known !== undefined && !this.metadata.isStale(name)) return known
    const { retry, areRetriesGiven } = this.settings
    const triesMax = areRetriesGiven ? retry.retries + 1 : Infinity
    let last: TidemarkError | undefined
    for (let tries = 1; ; tries += 1) {
      let failure: TidemarkError | undefined
      try {
        await scope.race(this.metadata.refresh([name], options.createMissing))
        const found = this.metadata.topic(name)
        if (found !== undefined && found.partitions.length > 0) {
          this.#lastFailure = undefined
          return found
        }
        failure = this.metadata.refusalOf(name)
      } catch (error) {
        failure = toTidemarkError(error, 'CONNECTION_FAILED', `metadata of ${name}`)
        if (scope.isOver) throw withCause(scope, error === scope.signal.reason ? (last ?? failure) : failure)
      }
      failure ??= errorOf('UNKNOWN_TOPIC_OR_PARTITION', `topic ${name} was not described`, { topic: name })
      const isUnknown = failure.code === 'UNKNOWN_TOPIC_OR_PARTITION'
      if (isUnknown && tries >= Math.min(UNKNOWN_TOPIC_TRIES, triesMax)) {
        throw errorOf(failure.code, `there is no topic ${name}`, { topic: name, cause: failure })
      }
      if (tries >= triesMax || (!failure.retriable && !isPassing(failure.code))) throw failure
      last = failure
      await this.#pauseAfter(failure, tries, scope)
    }
  }

  /** Who leads a partition, waiting for somebody to. @throws LEADER_NOT_AVAILABLE when the retries are used up. */
  leaderOf(topic: string, partition: number, scope: Scope): Promise<{ brokerId: number; leaderEpoch?: number }> {
    return this.retrying(`leader of ${topic}-${partition}`, scope, true, async () => {
      const metadata = await this.topic(topic, scope, { createMissing: false })
      const known = metadata.partitions[partition]
      const where = { topic, partition }
      if (known === undefined) {
        const text = `${topic} has ${metadata.partitions.length} partitions, none of number ${partition}`
        throw errorOf('INVALID_ARGUMENT', text, where)
      }
      if (known.leader === undefined)
        throw errorOf('LEADER_NOT_AVAILABLE', `${topic}-${partition} has no leader`, where)
      const { leader: brokerId, leaderEpoch } = known
      return leaderEpoch === undefined ? { brokerId } : { brokerId, leaderEpoch }
    })
  }

  /** @throws what ends the scope, with the error as its cause: a timeout alone does not say what is wrong. */
  async #pauseAfter(error: TidemarkError, failures: number, scope: Scope): Promise<void> {
    this.#lastFailure = error
    try {
      await scope.sleep(backoffMs(failures, this.settings.retry, this.environment.random))
    } catch {
      throw withCause(scope, error)
    }
  }

  async #askMetadata(topics: readonly string[], createMissing: boolean): Promise<ResponseOf<'metadata'>> {
    const now = this.environment.clock.monotonic()
    const isAskedAgain = now - this.#metadataAskedAt < ASKED_AGAIN_MS
    this.#metadataAskedAt = now
    this.#metadataTurn += 1
    const turn = this.#metadataTurn
    const candidates = (): Address[] => (isAskedAgain ? this.#candidatesInTurn(turn) : this.#candidates())
    const options = { timeoutMs: this.settings.requestTimeoutMs, closing: this.closing, what: 'metadata' }
    return inScope(this.environment, options, (scope) =>
      this.#askFirst('metadata', { topics, createMissing }, scope, { silenceMs: METADATA_SILENCE_MS, candidates }),
    )
  }

  /** The answer of whoever answers first; a silent broker holds nobody up. */
  #askFirst<Name extends ApiName>(
    api: Name,
    request: RequestOf<Name>,
    scope: Scope,
    options: { readonly silenceMs: number; readonly candidates: () => readonly Address[] },
  ): Promise<ResponseOf<Name>> {
    return hedge(wordsOf(api), {
      environment: this.environment,
      scope,
      ...options,
      attempt: async (address, attempt) => {
        const connection = await this.#pool.get(address, 'control', attempt)
        const { body } = await connection.ask(api, request, { signal: attempt.signal })
        this.#silentUntil.delete(keyOf(address))
        return body
      },
      onSilent: (address) => this.#onSilent(address),
    })
  }

  async #refreshQuietly(topics: readonly string[]): Promise<void> {
    try {
      await this.metadata.refresh(topics, false)
    } catch (error) {
      this.logger.debug({ topics, reason: String(error) }, 'metadata could not be refreshed')
    }
  }

  /** Of a member. @throws INVALID_ARGUMENT naming the members */
  async #connectionOf(brokerId: number, scope: Scope): Promise<Connection> {
    await scope.race(this.metadata.refresh([], false))
    const address = this.metadata.addressOf(brokerId)
    if (address !== undefined) return this.#pool.get(address, 'control', scope)
    const ids = this.metadata.brokerIds().join(', ')
    throw errorOf('INVALID_ARGUMENT', `there is no broker ${brokerId} at the moment; there are: ${ids}`)
  }

  async #controllerConnection(scope: Scope): Promise<Connection> {
    if (this.metadata.controllerId === undefined) await scope.race(this.metadata.refresh([], false))
    const id = this.metadata.controllerId
    const address = id === undefined ? undefined : this.metadata.addressOf(id)
    return address === undefined ? this.#anyConnection(scope) : this.#pool.get(address, 'control', scope)
  }

  /** One that is open, else the first of the known and the given brokers that answers. @throws CONNECTION_FAILED. */
  #anyConnection(scope: Scope): Promise<Connection> {
    return hedge('connect', {
      environment: this.environment,
      scope,
      silenceMs: SILENCE_MS,
      candidates: () => this.#candidates(),
      attempt: (address, attempt) => this.#pool.get(address, 'control', attempt),
      onSilent: (address) => this.#onSilent(address),
    })
  }

  #onSilent(address: Address): void {
    this.#silentUntil.set(keyOf(address), this.environment.clock.monotonic() + SILENT_FOR_MS)
  }

  /** Whether it keeps silent or refuses connections. */
  #isBad(address: Address): boolean {
    const isSilent = (this.#silentUntil.get(keyOf(address)) ?? 0) > this.environment.clock.monotonic()
    return isSilent || this.#pool.isPausing(address, 'control')
  }

  /**
   * Whom to ask, the best first: who has a connection open, those of the cluster before the given ones and those of before.
   * Else by chance, so that many clients do not all begin with the same broker. Bad ones only where there are no others.
   */
  #candidates(): Address[] {
    const { metadata, settings } = this
    const addresses = [
      ...shuffled(metadata.addresses(), this),
      ...shuffled(settings.bootstrap, this),
      ...shuffled(metadata.formerAddresses(), this),
    ]
    const all = [...new Map(addresses.map((address) => [keyOf(address), address])).values()]
    const good = all.filter((address) => !this.#isBad(address))
    const isOpen = (address: Address): boolean => this.#pool.openNow(address, 'control') !== undefined
    const open = good.filter(isOpen)
    return good.length === 0 ? all : [...open, ...good.filter((address) => !open.includes(address))]
  }

  /** Every broker comes first once in a while. */
  #candidatesInTurn(turn: number): Address[] {
    const addresses = this.#candidates().sort((a, b) => keyOf(a).localeCompare(keyOf(b)))
    const at = turn % addresses.length
    return [...addresses.slice(at), ...addresses.slice(0, at)]
  }
}

function keyOf({ host, port }: Address): string {
  return `${host}:${port}`
}

/** What ended the scope, with the error that was met on the way as its cause. */
function withCause(scope: Scope, last: TidemarkError): Error {
  const reason: unknown = scope.signal.reason
  const ended = toTidemarkError(reason, 'ABORTED', 'the call')
  if (ended === last || ended.code === 'ABORTED') return ended
  return errorOf(ended.code, `${ended.message}; the last error was: ${last.message}`, { cause: last })
}

function shuffled(addresses: readonly Address[], cluster: Cluster): Address[] {
  const out = [...addresses]
  for (let at = out.length - 1; at > 0; at -= 1) {
    const other = cluster.environment.random.integer(at + 1)
    const [a, b] = [out[at], out[other]]
    if (a !== undefined && b !== undefined) [out[at], out[other]] = [b, a]
  }
  return out
}
