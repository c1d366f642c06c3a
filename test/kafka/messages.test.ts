// Every message that is served, in every version, against the bytes that Kafka's own classes write (golden/, made by
// GoldenBytes.java): what is read of them, what is written from the values, and which header goes with them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AnyApi, AnyMessage } from '../../broker/protocols/kafka/api.ts'
import { apiOf, KAFKA_APIS } from '../../broker/protocols/kafka/api-table.ts'
import { API_VERSIONS_KEY, readClientId, readRequestStart } from '../../broker/protocols/kafka/frames.ts'
import { KafkaReader, KafkaWriter } from '../../broker/protocols/kafka/primitives.ts'

interface GoldenCase {
  readonly message: string
  readonly version: number
  readonly headerVersion: number
  readonly kind: 'full' | 'sparse' | 'unknown tags'
  /** Absent where the case has those of `full`. */
  readonly values?: unknown
  readonly bytes: string
}

interface GoldenFile {
  readonly name: string
  readonly cases: readonly GoldenCase[]
}

const FOLDER = join(import.meta.dirname, 'golden')
const APIS: readonly AnyApi[] = Object.values(KAFKA_APIS)

function readGolden(file: string): GoldenFile {
  return JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as GoldenFile
}

/** The values of a case as they are here: null is undefined, and bytes are bytes. */
function valuesOf(golden: GoldenFile, { message, version, values }: GoldenCase): unknown {
  if (values !== undefined) return fromJson(values)
  const full = golden.cases.find(
    (other) => other.kind === 'full' && other.message === message && other.version === version,
  )
  return fromJson(full?.values)
}

function fromJson(value: unknown): unknown {
  if (value === null) return undefined
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value !== 'object') return value
  if ('hex' in value) return Uint8Array.from(Buffer.from(String(value.hex), 'hex'))
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fromJson(field)]))
}

/** Records are views and so Buffers; the values they are compared with are plain. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]))
}

function read(message: AnyMessage, version: number, hex: string): unknown {
  const reader = new KafkaReader()
  reader.open(Buffer.from(hex, 'hex'))
  const value = message.read(reader, version)
  reader.expectEnd()
  return plain(value)
}

function write(message: AnyMessage, version: number, value: unknown): string {
  const writer = new KafkaWriter()
  writer.reset()
  message.write(writer, version, value as never)
  return Buffer.concat(writer.take()).toString('hex')
}

const files = readdirSync(FOLDER).filter((file) => /^\d\d-.*\.json$/.test(file))

describe.each(files)('%s', (file) => {
  const golden = readGolden(file)
  const api = APIS.find(({ name }) => name === golden.name)

  it('has every version of both messages', () => {
    const served = [...Array((api?.versions.max ?? -1) + 1).keys()].filter(
      (version) => version >= (api?.versions.min ?? 0),
    )
    for (const message of ['request', 'response']) {
      const seen = golden.cases.filter((each) => each.message === message && each.kind === 'full')
      expect(seen.map(({ version }) => version)).toEqual(served)
    }
  })

  it.each(golden.cases)('$message v$version, $kind: is read as Kafka reads it', (each) => {
    const message = each.message === 'request' ? api?.request : api?.response
    expect(message).toBeDefined()
    if (message === undefined) return
    expect(read(message, each.version, each.bytes)).toStrictEqual(valuesOf(golden, each))
  })

  it.each(golden.cases.filter(({ kind }) => kind !== 'unknown tags'))(
    '$message v$version, $kind: is written as Kafka writes it',
    (each) => {
      const message = each.message === 'request' ? api?.request : api?.response
      expect(message).toBeDefined()
      if (message === undefined) return
      expect(write(message, each.version, valuesOf(golden, each))).toBe(each.bytes)
    },
  )

  it('goes with the headers that Kafka uses', () => {
    for (const { message, version, headerVersion } of golden.cases) {
      const isFlexible = api?.isFlexible(version) === true
      if (message === 'request') expect(headerVersion).toBe(isFlexible ? 2 : 1)
      else expect(headerVersion).toBe(isFlexible && api?.key !== API_VERSIONS_KEY ? 1 : 0)
    }
  })
})

describe('the table of APIs', () => {
  it('has golden bytes for each', () => {
    expect(files.map((file) => readGolden(file).name)).toEqual(APIS.map(({ name }) => name))
  })

  it('finds each by its number, and nothing by another', () => {
    for (const [key, api] of Object.entries(KAFKA_APIS)) {
      expect(api.key).toBe(Number(key))
      expect(apiOf(api.key)).toBe(api)
    }
    expect(apiOf(4)).toBeUndefined()
    expect(apiOf(-1)).toBeUndefined()
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

  it.each(golden.cases.filter(({ message }) => message === 'requestheader'))('v$version, $kind: is read', (each) => {
    reader.open(Buffer.from(each.bytes, 'hex'))
    const start = readRequestStart(reader)
    const clientId = readClientId(reader, each.version === 2)
    reader.expectEnd()
    const { apiKey, apiVersion, correlationId } = start
    const read = { requestApiKey: apiKey, requestApiVersion: apiVersion, correlationId, clientId }
    expect(read).toStrictEqual(valuesOf(golden, each))
  })
})
