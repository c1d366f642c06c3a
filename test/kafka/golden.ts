// The golden bytes of golden/ as cases, and messages read and written as a whole. Builds, and judges nothing.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AnyApi, AnyMessage } from '../../broker/protocols/kafka/api.ts'
import { KAFKA_APIS } from '../../broker/protocols/kafka/api-table.ts'
import { KafkaReader, KafkaWriter } from '../../broker/protocols/kafka/primitives.ts'

export interface GoldenCase {
  readonly message: 'request' | 'response'
  readonly version: number
  /** That Kafka puts before the message. */
  readonly headerVersion: number
  readonly kind: 'full' | 'sparse' | 'unknown tags'
  /** Absent where the case has those of `full`. */
  readonly values?: unknown
  readonly bytes: string
}

export interface GoldenFile {
  readonly name: string
  readonly cases: readonly GoldenCase[]
}

const FOLDER = join(import.meta.dirname, 'golden')

export const APIS: readonly AnyApi[] = Object.values(KAFKA_APIS)

/** Those that belong to an API, in the order of their numbers. */
export const GOLDEN_FILES: readonly string[] = readdirSync(FOLDER).filter((file) => /^\d\d-.*\.json$/.test(file))

export function readJson(file: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, file), 'utf8'))
}

export function readGolden(file: string): GoldenFile {
  return readJson(file) as GoldenFile
}

export function messageOf(golden: GoldenFile, { message }: GoldenCase): AnyMessage {
  const api = APIS.find(({ name }) => name === golden.name)
  if (api === undefined) throw new Error(`${golden.name} is not served`)
  return api[message]
}

/** The values of a case as they are here: null is undefined, and bytes are bytes. */
export function valuesOf(golden: GoldenFile, { message, version, values }: GoldenCase): unknown {
  const isFull = (other: GoldenCase): boolean =>
    other.kind === 'full' && other.message === message && other.version === version
  const found = fromJson(values ?? golden.cases.find(isFull)?.values)
  return Object.assign({}, found, OWN_FIELDS[`${golden.name} ${message}`])
}

/** Fields that Kafka does not have and its bytes do not say. */
const OWN_FIELDS: Readonly<Record<string, object>> = { 'Produce request': { keepsOffsets: false } }

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

const reader = new KafkaReader()
const writer = new KafkaWriter()

export function readMessage(message: AnyMessage, version: number, bytes: Uint8Array): unknown {
  reader.open(bytes)
  const value = message.read(reader, version)
  reader.expectEnd()
  return plain(value)
}

export function writeMessage(message: AnyMessage, version: number, value: unknown): Buffer {
  writer.reset()
  message.write(writer, version, value as never)
  return Buffer.concat(writer.take())
}
