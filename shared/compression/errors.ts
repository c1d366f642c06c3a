// How a codec refuses: malformed input, too much output, or no package to do the work.

import type { Codec } from '../record-batch/format.ts'
import { TidemarkError } from '../errors.ts'

export function corrupt(codec: Codec, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('CORRUPT_MESSAGE', `${codec}: ${what}`, { cause })
}

export function tooLarge(codec: Codec, bytesMax: number): TidemarkError {
  return corrupt(codec, `more than ${bytesMax} bytes come out`)
}

export function unavailable(codec: Codec, packages: string, cause?: unknown): TidemarkError {
  return new TidemarkError('UNSUPPORTED_COMPRESSION_TYPE', `${codec}: needs ${packages}`, { cause })
}
