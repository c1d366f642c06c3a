// What `consume -o` and `group seek --to` may be: where to begin, and where to end, in the words of kcat.

import { UsageError } from './command.ts'
import { parseTimestamp } from './offsets.ts'

export type StartAt =
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'offset'; readonly offset: number }
  /** So many records before the end of each partition. */
  | { readonly kind: 'tail'; readonly records: number }
  | { readonly kind: 'timestamp'; readonly timestamp: number }

export interface OffsetRange {
  readonly from: StartAt
  /** Records of this time and later are not wanted; milliseconds. */
  readonly untilTimestamp: number | undefined
}

const STARTS: ReadonlySet<string> = new Set(['start', 'beginning', 'earliest', 'smallest'])
const ENDS: ReadonlySet<string> = new Set(['end', 'latest', 'largest'])

/** @throws UsageError */
export function parseOffsetRange(texts: readonly string[]): OffsetRange {
  let from: StartAt | undefined
  let untilTimestamp: number | undefined
  for (const text of texts) {
    if (text.startsWith('e@')) {
      if (untilTimestamp !== undefined) throw new UsageError('--offset: there are two ends')
      untilTimestamp = parseTimestamp(text.slice(2), '--offset e@')
      continue
    }
    if (from !== undefined) throw new UsageError(`--offset is given twice, the second time as '${text}'`)
    from = parseStart(text, '--offset')
    if (from === undefined) {
      throw new UsageError(`--offset must be start, end, N, -N, @TIMESTAMP, s@TIMESTAMP or e@TIMESTAMP, not '${text}'`)
    }
  }
  return { from: from ?? { kind: 'start' }, untilTimestamp }
}

/** Where to begin; undefined when the text does not say it. @throws UsageError for a time that is none, as of the option */
export function parseStart(text: string, option: string): StartAt | undefined {
  if (STARTS.has(text)) return { kind: 'start' }
  if (ENDS.has(text)) return { kind: 'end' }
  const timestamp = /^s?@(.*)$/.exec(text)?.[1]
  if (timestamp !== undefined) return { kind: 'timestamp', timestamp: parseTimestamp(timestamp, `${option} @`) }
  const number = Number(text)
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(number)) return undefined
  return number < 0 || Object.is(number, -0) ? { kind: 'tail', records: -number } : { kind: 'offset', offset: number }
}
