// Where settings come from: flags, then the environment, then a file, then the defaults. Owns reading and merging them,
// and saying where a wrong one stands; what the settings are and mean is config.ts's.

import type { ResolvedOptions } from './config.ts'
import { readFileSync } from 'node:fs'
import { TidemarkError } from '../shared/errors.ts'
import { checkOption, environmentName, OPTIONS, resolveOptions } from './config.ts'

export interface SettingSources {
  /** By any name of a setting, as they came from the command line. */
  readonly flags: readonly (readonly [name: string, value: unknown])[]
  readonly environment: Readonly<Record<string, string | undefined>>
  /** A file of YAML, JSON or `key=value` lines (.properties). */
  readonly configFile: string | undefined
}

export interface GatheredSettings extends ResolvedOptions {
  /** What is not wrong enough to refuse, in sentences for the log. */
  readonly warnings: readonly string[]
}

/** One setting as it was found, before it is known to be one. */
interface FoundSetting {
  readonly key: string
  readonly value: unknown
  /** How to name the place to a person: a file and line, a variable, a flag. */
  readonly place: string
}

const CONFIG_FILE_BYTES_MAX = 1024 * 1024
const SECRET_BYTES_MAX = 64 * 1024
const PREFIX = 'TIDEMARK_'
/** Variables that speak to the command line tools, not to the broker. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set(['TIDEMARK_CONFIG', 'TIDEMARK_BROKERS', 'TIDEMARK_FORMAT'])
/** What container platforms set by themselves for a service that is called tidemark. */
const SERVICE_VARIABLE = /^TIDEMARK_(SERVICE_|PORT$|PORT_\d)/

/** @throws INVALID_OPTION, saying where the setting stands, what is wrong with it and what was perhaps meant */
export async function gatherSettings(sources: SettingSources): Promise<GatheredSettings> {
  const warnings: string[] = []
  const merged = new Map<string, unknown>()
  const layers = [
    sources.configFile === undefined ? [] : await readConfigFile(sources.configFile),
    readEnvironment(sources.environment, warnings),
    sources.flags.map(([key, value]) => ({ key, value, place: '' })),
  ]
  for (const layer of layers) {
    const inLayer = new Map<string, string>()
    for (const found of layer) {
      const name = checkAlone(found)
      const other = inLayer.get(name)
      if (other !== undefined) {
        throw new TidemarkError('INVALID_OPTION', `${at(found)}${name} is given twice, as ${other} and as ${found.key}`)
      }
      inLayer.set(name, found.key)
      merged.set(name, found.value)
    }
  }
  return { ...resolveOptions(Object.fromEntries(merged)), warnings }
}

/** The name of the setting. Each is checked for itself, so that the error can say where it stands. */
function checkAlone(found: FoundSetting): string {
  try {
    return checkOption(found.key, found.value ?? '')
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    throw new TidemarkError(error.code, `${at(found)}${error.message}`, { cause: error })
  }
}

function at({ place }: FoundSetting): string {
  return place === '' ? '' : `${place}: `
}

function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  warnings: string[],
): readonly FoundSetting[] {
  const found: FoundSetting[] = []
  const expected = new Map(OPTIONS.map((row) => [environmentName(row.name), row.name]))
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith(PREFIX) || value === undefined || OTHER_VARIABLES.has(variable)) continue
    const plain = variable.replace('__', '_')
    const name = expected.get(plain)
    const fileName = plain.endsWith('_FILE') ? expected.get(plain.slice(0, -'_FILE'.length)) : undefined
    if (name !== undefined) found.push({ key: name, value, place: variable })
    else if (fileName !== undefined) found.push({ key: fileName, value: readSecret(variable, value), place: variable })
    else if (!SERVICE_VARIABLE.test(variable))
      warnings.push(`${variable} names no setting and is ignored${hint(plain)}`)
  }
  return found
}

function hint(variable: string): string {
  try {
    checkOption(variable.slice(PREFIX.length), '')
    return ''
  } catch (error) {
    const meant = error instanceof Error ? /did you mean ([\w-]+)/.exec(error.message)?.[1] : undefined
    return meant === undefined ? '' : `; did you mean ${environmentName(meant)}?`
  }
}

/** The text of a secret that a file holds, without the line end that editors put behind it. */
function readSecret(variable: string, path: string): string {
  return readText(path, variable, SECRET_BYTES_MAX).replace(/\r?\n$/, '')
}

function readText(path: string, what: string, bytesMax: number): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`
    throw new TidemarkError('INVALID_OPTION', `${what}: ${path}: ${why}`, { cause })
  }
  if (bytes.length > bytesMax) {
    throw new TidemarkError(
      'INVALID_OPTION',
      `${what}: ${path} has ${bytes.length} bytes, at most ${bytesMax} are read`,
    )
  }
  return bytes.toString('utf8')
}

async function readConfigFile(path: string): Promise<readonly FoundSetting[]> {
  const text = readText(path, 'config', CONFIG_FILE_BYTES_MAX)
  return path.endsWith('.properties') ? readProperties(path, text) : await readYaml(path, text)
}

function readProperties(path: string, text: string): readonly FoundSetting[] {
  const found: FoundSetting[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || /^[#!]/.test(trimmed)) continue
    const place = `${path}:${index + 1}`
    const match = /^([^=:\s]+)\s*[=:]\s*(.*)$/.exec(trimmed)
    if (match === null) throw new TidemarkError('INVALID_OPTION', `${place}: expected key=value, not '${trimmed}'`)
    found.push({ key: match[1] ?? '', value: match[2] ?? '', place })
  }
  return found
}

/** JSON is YAML, so one reader serves both. Maps in maps are the same as names with dots. */
async function readYaml(path: string, text: string): Promise<readonly FoundSetting[]> {
  const { isMap, isScalar, LineCounter, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) {
    throw new TidemarkError('INVALID_OPTION', `${path}:${lines.linePos(error.pos[0]).line}: ${error.message}`)
  }
  const found: FoundSetting[] = []
  const visit = (node: unknown, prefix: string, line: number): void => {
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        const name = isScalar(key) ? String(key.value) : ''
        visit(value, `${prefix}${name}.`, isScalar(key) ? lines.linePos(key.range?.[0] ?? 0).line : line)
      }
      return
    }
    const place = `${path}:${line}`
    const key = prefix.slice(0, -1)
    if (key === '') throw new TidemarkError('INVALID_OPTION', `${place}: expected settings as 'name: value' lines`)
    if (!isScalar(node)) throw new TidemarkError('INVALID_OPTION', `${place}: ${key} must be a single value`)
    found.push({ key, value: node.value, place })
  }
  if (document.contents !== null) visit(document.contents, '', 1)
  return found
}
