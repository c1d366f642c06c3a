// When to try again, and after how long. Pure: chance is handed in.

import type { ErrorCode, TidemarkError } from '../shared/errors.ts'
import type { Random } from '../shared/random.ts'
import { NotConnectedError } from './errors.ts'

export interface RetryOptions {
  /** How often a request is tried again before its error is the caller's. */
  readonly retries: number
  /** Milliseconds before the first retry; doubled with each one. */
  readonly minMs: number
  /** Milliseconds before any retry, at most. */
  readonly maxMs: number
}

/** Between attempts to connect to one broker. Short: a broker that is back may lead again at once. */
export const RECONNECT: Pick<RetryOptions, 'minMs' | 'maxMs'> = { minMs: 50, maxMs: 2_000 }

/** Milliseconds before the retry that follows `failures` failures (1 or more): doubling, with up to half taken by chance. */
export function backoffMs(failures: number, options: Pick<RetryOptions, 'minMs' | 'maxMs'>, random: Random): number {
  const full = Math.min(options.maxMs, options.minMs * 2 ** Math.min(failures - 1, 30))
  return full * (0.5 + 0.5 * random.fraction())
}

const METADATA_IS_STALE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_LEADER_OR_FOLLOWER',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'NOT_CONTROLLER',
  'STORAGE_ERROR',
  'SHUTTING_DOWN',
  'CONNECTION_FAILED',
  // A leader that is silent, or that its followers have left, may be one without knowing that it is none any more.
  'TIMEOUT',
  'REQUEST_TIMED_OUT',
  'NOT_ENOUGH_REPLICAS',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
])

/** Whether the error may mean that somebody else leads by now. */
export function isMetadataStale(code: ErrorCode): boolean {
  return METADATA_IS_STALE.has(code)
}

/** Whether the broker may have done the work all the same. */
export function isOutcomeUnknown(error: TidemarkError): boolean {
  if (error instanceof NotConnectedError) return false
  switch (error.code) {
    case 'CONNECTION_FAILED':
    case 'TIMEOUT':
    case 'REQUEST_TIMED_OUT':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
    case 'STORAGE_ERROR':
    case 'UNKNOWN_SERVER_ERROR':
    case 'MALFORMED_FRAME':
      return true
    default:
      return false
  }
}
