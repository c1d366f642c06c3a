// What a failure of the disk is to whoever uses a log. Owns the choice of the code; what the disk did not do goes through
// as it is.

import { TidemarkError } from '../../shared/errors.ts'
import { DiskError } from './disk.ts'

/** DISK_FULL or STORAGE_ERROR for what the disk said, with `what` it kept from happening. Rethrows what is no failure. */
export function failureOf(error: unknown, what: string): TidemarkError {
  if (error instanceof TidemarkError) return error
  if (!(error instanceof DiskError)) throw error
  const isFull = error.code === 'ENOSPC' || error.code === 'EDQUOT'
  return new TidemarkError(isFull ? 'DISK_FULL' : 'STORAGE_ERROR', `${what}: ${error.message}`, { cause: error })
}
