// Asks a broker in this process, without a network: what comes back is unpacked, nothing is judged.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type {
  FetchOutcome,
  FetchPartition,
  FetchRequest,
  PendingFetch,
  PlainRequest,
  ProduceOutcome,
  ProducePartition,
  RequestContext,
  Requests,
} from '../../broker/requests/requests.ts'
import type { TopicId } from '../../shared/ids.ts'
import { batch } from '../storage/log-fixture.ts'
import { unpack } from '../e2e/broker-client.ts'

const CONTEXT: RequestContext = {
  connectionId: 1,
  protocol: 'native',
  remote: 'test',
  clientId: 'test',
  software: 'test',
}

export type Read = Omit<FetchOutcome, 'records'> & { readonly values: string[]; readonly offsets: number[] }

/** A fetch that may still be waiting. */
export interface Fetching {
  /** When it began to wait for the disk, and when it did so no more. */
  readonly readings: readonly boolean[]
  readonly pending: PendingFetch
  readonly answer: Promise<Read[]>
  isAnswered: boolean
}

export class Asker {
  readonly requests: Requests

  constructor(requests: Requests) {
    this.requests = requests
  }

  ask<Name extends PlainRequest>(name: Name, request: RequestOf<Name>): Promise<ResponseOf<Name>> {
    return this.requests.ask(name, request, CONTEXT)
  }

  async createTopic(topic: string, options: { partitions?: number; config?: Record<string, string> } = {}) {
    const config = Object.entries(options.config ?? {})
    const created = { topic, partitions: options.partitions, replicationFactor: undefined, config }
    const { topics } = await this.ask('createTopics', { topics: [created], validateOnly: false, timeoutMs: 10_000 })
    const [outcome] = topics
    if (outcome === undefined || outcome.error !== 0) throw new Error(`${outcome?.error}: ${outcome?.message}`)
    return outcome
  }

  /** One batch of these values to partition 0, unless it is told otherwise. */
  produce(topic: string, values: readonly string[], options: Partial<ProducePartition> & { acks?: number } = {}) {
    return this.produceBytes(topic, batch(values, { timestamp: 1_000 }), options)
  }

  async produceBytes(
    topic: string,
    records: Uint8Array,
    options: Partial<ProducePartition> & { acks?: number; timeoutMs?: number } = {},
  ): Promise<ProduceOutcome> {
    const { acks = -1, timeoutMs = 10_000, ...rest } = options
    const part = { topic, topicId: undefined, partition: 0, leaderEpoch: undefined, records, ...rest }
    const [outcome] = await this.produceAll([part], acks, timeoutMs)
    if (outcome === undefined) throw new Error('there was no answer for the partition')
    return outcome
  }

  produceAll(partitions: readonly ProducePartition[], acks = -1, timeoutMs = 10_000): Promise<ProduceOutcome[]> {
    return new Promise((resolve) => {
      this.requests.produce({ acks, timeoutMs, partitions }, CONTEXT, (outcomes) => resolve([...outcomes]))
    })
  }

  fetch(
    partitions: readonly FetchPartition[],
    options: Partial<Omit<FetchRequest, 'partitions'>> = {},
  ): Promise<Read[]> {
    return this.beginFetch(partitions, options).answer
  }

  beginFetch(partitions: readonly FetchPartition[], options: Partial<Omit<FetchRequest, 'partitions'>> = {}): Fetching {
    const request = { maxWaitMs: 0, minBytes: 1, maxBytes: 1024 * 1024, ...options, partitions }
    let resolve: (read: Read[]) => void = () => undefined
    const answer = new Promise<Read[]>((settle) => {
      resolve = settle
    })
    let isAnswered = false
    const readings: boolean[] = []
    const onReading = (isReading: boolean): void => void readings.push(isReading)
    const respond = (outcomes: readonly FetchOutcome[]): void => {
      isAnswered = true
      resolve(outcomes.map(unpackOutcome))
    }
    const pending = this.requests.fetch(request, CONTEXT, respond, onReading)
    return {
      readings,
      pending,
      answer,
      get isAnswered() {
        return isAnswered
      },
    }
  }

  async offsetAt(topic: string, at: number): Promise<number | undefined> {
    const part = { topic, partition: 0, leaderEpoch: undefined, at }
    return (await this.ask('listOffsets', { partitions: [part] })).partitions[0]?.offset
  }
}

export function from(topic: string, fetchOffset: number, options: Partial<FetchPartition> = {}): FetchPartition {
  const topicId: TopicId | undefined = undefined
  return { topic, topicId, partition: 0, leaderEpoch: undefined, fetchOffset, maxBytes: 1024 * 1024, ...options }
}

function unpackOutcome({ records, ...rest }: FetchOutcome): Read {
  const read = Object.assign({}, rest, unpack(records?.bytes ?? new Uint8Array(0)))
  records?.release()
  return read
}
