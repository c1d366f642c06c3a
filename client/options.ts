// What may be given to connect: names, ranges and defaults, checked once, at the door. Also the small table-driven check
// that the other calls of the client use, so that a misspelt option is an error with a suggestion and never silence.

import type { Logger } from '../shared/logger.ts'
import { silentLogger } from '../shared/logger.ts'
import { CLIENT_ID_BYTES_MAX } from '../shared/limits.ts'
import { errorOf } from './errors.ts'
import type { RetryOptions } from './retry.ts'
import type { Address } from './transport.ts'

export interface ConnectOptions {
  /** 'host:port' of one broker or more; the rest of the cluster is found through them. */
  readonly brokers: readonly string[] | string
  /** Shown in the broker's logs and metrics. Default 'tidemark'. */
  readonly clientId?: string | undefined
  /** Not available yet: anything but undefined or false is refused. */
  readonly tls?: unknown
  /** Not available yet: anything but undefined is refused. */
  readonly sasl?: unknown
  /** Default: silent. */
  readonly logger?: Logger | undefined
  /** How often, and after how many milliseconds, a request is tried again. Default 8 retries, 50 ms doubling to 5 s. */
  readonly retry?: Partial<RetryOptions> | undefined
  /** Milliseconds that a broker has for connecting and saying hello. Default 10,000. */
  readonly connectTimeoutMs?: number | undefined
  /** Milliseconds that a broker has for one answer. Default 30,000. */
  readonly requestTimeoutMs?: number | undefined
  /** Milliseconds for a whole call with all its retries, where the call is given no timeout. Default 60,000. */
  readonly callTimeoutMs?: number | undefined
  /** Milliseconds after which metadata is asked for again though nothing went wrong. Default 300,000. */
  readonly metadataMaxAgeMs?: number | undefined
}

export interface ClientSettings {
  readonly bootstrap: readonly Address[]
  readonly clientId: string
  readonly logger: Logger
  readonly retry: RetryOptions
  /** Whether the caller named a number of retries: it then holds for the producer too, besides its deadline. */
  readonly areRetriesGiven: boolean
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly callTimeoutMs: number
  readonly metadataMaxAgeMs: number
}

/** Answers what the value should have been, or undefined when it is legal. */
export type Rule = (value: unknown) => string | undefined

export function integerFrom(min: number, max: number = Number.MAX_SAFE_INTEGER): Rule {
  return (value) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? undefined
      : max === Number.MAX_SAFE_INTEGER
        ? `an integer from ${min} on`
        : `an integer from ${min} to ${max}`
}

export function oneOf(...choices: readonly unknown[]): Rule {
  return (value) => (choices.includes(value) ? undefined : `one of ${choices.map((c) => JSON.stringify(c)).join(', ')}`)
}

export const isBoolean: Rule = (value) => (typeof value === 'boolean' ? undefined : 'true or false')
export const isFunction: Rule = (value) => (typeof value === 'function' ? undefined : 'a function')
export const isObject: Rule = (value) => (isRecord(value) ? undefined : 'an object')
export const isSignal: Rule = (value) => (value instanceof AbortSignal ? undefined : 'an AbortSignal')
export const topicName: Rule = (value) =>
  typeof value === 'string' && value.length > 0 ? undefined : 'a topic name, a string that is not empty'

export const WAIT_RULES = { signal: isSignal, timeoutMs: integerFrom(1) } as const

/** @throws INVALID_ARGUMENT for an option that has no rule or does not follow it. undefined counts as not given. */
export function checkOptions(where: string, given: unknown, rules: Readonly<Record<string, Rule>>): void {
  if (!isRecord(given)) throw invalid(where, 'expects an object of options')
  for (const [name, value] of Object.entries(given)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    if (rule === undefined) {
      const near = nearest(name, Object.keys(rules))
      throw invalid(where, `there is no option ${name}${near === undefined ? '' : `; did you mean ${near}?`}`)
    }
    if (value === undefined) continue
    const expected = rule(value)
    if (expected !== undefined) throw invalid(where, `${name} must be ${expected}, not ${show(value)}`)
  }
}

const isSerde: Rule = (value) =>
  isRecord(value) && (typeof value['serialize'] === 'function' || typeof value['deserialize'] === 'function')
    ? undefined
    : 'an object with the function serialize or deserialize'

/** For the options serializers and deserializers. */
export const keyAndValueSerde: Rule = (value) => {
  if (!isRecord(value)) return 'an object with key, value or both'
  for (const [name, serde] of Object.entries(value)) {
    if (name !== 'key' && name !== 'value') return `an object with key and value, without ${name}`
    if (serde === undefined) continue
    const expected = isSerde(serde)
    if (expected !== undefined) return `an object whose ${name} is ${expected}`
  }
  return undefined
}

const LOGGER_RULE: Rule = (value) =>
  isRecord(value) && ['debug', 'info', 'warn', 'error'].every((name) => typeof value[name] === 'function')
    ? undefined
    : 'an object with the functions debug, info, warn and error'

const CONNECT_RULES = {
  brokers: (value: unknown) =>
    (typeof value === 'string' && value !== '') ||
    (Array.isArray(value) && value.length > 0 && value.every((broker) => typeof broker === 'string'))
      ? undefined
      : "'host:port', or an array of one or more",
  clientId: (value: unknown) =>
    typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= CLIENT_ID_BYTES_MAX
      ? undefined
      : `text of 1 to ${CLIENT_ID_BYTES_MAX} bytes`,
  tls: (value: unknown) => (value === false ? undefined : 'left out: TLS is not available in this version'),
  sasl: () => 'left out: SASL is not available in this version',
  logger: LOGGER_RULE,
  retry: isObject,
  connectTimeoutMs: integerFrom(1),
  requestTimeoutMs: integerFrom(1),
  callTimeoutMs: integerFrom(1),
  metadataMaxAgeMs: integerFrom(100),
} satisfies Record<string, Rule>

const RETRY_RULES = { retries: integerFrom(0), minMs: integerFrom(1), maxMs: integerFrom(1) }

/** @throws INVALID_ARGUMENT. */
export function readConnectOptions(options: ConnectOptions): ClientSettings {
  checkOptions('connect', options, CONNECT_RULES)
  if (options.brokers === undefined) throw invalid('connect', "brokers must be given: an array of 'host:port'")
  const retry = options.retry ?? {}
  checkOptions('connect: retry', retry, RETRY_RULES)
  const minMs = retry.minMs ?? 50
  const brokers = typeof options.brokers === 'string' ? options.brokers.split(',') : options.brokers
  return {
    bootstrap: brokers.map((broker) => parseAddress(broker.trim())),
    clientId: options.clientId ?? 'tidemark',
    logger: options.logger ?? silentLogger,
    retry: { retries: retry.retries ?? 8, minMs, maxMs: Math.max(minMs, retry.maxMs ?? 5_000) },
    areRetriesGiven: retry.retries !== undefined,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 30_000,
    callTimeoutMs: options.callTimeoutMs ?? 60_000,
    metadataMaxAgeMs: options.metadataMaxAgeMs ?? 300_000,
  }
}

const PORT_DEFAULT = 9092

/** host, host:port or [v6]:port. @throws INVALID_ARGUMENT. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.%\w]+)\]|(?<host>[^:[\]/\s]+))(?::(?<port>\d{1,5}))?$/.exec(text)
  const host = match?.groups?.['v6'] ?? match?.groups?.['host']
  const port = Number(match?.groups?.['port'] ?? PORT_DEFAULT)
  if (host === undefined || port < 1 || port > 65_535) {
    throw invalid('connect', `a broker is written as host:port, not ${show(text)}`)
  }
  return { host, port }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(where: string, what: string): Error {
  return errorOf('INVALID_ARGUMENT', `${where}: ${what}`)
}

function show(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : String(value)
}

/** The known name that is closest to a misspelt one, if any is close. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let at = 1; at <= from.length; at += 1) {
    const next = [at]
    for (let other = 1; other <= to.length; other += 1) {
      const isSame = from[at - 1] === to[other - 1]
      const replaced = (row[other - 1] ?? 0) + (isSame ? 0 : 1)
      next.push(Math.min(replaced, (row[other] ?? 0) + 1, (next[other - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}
