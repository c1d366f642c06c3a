// The other brokers of the cluster, as far as they are members: a link to each, replaced when the member begins another
// life or moves. Owns which links there are; how one is kept is peer-link.ts's business.

import type { Logger } from '../../shared/logger.ts'
import type { BrokerId } from '../../shared/ids.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import type { ClientEnvironment } from '../../client/environment.ts'
import type { BrokerRecord, Coordinator } from '../coordination/coordinator.ts'
import type { Meter, Registration } from '../metrics/meter.ts'
import type { PeerAnswer, PeerAskOptions, PeerRequest, Peers } from '../replication/peers.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { FrameBufferPool } from '../../shared/protocol/frame-buffer-pool.ts'
import { PeerLink, type PeerLinkHost } from './peer-link.ts'
import { isRefusing } from './refusal-check.ts'

export interface PeerLinksParts {
  readonly brokerId: BrokerId
  readonly cluster: string
  readonly coordinator: Pick<Coordinator, 'brokers' | 'subscribe'>
  readonly environment: ClientEnvironment
  readonly logger: Logger
  readonly meter: Meter
}

interface Entry {
  readonly link: PeerLink
  readonly gauge: Registration
}

type Listener = Parameters<Peers['subscribe']>[0]

export interface PeerTrouble {
  readonly peer: BrokerId
  readonly address: string
  readonly trouble: string
}

export class PeerLinks implements Peers {
  readonly #parts: PeerLinksParts
  readonly #host: PeerLinkHost
  readonly #entries = new Map<BrokerId, Entry>()
  readonly #listeners = new Set<Listener>()
  /** Attempts that are under way, each for all who ask meanwhile. */
  readonly #checks = new Map<BrokerId, Promise<boolean>>()
  readonly #stopping = new AbortController()
  #membership: { remove(): void } | undefined

  constructor(parts: PeerLinksParts) {
    this.#parts = parts
    const { brokerId, cluster, environment, logger } = parts
    this.#host = {
      cluster,
      clientId: `broker-${brokerId}`,
      environment,
      buffers: new FrameBufferPool(),
      logger,
      onChange: (kind, link) => {
        for (const listener of this.#listeners) listener({ kind, peer: link.peer.brokerId })
      },
    }
  }

  /** Begins to follow who is a member. */
  start(): void {
    this.#membership = this.#parts.coordinator.subscribe((change) => {
      if (change.kind === 'brokers-changed') this.#follow()
    })
    this.#follow()
  }

  async ask<Name extends PeerRequest>(
    to: BrokerId,
    name: Name,
    request: RequestOf<Name>,
    options?: PeerAskOptions<Name>,
  ): Promise<PeerAnswer<Name>> {
    const entry = this.#entries.get(to)
    if (entry === undefined) {
      throw new TidemarkError(
        'CONNECTION_FAILED',
        `${name} was not sent: no other member of the cluster is broker ${to}`,
      )
    }
    return entry.link.ask(name, request, options)
  }

  isConnected(to: BrokerId): boolean {
    return this.#entries.get(to)?.link.isConnected === true
  }

  /** Of the members that could not be connected to: where they are said to be, and why. */
  troubles(): readonly PeerTrouble[] {
    return [...this.#entries].flatMap(([peer, { link }]) => {
      const { trouble } = link
      const { host, port } = link.peer
      return trouble === undefined ? [] : [{ peer, address: `${host}:${port}`, trouble }]
    })
  }

  isRefusing(to: BrokerId): Promise<boolean> {
    const peer = this.#entries.get(to)?.link.peer
    if (peer === undefined) return Promise.resolve(false)
    let check = this.#checks.get(to)
    if (check === undefined) {
      check = isRefusing(this.#parts.environment, peer, this.#stopping.signal).finally(() => this.#checks.delete(to))
      this.#checks.set(to, check)
    }
    return check
  }

  subscribe(listener: Listener): { remove(): void } {
    this.#listeners.add(listener)
    return { remove: () => void this.#listeners.delete(listener) }
  }

  /** Closes everything; who waits for an answer is refused. Idempotent. */
  stop(): void {
    this.#stopping.abort()
    this.#membership?.remove()
    for (const peer of this.#entries.keys()) this.#remove(peer)
  }

  #follow(): void {
    const members = this.#parts.coordinator.brokers().filter(({ brokerId }) => brokerId !== this.#parts.brokerId)
    const present = new Set(members.map(({ brokerId }) => brokerId))
    for (const peer of this.#entries.keys()) if (!present.has(peer)) this.#remove(peer)
    for (const member of members) {
      // Whoever is told of a change may stop everything.
      if (this.#stopping.signal.aborted) return
      const known = this.#entries.get(member.brokerId)
      if (known !== undefined && !isSameLife(known.link.peer, member)) this.#remove(member.brokerId)
      this.#entryOf(member).link.hurry()
    }
  }

  #entryOf(member: BrokerRecord): Entry {
    let entry = this.#entries.get(member.brokerId)
    if (entry === undefined) {
      const link = new PeerLink(member, this.#host)
      const labels = { peer: String(member.brokerId) }
      const gauge = this.#parts.meter.gauge('tidemark_peer_connected', labels, () => (link.isConnected ? 1 : 0))
      entry = { link, gauge }
      this.#entries.set(member.brokerId, entry)
    }
    return entry
  }

  #remove(peer: BrokerId): void {
    const entry = this.#entries.get(peer)
    this.#entries.delete(peer)
    entry?.gauge.remove()
    entry?.link.close()
  }
}

function isSameLife(one: BrokerRecord, other: BrokerRecord): boolean {
  return one.incarnation === other.incarnation && one.host === other.host && one.port === other.port
}
