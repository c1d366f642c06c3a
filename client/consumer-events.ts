// What a consumer tells its application, by name, as an event emitter does; but handlers may return promises, and whoever
// tells may wait for them. A handler that fails is told of as an error; an error that nobody listens for goes to the log.

import type { TidemarkError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import type { TopicPartition } from './topic-partitions.ts'

export interface PartitionLag extends TopicPartition {
  /** The next offset to be handled. */
  readonly position: number
  readonly highWatermark: number
  /** Records between the two. */
  readonly lag: number
  /** Milliseconds since the record that was handed out last was written; 0 when there is no lag, undefined when unknown. */
  readonly lagMs: number | undefined
}

export interface ConsumerEvents {
  /** Partitions came in; nothing of them is handed out before the handlers are done. They may seek. */
  assigned: { readonly partitions: readonly (TopicPartition & { readonly offset: number })[] }
  /**
   * Partitions go when the handlers are done; until then what was done can be committed. Not so when they are lost: others
   * may have them already.
   */
  revoked: { readonly partitions: readonly TopicPartition[]; readonly isLost: boolean; readonly reason: string }
  /** How far the consumer is behind. */
  lag: { readonly partitions: readonly PartitionLag[]; readonly total: number }
  /** Something failed. The consumer goes on unless error.fatal, or the partition waits, as why() tells. */
  error: TidemarkError
  /** A handler has run for most of maxPollIntervalMs: when that is over, its member leaves. */
  slow: TopicPartition & {
    readonly offset: number
    readonly handlingMs: number
    readonly maxPollIntervalMs: number
  }
  /** Records that were wanted are not there; it goes on elsewhere. */
  moved: TopicPartition & { readonly from: number; readonly to: number; readonly reason: string }
  /** Offsets were committed, as what the member was in this generation. */
  committed: {
    readonly partitions: readonly (TopicPartition & { readonly offset: number })[]
    readonly generation: number
  }
}

export type ConsumerEventName = keyof ConsumerEvents
export type ConsumerListener<Name extends ConsumerEventName> = (event: ConsumerEvents[Name]) => unknown

/** Handlers of one event, at most; more are a leak. */
const LISTENERS_MAX = 1_000

export class ConsumerEmitter {
  readonly #logger: Logger
  readonly #listeners = new Map<ConsumerEventName, ConsumerListener<never>[]>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** @throws INVALID_ARGUMENT. */
  on<Name extends ConsumerEventName>(name: Name, listener: ConsumerListener<Name>): void {
    if (typeof listener !== 'function') throw errorOf('INVALID_ARGUMENT', `on ${name}: expects a function`)
    const listeners = this.#listeners.get(name) ?? []
    if (listeners.length >= LISTENERS_MAX) {
      throw errorOf('INVALID_ARGUMENT', `on ${name}: there are ${LISTENERS_MAX} handlers already`)
    }
    this.#listeners.set(name, [...listeners, listener])
  }

  off<Name extends ConsumerEventName>(name: Name, listener: ConsumerListener<Name>): void {
    const listeners = this.#listeners.get(name) ?? []
    const at = listeners.lastIndexOf(listener)
    if (at >= 0) this.#listeners.set(name, listeners.toSpliced(at, 1))
  }

  has(name: ConsumerEventName): boolean {
    return (this.#listeners.get(name)?.length ?? 0) > 0
  }

  /** Tells all handlers at once and resolves when they are done; never rejects. */
  async emit<Name extends ConsumerEventName>(name: Name, event: ConsumerEvents[Name]): Promise<void> {
    const listeners = this.#listeners.get(name) ?? []
    const told = listeners.map(async (listener) => (listener as ConsumerListener<Name>)(event))
    for (const outcome of await Promise.allSettled(told)) {
      if (outcome.status === 'fulfilled') continue
      const error = toTidemarkError(outcome.reason, 'HANDLER_FAILED', `a handler of ${name} failed`)
      // A handler of errors that fails is not told of its own error.
      if (name === 'error') this.#logger.error({ reason: error.message }, 'a handler of errors failed')
      else this.error(error)
    }
  }

  /** Tells all handlers, and waits for none. */
  tell<Name extends ConsumerEventName>(name: Name, event: ConsumerEvents[Name]): void {
    this.emit(name, event).catch((error: unknown) => this.#logger.error({ reason: String(error) }, name))
  }

  /** Tells of an error, without waiting. */
  error(error: TidemarkError): void {
    if (this.has('error')) this.tell('error', error)
    else this.#logger.warn({ code: error.code, topic: error.topic, partition: error.partition }, error.message)
  }
}
