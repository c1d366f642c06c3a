// Golden bytes: batches as kafka-python, aiokafka and librdkafka write them (test/wire/golden), and kafkajs, which is here
// to write and read for itself. What their decoders make of our batches is checked by read-record-batches.py in golden/.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { beforeAll, describe, expect, it } from 'vitest'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { RecordToEncode } from '../../shared/record-batch/encode.ts'
import type { Codec } from '../../shared/record-batch/format.ts'
import { compress, decompress, prepareCodec } from '../../shared/compression/codec.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { CODECS } from '../../shared/record-batch/format.ts'
import { checkBatch, setLeaderEpoch } from '../../shared/record-batch/header.ts'
import { plain } from '../shared/record-batch-samples.ts'

interface GoldenRecord {
  readonly key: string | null
  readonly value: string | null
  readonly timestamp: number
  readonly headers: readonly (readonly [string, string | null])[]
}

interface GoldenBatch {
  readonly client: string
  readonly version: string
  readonly case: string
  /** The codec that the client was asked to use; it may have decided against it for few bytes. */
  readonly asked: Codec
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly isTransactional: boolean
  readonly batch: string
}

interface Golden {
  readonly cases: Readonly<Record<string, readonly GoldenRecord[]>>
  readonly batches: readonly GoldenBatch[]
}

const golden = JSON.parse(readFileSync(new URL('golden/record-batches.json', import.meta.url), 'utf8')) as Golden

function bytesOf(text: string | null): Uint8Array | null {
  if (text === null) return null
  const [encoded = '', count = '1'] = text.split('*')
  return Buffer.concat(Array.from({ length: Number(count) }, () => Buffer.from(encoded, 'base64')))
}

function recordsOf(name: string): RecordToEncode[] {
  return (golden.cases[name] ?? []).map((record) => ({
    key: bytesOf(record.key),
    value: bytesOf(record.value),
    timestamp: record.timestamp,
    headers: record.headers.map(([header, value]) => [header, bytesOf(value)] as const),
  }))
}

beforeAll(async () => {
  for (const codec of CODECS) await prepareCodec(codec)
})

describe('batches of foreign clients', () => {
  for (const entry of golden.batches) {
    const { client, version, case: name, asked } = entry
    const stamped = entry.producerId === -1 ? '' : ', idempotent'
    it(`reads what ${client} ${version} writes: ${name}, ${asked}${stamped}`, () => {
      const bytes = Buffer.from(entry.batch, 'base64')
      expect(checkBatch(bytes, 0, bytes.length)).toBeUndefined()
      const batch = decodeBatch(bytes)
      expect(batch.toArray().map(plain)).toEqual(recordsOf(name).map(plain))
      expect(batch.toArray().map((record) => record.offset)).toEqual(recordsOf(name).map((_, index) => index))
      const { header } = batch
      expect([asked, 'none']).toContain(header.codec)
      expect(header.producerId).toBe(entry.producerId)
      expect(header.producerEpoch).toBe(entry.producerEpoch)
      expect(header.baseSequence).toBe(entry.baseSequence)
      expect(header.isTransactional).toBe(entry.isTransactional)
    })
  }

  it('covers every client with every codec', () => {
    const used = new Set(
      golden.batches.map((entry) => `${entry.client} ${decodeBatch(Buffer.from(entry.batch, 'base64')).header.codec}`),
    )
    const expected = ['kafka-python', 'aiokafka', 'librdkafka'].flatMap((client) =>
      CODECS.map((codec) => `${client} ${codec}`),
    )
    expect([...used].toSorted()).toEqual(expected.toSorted())
  })

  it('writes the very same bytes where nothing is compressed', () => {
    const uncompressed = golden.batches.filter((entry) => entry.asked === 'none')
    expect(uncompressed.length).toBe(16)
    for (const entry of uncompressed) {
      const theirs = Buffer.from(entry.batch, 'base64')
      // The leader epoch is the broker's to fill; the clients leave 0 or -1 there.
      setLeaderEpoch(theirs, 0, -1 as LeaderEpoch)
      const ours = encodeBatch(recordsOf(entry.case), entry)
      expect(Buffer.from(ours).toString('hex')).toBe(theirs.toString('hex'))
    }
  })
})

const require = createRequire(import.meta.url)

/** The parts of kafkajs that this test borrows. */
interface KafkaJs {
  readonly recordBatch: (batch: object) => Promise<{ readonly buffer: Buffer }>
  readonly record: (record: object) => unknown
  readonly decode: (decoder: object) => Promise<{ readonly records: readonly KafkaJsRecord[] }>
  readonly decoder: new (bytes: Buffer) => object
  readonly codecs: Record<number, () => object>
}

interface KafkaJsRecord {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | Buffer[] | null>>
}

const kafkaJs: KafkaJs = {
  recordBatch: (require('kafkajs/src/protocol/recordBatch/v0') as { RecordBatch: KafkaJs['recordBatch'] }).RecordBatch,
  record: require('kafkajs/src/protocol/recordBatch/record/v0') as KafkaJs['record'],
  decode: require('kafkajs/src/protocol/recordBatch/v0/decoder') as KafkaJs['decode'],
  decoder: require('kafkajs/src/protocol/decoder') as KafkaJs['decoder'],
  codecs: (require('kafkajs/src/protocol/message/compression') as { Codecs: KafkaJs['codecs'] }).Codecs,
}

// kafkajs has gzip only; the others are plugged in from here, so that its reader of the records is what is tested.
function plugCodecs(): void {
  for (const [number, codec] of CODECS.entries()) {
    if (codec === 'none' || codec === 'gzip') continue
    kafkaJs.codecs[number] = () => ({
      compress: (encoder: { readonly buffer: Buffer }) => Promise.resolve(Buffer.from(compress(codec, encoder.buffer))),
      decompress: (bytes: Buffer) => Promise.resolve(Buffer.from(decompress(codec, bytes, 1 << 26))),
    })
  }
}

describe('kafkajs', () => {
  beforeAll(plugCodecs)
  const baseTimestamp = 1_700_000_000_000
  const records: readonly RecordToEncode[] = Array.from({ length: 50 }, (_, index) => ({
    key: index % 5 === 0 ? null : Buffer.from(`key-${index}`),
    value: index % 7 === 0 ? null : Buffer.from(`value ${index} `.repeat(20)),
    timestamp: baseTimestamp + index * 10,
    headers: index % 3 === 0 ? [['trace', Buffer.from(`t${index}`)]] : [],
  }))

  async function theirs(compression: number): Promise<Buffer> {
    const batch = await kafkaJs.recordBatch({
      compression,
      firstTimestamp: baseTimestamp,
      maxTimestamp: baseTimestamp + 490,
      partitionLeaderEpoch: -1,
      lastOffsetDelta: records.length - 1,
      producerId: 77,
      producerEpoch: 2,
      firstSequence: 500,
      records: records.map((record, index) =>
        kafkaJs.record({
          offsetDelta: index,
          timestampDelta: record.timestamp - baseTimestamp,
          key: record.key,
          value: record.value,
          headers: Object.fromEntries(record.headers ?? []),
        }),
      ),
    })
    return batch.buffer
  }

  for (const [number, codec] of CODECS.entries()) {
    it(`writes what we read: ${codec}`, async () => {
      const bytes = await theirs(number)
      expect(checkBatch(bytes, 0, bytes.length)).toBeUndefined()
      const batch = decodeBatch(bytes)
      expect(batch.header.codec).toBe(codec)
      expect(batch.header.producerId).toBe(77)
      expect(batch.header.baseSequence).toBe(500)
      expect(batch.toArray().map(plain)).toEqual(records.map(plain))
    })

    it(`reads what we write: ${codec}`, async () => {
      const ours = encodeBatch(records, { codec, baseOffset: 1_000 as Offset })
      const decoded = await kafkaJs.decode(new kafkaJs.decoder(Buffer.from(ours)))
      expect(decoded.records.map((record) => Number(record.offset))).toEqual(records.map((_, index) => 1_000 + index))
      const found = decoded.records.map((record) => ({
        key: record.key,
        value: record.value,
        timestamp: Number(record.timestamp),
        headers: Object.entries(record.headers).map(([name, value]) => [name, value as Buffer] as const),
      }))
      expect(found.map(plain)).toEqual(records.map(plain))
    })
  }

  it('writes the very same bytes as we do where nothing is compressed', async () => {
    const ours = encodeBatch(records, { producerId: 77, producerEpoch: 2, baseSequence: 500 })
    expect(Buffer.from(ours).toString('hex')).toBe((await theirs(0)).toString('hex'))
  })
})
