// One connection to one broker: preface, hello, requests without waiting, answers by correlation id. Owns the wire and
// what waits for an answer on it. Knows nothing of topics, retries or other brokers. Invariant: once it is closed, every
// request that it was given has been answered or refused, and it never opens again.

import type { TidemarkError } from '../shared/errors.ts'
import { FRAME_BYTES_BEFORE_HELLO_MAX, FRAME_BYTES_MAX } from '../shared/limits.ts'
import { type ApiName, APIS, errorBody, type RequestOf, type ResponseOf } from '../shared/protocol/api.ts'
import { wordsOf } from '../shared/protocol/api-words.ts'
import { decodeFrame, encodeFrameHead, type Frame, nativePreface } from '../shared/protocol/frame.ts'
import { type FrameBuffers, FrameDecoder } from '../shared/protocol/frame-decoder.ts'
import type { Timer } from '../shared/time.ts'
import type { ClientEnvironment } from './environment.ts'
import { errorFromWire, errorOf, NotConnectedError, toTidemarkError } from './errors.ts'
import type { Address, Wire } from './transport.ts'

export interface ConnectionOptions {
  readonly address: Address
  readonly clientId: string
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  /** Where answers are gathered that arrive in pieces; new memory for each if absent. */
  readonly buffers?: FrameBuffers | undefined
}

export interface AskOptions<Name extends ApiName = ApiName> {
  /** Sent behind the message as they are; may not be changed any more. */
  readonly tail?: readonly Uint8Array[] | undefined
  /** Milliseconds until the connection is given up for dead. Default: the connection's. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /**
   * Is given the answer where it lies: the bytes of its tail are overwritten after the call. What the promise resolves
   * with has no tail then.
   */
  readonly read?: ((answer: Answer<Name>) => void) | undefined
}

export interface Answer<Name extends ApiName> {
  readonly body: ResponseOf<Name>
  /** Memory of its own, nobody else's. */
  readonly tail: Uint8Array
}

/** A request whose answer is still to come. After an abort it stays here until its answer has gone by. */
interface Waiting {
  readonly api: ApiName
  readonly onAnswer: (frame: Frame) => void
  readonly onError: (error: TidemarkError) => void
  readonly timer: Timer
}

/** Requests without an answer on one connection; one more is refused. */
const WAITING_MAX = 16_384
const NOTHING = new Uint8Array(0)
const SOFTWARE = 'tidemark-js/0.1.0'

type State = 'connecting' | 'open' | 'closed'

export class Connection {
  /** Resolves when hello is answered. @throws CONNECTION_FAILED, or what the broker refused hello with. */
  readonly opened: Promise<void>
  readonly name: string
  readonly #environment: ClientEnvironment
  readonly #options: ConnectionOptions
  readonly #wire: Wire
  readonly #decoder: FrameDecoder
  readonly #waiting = new Map<number, Waiting>()
  readonly #drainWaiters: (() => void)[] = []
  readonly #onClosed: ((reason: TidemarkError) => void)[] = []
  #state: State = 'connecting'
  #closeReason: TidemarkError | undefined
  #correlationId = 0
  #isWritable = true
  #hasAnswered = false
  #hello: ResponseOf<'hello'> | undefined
  /** The memory that the chunk being read lies in; what lies there is gone after the call. */
  #chunkMemory: ArrayBufferLike | undefined

  constructor(environment: ClientEnvironment, options: ConnectionOptions) {
    this.#environment = environment
    this.#options = options
    this.name = `${options.address.host}:${options.address.port}`
    this.#decoder = new FrameDecoder(
      { onFrame: (frame) => this.#onFrame(frame), reserve: () => true, release: () => undefined },
      FRAME_BYTES_BEFORE_HELLO_MAX,
      options.buffers,
    )
    this.opened = new Promise((resolve, reject) => {
      const timer = environment.timers.after(options.connectTimeoutMs, () => {
        this.close(new NotConnectedError(`${this.name}: no hello within ${options.connectTimeoutMs} ms`))
      })
      this.#onClosed.push(() => {
        timer.cancel()
        if (this.#hello === undefined) reject(this.#closeReason ?? this.#failure('closed'))
      })
      this.#afterHello = () => {
        timer.cancel()
        resolve()
      }
    })
    // Whoever opened the connection waits for `opened`; when nobody does any more, its failure is nobody's.
    this.opened.catch(() => undefined)
    this.#wire = environment.transport.open(options.address, {
      onConnect: () => this.#sayHello(),
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => this.#onDrain(),
      onClose: (cause) => this.#onWireClosed(cause),
    })
  }

  #afterHello: () => void = () => undefined

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** What the broker said of itself. */
  get hello(): ResponseOf<'hello'> | undefined {
    return this.#hello
  }

  /** Whether any request but hello was answered. */
  get hasAnswered(): boolean {
    return this.#hasAnswered
  }

  /** At once if it is closed already. */
  onClosed(callback: (reason: TidemarkError) => void): void {
    if (this.#closeReason !== undefined) callback(this.#closeReason)
    else this.#onClosed.push(callback)
  }

  /**
   * Sends a request and waits for its answer. @throws what the broker refused it with; CONNECTION_FAILED when the
   * connection broke, TIMEOUT when the broker kept silent (the connection is closed then), ABORTED.
   */
  ask<Name extends ApiName>(
    api: Name,
    request: RequestOf<Name>,
    options: AskOptions<Name> = {},
  ): Promise<Answer<Name>> {
    return new Promise((resolve, reject) => {
      const signal = options.signal
      if (signal?.aborted === true) return reject(abortedBy(signal, api))
      const onAbort = (): void => reject(abortedBy(signal, api))
      // Before it is sent: what cannot be sent takes the listener away again.
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#send(api, request, options, {
        onAnswer: (frame) => {
          signal?.removeEventListener('abort', onAbort)
          const body = APIS[api].response.decode(frame.body, api) as ResponseOf<Name>
          options.read?.({ body, tail: frame.tail })
          resolve({ body, tail: options.read === undefined ? this.#keep(frame.tail) : NOTHING })
        },
        onError: (error) => {
          signal?.removeEventListener('abort', onAbort)
          reject(error)
        },
      })
    })
  }

  /** Sends a produce request that is not answered; resolves when there is room for another. @throws CONNECTION_FAILED. */
  async tell(request: RequestOf<'produce'>, tail: readonly Uint8Array[]): Promise<void> {
    this.#checkOpen('produce')
    this.#write('produce', request, tail)
    if (!this.#isWritable) await new Promise<void>((resolve) => this.#drainWaiters.push(resolve))
    this.#checkOpen('produce')
  }

  /** Closes at once; what waits for an answer fails with the reason. Idempotent. */
  close(reason: TidemarkError = this.#failure('the connection was closed')): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#closeReason = reason
    this.#decoder.close()
    this.#wire.destroy()
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { timer, onError } of waiting) {
      timer.cancel()
      onError(reason)
    }
    for (const wake of this.#drainWaiters.splice(0)) wake()
    for (const callback of this.#onClosed.splice(0)) callback(reason)
  }

  #sayHello(): void {
    if (this.#state !== 'connecting') return
    this.#wire.write([nativePreface()])
    const request = { clientId: this.#options.clientId, software: SOFTWARE }
    this.#send(
      'hello',
      request,
      { timeoutMs: this.#options.connectTimeoutMs },
      {
        onAnswer: (frame) => {
          this.#hello = APIS.hello.response.decode(frame.body, 'hello')
          this.#decoder.frameBytesMax = FRAME_BYTES_MAX
          this.#state = 'open'
          this.#afterHello()
        },
        onError: (error) => this.close(error),
      },
    )
  }

  #send<Name extends ApiName>(
    api: Name,
    request: RequestOf<Name>,
    options: Pick<AskOptions, 'tail' | 'timeoutMs'>,
    waiting: Pick<Waiting, 'onAnswer' | 'onError'>,
  ): void {
    try {
      if (api !== 'hello') this.#checkOpen(api)
      if (this.#waiting.size >= WAITING_MAX) {
        throw errorOf('BUFFER_FULL', `${this.name}: ${WAITING_MAX} requests wait for their answers`)
      }
      const correlationId = this.#write(api, request, options.tail ?? [])
      const timeoutMs = options.timeoutMs ?? this.#options.requestTimeoutMs
      const timer = this.#environment.timers.after(timeoutMs, () => this.#onSilence(correlationId, api, timeoutMs))
      this.#waiting.set(correlationId, { api, timer, onAnswer: waiting.onAnswer, onError: waiting.onError })
    } catch (error) {
      waiting.onError(toTidemarkError(error, 'INVALID_ARGUMENT', `the request to ${wordsOf(api)} cannot be sent`))
    }
  }

  #write(api: ApiName, request: unknown, tail: readonly Uint8Array[]): number {
    const row = APIS[api]
    if (api !== 'hello') this.#checkSpoken(api)
    let tailBytes = 0
    for (const part of tail) tailBytes += part.length
    this.#correlationId = this.#correlationId === 0xffff_ffff ? 1 : this.#correlationId + 1
    const head = encodeFrameHead({
      kind: 'request',
      api: row.number,
      version: row.versionMax,
      correlationId: this.#correlationId,
      // The row and the request belong together by the signature of `ask`.
      body: row.request.encode(request as never),
      tailBytes,
    })
    const frameBytesMax = this.#hello?.frameBytesMax ?? FRAME_BYTES_BEFORE_HELLO_MAX
    if (head.length - 4 + tailBytes > frameBytesMax) {
      throw errorOf(
        'FRAME_TOO_LARGE',
        `a request to ${wordsOf(api)} of ${head.length + tailBytes} bytes; ${this.name} takes ${frameBytesMax}`,
      )
    }
    this.#isWritable = this.#wire.write(tail.length === 0 ? [head] : [head, ...tail])
    return this.#correlationId
  }

  #onData(chunk: Uint8Array): void {
    if (this.#state === 'closed') return
    this.#chunkMemory = chunk.buffer
    try {
      this.#decoder.push(chunk)
    } catch (error) {
      this.close(
        errorOf('CONNECTION_FAILED', `${this.name} sent what cannot be read`, { cause: error, broker: this.name }),
      )
    } finally {
      this.#chunkMemory = undefined
    }
  }

  #onFrame(bytes: Uint8Array): boolean {
    // A close in the middle of a chunk: what follows in it is nobody's.
    if (this.#state === 'closed') return true
    const frame = decodeFrame(bytes)
    if (frame.kind === 'request') throw errorOf('MALFORMED_FRAME', 'a broker sends no requests')
    if (frame.kind === 'error') return this.#onErrorFrame(frame)
    const waiting = this.#waiting.get(frame.correlationId)
    if (waiting === undefined) throw errorOf('MALFORMED_FRAME', `an answer to no request, ${frame.correlationId}`)
    if (APIS[waiting.api].number !== frame.api) {
      throw errorOf('MALFORMED_FRAME', `an answer of api ${frame.api} to ${waiting.api}`)
    }
    // Taken out only when it could be read: otherwise the close that follows answers it.
    waiting.onAnswer(frame)
    waiting.timer.cancel()
    if (waiting.api !== 'hello') this.#hasAnswered = true
    this.#waiting.delete(frame.correlationId)
    return true
  }

  #onErrorFrame(frame: Frame): boolean {
    const { error: code, message } = errorBody.decode(frame.body, 'error')
    const waiting = this.#waiting.get(frame.correlationId)
    const what = waiting === undefined ? 'the connection' : `to ${wordsOf(waiting.api)}`
    const error = errorFromWire(code, `${this.name} refused ${what}: ${message ?? 'without a word'}`, {
      broker: this.name,
    })
    if (waiting === undefined) {
      // Of a request without an answer, or of the connection as a whole. Either way nobody is there to hear it.
      this.close(errorOf('CONNECTION_FAILED', error.message, { cause: error, broker: this.name }))
      return true
    }
    this.#waiting.delete(frame.correlationId)
    waiting.timer.cancel()
    waiting.onError(error)
    return true
  }

  /** What lies in memory that is used again is copied; what was gathered in memory of its own is handed on. */
  #keep(tail: Uint8Array): Uint8Array {
    if (tail.length === 0) return NOTHING
    const isLent = this.#options.buffers !== undefined || tail.buffer === this.#chunkMemory
    return isLent ? Buffer.from(tail) : tail
  }

  #onSilence(correlationId: number, api: ApiName, timeoutMs: number): void {
    const waiting = this.#waiting.get(correlationId)
    if (waiting === undefined) return
    this.#waiting.delete(correlationId)
    const text = `${this.name} did not ${wordsOf(api)} within ${timeoutMs} ms`
    waiting.onError(errorOf('TIMEOUT', text, { broker: this.name }))
    // The answers behind it would come no sooner: a broker this silent is gone, or the way to it is.
    this.close(this.#failure(text))
  }

  #onDrain(): void {
    this.#isWritable = true
    for (const wake of this.#drainWaiters.splice(0)) wake()
  }

  #onWireClosed(cause: Error | undefined): void {
    const reason = cause === undefined ? 'the other side closed it' : textOf(cause)
    const details = { cause, broker: this.name }
    this.close(
      this.#hello === undefined
        ? new NotConnectedError(`${this.name}: no connection could be made: ${reason}`, details)
        : errorOf('CONNECTION_FAILED', `${this.name}: the connection broke: ${reason}`, details),
    )
  }

  /** @throws UNSUPPORTED_VERSION when the broker has not said that it speaks our version of the request. */
  #checkSpoken(api: ApiName): void {
    const { number, versionMax } = APIS[api]
    const spoken = this.#hello?.apis.find((one) => one.api === number)
    if (spoken !== undefined && spoken.versionMin <= versionMax && versionMax <= spoken.versionMax) return
    const theirs = spoken === undefined ? 'does not know it' : `speaks ${spoken.versionMin} to ${spoken.versionMax}`
    throw errorOf(
      'UNSUPPORTED_VERSION',
      `the request to ${wordsOf(api)} in version ${versionMax}: ${this.name} ${theirs}`,
      {
        broker: this.name,
      },
    )
  }

  #checkOpen(api: ApiName): void {
    if (this.#state === 'open') return
    throw new NotConnectedError(
      `${this.name}: the request to ${wordsOf(api)} was not sent, the connection is ${this.#state}`,
      {
        broker: this.name,
        cause: this.#closeReason,
      },
    )
  }

  #failure(what: string): TidemarkError {
    return errorOf('CONNECTION_FAILED', `${this.name}: ${what}`, { broker: this.name })
  }
}

/** A name that stands for several addresses fails with one error for each, and no words of its own. */
function textOf(cause: Error): string {
  if (!(cause instanceof AggregateError) || cause.message !== '') return cause.message
  return cause.errors.map((error) => (error instanceof Error ? error.message : String(error))).join('; ')
}

function abortedBy(signal: AbortSignal | undefined, api: ApiName): Error {
  const reason: unknown = signal?.reason
  // A scope's reason says already who gave up and on what.
  return reason instanceof Error && 'code' in reason
    ? reason
    : errorOf('ABORTED', `the request to ${wordsOf(api)} was aborted by its caller`, { cause: reason })
}
