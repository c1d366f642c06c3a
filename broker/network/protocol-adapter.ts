// Where the network meets a protocol: what a protocol is given of a connection, and what it must be able to do. Bytes in,
// bytes out; what they mean is the protocol's alone.

import type { TidemarkError } from '../../shared/errors.ts'
import type { OutputBuffer } from './output-buffer.ts'

/** A protocol that is served on the port. */
export interface ProtocolAdapter {
  readonly name: 'native' | 'kafka'
  /**
   * Whether the first four bytes of a connection, as an unsigned number, open this protocol: 'preface' when they only say
   * so, 'frame' when they are the length of the first frame already.
   */
  recognise(firstFourBytes: number): 'preface' | 'frame' | undefined
  open(connection: ProtocolConnection): ProtocolSession
}

/** The state of a protocol on one connection. Its methods never throw. */
export interface ProtocolSession {
  /** A whole frame without its length, valid only during the call. */
  onFrame(frame: Uint8Array): void
  /** What came cannot be read; the connection closes after what is answered now. */
  onUnreadable(error: TidemarkError): void
  /** The broker stops: what waits for something to happen is answered as it stands. */
  onDrain(): void
  /** Nothing can be answered any more. Called once. */
  onClose(): void
}

export interface ProtocolConnection {
  readonly id: number
  readonly remote: string
  /** Where answers go; what is put there in one turn goes out as one write. Call `flushLater` afterwards. */
  readonly output: OutputBuffer
  /** On the monotonic clock, when the bytes that are handled now came in; milliseconds. */
  readonly receivedAt: number
  /** Bytes of a frame after its length that are taken from now on. */
  frameBytesMax: number
  flushLater(): void
  /** The peer has said who it is. */
  onHandshakeDone(): void
  /**
   * A request is under way: the broker may stop reading when there are too many of them. `toldBytes`: what it counts for
   * on this connection besides, for an answer of which nobody knows how long it will be.
   */
  onRequestBegun(bytes: number, toldBytes?: number): void
  /** The same request, of the same bytes, has been answered, or nobody waits for an answer. */
  onRequestDone(bytes: number, toldBytes?: number): void
  /** How many bytes an answer may have, of those wanted; to be settled with the same number when it comes. */
  grantOutput(bytesWanted: number): number
  settleOutput(granted: number): void
  /**
   * An answer of so many bytes granted is being read from the disk and will come whether the peer reads or not, or is so
   * no more: with much of it on its way the broker stops reading requests.
   */
  onReadBegun(granted: number): void
  onReadDone(granted: number): void
  /** On the monotonic clock, the same value for the whole turn; milliseconds. */
  now(): number
  /** Sends what has been answered, reads no more and closes; `detail` is for the log. */
  closeAfterFlush(reason: CloseReason, detail?: string): void
}

export type CloseReason =
  | 'garbage'
  | 'malformed'
  | 'handshake-timeout'
  | 'frame-timeout'
  | 'idle'
  | 'stalled'
  | 'not-served'
  /** The peer asks for something that is not there to be asked for, and its protocol has no other way to say so. */
  | 'unsupported'
  /** A write that nobody waits for was refused: only a closed connection tells. */
  | 'write-refused'
  | 'stopping'
