// Where reading may begin and end, as the application says it: words, offsets, times, spans. Pure: turns what was given
// into one of a few kinds, and refuses the rest.

import { errorOf } from './errors.ts'

/**
 * 'start' and 'end' (also 'earliest', 'beginning', 'latest'); an offset; a negative number for so many records before the
 * end; a Date, or a string that Date reads, for the first record that is not older; '-10m' (ms, s, m, h, d, w) for that
 * long ago.
 */
export type ReadPosition = 'start' | 'end' | 'earliest' | 'latest' | 'beginning' | number | Date | (string & {})

/** One position for all partitions, or one for each by its number. */
export type ReadPositions =
  ReadPosition | { readonly [partition: number]: ReadPosition } | ReadonlyMap<number, ReadPosition>

export type ParsedPosition =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'before-end'; readonly count: number }
  | { readonly kind: 'time'; readonly timestamp: number }

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** now: milliseconds since 1970. @throws INVALID_ARGUMENT. */
export function parsePosition(position: ReadPosition, name: string, now: number): ParsedPosition {
  if (position instanceof Date) return atTime(position.getTime(), position, name)
  if (typeof position === 'number') {
    if (!Number.isSafeInteger(position)) throw illegal(position, name)
    return position < 0 ? { kind: 'before-end', count: -position } : { kind: 'offset', offset: position }
  }
  if (typeof position !== 'string') throw illegal(position, name)
  switch (position) {
    case 'start':
    case 'earliest':
    case 'beginning':
      return { kind: 'earliest' }
    case 'end':
    case 'latest':
      return { kind: 'latest' }
    default:
      break
  }
  const span = /^-(?<count>\d+(?:\.\d+)?)(?<unit>ms|s|m|h|d|w)$/.exec(position)?.groups
  if (span !== undefined) {
    const ago = Number(span['count']) * (UNIT_MS[span['unit'] ?? ''] ?? Number.NaN)
    return atTime(Math.max(0, Math.round(now - ago)), position, name)
  }
  // What looks like a date; Date.parse alone reads far too much.
  if (/^\d{4}-\d{2}-\d{2}/.test(position)) return atTime(Date.parse(position), position, name)
  throw illegal(position, name)
}

/** The positions by partition, when there is one for each; undefined when there is one for all. */
export function positionsByPartition(positions: ReadPositions): ReadonlyMap<number, ReadPosition> | undefined {
  if (positions instanceof Map) return positions as ReadonlyMap<number, ReadPosition>
  if (typeof positions !== 'object' || positions instanceof Date) return undefined
  const byPartition = new Map<number, ReadPosition>()
  for (const [name, position] of Object.entries(positions as Record<string, ReadPosition>)) {
    if (!/^\d+$/.test(name)) throw errorOf('INVALID_ARGUMENT', `read: ${name} is no partition number`)
    byPartition.set(Number(name), position)
  }
  return byPartition
}

function atTime(timestamp: number, given: unknown, name: string): ParsedPosition {
  if (!Number.isSafeInteger(timestamp) || timestamp < 0) throw illegal(given, name)
  return { kind: 'time', timestamp }
}

function illegal(position: unknown, name: string): Error {
  const text = `${name} must be 'start', 'end', an offset, a Date or a span like '-10m', not ${String(position)}`
  return errorOf('INVALID_ARGUMENT', text)
}
