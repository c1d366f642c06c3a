// The real network: TCP by node:net. Owns the one receive buffer of the process and how accepted sockets come to use it.
// Knows no protocol.
//
// A socket that is read through 'data' gets a fresh 64 KiB slab for each read, and the pages of those slabs are most of
// what receiving costs. With `onread` every socket reads into one static buffer, because a chunk is used up during the
// call. Node offers that for sockets that connect, not for those it accepts, so the accepted handle is taken from the
// server before Node has made a socket of it. Where that inner door is missing, sockets are read the plain way.
// bench-floor --stub with and without --plain, Node 20, CPU seconds a GB: 64 KiB batches 0.53 against 0.69, single records
// of 1 KiB 1.56 against 1.71.

import { createServer, Socket, type AddressInfo, type Server } from 'node:net'
import { TidemarkError } from '../../shared/errors.ts'
import type { ListenOptions, SocketHandlers, Transport, TransportServer, TransportSocket } from './transport.ts'

const RECEIVE_BUFFER_BYTES = 128 * 1024
const KEEP_ALIVE_DELAY_MS = 60_000

export interface NodeTransportOptions {
  /** Whether sockets share one receive buffer. Default true; false is the plain way. */
  readonly sharedBuffer?: boolean
}

export class NodeTransport implements Transport {
  readonly #sharedBuffer: boolean

  constructor(options: NodeTransportOptions = {}) {
    this.#sharedBuffer = options.sharedBuffer ?? true
  }

  listen(
    options: ListenOptions,
    onSocket: (socket: TransportSocket) => void,
    onError: (error: Error) => void = () => undefined,
  ): Promise<TransportServer> {
    return new Promise((resolve, reject) => {
      const server = createServer({ pauseOnConnect: true }, (socket) => onSocket(new PlainSocket(socket)))
      const refuse = (error: Error): void => reject(listenError(error, options))
      server.once('error', refuse)
      server.listen({ host: options.host, port: options.port, backlog: options.backlog ?? 1_024 }, () => {
        server.removeListener('error', refuse)
        server.on('error', onError)
        if (this.#sharedBuffer) acceptIntoSharedBuffer(server, onSocket)
        resolve(new NodeServer(server))
      })
    })
  }
}

class NodeServer implements TransportServer {
  readonly host: string
  readonly port: number
  readonly #server: Server

  constructor(server: Server) {
    const address = server.address() as AddressInfo
    this.#server = server
    this.host = address.address
    this.port = address.port
  }

  // The port is free when this returns; the server's own callback would wait for every socket it has accepted.
  close(): Promise<void> {
    this.#server.close()
    return Promise.resolve()
  }
}

/** What both ways of reading have in common. */
abstract class NodeSocket implements TransportSocket {
  readonly remote: string
  readonly remoteAddress: string
  protected readonly socket: Socket
  protected handlers: SocketHandlers | undefined
  #error: Error | undefined

  constructor(socket: Socket) {
    this.socket = socket
    this.remoteAddress = socket.remoteAddress ?? 'unknown'
    this.remote = `${this.remoteAddress}:${socket.remotePort ?? 0}`
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS)
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('drain', () => this.handlers?.onDrain())
    socket.on('close', () => this.handlers?.onClose(this.#error))
  }

  abstract start(handlers: SocketHandlers): void

  get bufferedBytes(): number {
    return this.socket.writableLength
  }

  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  write(buffers: readonly Uint8Array[], onWritten?: () => void): boolean {
    const { socket } = this
    const last = buffers.length - 1
    if (last > 0) socket.cork()
    let hasRoom = true
    for (let index = 0; index <= last; index += 1) {
      const buffer = buffers[index]
      if (buffer === undefined) continue
      hasRoom = index === last && onWritten !== undefined ? socket.write(buffer, onWritten) : socket.write(buffer)
    }
    if (last > 0) socket.uncork()
    return hasRoom
  }

  end(): void {
    this.socket.end()
  }

  destroy(): void {
    this.socket.destroy()
  }
}

class PlainSocket extends NodeSocket {
  start(handlers: SocketHandlers): void {
    this.handlers = handlers
    this.socket.on('data', (chunk: Uint8Array) => handlers.onData(chunk))
    this.socket.resume()
  }
}

class SharedBufferSocket extends NodeSocket {
  start(handlers: SocketHandlers): void {
    this.handlers = handlers
    this.socket.resume()
  }

  onRead(chunk: Uint8Array): void {
    this.handlers?.onData(chunk)
  }
}

// One for the process: a chunk is used up before the next read, whichever socket that is for.
let receiveBuffer: Uint8Array | undefined

function acceptIntoSharedBuffer(server: Server, onSocket: (socket: TransportSocket) => void): void {
  const handle: unknown = Reflect.get(server, '_handle')
  if (typeof handle !== 'object' || handle === null) return
  const acceptPlainly: unknown = Reflect.get(handle, 'onconnection')
  if (typeof acceptPlainly !== 'function') return
  receiveBuffer ??= Buffer.allocUnsafeSlow(RECEIVE_BUFFER_BYTES)
  const buffer = receiveBuffer
  Reflect.set(handle, 'onconnection', (status: number, accepted: unknown) => {
    if (status !== 0 || typeof accepted !== 'object' || accepted === null || !('useUserBuffer' in accepted)) {
      Reflect.apply(acceptPlainly, handle, [status, accepted])
      return
    }
    onSocket(openSharedBufferSocket(accepted, buffer))
  })
}

function openSharedBufferSocket(handle: object, buffer: Uint8Array): SharedBufferSocket {
  // Nothing is read before this turn has ended, so the callback never runs ahead of the assignment below.
  const options = {
    handle,
    readable: true,
    writable: true,
    onread: {
      buffer,
      callback: (bytesRead: number): boolean => {
        opened.onRead(bytesRead === buffer.length ? buffer : buffer.subarray(0, bytesRead))
        return true
      },
    },
  }
  const opened = new SharedBufferSocket(new Socket(options))
  return opened
}

function listenError(error: Error, options: ListenOptions): TidemarkError {
  const where = `${options.host}:${options.port}`
  const code: unknown = 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    const advice = 'another process listens there; stop it, choose another port, or port 0 for a free one'
    return new TidemarkError('ADDRESS_IN_USE', `cannot listen on ${where}: ${advice}`, { cause: error })
  }
  const advice = code === 'EACCES' ? 'the port needs privileges; choose one above 1023' : error.message
  return new TidemarkError('INVALID_OPTION', `cannot listen on ${where}: ${advice}`, { cause: error })
}
