// The records of one partition that are handed out together, and how a record that cannot be read, or whose handler failed,
// is had again as the bytes that it was. Owns no progress; the partition's tracker does.

import { must } from '../shared/assert.ts'
import type { TidemarkError } from '../shared/errors.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import type { DecodeSettings, Message, RecordChunk } from './record-chunk.ts'
import type { Deserializer } from './serializers.ts'

/** What eachBatch is given. */
export interface Batch<K = Buffer, V = Buffer> {
  readonly topic: string
  readonly partition: number
  /** At least one, with growing offsets. */
  readonly messages: readonly Message<K, V>[]
  readonly firstOffset: number
  readonly lastOffset: number
  /** The end of the partition, as last heard. */
  readonly highWatermark: number | undefined
}

/** Batches with fewer messages are handed out together with those behind them. */
const MESSAGES_MIN = 256

/** What one batch of a chunk has become. */
interface Part<K, V> {
  /** Where it begins in the chunk. */
  readonly position: number
  readonly messages: readonly Message<K, V>[]
  /** Records that a deserializer refused, by offset; what stands in their place has bytes for key and value. */
  readonly unreadable: ReadonlyMap<number, TidemarkError> | undefined
}

export class WorkBatch<K, V> {
  readonly messages: readonly Message<K, V>[]
  /** Behind the last record of the batch, whoever sees it. */
  readonly endOffset: number
  readonly hasUnreadable: boolean
  readonly #chunk: RecordChunk<K, V>
  readonly #topic: string
  readonly #parts: readonly Part<K, V>[]
  #bytes: ReadonlyMap<number, Message> | undefined

  private constructor(chunk: RecordChunk<K, V>, topic: string, parts: readonly Part<K, V>[]) {
    this.#chunk = chunk
    this.#topic = topic
    this.#parts = parts
    const last = must(parts.at(-1), 'a batch has a part')
    this.endOffset = chunk.endOffsetAt(last.position)
    this.messages = parts.length === 1 ? last.messages : parts.flatMap(({ messages }) => messages)
    this.hasUnreadable = parts.some(({ unreadable }) => unreadable !== undefined)
  }

  /**
   * The next batch of the chunk, or several when they are small; may have no messages. A record that a deserializer refuses
   * spoils no other. @throws CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE; the batch is passed over then.
   */
  static next<K, V>(chunk: RecordChunk<K, V>, settings: DecodeSettings<K, V>): WorkBatch<K, V> {
    const parts = [nextPart(chunk, settings)]
    let count = parts[0]?.messages.length ?? 0
    while (count < MESSAGES_MIN && !chunk.isUsedUp) {
      const { position } = chunk
      try {
        const part = nextPart(chunk, settings)
        count += part.messages.length
        parts.push(part)
      } catch {
        // Told of when it is its turn.
        chunk.rewind(position)
        break
      }
    }
    return new WorkBatch(chunk, settings.topic, parts)
  }

  /** Why the record cannot be read; undefined when it can. */
  unreadable(offset: number): TidemarkError | undefined {
    if (!this.hasUnreadable) return undefined
    for (const { unreadable } of this.#parts) {
      const error = unreadable?.get(offset)
      if (error !== undefined) return error
    }
    return undefined
  }

  /** The record as it was written. */
  bytesOf(offset: number): Message | undefined {
    if (this.#bytes === undefined) {
      const records = this.#parts.flatMap(({ position }) => this.#chunk.bytesAt(position, this.#topic))
      this.#bytes = new Map(records.map((one) => [one.offset, one]))
    }
    return this.#bytes.get(offset)
  }
}

function nextPart<K, V>(chunk: RecordChunk<K, V>, settings: DecodeSettings<K, V>): Part<K, V> {
  const { position } = chunk
  try {
    return { position, messages: chunk.next(settings), unreadable: undefined }
  } catch (error) {
    if (toTidemarkError(error, 'CORRUPT_MESSAGE', '').code !== 'DESERIALIZATION_FAILED') throw error
    return { position, ...readOneByOne(chunk.bytesAt(position, settings.topic), settings) }
  }
}

function readOneByOne<K, V>(
  records: readonly Message[],
  { key, value }: DecodeSettings<K, V>,
): { messages: Message<K, V>[]; unreadable: ReadonlyMap<number, TidemarkError> } {
  const unreadable = new Map<number, TidemarkError>()
  const messages = records.map((record) => {
    try {
      return { ...record, key: read(record.key, key, record.topic), value: read(record.value, value, record.topic) }
    } catch (cause) {
      const { topic, partition, offset } = record
      const { message } = toTidemarkError(cause, 'DESERIALIZATION_FAILED', 'a deserializer failed')
      const text = `${topic}-${partition}, the record at offset ${offset}: ${message}`
      unreadable.set(offset, errorOf('DESERIALIZATION_FAILED', text, { topic, partition, cause }))
      // Never handed to a handler.
      return record as Message<never, never>
    }
  })
  return { messages, unreadable }
}

function read<T>(bytes: Buffer | null, reader: Deserializer<T> | undefined, topic: string): T | null {
  if (bytes === null) return null
  // Without a deserializer T is Buffer.
  return reader === undefined ? (bytes as T) : reader.deserialize(bytes, topic)
}
