// The records of one partition that are handed out together, and how a record that cannot be read, or whose handler failed,
// is had again as the bytes that it was. Owns no progress; the partition's tracker does.

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

export class WorkBatch<K, V> {
  readonly messages: readonly Message<K, V>[]
  /** Behind the last record of the batch, whoever sees it. */
  readonly endOffset: number
  readonly #chunk: RecordChunk<K, V>
  readonly #position: number
  readonly #topic: string
  /** Records that a deserializer refused, by offset; what stands in their place has bytes for key and value. */
  readonly #unreadable: ReadonlyMap<number, TidemarkError> | undefined
  #bytes: ReadonlyMap<number, Message> | undefined

  private constructor(
    chunk: RecordChunk<K, V>,
    position: number,
    topic: string,
    records: {
      readonly messages: readonly Message<K, V>[]
      readonly unreadable: ReadonlyMap<number, TidemarkError> | undefined
    },
  ) {
    this.#chunk = chunk
    this.#position = position
    this.#topic = topic
    this.endOffset = chunk.endOffsetAt(position)
    this.messages = records.messages
    this.#unreadable = records.unreadable
  }

  /**
   * The next batch of the chunk, which may have no messages. A record that a deserializer refuses spoils no other.
   * @throws CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE; the batch is passed over then.
   */
  static next<K, V>(chunk: RecordChunk<K, V>, settings: DecodeSettings<K, V>): WorkBatch<K, V> {
    const { position } = chunk
    const { topic } = settings
    try {
      return new WorkBatch(chunk, position, topic, { messages: chunk.next(settings), unreadable: undefined })
    } catch (error) {
      if (toTidemarkError(error, 'CORRUPT_MESSAGE', '').code !== 'DESERIALIZATION_FAILED') throw error
      return new WorkBatch(chunk, position, topic, readOneByOne(chunk.bytesAt(position, topic), settings))
    }
  }

  get hasUnreadable(): boolean {
    return this.#unreadable !== undefined
  }

  /** Why the record cannot be read; undefined when it can. */
  unreadable(offset: number): TidemarkError | undefined {
    return this.#unreadable?.get(offset)
  }

  /** The record as it was written. */
  bytesOf(offset: number): Message | undefined {
    this.#bytes ??= new Map(this.#chunk.bytesAt(this.#position, this.#topic).map((one) => [one.offset, one]))
    return this.#bytes.get(offset)
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
