// One native connection: frames to requests, outcomes to frames. A small state machine (hello first, hello once) around a
// dispatch; what a request means is decided behind `Requests`. Knows no socket and no partition.
//
// Invariants: each request that begins is counted in and counted out once; produce requests are answered in the order in
// which they came; every slice of records is released once, by the output or here; nothing throws out of a session.

import type {
  FetchOutcome,
  PendingFetch,
  PlainRequest,
  ProduceOutcome,
  RecordSlice,
  ReplicaFetchOutcome,
} from '../../requests/requests.ts'
import type { ProtocolConnection, ProtocolSession } from '../../network/protocol-adapter.ts'
import type { NativeHost } from './native-host.ts'
import { type ErrorCode, errorCodeOf, ERRORS, TidemarkError } from '../../../shared/errors.ts'
import { CLIENT_ID_BYTES_MAX, REQUEST_VALUES_MAX, TOLD_BYTES } from '../../../shared/limits.ts'
import {
  type ApiName,
  apiNameOf,
  APIS,
  errorBody,
  type RequestOf,
  type ResponseOf,
} from '../../../shared/protocol/api.ts'
import { decodeBody } from '../../../shared/protocol/codec.ts'
import { encodeFrameHead, FRAME_HEADER_BYTES, FRAME_KINDS, readUint32 } from '../../../shared/protocol/frame.ts'
import { MessagePackReader } from '../../../shared/protocol/message-pack-reader.ts'
import type { AnyField } from '../../../shared/protocol/schema.ts'
import type { RequestContext } from '../../requests/requests.ts'
import { type PendingProduce, ProduceAnswers } from './produce-answers.ts'
import { PRODUCE_SUCCESS_BYTES_MAX, readProduceRequest, writeProduceSuccess } from './produce-message.ts'

/** Where the body of a frame begins, behind its length. */
const BODY_START = FRAME_HEADER_BYTES - 4
const UNEXPECTED = 'the broker failed in a way it did not expect; its log has the details'

/** Refusals after which a producer has to look for the leader anew, or for the topic. */
const WRITES_ELSEWHERE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'STORAGE_ERROR',
  'SHUTTING_DOWN',
])

/** Their answers may be a thousand times as long as they are. */
const TELLING: ReadonlySet<ApiName> = new Set<ApiName>([
  'metadata',
  'describeTopics',
  'clusterInfo',
  'listGroups',
  'describeGroups',
  'fetchOffsets',
])

// Requests are read one at a time, to the end.
const reader = new MessagePackReader()

/** A request that is under way: what is needed to answer it. */
interface Exchange {
  readonly api: ApiName
  readonly version: number
  readonly correlationId: number
  readonly bytes: number
  readonly receivedAt: number
}

/** Of a consumer, or of another broker. */
type FetchName = 'fetch' | 'replicaFetch'

interface WaitingFetch extends Exchange {
  readonly api: FetchName
  readonly granted: number
  isAnswered: boolean
  pending: PendingFetch | undefined
}

export class NativeSession implements ProtocolSession {
  readonly #connection: ProtocolConnection
  readonly #host: NativeHost
  readonly #context: RequestContext
  #state: 'expecting-hello' | 'open' | 'closed' = 'expecting-hello'
  readonly #produces = new ProduceAnswers()
  readonly #fetches = new Set<WaitingFetch>()

  constructor(connection: ProtocolConnection, host: NativeHost) {
    this.#connection = connection
    this.#host = host
    const { id, remote } = connection
    const { listener } = host
    this.#context = { connectionId: id, protocol: 'native', remote, listener, clientId: '', software: '' }
  }

  onFrame(frame: Uint8Array): void {
    const fault = faultOf(frame)
    if (fault !== undefined) {
      this.onUnreadable(new TidemarkError('MALFORMED_FRAME', fault))
      this.#connection.closeAfterFlush('malformed')
      return
    }
    const number = frame[1] ?? 0
    const api = apiNameOf(number)
    if (api === 'produce' && this.#state === 'open' && frame[2] === 0) return this.#onProduce(frame)
    this.#onRequest(frame, number, api)
  }

  onUnreadable(error: TidemarkError): void {
    this.#sendError({ number: 0, version: 0, correlationId: 0 }, error.code, error.message)
  }

  onDrain(): void {
    for (const fetch of this.#fetches) {
      fetch.pending?.cancel()
      this.#answerFetch(fetch, [], [])
    }
  }

  onClose(): void {
    this.#state = 'closed'
    for (const fetch of this.#fetches) fetch.pending?.cancel()
    this.#fetches.clear()
    this.#host.requests.onConnectionClosed?.(this.#context)
  }

  #onRequest(frame: Uint8Array, number: number, api: ApiName | undefined): void {
    const version = frame[2] ?? 0
    const correlationId = readUint32(frame, 4)
    const to = { number, version, correlationId }
    if (this.#state === 'expecting-hello' && api !== 'hello') {
      this.#sendError(to, 'HELLO_EXPECTED', `the first request of a connection must be hello, not ${api ?? number}`)
      return this.#connection.closeAfterFlush('malformed')
    }
    if (api === undefined) return this.#sendError(to, 'UNKNOWN_API', `the broker knows no request of number ${number}`)
    const { versionMin, versionMax } = APIS[api]
    if (version < versionMin || version > versionMax) {
      const spoken = `the broker speaks versions ${versionMin} to ${versionMax} of ${api}, not ${version}`
      return this.#sendError(to, 'UNSUPPORTED_VERSION', spoken)
    }
    const { receivedAt } = this.#connection
    const exchange: Exchange = { api, version, correlationId, bytes: frame.length, receivedAt }
    this.#begin(exchange)
    try {
      this.#dispatch(exchange, frame)
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  #dispatch(exchange: Exchange, frame: Uint8Array): void {
    const { api } = exchange
    const bodyEnd = BODY_START + readUint32(frame, 8)
    const raw = decodeBody(frame.subarray(BODY_START, bodyEnd), REQUEST_VALUES_MAX)
    if (bodyEnd !== frame.length) {
      throw new TidemarkError('MALFORMED_FRAME', `${frame.length - bodyEnd} bytes stand behind the message of ${api}`)
    }
    switch (api) {
      case 'hello':
        return this.#onHello(exchange, APIS.hello.request.decode(raw, api))
      case 'fetch':
        return this.#onFetch(exchange, APIS.fetch.request.decode(raw, api))
      case 'replicaFetch':
        return this.#onReplicaFetch(exchange, APIS.replicaFetch.request.decode(raw, api))
      case 'produce':
        throw new TidemarkError('UNSUPPORTED_VERSION', 'produce is read by its own path')
      default:
        return this.#onPlain(exchange, api, raw)
    }
  }

  #onHello(exchange: Exchange, request: RequestOf<'hello'>): void {
    if (this.#state !== 'expecting-hello') {
      this.#connection.closeAfterFlush('malformed')
      throw new TidemarkError('INVALID_REQUEST', 'hello was said on this connection before')
    }
    if (Buffer.byteLength(request.clientId) > CLIENT_ID_BYTES_MAX) {
      throw new TidemarkError('INVALID_REQUEST', `the client id is longer than ${CLIENT_ID_BYTES_MAX} bytes`)
    }
    if (Buffer.byteLength(request.software) > CLIENT_ID_BYTES_MAX) {
      throw new TidemarkError('INVALID_REQUEST', `the name of the software is longer than ${CLIENT_ID_BYTES_MAX} bytes`)
    }
    const { limits, identity } = this.#host
    const response: ResponseOf<'hello'> = {
      ...identity(),
      frameBytesMax: limits.frameBytesMax,
      inFlightMax: limits.inFlightMax,
      apis: Object.values(APIS).map((row) => ({
        api: row.number,
        versionMin: row.versionMin,
        versionMax: row.versionMax,
      })),
    }
    this.#context.clientId = request.clientId
    this.#context.software = request.software
    this.#state = 'open'
    this.#connection.frameBytesMax = limits.frameBytesMax
    this.#connection.onHandshakeDone()
    this.#respond(exchange, APIS.hello.response.encode(response), 0)
    this.#end(exchange)
  }

  #onProduce(frame: Uint8Array): void {
    const connection = this.#connection
    const pending: PendingProduce = {
      version: 0,
      correlationId: readUint32(frame, 4),
      bytes: frame.length,
      receivedAt: connection.receivedAt,
      acks: -1,
      outcomes: undefined,
      refusal: undefined,
      next: undefined,
    }
    this.#host.counted.produce.requests.add(1)
    connection.onRequestBegun(pending.bytes)
    this.#produces.enter(pending)
    try {
      const bodyEnd = BODY_START + readUint32(frame, 8)
      reader.open(frame, BODY_START, bodyEnd)
      const request = readProduceRequest(reader, frame.subarray(bodyEnd))
      pending.acks = request.acks
      this.#host.requests.produce(request, this.#context, (outcomes) => {
        pending.outcomes = outcomes
        this.#answerProduces()
      })
    } catch (error) {
      pending.refusal = this.#refusalOf(error, 'produce')
      this.#answerProduces()
    }
  }

  #answerProduces(): void {
    if (this.#state === 'closed') return
    const { duration } = this.#host.counted.produce
    const now = this.#connection.now()
    for (let ready = this.#produces.takeReady(); ready !== undefined; ready = this.#produces.takeReady()) {
      this.#answerProduce(ready)
      duration.observe((now - ready.receivedAt) / 1_000)
      this.#connection.onRequestDone(ready.bytes)
    }
    this.#connection.flushLater()
  }

  #answerProduce(ready: PendingProduce): void {
    const { version, correlationId, refusal, outcomes = [] } = ready
    const to = { number: APIS.produce.number, version, correlationId }
    if (refusal !== undefined) return this.#sendError(to, refusal.code, refusal.message)
    const only = outcomes[0]
    if (outcomes.length === 1 && only !== undefined && only.refusal === undefined) {
      if (ready.acks === 0) return
      const { output } = this.#connection
      const scratch = output.scratch(PRODUCE_SUCCESS_BYTES_MAX)
      output.wrote(writeProduceSuccess(scratch, output.scratchAt, APIS.produce.number, ready, only))
      return
    }
    for (const outcome of outcomes) this.#countRefusal('produce', outcome.refusal?.error)
    if (ready.acks === 0) return this.#tellUnasked(to, outcomes)
    const body = APIS.produce.response.encode({ partitions: outcomes.map(producedOf) })
    this.#send('response', to, body, 0)
  }

  /** Who waits for no answer hears of nothing but what would go on for ever: that this is not the broker to write to. */
  #tellUnasked(to: Addressee, outcomes: readonly ProduceOutcome[]): void {
    for (const { refusal } of outcomes) {
      if (refusal === undefined || !WRITES_ELSEWHERE.has(refusal.error)) continue
      return this.#sendError(to, refusal.error, refusal.message ?? ERRORS[refusal.error].about)
    }
  }

  #onFetch(exchange: Exchange, request: RequestOf<'fetch'>): void {
    const partitions = request.partitions as FetchRequestPartitions
    this.#beginFetch(exchange, 'fetch', request.maxBytes, (fetch, onReading) =>
      this.#host.requests.fetch(
        { ...request, partitions, maxBytes: fetch.granted },
        this.#context,
        (outcomes) => {
          for (const { refusal } of outcomes) this.#countRefusal('fetch', refusal?.error)
          this.#answerFetch(fetch, outcomes, outcomes.map(fetchedOf))
        },
        onReading,
      ),
    )
  }

  #onReplicaFetch(exchange: Exchange, request: RequestOf<'replicaFetch'>): void {
    this.#beginFetch(exchange, 'replicaFetch', request.maxBytes, (fetch, onReading) =>
      this.#host.requests.replicaFetch(
        { ...request, maxBytes: fetch.granted },
        this.#context,
        (outcomes) => {
          for (const { error } of outcomes.map(({ answer }) => answer)) {
            if (error !== 0) this.#countRefusal('replicaFetch', errorCodeOf(error))
          }
          this.#answerFetch(fetch, outcomes, outcomes.map(replicatedOf))
        },
        onReading,
      ),
    )
  }

  #beginFetch(
    exchange: Exchange,
    api: FetchName,
    maxBytes: number,
    begin: (fetch: WaitingFetch, onReading: (isReading: boolean) => void) => PendingFetch,
  ): void {
    const granted = this.#connection.grantOutput(maxBytes)
    const fetch: WaitingFetch = { ...exchange, api, granted, isAnswered: false, pending: undefined }
    this.#fetches.add(fetch)
    try {
      fetch.pending = begin(fetch, (isReading) => {
        if (isReading) this.#connection.onReadBegun(granted)
        else this.#connection.onReadDone(granted)
      })
    } catch (error) {
      // Unless it has been answered: then the failure has nobody left to tell but the log.
      const refusal = this.#refusalOf(error, api)
      if (!this.#maybeEndFetch(fetch)) return
      this.#sendError({ ...fetch, number: APIS[api].number }, refusal.code, refusal.message)
    }
  }

  /** The message, and behind it the records of each outcome that has some, in order. */
  #answerFetch(
    fetch: WaitingFetch,
    outcomes: readonly { readonly records: RecordSlice | undefined }[],
    partitions: readonly unknown[],
  ): void {
    if (this.#state === 'closed' || !this.#maybeEndFetch(fetch)) {
      for (const { records } of outcomes) records?.release()
      return
    }
    const { output } = this.#connection
    let tailBytes = 0
    for (const { records } of outcomes) tailBytes += records?.bytes.length ?? 0
    const field: AnyField = APIS[fetch.api].response
    this.#respond(fetch, field.encode({ partitions } as never), tailBytes)
    for (const { records } of outcomes) {
      if (records !== undefined) output.appendSlice(records.bytes, () => records.release())
    }
  }

  /** False when the fetch has been answered before. */
  #maybeEndFetch(fetch: WaitingFetch): boolean {
    if (fetch.isAnswered) return false
    fetch.isAnswered = true
    this.#fetches.delete(fetch)
    this.#connection.settleOutput(fetch.granted)
    this.#end(fetch)
    return true
  }

  #onPlain(exchange: Exchange, api: PlainRequest, raw: unknown): void {
    // The types of the tables say which request belongs to which name; the compiler cannot follow a name that varies.
    const request = APIS[api].request.decode(raw, api) as RequestOf<never>
    const field: AnyField = APIS[api].response
    this.#host.requests.ask(api, request, this.#context).then(
      (response) => {
        if (this.#state === 'closed') return
        try {
          this.#respond(exchange, field.encode(response as never), 0)
          this.#end(exchange)
        } catch (error) {
          this.#fail(exchange, error)
        }
      },
      (error: unknown) => this.#fail(exchange, error),
    )
  }

  #begin(exchange: Exchange): void {
    this.#host.counted[exchange.api].requests.add(1)
    this.#connection.onRequestBegun(exchange.bytes, toldBytesOf(exchange.api))
  }

  #end(exchange: Exchange): void {
    const seconds = (this.#connection.now() - exchange.receivedAt) / 1_000
    this.#host.counted[exchange.api].duration.observe(seconds)
    this.#connection.onRequestDone(exchange.bytes, toldBytesOf(exchange.api))
  }

  #fail(exchange: Exchange, error: unknown): void {
    if (this.#state === 'closed') return
    const refusal = this.#refusalOf(error, exchange.api)
    this.#sendError({ ...exchange, number: APIS[exchange.api].number }, refusal.code, refusal.message)
    this.#end(exchange)
  }

  /** What the peer is told of an error; only the log hears of one that nobody expected. */
  #refusalOf(error: unknown, api: ApiName): { readonly code: ErrorCode; readonly message: string } {
    const isExpected = error instanceof TidemarkError
    const code = isExpected ? error.code : 'UNKNOWN_SERVER_ERROR'
    if (code === 'UNKNOWN_SERVER_ERROR') {
      const { remote, clientId } = this.#context
      this.#host.logger.error({ error, api, remote, clientId }, 'a request failed in a way that was not expected')
    }
    this.#countRefusal(api, code)
    return { code, message: isExpected ? error.message : UNEXPECTED }
  }

  #countRefusal(api: ApiName, error: ErrorCode | undefined): void {
    if (error === undefined) return
    this.#host.meter.counter('tidemark_request_errors_total', { protocol: 'native', api, error }).add(1)
  }

  #respond(exchange: Exchange, body: unknown, tailBytes: number): void {
    this.#send('response', { ...exchange, number: APIS[exchange.api].number }, body, tailBytes)
  }

  #sendError(to: Addressee, code: ErrorCode, message: string): void {
    if (this.#state === 'closed') return
    this.#send('error', to, errorBody.encode({ error: ERRORS[code].number, message }), 0)
  }

  #send(kind: 'response' | 'error', to: Addressee, body: unknown, tailBytes: number): void {
    const { number: api, version, correlationId } = to
    this.#connection.output.append(encodeFrameHead({ kind, api, version, correlationId, body, tailBytes }))
    this.#connection.flushLater()
  }
}

interface Addressee {
  /** Of the api. */
  readonly number: number
  readonly version: number
  readonly correlationId: number
}

type FetchRequestPartitions = Parameters<NativeHost['requests']['fetch']>[0]['partitions']

/** What is wrong with the frame as such, before anything in it is decoded. */
function faultOf(frame: Uint8Array): string | undefined {
  if (frame.length < BODY_START) return `a frame of ${frame.length} bytes is shorter than its header`
  if (frame[0] !== FRAME_KINDS.request) return `a broker takes requests, not frames of kind ${frame[0] ?? 0}`
  const bodyBytes = readUint32(frame, 8)
  return bodyBytes > frame.length - BODY_START ? `a body of ${bodyBytes} bytes does not fit its frame` : undefined
}

function producedOf(outcome: ProduceOutcome): ResponseOf<'produce'>['partitions'][number] {
  const { refusal, baseOffset, logStartOffset, logAppendTime } = outcome
  const error = refusal === undefined ? 0 : ERRORS[refusal.error].number
  return { error, message: refusal?.message, baseOffset, logStartOffset, logAppendTime }
}

function fetchedOf(outcome: FetchOutcome): ResponseOf<'fetch'>['partitions'][number] {
  const { index, refusal, highWatermark, logStartOffset, records } = outcome
  const error = refusal === undefined ? 0 : ERRORS[refusal.error].number
  return { index, error, message: refusal?.message, highWatermark, logStartOffset, bytes: records?.bytes.length ?? 0 }
}

function replicatedOf({ answer, records }: ReplicaFetchOutcome): ResponseOf<'replicaFetch'>['partitions'][number] {
  return { ...answer, bytes: records?.bytes.length ?? 0 }
}

function toldBytesOf(api: ApiName): number {
  return TELLING.has(api) ? TOLD_BYTES : 0
}
