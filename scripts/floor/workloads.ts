// What the floor benchmark does: the workloads with their targets, and the bytes of their requests.

import type { AnyField } from '../../shared/protocol/schema.ts'
import type { Load } from './load.ts'
import { type ApiName, APIS, type RequestOf } from '../../shared/protocol/api.ts'
import { encodeFrameHead, nativePreface } from '../../shared/protocol/frame.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'

const MIB = 1024 * 1024
const RECORD_BYTES = 1024
const RECORDS_A_BATCH = 64
const FETCH_BYTES = MIB
/** Commands of the bare server, and the header of what it answers. */
const BARE = { read: 3, anew: 100, sync: 101, fill: 102 } as const

export type WorkloadName = 'produce-64k' | 'produce-1k' | 'serial-1k' | 'fetch-1m' | 'fsync-1' | 'fsync-16'

export interface Workload {
  readonly name: WorkloadName
  readonly about: string
  readonly inFlight: number
  readonly connections: number
  /** Of one run, for all connections together. */
  readonly requests: number
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'produce-64k',
    about: '64 KiB batches of 1 KiB records, 5 in flight',
    inFlight: 5,
    connections: 1,
    requests: 8_000,
  },
  {
    name: 'produce-1k',
    about: 'one 1 KiB record a request, 100 in flight',
    inFlight: 100,
    connections: 1,
    requests: 200_000,
  },
  { name: 'serial-1k', about: 'one 1 KiB record a request, serial', inFlight: 1, connections: 1, requests: 20_000 },
  { name: 'fetch-1m', about: '1 MiB a fetch, sequential, page cache', inFlight: 1, connections: 1, requests: 2_000 },
  { name: 'fsync-1', about: 'fsync, one 1 KiB record, 1 connection', inFlight: 1, connections: 1, requests: 1_000 },
  {
    name: 'fsync-16',
    about: 'fsync, one 1 KiB record each, 16 connections',
    inFlight: 1,
    connections: 16,
    requests: 8_000,
  },
]

const recordsOf64k = batchOf(RECORDS_A_BATCH)
const recordsOf1k = batchOf(1)
/** As many whole batches as a fetch of 1 MiB brings; both sides send so much. */
const FETCHED_BYTES = Math.floor(FETCH_BYTES / recordsOf64k.length) * recordsOf64k.length
/** Batches of 64 KiB in the topic that is fetched from. */
export const FETCH_TOPIC_BATCHES = Math.floor((256 * MIB) / recordsOf64k.length)

export const TIDEMARK_OPENING: readonly Buffer[] = [
  Buffer.from(nativePreface()),
  requestOf('hello', { clientId: 'bench-floor', software: 'bench-floor' }),
]

export function tidemarkLoad(workload: Workload, topic: string): Load {
  const { name, inFlight } = workload
  if (name === 'fetch-1m') return fetchLoad(topic)
  const records = name === 'produce-64k' ? recordsOf64k : recordsOf1k
  return { frame: produceOf(topic, records), inFlight, isProduce: true }
}

/** The same bytes as Tidemark is sent; for reading, only how much. */
export function bareLoad(workload: Workload): Load {
  if (workload.name !== 'fetch-1m') return { ...tidemarkLoad(workload, 'floor'), isProduce: false }
  return { frame: bareFrame(BARE.read, FETCHED_BYTES), inFlight: 1, isProduce: false }
}

/** What the bare server must be told before a run. */
export function barePreparation(workload: Workload): readonly Buffer[] {
  const anew = bareFrame(BARE.anew, 0)
  if (workload.name === 'fetch-1m') return [anew, bareFrame(BARE.fill, 0)]
  return workload.name.startsWith('fsync') ? [anew, bareFrame(BARE.sync, 0)] : [anew]
}

/** What fills the topic to fetch from. */
export function fillLoad(topic: string): Load {
  return { frame: produceOf(topic, recordsOf64k), inFlight: 5, isProduce: true }
}

export function createTopicOf(topic: string, durability: 'os' | 'fsync'): Buffer {
  const config = [['durability', durability]] as const
  const one = { topic, partitions: 1, replicationFactor: 1, config }
  return requestOf('createTopics', { topics: [one], validateOnly: false, timeoutMs: 30_000 })
}

export function deleteTopicOf(topic: string): Buffer {
  return requestOf('deleteTopics', { topics: [topic], timeoutMs: 30_000 })
}

// Every fetch begins where the last one ended: that is told by the length of its tail, because all batches are alike.
function fetchLoad(topic: string): Load {
  const endOffset = FETCH_TOPIC_BATCHES * RECORDS_A_BATCH
  const template = fetchOf(topic, endOffset)
  const frame = Buffer.from(template)
  let fetchOffset = 0
  fetchOf(topic, fetchOffset).copy(frame)
  const next = (header: Buffer | undefined, frameBytes: number): void => {
    const bodyBytes = header?.readUInt32BE(12) ?? 0
    const batches = Math.round((frameBytes - 16 - bodyBytes) / recordsOf64k.length)
    if (batches === 0) throw new Error('a fetch brought nothing')
    fetchOffset += batches * RECORDS_A_BATCH
    if (fetchOffset >= endOffset - FETCH_BYTES / RECORD_BYTES) fetchOffset = 0
    fetchOf(topic, fetchOffset).copy(frame)
  }
  return { frame, next, inFlight: 1, isProduce: false }
}

/** Always of the same length: the offset is laid out in 64 bits, whatever it is. */
function fetchOf(topic: string, fetchOffset: number): Buffer {
  const marker = 0x1f_ffff_ffff_ffff
  const partition = { topic, topicId: undefined, partition: 0, leaderEpoch: undefined, maxBytes: FETCH_BYTES }
  const request = { maxWaitMs: 1_000, minBytes: 1, maxBytes: FETCH_BYTES }
  const frame = requestOf('fetch', { ...request, partitions: [{ ...partition, fetchOffset: marker }] })
  const at = frame.indexOf(Buffer.from([0xcf, 0x00, 0x1f, 0xff, 0xff]))
  frame.writeBigUInt64BE(BigInt(fetchOffset), at + 1)
  return frame
}

function produceOf(topic: string, records: Uint8Array): Buffer {
  const partition = { topic, topicId: undefined, partition: 0, leaderEpoch: undefined, bytes: records.length }
  return requestOf('produce', { acks: -1, timeoutMs: 30_000, partitions: [partition] }, records)
}

function requestOf<Name extends ApiName>(
  name: Name,
  request: RequestOf<Name>,
  tail: Uint8Array = new Uint8Array(0),
): Buffer {
  const field: AnyField = APIS[name].request
  const body = field.encode(request as never)
  const api = APIS[name].number
  const head = encodeFrameHead({ kind: 'request', api, version: 0, correlationId: 1, body, tailBytes: tail.length })
  return Buffer.concat([head, tail])
}

function bareFrame(api: number, value: number): Buffer {
  const frame = Buffer.alloc(20)
  frame.writeUInt32BE(frame.length - 4, 0)
  frame[4] = 1
  frame[5] = api
  frame.writeUInt32BE(value, 16)
  return frame
}

function batchOf(records: number): Uint8Array {
  const value = Buffer.alloc(RECORD_BYTES, 'tidemark ')
  return encodeBatch(
    Array.from({ length: records }, () => ({ key: null, value, headers: [], timestamp: 1_760_000_000_000 })),
  )
}
