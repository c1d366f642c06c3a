// What a failure looks like on a terminal: one line that says what and where, and one thing to try.

import type { ErrorCode } from '../../shared/errors.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { printable } from './printable.ts'

const HINTS: Partial<Record<ErrorCode, string>> = {
  CONNECTION_FAILED: 'is a broker running there? `tidemark start` runs one, --brokers HOST:PORT names another',
  UNKNOWN_TOPIC_OR_PARTITION: '`tidemark topic list` shows what there is',
  OFFSET_OUT_OF_RANGE: '`tidemark offsets TOPIC` shows what each partition has',
  DIRECTORY_LOCKED: 'stop that broker, or choose another directory with --data-dir',
  DISK_FULL: 'free some space; the broker then goes on by itself',
  TIMEOUT: '`tidemark cluster health` says how the broker is; --timeout gives it longer',
}

const USAGE_CODES: ReadonlySet<ErrorCode> = new Set(['INVALID_OPTION', 'INVALID_ARGUMENT'])

export function describeError(error: unknown): { readonly line: string; readonly exitCode: number } {
  if (error instanceof TidemarkError) {
    const hint = HINTS[error.code]
    const line = `${oneLine(error.message)} (${error.code})${hint === undefined ? '' : `: ${hint}`}`
    return { line, exitCode: USAGE_CODES.has(error.code) ? 2 : 1 }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { line: `${oneLine(message)}; -v shows more`, exitCode: 1 }
}

function oneLine(text: string): string {
  return printable(text.replace(/\s*\n\s*/g, ' '))
}
