// The other brokers, as the replicas here reach them. Owns no behaviour; the real one keeps a connection to each.

import type { BrokerId } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'

/** The requests between brokers. */
export type PeerRequest =
  | 'replicaFetch'
  | 'fence'
  | 'announceLeaders'
  | 'suggestLeader'
  | 'probeBroker'
  | 'dismissReplicas'
  | 'electLeaders'
  | 'listOffsets'

export interface PeerAnswer<Name extends PeerRequest> {
  readonly body: ResponseOf<Name>
  /** Behind the message; memory of its own, nobody else's. */
  readonly tail: Uint8Array
}

export interface PeerAskOptions<Name extends PeerRequest = PeerRequest> {
  /** Milliseconds until the connection is given up for dead. */
  readonly timeoutMs?: number
  /**
   * Is given the answer where it lies: the bytes of its tail are overwritten after the call. What the promise resolves
   * with has no tail then.
   */
  readonly read?: (answer: PeerAnswer<Name>) => void
}

export interface Peers {
  /**
   * Asks another broker; requests to one broker are sent, and served, in their order. A rejection says nothing about
   * whether the request was heard. @throws CONNECTION_FAILED at once while there is no connection, TIMEOUT, or what it was
   * refused with
   */
  ask<Name extends PeerRequest>(
    to: BrokerId,
    name: Name,
    request: RequestOf<Name>,
    options?: PeerAskOptions<Name>,
  ): Promise<PeerAnswer<Name>>
  /** Whether requests can be sent to it now. */
  isConnected(to: BrokerId): boolean
  /** Tries to connect now. True: the address refuses connections, so the process is gone; slow or silent is not gone. */
  isRefusing(to: BrokerId): Promise<boolean>
  /** To be told of connections that come to be, and of those that end. The listener must not throw. */
  subscribe(listener: (change: { readonly kind: 'connected' | 'lost'; readonly peer: BrokerId }) => void): {
    remove(): void
  }
}

/** Reads numbers that a peer has sent; undefined where there are none like that. One partition of many is passed by then. */
export function unlessGarbage<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}
