// The client's door to the network: the only file here that knows a socket. A wire is a stream of bytes to one broker;
// what the bytes mean is the connection's business.

import { connect, type Socket } from 'node:net'

export interface Address {
  readonly host: string
  readonly port: number
}

/** What a wire tells its owner. Nothing is told before `open` has returned, and nothing after onClose. */
export interface WireEvents {
  onConnect(): void
  /** The chunk is valid only during the call. */
  onData(chunk: Uint8Array): void
  /** What was written has gone to the system; told only after a write that answered false. */
  onDrain(): void
  /** The wire is of no further use. The cause is absent when the other side ended it, or the owner did. */
  onClose(cause: Error | undefined): void
}

export interface Wire {
  /** Sends the chunks in order, as one write; they may not be changed any more. false: wait for onDrain, if you can. */
  write(chunks: readonly Uint8Array[]): boolean
  /** Ends the wire at once; what was not sent is lost. Idempotent. onClose follows. */
  destroy(): void
}

export interface Transport {
  open(address: Address, events: WireEvents): Wire
}

const READ_BUFFER_BYTES = 64 * 1024
/** Up to here joining the chunks costs less than handing them to the system one by one. */
const JOINED_BYTES_MAX = 8 * 1024

export const systemTransport: Transport = {
  open(address, events) {
    // Reading into one buffer instead of a fresh one a read halves what receiving costs.
    const socket = connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BUFFER_BYTES),
        callback(bytes, buffer) {
          events.onData(buffer.subarray(0, bytes))
          return true
        },
      },
    })
    let cause: Error | undefined
    socket.on('connect', () => events.onConnect())
    socket.on('drain', () => events.onDrain())
    socket.on('error', (error) => {
      cause = error
    })
    socket.on('close', () => events.onClose(cause))
    return new SocketWire(socket)
  },
}

class SocketWire implements Wire {
  readonly #socket: Socket

  constructor(socket: Socket) {
    this.#socket = socket
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (this.#socket.destroyed) return true
    if (chunks.length === 1 && chunks[0] !== undefined) return this.#socket.write(chunks[0])
    let bytes = 0
    for (const chunk of chunks) bytes += chunk.length
    if (bytes <= JOINED_BYTES_MAX) return this.#socket.write(Buffer.concat(chunks, bytes))
    let isRoom = true
    this.#socket.cork()
    for (const chunk of chunks) isRoom = this.#socket.write(chunk)
    this.#socket.uncork()
    return isRoom
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
