import { describe, expect, it } from 'vitest'
import { defineApi } from '../../broker/protocols/kafka/api.ts'
import { KAFKA_APIS } from '../../broker/protocols/kafka/api-table.ts'
import { encodeResponse } from '../../broker/protocols/kafka/frames.ts'
import { KafkaReader, KafkaWriter } from '../../broker/protocols/kafka/primitives.ts'
import { InvariantError } from '../../shared/assert.ts'
import { readMessage, writeMessage } from './golden.ts'

function readerOf(hex: string): KafkaReader {
  const reader = new KafkaReader()
  reader.open(Buffer.from(hex, 'hex'))
  return reader
}

function written(write: (writer: KafkaWriter) => void): string {
  const writer = new KafkaWriter()
  writer.reset()
  write(writer)
  return Buffer.concat(writer.take()).toString('hex')
}

describe('integers', () => {
  it.each([
    [0, '00'.repeat(8)],
    [-1, 'ff'.repeat(8)],
    [2 ** 32, '0000000100000000'],
    [-(2 ** 32), 'ffffffff00000000'],
    [Number.MAX_SAFE_INTEGER, '001fffffffffffff'],
    [Number.MIN_SAFE_INTEGER, 'ffe0000000000001'],
  ])('%d has eight bytes', (value, hex) => {
    expect(written((writer) => writer.int64(value))).toBe(hex)
    expect(readerOf(hex).int64()).toBe(value)
  })

  it.each(['0020000000000000', '7fffffffffffffff', '8000000000000000', 'ffe0000000000000'])(
    'refuses 0x%s, which a number cannot hold',
    (hex) => {
      expect(() => readerOf(hex).int64()).toThrow('frame v0, byte 8: a 64-bit integer is beyond 2^53 - 1')
    },
  )

  it.each([
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [16_383, 'ff7f'],
    [0xffff_ffff, 'ffffffff0f'],
  ])('%d has a variable length', (value, hex) => {
    expect(written((writer) => writer.uvarint(value))).toBe(hex)
    expect(readerOf(hex).uvarint()).toBe(value)
  })

  it('refuses a variable length of more than five bytes', () => {
    expect(() => readerOf('808080808000').uvarint()).toThrow('has more than five bytes')
  })

  it.each([
    ['int8', 128],
    ['int16', -32_769],
    ['int32', 2 ** 31],
    ['int64', 2 ** 53],
    ['int32', 1.5],
  ] as const)('writes no %s that is %d', (type, value) => {
    expect(() => written((writer) => writer[type](value))).toThrow(InvariantError)
  })
})

describe('text', () => {
  it('has two bytes of length, or a compact one', () => {
    expect(written((writer) => writer.string('é', false))).toBe('0002c3a9')
    expect(written((writer) => writer.string('é', true))).toBe('03c3a9')
    expect(readerOf('0002c3a9').string(false)).toBe('é')
    expect(readerOf('03c3a9').string(true)).toBe('é')
  })

  it('is null by a negative length, or a compact zero', () => {
    expect(readerOf('ffff').string(false)).toBeUndefined()
    expect(readerOf('00').string(true)).toBeUndefined()
  })

  it('is refused when it is not UTF-8', () => {
    expect(() => readerOf('0002ff61').string(false)).toThrow('a string is not UTF-8')
  })

  it('is refused when it is longer than the older length could say', () => {
    const long = Buffer.concat([Buffer.from('818002', 'hex'), Buffer.alloc(0x8000, 'a')])
    expect(() => readerOf(long.toString('hex')).string(true)).toThrow('a string of 32768 bytes; at most 32767')
    expect(() => written((writer) => writer.string('a'.repeat(0x8000), true))).toThrow(InvariantError)
  })
})

describe('bytes', () => {
  it('are copied, and records are not', () => {
    const input = Buffer.from('00000003010203' + '00000003010203', 'hex')
    const reader = new KafkaReader()
    reader.open(input)
    const bytes = reader.bytes(false)
    const records = reader.records(false)
    input.fill(9)
    expect(bytes).toEqual(Uint8Array.from([1, 2, 3]))
    expect(Uint8Array.from(records ?? [])).toEqual(Uint8Array.from([9, 9, 9]))
  })

  it('are refused when fewer are there than announced', () => {
    expect(() => readerOf('7fffffff00').records(false)).toThrow('2147483647 bytes are announced and 1 left')
  })
})

describe('arrays', () => {
  it('are refused before anything is made of them when the bytes cannot hold so many elements', () => {
    const name = '000161'
    const bomb = Buffer.from('ffff' + '0001' + '00007530' + '00000001' + name + '7ffffff0', 'hex')
    expect(() => readMessage(KAFKA_APIS[0].request, 3, bomb)).toThrow(
      'Produce request v3, field partitionData, byte 19: an array of 2147483632 in 0 bytes',
    )
  })

  it('have a bounded number of elements in all arrays of a message together', () => {
    const groups = Array.from({ length: 70_000 }, () => '')
    const one = writeMessage(KAFKA_APIS[42].request, 2, { groupsNames: groups })
    expect(readMessage(KAFKA_APIS[42].request, 2, one)).toEqual({ groupsNames: groups })
    const two = writeMessage(KAFKA_APIS[16].request, 5, { statesFilter: groups, typesFilter: groups })
    expect(() => readMessage(KAFKA_APIS[16].request, 5, two)).toThrow(
      'ListGroups request v5, field typesFilter, byte 70006: its arrays have more than 131072 elements',
    )
  })
})

describe('tagged fields', () => {
  const api = defineApi({
    key: 999,
    name: 'Tags',
    versions: '0-1',
    flexible: '1+',
    request: {
      kept: { type: 'int32', versions: '1+', tag: 0, default: -1 },
      other: { type: 'string', versions: '1+', tag: 5, nullable: true, default: null },
      said: { type: 'int8', versions: '1', default: 3 },
      dropped: { type: 'int8', versions: '1+', default: 3, ignorable: true },
    },
    response: {},
  })
  const read = (hex: string): unknown => readMessage(api.request, 1, Buffer.from(hex, 'hex'))
  const rest = { said: 1, dropped: 2 }

  it('are left out when they say the default, and read as it when they are not there', () => {
    expect(writeMessage(api.request, 1, { said: 1, dropped: 2, kept: -1 }).toString('hex')).toBe('010200')
    expect(read('010200')).toEqual({ kept: -1, other: undefined, ...rest })
  })

  it('are written in the order of their tags', () => {
    const bytes = writeMessage(api.request, 1, { other: 'a', said: 1, dropped: 2, kept: 7 })
    expect(bytes.toString('hex')).toBe('0102' + '02' + '000400000007' + '05020261')
    expect(read(bytes.toString('hex'))).toEqual({ kept: 7, other: 'a', ...rest })
  })

  it('are skipped when nobody knows them', () => {
    expect(read('0102' + '03' + '000400000007' + '0403aabbcc' + '05020261')).toEqual({ kept: 7, other: 'a', ...rest })
  })

  it('are refused when they are not as long as they say', () => {
    expect(() => read('0102' + '01' + '00050000000700')).toThrow(
      'field kept, byte 9: 1 bytes of the tagged field are left',
    )
    expect(() => read('0102' + '01' + '000300000007')).toThrow('field kept, byte 5: it ends too early')
    expect(() => read('0102' + '01' + '070400')).toThrow('4 bytes are announced and 1 left')
  })

  it('are refused when there are more than there can be', () => {
    expect(() => read('0102' + 'ffffffff0f')).toThrow('4294967295 tagged fields')
  })

  it('that a version cannot say are refused, unless they may be dropped', () => {
    expect(writeMessage(api.request, 0, { dropped: 9 }).toString('hex')).toBe('')
    expect(() => writeMessage(api.request, 0, { said: 9 })).toThrow('field said: version 0 cannot say it')
    expect(readMessage(api.request, 0, new Uint8Array(0))).toEqual({ kept: -1, other: undefined, said: 3, dropped: 3 })
  })
})

describe('a message', () => {
  it('is neither read nor written in a version that is not served', () => {
    const { response } = KAFKA_APIS[0]
    expect(() => readMessage(response, 12, new Uint8Array(9))).toThrow(
      'Produce response v12: versions 3 to 11 are served',
    )
    const to = { version: 2, correlationId: 1 }
    expect(() => encodeResponse(KAFKA_APIS[0], to, { responses: [] })).toThrow('versions 3 to 11 are served')
  })

  it('is refused when null stands where the version allows none', () => {
    expect(() => readMessage(KAFKA_APIS[3].request, 0, Buffer.from('ffffffff', 'hex'))).toThrow(
      'Metadata request v0, field topics, byte 4: it is null',
    )
    expect(readMessage(KAFKA_APIS[3].request, 1, Buffer.from('ffffffff', 'hex'))).toMatchObject({ topics: undefined })
  })

  it('is not written without a field that has no default', () => {
    expect(() => writeMessage(KAFKA_APIS[12].response, 0, {})).toThrow(InvariantError)
  })

  it('leaves nothing behind when it cannot be written', () => {
    const to = { version: 0, correlationId: 1 }
    expect(() => encodeResponse(KAFKA_APIS[12], to, { errorCode: 40_000 })).toThrow(InvariantError)
    const frame = Buffer.concat(encodeResponse(KAFKA_APIS[12], to, { errorCode: 27 }))
    expect(frame.toString('hex')).toBe('00000006' + '00000001' + '001b')
  })
})
