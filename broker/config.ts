// The settings of a broker as it reads them: from any of their names, checked against the table, with every default in its
// place; and as it shows them. Flags, environment variables and keys of the config file are derived from the table's rows.
// Reads no file and no environment.
//
// A setting is written in any of these ways and means the same: data-dir, dataDir, data.dir, DATA_DIR.

import type { OptionRow } from './option-table.ts'
import { TidemarkError } from '../shared/errors.ts'
import { parseRedisUrl } from '../shared/redis-url.ts'
import { DAY_MS, GIB, KIB, MIB, OPTION_TABLE } from './option-table.ts'

type Table = typeof OPTION_TABLE
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

export const OPTIONS: readonly OptionRow[] = Object.entries(OPTION_TABLE).map(([name, row]) =>
  Object.assign({ name }, row),
)

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
    const row = rowOf(key)
    if (given.has(row.name)) throw new TidemarkError('INVALID_OPTION', `${row.name} is given twice, once as ${key}`)
    given.add(row.name)
    values[propertyName(row.name)] = checkValue(row, value)
  }
  checkTogether(values)
  return { options: Object.freeze(values) as BrokerOptions, given }
}

/** The name of the setting, as a flag, that may have this value as far as no other setting forbids it. @throws INVALID_OPTION */
export function checkOption(key: string, value: unknown): string {
  const row = rowOf(key)
  checkValue(row, value)
  return row.name
}

/** @throws INVALID_OPTION */
function rowOf(key: string): OptionRow {
  const row = ROW_BY_NAME.get(canonicalName(key))
  if (row === undefined) throw unknownOption(key)
  return row
}

/** What each for itself is legal, and is not with the others. */
function checkTogether(values: Readonly<Record<string, unknown>>): void {
  const { redis, dataDir, advertise, listeners, advertisedListeners } = values
  if (typeof advertise === 'string') checkReachable('advertise', parseAddress(advertise, 'advertise'))
  checkAdvertised(listeners, advertisedListeners)
  if (redis === undefined || dataDir !== 'memory') return
  throw new TidemarkError(
    'INVALID_OPTION',
    'data-dir is memory and redis is given: a broker of a cluster must keep over a restart what it has promised to the others; name a directory, or leave redis out',
  )
}

function checkAdvertised(listeners: unknown, advertised: unknown): void {
  if (typeof advertised !== 'string') return
  const known = typeof listeners === 'string' ? parseListeners(listeners, 'listeners') : new Map<string, Address>()
  for (const [name, address] of parseListeners(advertised, 'advertised-listeners')) {
    checkReachable(`advertised-listeners ${name}`, address)
    if (known.has(name)) continue
    const text = `advertised-listeners names ${name}, which is none of listeners; what --listen is told as is advertise`
    throw new TidemarkError('INVALID_OPTION', text)
  }
}

/** Nobody can connect to all addresses of a machine, or to any of its ports. @throws INVALID_OPTION */
function checkReachable(what: string, { host, port }: Address): void {
  if (port !== 0 && host !== '0.0.0.0' && host !== '::') return
  const text = `${what} is what clients are told to connect to: a host with a port, not ${host}:${port}`
  throw new TidemarkError('INVALID_OPTION', text)
}

export interface OptionDescription {
  readonly name: string
  /** undefined where nothing is set and the broker decides; secrets are masked. */
  readonly value: string | number | boolean | undefined
  readonly isDefault: boolean
  readonly about: string
}

export interface KafkaSetting extends OptionDescription {
  readonly isSecret: boolean
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

/** The same for tools of Kafka, by Kafka's names where it has the setting. */
export function kafkaSettings(resolved: ResolvedOptions): readonly KafkaSetting[] {
  const described = new Map(describeOptions(resolved).map((option) => [option.name, option]))
  return OPTIONS.map((row) => {
    const name = row.aliases?.find((alias) => alias.includes('.')) ?? row.name.replaceAll('-', '.')
    const { value, isDefault = true } = described.get(row.name) ?? {}
    return { name, value, isDefault, isSecret: row.secret === true, about: row.about }
  })
}

const BYTE_SIZES = [
  [GIB, 'GiB'],
  [MIB, 'MiB'],
  [KIB, 'KiB'],
] as const
const TIME_SIZES = [
  [DAY_MS, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1_000, 's'],
  [1, 'ms'],
] as const

/** The default as a person would write it, 1GiB or 7d; undefined where there is none. */
export function defaultText({ default: value, unit }: OptionRow): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number' || value <= 0) return String(value)
  const sizes = unit === 'bytes' ? BYTE_SIZES : unit === 'ms' ? TIME_SIZES : []
  const found = sizes.find(([size]) => value % size === 0)
  return found === undefined ? String(value) : `${value / found[0]}${found[1]}`
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

/** What Kafka's users would take for encrypted, or for asking who comes. */
const PROMISING_NAME = /^(SASL_)?SSL$|^SASL_PLAINTEXT$/i
const LISTENER_PATTERN = /^([A-Za-z][\w-]{0,63}):\/\/(.+)$/

/** Named addresses, NAME://HOST:PORT with commas between them, by their names. @throws INVALID_OPTION */
export function parseListeners(text: string, what: string): ReadonlyMap<string, Address> {
  const listeners = new Map<string, Address>()
  for (const part of text.split(',')) {
    const [, name, address] = LISTENER_PATTERN.exec(part.trim()) ?? []
    if (name === undefined || address === undefined) {
      throw new TidemarkError(
        'INVALID_OPTION',
        `${what} must be NAME://HOST:PORT, or several with commas, not '${part}'`,
      )
    }
    if (PROMISING_NAME.test(name)) {
      const advice = 'all listeners speak plain TCP, without authentication; give it another name'
      throw new TidemarkError('INVALID_OPTION', `${what} has ${name}: ${advice}`)
    }
    if (listeners.has(name)) throw new TidemarkError('INVALID_OPTION', `${what} has ${name} twice`)
    listeners.set(name, parseAddress(address, `${what} ${name}`))
  }
  return listeners
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
    case 'listeners':
      parseListeners(checkString(row, value), row.name)
      return checkString(row, value)
    case 'redis-url':
      return checkRedisUrl(row, value)
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

function checkRedisUrl(row: OptionRow, value: unknown): string {
  const text = checkString(row, value)
  parseRedisUrl(text)
  return text
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
