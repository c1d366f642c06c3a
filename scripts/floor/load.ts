// One connection that keeps a number of requests under way and measures: bytes and requests a second, and how long each
// took. Sends bytes that were laid out before; reads into one buffer; is the same for whatever answers.

import { connect, type Socket } from 'node:net'
import { FrameMeter } from './frame-meter.ts'

/** Bytes of each answer that are looked at: header, and the first of a produce response up to its error number. */
const HEADER_BYTES = 20
const RECEIVE_BYTES = 256 * 1024
const PREFACE_AND_HELLO_MS = 10_000

export interface Load {
  /** What one request is, laid out; the same each time unless `next` says otherwise. */
  readonly frame: Buffer
  /** Called before each request to change `frame` in place; only with one request in flight. */
  readonly next?: (previousAnswer: Buffer | undefined, previousBytes: number) => void
  readonly inFlight: number
  /** Whether the answer's error number stands where that of a produce response does. */
  readonly isProduce: boolean
}

export interface Measured {
  readonly requests: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly seconds: number
  /** Milliseconds, sorted; only with one request in flight. */
  readonly latenciesMs: readonly number[]
}

export class LoadConnection {
  readonly #socket: Socket
  readonly #opening: readonly Buffer[]
  readonly #meter: FrameMeter
  #onFrame: (frameBytes: number, header: Buffer) => void = () => undefined
  #onChunkEnd: () => void = () => undefined
  #fail: (error: Error) => void = () => undefined

  private constructor(port: number, opening: readonly Buffer[]) {
    this.#opening = opening
    this.#meter = new FrameMeter((bytes, header) => this.#onFrame(bytes, header), HEADER_BYTES)
    const buffer = Buffer.allocUnsafeSlow(RECEIVE_BYTES)
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer,
        callback: (bytes: number) => {
          this.#meter.push(buffer.subarray(0, bytes))
          this.#onChunkEnd()
          return true
        },
      },
    })
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the connection was closed by the server')))
  }

  /** `opening` is sent first; its last element is a request, whose answer is awaited. */
  static async open(port: number, opening: readonly Buffer[]): Promise<LoadConnection> {
    const connection = new LoadConnection(port, opening)
    await new Promise<void>((resolve, reject) => {
      connection.#fail = reject
      connection.#socket.once('connect', resolve)
    })
    if (opening.length > 0) await connection.#greet()
    return connection
  }

  /** Sends one request and waits for its answer. */
  async ask(frame: Buffer): Promise<void> {
    await this.#exchange(frame)
  }

  /** Keeps `inFlight` requests under way until there were so many, and waits for all answers. */
  run(load: Load, requests: number): Promise<Measured> {
    const { frame, inFlight, next } = load
    const repeated = Buffer.concat(Array.from({ length: Math.min(inFlight, requests) }, () => frame))
    const latenciesMs: number[] = []
    let sent = 0
    let answered = 0
    let bytesReceived = 0
    let inChunk = 0
    let sentAt = 0
    return new Promise((resolve, reject) => {
      const startedAt = process.hrtime.bigint()
      const send = (count: number): void => {
        const now = Math.min(count, requests - sent)
        if (now === 0) return
        sent += now
        if (inFlight === 1) sentAt = performance.now()
        this.#socket.write(next === undefined ? repeated.subarray(0, now * frame.length) : frame)
      }
      this.#fail = reject
      this.#onFrame = (frameBytes, header) => {
        const isRefused = header[4] !== 2 || (load.isProduce && frameBytes >= HEADER_BYTES && header[19] !== 0)
        if (isRefused) reject(new Error(`a request was refused: ${header.toString('hex')}`))
        answered += 1
        inChunk += 1
        bytesReceived += frameBytes
        if (inFlight === 1) latenciesMs.push(performance.now() - sentAt)
        next?.(header, frameBytes)
      }
      this.#onChunkEnd = () => {
        const count = inChunk
        inChunk = 0
        if (answered < requests) return send(count)
        const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9
        const sortedMs = latenciesMs.toSorted((a, b) => a - b)
        resolve({ requests, bytesSent: requests * frame.length, bytesReceived, seconds, latenciesMs: sortedMs })
      }
      send(inFlight)
    })
  }

  close(): void {
    this.#fail = () => undefined
    this.#socket.destroy()
  }

  async #greet(): Promise<void> {
    const timer = setTimeout(() => this.#fail(new Error('no answer to hello')), PREFACE_AND_HELLO_MS)
    await this.#exchange(Buffer.concat(this.#opening))
    clearTimeout(timer)
  }

  #exchange(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fail = reject
      this.#onChunkEnd = () => undefined
      this.#onFrame = (_bytes, header) => {
        if (header[4] === 2) resolve()
        else reject(new Error(`refused: ${header.toString('hex')}`))
      }
      this.#socket.write(bytes)
    })
  }
}
