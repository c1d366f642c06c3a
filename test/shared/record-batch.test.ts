import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import type { RecordToEncode } from '../../shared/record-batch/encode.ts'
import { compress, prepareCodec } from '../../shared/compression/codec.ts'
import { controlTypeOf, decodeBatch, forEachRecord } from '../../shared/record-batch/decode.ts'
import { BatchBuilder, encodeBatch, encodeControlBatch, estimateRecordBytes } from '../../shared/record-batch/encode.ts'
import { CODECS, CODEC_NUMBER } from '../../shared/record-batch/format.ts'
import { checkBatch, readHeader, setLogAppendTime } from '../../shared/record-batch/header.ts'
import { arbitraryRecord, arbitraryRecords, batchOf, plain, utf8, withRightCrc } from './record-batch-samples.ts'

beforeAll(async () => {
  for (const codec of CODECS) await prepareCodec(codec)
})

const RECORD: RecordToEncode = { key: utf8('key'), value: utf8('value'), timestamp: 1_700_000_000_000 }
const codecs = fc.constantFrom(...CODECS)

describe('a batch', () => {
  it('gives back any records, with any codec, and passes the check of the broker', () => {
    fc.assert(
      fc.property(arbitraryRecords, codecs, (records, codec) => {
        const bytes = encodeBatch(records, { codec, baseOffset: 10_000_000_000 as Offset })
        expect(checkBatch(bytes, 0, bytes.length)).toBeUndefined()
        const batch = decodeBatch(bytes)
        expect(batch.toArray().map(plain)).toEqual(records.map(plain))
        expect([...batch].map((record) => record.offset)).toEqual(records.map((_, index) => 10_000_000_000 + index))
        expect(batch.endOffset).toBe(10_000_000_000 + records.length)
        expect(batch.header.codec).toBe(codec)
        expect(batch.header.maxTimestamp).toBe(Math.max(...records.map((record) => record.timestamp)))
      }),
      { numRuns: 400 },
    )
  })

  it('is read at its position among others, by visit, by iteration and as an array alike', () => {
    const first = encodeBatch([RECORD])
    const second = encodeBatch([RECORD, { ...RECORD, key: null }])
    const both = Buffer.concat([first, second])
    const visited: unknown[] = []
    forEachRecord(both, first.length, (record) => visited.push(plain(record)))
    const batch = decodeBatch(both, first.length)
    expect(visited).toEqual([plain(RECORD), plain({ ...RECORD, key: null })])
    expect([...batch].map(plain)).toEqual(visited)
    expect(batch.toArray().map(plain)).toEqual(visited)
  })

  it('has views of its bytes for keys and values, and no copies, where nothing is compressed', () => {
    const bytes = encodeBatch([RECORD])
    expect(decodeBatch(bytes).toArray()[0]?.value?.buffer).toBe(bytes.buffer)
  })

  it('has plain Uint8Arrays for keys and values, whatever it came in and whatever the codec', () => {
    for (const codec of CODECS) {
      const [record] = decodeBatch(Buffer.from(encodeBatch([RECORD], { codec }))).toArray()
      expect(record?.value?.constructor).toBe(Uint8Array)
      expect(record?.key?.constructor).toBe(Uint8Array)
    }
  })

  it('stamped by the broker gives all its records the time of the append', () => {
    const bytes = encodeBatch([RECORD, { ...RECORD, timestamp: 1 }])
    setLogAppendTime(bytes, 0, 1_800_000_000_000 as TimestampMs)
    const records = decodeBatch(bytes).toArray()
    expect(records.map((record) => record.timestamp)).toEqual([1_800_000_000_000, 1_800_000_000_000])
    expect(records.map((record) => record.timestampType)).toEqual(['LogAppendTime', 'LogAppendTime'])
  })

  it('may hold records without a timestamp', () => {
    const bytes = encodeBatch([{ ...RECORD, timestamp: -1 }])
    expect(checkBatch(bytes, 0, bytes.length)).toBeUndefined()
    expect(decodeBatch(bytes).toArray()[0]?.timestamp).toBe(-1)
  })

  it('that compaction has thinned keeps its offsets; one that it has emptied still tells them', () => {
    const full = encodeBatch([RECORD, RECORD, RECORD, RECORD])
    const recordBytes = (full.length - 61) / 4
    const thinned = Buffer.concat([full.subarray(0, 61 + recordBytes), full.subarray(full.length - recordBytes)])
    thinned.writeInt32BE(thinned.length - 12, 8)
    thinned.writeInt32BE(2, 57)
    expect(
      decodeBatch(withRightCrc(thinned))
        .toArray()
        .map((record) => record.offset),
    ).toEqual([0, 3])
    const empty = batchOf(CODEC_NUMBER.gzip, 0, new Uint8Array(0))
    Buffer.from(empty.buffer).writeInt32BE(3, 23)
    const batch = decodeBatch(withRightCrc(empty))
    expect([batch.toArray().length, batch.endOffset]).toEqual([0, 4])
  })

  it('of control says so, and its record says what it means', () => {
    const bytes = encodeControlBatch({
      type: 'leaderChange',
      timestamp: 1_700_000_000_000,
      leaderEpoch: 9 as LeaderEpoch,
      baseOffset: 77 as Offset,
      value: utf8('who'),
    })
    expect(checkBatch(bytes, 0, bytes.length)).toBeUndefined()
    const batch = decodeBatch(bytes)
    expect([batch.isControl, batch.header.leaderEpoch, batch.endOffset]).toEqual([true, 9, 78])
    const [record] = batch.toArray()
    expect(record && Buffer.from(record.key ?? []).toString('hex')).toBe('00000002')
    expect(record && controlTypeOf(record)).toBe('leaderChange')
    expect(decodeBatch(encodeBatch([RECORD])).isControl).toBe(false)
  })
})

describe('BatchBuilder', () => {
  it('knows exactly how large the batch is and whether a record still fits', () => {
    fc.assert(
      fc.property(arbitraryRecords, arbitraryRecord, (records, another) => {
        const builder = new BatchBuilder({ initialBytes: 64 })
        for (const record of records) builder.append(record)
        expect(builder.finish().length).toBe(builder.byteLength)
        const before = builder.byteLength
        builder.append(another)
        const after = builder.byteLength
        expect(after - before).toBeLessThanOrEqual(estimateRecordBytes(another))
        const again = new BatchBuilder()
        for (const record of records) again.append(record)
        expect([again.wouldFit(another, after), again.wouldFit(another, after - 1)]).toEqual([true, false])
      }),
      { numRuns: 200 },
    )
  })

  it('can be used again after reset, and what it gave out before stays as it was', () => {
    const builder = new BatchBuilder({ codec: 'none' })
    builder.append(RECORD)
    const first = builder.finish({ producerId: 1, producerEpoch: 2, baseSequence: 3 })
    const copy = Uint8Array.from(first)
    builder.reset()
    expect([builder.recordCount, builder.byteLength, builder.maxTimestamp]).toEqual([0, 61, -1])
    builder.append({ ...RECORD, timestamp: 5, value: utf8('other') })
    const second = builder.finish()
    expect(first).toEqual(copy)
    expect(second).toEqual(encodeBatch([{ ...RECORD, timestamp: 5, value: utf8('other') }]))
    expect(readHeader(first, 0)).toMatchObject({ producerId: 1, producerEpoch: 2, baseSequence: 3 })
  })

  it('refuses what is no timestamp, too many headers, and to finish empty; the batch is unchanged', () => {
    const builder = new BatchBuilder()
    expect(() => builder.finish()).toThrow(/at least one record/)
    for (const timestamp of [-2, 1.5, Number.NaN, 2 ** 53]) {
      expect(() => builder.append({ ...RECORD, timestamp })).toThrow(/a timestamp is/)
    }
    const headers = Array.from({ length: 1_001 }, () => ['h', null] as const)
    expect(() => builder.append({ ...RECORD, headers })).toThrow(/at most 1000 headers/)
    expect([builder.recordCount, builder.byteLength]).toEqual([0, 61])
  })

  it('refuses a record beyond the limits of the format and goes on with what it has', () => {
    const builder = new BatchBuilder()
    builder.append(RECORD)
    const value = new Uint8Array(32 * 1024 * 1024)
    expect(() => builder.append({ ...RECORD, value })).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }))
    expect(decodeBatch(builder.finish()).toArray().map(plain)).toEqual([plain(RECORD)])
    const packed = new BatchBuilder({ codec: 'lz4' })
    packed.append({ ...RECORD, value })
    expect(packed.finish().length).toBeLessThan(1024 * 1024)
  })
})

describe('a malformed batch', () => {
  const good = '1c' + '00' + '00' + '00' + '06' + '6b6579' + '0a' + '76616c7565' + '00'
  const decoded = (hex: string, count = 1): (() => unknown) => {
    return () => decodeBatch(batchOf(0, count, Buffer.from(hex, 'hex'))).toArray()
  }

  it('is not this one', () => {
    expect(decoded(good)).not.toThrow()
  })

  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['a record longer than the batch', '1e' + good.slice(2), /a record of 15 bytes does not fit/],
    ['a record of negative length', '1b' + good.slice(2), /a record of -14 bytes does not fit/],
    ['a record shorter than its fields', '1a' + good.slice(2), /should end at byte 14/],
    ['a key longer than its record', '1c0000007c6b65790a76616c756500', /a field of 62 bytes leaves its record/],
    ['a key of length -2', '1c000000036b65790a76616c756500', /a field of -2 bytes/],
    ['a value longer than its record', '1c000000066b65791076616c756500', /leaves its record|is cut/],
    [
      'an offset delta beyond the last',
      '1c000002066b65790a76616c756500',
      /the offset delta 1 is out of order or range/,
    ],
    ['a negative offset delta', '1c000001066b65790a76616c756500', /the offset delta -1/],
    ['more headers than bytes', '1c000000066b65790a76616c75650a', /5 headers do not fit/],
    ['a negative number of headers', '1c000000066b65790a76616c756501', /-1 headers do not fit/],
    ['a header without a name', '120000000101020101000000', /the name of a header is null|should end/],
    ['bytes behind the last record', good + '00', /1 bytes follow the last record/],
  ]
  for (const [what, hex, message] of cases) {
    it(`is refused: ${what}`, () => {
      expect(decoded(hex)).toThrow(message)
      expect(decoded(hex)).toThrow(expect.objectContaining({ code: 'CORRUPT_MESSAGE' }))
    })
  }

  it('is refused: an offset delta that does not grow', () => {
    expect(decoded(good + good, 2)).toThrow(/the offset delta 0 is out of order/)
  })

  it('is refused: a timestamp that a number cannot hold', () => {
    const batch = batchOf(0, 1, Buffer.from(good.replace('1c0000', '1c0002'), 'hex'))
    batch.set([0x00, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 27)
    expect(() => decodeBatch(withRightCrc(batch)).toArray()).toThrow(/timestamp of a record is out of range/)
  })

  it('is refused: fewer records than it counts', () => {
    expect(decoded(good, 2)).toThrow(expect.objectContaining({ code: 'CORRUPT_MESSAGE' }))
    expect(decoded(good, 0x7fff_ffff)).toThrow(/2147483647 records do not fit/)
  })

  it('is refused by its checksum, unless told not to look', () => {
    const bytes = encodeBatch([RECORD])
    bytes[70] = (bytes[70] ?? 0) ^ 0x20
    expect(() => decodeBatch(bytes)).toThrow(/checksum/)
    expect(decodeBatch(bytes, 0, { checkCrc: false }).toArray().length).toBe(1)
  })

  it('is refused by an unknown codec or another format version', () => {
    const code = (value: string): unknown => expect.objectContaining({ code: value })
    expect(() => decodeBatch(batchOf(7, 1, new Uint8Array(9)))).toThrow(code('UNSUPPORTED_COMPRESSION_TYPE'))
    const old = encodeBatch([RECORD])
    old[16] = 1
    expect(() => decodeBatch(old)).toThrow(code('UNSUPPORTED_FOR_MESSAGE_FORMAT'))
  })

  it('is refused when it decompresses to more than is allowed, whatever the codec', () => {
    for (const codec of CODECS) {
      if (codec === 'none') continue
      const bomb = batchOf(CODEC_NUMBER[codec], 1, compress(codec, new Uint8Array(32 * 1024 * 1024)))
      expect(checkBatch(bomb, 0, bomb.length)).toBeUndefined()
      expect(() => decodeBatch(bomb, 0, { uncompressedBytesMax: 1024 * 1024 })).toThrow(/more than 1048576 bytes/)
    }
  })
})
