// The connections of a client: one a broker and purpose, opened when first needed, opened again after a pause when they
// broke. Owns the pauses. Knows no metadata.

import type { TidemarkError } from '../shared/errors.ts'
import { Connection } from './connection.ts'
import type { ClientEnvironment } from './environment.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import type { ClientSettings } from './options.ts'
import { backoffMs, RECONNECT } from './retry.ts'
import type { Scope } from './scope.ts'
import type { Address } from './transport.ts'

/**
 * Fetches have a connection of their own, so that a large answer does not hold up an acknowledgement; so have groups, where a
 * broken connection counts as a word of the member.
 */
export type Purpose = 'control' | 'fetch' | 'group'

interface Entry {
  connection: Connection | undefined
  opening: Promise<Connection> | undefined
  failures: number
  /** By the monotonic clock; no attempt before. */
  retryAt: number
}

export class ConnectionPool {
  readonly #environment: ClientEnvironment
  readonly #settings: ClientSettings
  readonly #entries = new Map<string, Entry>()
  readonly #closing = new AbortController()

  constructor(environment: ClientEnvironment, settings: ClientSettings) {
    this.#environment = environment
    this.#settings = settings
  }

  /** The open connection, without waiting; undefined when there is none. */
  openNow(address: Address, purpose: Purpose): Connection | undefined {
    const connection = this.#entries.get(keyOf(address, purpose))?.connection
    return connection?.isOpen === true ? connection : undefined
  }

  /** Whether the last attempts failed and the next has to wait. */
  isPausing(address: Address, purpose: Purpose): boolean {
    const entry = this.#entries.get(keyOf(address, purpose))
    return entry !== undefined && entry.failures > 0 && entry.retryAt > this.#environment.clock.monotonic()
  }

  /** @throws CONNECTION_FAILED after one attempt, which waits out the pause of the attempt before; the scope's reason. */
  async get(address: Address, purpose: Purpose, scope: Scope): Promise<Connection> {
    const open = this.openNow(address, purpose)
    if (open !== undefined) return open
    if (this.#closing.signal.aborted) throw errorOf('CLIENT_CLOSED')
    const entry = this.#entryOf(address, purpose)
    // One attempt for all who want it; it belongs to none of them and goes on when one gives up.
    entry.opening ??= this.#open(address, entry).finally(() => {
      entry.opening = undefined
    })
    entry.opening.catch(() => undefined)
    return scope.race(entry.opening)
  }

  close(reason: TidemarkError = errorOf('CLIENT_CLOSED')): void {
    this.#closing.abort(reason)
    for (const entry of this.#entries.values()) entry.connection?.close(reason)
    this.#entries.clear()
  }

  async #open(address: Address, entry: Entry): Promise<Connection> {
    const pauseMs = entry.retryAt - this.#environment.clock.monotonic()
    if (entry.failures > 0 && pauseMs > 0) await this.#pause(pauseMs)
    if (this.#closing.signal.aborted) throw errorOf('CLIENT_CLOSED')
    const { clientId, connectTimeoutMs, requestTimeoutMs, logger } = this.#settings
    const connection = new Connection(this.#environment, { address, clientId, connectTimeoutMs, requestTimeoutMs })
    entry.connection = connection
    connection.onClosed(() => {
      if (entry.connection === connection) entry.connection = undefined
    })
    const broker = connection.name
    try {
      await connection.opened
      if (entry.failures > 0) logger.info({ broker }, 'connected again')
      connection.onClosed(() => {
        // A broker that says hello and nothing more must not be called in a tight loop.
        if (connection.hasAnswered) entry.failures = 0
        this.#setPause(entry)
      })
      return connection
    } catch (error) {
      this.#setPause(entry)
      const failure = toTidemarkError(error, 'CONNECTION_FAILED', broker)
      logger.debug({ broker, failures: entry.failures, reason: failure.message }, 'no connection')
      throw failure
    }
  }

  #setPause(entry: Entry): void {
    entry.failures += 1
    // The first attempt after a break is made at once: a broker that restarted is back, and one that is gone says so.
    const pauseMs = entry.failures === 1 ? 0 : backoffMs(entry.failures - 1, RECONNECT, this.#environment.random)
    entry.retryAt = this.#environment.clock.monotonic() + pauseMs
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const signal = this.#closing.signal
      if (signal.aborted) return resolve()
      const onEnd = (): void => {
        timer.cancel()
        resolve()
      }
      const timer = this.#environment.timers.after(delayMs, () => {
        signal.removeEventListener('abort', onEnd)
        resolve()
      })
      signal.addEventListener('abort', onEnd, { once: true })
    })
  }

  #entryOf(address: Address, purpose: Purpose): Entry {
    const key = keyOf(address, purpose)
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      entry = { connection: undefined, opening: undefined, failures: 0, retryAt: 0 }
      this.#entries.set(key, entry)
    }
    return entry
  }
}

function keyOf(address: Address, purpose: Purpose): string {
  return `${purpose} ${address.host}:${address.port}`
}
