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
  /** Undefined: the log is not compacted, and may have records without keys. */
  readonly compaction: CompactionConfig | undefined
}

/** When a log is compacted, and what stays. */
export interface CompactionConfig {
  /** Share of the log that must be dirty before it is worth a pass. */
  readonly dirtyRatioMin: number
  /** Records stay as they are for so long, at least; */
  readonly lagMsMin: number
  /** and are looked at after so long at the latest. */
  readonly lagMsMax: number
  /** How long a tombstone stays behind what it has deleted. */
  readonly tombstoneMs: number
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

/** A number from 0 to 1. */
export interface RatioRow {
  readonly type: 'ratio'
  readonly default: number
  readonly about: string
}

/** One of the choices, or several with commas between them. */
export interface ListRow {
  readonly type: 'list'
  readonly default: string
  readonly choices: readonly string[]
  readonly about: string
}

export type ConfigRow = NumberRow | ChoiceRow | RatioRow | ListRow

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
  'cleanup.policy': list(
    'delete',
    ['delete', 'compact'],
    'How old records are taken away: whole segments by age and size (delete), what newer records of the same key have superseded (compact), or both (compact,delete).',
  ),
  'min.cleanable.dirty.ratio': ratio(
    0.5,
    'The share of a compacted log that must be new before it is compacted again.',
  ),
  'min.compaction.lag.ms': number(
    0,
    0,
    FOREVER,
    'ms',
    'How long a record of a compacted topic stays at least, superseded or not.',
  ),
  'max.compaction.lag.ms': number(
    FOREVER,
    1,
    FOREVER,
    'ms',
    'After how long a superseded record is taken away at the latest, however little is new.',
  ),
  'delete.retention.ms': number(
    86_400_000,
    0,
    FOREVER,
    'ms',
    'How long a tombstone stays in a compacted topic once what it deletes is gone.',
  ),
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
  'unclean.leader.election.enable': choice(
    'false',
    ['false'],
    'Never by itself: only an operator accepts that records are lost, partition by partition.',
  ),
  preallocate: choice('false', ['false'], 'Segment files grow as they are written.'),
  'remote.storage.enable': choice('false', ['false'], 'Records are on the disks of the brokers only.'),
  'message.downconversion.enable': choice(
    'false',
    ['false', 'true'],
    'Has no effect: records are given out as they are stored.',
  ),
  'file.delete.delay.ms': number(60_000, 0, FOREVER, 'ms', 'Has no effect: files go when nobody reads them any more.'),
  'segment.jitter.ms': number(0, 0, FOREVER, 'ms', 'Has no effect: segments are rolled when segment.ms is over.'),
  'segment.index.bytes': number(10_485_760, 4, SEGMENT_BYTES_MAX, 'bytes', 'Has no effect: an index grows as needed.'),
  durability: choice(
    'os',
    ['os', 'fsync'],
    'When a record is acknowledged: in the page cache of the system (os), or on stable storage (fsync).',
  ),
} as const satisfies Record<string, ConfigRow>

export type TopicConfigName = keyof typeof TOPIC_CONFIG

/** What tools of Kafka write and read back; there is nothing to carry out. */
const CHECKED_CHOICES = [
  'compression.type',
  'unclean.leader.election.enable',
  'preallocate',
  'remote.storage.enable',
  'message.downconversion.enable',
] as const
const CHECKED_NUMBERS = ['file.delete.delay.ms', 'segment.jitter.ms', 'segment.index.bytes'] as const

/** Keys that Kafka has and this broker does not; named so that the refusal can say so. */
const UNSUPPORTED_KEYS: readonly string[] = [
  'follower.replication.throttled.replicas',
  'leader.replication.throttled.replicas',
  'local.retention.bytes',
  'local.retention.ms',
  'message.format.version',
  'message.timestamp.difference.max.ms',
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
  for (const name of CHECKED_CHOICES) choiceOf(name)
  for (const name of CHECKED_NUMBERS) numberOf(name)
  const policy = parseList(
    'cleanup.policy',
    TOPIC_CONFIG['cleanup.policy'],
    entries['cleanup.policy'] ?? defaults['cleanup.policy'],
  )
  const isDeleted = policy.includes('delete')
  const ratioName = 'min.cleanable.dirty.ratio'
  const compaction = {
    dirtyRatioMin: parseRatio(ratioName, TOPIC_CONFIG[ratioName], entries[ratioName] ?? defaults[ratioName]),
    lagMsMin: numberOf('min.compaction.lag.ms'),
    lagMsMax: numberOf('max.compaction.lag.ms'),
    tombstoneMs: numberOf('delete.retention.ms'),
  }
  if (compaction.lagMsMin > compaction.lagMsMax) {
    const text = `min.compaction.lag.ms=${compaction.lagMsMin} is above max.compaction.lag.ms=${compaction.lagMsMax}`
    throw new TidemarkError('INVALID_CONFIG', text)
  }
  const segmentMs = numberOf('segment.ms')
  const isCompacted = policy.includes('compact')
  return {
    durability: durabilityOf(entries, defaults),
    retentionMs: isDeleted ? unlessNegative(numberOf('retention.ms')) : undefined,
    retentionBytes: isDeleted ? unlessNegative(numberOf('retention.bytes')) : undefined,
    segmentBytes: numberOf('segment.bytes'),
    // What is in the active segment is not compacted.
    segmentMs: isCompacted ? Math.min(segmentMs, compaction.lagMsMax) : segmentMs,
    minInSyncReplicas: numberOf('min.insync.replicas'),
    maxMessageBytes: numberOf('max.message.bytes'),
    timestampType: choiceOf('message.timestamp.type') === 'LogAppendTime' ? 'LogAppendTime' : 'CreateTime',
    timestampBeforeMsMax: numberOf('message.timestamp.before.max.ms'),
    timestampAfterMsMax: numberOf('message.timestamp.after.max.ms'),
    indexIntervalBytes: numberOf('index.interval.bytes'),
    flushMs: numberOf('flush.ms'),
    compaction: isCompacted ? compaction : undefined,
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
  throw new TidemarkError(
    'INVALID_CONFIG',
    `${name}=${quoted(text)} is not allowed: ${row.choices.map(quoted).join(' or ')} is`,
  )
}

function parseList(name: string, row: ListRow, text: string = row.default): string[] {
  const values = text.split(',').map((value) => value.trim())
  if (values.every((value) => row.choices.includes(value))) return values
  const choices = row.choices.map(quoted).join(' or ')
  throw new TidemarkError(
    'INVALID_CONFIG',
    `${name}=${quoted(text)} is not allowed: ${choices} is, or both with a comma between them`,
  )
}

function parseRatio(name: string, row: RatioRow, text: string | undefined): number {
  if (text === undefined) return row.default
  const value = /^\d{1,3}(\.\d{1,17})?$/.test(text) ? Number(text) : NaN
  if (value >= 0 && value <= 1) return value
  throw new TidemarkError('INVALID_CONFIG', `${name}=${quoted(text)} is not allowed: a number from 0 to 1 is`)
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

function ratio(value: number, about: string): RatioRow {
  return { type: 'ratio', default: value, about }
}

function list(value: string, choices: readonly string[], about: string): ListRow {
  return { type: 'list', default: value, choices, about }
}
