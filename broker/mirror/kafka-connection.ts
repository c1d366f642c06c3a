// One connection to one broker that speaks Kafka's protocol: requests by correlation id, answers in their order. Owns the wire
// and what waits on it; knows nothing of topics, retries or other brokers.
//
// Invariant: once it is closed, every request that it was given has been answered or refused, and it never opens again.

import type { ClientEnvironment } from '../../client/environment.ts'
import type { Address, Wire } from '../../client/transport.ts'
import type { Timer } from '../../shared/time.ts'
import { errorOf, NotConnectedError, toTidemarkError } from '../../client/errors.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { RESPONSE_VALUES_MAX } from '../../shared/limits.ts'
import { FrameDecoder } from '../../shared/protocol/frame-decoder.ts'
import { apiVersions } from '../protocols/kafka/18-api-versions.ts'
import type { AnswerOf, AnyApi, QuestionOf } from '../protocols/kafka/api.ts'
import { encodeRequest, readResponseHeader } from '../protocols/kafka/frames.ts'
import { KafkaReader } from '../protocols/kafka/primitives.ts'
import type { VersionRange } from '../protocols/kafka/schema.ts'

export interface KafkaConnectionOptions {
  readonly address: Address
  readonly clientId: string
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
}

interface Waiting {
  readonly api: AnyApi
  readonly version: number
  readonly timer: Timer
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: TidemarkError) => void
}

/** Bytes of one answer, at most: far more than any fetch here asks for. */
const ANSWER_BYTES_MAX = 256 * 1024 * 1024
/** Requests without an answer on one connection; one more is refused. */
const WAITING_MAX = 1_024

const reader = new KafkaReader()

export class KafkaConnection {
  readonly name: string
  readonly #environment: ClientEnvironment
  readonly #options: KafkaConnectionOptions
  readonly #decoder: FrameDecoder
  readonly #waiting = new Map<number, Waiting>()
  readonly #wire: Wire
  #chunkMemory: ArrayBufferLike | undefined
  #correlationId = 0
  #isConnected = false
  #closed: TidemarkError | undefined
  #offered: ReadonlyMap<number, VersionRange> = new Map()
  #features: ReadonlySet<string> = new Set()
  #onConnected: () => void = () => undefined

  /** Connects and asks what is spoken. @throws CONNECTION_FAILED, TIMEOUT, UNSUPPORTED_VERSION */
  static async open(environment: ClientEnvironment, options: KafkaConnectionOptions): Promise<KafkaConnection> {
    const connection = new KafkaConnection(environment, options)
    try {
      await connection.#connected()
      await connection.#learnVersions()
      return connection
    } catch (error) {
      connection.close()
      throw error
    }
  }

  private constructor(environment: ClientEnvironment, options: KafkaConnectionOptions) {
    this.#environment = environment
    this.#options = options
    this.name = `${options.address.host}:${options.address.port}`
    this.#decoder = new FrameDecoder(
      {
        onFrame: (frame) => {
          this.#onFrame(frame)
          return true
        },
        reserve: () => true,
        release: () => undefined,
      },
      ANSWER_BYTES_MAX,
    )
    this.#wire = environment.transport.open(options.address, {
      onConnect: () => {
        this.#isConnected = true
        this.#onConnected()
      },
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => undefined,
      onClose: (cause) => this.#fail(this.#lost(cause)),
    })
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** Whether the broker says that it has the feature. */
  has(feature: string): boolean {
    return this.#features.has(feature)
  }

  /** The newest version that both sides speak. @throws UNSUPPORTED_VERSION */
  versionOf(api: AnyApi, versionMax = api.versions.max): number {
    const offered = this.#offered.get(api.key)
    const version = Math.min(offered?.max ?? -1, api.versions.max, versionMax)
    if (offered === undefined || version < Math.max(offered.min, api.versions.min)) {
      const has = offered === undefined ? 'none' : `${offered.min} to ${offered.max}`
      throw new TidemarkError(
        'UNSUPPORTED_VERSION',
        `${this.name} speaks no common version of ${api.name}: it has ${has}`,
      )
    }
    return version
  }

  /** @throws CONNECTION_FAILED, TIMEOUT, UNSUPPORTED_VERSION, MALFORMED_FRAME */
  ask<A extends AnyApi>(api: A, request: QuestionOf<A>, versionMax?: number): Promise<AnswerOf<A>> {
    return this.#ask(api, request, this.versionOf(api, versionMax))
  }

  /** Idempotent. What waits is refused. */
  close(): void {
    this.#fail(errorOf('CONNECTION_FAILED', `the connection to ${this.name} was closed`))
  }

  #ask<A extends AnyApi>(api: A, request: QuestionOf<A>, version: number): Promise<AnswerOf<A>> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) return reject(this.#closed)
      if (this.#waiting.size >= WAITING_MAX) {
        return reject(new TidemarkError('BROKER_OVERLOADED', `${this.name} owes ${WAITING_MAX} answers`))
      }
      this.#correlationId = (this.#correlationId + 1) & 0x7fff_ffff
      const correlationId = this.#correlationId
      const { clientId, requestTimeoutMs } = this.#options
      const pieces = encodeRequest(api, { version, correlationId, clientId }, request)
      const timer = this.#environment.timers.after(requestTimeoutMs, () => {
        // Whatever comes after it is for nobody; a broker that is silent is asked anew over another connection.
        this.#fail(errorOf('TIMEOUT', `${this.name} did not answer ${api.name} within ${requestTimeoutMs} ms`))
      })
      // The table of messages has the answer of each API to itself; the compiler cannot follow an API that varies.
      const answered = (answer: unknown): void => resolve(answer as AnswerOf<A>)
      this.#waiting.set(correlationId, { api, version, timer, resolve: answered, reject })
      this.#wire.write(pieces)
    })
  }

  #connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { connectTimeoutMs } = this.#options
      const timer = this.#environment.timers.after(connectTimeoutMs, () => {
        this.#fail(new NotConnectedError(`no connection to ${this.name} in ${connectTimeoutMs} ms`))
      })
      this.#onConnected = () => {
        timer.cancel()
        if (this.#closed === undefined) resolve()
        else reject(this.#closed)
      }
      if (this.#isConnected || this.#closed !== undefined) this.#onConnected()
    })
  }

  /** The lowest version has to be understood by everybody, whatever else it speaks. */
  async #learnVersions(): Promise<void> {
    const question = { clientSoftwareName: 'tidemark-mirror', clientSoftwareVersion: '1' }
    let answer = await this.#ask(apiVersions, question, 3)
    if (answer.errorCode !== 0) answer = await this.#ask(apiVersions, question, 0)
    if (answer.errorCode !== 0)
      throw new TidemarkError('UNSUPPORTED_VERSION', `${this.name} does not tell its versions`)
    this.#offered = new Map(
      answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { min: minVersion, max: maxVersion }]),
    )
    this.#features = new Set(answer.supportedFeatures.map(({ name }) => name))
  }

  #onData(chunk: Uint8Array): void {
    this.#chunkMemory = chunk.buffer
    try {
      this.#decoder.push(chunk)
    } catch (error) {
      this.#fail(toTidemarkError(error, 'MALFORMED_FRAME', `${this.name} answers what cannot be read`))
    }
  }

  #onFrame(frame: Uint8Array): void {
    // The memory of a chunk is used again; a frame that was gathered has memory of its own.
    const own = frame.buffer === this.#chunkMemory ? Uint8Array.from(frame) : frame
    reader.open(own, RESPONSE_VALUES_MAX)
    const correlationId = reader.int32()
    const waiting = this.#waiting.get(correlationId)
    if (waiting === undefined) {
      throw new TidemarkError('MALFORMED_FRAME', `${this.name} answers a request that nobody made`)
    }
    const { api, version, timer } = waiting
    // Error 35 is told in the version that everybody can read, whatever was asked.
    const isRefused = api === apiVersions && version > 0 && own[4] === 0 && own[5] === 35
    const readVersion = isRefused ? 0 : version
    readResponseHeader(reader, api, readVersion)
    const answer = api.response.read(reader, readVersion)
    this.#waiting.delete(correlationId)
    timer.cancel()
    waiting.resolve(answer)
  }

  #lost(cause: Error | undefined): TidemarkError {
    if (!this.#isConnected) {
      return new NotConnectedError(`no connection to ${this.name}${reason(cause)}`, { cause })
    }
    return errorOf('CONNECTION_FAILED', `the connection to ${this.name} broke${reason(cause)}`, { cause })
  }

  #fail(error: TidemarkError): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    this.#decoder.close()
    this.#wire.destroy()
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { timer, reject } of waiting) {
      timer.cancel()
      reject(error)
    }
    this.#onConnected()
  }
}

function reason(cause: Error | undefined): string {
  return cause === undefined ? '' : `: ${cause.message}`
}
