// What can be configured of a topic, one row a key. Owns names, defaults, ranges and the sentences that explain them; the
// documentation is made from these rows. Names that Kafka knows mean here what they mean there. Knows nothing of how
// a setting is carried out.

import { TidemarkError } from '../../shared/errors.ts'
import { BATCH_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN } from '../../shared/limits.ts'

export type Durability = 'os' | 'fsync'
export type TopicTimestampType = 'CreateTime' | 'LogAppendTime'

/** The settings of one topic, parsed. Bytes and milliseconds are safe integers; -1 is undefined here. */
export interface LogConfig {
  readonly durability: Durability
  /** Undefined: time takes nothing away. */
  readonly retentionMs: number | undefined
  /** Undefined: size takes nothing away. */
  readonly retentionBytes: number | undefined
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly minInSyncReplicas: number
  readonly maxMessageBytes: number
  readonly timestampType: TopicTimestampType
  readonly timestampBeforeMsMax: number
  readonly timestampAfterMsMax: number
  readonly indexIntervalBytes: number
  readonly flushMs: number
}

export interface NumberRow {
  readonly type: 'number'
  readonly default: number
  readonly min: number
  readonly max: number
  readonly unit: 'ms' | 'bytes' | 'records' | 'replicas'
  readonly about: string
}

export interface ChoiceRow {
  readonly type: 'choice'
  readonly default: string
  readonly choices: readonly string[]
  readonly about: string
}

export type ConfigRow = NumberRow | ChoiceRow

const FOREVER = Number.MAX_SAFE_INTEGER

export const TOPIC_CONFIG = {
  'retention.ms': number(604_800_000, -1, FOREVER, 'ms', 'How long records are kept; -1 for ever.'),
  'retention.bytes': number(-1, -1, FOREVER, 'bytes', 'How many bytes a partition keeps at least; -1 without limit.'),
  'segment.bytes': number(
    1_073_741_824,
    SEGMENT_BYTES_MIN,
    SEGMENT_BYTES_MAX,
    'bytes',
    'How large a segment may grow. Retention takes away whole segments.',
  ),
  'segment.ms': number(604_800_000, 1, FOREVER, 'ms', 'How long a segment is written to, however small it is.'),
  'cleanup.policy': choice('delete', ['delete'], 'How old records are taken away. Compaction is not supported.'),
  'min.insync.replicas': number(
    1,
    1,
    32_767,
    'replicas',
    'How many replicas must hold a record before acks=all says yes.',
  ),
  'max.message.bytes': number(
    1_048_588,
    61,
    BATCH_BYTES_MAX,
    'bytes',
    'How large a record batch may be, as it is stored.',
  ),
  'message.timestamp.type': choice(
    'CreateTime',
    ['CreateTime', 'LogAppendTime'],
    'Whether records keep the time of their producer or get that of the broker.',
  ),
  'message.timestamp.before.max.ms': number(
    FOREVER,
    0,
    FOREVER,
    'ms',
    "How far the youngest timestamp of a batch may lie behind the broker's clock.",
  ),
  'message.timestamp.after.max.ms': number(
    FOREVER,
    0,
    FOREVER,
    'ms',
    "How far the youngest timestamp of a batch may lie ahead of the broker's clock.",
  ),
  'compression.type': choice('producer', ['producer'], 'Batches are stored as their producer compressed them.'),
  'index.interval.bytes': number(4_096, 0, SEGMENT_BYTES_MAX, 'bytes', 'How many bytes lie between two index entries.'),
  'flush.ms': number(
    FOREVER,
    0,
    FOREVER,
    'ms',
    "How long records wait for stable storage at most; the broker's flush.interval.ms when that is shorter.",
  ),
  'flush.messages': number(FOREVER, 1, FOREVER, 'records', '1 means durability=fsync; other values have no effect.'),
  durability: choice(
    'os',
    ['os', 'fsync'],
    'When a record is acknowledged: in the page cache of the system (os), or on stable storage (fsync).',
  ),
} as const satisfies Record<string, ConfigRow>

export type TopicConfigName = keyof typeof TOPIC_CONFIG

/** Keys that Kafka has and this broker does not; named so that the refusal can say so. */
const UNSUPPORTED_KEYS: readonly string[] = [
  'delete.retention.ms',
  'file.delete.delay.ms',
  'follower.replication.throttled.replicas',
  'leader.replication.throttled.replicas',
  'local.retention.bytes',
  'local.retention.ms',
  'max.compaction.lag.ms',
  'message.downconversion.enable',
  'message.format.version',
  'message.timestamp.difference.max.ms',
  'min.cleanable.dirty.ratio',
  'min.compaction.lag.ms',
  'preallocate',
  'remote.storage.enable',
  'segment.index.bytes',
  'segment.jitter.ms',
  'unclean.leader.election.enable',
]

export type ConfigEntries = Readonly<Record<string, string>>

export interface DescribedConfig {
  readonly name: TopicConfigName
  readonly value: string
  readonly type: ConfigRow['type']
  readonly unit: NumberRow['unit'] | undefined
  readonly isDefault: boolean
  /** Who set the value: the topic, the broker for all topics, or nobody. */
  readonly source: 'topic' | 'broker' | 'default'
  readonly about: string
}

/** The settings that result from a topic's entries over the broker's. @throws INVALID_CONFIG naming key and value. */
export function parseTopicConfig(entries: ConfigEntries, defaults: ConfigEntries = {}): LogConfig {
  for (const key of [...Object.keys(defaults), ...Object.keys(entries)]) checkKey(key)
  const numberOf = (name: NumberName): number => parseNumber(name, TOPIC_CONFIG[name], entries[name] ?? defaults[name])
  const choiceOf = (name: ChoiceName): string => parseChoice(name, TOPIC_CONFIG[name], entries[name] ?? defaults[name])
  choiceOf('cleanup.policy')
  choiceOf('compression.type')
  return {
    durability: durabilityOf(entries, defaults),
    retentionMs: unlessNegative(numberOf('retention.ms')),
    retentionBytes: unlessNegative(numberOf('retention.bytes')),
    segmentBytes: numberOf('segment.bytes'),
    segmentMs: numberOf('segment.ms'),
    minInSyncReplicas: numberOf('min.insync.replicas'),
    maxMessageBytes: numberOf('max.message.bytes'),
    timestampType: choiceOf('message.timestamp.type') === 'LogAppendTime' ? 'LogAppendTime' : 'CreateTime',
    timestampBeforeMsMax: numberOf('message.timestamp.before.max.ms'),
    timestampAfterMsMax: numberOf('message.timestamp.after.max.ms'),
    indexIntervalBytes: numberOf('index.interval.bytes'),
    flushMs: numberOf('flush.ms'),
  }
}

/**
 * How many replicas of a topic must hold a record before it is acknowledged: what the topic says, else what the broker says
 * for all topics, else the majority of its replicas. @throws INVALID_CONFIG for what is no number, or more than there are
 */
export function minInSyncReplicasOf(
  topic: { readonly replicationFactor: number; readonly config: ConfigEntries },
  defaults: ConfigEntries = {},
): number {
  const name = 'min.insync.replicas'
  const { replicationFactor, config } = topic
  const text = config[name] ?? defaults[name]
  if (text === undefined) return Math.floor(replicationFactor / 2) + 1
  const value = parseNumber(name, TOPIC_CONFIG[name], text)
  if (value <= replicationFactor) return value
  const whose =
    config[name] === undefined ? `${name}=${value}, which the broker sets for all topics,` : `${name}=${value}`
  throw new TidemarkError(
    'INVALID_CONFIG',
    `${whose} is above the replication factor, which is ${replicationFactor}; lower it, or ask for more replicas`,
  )
}

/** Every key with its value in force, in the order of the table. @throws INVALID_CONFIG as parseTopicConfig. */
export function describeTopicConfig(entries: ConfigEntries, defaults: ConfigEntries = {}): DescribedConfig[] {
  parseTopicConfig(entries, defaults)
  const described: DescribedConfig[] = []
  for (const name of Object.keys(TOPIC_CONFIG) as TopicConfigName[]) {
    const row: ConfigRow = TOPIC_CONFIG[name]
    const source = entries[name] !== undefined ? 'topic' : defaults[name] !== undefined ? 'broker' : 'default'
    described.push({
      name,
      value: entries[name] ?? defaults[name] ?? String(row.default),
      type: row.type,
      unit: row.type === 'number' ? row.unit : undefined,
      isDefault: source === 'default',
      source,
      about: row.about,
    })
  }
  return described
}

type NumberName = { [K in TopicConfigName]: (typeof TOPIC_CONFIG)[K] extends NumberRow ? K : never }[TopicConfigName]
type ChoiceName = { [K in TopicConfigName]: (typeof TOPIC_CONFIG)[K] extends ChoiceRow ? K : never }[TopicConfigName]

/** `durability` itself, wherever it is set; otherwise Kafka's way of asking for a sync a message. */
function durabilityOf(entries: ConfigEntries, defaults: ConfigEntries): Durability {
  for (const level of [entries, defaults]) {
    const value = level['durability']
    const perMessage = parseNumber('flush.messages', TOPIC_CONFIG['flush.messages'], level['flush.messages']) === 1
    if (value !== undefined) {
      const durability = parseChoice('durability', TOPIC_CONFIG.durability, value)
      if (durability === 'os' && perMessage) {
        throw new TidemarkError('INVALID_CONFIG', 'durability=os and flush.messages=1 contradict each other')
      }
      return durability === 'fsync' ? 'fsync' : 'os'
    }
    if (perMessage) return 'fsync'
  }
  return 'os'
}

function parseNumber(name: string, row: NumberRow, text: string | undefined): number {
  if (text === undefined) return row.default
  const value = /^-?\d{1,19}$/.test(text) ? Number(text) : NaN
  // Kafka writes "without limit" as the greatest 64-bit number, which stands for ours.
  const bounded = row.max === FOREVER && value > FOREVER ? FOREVER : value
  if (!(bounded >= row.min && bounded <= row.max)) {
    throw new TidemarkError(
      'INVALID_CONFIG',
      `${name}=${quoted(text)} is not allowed: an integer from ${row.min} to ${row.max} (${row.unit}) is`,
    )
  }
  return bounded
}

function parseChoice(name: string, row: ChoiceRow, text: string | undefined): string {
  if (text === undefined) return row.default
  if (row.choices.includes(text)) return text
  const hint = name === 'cleanup.policy' && text.includes('compact') ? '; compaction is not supported' : ''
  throw new TidemarkError(
    'INVALID_CONFIG',
    `${name}=${quoted(text)} is not allowed: ${row.choices.map(quoted).join(' or ')} is${hint}`,
  )
}

function checkKey(key: string): void {
  if (Object.hasOwn(TOPIC_CONFIG, key)) return
  if (UNSUPPORTED_KEYS.includes(key)) {
    throw new TidemarkError('INVALID_CONFIG', `${key} is a key of Kafka that this broker does not support`)
  }
  const nearest = nearestKey(key)
  const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`
  throw new TidemarkError('INVALID_CONFIG', `there is no topic setting ${quoted(key)}${hint}`)
}

function nearestKey(key: string): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(key.length / 3)) + 1
  for (const name of Object.keys(TOPIC_CONFIG)) {
    const distance = editDistance(key.slice(0, 64), name)
    if (distance < bestDistance) {
      best = name
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function unlessNegative(value: number): number | undefined {
  return value < 0 ? undefined : value
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
}

function number(value: number, min: number, max: number, unit: NumberRow['unit'], about: string): NumberRow {
  return { type: 'number', default: value, min, max, unit, about }
}

function choice(value: string, choices: readonly string[], about: string): ChoiceRow {
  return { type: 'choice', default: value, choices, about }
}
