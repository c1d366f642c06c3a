// A record as the application gives it, and how it becomes what a batch takes: key and value through their serializers,
// headers as a list, the timestamp filled in. Refuses what is not legal before anything is kept of it.

import type { RecordHeader, RecordToEncode } from '../shared/record-batch/encode.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import type { Serializer } from './serializers.ts'

export type HeaderValue = string | Uint8Array | null

/** By name, or as pairs in their order; a name may have several values. */
export type HeadersInput =
  Readonly<Record<string, HeaderValue | readonly HeaderValue[]>> | readonly (readonly [string, HeaderValue])[]

export interface ProducerRecord<K, V> {
  readonly key?: K | null | undefined
  /** null is a tombstone: it deletes what the key stands for, in a compacted topic. */
  readonly value: V | null
  readonly headers?: HeadersInput | undefined
  /** Default: what the partitioner says. */
  readonly partition?: number | undefined
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number | Date | undefined
}

/** A record ready for a batch; its arrays are shared with the application until it is in one. */
export interface PreparedRecord extends RecordToEncode {
  /** As the application asked for it. */
  readonly partition: number | undefined
}

export interface Serializers<K, V> {
  readonly key: Serializer<K>
  readonly value: Serializer<V>
}

/** @throws INVALID_ARGUMENT. */
export function prepareRecord<K, V>(
  topic: string,
  record: ProducerRecord<K, V>,
  serializers: Serializers<K, V>,
  now: number,
): PreparedRecord {
  if (typeof record !== 'object' || record === null) {
    throw errorOf('INVALID_ARGUMENT', `topic ${topic}: a record is an object { key, value }`, { topic })
  }
  const { key, value, headers, timestamp } = record
  if (value === undefined) {
    throw errorOf('INVALID_ARGUMENT', `topic ${topic}: a record needs a value; null makes it a tombstone`, { topic })
  }
  return {
    key: key === undefined || key === null ? null : serialize(serializers.key, key, topic, 'key'),
    value: value === null ? null : serialize(serializers.value, value, topic, 'value'),
    headers: headers === undefined ? undefined : toHeaders(headers, topic),
    timestamp: timestamp === undefined ? now : toTimestamp(timestamp, topic),
    partition: record.partition,
  }
}

/** The same record with bytes of its own, for one that has to wait for its place. */
export function copyRecord(record: PreparedRecord): PreparedRecord {
  return {
    ...record,
    key: copy(record.key),
    value: copy(record.value),
    headers: record.headers?.map(([name, value]) => [name, copy(value)] as const),
  }
}

function copy(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null ? null : Buffer.from(bytes)
}

function serialize<T>(serializer: Serializer<T>, value: T, topic: string, what: string): Uint8Array {
  try {
    return serializer.serialize(value, topic)
  } catch (error) {
    const failure = toTidemarkError(error, 'INVALID_ARGUMENT', 'the serializer failed')
    throw errorOf('INVALID_ARGUMENT', `topic ${topic}: the ${what} of a record: ${failure.message}`, {
      cause: error,
      topic,
    })
  }
}

function toTimestamp(timestamp: number | Date, topic: string): number {
  const value = timestamp instanceof Date ? timestamp.getTime() : timestamp
  if (Number.isSafeInteger(value) && value >= 0) return value
  const text = `topic ${topic}: a timestamp is a Date or milliseconds since 1970, not ${String(timestamp)}`
  throw errorOf('INVALID_ARGUMENT', text, { topic })
}

function toHeaders(headers: HeadersInput, topic: string): RecordHeader[] {
  const out: RecordHeader[] = []
  if (Array.isArray(headers)) {
    for (const [name, value] of headers as readonly (readonly [string, HeaderValue])[]) {
      out.push([name, headerBytes(name, value, topic)])
    }
    return out
  }
  for (const [name, value] of Object.entries(headers as Readonly<Record<string, HeaderValue | HeaderValue[]>>)) {
    if (value === undefined) continue
    if (Array.isArray(value)) for (const one of value) out.push([name, headerBytes(name, one, topic)])
    else out.push([name, headerBytes(name, value, topic)])
  }
  return out
}

function headerBytes(name: string, value: HeaderValue, topic: string): Uint8Array | null {
  if (value === null || value instanceof Uint8Array) return value
  if (typeof value === 'string') return Buffer.from(value)
  throw errorOf('INVALID_ARGUMENT', `topic ${topic}: header ${name} must be text, bytes or null`, { topic })
}
