// The batches that one fetch brought for one partition, and how they become messages, batch by batch. Owns the bytes until
// the last message is made; keys and values are views of them. Control records are passed over.

import type { TidemarkError } from '../shared/errors.ts'
import { BATCH_HEADER_BYTES } from '../shared/record-batch/format.ts'
import { decodeBatch } from '../shared/record-batch/decode.ts'
import { baseOffsetAt, batchBytes, endOffsetAt, recordCountAt } from '../shared/record-batch/header.ts'
import type { RecordHeader } from '../shared/record-batch/encode.ts'
import { CorruptBatchError, errorOf, toTidemarkError } from './errors.ts'
import type { Deserializer } from './serializers.ts'

/** By name; a name that occurs several times has an array. */
export type Headers = Readonly<Record<string, Buffer | null | readonly (Buffer | null)[]>>

export interface Message<K = Buffer, V = Buffer> {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since 1970; -1 when the producer gave none. */
  readonly timestamp: number
  readonly key: K | null
  /** null is a tombstone. */
  readonly value: V | null
  readonly headers: Headers
}

export interface DecodeSettings<K, V> {
  readonly topic: string
  readonly checkCrc: boolean
  /** Absent: the bytes as they are. */
  readonly key: Deserializer<K> | undefined
  readonly value: Deserializer<V> | undefined
}

const NO_HEADERS: Headers = Object.freeze(Object.create(null) as Record<string, never>)

/**
 * The offset behind the last batch. @throws CORRUPT_MESSAGE unless the bytes are whole batches that lead past `position`:
 * otherwise the reader would stand still for ever.
 */
export function endOfBatches(bytes: Uint8Array, position: number): number {
  let end = position
  for (let at = 0; at < bytes.length;) {
    const room = bytes.length - at
    const size = room < BATCH_HEADER_BYTES ? 0 : batchBytes(bytes, at)
    if (size < BATCH_HEADER_BYTES || size > room) {
      throw errorOf('CORRUPT_MESSAGE', `a fetch from offset ${position} brought a batch of ${size} bytes in ${room}`)
    }
    end = endOffsetAt(bytes, at)
    at += size
  }
  if (end <= position) throw errorOf('CORRUPT_MESSAGE', `a fetch from offset ${position} brought what ends at ${end}`)
  return end
}

export class RecordChunk<K, V> {
  readonly partition: number
  readonly bytes: Uint8Array
  /** Offsets that are wanted, from inclusive, to exclusive: a batch may begin before and end behind. */
  readonly #from: number
  readonly #to: number
  #at = 0

  constructor(partition: number, bytes: Uint8Array, range: { readonly from: number; readonly to: number }) {
    this.partition = partition
    this.bytes = bytes
    this.#from = range.from
    this.#to = range.to
  }

  get isUsedUp(): boolean {
    return this.#at >= this.bytes.length
  }

  /** Where the batch that comes next begins, in bytes. */
  get position(): number {
    return this.#at
  }

  /** Goes back to a batch. */
  rewind(position: number): void {
    this.#at = position
  }

  /** The offset behind the batch that begins at a position. */
  endOffsetAt(position: number): number {
    return Math.min(this.#to, endOffsetAt(this.bytes, position))
  }

  /** The messages of a batch once more, as bytes, whether it is the turn of the batch or not. @throws as next. */
  bytesAt(position: number, topic: string): Message[] {
    const plain = { topic, checkCrc: false, key: undefined, value: undefined }
    return new RecordChunk<Buffer, Buffer>(this.partition, this.bytes, { from: this.#from, to: this.#to }).#decode(
      position,
      plain,
    )
  }

  /**
   * The messages of the next batch; may be none. @throws CORRUPT_MESSAGE (CorruptBatchError), DESERIALIZATION_FAILED,
   * UNSUPPORTED_COMPRESSION_TYPE; the batch is passed over then.
   */
  next(settings: DecodeSettings<K, V>): Message<K, V>[] {
    const at = this.#at
    this.#at += batchBytes(this.bytes, at)
    try {
      return this.#decode(at, settings)
    } catch (error) {
      throw this.#located(error, at, settings.topic)
    }
  }

  #decode(at: number, settings: DecodeSettings<K, V>): Message<K, V>[] {
    const batch = decodeBatch(this.bytes, at, { checkCrc: settings.checkCrc })
    const messages: Message<K, V>[] = []
    if (batch.isControl) return messages
    const { topic, key: keyReader, value: valueReader } = settings
    const { partition } = this
    const from = this.#from
    const to = this.#to
    batch.forEach((record) => {
      const { offset, timestamp } = record
      if (offset < from || offset >= to) return
      messages.push({
        topic,
        partition,
        offset,
        timestamp,
        key: record.key === null ? null : readField(record.key, keyReader, topic, offset),
        value: record.value === null ? null : readField(record.value, valueReader, topic, offset),
        headers: record.headers.length === 0 ? NO_HEADERS : toHeaders(record.headers),
      })
    })
    return messages
  }

  /** Where a damaged batch ends. Its header may be what is damaged: better not to know than to pass over sound records. */
  #offsetBehind(at: number): number | undefined {
    const next = at + batchBytes(this.bytes, at)
    const base = baseOffsetAt(this.bytes, at)
    const end = endOffsetAt(this.bytes, at)
    const isPlausible = next < this.bytes.length ? end === baseOffsetAt(this.bytes, next) : true
    return isPlausible && end === base + recordCountAt(this.bytes, at) ? end : undefined
  }

  #located(error: unknown, at: number, topic: string): TidemarkError {
    const { partition } = this
    if (error instanceof DeserializerFailure) {
      const { cause, offset } = error
      const { message } = toTidemarkError(cause, 'DESERIALIZATION_FAILED', 'a deserializer failed')
      const text = `${topic}-${partition}, the record at offset ${offset}: ${message}`
      return errorOf('DESERIALIZATION_FAILED', text, { topic, partition, cause })
    }
    const known = toTidemarkError(error, 'CORRUPT_MESSAGE', 'it cannot be read')
    const startOffset = baseOffsetAt(this.bytes, at)
    const text = `${topic}-${partition}, the batch at offset ${startOffset}: ${known.message}`
    if (known.code === 'CORRUPT_MESSAGE') {
      const nextOffset = this.#offsetBehind(at)
      const hint = nextOffset === undefined ? '' : `; the next readable offset is ${nextOffset}`
      return new CorruptBatchError(text + hint, { startOffset, nextOffset }, { topic, partition, cause: error })
    }
    return errorOf(known.code, text, { topic, partition, cause: error })
  }
}

/** What an application's deserializer threw, to be told apart from a batch that is damaged. */
class DeserializerFailure extends Error {
  override readonly name = 'DeserializerFailure'
  /** Of the record. */
  readonly offset: number

  constructor(offset: number, cause: unknown) {
    super('a deserializer failed', { cause })
    this.offset = offset
  }
}

function readField<T>(bytes: Uint8Array, reader: Deserializer<T> | undefined, topic: string, offset: number): T {
  const buffer = toBuffer(bytes)
  // Without a deserializer T is Buffer.
  if (reader === undefined) return buffer as T
  try {
    return reader.deserialize(buffer, topic)
  } catch (cause) {
    throw new DeserializerFailure(offset, cause)
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

function toHeaders(list: readonly RecordHeader[]): Headers {
  // No prototype: a peer chooses the names.
  const headers = Object.create(null) as Record<string, Buffer | null | (Buffer | null)[]>
  for (const [name, bytes] of list) {
    const value = bytes === null ? null : toBuffer(bytes)
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (Array.isArray(before)) before.push(value)
    else headers[name] = [before, value]
  }
  return headers
}
