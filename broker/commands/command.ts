// What a command is: a row that says how it is called and a module that does it, loaded only when it is called. Owns the
// checking of flags, so that a command sees values and never text that might be wrong. Knows no parser.

import type { StandardOutput } from './output.ts'
import { must } from '../../shared/assert.ts'

export interface FlagRow {
  readonly name: string
  /** One letter. */
  readonly alias?: string
  /** A list may be given several times; a switch has no value. */
  readonly type: 'text' | 'integer' | 'switch' | 'list'
  readonly about: string
  readonly choices?: readonly string[]
  /** Shown in the help; a command that distinguishes "not given" leaves it out. */
  readonly default?: string | number
  /** Shown in the help where the default is applied by somebody else. */
  readonly shownDefault?: string
  readonly min?: number
  readonly max?: number
  /** Integers may be written 64KiB or 5k; by what a suffix multiplies. */
  readonly unit?: 'bytes' | 'count'
  /** The variable that it is taken from when it is not given. */
  readonly variable?: string
}

export interface PositionalRow {
  readonly name: string
  readonly about: string
  readonly arity: 'one' | 'maybe' | 'many'
}

export interface CommandRow {
  /** `['topic', 'create']` for `tidemark topic create`. */
  readonly path: readonly string[]
  readonly about: string
  readonly positionals: readonly PositionalRow[]
  readonly flags: readonly FlagRow[]
  readonly examples?: readonly (readonly [call: string, about: string])[]
  readonly load: () => Promise<Command>
}

export interface CommandContext {
  readonly arguments: Arguments
  readonly output: StandardOutput
  /** Aborted at the first Ctrl-C. */
  readonly signal: AbortSignal
  readonly environment: Readonly<Record<string, string | undefined>>
  /** One line for a person, on the error stream; nothing with --quiet. */
  readonly note: (line: string) => void
}

/** Resolves with the exit code: 0 done, 1 failed. @throws UsageError, TidemarkError */
export type Command = (context: CommandContext) => Promise<number>

/** The call itself is wrong. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

type Value = string | number | boolean | readonly string[]

/** The flags and operands of one call, checked against their rows. Asking for one that has no row is a bug. */
export class Arguments {
  readonly #values: ReadonlyMap<string, Value | undefined>

  private constructor(values: ReadonlyMap<string, Value | undefined>) {
    this.#values = values
  }

  /** @throws UsageError for the first value that is not legal */
  static check(
    row: CommandRow,
    flags: readonly FlagRow[],
    raw: Readonly<Record<string, unknown>>,
    environment: Readonly<Record<string, string | undefined>>,
  ): Arguments {
    const values = new Map<string, Value | undefined>()
    for (const flag of flags) {
      const fromVariable = flag.variable === undefined ? undefined : environment[flag.variable] || undefined
      const isGiven = raw[flag.name] !== undefined
      const place = isGiven || fromVariable === undefined ? `--${flag.name}` : (flag.variable ?? flag.name)
      values.set(flag.name, checkFlag(flag, raw[flag.name] ?? fromVariable ?? flag.default, place))
    }
    for (const { name, arity } of row.positionals) {
      const value = raw[name]
      if (arity === 'many') values.set(name, Array.isArray(value) ? value.map(textOf) : [])
      else values.set(name, value === undefined ? undefined : textOf(value))
    }
    return new Arguments(values)
  }

  text(name: string): string | undefined {
    const value = this.#get(name)
    return typeof value === 'string' ? value : undefined
  }

  integer(name: string): number | undefined {
    const value = this.#get(name)
    return typeof value === 'number' ? value : undefined
  }

  /** An integer whose row has a default. */
  number(name: string): number {
    return must(this.integer(name), 'a number that is asked for has a default')
  }

  isOn(name: string): boolean {
    return this.#get(name) === true
  }

  list(name: string): readonly string[] {
    const value = this.#get(name)
    return typeof value === 'object' ? value : []
  }

  /** A text that must be there: a required operand, or a flag with a default. */
  required(name: string): string {
    return must(this.text(name), 'a text that is asked for is there')
  }

  /** The flags that were given or have a default, by name. */
  entries(): readonly (readonly [string, Value])[] {
    return [...this.#values].flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
  }

  #get(name: string): Value | undefined {
    if (!this.#values.has(name)) must(undefined, 'an argument that is asked for has a row')
    return this.#values.get(name)
  }
}

function checkFlag(flag: FlagRow, value: unknown, place: string): Value | undefined {
  if (value === undefined) return undefined
  if (flag.type === 'list') return (Array.isArray(value) ? value : [value]).map(textOf)
  if (Array.isArray(value)) throw new UsageError(`${place} is given twice`)
  if (flag.type === 'switch') {
    if (typeof value === 'boolean') return value
    throw new UsageError(`${place} must be true or false, not '${textOf(value)}'`)
  }
  if (flag.type === 'integer') return checkInteger(flag, textOf(value), place)
  const text = textOf(value)
  if (flag.choices !== undefined && !flag.choices.includes(text)) {
    throw new UsageError(`${place} must be one of ${flag.choices.join(', ')}, not '${text}'`)
  }
  return text
}

/** What the parser has read: text, or a number that it took for one. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

const FACTORS: Readonly<Record<'bytes' | 'count', ReadonlyMap<string, number>>> = {
  bytes: new Map([
    ['', 1],
    ['b', 1],
    ['k', 1024],
    ['kib', 1024],
    ['kb', 1000],
    ['m', 1024 ** 2],
    ['mib', 1024 ** 2],
    ['mb', 1000 ** 2],
    ['g', 1024 ** 3],
    ['gib', 1024 ** 3],
    ['gb', 1000 ** 3],
  ]),
  count: new Map([
    ['', 1],
    ['k', 1000],
    ['m', 1000 ** 2],
    ['g', 1000 ** 3],
  ]),
}

function checkInteger(flag: FlagRow, text: string, place: string): number {
  const match = /^(-?\d+)([a-z]*)$/i.exec(text)
  const factor = FACTORS[flag.unit ?? 'count'].get((match?.[2] ?? '').toLowerCase())
  const value = Number(match?.[1]) * (factor ?? Number.NaN)
  const min = flag.min ?? 0
  const max = flag.max ?? Number.MAX_SAFE_INTEGER
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const range = flag.max === undefined ? `of at least ${min}` : `from ${min} to ${max}`
    throw new UsageError(`${place} must be an integer ${range}, not '${text}'`)
  }
  return value
}

/** Splits `name=value`. @throws UsageError */
export function splitPair(text: string, flag: string): readonly [name: string, value: string] {
  const at = text.indexOf('=')
  if (at <= 0) throw new UsageError(`${flag} must be NAME=VALUE, not '${text}'`)
  return [text.slice(0, at), text.slice(at + 1)]
}

/** The candidate that is nearest to what was written, if any is near. */
export function nearest(text: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(text.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = text.length > 1 && candidate.startsWith(text) ? 0.5 : editDistance(text, candidate)
    if (distance >= bestDistance) continue
    best = candidate
    bestDistance = distance
  }
  return best
}

/** Letters to replace, add, leave out, or swap with their neighbours. */
function editDistance(from: string, to: string): number {
  let before: readonly number[] = []
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      const swapped = isSwapped ? (before[column - 2] ?? Infinity) + 1 : Infinity
      current.push(Math.min(replaced, swapped, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    before = previous
    previous = current
  }
  return previous[to.length] ?? 0
}
