// Every message that is served, in every version, against the bytes that Kafka's own classes write (golden/, made by
// GoldenBytes.java): what is read of them, what is written from the values, and which header goes with them.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { apiOf, KAFKA_APIS } from '../../broker/protocols/kafka/api-table.ts'
import {
  API_VERSIONS_KEY,
  encodeResponse,
  readClientId,
  readRequestStart,
} from '../../broker/protocols/kafka/frames.ts'
import { KafkaReader } from '../../broker/protocols/kafka/primitives.ts'
import { APIS, GOLDEN_FILES, messageOf, readGolden, readMessage, valuesOf, writeMessage } from './golden.ts'

interface FetchedRecords {
  readonly responses: readonly { readonly partitions: readonly { readonly records: unknown }[] }[]
}

describe.each(GOLDEN_FILES)('%s', (file) => {
  const golden = readGolden(file)
  const api = APIS.find(({ name }) => name === golden.name)

  it('has every version of both messages', () => {
    const { min = 0, max = -1 } = api?.versions ?? {}
    const served = Array.from({ length: max + 1 - min }, (_, index) => min + index)
    for (const message of ['request', 'response']) {
      const full = golden.cases.filter((each) => each.message === message && each.kind === 'full')
      expect(full.map(({ version }) => version)).toEqual(served)
    }
  })

  it.each(golden.cases)('$message v$version, $kind: is read as Kafka reads it', (each) => {
    const bytes = Buffer.from(each.bytes, 'hex')
    expect(readMessage(messageOf(golden, each), each.version, bytes)).toStrictEqual(valuesOf(golden, each))
  })

  it.each(golden.cases.filter(({ kind }) => kind !== 'unknown tags'))(
    '$message v$version, $kind: is written as Kafka writes it',
    (each) => {
      const bytes = writeMessage(messageOf(golden, each), each.version, valuesOf(golden, each))
      expect(bytes.toString('hex')).toBe(each.bytes)
    },
  )

  it('goes with the headers that Kafka uses', () => {
    const headerOf = { request: [1, 2], response: api?.key === API_VERSIONS_KEY ? [0, 0] : [0, 1] }
    for (const { message, version, headerVersion } of golden.cases) {
      expect(headerOf[message][api?.isFlexible(version) === true ? 1 : 0]).toBe(headerVersion)
    }
  })
})

describe('the table of APIs', () => {
  it('has golden bytes for each', () => {
    expect(GOLDEN_FILES.map((file) => readGolden(file).name)).toEqual(APIS.map(({ name }) => name))
  })

  it('finds each by its number, and nothing by another', () => {
    for (const [key, api] of Object.entries(KAFKA_APIS)) {
      expect(api.key).toBe(Number(key))
      expect(apiOf(api.key)).toBe(api)
    }
    expect(apiOf(4)).toBeUndefined()
    expect(apiOf(-1)).toBeUndefined()
  })

  it('stands in the page about the protocol', () => {
    const page = readFileSync(join(import.meta.dirname, '../../broker/protocols/kafka/PROTOCOL.md'), 'utf8')
    const told = page.split('\n').flatMap((line) => {
      const [, key = '', name, versions = '', flexible] = line.split('|').map((cell) => cell.trim())
      return /^\d+$/.test(key) ? [`${key} ${name} ${versions} ${flexible}`] : []
    })
    const served = APIS.map((api) => {
      const { min, max } = api.versions
      const flexible = Array.from({ length: max + 1 }, (_, version) => version).find((each) => api.isFlexible(each))
      return `${api.key} ${api.name} ${min === max ? min : `${min} to ${max}`} ${flexible ?? 'never'}`
    })
    expect(told).toEqual(served)
  })

  it('announces what is served, and produce from 0 on for old clients', () => {
    for (const { key, announced, versions } of APIS) {
      expect(announced).toEqual({ min: key === 0 ? 0 : versions.min, max: versions.max })
    }
  })
})

describe('the header of a request', () => {
  const golden = readGolden('headers.json')
  const reader = new KafkaReader()

  it.each(golden.cases.filter(({ message }) => message === 'request'))('v$version, $kind: is read', (each) => {
    reader.open(Buffer.from(each.bytes, 'hex'))
    const { apiKey, apiVersion, correlationId } = readRequestStart(reader)
    const clientId = readClientId(reader, each.version === 2)
    reader.expectEnd()
    const read = { requestApiKey: apiKey, requestApiVersion: apiVersion, correlationId, clientId }
    expect(read).toStrictEqual(valuesOf(golden, each))
  })

  it('names the field when it ends too early', () => {
    reader.open(Buffer.from('0003000c00000007000a6162', 'hex'))
    readRequestStart(reader)
    expect(() => readClientId(reader, false)).toThrow(
      'request header v1, field clientId, byte 10: 10 bytes are announced and 2 left',
    )
  })
})

describe('the frame of a response', () => {
  it('has its length, its correlation id, and no tagged fields before a version that is flexible', () => {
    const pieces = encodeResponse(KAFKA_APIS[12], { version: 3, correlationId: 7 }, { errorCode: 27 })
    expect(Buffer.concat(pieces).toString('hex')).toBe('0000000a' + '00000007' + '00000000' + '001b')
  })

  it('has the tagged fields of the flexible header', () => {
    const pieces = encodeResponse(KAFKA_APIS[12], { version: 4, correlationId: 7 }, { errorCode: 27 })
    expect(Buffer.concat(pieces).toString('hex')).toBe('0000000c' + '00000007' + '00' + '00000000' + '001b' + '00')
  })

  it('has the older header for ApiVersions, whatever the version', () => {
    const pieces = encodeResponse(KAFKA_APIS[18], { version: 3, correlationId: 7 }, { errorCode: 35, apiKeys: [] })
    expect(Buffer.concat(pieces).toString('hex')).toBe('0000000c' + '00000007' + '0023' + '01' + '00000000' + '00')
  })

  it('leaves records where they are, as every second piece', () => {
    const first = Buffer.from('first')
    const second = Buffer.from('second')
    const partition = { errorCode: 0, highWatermark: 9 }
    const partitions = [
      { ...partition, partitionIndex: 0, records: first },
      { ...partition, partitionIndex: 1, records: new Uint8Array(0) },
      { ...partition, partitionIndex: 2, records: second },
      { ...partition, partitionIndex: 3 },
    ]
    const responses = [{ topic: 't', topicId: '01234567-89ab-4def-8123-456789abcdef', partitions }]
    const pieces = encodeResponse(KAFKA_APIS[1], { version: 12, correlationId: 7 }, { errorCode: 0, responses })
    expect(pieces).toHaveLength(5)
    expect(pieces[1]).toBe(first)
    expect(pieces[3]).toBe(second)
    const frame = Buffer.concat(pieces)
    expect(frame.readInt32BE(0)).toBe(frame.length - 4)
    const read = readMessage(KAFKA_APIS[1].response, 12, frame.subarray(9)) as FetchedRecords
    const records = read.responses[0]?.partitions.map((each) => each.records)
    expect(records).toEqual([Uint8Array.from(first), new Uint8Array(0), Uint8Array.from(second), undefined])
  })

  it('grows beyond the buffer that is shared, and keeps what was written before', () => {
    const group = { protocolType: 'consumer', groupState: 'Stable', groupType: 'classic' }
    const groups = Array.from({ length: 5_000 }, (_, index) => ({ groupId: `group-${index}`, ...group }))
    const answer = { errorCode: 0, groups }
    const first = encodeResponse(KAFKA_APIS[16], { version: 5, correlationId: 1 }, answer)
    encodeResponse(KAFKA_APIS[16], { version: 5, correlationId: 2 }, { errorCode: 14, groups: [] })
    const frame = Buffer.concat(first)
    expect(frame.readInt32BE(4)).toBe(1)
    expect(readMessage(KAFKA_APIS[16].response, 5, frame.subarray(9))).toMatchObject(answer)
  })
})
