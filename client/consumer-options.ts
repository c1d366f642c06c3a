// The options of a consumer and of its ways to run: names, ranges, defaults.

import { ASSIGNORS, type Assignor, type AssignorName } from './assignors.ts'
import type { Batch } from './consumer-batch.ts'
import { errorOf } from './errors.ts'
import type { FetchPumpSettings } from './fetch-pump.ts'
import {
  checkOptions,
  integerFrom,
  isBoolean,
  isFunction,
  isSignal,
  keyAndValueSerde,
  oneOf,
  type Rule,
  topicName,
} from './options.ts'
import type { Message } from './record-chunk.ts'
import type { Deserializer } from './serializers.ts'

export interface ConsumerOptions<K, V> {
  /** The name of the group, 1 to 255 characters. */
  readonly groupId: string
  /** Topics that do not exist yet are waited for. */
  readonly topics: readonly string[] | string
  /** Where a partition begins for which the group has committed nothing: at its first record, or (the default) at its end. */
  readonly fromBeginning?: boolean | undefined
  /** Default: the bytes as they are, as Buffers. */
  readonly deserializers?:
    { readonly key?: Deserializer<K> | undefined; readonly value?: Deserializer<V> | undefined } | undefined
  /** Milliseconds without a word after which a member counts as dead. Heartbeats do not depend on handlers. Default 45,000. */
  readonly sessionTimeoutMs?: number | undefined
  /** Milliseconds between heartbeats, at most half the session. Default a third of it. */
  readonly heartbeatIntervalMs?: number | undefined
  /** Milliseconds that a handler may take before its member leaves, so that others go on. Default 300,000. */
  readonly maxPollIntervalMs?: number | undefined
  /**
   * Whether what is done is committed by itself: every so many milliseconds, before partitions move, and on close. Default
   * every 5,000. false leaves it to commit().
   */
  readonly autoCommit?: boolean | { readonly everyMs?: number | undefined } | undefined
  /** A name of its own makes the member a static one: coming back under it within the session moves no partition. */
  readonly instanceId?: string | undefined
  /** How partitions are shared out, the preferred way first. Default 'cooperative-sticky'. */
  readonly assignors?: readonly AssignorName[] | AssignorName | undefined
  /** Bytes fetched ahead of the handlers, at most; each partition has its share. Default 16 MiB. */
  readonly maxBytes?: number | undefined
  /** Bytes of one fetch, at most. Default 4 MiB, or a quarter of maxBytes. */
  readonly fetchBytes?: number | undefined
  /** Milliseconds that a broker waits for records before it answers that there are none. Default 5,000. */
  readonly maxWaitMs?: number | undefined
  /** Whether to compare the checksum of every batch. Default true. */
  readonly checkCrc?: boolean | undefined
  /** Where to go on when an offset is not there (any more). Default 'earliest' with fromBeginning, else 'latest'. */
  readonly onOutOfRange?: 'error' | 'earliest' | 'latest' | undefined
  /** What to do about records that were lost to corruption: stop at them with an error, or pass over them. Default error. */
  readonly onQuarantined?: 'error' | 'skip' | undefined
  /** Milliseconds between `lag` events. Default 5,000. */
  readonly lagEveryMs?: number | undefined
  /** Milliseconds after which the leader of the group looks for new partitions. Default 10,000. */
  readonly topicsRefreshMs?: number | undefined
  /** Closes the consumer. */
  readonly signal?: AbortSignal | undefined
}

export interface EachMessagePayload<K, V> {
  readonly topic: string
  readonly partition: number
  readonly message: Message<K, V>
  /** Fires when the result is not wanted any more: the partition was lost, or the consumer closes and waits no longer. */
  readonly signal: AbortSignal
}

export interface EachBatchPayload<K, V> {
  readonly batch: Batch<K, V>
  /** Everything up to this offset, inclusive, is done, and may be committed. */
  resolve(offset: number): void
  /**
   * Whether the partition is to move, or the consumer closes: the rest need not be done. A handler that returns is taken to
   * have done the whole batch, unless this has told it so: then only what it resolved.
   */
  isStale(): boolean
  /** Fires when the result is not wanted any more: the partition was lost, or the consumer closes and waits no longer. */
  readonly signal: AbortSignal
}

/** What becomes of a record whose handler has failed. */
export interface OnErrorOptions {
  readonly action: 'retry' | 'skip' | 'dead-letter'
  /** Tries after the first. Default: for ever to retry, none to skip, 2 before a dead letter. Who retries and has used them up ends. */
  readonly retries?: number | undefined
  /** Milliseconds before the first retry, doubled with each. Default 100. */
  readonly minMs?: number | undefined
  /** Milliseconds before any retry, at most. Default 30,000. */
  readonly maxMs?: number | undefined
  /** The topic for dead letters. Default: the topic of the record with '.dead-letter' behind it. */
  readonly topic?: string | undefined
}

export interface RunOptions<K, V> {
  /** Is given one record at a time; it is done when the promise resolves. */
  readonly eachMessage?: ((payload: EachMessagePayload<K, V>) => unknown) | undefined
  /** Is given the records of a partition batch by batch; all are done when the promise resolves. */
  readonly eachBatch?: ((payload: EachBatchPayload<K, V>) => unknown) | undefined
  /** Handlers that run at once. Default 1. */
  readonly concurrency?: number | undefined
  /** Of what the order is kept: one handler at a time for each partition (the default), or for each key of it. */
  readonly order?: 'partition' | 'key' | undefined
  /** When a handler throws. Default 'retry', for ever. */
  readonly onError?: OnErrorOptions['action'] | OnErrorOptions | undefined
  /** Closes the consumer. */
  readonly signal?: AbortSignal | undefined
}

export interface ConsumerSettings {
  readonly groupId: string
  readonly topics: readonly string[]
  readonly fromBeginning: boolean
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly maxPollIntervalMs: number
  /** undefined: nothing is committed by itself. */
  readonly autoCommitEveryMs: number | undefined
  readonly instanceId: string | undefined
  readonly assignors: readonly Assignor[]
  readonly checkCrc: boolean
  readonly lagEveryMs: number
  readonly topicsRefreshMs: number
  readonly pump: FetchPumpSettings
}

export interface ErrorPolicy {
  readonly action: OnErrorOptions['action']
  readonly retries: number
  readonly backoff: { readonly minMs: number; readonly maxMs: number }
  readonly topic: string | undefined
}

export interface RunSettings {
  readonly concurrency: number
  readonly order: 'partition' | 'key'
  readonly onError: ErrorPolicy
}

const GROUP_ID_LENGTH_MAX = 255
const TIMEOUT_MS_MAX = 0x7fff_ffff

/** Also for the administration of groups. */
export const groupName: Rule = (value) =>
  typeof value === 'string' && value.length > 0 && value.length <= GROUP_ID_LENGTH_MAX
    ? undefined
    : `the name of a group, 1 to ${GROUP_ID_LENGTH_MAX} characters`

const isTopics: Rule = (value) => {
  const list: unknown = typeof value === 'string' ? [value] : value
  return Array.isArray(list) && list.length > 0 && list.every((one) => topicName(one) === undefined)
    ? undefined
    : 'a topic name or an array of them, not empty'
}

const isAutoCommit: Rule = (value) => {
  if (typeof value === 'boolean') return undefined
  if (typeof value !== 'object' || value === null || Object.keys(value).some((name) => name !== 'everyMs')) {
    return 'true, false or { everyMs }'
  }
  const { everyMs } = value as { readonly everyMs?: unknown }
  return everyMs === undefined || integerFrom(1, TIMEOUT_MS_MAX)(everyMs) === undefined
    ? undefined
    : '{ everyMs }, in milliseconds from 1 on'
}

const isAssignors: Rule = (value) => {
  const list: unknown = typeof value === 'string' ? [value] : value
  const names = Object.keys(ASSIGNORS)
  return Array.isArray(list) && list.length > 0 && list.every((one) => names.includes(String(one)))
    ? undefined
    : `one or more of ${names.join(', ')}`
}

const CONSUMER_RULES = {
  groupId: groupName,
  topics: isTopics,
  fromBeginning: isBoolean,
  deserializers: keyAndValueSerde,
  sessionTimeoutMs: integerFrom(1, TIMEOUT_MS_MAX),
  heartbeatIntervalMs: integerFrom(1, TIMEOUT_MS_MAX),
  maxPollIntervalMs: integerFrom(1, TIMEOUT_MS_MAX),
  autoCommit: isAutoCommit,
  instanceId: groupName,
  assignors: isAssignors,
  maxBytes: integerFrom(1_024),
  fetchBytes: integerFrom(1_024, 48 * 1024 * 1024),
  maxWaitMs: integerFrom(0, 600_000),
  checkCrc: isBoolean,
  onOutOfRange: oneOf('error', 'earliest', 'latest'),
  onQuarantined: oneOf('error', 'skip'),
  lagEveryMs: integerFrom(1, TIMEOUT_MS_MAX),
  topicsRefreshMs: integerFrom(10, TIMEOUT_MS_MAX),
  signal: isSignal,
} satisfies Record<string, Rule>

const isOnError: Rule = (value) =>
  typeof value === 'object' ? undefined : oneOf('retry', 'skip', 'dead-letter')(value)

const RUN_RULES = {
  eachMessage: isFunction,
  eachBatch: isFunction,
  concurrency: integerFrom(1, 10_000),
  order: oneOf('partition', 'key'),
  onError: isOnError,
  signal: isSignal,
} satisfies Record<string, Rule>

const ON_ERROR_RULES = {
  action: oneOf('retry', 'skip', 'dead-letter'),
  retries: integerFrom(0),
  minMs: integerFrom(1, TIMEOUT_MS_MAX),
  maxMs: integerFrom(1, TIMEOUT_MS_MAX),
  topic: topicName,
} satisfies Record<string, Rule>

/** @throws INVALID_ARGUMENT. */
export function readConsumerOptions<K, V>(options: ConsumerOptions<K, V>): ConsumerSettings {
  checkOptions('consumer', options, CONSUMER_RULES)
  for (const name of ['groupId', 'topics'] as const) {
    if (options[name] === undefined) throw errorOf('INVALID_ARGUMENT', `consumer: ${name} must be given`)
  }
  const { groupId, topics, fromBeginning = false, autoCommit = true } = options
  const sessionTimeoutMs = options.sessionTimeoutMs ?? 45_000
  const heartbeatIntervalMs = options.heartbeatIntervalMs ?? Math.max(1, Math.floor(sessionTimeoutMs / 3))
  if (heartbeatIntervalMs > Math.max(1, sessionTimeoutMs / 2)) {
    const text = `consumer: heartbeatIntervalMs must be at most half of sessionTimeoutMs (${sessionTimeoutMs})`
    throw errorOf('INVALID_ARGUMENT', `${text}, not ${heartbeatIntervalMs}`)
  }
  const names = options.assignors ?? 'cooperative-sticky'
  const bufferBytes = options.maxBytes ?? 16 * 1024 * 1024
  const fetchBytes = Math.min(options.fetchBytes ?? 4 * 1024 * 1024, Math.max(1_024, Math.floor(bufferBytes / 4)))
  return {
    groupId,
    topics: [...new Set(typeof topics === 'string' ? [topics] : topics)].sort(),
    fromBeginning,
    sessionTimeoutMs,
    heartbeatIntervalMs,
    maxPollIntervalMs: options.maxPollIntervalMs ?? 300_000,
    autoCommitEveryMs:
      autoCommit === false ? undefined : ((autoCommit === true ? undefined : autoCommit.everyMs) ?? 5_000),
    instanceId: options.instanceId,
    assignors: (typeof names === 'string' ? [names] : [...new Set(names)]).map((name) => ASSIGNORS[name]),
    checkCrc: options.checkCrc ?? true,
    lagEveryMs: options.lagEveryMs ?? 5_000,
    topicsRefreshMs: options.topicsRefreshMs ?? 10_000,
    pump: {
      planner: { bufferBytes, fetchBytes, partitionBytes: Math.min(fetchBytes, 1024 * 1024), isShared: true },
      maxWaitMs: options.maxWaitMs ?? 5_000,
      onOutOfRange: options.onOutOfRange ?? (fromBeginning ? 'earliest' : 'latest'),
      onQuarantined: options.onQuarantined ?? 'error',
      // It waits for as long as it takes, and says for what.
      unavailableTimeoutMs: Infinity,
    },
  }
}

const RETRIES = { retry: Infinity, skip: 0, 'dead-letter': 2 } as const

/** @throws INVALID_ARGUMENT. */
export function readRunOptions<K, V>(options: RunOptions<K, V>): RunSettings {
  checkOptions('run', options, RUN_RULES)
  if ((options.eachMessage === undefined) === (options.eachBatch === undefined)) {
    throw errorOf('INVALID_ARGUMENT', 'run: expects either eachMessage or eachBatch')
  }
  const { onError = 'retry', order = 'partition' } = options
  if (options.eachBatch !== undefined && order === 'key') {
    throw errorOf('INVALID_ARGUMENT', "run: order 'key' is for eachMessage only")
  }
  const policy = typeof onError === 'string' ? { action: onError } : onError
  checkOptions('run: onError', policy, ON_ERROR_RULES)
  if (policy.action === undefined) throw errorOf('INVALID_ARGUMENT', 'run: onError: action must be given')
  const minMs = policy.minMs ?? 100
  return {
    concurrency: options.concurrency ?? 1,
    order,
    onError: {
      action: policy.action,
      retries: policy.retries ?? RETRIES[policy.action],
      backoff: { minMs, maxMs: Math.max(minMs, policy.maxMs ?? 30_000) },
      topic: policy.topic,
    },
  }
}
