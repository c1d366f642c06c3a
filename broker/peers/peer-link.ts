// The connection to one life of one other broker: made, checked, made again after a pause when it broke. Owns the pauses,
// what is said of trouble, and the bound of what waits. Knows no request and no partition.
//
// Invariants: it is connected only to a broker that has said it is the one expected; whoever listens is told connected
// and lost in turn, and lost at the end if it was connected; after `close` no timer and no connection is left.

import type { Logger } from '../../shared/logger.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { FrameBuffers } from '../../shared/protocol/frame-decoder.ts'
import type { Timer } from '../../shared/time.ts'
import type { ClientEnvironment } from '../../client/environment.ts'
import type { BrokerRecord } from '../coordination/coordinator.ts'
import type { PeerAnswer, PeerAskOptions, PeerRequest } from '../replication/peers.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { APIS } from '../../shared/protocol/api.ts'
import { Connection } from '../../client/connection.ts'
import { backoffMs } from '../../client/retry.ts'

/** What all links of a broker share. */
export interface PeerLinkHost {
  readonly cluster: string
  /** What the others see in their logs. */
  readonly clientId: string
  readonly environment: ClientEnvironment
  /** Where answers are gathered: used again and again. */
  readonly buffers: FrameBuffers
  readonly logger: Logger
  /** Must not throw. */
  onChange(kind: 'connected' | 'lost', link: PeerLink): void
}

/** Requests to one broker that wait for their answers; one more is refused. */
export const PEER_REQUESTS_MAX = 256
/** Milliseconds between attempts to connect. */
const RECONNECT = { minMs: 50, maxMs: 1_000 }
const CONNECT_TIMEOUT_MS = 2_000
const REQUEST_TIMEOUT_MS = 10_000
/** What a broker must know to be of use; the others may be refused, and are asked for again. */
const REQUESTS: readonly PeerRequest[] = ['replicaFetch', 'fence', 'announceLeaders', 'suggestLeader', 'probeBroker']

export class PeerLink {
  /** The life that it goes to. */
  readonly peer: BrokerRecord
  readonly #host: PeerLinkHost
  #connection: Connection | undefined
  #retry: Timer | undefined
  #isConnected = false
  #isClosed = false
  #failures = 0
  #waiting = 0
  /** What was said last of why there is no connection, so that it is not said at every attempt. */
  #complaint: string | undefined

  constructor(peer: BrokerRecord, host: PeerLinkHost) {
    this.peer = peer
    this.#host = host
  }

  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Connects now instead of when the pause is over, unless it is connected or about to be. */
  hurry(): void {
    if (this.#isClosed || this.#connection !== undefined) return
    this.#retry?.cancel()
    this.#retry = undefined
    this.#connect()
  }

  /** @throws as Peers.ask */
  async ask<Name extends PeerRequest>(
    name: Name,
    request: RequestOf<Name>,
    options: PeerAskOptions<Name> = {},
  ): Promise<PeerAnswer<Name>> {
    const connection = this.#connection
    if (!this.#isConnected || connection === undefined) {
      throw new TidemarkError('CONNECTION_FAILED', `${name} was not sent: no connection to ${this.#name}`)
    }
    if (this.#waiting >= PEER_REQUESTS_MAX) {
      throw new TidemarkError(
        'BUFFER_FULL',
        `${name}: ${this.#waiting} requests to ${this.#name} wait for their answers`,
      )
    }
    this.#waiting += 1
    try {
      return await connection.ask(name, request, options)
    } finally {
      this.#waiting -= 1
    }
  }

  /** Why there is no connection, as far as an attempt has failed; undefined while there is one. */
  get trouble(): string | undefined {
    return this.#isConnected ? undefined : this.#complaint
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#retry?.cancel()
    this.#connection?.close()
  }

  get #name(): string {
    const { brokerId, host, port } = this.peer
    return `broker ${brokerId} at ${host}:${port}`
  }

  #connect(): void {
    const { environment, clientId, buffers } = this.#host
    const { host, port } = this.peer
    const connection = new Connection(environment, {
      address: { host, port },
      clientId,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      buffers,
    })
    this.#connection = connection
    connection.onClosed((reason) => this.#onClosed(connection, reason))
    connection.opened.then(
      () => this.#onOpened(connection),
      () => undefined,
    )
  }

  #onOpened(connection: Connection): void {
    const { hello } = connection
    // It may have broken in the very moment.
    if (hello === undefined || !connection.isOpen) return
    const fault = this.#faultOf(connection.name, hello)
    if (fault !== undefined) return connection.close(new TidemarkError('INVALID_REQUEST', fault))
    this.#isConnected = true
    this.#complaint = undefined
    const { brokerId: peer, incarnation } = this.peer
    const { software } = hello
    this.#host.logger.info({ peer, address: connection.name, incarnation, software }, 'connected to another broker')
    this.#host.onChange('connected', this)
  }

  /** Why the broker there is not the one that is meant, or of no use. */
  #faultOf(address: string, hello: ResponseOf<'hello'>): string | undefined {
    const { brokerId } = this.peer
    const { cluster } = this.#host
    if (hello.cluster !== cluster || hello.brokerId !== brokerId) {
      const said = `broker ${hello.brokerId} of cluster ${hello.cluster}`
      return `${address} says it is ${said}, expected broker ${brokerId} of ${cluster}; correct the advertise, the broker-id or the cluster of that broker`
    }
    for (const name of REQUESTS) {
      const { number, versionMax } = APIS[name]
      const spoken = hello.apis.find(({ api }) => api === number)
      if (spoken !== undefined && spoken.versionMin <= versionMax && versionMax <= spoken.versionMax) continue
      const theirs = spoken === undefined ? 'does not know it' : `speaks ${spoken.versionMin} to ${spoken.versionMax}`
      return `${name} in version ${versionMax}: ${address} with ${hello.software} ${theirs}; run versions on all brokers that know each other's requests`
    }
    return undefined
  }

  #onClosed(connection: Connection, reason: TidemarkError): void {
    this.#connection = undefined
    const wasConnected = this.#isConnected
    this.#isConnected = false
    if (!this.#isClosed) {
      this.#complain(wasConnected, reason)
      // A broker that says hello and nothing more must not be called in a tight loop.
      this.#failures = connection.hasAnswered ? 1 : this.#failures + 1
      const pauseMs = backoffMs(this.#failures, RECONNECT, this.#host.environment.random)
      this.#retry = this.#host.environment.timers.after(pauseMs, () => {
        this.#retry = undefined
        this.#connect()
      })
    }
    if (wasConnected) this.#host.onChange('lost', this)
  }

  #complain(wasConnected: boolean, reason: TidemarkError): void {
    const { brokerId: peer, host, port } = this.peer
    const fields = { peer, address: `${host}:${port}` }
    if (wasConnected) {
      this.#host.logger.warn(fields, `the connection to broker ${peer} is lost: ${textOf(reason)}`)
      return
    }
    // Without the cause, where a stranger's bytes may be named: those differ from one attempt to the next.
    if (reason.message === this.#complaint) return
    this.#complaint = reason.message
    this.#host.logger.warn(fields, `no connection to broker ${peer}, trying again: ${textOf(reason)}`)
  }
}

/** With the causes, which say what could not be read. */
function textOf(error: TidemarkError): string {
  const { cause } = error
  if (!(cause instanceof Error) || error.message.includes(cause.message)) return error.message
  return `${error.message}: ${cause.message}`
}
