// The broker's port: accepts connections as far as the limits allow, looks after them with one timer, and stops in order.
// Owns the set of connections and the memory that they share. Knows protocols only as adapters.

import type { Logger } from '../../shared/logger.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import type { Counter, Meter, Registration } from '../metrics/meter.ts'
import type { CloseReason, ProtocolAdapter } from './protocol-adapter.ts'
import type { Transport, TransportServer, TransportSocket } from './transport.ts'
import { CONNECTION_LIMITS, type ConnectionLimits } from './connection-limits.ts'
import { Connection, type ConnectionHost } from './connection.ts'
import { FrameBufferPool } from '../../shared/protocol/frame-buffer-pool.ts'
import { LogAllowance } from './log-allowance.ts'
import { MemoryBudget } from './memory-budget.ts'
import { OutputShare } from './output-share.ts'
import { STRANGER_ADVICE, strangerOf } from './stranger.ts'
import { Turn } from './turn.ts'

export interface ListenerOptions {
  readonly transport: Transport
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly adapters: readonly ProtocolAdapter[]
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly meter: Meter
  readonly limits?: Partial<ConnectionLimits>
  /** The label of the listener's metrics. Default 'data'. */
  readonly name?: string
}

export interface Address {
  readonly host: string
  readonly port: number
}

type RejectReason = CloseReason | 'connections-max' | 'connections-per-address-max'

const SWEEP_MS = 1_000
/** Of the memory for requests, what frames beyond the usual size may take while they arrive. */
const LARGE_FRAME_SHARE = 0.25
const START_BYTES_LOGGED = 16

export class Listener {
  readonly limits: ConnectionLimits
  readonly #options: ListenerOptions
  readonly #name: string
  readonly #budget: MemoryBudget
  readonly #largeFrameBudget: MemoryBudget
  readonly #connections = new Set<Connection>()
  readonly #connectionsByAddress = new Map<string, number>()
  readonly #host: ConnectionHost
  readonly #opened: Counter
  readonly #gauges: readonly Registration[]
  /** Peers can cause these lines at will, so that they are rationed. */
  readonly #logAllowance: LogAllowance
  #server: TransportServer | undefined
  #sweepTimer: Timer | undefined
  #connectionId = 0
  #isStopping = false
  #onAllClosed: (() => void) | undefined

  constructor(options: ListenerOptions) {
    const { meter, clock, timers } = options
    this.#options = options
    this.#name = options.name ?? 'data'
    this.limits = { ...CONNECTION_LIMITS, ...options.limits }
    const largeFrameBytes = Math.ceil(this.limits.requestBytesMax * LARGE_FRAME_SHARE)
    this.#budget = new MemoryBudget(this.limits.requestBytesMax - largeFrameBytes)
    this.#largeFrameBudget = new MemoryBudget(largeFrameBytes)
    this.#logAllowance = new LogAllowance(options.logger)
    this.#opened = meter.counter('tidemark_connections_opened_total', { listener: this.#name })
    this.#gauges = [
      meter.gauge('tidemark_connections', { listener: this.#name }, () => this.#connections.size),
      meter.gauge('tidemark_inflight_bytes', { listener: this.#name }, () => this.heldBytes()),
    ]
    this.#host = {
      adapters: options.adapters,
      limits: this.limits,
      budget: this.#budget,
      outputShare: new OutputShare({
        totalBytesMax: this.limits.outputBytesTotalMax,
        connectionBytesMax: this.limits.outputBytesMax,
      }),
      largeFrameBudget: this.#largeFrameBudget,
      buffers: new FrameBufferPool(),
      turn: new Turn(clock, timers),
      throttled: {
        'in-flight': meter.counter('tidemark_throttle_seconds_total', { reason: 'in-flight' }),
        memory: meter.counter('tidemark_throttle_seconds_total', { reason: 'memory' }),
        output: meter.counter('tidemark_throttle_seconds_total', { reason: 'output' }),
      },
      onStranger: (connection, start) => this.#onStranger(connection, start),
      onCutOff: (connection, reason, detail) => this.#reject(connection.remote, reason, detail),
      onClosed: (connection) => this.#onClosed(connection),
    }
    this.#sweepTimer = timers.after(SWEEP_MS, () => this.#sweep(), { background: true })
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Bytes of requests that are being read or worked on. */
  get requestBytes(): number {
    return this.#budget.used + this.#largeFrameBudget.used
  }

  /** Bytes of requests and answers that are held for all connections. */
  heldBytes(): number {
    let bytes = 0
    for (const connection of this.#connections) bytes += connection.heldBytes
    return bytes
  }

  /** Listens; gives the address with the port that was chosen. @throws ADDRESS_IN_USE, INVALID_OPTION. */
  async start(): Promise<Address> {
    const { transport, host, port, logger } = this.#options
    this.#server = await transport.listen(
      { host, port },
      (socket) => this.#onSocket(socket),
      (error) => logger.warn({ error: error.message }, 'a connection could not be accepted'),
    )
    return { host: this.#server.host, port: this.#server.port }
  }

  /**
   * Accepts no more, lets requests that are under way be answered for drainMs (milliseconds; 0 does not wait), and closes
   * what is left. Resolves when no connection is open. Idempotent.
   */
  async stop(options: { readonly drainMs: number }): Promise<void> {
    this.#isStopping = true
    await this.#server?.close()
    if (this.#connections.size > 0) await this.#closeAll(options.drainMs)
    this.#sweepTimer?.cancel()
    this.#sweepTimer = undefined
    for (const gauge of this.#gauges) gauge.remove()
  }

  #closeAll(drainMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.timers.after(drainMs, () => this.#destroyAll())
      this.#onAllClosed = () => {
        timer.cancel()
        resolve()
      }
      if (drainMs === 0) this.#destroyAll()
      else for (const connection of this.#connections) connection.drain()
    })
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  #onSocket(socket: TransportSocket): void {
    const fromAddress = this.#connectionsByAddress.get(socket.remoteAddress) ?? 0
    if (this.#isStopping) return refuse(socket)
    if (this.#connections.size >= this.limits.connectionsMax) {
      this.#reject(socket.remote, 'connections-max')
      return refuse(socket)
    }
    if (fromAddress >= this.limits.connectionsPerAddressMax) {
      this.#reject(socket.remote, 'connections-per-address-max')
      return refuse(socket)
    }
    this.#connectionId += 1
    const connection = new Connection(socket, this.#connectionId, this.#host)
    this.#connections.add(connection)
    this.#connectionsByAddress.set(socket.remoteAddress, fromAddress + 1)
    this.#opened.add()
    connection.start()
  }

  #onClosed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return
    const left = (this.#connectionsByAddress.get(connection.remoteAddress) ?? 1) - 1
    if (left > 0) this.#connectionsByAddress.set(connection.remoteAddress, left)
    else this.#connectionsByAddress.delete(connection.remoteAddress)
    if (this.#connections.size === 0) this.#onAllClosed?.()
  }

  #onStranger(connection: Connection, start: Uint8Array): void {
    const stranger = strangerOf(start)
    const firstBytes = Buffer.from(start.subarray(0, START_BYTES_LOGGED)).toString('hex')
    this.#count('not-served')
    this.#logAllowance.warn({ remote: connection.remote, looksLike: stranger, firstBytes }, STRANGER_ADVICE[stranger])
  }

  #reject(remote: string, reason: RejectReason, detail?: string): void {
    this.#count(reason)
    if (reason === 'idle') return
    this.#logAllowance.warn(
      { remote, reason, ...(detail === undefined ? {} : { detail }), connections: this.#connections.size },
      'a connection was closed by the broker',
    )
  }

  #count(reason: RejectReason): void {
    this.#options.meter.counter('tidemark_connections_rejected_total', { listener: this.#name, reason }).add()
  }

  #sweep(): void {
    const now = this.#options.clock.monotonic()
    this.#logAllowance.refill()
    for (const connection of this.#connections) connection.sweep(now)
    if (this.#sweepTimer === undefined) return
    this.#sweepTimer = this.#options.timers.after(SWEEP_MS, () => this.#sweep(), { background: true })
  }
}

function refuse(socket: TransportSocket): void {
  socket.start({ onData: () => undefined, onDrain: () => undefined, onClose: () => undefined })
  socket.destroy()
}
