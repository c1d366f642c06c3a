// What the broker's own tests ask of it over a real socket: topics, appends, reads. Builds and unpacks; judges nothing.

import type { ErrorCode } from '../../shared/errors.ts'
import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { Frame } from '../../shared/protocol/frame.ts'
import { errorCodeOf } from '../../shared/errors.ts'
import { APIS } from '../../shared/protocol/api.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import { fetchOf, produceOf, RawClient } from '../network/raw-client.ts'
import { batch } from '../storage/log-fixture.ts'

export interface FetchedPartition {
  readonly index: number
  readonly error: ErrorCode | undefined
  readonly message: string | undefined
  readonly highWatermark: number | undefined
  readonly values: readonly string[]
  readonly offsets: readonly number[]
}

type Produced = Omit<ResponseOf<'produce'>['partitions'][number], 'error'> & { readonly error: ErrorCode | undefined }

export class BrokerClient {
  readonly raw: RawClient

  private constructor(raw: RawClient) {
    this.raw = raw
  }

  static async connect(port: number): Promise<BrokerClient> {
    return new BrokerClient(await RawClient.greet(port))
  }

  async createTopic(topic: string, options: { partitions?: number; config?: [string, string][] } = {}) {
    const { topics } = await this.raw.ask('createTopics', {
      topics: [{ topic, partitions: options.partitions, replicationFactor: undefined, config: options.config ?? [] }],
      validateOnly: false,
      timeoutMs: 30_000,
    })
    return topics.map(({ error, message }) => ({ error: codeOf(error), message }))[0]
  }

  /** One batch with these values. */
  async produce(topic: string, values: readonly string[]): Promise<Produced | undefined> {
    return this.produceBytes(topic, batch(values, { timestamp: Date.now() }))
  }

  async produceBytes(topic: string, records: Uint8Array): Promise<Produced | undefined> {
    const { partitions } = await this.raw.ask('produce', produceOf(topic, records), records)
    return partitions.map((part) => Object.assign({}, part, { error: codeOf(part.error) }))[0]
  }

  async fetch(topic: string, fetchOffset: number, maxWaitMs = 0): Promise<FetchedPartition | undefined> {
    return fetched(await this.raw.answer(this.raw.request('fetch', fetchOf(topic, fetchOffset, maxWaitMs))))[0]
  }

  /** All values from the offset on. */
  async readAll(topic: string, fromOffset = 0): Promise<string[]> {
    const values: string[] = []
    let next = fromOffset
    for (;;) {
      const part = await this.fetch(topic, next)
      if (part?.error !== undefined) throw new Error(`${part.error}: ${part.message}`)
      if (part === undefined || part.values.length === 0) return values
      values.push(...part.values)
      next = (part.offsets.at(-1) ?? next) + 1
    }
  }

  close(): void {
    this.raw.close()
  }
}

/** The partitions of a fetch response with their records unpacked. */
export function fetched(frame: Frame): FetchedPartition[] {
  const { partitions } = APIS.fetch.response.decode(frame.body, 'fetch')
  let at = 0
  return partitions.map((part) => {
    const records = frame.tail.subarray(at, at + part.bytes)
    at += part.bytes
    return Object.assign({}, part, { error: codeOf(part.error) }, unpack(records))
  })
}

export function unpack(records: Uint8Array): { values: string[]; offsets: number[] } {
  const values: string[] = []
  const offsets: number[] = []
  for (let position = 0; position < records.length; position += batchBytes(records, position)) {
    forEachRecord(records, position, (record) => {
      values.push(Buffer.from(record.value ?? []).toString())
      offsets.push(record.offset)
    })
  }
  return { values, offsets }
}

function codeOf(error: number): ErrorCode | undefined {
  return error === 0 ? undefined : errorCodeOf(error)
}
