// What a connection may take of the broker, and how long it may take for it. Data; the defaults are those of a broker
// whose operator has said nothing.

import { FRAME_BYTES_MAX } from '../../shared/limits.ts'

export interface ConnectionLimits {
  /** Connections at the same time, at most. */
  readonly connectionsMax: number
  /** Of them from one address, at most. */
  readonly connectionsPerAddressMax: number
  /** Bytes of all requests that are being read or worked on. */
  readonly requestBytesMax: number
  /** Bytes of a frame after its length. */
  readonly frameBytesMax: number
  /** Requests of one connection that may wait for their answers. */
  readonly inFlightMax: number
  /** Bytes of those requests. */
  readonly inFlightBytesMax: number
  /** Bytes of answers that one connection has not read yet, beyond which nothing more is read from it. */
  readonly outputBytesMax: number
  /** Bytes of such answers of all connections together; with much of it held, one connection may hold less. */
  readonly outputBytesTotalMax: number
  /** From accepting to the end of the handshake, milliseconds. */
  readonly handshakeMs: number
  /** From the first to the last byte of a frame, milliseconds. */
  readonly frameMs: number
  /** Without a request, or without reading the answers, milliseconds. */
  readonly idleMs: number
  /** How long a connection that is being closed may take to read the last answer, milliseconds. */
  readonly lingerMs: number
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  connectionsMax: 10_000,
  connectionsPerAddressMax: 10_000,
  requestBytesMax: 256 * 1024 * 1024,
  frameBytesMax: FRAME_BYTES_MAX,
  inFlightMax: 1_000,
  inFlightBytesMax: 16 * 1024 * 1024,
  outputBytesMax: 8 * 1024 * 1024,
  outputBytesTotalMax: 128 * 1024 * 1024,
  handshakeMs: 10_000,
  frameMs: 30_000,
  idleMs: 600_000,
  lingerMs: 2_000,
}
