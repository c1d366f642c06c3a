// The options of reading: names, ranges, defaults.

import type { FetchPlannerOptions } from './fetch-planner.ts'
import {
  checkOptions,
  integerFrom,
  isBoolean,
  isSignal,
  keyAndValueSerde,
  oneOf,
  type Rule,
  topicName,
} from './options.ts'
import { errorOf } from './errors.ts'
import { parsePosition, positionsByPartition, type ReadPositions } from './read-position.ts'
import type { Deserializer } from './serializers.ts'

export interface ReadOptions<K, V> {
  /** Where to begin. Default 'start'. */
  readonly from?: ReadPositions | undefined
  /** Where to end, exclusive, settled at the beginning. Default: never. */
  readonly to?: ReadPositions | undefined
  /** Default: all, or those that `from` names. */
  readonly partitions?: readonly number[] | undefined
  readonly signal?: AbortSignal | undefined
  /** Bytes fetched ahead of the application, at most. Default 16 MiB. */
  readonly maxBytes?: number | undefined
  /** Bytes of one fetch, at most. Default 4 MiB, or a quarter of maxBytes. */
  readonly fetchBytes?: number | undefined
  /** Milliseconds that a broker waits for records before it answers that there are none. Default 5,000. */
  readonly maxWaitMs?: number | undefined
  /** Default: the bytes as they are, as Buffers. */
  readonly deserializers?:
    { readonly key?: Deserializer<K> | undefined; readonly value?: Deserializer<V> | undefined } | undefined
  /** Whether to compare the checksum of every batch. Default true. */
  readonly checkCrc?: boolean | undefined
  /** What to do when an offset is not there (any more): end in an error, or go on at an end of the partition. */
  readonly onOutOfRange?: 'error' | 'earliest' | 'latest' | undefined
  /**
   * What to do about records that were lost to corruption, be it that the broker has put their offsets in quarantine or
   * that a batch arrives damaged: end in a QuarantinedError or CorruptBatchError, whose nextOffset says where reading can
   * go on, or pass over them with a warning in the log. Default error.
   */
  readonly onQuarantined?: 'error' | 'skip' | undefined
  /** Milliseconds for which a partition may be out of reach before the reader ends in an error. Default 120,000. */
  readonly unavailableTimeoutMs?: number | undefined
}

export interface ReadSettings {
  readonly from: ReadPositions
  readonly to: ReadPositions | undefined
  readonly partitions: readonly number[] | undefined
  readonly maxWaitMs: number
  readonly checkCrc: boolean
  readonly onOutOfRange: 'error' | 'earliest' | 'latest'
  readonly onQuarantined: 'error' | 'skip'
  readonly unavailableTimeoutMs: number
  readonly planner: FetchPlannerOptions
}

const isPartitionList: Rule = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((one) => integerFrom(0)(one) === undefined)
    ? undefined
    : 'an array of partition numbers, not empty'

/** Anything: positions are checked by what reads them. */
const isPosition: Rule = () => undefined

const RULES = {
  from: isPosition,
  to: isPosition,
  partitions: isPartitionList,
  signal: isSignal,
  maxBytes: integerFrom(1_024),
  fetchBytes: integerFrom(1_024, 48 * 1024 * 1024),
  maxWaitMs: integerFrom(0, 600_000),
  deserializers: keyAndValueSerde,
  checkCrc: isBoolean,
  onOutOfRange: oneOf('error', 'earliest', 'latest'),
  onQuarantined: oneOf('error', 'skip'),
  unavailableTimeoutMs: integerFrom(1),
}

/** @throws INVALID_ARGUMENT. */
export function readReadOptions<K, V>(
  topic: string,
  options: ReadOptions<K, V>,
): { settings: ReadSettings; key: Deserializer<K> | undefined; value: Deserializer<V> | undefined } {
  const expected = topicName(topic)
  if (expected !== undefined) throw errorOf('INVALID_ARGUMENT', `read: expects ${expected}`)
  checkOptions('read', options, RULES)
  const { from = 'start', to } = options
  checkPositions(from, 'from')
  if (to !== undefined) checkPositions(to, 'to')
  const bufferBytes = options.maxBytes ?? 16 * 1024 * 1024
  const fetchBytes = Math.min(options.fetchBytes ?? 4 * 1024 * 1024, Math.max(1_024, Math.floor(bufferBytes / 4)))
  return {
    settings: {
      from,
      to,
      partitions: options.partitions === undefined ? undefined : [...new Set(options.partitions)],
      maxWaitMs: options.maxWaitMs ?? 5_000,
      checkCrc: options.checkCrc ?? true,
      onOutOfRange: options.onOutOfRange ?? 'error',
      onQuarantined: options.onQuarantined ?? 'error',
      unavailableTimeoutMs: options.unavailableTimeoutMs ?? 120_000,
      planner: { bufferBytes, fetchBytes, partitionBytes: Math.min(fetchBytes, 1024 * 1024) },
    },
    key: options.deserializers?.key,
    value: options.deserializers?.value,
  }
}

function checkPositions(positions: ReadPositions, name: string): void {
  const byPartition = positionsByPartition(positions)
  // The time of day matters only for what a span means, not for whether it is one.
  for (const position of byPartition?.values() ?? [positions])
    parsePosition(position as string, name, Date.UTC(2100, 0))
}
