// The ways to the brokers for produce requests: one lane a broker. While a connection is made, requests wait in their lane;
// then all go out in the order in which they were planned. Turns batches into the message and the answer into outcomes of
// batches. Knows which requests have no answer yet, and gives up on those whose partitions are led elsewhere by now.
// Decides nothing about retries.

import type { TidemarkError } from '../shared/errors.ts'
import type { RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import type { Cluster } from './cluster.ts'
import type { Connection } from './connection.ts'
import { errorFromWire, errorOf, NotConnectedError, toTidemarkError } from './errors.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProducerBatch } from './producer-batch.ts'
import { type BatchAnswer, isGiven, type PlannedRequest, SILENT_MS } from './record-accumulator.ts'
import { inScope } from './scope.ts'

/** A batch whose time is nearly over is given so many milliseconds all the same. */
const TIMEOUT_MS_MIN = 50

export interface LaneEvents {
  onAnswer(request: PlannedRequest, answers: readonly BatchAnswer[]): void
  /** The request failed as a whole. */
  onLost(request: PlannedRequest, error: TidemarkError): void
  /** Some of its batches are not waited for any more. */
  onMoved(request: PlannedRequest, hasMoved: (queue: PartitionQueue) => boolean, error: TidemarkError): void
  /** Requests that nobody answers may have been refused. */
  onBroken(): void
}

interface Lane {
  isConnecting: boolean
  readonly waiting: PlannedRequest[]
}

export class ProduceLanes {
  readonly #cluster: Cluster
  readonly #acks: -1 | 0 | 1
  readonly #deliveryTimeoutMs: number
  readonly #signal: AbortSignal
  readonly #events: LaneEvents
  readonly #lanes = new Map<number, Lane>()
  /** Without an outcome; those that have gone out, and those that wait for a connection. */
  readonly #outstanding = new Map<PlannedRequest, 'sent' | 'waiting'>()
  /** Connections whose end is heard of. */
  readonly #heard = new WeakSet<Connection>()

  /** The signal ends the making of connections. */
  constructor(
    cluster: Cluster,
    options: { readonly acks: -1 | 0 | 1; readonly deliveryTimeoutMs: number; readonly signal: AbortSignal },
    events: LaneEvents,
  ) {
    this.#cluster = cluster
    this.#acks = options.acks
    this.#deliveryTimeoutMs = options.deliveryTimeoutMs
    this.#signal = options.signal
    this.#events = events
  }

  /**
   * Gives up on what waits for a broker that does not lead it any more: for a connection, or for an answer for so long that
   * the broker seems to hang. One that is alive answers for itself, and knows better. Answers whether there was any.
   */
  giveUpMoved(leaderOf: (queue: PartitionQueue) => number | undefined): boolean {
    const now = this.#cluster.environment.clock.monotonic()
    const hanging = new Set<number>()
    let isAny = false
    for (const [request, state] of this.#outstanding) {
      const passedMs = now - request.plannedAt
      // Oldest first: what is behind a request that is not answered will not be answered either.
      if (state === 'sent' && passedMs >= SILENT_MS) hanging.add(request.broker)
      if (state === 'sent' && !hanging.has(request.broker)) continue
      const hasMoved = (queue: PartitionQueue): boolean => (leaderOf(queue) ?? request.broker) !== request.broker
      if (!request.queues.some(hasMoved)) continue
      const text = `broker ${request.broker} has not answered for ${Math.round(passedMs)} ms, and another leads by now`
      const error = state === 'sent' ? errorOf('CONNECTION_FAILED', text) : new NotConnectedError(text)
      this.#events.onMoved(request, hasMoved, error)
      isAny = true
      if (isGiven(request)) this.#outstanding.delete(request)
    }
    return isAny
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
    this.#outstanding.set(request, 'waiting')
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
        for (const request of lane.waiting.splice(0)) this.#onLost(request, failure)
      },
    )
  }

  #transmit(connection: Connection, request: PlannedRequest): void {
    // What was given up while it waited for the connection does not go any more.
    const batches = request.batches.filter((batch) => !request.given.has(batch))
    if (batches.length === 0) return
    this.#outstanding.set(request, 'sent')
    const message = this.#messageOf(batches)
    const tail: Uint8Array[] = []
    for (const { bytes } of batches) if (bytes !== undefined) tail.push(bytes)
    if (message.acks === 0) {
      this.#hear(connection)
      connection.tell(message, tail).then(
        () => this.#onAnswer(request, request.batches.map(acknowledgedByNobody)),
        (error: unknown) => this.#onLost(request, toTidemarkError(error, 'CONNECTION_FAILED', 'produce')),
      )
      return
    }
    connection.ask('produce', message, { tail }).then(
      ({ body }) => this.#onAnswer(request, answersOf(request, batches, body)),
      (error: unknown) => this.#onLost(request, toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', 'produce')),
    )
  }

  #onAnswer(request: PlannedRequest, answers: readonly BatchAnswer[]): void {
    if (this.#outstanding.delete(request)) this.#events.onAnswer(request, answers)
  }

  #onLost(request: PlannedRequest, error: TidemarkError): void {
    if (this.#outstanding.delete(request)) this.#events.onLost(request, error)
  }

  /** A broker that refuses what it does not answer has only one way to say so: it ends the connection. */
  #hear(connection: Connection): void {
    if (this.#heard.has(connection)) return
    this.#heard.add(connection)
    connection.onClosed(() => this.#events.onBroken())
  }

  /**
   * Less than the connection waits, so that a broker that is slow can still say so; and no longer than the batches may take,
   * so that who sends them hears by then what is wrong.
   */
  #timeoutMsOf(batches: readonly ProducerBatch[]): number {
    const { environment, settings } = this.#cluster
    const now = environment.clock.monotonic()
    const left = batches.map(({ openedAt }) => openedAt + this.#deliveryTimeoutMs - now)
    return Math.max(TIMEOUT_MS_MIN, Math.floor(Math.min(settings.requestTimeoutMs * 0.8, ...left)))
  }

  #messageOf(batches: readonly ProducerBatch[]): RequestOf<'produce'> {
    const { metadata } = this.#cluster
    return {
      acks: this.#acks,
      timeoutMs: this.#timeoutMsOf(batches),
      partitions: batches.map(({ topic, partition, bytes }) => ({
        topic,
        topicId: metadata.topic(topic)?.topicId,
        partition,
        leaderEpoch: metadata.leaderOf(topic, partition)?.leaderEpoch,
        bytes: bytes?.length ?? 0,
      })),
    }
  }
}

/** One answer a batch of the request; those that were not sent have one that nobody looks at. */
function answersOf(
  request: PlannedRequest,
  sent: readonly ProducerBatch[],
  body: ResponseOf<'produce'>,
): BatchAnswer[] {
  const places = new Map(sent.map((batch, index) => [batch, index]))
  return request.batches.map((batch) => answerOf(batch, body.partitions[places.get(batch) ?? -1]))
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
