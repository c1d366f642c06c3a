#!/usr/bin/env node
// The command `tidemark`: reads the command line by the table of commands and runs one of them. Owns the parser, the exit
// code and what an error looks like; loads only what the called command needs. Exit codes: 0 done, 1 failed, 2 called in a
// wrong way, 130 interrupted.

import type { Argv } from 'yargs'
import type { CommandRow, FlagRow } from './commands/command.ts'
import { Arguments, nearest, UsageError } from './commands/command.ts'
import { OutputClosed, StandardOutput } from './commands/output.ts'
import { COMMANDS, GLOBAL_FLAGS, GROUPS } from './commands/table.ts'

// Read by the runtime when its first file is opened, so it has to be set before anything else happens. One thread each
// for a few reads and syncs that wait for the disk.
process.env['UV_THREADPOOL_SIZE'] ??= '8'

const EXIT_INTERRUPTED = 130
const EXIT_USAGE = 2

interface Call {
  readonly row: CommandRow
  readonly raw: Readonly<Record<string, unknown>>
}

process.exitCode = await main(process.argv.slice(2))
// A handle that a library left open must not keep a finished command alive.
process.exit()

async function main(words: readonly string[]): Promise<number> {
  const isVerbose = words.includes('-v') || words.includes('--verbose')
  try {
    const call = await parse(words)
    return call === undefined ? 0 : await run(call)
  } catch (error) {
    if (error instanceof OutputClosed) return 0
    return await fail(error, isVerbose)
  }
}

async function run({ row, raw }: Call): Promise<number> {
  const flags = [...GLOBAL_FLAGS, ...row.flags]
  const checked = Arguments.check(row, flags, raw, process.env)
  const interrupt = new AbortController()
  if (row.path[0] !== 'start') {
    const onSignal = (): void => {
      if (interrupt.signal.aborted) process.exit(EXIT_INTERRUPTED)
      interrupt.abort(new Error('interrupted'))
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  }
  const command = await row.load()
  const output = new StandardOutput()
  try {
    const code = await command({
      arguments: checked,
      output,
      signal: interrupt.signal,
      environment: process.env,
      note: (line) => {
        if (!checked.isOn('quiet')) console.error(line)
      },
    })
    await output.flush()
    return interrupt.signal.aborted ? EXIT_INTERRUPTED : code
  } catch (error) {
    if (interrupt.signal.aborted && !(error instanceof OutputClosed)) return EXIT_INTERRUPTED
    throw error
  }
}

/** One line that says what and where, and what to try; stacks only when they are asked for. */
async function fail(error: unknown, isVerbose: boolean): Promise<number> {
  if (error instanceof UsageError) {
    console.error(`tidemark: ${error.message}`)
    return EXIT_USAGE
  }
  const { describeError } = await import('./commands/error-lines.ts')
  const { line, exitCode } = describeError(error)
  console.error(`tidemark: ${line}`)
  if (isVerbose) console.error(error)
  return exitCode
}

/** The command that is called; undefined when help, version or completion has been printed. @throws UsageError */
async function parse(words: readonly string[]): Promise<Call | undefined> {
  let call: Call | undefined
  const isCompleting = words.includes('--get-yargs-completions')
  // How far the parser has understood the words when it complains.
  let group: string | undefined
  let row: CommandRow | undefined
  const { default: yargs } = await import('yargs')
  const parser = yargs()
    .scriptName('tidemark')
    .usage('$0 COMMAND\n\nA partitioned append-only log and pub/sub broker.')
    .detectLocale(false)
    .exitProcess(false)
    .parserConfiguration({
      'camel-case-expansion': false,
      'dot-notation': false,
      'greedy-arrays': false,
      'parse-positional-numbers': false,
      'parse-numbers': false,
      'strip-aliased': true,
    })
    .completion('completion', 'Print a script for the completion of the shell')
    .help('help')
    .alias('help', 'h')
    .version(await version())
    .wrap(Math.min(120, process.stdout.columns ?? 100))
    .demandCommand(1, 'a command is missing')
    .strictCommands()
    .fail((message, error) => {
      // The parser words what it finds wrong itself either way; errors of another kind are not the caller's.
      if (error !== undefined && error !== null && error.name !== 'YError') throw error
      throw new UsageError(wordUsage(message ?? error?.message ?? '', row, group))
    })
  // They may stand before the command; a switch that is not known there would take the command for its value.
  for (const flag of GLOBAL_FLAGS) parser.option(flag.name, yargsOption(flag, isCompleting))
  const add = (to: Argv, one: CommandRow): void => {
    addCommand(to, one, {
      isCompleting,
      onRecognised: () => (row = one),
      onCall: (raw) => (call = { row: one, raw }),
    })
  }
  for (const one of COMMANDS) if (one.path.length === 1) add(parser, one)
  for (const [name, about] of Object.entries(GROUPS)) {
    parser.command(name, about, (inner) => {
      group = name
      for (const one of COMMANDS) if (one.path[0] === name) add(inner, one)
      return inner.demandCommand(1, `${name}: a command is missing`).strictCommands()
    })
  }
  await parser.parseAsync([...words])
  if (call !== undefined) {
    refuseUnknownFlags(call)
    refuseSwitchValues(call.row, words)
  }
  return call
}

interface CommandEvents {
  /** The shell asks what a word may become; nothing is run. */
  readonly isCompleting: boolean
  /** The words name this command; its flags are not read yet. */
  onRecognised(): void
  onCall(raw: Record<string, unknown>): void
}

function addCommand(parser: Argv, row: CommandRow, events: CommandEvents): void {
  const operands = row.positionals.map(({ name, arity }) => {
    if (arity === 'one') return `<${name}>`
    return arity === 'maybe' ? `[${name}]` : `[${name}..]`
  })
  parser.command(
    [row.path.at(-1), ...operands].join(' '),
    row.about,
    (inner) => {
      events.onRecognised()
      for (const { name, about, arity } of row.positionals) {
        inner.positional(name, { describe: about, type: 'string', ...(arity === 'many' ? { array: true } : {}) })
      }
      // Those of all commands are there already, and would be shown with their letter twice.
      for (const flag of row.flags) inner.option(flag.name, yargsOption(flag, events.isCompleting))
      for (const [call, about] of row.examples ?? []) inner.example(call, about)
      return inner
    },
    (raw) => events.onCall(raw),
  )
}

function yargsOption(flag: FlagRow, isCompleting: boolean): object {
  const isSwitch = flag.type === 'switch'
  const shown = flag.shownDefault ?? flag.default
  return {
    describe: flag.choices === undefined ? flag.about : `${flag.about}: ${flag.choices.join(', ')}`,
    ...(flag.alias === undefined ? {} : { alias: flag.alias }),
    ...(isSwitch ? { type: 'boolean' } : { type: 'string', requiresArg: true }),
    ...(flag.type === 'list' ? { array: true } : {}),
    // Choices and defaults are checked by the table; here they are only shown and completed.
    ...(isCompleting && flag.choices !== undefined ? { choices: flag.choices } : {}),
    ...(shown === undefined ? {} : { defaultDescription: String(shown) }),
  }
}

/** The parser takes every value of a switch but true for false. */
function refuseSwitchValues(row: CommandRow, words: readonly string[]): void {
  for (const word of words) {
    if (word === '--') return
    const given = /^(?:--([^=]+)|-[^-=]*([^-=]))=(.*)$/s.exec(word)
    if (given === null) continue
    const [, name, letter, value] = given
    const flag = [...row.flags, ...GLOBAL_FLAGS].find((one) =>
      name === undefined ? one.alias === letter : one.name === name,
    )
    if (flag?.type !== 'switch' || value === 'true' || value === 'false') continue
    throw new UsageError(
      `--${flag.name} must be true or false, or have no value, not '${value ?? ''}'${helpHint(row.path)}`,
    )
  }
}

function refuseUnknownFlags({ row, raw }: Call): void {
  const flags = [...row.flags, ...GLOBAL_FLAGS]
  const known = new Set([
    ...flags.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias])),
    ...row.positionals.map(({ name }) => name),
    ...['_', '$0', '--', 'help', 'h', 'version', 'command'],
  ])
  for (const name of Object.keys(raw)) {
    if (known.has(name)) continue
    const meant = nearest(
      name,
      flags.map((flag) => flag.name),
    )
    const shown = name.length === 1 ? `-${name}` : `--${name}`
    throw new UsageError(
      `${row.path.join(' ')} has no flag ${shown}${meant === undefined ? '' : `; did you mean --${meant}?`}${helpHint(row.path)}`,
    )
  }
  const rest = raw['_']
  const extra = Array.isArray(rest) ? rest.slice(row.path.length) : []
  if (extra.length > 0)
    throw new UsageError(`${row.path.join(' ')}: '${extra.join(' ')}' is too much${helpHint(row.path)}`)
}

/** The parser's complaint in our words. */
function wordUsage(message: string, row: CommandRow | undefined, group: string | undefined): string {
  const path = row?.path ?? (group === undefined ? [] : [group])
  const command = path.join(' ')
  const unknown = /^Unknown commands?: (.*)$/.exec(message)?.[1]
  if (unknown !== undefined && row !== undefined) return `${command}: '${unknown}' is too much${helpHint(path)}`
  if (unknown !== undefined) {
    const word = unknown.split(', ')[0] ?? unknown
    const names = COMMANDS.filter((one) => group === undefined || one.path[0] === group)
    const meant = nearest(word, [...names.map((one) => one.path[path.length] ?? ''), 'completion'])
    const where = group === undefined ? 'there is no command' : `${group} has no command`
    return `${where} '${word}'${meant === undefined ? '' : `; did you mean ${[...path, meant].join(' ')}?`}${helpHint(path)}`
  }
  const flag = /^Not enough arguments following: (.*)$/.exec(message)?.[1]
  if (flag !== undefined) return `${flag.length === 1 ? '-' : '--'}${flag} needs a value${helpHint(path)}`
  if (message.startsWith('Not enough non-option arguments')) {
    const missing = row?.positionals.filter(({ arity }) => arity === 'one').map(({ name }) => `<${name}>`)
    return `${command}: ${missing?.join(' ') ?? 'a word'} is missing${helpHint(path)}`
  }
  return `${message}${helpHint(path)}`
}

function helpHint(path: readonly string[]): string {
  return ` (${['tidemark', ...path, '--help'].join(' ')})`
}

async function version(): Promise<string> {
  const { readFileSync } = await import('node:fs')
  // The same place in a checkout and in the package: two folders above dist/broker/cli.js.
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version)
  return 'unknown'
}
