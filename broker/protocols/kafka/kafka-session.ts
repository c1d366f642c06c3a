// One connection of a Kafka client: frames to requests, outcomes to frames, answers in the order of the requests. What a request
// means is decided behind `AllRequests`, and how one translates is the handlers'. Knows no socket and no partition.
//
// Invariants: each request that begins is counted in and counted out once, in order; every slice of records is released
// once, by the output or here; nothing throws out of a session. Where Kafka's protocol has no way to say what is wrong
// (an API that is not there, a version that is not spoken, bytes that are no request), the connection is closed, and the log
// says why.

import type { ProtocolConnection, ProtocolSession } from '../../network/protocol-adapter.ts'
import type { PendingFetch, RequestContext } from '../../requests/requests.ts'
import type { AnyApi, ResponseOf } from './api.ts'
import type { AnyHandler, Call, Refusal } from './handlers/handler.ts'
import type { KafkaHost } from './kafka-host.ts'
import { type ErrorCode, TidemarkError } from '../../../shared/errors.ts'
import { CLIENT_ID_BYTES_MAX, TOLD_BYTES } from '../../../shared/limits.ts'
import { fetch as fetchApi } from './01-fetch.ts'
import { produce } from './00-produce.ts'
import { apiVersions } from './18-api-versions.ts'
import { AnswersInOrder, type Exchange } from './answers-in-order.ts'
import { apiOf } from './api-table.ts'
import { kafkaCode } from './error-mapping.ts'
import { fetchAnswer, type FetchAnswer, fetchQuestion, sessionRefusal } from './fetch-translation.ts'
import { encodeResponse, readClientId, readRequestStart, type RequestStart } from './frames.ts'
import { spokenVersions } from './handlers/cluster.ts'
import { KafkaReader } from './primitives.ts'
import { firstRefusal, produceAnswer, produceQuestion } from './produce-translation.ts'

/** The smallest request: api key, version, correlation id, and the length of no client id. */
export const REQUEST_BYTES_MIN = 10

// Requests are read one at a time, to the end.
const reader = new KafkaReader()

interface WaitingFetch {
  readonly granted: number
  isAnswered: boolean
  pending: PendingFetch | undefined
  /** Answers with what there is. */
  end: () => void
}

export class KafkaSession implements ProtocolSession {
  readonly #connection: ProtocolConnection
  readonly #host: KafkaHost
  readonly #context: RequestContext
  readonly #answers = new AnswersInOrder()
  readonly #fetches = new Set<WaitingFetch>()
  #isClosed = false

  constructor(connection: ProtocolConnection, host: KafkaHost) {
    this.#connection = connection
    this.#host = host
    const { id, remote } = connection
    const { listener } = host
    this.#context = { connectionId: id, protocol: 'kafka', remote, listener, clientId: '', software: '' }
    // There is no handshake that one would have to wait for: who knows the versions may begin with any request.
    connection.frameBytesMax = host.limits.frameBytesMax
  }

  onFrame(frame: Uint8Array): void {
    try {
      reader.open(frame)
      const start = readRequestStart(reader)
      const api = apiOf(start.apiKey)
      if (api === undefined) return this.#close('unsupported', `there is no api ${start.apiKey} here`)
      const { min, max } = api.versions
      if (start.apiVersion < min || start.apiVersion > max) return this.#onOtherVersion(api, start, frame.length)
      this.#context.clientId = (readClientId(reader, api.isFlexible(start.apiVersion)) ?? '').slice(
        0,
        CLIENT_ID_BYTES_MAX,
      )
      this.#connection.onHandshakeDone()
      this.#onRequest(api, start, frame.length)
    } catch (error) {
      this.#fail(error)
    }
  }

  onUnreadable(): void {
    // The connection closes and says why; there is nothing that a client could be told.
  }

  onDrain(): void {
    for (const fetch of this.#fetches) {
      fetch.pending?.cancel()
      fetch.end()
    }
  }

  onClose(): void {
    this.#isClosed = true
    for (const { pending } of this.#fetches) pending?.cancel()
    this.#fetches.clear()
    this.#answers.dropAll()
    this.#host.requests.onConnectionClosed?.(this.#context)
  }

  /** Only of ApiVersions it can be said which versions there are; of all else whoever asks should have known. */
  #onOtherVersion(api: AnyApi, start: RequestStart, bytes: number): void {
    const { name, versions } = api
    if (api !== apiVersions) {
      const spoken = `${name} is spoken in versions ${versions.min} to ${versions.max}, not ${start.apiVersion}`
      return this.#close('unsupported', spoken)
    }
    this.#connection.onHandshakeDone()
    const exchange = this.#begin(apiVersions, { ...start, apiVersion: 0 }, bytes)
    this.#settle(exchange, () => {
      this.#send(apiVersions, exchange, { ...spokenVersions(), errorCode: kafkaCode('UNSUPPORTED_VERSION') })
    })
  }

  #onRequest(api: AnyApi, start: RequestStart, bytes: number): void {
    if (api === produce) return this.#onProduce(start, bytes)
    if (api === fetchApi) return this.#onFetch(start, bytes)
    const handler = this.#host.handlers.get(api.key)
    if (handler === undefined) return this.#close('unsupported', `${api.name} is not served`)
    // Bytes behind the message are left alone, as Kafka does: librdkafka sends three of them with Metadata v13.
    const request = api.request.read(reader, start.apiVersion)
    const exchange = this.#begin(api, start, bytes, handler.isLong ? TOLD_BYTES : 0)
    this.#ask(handler, request, exchange).catch((error: unknown) => this.#fail(error, api.name))
  }

  async #ask(handler: AnyHandler, request: unknown, exchange: Exchange): Promise<void> {
    const call: Call = { version: exchange.version, context: this.#context }
    let answer: unknown
    try {
      answer = await handler.answer(request, call)
    } catch (error) {
      answer = handler.refuse(request, this.#refusalOf(error, exchange), call)
    }
    if (answer === undefined) return this.#closeLater(exchange, 'unsupported', `${exchange.name} was refused`)
    // The table of handlers has the answer of each API to itself; the compiler cannot follow an API that varies.
    this.#settle(exchange, () => this.#send(handler.api, exchange, answer as never))
  }

  #onProduce(start: RequestStart, bytes: number): void {
    const request = produce.request.read(reader, start.apiVersion)
    const exchange = this.#begin(produce, start, bytes)
    const { acks } = request
    this.#host.requests.produce(produceQuestion(request), this.#context, (outcomes) => {
      for (const { refusal } of outcomes) this.#countRefusal(exchange.name, refusal?.error)
      if (acks !== 0) {
        return this.#settle(exchange, () => this.#send(produce, exchange, produceAnswer(request, outcomes)))
      }
      const refusal = firstRefusal(outcomes)
      if (refusal === undefined) return this.#settle(exchange, () => undefined)
      this.#closeLater(exchange, 'write-refused', refusal)
    })
  }

  #onFetch(start: RequestStart, bytes: number): void {
    const request = fetchApi.request.read(reader, start.apiVersion)
    const exchange = this.#begin(fetchApi, start, bytes)
    const refused = sessionRefusal(request)
    if (refused !== undefined) return this.#settle(exchange, () => this.#send(fetchApi, exchange, refused))
    const { requests } = this.#host
    const granted = this.#connection.grantOutput(Math.max(0, request.maxBytes))
    const waiting: WaitingFetch = {
      granted,
      isAnswered: false,
      pending: undefined,
      end: () => this.#answerFetch(waiting, exchange, fetchAnswer(requests, request, [])),
    }
    this.#fetches.add(waiting)
    waiting.pending = requests.fetch(
      fetchQuestion(requests, request, granted),
      this.#context,
      (outcomes) => {
        for (const { refusal } of outcomes) this.#countRefusal(exchange.name, refusal?.error)
        this.#answerFetch(waiting, exchange, fetchAnswer(requests, request, outcomes))
      },
      (isReading) => {
        if (isReading) this.#connection.onReadBegun(granted)
        else this.#connection.onReadDone(granted)
      },
    )
  }

  #answerFetch(waiting: WaitingFetch, exchange: Exchange, { response, slices }: FetchAnswer): void {
    const releaseAll = (): void => {
      for (const slice of slices) slice.release()
    }
    if (waiting.isAnswered || this.#isClosed) return releaseAll()
    waiting.isAnswered = true
    this.#fetches.delete(waiting)
    this.#connection.settleOutput(waiting.granted)
    exchange.drop = releaseAll
    this.#settle(exchange, () => {
      const pieces = encodeResponse(fetchApi, exchange, response)
      exchange.drop = undefined
      const { output } = this.#connection
      let next = 0
      for (const [index, piece] of pieces.entries()) {
        // Records stand between the pieces, in the order of the partitions.
        const slice = index % 2 === 1 ? slices[next++] : undefined
        if (slice === undefined) output.append(piece)
        else output.appendSlice(piece, () => slice.release())
      }
    })
  }

  #begin({ name }: AnyApi, start: RequestStart, bytes: number, toldBytes = 0): Exchange {
    const { apiVersion, correlationId } = start
    const { receivedAt } = this.#connection
    const exchange: Exchange = {
      name,
      version: apiVersion,
      correlationId,
      bytes,
      toldBytes,
      receivedAt,
      answer: undefined,
      drop: undefined,
      next: undefined,
    }
    this.#host.counted(name).requests.add(1)
    this.#connection.onRequestBegun(bytes, toldBytes)
    this.#answers.enter(exchange)
    return exchange
  }

  /** The answer is ready, and goes out when all before it have gone. */
  #settle(exchange: Exchange, answer: () => void): void {
    exchange.answer = answer
    if (this.#isClosed) return
    const now = this.#connection.now()
    for (let ready = this.#answers.takeReady(); ready !== undefined; ready = this.#answers.takeReady()) {
      try {
        ready.answer?.()
      } catch (error) {
        ready.drop?.()
        this.#fail(error, ready.name)
      }
      this.#host.counted(ready.name).duration.observe((now - ready.receivedAt) / 1_000)
      this.#connection.onRequestDone(ready.bytes, ready.toldBytes)
    }
    this.#connection.flushLater()
  }

  /** Closes when everything before it has been answered. */
  #closeLater(exchange: Exchange, reason: 'unsupported' | 'write-refused', detail: string): void {
    this.#settle(exchange, () => this.#close(reason, detail))
  }

  #send<A extends AnyApi>(api: A, exchange: Exchange, response: ResponseOf<A>): void {
    const { output } = this.#connection
    for (const piece of encodeResponse(api, exchange, response)) output.append(piece)
  }

  #refusalOf(error: unknown, { name }: Exchange): Refusal {
    const isExpected = error instanceof TidemarkError
    const code = isExpected ? error.code : 'UNKNOWN_SERVER_ERROR'
    if (!isExpected) this.#logUnexpected(error, name)
    this.#countRefusal(name, code)
    return { code, message: isExpected ? error.message : 'the broker failed in a way it did not expect' }
  }

  #countRefusal(api: string, error: ErrorCode | undefined): void {
    if (error === undefined) return
    this.#host.meter.counter('tidemark_request_errors_total', { protocol: 'kafka', api, error }).add(1)
  }

  /** What came cannot be read, or what was to be said cannot be written. */
  #fail(error: unknown, api?: string): void {
    if (!(error instanceof TidemarkError)) this.#logUnexpected(error, api)
    this.#close('malformed', error instanceof Error ? error.message : String(error))
  }

  #logUnexpected(error: unknown, api: string | undefined): void {
    const { remote, clientId } = this.#context
    this.#host.logger.error({ error, api, remote, clientId }, 'a request failed in a way that was not expected')
  }

  #close(reason: 'malformed' | 'unsupported' | 'write-refused', detail: string): void {
    if (this.#isClosed) return
    const { clientId, software } = this.#context
    const who = [clientId, software].filter((text) => text !== '').join(', ')
    this.#connection.closeAfterFlush(reason, who === '' ? detail : `${detail} (${who})`)
  }
}
