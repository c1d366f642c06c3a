// The options of a producer: names, ranges, defaults, and which of them exclude each other.

import { BATCH_BYTES_MAX, PRODUCER_BATCHES_REMEMBERED } from '../shared/limits.ts'
import { type Codec, CODECS } from '../shared/record-batch/format.ts'
import { errorOf } from './errors.ts'
import {
  checkOptions,
  type ClientSettings,
  integerFrom,
  isBoolean,
  isFunction,
  keyAndValueSerde,
  oneOf,
} from './options.ts'
import type { Partitioner } from './partitioner.ts'
import type { Serializers } from './producer-record.ts'
import type { AccumulatorOptions } from './record-accumulator.ts'
import { plain, type Serializer } from './serializers.ts'

export interface ProducerOptions<K, V> {
  /** Who must have a record before it counts as acknowledged. 'all' (or -1) is the default. */
  readonly acks?: 'all' | 0 | 1 | -1 | undefined
  /** Whether retries can neither repeat nor reorder records. Default: true, unless acks is 0 or 1. */
  readonly idempotent?: boolean | undefined
  /**
   * Milliseconds that a record waits for company while others are on their way, at most. Default 5. When it is given,
   * enqueued records wait for company even while nothing is on its way; what is sent with `send` never does.
   */
  readonly lingerMs?: number | undefined
  /** Bytes of a batch before compression; less where the topic takes only smaller ones. Default 262,144. */
  readonly batchBytes?: number | undefined
  /** Requests on their way to one broker. Default 5, which is also the most that idempotence allows. */
  readonly maxInFlight?: number | undefined
  /** Default none. */
  readonly compression?: Codec | undefined
  /** Bytes of records that are not acknowledged, at most, with what the client needs for them. Default 32 MiB. */
  readonly bufferBytes?: number | undefined
  /** Milliseconds from taking a record to its outcome, with all retries. Default 120,000. */
  readonly deliveryTimeoutMs?: number | undefined
  /** Default: text and bytes. */
  readonly serializers?:
    { readonly key?: Serializer<K> | undefined; readonly value?: Serializer<V> | undefined } | undefined
  readonly partitioner?: Partitioner | undefined
}

export interface ProducerSettings {
  readonly bufferBytes: number
  /** The application asked for a linger: enqueued records wait for it even while nothing is on its way. */
  readonly isLingerGiven: boolean
  readonly accumulator: AccumulatorOptions
}

const RULES = {
  acks: oneOf('all', 0, 1, -1),
  idempotent: isBoolean,
  lingerMs: integerFrom(0, 600_000),
  batchBytes: integerFrom(1, BATCH_BYTES_MAX),
  maxInFlight: integerFrom(1, 1_000),
  compression: oneOf(...CODECS),
  bufferBytes: integerFrom(1_024),
  deliveryTimeoutMs: integerFrom(1),
  serializers: keyAndValueSerde,
  partitioner: isFunction,
}

const REQUEST_BYTES_MAX = 8 * 1024 * 1024

/** @throws INVALID_ARGUMENT. */
export function readProducerOptions<K, V>(
  options: ProducerOptions<K, V>,
  client: ClientSettings,
): { settings: ProducerSettings; serializers: Serializers<K, V>; partitioner: Partitioner | undefined } {
  checkOptions('producer', options, RULES)
  const acks = options.acks === undefined || options.acks === 'all' ? -1 : options.acks
  const isIdempotent = options.idempotent ?? acks === -1
  if (isIdempotent && acks !== -1) {
    throw errorOf('INVALID_ARGUMENT', `producer: idempotent needs acks 'all', not ${acks}`)
  }
  const inFlightMax = options.maxInFlight ?? PRODUCER_BATCHES_REMEMBERED
  if (isIdempotent && inFlightMax > PRODUCER_BATCHES_REMEMBERED) {
    const text = `producer: idempotent allows a maxInFlight of ${PRODUCER_BATCHES_REMEMBERED} at most, not ${inFlightMax}`
    throw errorOf('INVALID_ARGUMENT', text)
  }
  const { key, value } = options.serializers ?? {}
  return {
    settings: {
      bufferBytes: options.bufferBytes ?? 32 * 1024 * 1024,
      isLingerGiven: options.lingerMs !== undefined,
      accumulator: {
        acks,
        isIdempotent,
        lingerMs: options.lingerMs ?? 5,
        batchBytes: options.batchBytes ?? 262_144,
        codec: options.compression ?? 'none',
        inFlightMax,
        requestBytesMax: REQUEST_BYTES_MAX,
        deliveryTimeoutMs: options.deliveryTimeoutMs ?? 120_000,
        // The deadline is what ends retries, unless the client was given a number of them.
        retry: { ...client.retry, retries: client.areRetriesGiven ? client.retry.retries : Infinity },
      },
    },
    // Without serializers K and V are what the default takes.
    serializers: {
      key: key ?? (plain as Serializer<never>),
      value: value ?? (plain as Serializer<never>),
    },
    partitioner: options.partitioner,
  }
}
