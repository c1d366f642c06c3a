// What becomes of a record whose handler has failed, or that cannot be read: it is tried again after a pause, passed over,
// or written to a topic of dead letters. Owns the pauses. Invariant: a record is never done unless its handler said so, it
// was to be skipped, or its dead letter is acknowledged.

import { assertNever, must } from '../shared/assert.ts'
import type { TidemarkError } from '../shared/errors.ts'
import type { WorkBatch } from './consumer-batch.ts'
import type { ConsumerEmitter } from './consumer-events.ts'
import type { ErrorPolicy } from './consumer-options.ts'
import type { ConsumerPartition, Running } from './consumer-partition.ts'
import type { Cluster } from './cluster.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import type { HeadersInput } from './producer-record.ts'
import { Producer } from './producer.ts'
import type { Message } from './record-chunk.ts'
import { backoffMs } from './retry.ts'
import { bytes } from './serializers.ts'

/** 'stop': the partition is to be given up, and the record is not done. */
export type Verdict = 'again' | 'done' | 'stop'

/** A record that has failed. */
export interface FailedRecord<K, V> {
  readonly of: ConsumerPartition<K, V>
  readonly batch: WorkBatch<K, V>
  readonly offset: number
  /** How often it was tried. */
  readonly tries: number
  /** Takes no time of the handler's while it waits. */
  readonly running: Running
}

/** Characters of a reason in the header of a dead letter. */
const REASON_LENGTH_MAX = 4_096
/** Milliseconds for writing one dead letter, before it is said that it cannot be written and tried again. */
const WRITE_TIMEOUT_MS = 10_000

export class RecordFailures<K, V> {
  readonly #cluster: Cluster
  readonly #groupId: string
  readonly #policy: ErrorPolicy
  readonly #events: ConsumerEmitter
  /** Ends the consumer. */
  readonly #onFatal: (error: TidemarkError) => void
  #producer: Producer<Uint8Array, Uint8Array> | undefined

  constructor(
    cluster: Cluster,
    groupId: string,
    policy: ErrorPolicy,
    { events, onFatal }: { readonly events: ConsumerEmitter; readonly onFatal: (error: TidemarkError) => void },
  ) {
    this.#cluster = cluster
    this.#groupId = groupId
    this.#policy = policy
    this.#events = events
    this.#onFatal = onFatal
  }

  /** Resolves after the pause, if there is one. */
  async onFailed(failed: FailedRecord<K, V>, thrown: unknown): Promise<Verdict> {
    const { of: partition, offset, tries, running } = failed
    const error = this.#errorOf(failed, thrown)
    // What was given up on may well fail.
    if (partition.isStale) return 'stop'
    this.#events.error(error)
    running.since = Infinity
    const { action, retries } = this.#policy
    if (tries <= retries) return this.#pause(partition, { offset, tries, error, what: 'the handler' })
    switch (action) {
      case 'retry':
        this.#onFatal(error)
        return 'stop'
      case 'skip':
        return 'done'
      case 'dead-letter':
        return this.#bury(failed, error)
      default:
        return assertNever(action)
    }
  }

  async close(): Promise<void> {
    await this.#producer?.close({ timeoutMs: 1_000 }).catch(() => undefined)
  }

  #errorOf({ of, offset, batch }: FailedRecord<K, V>, thrown: unknown): TidemarkError {
    const { topic, partition } = of
    const unreadable = batch.unreadable(offset)
    if (unreadable !== undefined) return unreadable
    const reason = thrown instanceof Error ? thrown.message : String(thrown)
    const text = `${topic}-${partition}, the record at offset ${offset}: its handler failed: ${reason}`
    return errorOf('HANDLER_FAILED', text, { topic, partition, cause: thrown })
  }

  async #pause(
    partition: ConsumerPartition<K, V>,
    retrying: { offset: number; tries: number; error: Error; what: string },
  ): Promise<Verdict> {
    const { clock, random } = this.#cluster.environment
    const pauseMs = backoffMs(retrying.tries, this.#policy.backoff, random)
    partition.retrying = { ...retrying, at: clock.monotonic() + pauseMs }
    const isStill = await partition.pauseFor(pauseMs)
    partition.retrying = undefined
    return isStill ? 'again' : 'stop'
  }

  async #bury(failed: FailedRecord<K, V>, error: TidemarkError): Promise<Verdict> {
    const { of: partition, batch, offset } = failed
    const topic = this.#policy.topic ?? `${partition.topic}.dead-letter`
    const record = must(batch.bytesOf(offset), 'a record that was handed out is in its batch')
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#write(topic, record, this.#headersOf(failed, error))
        return 'done'
      } catch (thrown) {
        const cause = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', 'the dead letter')
        const where = { topic: partition.topic, partition: partition.partition }
        const text = `${where.topic}-${where.partition}, the record at offset ${offset}: its dead letter could not be written to ${topic}`
        const failure = errorOf(cause.code, `${text}: ${cause.message}`, { ...where, cause })
        this.#events.error(failure)
        const verdict = await this.#pause(partition, { offset, tries, error: failure, what: `writing to ${topic}` })
        if (verdict === 'stop') return 'stop'
      }
    }
  }

  async #write(topic: string, { key, value, timestamp }: Message, headers: HeadersInput): Promise<void> {
    this.#producer ??= new Producer<Uint8Array, Uint8Array>(
      this.#cluster,
      { acks: 'all', serializers: { key: bytes, value: bytes }, deliveryTimeoutMs: WRITE_TIMEOUT_MS },
      () => undefined,
    )
    const messages = [{ key, value, headers, ...(timestamp >= 0 && { timestamp }) }]
    await this.#producer.send({ topic, messages }, { timeoutMs: WRITE_TIMEOUT_MS })
  }

  /** The record's own headers, and where it comes from and why it is here. */
  #headersOf(
    { of: { topic, partition }, batch, offset, tries }: FailedRecord<K, V>,
    error: TidemarkError,
  ): HeadersInput {
    const own = batch.bytesOf(offset)?.headers ?? {}
    return {
      ...own,
      'dead-letter-reason': error.message.slice(0, REASON_LENGTH_MAX),
      'dead-letter-code': error.code,
      'dead-letter-topic': topic,
      'dead-letter-partition': String(partition),
      'dead-letter-offset': String(offset),
      'dead-letter-group': this.#groupId,
      'dead-letter-tries': String(tries),
    }
  }
}
