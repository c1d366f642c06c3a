// Every setting of a broker, one row each: flags, environment variables, keys of the config file, Kafka's names and the
// documentation are all derived from the rows. Owns names, types, ranges and defaults; reads no file and no environment.
//
// A setting is written in any of these ways and means the same: data-dir, dataDir, data.dir, DATA_DIR.

import { TidemarkError } from '../shared/errors.ts'
import { PARTITIONS_PER_TOPIC_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, BATCH_BYTES_MAX } from '../shared/limits.ts'

export type OptionType = 'string' | 'integer' | 'boolean' | 'address'

export interface OptionRow {
  /** As a flag, without the dashes in front. */
  readonly name: string
  /** Other names it may be given by, such as Kafka's. */
  readonly aliases?: readonly string[]
  readonly type: OptionType
  /** Absent: the broker decides; `about` says how. */
  readonly default?: string | number | boolean
  readonly min?: number
  readonly max?: number
  /** With bytes, 64MiB or 1g are understood as well; with ms, 500ms, 10s, 5m, 2h or 7d. */
  readonly unit?: 'bytes' | 'ms' | 'count'
  /** The only values of a string that are legal. */
  readonly values?: readonly string[]
  /** Whether it speaks of this process, or should be the same on all brokers of a cluster. */
  readonly scope: 'process' | 'cluster'
  /** Never shown. */
  readonly secret?: boolean
  /** The topic setting that it is the default of. */
  readonly topicConfig?: string
  readonly about: string
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const DAY_MS = 86_400_000

const TABLE = {
  listen: {
    type: 'address',
    default: '127.0.0.1:9092',
    scope: 'process',
    about: 'Where clients connect, both protocols on one port. Port 0 picks a free one.',
  },
  advertise: {
    type: 'address',
    scope: 'process',
    about: 'What clients are told to connect to, where that is not the listening address.',
  },
  http: {
    type: 'address',
    default: '127.0.0.1:9644',
    scope: 'process',
    about: 'Metrics, health and the console; off for none.',
  },
  'data-dir': {
    aliases: ['log.dir', 'log.dirs'],
    type: 'string',
    default: './data',
    scope: 'process',
    about: 'Where everything is kept; memory keeps it in memory, and nothing survives the process.',
  },
  cluster: {
    aliases: ['cluster.name'],
    type: 'string',
    default: 'tidemark',
    scope: 'cluster',
    about: 'Name of the cluster; a data directory belongs to one cluster for good.',
  },
  'broker-id': {
    aliases: ['node.id'],
    type: 'integer',
    default: 1,
    min: 0,
    max: 0x7fff_ffff,
    scope: 'process',
    about: 'Number of this broker in its cluster; a data directory belongs to one broker for good.',
  },
  redis: {
    type: 'string',
    secret: true,
    scope: 'cluster',
    about: 'URL of the Redis through which the brokers of a cluster find each other. Comes with the cluster; not yet.',
  },
  rack: {
    aliases: ['broker.rack'],
    type: 'string',
    scope: 'process',
    about: 'Where the broker stands, as clients are told.',
  },

  'default-partitions': {
    aliases: ['num.partitions'],
    type: 'integer',
    default: 1,
    min: 1,
    max: PARTITIONS_PER_TOPIC_MAX,
    unit: 'count',
    scope: 'cluster',
    about: 'Partitions of a topic that is created without saying how many.',
  },
  'default-replication-factor': {
    type: 'integer',
    default: 3,
    min: 1,
    max: 16,
    unit: 'count',
    scope: 'cluster',
    about: 'Replicas of a topic that is created without saying how many; never more than there are brokers.',
  },
  'auto-create-topics': {
    aliases: ['auto.create.topics.enable'],
    type: 'boolean',
    default: false,
    scope: 'cluster',
    about:
      'Whether a topic is made when a client asks for one that is not there. Off, since a typing error would make one.',
  },
  'partitions-max': {
    type: 'integer',
    default: 4_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Partitions that this broker holds at most; creating more is refused.',
  },

  'log-retention-ms': {
    type: 'integer',
    default: 7 * DAY_MS,
    min: -1,
    unit: 'ms',
    scope: 'cluster',
    topicConfig: 'retention.ms',
    about: 'How long records are kept; -1 for ever. Default of retention.ms.',
  },
  'log-retention-bytes': {
    type: 'integer',
    default: -1,
    min: -1,
    unit: 'bytes',
    scope: 'cluster',
    topicConfig: 'retention.bytes',
    about: 'How much of each partition is kept; -1 for no bound. Default of retention.bytes.',
  },
  'log-segment-bytes': {
    type: 'integer',
    default: GIB,
    min: SEGMENT_BYTES_MIN,
    max: SEGMENT_BYTES_MAX,
    unit: 'bytes',
    scope: 'cluster',
    topicConfig: 'segment.bytes',
    about: 'Size at which a segment file is closed and the next one begun. Default of segment.bytes.',
  },
  'log-segment-ms': {
    aliases: ['log.roll.ms'],
    type: 'integer',
    default: 7 * DAY_MS,
    min: 1,
    unit: 'ms',
    scope: 'cluster',
    topicConfig: 'segment.ms',
    about: 'Age at which a segment file is closed and the next one begun. Default of segment.ms.',
  },
  'message-max-bytes': {
    type: 'integer',
    default: MIB + 12,
    min: 0,
    max: BATCH_BYTES_MAX,
    unit: 'bytes',
    scope: 'cluster',
    topicConfig: 'max.message.bytes',
    about: 'Largest record batch that is taken. Default of max.message.bytes.',
  },
  'log-message-timestamp-type': {
    type: 'string',
    default: 'CreateTime',
    values: ['CreateTime', 'LogAppendTime'],
    scope: 'cluster',
    topicConfig: 'message.timestamp.type',
    about: 'Whether records keep their producer’s time or get the broker’s. Default of message.timestamp.type.',
  },
  durability: {
    type: 'string',
    default: 'os',
    values: ['os', 'fsync'],
    scope: 'cluster',
    topicConfig: 'durability',
    about: 'What acknowledged means: os, in the page cache; fsync, on stable storage. Default of durability.',
  },

  'flush-interval-ms': {
    aliases: ['log.flush.interval.ms'],
    type: 'integer',
    default: 1_000,
    min: 10,
    max: 3_600_000,
    unit: 'ms',
    scope: 'process',
    about: 'Records of topics with durability os are on stable storage after this time at the latest.',
  },
  'retention-check-interval-ms': {
    aliases: ['log.retention.check.interval.ms'],
    type: 'integer',
    default: 300_000,
    min: 10,
    max: DAY_MS,
    unit: 'ms',
    scope: 'process',
    about: 'How often it is looked for segments that may go.',
  },
  'disk-reserve-bytes': {
    type: 'integer',
    min: 0,
    unit: 'bytes',
    scope: 'process',
    about:
      'Below this much free space nothing is appended, until there is more again; reads go on. ' +
      'Without it, 1 GiB or a twentieth of the file system, whichever is less.',
  },
  'hot-tail-bytes': {
    type: 'integer',
    default: 64 * MIB,
    min: 0,
    unit: 'bytes',
    scope: 'process',
    about: 'Memory for the newest records of all partitions, from which consumers that keep up are served.',
  },
  'file-descriptors-max': {
    type: 'integer',
    default: 4_096,
    min: 16,
    max: 10_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Segment files that are kept open at the same time, at most.',
  },
  'producer-id-expiration-ms': {
    type: 'integer',
    default: DAY_MS,
    min: 1_000,
    unit: 'ms',
    scope: 'process',
    about: 'How long an idempotent producer that says nothing is remembered.',
  },

  'connections-max': {
    aliases: ['max.connections'],
    type: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Connections that are held at the same time; the next one is closed at once.',
  },
  'connection-idle-ms': {
    aliases: ['connections.max.idle.ms'],
    type: 'integer',
    default: 600_000,
    min: 1_000,
    unit: 'ms',
    scope: 'process',
    about: 'A connection on which nothing is asked for this long is closed.',
  },
  'connections-per-address-max': {
    aliases: ['max.connections.per.ip'],
    type: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Of them from one address, at most.',
  },
  'in-flight-max': {
    type: 'integer',
    default: 1_000,
    min: 1,
    max: 10_000,
    unit: 'count',
    scope: 'process',
    about: 'Requests of one connection that may wait for their answers; beyond it the broker stops reading.',
  },
  'request-memory-bytes': {
    aliases: ['queued.max.request.bytes'],
    type: 'integer',
    default: 256 * MIB,
    min: MIB,
    unit: 'bytes',
    scope: 'process',
    about: 'Memory for requests that are being read or worked on; beyond it the broker stops reading.',
  },
  'fetch-max-bytes': {
    type: 'integer',
    default: 16 * MIB,
    min: KIB,
    max: 64 * MIB - 64 * KIB,
    unit: 'bytes',
    scope: 'process',
    about: 'Records in one fetch response, at most, whatever the client asks for; one batch always fits.',
  },
  'delayed-operations-max': {
    type: 'integer',
    default: 100_000,
    min: 1,
    max: 10_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Fetches and produces that may wait in the broker at the same time; the next one is refused.',
  },
  'stop-timeout-ms': {
    type: 'integer',
    default: 30_000,
    min: 0,
    max: 3_600_000,
    unit: 'ms',
    scope: 'process',
    about: 'How long a stop waits for requests that are being answered.',
  },

  'log-level': {
    type: 'string',
    default: 'info',
    values: ['debug', 'info', 'warn', 'error', 'silent'],
    scope: 'process',
    about: 'What is written to the log.',
  },
  'log-format': {
    type: 'string',
    default: 'json',
    values: ['json', 'pretty'],
    scope: 'process',
    about: 'How a line of the log looks.',
  },
  'metrics-per-topic': {
    type: 'boolean',
    default: true,
    scope: 'process',
    about: 'Whether metrics tell topics and partitions apart.',
  },
} as const satisfies Record<string, Omit<OptionRow, 'name'>>

type Table = typeof TABLE
export type OptionName = keyof Table

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

type ValueOfType<Row> = Row extends { readonly type: 'integer' }
  ? number
  : Row extends { readonly type: 'boolean' }
    ? boolean
    : Row extends { readonly values: readonly (infer Value)[] }
      ? Value
      : string

type ValueOfRow<Row> = Row extends { readonly default: unknown } ? ValueOfType<Row> : ValueOfType<Row> | undefined

/** All settings, resolved: camelCase names, every default in its place. */
export type BrokerOptions = { readonly [Name in OptionName as CamelCase<Name>]: ValueOfRow<Table[Name]> }

/** Settings as a program gives them; what is left out, or undefined, has its default. */
export type BrokerSettings = { readonly [Name in keyof BrokerOptions]?: BrokerOptions[Name] | undefined }

export const OPTIONS: readonly OptionRow[] = Object.entries(TABLE).map(([name, row]) => Object.assign({ name }, row))

export interface ResolvedOptions {
  readonly options: BrokerOptions
  /** The names (as flags) of the settings that were given; all others have their defaults. */
  readonly given: ReadonlySet<string>
}

/** The property of BrokerOptions that a row stands for: dataDir of data-dir. */
export function propertyName(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}

/** The environment variable of a row: TIDEMARK_DATA_DIR of data-dir. */
export function environmentName(name: string): string {
  return `TIDEMARK_${name.replace(/-/g, '_').toUpperCase()}`
}

/**
 * Checks settings, given by any of their names, and fills in the defaults. Values may be strings, as flags and
 * environment variables are; an undefined value counts as not given.
 * @throws INVALID_OPTION, naming the setting, what is wrong with it and, for an unknown name, the nearest known one.
 */
export function resolveOptions(raw: Readonly<Record<string, unknown>>): ResolvedOptions {
  const values: Record<string, unknown> = {}
  const given = new Set<string>()
  for (const row of OPTIONS) values[propertyName(row.name)] = row.default
  for (const [key, value] of Object.entries(raw)) {
    if (value === undefined) continue
    const row = ROW_BY_NAME.get(canonicalName(key))
    if (row === undefined) throw unknownOption(key)
    if (given.has(row.name)) throw new TidemarkError('INVALID_OPTION', `${row.name} is given twice, once as ${key}`)
    given.add(row.name)
    values[propertyName(row.name)] = checkValue(row, value)
  }
  return { options: Object.freeze(values) as BrokerOptions, given }
}

export interface OptionDescription {
  readonly name: string
  /** undefined where nothing is set and the broker decides; secrets are masked. */
  readonly value: string | number | boolean | undefined
  readonly isDefault: boolean
  readonly about: string
}

/** The effective settings for people to read; what is secret in them is not there. */
export function describeOptions({ options, given }: ResolvedOptions): readonly OptionDescription[] {
  const values = options as Readonly<Record<string, string | number | boolean | undefined>>
  return OPTIONS.map((row) => {
    const value = values[propertyName(row.name)]
    return {
      name: row.name,
      value: row.secret === true && value !== undefined ? '***' : value,
      isDefault: !given.has(row.name),
      about: row.about,
    }
  })
}

/** The topic settings that the operator has chosen for all topics, by the topic settings' names. */
export function topicConfigDefaults({ options, given }: ResolvedOptions): Readonly<Record<string, string>> {
  const values = options as Readonly<Record<string, string | number | boolean | undefined>>
  const defaults: Record<string, string> = {}
  for (const row of OPTIONS) {
    if (row.topicConfig === undefined || !given.has(row.name)) continue
    defaults[row.topicConfig] = String(values[propertyName(row.name)])
  }
  return defaults
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** Reads HOST:PORT, [IPV6]:PORT, :PORT or PORT. @throws INVALID_OPTION */
export function parseAddress(text: string, what: string): Address {
  const match = /^(?:(?:\[([0-9a-fA-F:.%\w]+)\]|([^:[\]\s]*)):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new TidemarkError('INVALID_OPTION', `${what} must be HOST:PORT with a port from 0 to 65535, not '${text}'`)
  }
  const host = match[1] ?? match[2] ?? ''
  return { host: host === '' ? '127.0.0.1' : host, port }
}

const ROW_BY_NAME: ReadonlyMap<string, OptionRow> = new Map(
  OPTIONS.flatMap((row) => [row.name, ...(row.aliases ?? [])].map((name) => [canonicalName(name), row] as const)),
)

function canonicalName(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/[._]/g, '-')
    .toLowerCase()
}

function checkValue(row: OptionRow, value: unknown): string | number | boolean {
  switch (row.type) {
    case 'integer':
      return checkInteger(row, value)
    case 'boolean':
      return checkBoolean(row, value)
    case 'address':
      return checkAddress(row, value)
    default:
      return checkString(row, value)
  }
}

function checkInteger(row: OptionRow, value: unknown): number {
  const number = typeof value === 'string' ? parseQuantity(value, row.unit) : value
  const min = row.min ?? 0
  const max = row.max ?? Number.MAX_SAFE_INTEGER
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < min || number > max) {
    const unit = row.unit === 'bytes' || row.unit === 'ms' ? ` ${row.unit}` : ''
    throw invalid(row, value, `an integer from ${min} to ${max}${unit}`)
  }
  return number
}

function checkBoolean(row: OptionRow, value: unknown): boolean {
  if (value === true || value === 'true' || value === '1' || value === 'on') return true
  if (value === false || value === 'false' || value === '0' || value === 'off') return false
  throw invalid(row, value, 'true or false')
}

function checkAddress(row: OptionRow, value: unknown): string {
  if (typeof value !== 'string' && typeof value !== 'number') throw invalid(row, value, 'HOST:PORT')
  if (value === 'off' && row.name === 'http') return value
  const { host, port } = parseAddress(String(value), row.name)
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function checkString(row: OptionRow, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw invalid(row, value, 'a text that is not empty')
  if (row.values !== undefined && !row.values.includes(value)) {
    throw invalid(row, value, `one of ${row.values.join(', ')}`)
  }
  return value
}

const BYTE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['k', KIB],
  ['kib', KIB],
  ['kb', 1_000],
  ['m', MIB],
  ['mib', MIB],
  ['mb', 1_000_000],
  ['g', GIB],
  ['gib', GIB],
  ['gb', 1_000_000_000],
  ['t', 1024 * GIB],
  ['tib', 1024 * GIB],
  ['tb', 1_000_000_000_000],
])

const TIME_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', DAY_MS],
])

function parseQuantity(text: string, unit: OptionRow['unit']): number | undefined {
  const match = /^(-?\d+(?:\.\d+)?)\s*([a-zA-Z]*)$/.exec(text.trim())
  if (match === null) return undefined
  const suffix = (match[2] ?? '').toLowerCase()
  const factor = unit === 'bytes' ? BYTE_UNITS.get(suffix) : unit === 'ms' ? TIME_UNITS.get(suffix) : undefined
  if (factor === undefined && suffix !== '') return undefined
  return Number(match[1]) * (factor ?? 1)
}

function invalid(row: OptionRow, value: unknown, expected: string): TidemarkError {
  const shown = row.secret === true ? 'what was given' : JSON.stringify(value)
  return new TidemarkError('INVALID_OPTION', `${row.name} must be ${expected}, not ${shown}`)
}

function unknownOption(key: string): TidemarkError {
  const nearest = nearestName(canonicalName(key))
  const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`
  return new TidemarkError('INVALID_OPTION', `there is no setting '${key}'${hint}`)
}

function nearestName(name: string): string | undefined {
  let nearest: string | undefined
  let nearestDistance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const [candidate, row] of ROW_BY_NAME) {
    const distance = editDistance(name, candidate)
    if (distance < nearestDistance) {
      nearest = row.name
      nearestDistance = distance
    }
  }
  return nearest
}

/** Insertions, deletions and replacements that turn one name into the other. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[to.length] ?? 0
}
