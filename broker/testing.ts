// A real broker for tests, in the process of the test: `await using broker = await startBroker()`. Owns that it is gone
// without a trace afterwards: no handle, no timer, no file. As many as you like run side by side.

import type { Client, ConnectOptions } from '../client/index.ts'
import type { Logger } from '../shared/logger.ts'
import type { Broker } from './broker.ts'
import type { BrokerSettings } from './config.ts'
import type { Environment } from './environment.ts'
import { tmpdir } from 'node:os'
import { connect } from '../client/index.ts'
import { silentLogger } from '../shared/logger.ts'
import { createBroker } from './broker.ts'
import { systemEnvironment } from './environment.ts'
import { MemoryDisk } from './storage/memory-disk.ts'

export interface TestBrokerOptions extends BrokerSettings {
  /**
   * 'memory' keeps everything in memory. A path is used as it is and stays afterwards. Default: a temporary directory, which
   * is removed afterwards.
   */
  readonly dataDir?: string | undefined
  /** Default: says nothing. */
  readonly logger?: Logger
  /** Doors of one's own in place of the real ones, such as a disk that fails. */
  readonly environment?: Partial<Environment>
}

export interface TestBroker extends AsyncDisposable {
  /** What a client is given to find the broker: HOST:PORT. Stays the same through restarts. */
  readonly brokers: string
  readonly port: number
  /** 'memory', or the directory that the broker writes to. */
  readonly dataDir: string
  /** A client of this broker; it is closed before the broker stops, if it has not been by then. */
  client(options?: Partial<ConnectOptions>): Client
  /** The broker itself, as it runs now. */
  readonly broker: Broker
  /**
   * Stops the broker and starts it again on the same data and port. `crash` stops it as a kill does: nothing is finished,
   * synced or marked, and the start recovers.
   */
  restart(options?: { readonly crash?: boolean }): Promise<void>
  /** Stops the broker and removes what it has written. Idempotent. */
  stop(): Promise<void>
}

/**
 * Starts a broker on a free port of 127.0.0.1, without an admin port unless `http` is given.
 * @throws as createBroker
 */
export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const { logger = silentLogger, environment: doors, ...settings } = options
  const system = systemEnvironment()
  const isInMemory = options.dataDir === 'memory'
  const disk = doors?.disk ?? (isInMemory ? new MemoryDisk(system.clock) : system.disk)
  const environment: Environment = { ...system, ...doors, disk }
  const isTemporary = options.dataDir === undefined || isInMemory
  const path = isTemporary ? `${tmpdir()}/tidemark-test-${environment.random.uuid()}` : (options.dataDir ?? '')
  const start = (listen: string): Promise<Broker> =>
    createBroker(
      environment,
      { http: 'off', diskReserveBytes: isInMemory ? 0 : undefined, ...settings, listen, dataDir: path },
      { logger },
    )
  const remove = (): void => {
    if (isTemporary) disk.removeTree(path)
  }
  try {
    const broker = await start(options.listen ?? '127.0.0.1:0')
    return new RunningTestBroker({ broker, start, remove, dataDir: isInMemory ? 'memory' : path })
  } catch (error) {
    remove()
    throw error
  }
}

interface TestBrokerParts {
  readonly broker: Broker
  readonly start: (listen: string) => Promise<Broker>
  readonly remove: () => void
  readonly dataDir: string
}

class RunningTestBroker implements TestBroker {
  readonly brokers: string
  readonly port: number
  readonly dataDir: string
  readonly #parts: TestBrokerParts
  readonly #listen: string
  readonly #clients: Client[] = []
  #broker: Broker
  #stopping: Promise<void> | undefined

  constructor(parts: TestBrokerParts) {
    const { host, port } = parts.broker.listen
    this.brokers = parts.broker.brokers
    this.port = port
    this.dataDir = parts.dataDir
    this.#parts = parts
    this.#listen = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
    this.#broker = parts.broker
  }

  get broker(): Broker {
    return this.#broker
  }

  client(options: Partial<ConnectOptions> = {}): Client {
    const client = connect({ brokers: this.brokers, ...options })
    this.#clients.push(client)
    return client
  }

  async restart(options: { readonly crash?: boolean } = {}): Promise<void> {
    await this.#broker.stop({ immediately: options.crash === true })
    this.#broker = await this.#parts.start(this.#listen)
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop(): Promise<void> {
    await Promise.allSettled(this.#clients.map((client) => client.close()))
    await this.#broker.stop()
    this.#parts.remove()
  }
}
