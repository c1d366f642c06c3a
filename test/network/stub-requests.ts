// A broker's requests in memory, for tests of what stands in front of them: appends to lists, answers at once or when it
// is told to, and keeps fetches waiting. Small, but it keeps the promises of the contract.

import type {
  FetchOutcome,
  FetchRequest,
  PendingFetch,
  PlainRequest,
  ProduceOutcome,
  ProduceRequest,
  Refusal,
  ReplicaFetchOutcome,
  RequestContext,
  Requests,
} from '../../broker/requests/requests.ts'
import { offset } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import { REPLICA_FETCH_ANSWERS } from '../../shared/protocol/peers.ts'
import { TidemarkError } from '../../shared/errors.ts'

export class StubRequests implements Requests {
  /** Batches by topic and partition. */
  readonly logs = new Map<string, Uint8Array[]>()
  readonly produced: ProduceRequest[] = []
  /** What a produce to the topic `refused` is answered with. */
  refusal: Refusal | undefined
  readonly contexts: RequestContext[] = []
  /** When true, produce requests are answered by `answerNext` and `answerLast`. */
  isHoldingProduces = false
  readonly held: (() => void)[] = []
  readonly waiting = new Set<{ respond: (outcomes: readonly FetchOutcome[]) => void }>()
  readonly askedFor: PlainRequest[] = []
  readonly maxBytesAsked: number[] = []
  fetches = 0
  cancelled = 0
  released = 0
  handedOut = 0

  produce(
    request: ProduceRequest,
    context: RequestContext,
    respond: (outcomes: readonly ProduceOutcome[]) => void,
  ): void {
    this.contexts.push(context)
    this.produced.push(request)
    const outcomes = request.partitions.map((partition): ProduceOutcome => {
      if (partition.topic === 'throws') throw new Error('a secret of the broker')
      if (partition.topic === 'missing') {
        const refusal = { error: 'UNKNOWN_TOPIC_OR_PARTITION', message: 'there is no topic missing' } as const
        return { refusal, baseOffset: undefined, logStartOffset: undefined, logAppendTime: undefined }
      }
      if (partition.topic === 'refused') {
        return { refusal: this.refusal, baseOffset: undefined, logStartOffset: undefined, logAppendTime: undefined }
      }
      const log = this.#log(partition.topic, partition.partition)
      log.push(Uint8Array.from(partition.records))
      const baseOffset = offset(log.length - 1)
      return { refusal: undefined, baseOffset, logStartOffset: offset(0), logAppendTime: undefined }
    })
    if (this.isHoldingProduces) this.held.push(() => respond(outcomes))
    else respond(outcomes)
  }

  fetch(
    request: FetchRequest,
    _context: RequestContext,
    respond: (outcomes: readonly FetchOutcome[]) => void,
    _onReading?: (isReading: boolean) => void,
  ): PendingFetch {
    this.fetches += 1
    this.maxBytesAsked.push(request.maxBytes)
    let left = request.maxBytes
    const outcomes: FetchOutcome[] = []
    for (const [index, { topic, partition, fetchOffset }] of request.partitions.entries()) {
      const bytes = this.#log(topic, partition)[fetchOffset]
      if (bytes === undefined || (outcomes.length > 0 && bytes.length > left)) continue
      left -= bytes.length
      this.handedOut += 1
      const records = { bytes, release: () => void (this.released += 1) }
      const highWatermark = offset(this.#log(topic, partition).length)
      outcomes.push({ index, refusal: undefined, highWatermark, logStartOffset: offset(0), records })
    }
    if (outcomes.length > 0 || request.maxWaitMs === 0) {
      respond(outcomes)
      return { cancel: () => undefined }
    }
    const waiter = { respond }
    this.waiting.add(waiter)
    return { cancel: () => void (this.waiting.delete(waiter) && (this.cancelled += 1)) }
  }

  /** The same logs, by topic id in place of the name. */
  replicaFetch(
    request: RequestOf<'replicaFetch'>,
    context: RequestContext,
    respond: (outcomes: readonly ReplicaFetchOutcome[]) => void,
  ): PendingFetch {
    const partitions = request.partitions.map(({ topicId, partition, fetchOffset }) => {
      if (topicId === 'alone') throw new TidemarkError('INVALID_REQUEST', 'this broker is alone')
      return { topic: topicId, topicId: undefined, partition, leaderEpoch: 0, fetchOffset, maxBytes: request.maxBytes }
    })
    const asked = { maxWaitMs: request.maxWaitMs, minBytes: 1, maxBytes: request.maxBytes, partitions }
    return this.fetch(asked, context, (outcomes) => respond(outcomes.map(replicaOutcome)))
  }

  ask<Name extends PlainRequest>(name: Name, request: RequestOf<Name>): Promise<ResponseOf<Name>> {
    this.askedFor.push(name)
    if (name === 'initProducerId') {
      return Promise.resolve({ producerId: 7, producerEpoch: 0 } as unknown as ResponseOf<Name>)
    }
    if (name === 'createTopics') return Promise.reject(new Error('a secret of the broker'))
    return Promise.reject(new TidemarkError('NOT_CONTROLLER', `no ${name} here: ${JSON.stringify(request)}`))
  }

  #log(topic: string, partition: number): Uint8Array[] {
    const key = `${topic}/${partition}`
    const log = this.logs.get(key) ?? []
    this.logs.set(key, log)
    return log
  }
}

function replicaOutcome({ index, highWatermark, records }: FetchOutcome): ReplicaFetchOutcome {
  const answer = {
    index,
    answer: REPLICA_FETCH_ANSWERS.records,
    error: 0,
    highWatermark: highWatermark ?? 0,
    logStartOffset: 0,
    clearsSuspect: false,
    epoch: undefined,
    offset: 0,
    lossAcceptedIn: undefined,
    votersOffset: undefined,
    voterSets: [],
    drops: undefined,
    droppedTo: undefined,
  }
  return { answer, records }
}
