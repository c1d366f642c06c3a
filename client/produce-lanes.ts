// The ways to the brokers for produce requests: one lane a broker. While a connection is made, requests wait in their lane;
// then all go out in the order in which they were planned. Turns batches into the message and the answer into outcomes of
// batches. Decides nothing about retries.

import type { TidemarkError } from '../shared/errors.ts'
import type { RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import type { Cluster } from './cluster.ts'
import type { Connection } from './connection.ts'
import { errorFromWire, errorOf, toTidemarkError } from './errors.ts'
import type { ProducerBatch } from './producer-batch.ts'
import type { BatchAnswer, PlannedRequest } from './record-accumulator.ts'
import { inScope } from './scope.ts'

export interface LaneEvents {
  onAnswer(request: PlannedRequest, answers: readonly BatchAnswer[]): void
  /** The request failed as a whole. */
  onLost(request: PlannedRequest, error: TidemarkError): void
}

interface Lane {
  isConnecting: boolean
  readonly waiting: PlannedRequest[]
}

export class ProduceLanes {
  readonly #cluster: Cluster
  readonly #acks: -1 | 0 | 1
  readonly #signal: AbortSignal
  readonly #events: LaneEvents
  readonly #lanes = new Map<number, Lane>()

  /** The signal ends the making of connections. */
  constructor(
    cluster: Cluster,
    options: { readonly acks: -1 | 0 | 1; readonly signal: AbortSignal },
    events: LaneEvents,
  ) {
    this.#cluster = cluster
    this.#acks = options.acks
    this.#signal = options.signal
    this.#events = events
  }

  /** Sends the request, after a connection has been made if need be; one of the events follows, never at once. */
  send(request: PlannedRequest): void {
    let lane = this.#lanes.get(request.broker)
    if (lane === undefined) {
      lane = { isConnecting: false, waiting: [] }
      this.#lanes.set(request.broker, lane)
    }
    const connection = lane.isConnecting ? undefined : this.#cluster.connectionNow(request.broker, 'control')
    if (connection !== undefined) return this.#transmit(connection, request)
    lane.waiting.push(request)
    if (!lane.isConnecting) this.#connect(request.broker, lane)
  }

  #connect(broker: number, lane: Lane): void {
    lane.isConnecting = true
    const { closing, environment, settings } = this.#cluster
    const options = { signal: this.#signal, closing, timeoutMs: settings.requestTimeoutMs, what: 'connect' }
    inScope(environment, options, (scope) => this.#cluster.connection(broker, 'control', scope)).then(
      (connection) => {
        lane.isConnecting = false
        for (const request of lane.waiting.splice(0)) this.#transmit(connection, request)
      },
      (error: unknown) => {
        lane.isConnecting = false
        const failure = toTidemarkError(error, 'CONNECTION_FAILED', `broker ${broker}`)
        for (const request of lane.waiting.splice(0)) this.#events.onLost(request, failure)
      },
    )
  }

  #transmit(connection: Connection, request: PlannedRequest): void {
    const message = this.#messageOf(request)
    const tail: Uint8Array[] = []
    for (const { bytes } of request.batches) if (bytes !== undefined) tail.push(bytes)
    if (message.acks === 0) {
      connection.tell(message, tail).then(
        () => this.#events.onAnswer(request, request.batches.map(acknowledgedByNobody)),
        (error: unknown) => this.#events.onLost(request, toTidemarkError(error, 'CONNECTION_FAILED', 'produce')),
      )
      return
    }
    connection.ask('produce', message, { tail }).then(
      ({ body }) => this.#events.onAnswer(request, this.#answersOf(request, body)),
      (error: unknown) => this.#events.onLost(request, toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', 'produce')),
    )
  }

  #messageOf(request: PlannedRequest): RequestOf<'produce'> {
    const { metadata, settings } = this.#cluster
    return {
      acks: this.#acks,
      // Less than the connection waits, so that a broker that is slow can still say so.
      timeoutMs: Math.max(1, Math.floor(settings.requestTimeoutMs * 0.8)),
      partitions: request.batches.map(({ topic, partition, bytes }) => ({
        topic,
        topicId: metadata.topic(topic)?.topicId,
        partition,
        leaderEpoch: metadata.leaderOf(topic, partition)?.leaderEpoch,
        bytes: bytes?.length ?? 0,
      })),
    }
  }

  #answersOf(request: PlannedRequest, body: ResponseOf<'produce'>): BatchAnswer[] {
    return request.batches.map((batch, index) => answerOf(batch, body.partitions[index]))
  }
}

const acknowledgedByNobody = (): BatchAnswer => ({ kind: 'appended', baseOffset: -1, logAppendTime: undefined })

function answerOf(batch: ProducerBatch, part: ResponseOf<'produce'>['partitions'][number] | undefined): BatchAnswer {
  const { topic, partition } = batch
  if (part === undefined) {
    const error = errorOf('MALFORMED_FRAME', 'an answer without the partition', { topic, partition })
    return { kind: 'refused', error }
  }
  if (part.error === 0) {
    return { kind: 'appended', baseOffset: part.baseOffset ?? -1, logAppendTime: part.logAppendTime }
  }
  const text = part.message === undefined ? undefined : `${topic}-${partition}: ${part.message}`
  return { kind: 'refused', error: errorFromWire(part.error, text, { topic, partition }) }
}
