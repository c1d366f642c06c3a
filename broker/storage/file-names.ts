// The names of the files in a partition's directory (FORMAT.md). Owns how an offset becomes a name and back; knows nothing
// of what the files hold. A name that this file did not make is not one of ours and is left alone.

import type { Offset, TimestampMs } from '../../shared/ids.ts'

const OFFSET_DIGITS = 20
const NAME_PATTERN = /^(\d{20})\.(log|index|timeindex|producers)$/

const CLEANED_PATTERN = /^\d{20}\.cleaned$/
const SWAP_PATTERN = /^(\d{20})-(\d{20})\.swap$/

const CUT_PATTERN = /^\d{20}-\d+\.(\d{1,16})\.truncated$/

export const LEADER_EPOCHS_FILE = 'leader-epochs'
export const VOTERS_FILE = 'voters'
export const LOG_START_FILE = 'log-start'
export const QUARANTINE_FILE = 'quarantine'
/** There when a sync has failed; see failed-sync.ts. */
export const SYNC_FAILED_FILE = 'sync-failed'

/** There as long as no leader has found the log complete; see partition-directories.ts. */
export const NEWCOMER_FILE = 'newcomer'

/** There while a log is being cut back; see unfinished-cut.ts. */
export const CUT_FILE = 'cut'

/** How far the log is compacted; see compacted-mark.ts. */
export const COMPACTED_FILE = 'compacted'

export type LogFileKind = 'log' | 'index' | 'timeindex' | 'producers'
type KeptFileKind = 'corrupt' | 'truncated'

export interface LogFileName {
  readonly kind: LogFileKind
  /** The base offset of a segment and its indexes; the end offset of a snapshot. */
  readonly offset: Offset
}

export function logFile(baseOffset: Offset): string {
  return `${digits(baseOffset)}.log`
}

export function offsetIndexFile(baseOffset: Offset): string {
  return `${digits(baseOffset)}.index`
}

export function timeIndexFile(baseOffset: Offset): string {
  return `${digits(baseOffset)}.timeindex`
}

export function producersFile(endOffset: Offset): string {
  return `${digits(endOffset)}.producers`
}

/** Where bytes that must not stay in the log's way are kept for a person to look at. */
export function keptFile(kind: KeptFileKind, baseOffset: Offset, position: number): string {
  return `${digits(baseOffset)}-${position}.${kind}`
}

/** Where bytes that a cut takes away are kept for a while, from the given time on. */
export function cutFile(baseOffset: Offset, position: number, now: TimestampMs): string {
  return `${digits(baseOffset)}-${position}.${now}.truncated`
}

/** When the bytes under this name were cut off; undefined when it is no name of cutFile. */
export function parseCutFile(name: string): TimestampMs | undefined {
  const match = CUT_PATTERN.exec(name)
  return match === null ? undefined : (Number(match[1]) as TimestampMs)
}

/** A compacted segment that is being written. */
export function cleanedFile(baseOffset: Offset): string {
  return `${digits(baseOffset)}.cleaned`
}

export function isCleanedFile(name: string): boolean {
  return CLEANED_PATTERN.test(name)
}

/** A compacted segment that stands for all segments with offsets from the one up to the other. */
export function swapFile(baseOffset: Offset, endOffset: Offset): string {
  return `${digits(baseOffset)}-${digits(endOffset)}.swap`
}

/** Which offsets the compacted segment of this name stands for; undefined when it is no name of swapFile. */
export function parseSwapFile(name: string): { readonly baseOffset: Offset; readonly endOffset: Offset } | undefined {
  const match = SWAP_PATTERN.exec(name)
  if (match === null) return undefined
  const baseOffset = Number(match[1])
  const endOffset = Number(match[2])
  if (!Number.isSafeInteger(baseOffset) || !Number.isSafeInteger(endOffset)) return undefined
  return { baseOffset: baseOffset as Offset, endOffset: endOffset as Offset }
}

/** What the name says; undefined when it is none of a segment, an index or a snapshot. */
export function parseLogFileName(name: string): LogFileName | undefined {
  const match = NAME_PATTERN.exec(name)
  if (match === null) return undefined
  const value = Number(match[1])
  if (!Number.isSafeInteger(value)) return undefined
  return { kind: match[2] as LogFileKind, offset: value as Offset }
}

function digits(value: number): string {
  return String(value).padStart(OFFSET_DIGITS, '0')
}
