// What compaction does to a log of the model: which records it takes, and what must be true of the ones that are left. Keys and
// tombstones are read off the values, so that a record is the same wherever it stands. Owns no rule of replication.

import type { LogCompactionView } from '../../broker/replication/divergence.ts'
import type { LogPosition } from '../../broker/replication/replication-events.ts'
import { DropHistory } from '../../broker/storage/drop-history.ts'
import type { Offset } from '../../shared/ids.ts'
import { offset } from '../../shared/ids.ts'
import type { Entry } from './model-log.ts'

const KEYS = 3

/** Undefined for what the replicas have written for themselves. */
function keyOf({ value, voters }: Entry): number | undefined {
  return value === 0 || voters !== undefined ? undefined : value % KEYS
}

function isTombstone({ value }: Entry): boolean {
  return Math.floor(value / KEYS) % 3 === 2
}

/** What a disk remembers of it; all of it is durable at once. */
export class ModelCompaction implements LogCompactionView {
  touchedTo = offset(0)
  floor: LogPosition | undefined = undefined
  readonly #history = new DropHistory()
  #droppedTo = offset(0)

  get drops(): number {
    return this.#history.count
  }

  droppedSince(drops?: number): Offset {
    return (drops === undefined ? undefined : this.#history.endSince(drops)) ?? this.#droppedTo
  }

  drop(endOffset: Offset): void {
    this.#history.add(endOffset)
    if (endOffset > this.#droppedTo) this.#droppedTo = endOffset
  }

  /** The log is empty now. */
  begin(droppedTo: Offset): void {
    this.#droppedTo = droppedTo
    this.touchedTo = droppedTo
  }
}

/** Of the entries, which begin at the offset, those that are superseded by others below the end. */
export function superseded(entries: readonly Entry[], startOffset: number, end: number): number[] {
  const last = new Map<number, number>()
  const below = entries.slice(0, Math.max(0, end - startOffset))
  for (const [at, entry] of below.entries()) {
    const key = keyOf(entry)
    if (key !== undefined) last.set(key, at)
  }
  return below.flatMap((entry, at) => {
    const key = keyOf(entry)
    return key === undefined || last.get(key) === at || entry.gone !== undefined ? [] : [at]
  })
}

/** Of the entries, the tombstones below the end that have nothing left to delete. */
export function spentTombstones(entries: readonly Entry[], startOffset: number, end: number): number[] {
  return entries.slice(0, Math.max(0, end - startOffset)).flatMap((entry, at) => {
    const key = keyOf(entry)
    if (key === undefined || entry.gone !== undefined || !isTombstone(entry)) return []
    const isSpent = entries.slice(0, at).every((before) => keyOf(before) !== key || before.gone !== undefined)
    return isSpent ? [at] : []
  })
}

/**
 * What is wrong with the keys of a log that somebody reads from its beginning; undefined when nothing is. One that is still
 * being copied need not have the newest record of each key.
 */
export function faultOfKeys(entries: readonly Entry[], startOffset: number, isComplete: boolean): string | undefined {
  const last = new Map<number, number>()
  for (const [at, entry] of entries.entries()) {
    const key = keyOf(entry)
    if (key !== undefined) last.set(key, at)
  }
  for (const [key, at] of last) {
    const newest = entries[at]
    if (newest?.gone === undefined) continue
    const back = entries.find((entry) => keyOf(entry) === key && entry.gone === undefined)
    const isBack = newest.gone === 'dropped' && back !== undefined
    if (isBack) return `key ${key} was deleted by ${newest.value}, and ${back.value} is there again`
    const isLost = isComplete && (newest.gone === 'superseded' || back !== undefined)
    if (isLost) return `key ${key}: ${newest.value} at offset ${startOffset + at} is gone, and is the last`
  }
  return undefined
}
