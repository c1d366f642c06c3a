// Records that are hard on whoever carries them, and both ways to look at them: as our client has them, and as the verbs of
// foreign clients say them.

import type { HeaderValue, Message, ProducerRecord } from '../../client/index.ts'
import type { PlacedRecord, PlainRecord } from './foreign-client.ts'

/** What some clients cannot say. */
export interface Limits {
  /** Header names come once at most. */
  readonly hasNoRepeatedHeaders?: boolean
  /** A header has a value. */
  readonly hasNoNullHeaders?: boolean
}

const START = Date.UTC(2024, 1, 29, 12)

function base64(bytes: Uint8Array | string): string {
  return Buffer.from(bytes).toString('base64')
}

const EVERY_BYTE = Uint8Array.from({ length: 256 }, (_, index) => index)

/** All for partition 0. Some are long and alike, so that every codec has something to do. */
export function samples(limits: Limits = {}): PlainRecord[] {
  const repeated: PlainRecord['headers'] = [
    ['again', base64('first')],
    ['again', base64('second')],
  ]
  const ofNull: PlainRecord['headers'] = [['null', null]]
  const headers: PlainRecord['headers'] = [
    ['trace', base64('00-4bf92f35-01')],
    ['empty', ''],
    ['bytes', base64(EVERY_BYTE)],
    ['ünïcode', base64('ж')],
    ...(limits.hasNoRepeatedHeaders === true ? [] : repeated),
    ...(limits.hasNoNullHeaders === true ? [] : ofNull),
  ]
  const rows: readonly Omit<PlainRecord, 'timestamp' | 'partition'>[] = [
    { key: base64('key'), value: base64('value'), headers: [] },
    { key: null, value: base64('without a key'), headers: [] },
    { key: base64('a tombstone'), value: null, headers: [] },
    { key: '', value: '', headers: [] },
    { key: base64('with headers'), value: base64('value'), headers },
    { key: base64(EVERY_BYTE), value: base64(EVERY_BYTE), headers: [] },
    { key: base64('long'), value: base64('0123456789abcdef'.repeat(2_000)), headers: [] },
    { key: base64('text'), value: base64('Grüße, мир, 世界'), headers: [] },
  ]
  // Times go back and forth, as those of several writers do.
  return rows.map((row, index) =>
    Object.assign({}, row, { timestamp: START + ((index * 5) % 8) * 1_000, partition: 0 }),
  )
}

/** Small ones with times that rise by a second each: number 7 is from 7 seconds after the first. */
export function numbered(count: number, startTime: number = START): PlainRecord[] {
  return Array.from({ length: count }, (_, index) => {
    return { key: null, value: base64(`${index}`), headers: [], timestamp: startTime + index * 1_000, partition: 0 }
  })
}

export function toMessages(records: readonly PlainRecord[]): ProducerRecord<Buffer, Buffer>[] {
  return records.map(({ key, value, headers, timestamp, partition }) => ({
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headers.map(([name, text]): readonly [string, HeaderValue] => [name, bytesOf(text)]),
    timestamp,
    partition,
  }))
}

export function toPlain(message: Message): PlacedRecord {
  const { topic, partition, offset, timestamp, key, value } = message
  const headers = Object.entries(message.headers).flatMap(([name, found]) => {
    const values = isList(found) ? found : [found]
    return values.map((one) => [name, textOf(one)] as const)
  })
  return { topic, partition, offset, timestamp, key: textOf(key), value: textOf(value), headers }
}

/** As it must come back: where it was to go, and counted from 0. */
export function placed(topic: string, records: readonly PlainRecord[]): PlacedRecord[] {
  return records.map((record, offset) => Object.assign({}, record, { topic, partition: record.partition ?? 0, offset }))
}

export function valueOf({ value }: { readonly value: string | null }): string {
  return value === null ? '' : Buffer.from(value, 'base64').toString()
}

export function bytesOf(text: string | null): Buffer | null {
  return text === null ? null : Buffer.from(text, 'base64')
}

export function textOf(bytes: Uint8Array | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64')
}

function isList(found: Message['headers'][string]): found is readonly (Buffer | null)[] {
  return Array.isArray(found)
}
