// A topic as the end of a stream: every chunk becomes a record, back-pressure goes up the stream, and the first failure
// ends it. Ending the stream waits for the acknowledgements. Knows the producer only through what it is given.

import { Writable } from 'node:stream'
import { toTidemarkError } from './errors.ts'
import type { RecordMetadata } from './producer-batch.ts'
import type { ProducerRecord } from './producer-record.ts'

export interface SinkTarget<K, V> {
  /** The promise is of the acknowledgement. @throws when the record is not legal. */
  enqueue(record: ProducerRecord<K, V>): Promise<RecordMetadata>
  isReady(): boolean
  ready(signal: AbortSignal): Promise<void>
  /** Resolves when every record has its outcome. */
  drain(signal: AbortSignal): Promise<void>
}

export class ProducerSink<K, V> extends Writable {
  readonly #target: SinkTarget<K, V>
  readonly #gone = new AbortController()
  #acknowledged = 0

  constructor(target: SinkTarget<K, V>) {
    super({ objectMode: true, decodeStrings: false, highWaterMark: 1_024 })
    this.#target = target
  }

  /** Records acknowledged so far. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  override _write(chunk: unknown, _encoding: BufferEncoding, answer: (error?: Error | null) => void): void {
    try {
      this.#add(chunk)
    } catch (error) {
      return answer(toTidemarkError(error, 'INVALID_ARGUMENT', 'a chunk of the stream'))
    }
    this.#whenReady(answer)
  }

  override _writev(chunks: readonly { readonly chunk: unknown }[], answer: (error?: Error | null) => void): void {
    try {
      for (const { chunk } of chunks) this.#add(chunk)
    } catch (error) {
      return answer(toTidemarkError(error, 'INVALID_ARGUMENT', 'a chunk of the stream'))
    }
    this.#whenReady(answer)
  }

  override _final(answer: (error?: Error | null) => void): void {
    this.#target.drain(this.#gone.signal).then(
      () => answer(this.errored),
      (error: unknown) => answer(toTidemarkError(error, 'CONNECTION_FAILED', 'the stream could not be ended')),
    )
  }

  override _destroy(error: Error | null, answer: (error?: Error | null) => void): void {
    this.#gone.abort(error ?? undefined)
    answer(error)
  }

  #add(chunk: unknown): void {
    this.#target.enqueue(toRecord<K, V>(chunk)).then(
      () => {
        this.#acknowledged += 1
      },
      (error: unknown) => {
        this.destroy(toTidemarkError(error, 'CONNECTION_FAILED', 'a record failed'))
      },
    )
  }

  #whenReady(answer: (error?: Error | null) => void): void {
    if (this.#target.isReady()) return answer()
    this.#target.ready(this.#gone.signal).then(
      () => answer(),
      (error: unknown) => answer(toTidemarkError(error, 'CONNECTION_FAILED', 'the producer')),
    )
  }
}

/** Text and bytes are a value without a key. What else a chunk holds is for the serializers to refuse. */
function toRecord<K, V>(chunk: unknown): ProducerRecord<K, V> {
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return { value: chunk as V }
  return chunk as ProducerRecord<K, V>
}
