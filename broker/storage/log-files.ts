// What is found in a partition's directory when its log is opened: segments by name and size, and the small files beside
// them. Owns the reading of names and small files; reads no batch and judges nothing.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import { readCheckpoint, TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import {
  CUT_FILE,
  isCleanedFile,
  LEADER_EPOCHS_FILE,
  LOG_START_FILE,
  offsetIndexFile,
  parseLogFileName,
  parseSwapFile,
  producersFile,
  QUARANTINE_FILE,
  timeIndexFile,
  VOTERS_FILE,
} from './file-names.ts'
import type { FoundVoters } from './kept-voters.ts'
import { NO_VOTERS, readVoters } from './kept-voters.ts'
import type { LeaderEpochCache } from './leader-epoch-cache.ts'
import type { ProducerState } from './producer-state.ts'
import { Quarantine } from './quarantine.ts'
import { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'

export interface FoundFiles {
  /** In order of base offset; the last one is not sealed. May be empty. */
  readonly segments: Segment[]
  /** End offsets of producer snapshots, newest first. */
  readonly snapshots: Offset[]
  /** Undefined when there is no file, or a damaged one. */
  readonly logStartOffset: Offset | undefined
  /** Undefined when the file is there and damaged. */
  readonly quarantine: Quarantine | undefined
  /** Undefined when the file is there and damaged. */
  readonly voters: FoundVoters | undefined
  readonly hasUnfinishedCut: boolean
  /** A compacted segment waits for its place: the log must be recovered. */
  readonly hasUnfinishedSwap: boolean
}

/** @throws DiskError */
export function findFiles(context: StorageContext, directory: string): FoundFiles {
  const { disk } = context
  const names = disk.list(directory)
  const bases: Offset[] = []
  const snapshots: Offset[] = []
  const indexes: string[] = []
  for (const name of names) {
    const parsed = parseLogFileName(name)
    if (parsed?.kind === 'log') bases.push(parsed.offset)
    else if (parsed?.kind === 'producers') snapshots.push(parsed.offset)
    else if (parsed !== undefined) indexes.push(name)
    else if (name.endsWith(TEMPORARY_SUFFIX) || isCleanedFile(name)) disk.remove(`${directory}/${name}`)
  }
  removeOrphans(context, directory, indexes, bases)
  const segments = bases.map((baseOffset, at) => {
    const isSealed = at < bases.length - 1
    const segment = new Segment(directory, baseOffset, 0, isSealed)
    const stat = disk.stat(segment.file.path)
    segment.setFound(stat?.size ?? 0, stat?.modifiedMs)
    return segment
  })
  const quarantine = names.includes(QUARANTINE_FILE) ? readQuarantine(context, directory) : new Quarantine()
  if (quarantine !== undefined) placeLost(segments, quarantine)
  return {
    segments,
    snapshots: snapshots.toReversed(),
    logStartOffset: names.includes(LOG_START_FILE) ? readLogStart(context, directory) : undefined,
    quarantine,
    voters: names.includes(VOTERS_FILE) ? readVoters(context, directory) : NO_VOTERS,
    hasUnfinishedCut: names.includes(CUT_FILE),
    hasUnfinishedSwap: names.some((name) => parseSwapFile(name) !== undefined),
  }
}

/** Where a log starts that a clean stop has left starting at `recorded`; undefined when files are missing since. */
export function startAfterStop(found: FoundFiles, recorded: Offset): Offset | undefined {
  const first = found.segments[0]?.baseOffset ?? recorded
  const own = found.logStartOffset ?? first
  const start = Math.max(own, recorded) as Offset
  const isThere = first <= start || found.quarantine?.rangeAt(start)?.endOffset === first
  return own < recorded || !isThere || (found.logStartOffset === undefined && own > recorded) ? undefined : start
}

/** Tells the segments which of their bytes are lost. */
export function placeLost(segments: readonly Segment[], quarantine: Quarantine): void {
  if (quarantine.ranges.length === 0) return
  for (const segment of segments) {
    const lost = quarantine.ranges.filter((range) => range.segmentBase === segment.baseOffset)
    if (lost.length > 0) segment.lost = lost.toSorted((a, b) => a.position - b.position)
  }
}

/** The value of a small file; undefined when there is none or it is damaged, which the events are told. */
function readCache(context: StorageContext, directory: string, name: string): unknown {
  try {
    return readCheckpoint(context.disk, `${directory}/${name}`)
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
    context.events.onCacheRebuilt?.(directory, name, error.message)
    return undefined
  }
}

/** A place in the log that an offset was found at, so that nothing need be searched. */
export interface LogPlace {
  readonly offset: Offset
  readonly segmentBase: Offset
  readonly position: number
}

interface ProducerSnapshot extends LogPlace {
  readonly producers: unknown
}

export function producerSnapshot(state: ProducerState | undefined, place: LogPlace): ProducerSnapshot {
  return { ...place, producers: state?.snapshot(place.offset) ?? [] }
}

/** Restores the newest sound snapshot at or below the offset into the state; answers where it was made. */
export function restoreProducers(
  context: StorageContext,
  directory: string,
  snapshots: readonly Offset[],
  endOffset: Offset,
  state: ProducerState,
): LogPlace | undefined {
  for (const snapshot of snapshots) {
    if (snapshot > endOffset) continue
    const name = producersFile(snapshot)
    const value = readCache(context, directory, name)
    if (value === undefined) continue
    if (isProducerSnapshot(value) && value.offset === snapshot && state.restore(value.producers)) return value
    context.events.onCacheRebuilt?.(directory, name, 'it is no snapshot')
  }
  state.clear()
  return undefined
}

/** Restores the cache; false when the file is missing or damaged. */
export function restoreEpochs(context: StorageContext, directory: string, epochs: LeaderEpochCache): boolean {
  const value = readCache(context, directory, LEADER_EPOCHS_FILE)
  return value !== undefined && epochs.restore(value)
}

function readLogStart(context: StorageContext, directory: string): Offset | undefined {
  const value = readCache(context, directory, LOG_START_FILE)
  return Number.isSafeInteger(value) && Number(value) >= 0 ? (value as Offset) : undefined
}

function readQuarantine(context: StorageContext, directory: string): Quarantine | undefined {
  const value = readCache(context, directory, QUARANTINE_FILE)
  return value === undefined ? undefined : Quarantine.restore(value)
}

/** Indexes of segments that are gone. */
function removeOrphans(context: StorageContext, directory: string, indexes: string[], bases: readonly Offset[]): void {
  if (indexes.length === 0) return
  const owned = new Set<string>()
  for (const base of bases) owned.add(offsetIndexFile(base)).add(timeIndexFile(base))
  for (const name of indexes) if (!owned.has(name)) context.disk.remove(`${directory}/${name}`)
}

function isProducerSnapshot(value: unknown): value is ProducerSnapshot {
  if (typeof value !== 'object' || value === null) return false
  const snapshot = value as Partial<Record<keyof ProducerSnapshot, unknown>>
  return [snapshot.offset, snapshot.segmentBase, snapshot.position].every(
    (number) => Number.isSafeInteger(number) && Number(number) >= 0,
  )
}
