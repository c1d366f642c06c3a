// What of fetched bytes is data, and what becomes of a batch on its way.

import { describe, expect, it } from 'vitest'
import type { Offset } from '../../shared/ids.ts'
import { keptCopy, producedCopy } from '../../broker/mirror/batch-copy.ts'
import { type DataBatch, dataBatches } from '../../broker/mirror/data-batches.ts'
import { gapBatch } from './gap-fixture.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { encodeBatch, encodeControlBatch, type EncodeBatchOptions } from '../../shared/record-batch/encode.ts'
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  CRC_AT,
  DELETE_HORIZON_BIT,
  PRODUCER_ID_AT,
} from '../../shared/record-batch/format.ts'
import {
  attributesAt,
  baseSequenceAt,
  checkBatch,
  computeCrc,
  producerIdAt,
  readHeader,
  setLogAppendTime,
  writeInt16,
  writeInt32,
  writeInt64,
} from '../../shared/record-batch/header.ts'
import type { TimestampMs } from '../../shared/ids.ts'

function batch(baseOffset: number, values: readonly string[], options: EncodeBatchOptions = {}): Uint8Array {
  const records = values.map((value, at) => ({
    key: Buffer.from(`k${at}`),
    value: Buffer.from(value),
    timestamp: 5 + at,
  }))
  return encodeBatch(records, { ...options, baseOffset: baseOffset as Offset })
}

function ofTransaction(baseOffset: number, producerId: number, ...values: string[]): Uint8Array {
  return batch(baseOffset, values, { producerId, producerEpoch: 0, baseSequence: 0, isTransactional: true })
}

function marker(baseOffset: number, producerId: number, type: 'abort' | 'commit'): Uint8Array {
  const bytes = encodeControlBatch({ type, timestamp: 1, baseOffset: baseOffset as Offset })
  writeInt64(bytes, PRODUCER_ID_AT, producerId)
  writeInt32(bytes, CRC_AT, computeCrc(bytes, 0, bytes.length))
  return bytes
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function only(bytes: Uint8Array, from = 0): DataBatch {
  const [found] = dataBatches(bytes, from).batches
  if (found === undefined) throw new Error('there is no batch')
  return found
}

function textOf(bytes: Uint8Array | null): string {
  return Buffer.from(bytes ?? []).toString()
}

function contentOf(bytes: Uint8Array): unknown[] {
  return decodeBatch(bytes)
    .toArray()
    .map(({ timestamp, key, value }) => [timestamp, textOf(key), textOf(value)])
}

const spansOf = (batches: readonly DataBatch[]): number[][] =>
  batches.map(({ baseOffset, endOffset }) => [baseOffset, endOffset])

describe('the data of an answer', () => {
  it('leaves out markers and what was given up, and keeps what the same producer committed afterwards', () => {
    const bytes = concat(
      ofTransaction(0, 7, 'a', 'b'),
      ofTransaction(2, 8, 'other'),
      marker(3, 7, 'abort'),
      ofTransaction(4, 7, 'c'),
      marker(5, 8, 'commit'),
      marker(6, 7, 'commit'),
      batch(7, ['plain']),
    )
    const found = dataBatches(bytes, 0, [{ producerId: 7, firstOffset: 0 }])
    expect(spansOf(found.batches)).toEqual([
      [2, 3],
      [4, 5],
      [7, 8],
    ])
    expect(found).toMatchObject({ abortedRecords: 2, nextOffset: 8 })
  })

  it('leaves out what two transactions of one producer gave up, one after the other', () => {
    const bytes = concat(
      ofTransaction(0, 7, 'a'),
      marker(1, 7, 'abort'),
      ofTransaction(2, 7, 'kept'),
      marker(3, 7, 'commit'),
      ofTransaction(4, 7, 'b'),
      marker(5, 7, 'abort'),
    )
    const aborted = [
      { producerId: 7, firstOffset: 4 },
      { producerId: 7, firstOffset: 0 },
    ]
    expect(spansOf(dataBatches(bytes, 0, aborted).batches)).toEqual([[2, 3]])
  })

  it('goes on behind gaps, and leaves alone what is cut off', () => {
    const bytes = concat(batch(0, ['a']), gapBatch(1, 900), batch(900, ['b']), batch(901, ['c']).subarray(0, 40))
    const found = dataBatches(bytes, 0)
    expect(spansOf(found.batches)).toEqual([
      [0, 1],
      [900, 901],
    ])
    expect(found.nextOffset).toBe(901)
  })

  it('refuses damaged bytes', () => {
    const bytes = batch(0, ['a'])
    bytes[70] = (bytes[70] ?? 0) ^ 1
    expect(() => dataBatches(bytes, 0)).toThrow(/checksum/)
  })
})

describe('a copy that keeps its offset', () => {
  it('has the same records and says where it comes from, and nothing of its producer, transaction or horizon', () => {
    const original = ofTransaction(50, 7, 'a', 'b')
    writeInt16(original, ATTRIBUTES_AT, attributesAt(original, 0) | DELETE_HORIZON_BIT)
    writeInt32(original, CRC_AT, computeCrc(original, 0, original.length))
    const copy = keptCopy(only(original), 52)
    expect(checkBatch(copy, 0, copy.length)).toBeUndefined()
    expect(readHeader(copy, 0)).toMatchObject({ baseOffset: 52, producerId: -1, producerEpoch: -1, baseSequence: 50 })
    expect(attributesAt(copy, 0)).toBe(0)
    expect(contentOf(copy)).toEqual(contentOf(original))
  })
})

describe('a copy that is numbered anew', () => {
  const stamp = { producerId: 9, producerEpoch: 2, baseSequence: 100 }

  it('has the bytes of its records, whatever codec they are in', () => {
    const original = batch(50, ['a', 'b', 'c'], { codec: 'gzip' })
    const copy = producedCopy(only(original), 50, stamp)
    expect(checkBatch(copy, 0, copy.length)).toBeUndefined()
    expect([producerIdAt(copy, 0), baseSequenceAt(copy, 0)]).toEqual([9, 100])
    expect(Buffer.from(copy.subarray(BASE_SEQUENCE_AT + 4))).toEqual(
      Buffer.from(original.subarray(BASE_SEQUENCE_AT + 4)),
    )
  })

  it('has only the records from an offset on', () => {
    const copy = producedCopy(only(batch(50, ['a', 'b', 'c'], { codec: 'gzip' }), 51), 51, stamp)
    expect(checkBatch(copy, 0, copy.length)).toBeUndefined()
    expect(contentOf(copy)).toEqual([
      [6, 'k1', 'b'],
      [7, 'k2', 'c'],
    ])
    expect(readHeader(copy, 0)).toMatchObject({ codec: 'gzip', recordCount: 2, lastOffsetDelta: 1 })
  })

  it('has the time that its broker gave it as its own', () => {
    const original = batch(50, ['a', 'b'])
    setLogAppendTime(original, 0, 77 as TimestampMs)
    const copy = producedCopy(only(original), 50, stamp)
    expect(readHeader(copy, 0)).toMatchObject({ timestampType: 'CreateTime', maxTimestamp: 77 })
    expect(contentOf(copy)).toEqual([
      [77, 'k0', 'a'],
      [77, 'k1', 'b'],
    ])
  })
})
