// The door to the network as the broker sees it: streams of bytes that are accepted, read and written. Owns no behaviour;
// the real one is node-transport.ts, a simulation brings its own.

export interface ListenOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Connections that may wait to be accepted. */
  readonly backlog?: number
}

export interface SocketHandlers {
  /** The chunk is valid only during the call: what shall outlive it must be copied. */
  onData(chunk: Uint8Array): void
  /** After a write that answered false: everything has been handed to the system. */
  onDrain(): void
  /** Once, when nothing will come or go any more. */
  onClose(error?: Error): void
}

export interface TransportSocket {
  /** Address and port of the peer, for people. */
  readonly remote: string
  /** Address of the peer without its port. */
  readonly remoteAddress: string
  /** Bytes given to write that the system has not taken yet. */
  readonly bufferedBytes: number
  /** Begins reading. Called once, before anything else. */
  start(handlers: SocketHandlers): void
  /** No onData from now on, until resume. Bytes wait in the system, and so does the peer. */
  pause(): void
  resume(): void
  /**
   * Sends the buffers as one, in order; they may not change until onWritten, which is called once when the system has
   * taken them, in the order of the writes. After a failure it may be called or not. False asks to wait for onDrain.
   */
  write(buffers: readonly Uint8Array[], onWritten?: () => void): boolean
  /** Sends what was written and then the end of the stream; reading goes on. */
  end(): void
  /** Drops everything. onClose follows. */
  destroy(): void
}

export interface TransportServer {
  readonly host: string
  readonly port: number
  /** Accepts no more; sockets that are open stay so. Idempotent. */
  close(): Promise<void>
}

export interface Transport {
  /** @throws ADDRESS_IN_USE, INVALID_OPTION for an address that cannot be listened on. */
  listen(
    options: ListenOptions,
    onSocket: (socket: TransportSocket) => void,
    onError?: (error: Error) => void,
  ): Promise<TransportServer>
}
