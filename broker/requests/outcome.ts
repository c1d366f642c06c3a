// How an error becomes the two fields that answer for one topic or partition. 0 on the wire is "no error".

import type { ErrorCode } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import { ERRORS, TidemarkError } from '../../shared/errors.ts'

export interface WireOutcome {
  readonly error: number
  readonly message: string | undefined
}

export const NO_ERROR: WireOutcome = { error: 0, message: undefined }

export function refused(code: ErrorCode, message?: string): WireOutcome {
  return { error: ERRORS[code].number, message: message ?? ERRORS[code].about }
}

/** An error that is not ours is the broker's own fault: it is logged, and told as little as can be. */
export function outcomeOf(error: unknown, logger: Logger): WireOutcome {
  if (error instanceof TidemarkError) return refused(error.code, error.message)
  logger.error({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'a request failed')
  return refused('UNKNOWN_SERVER_ERROR')
}
