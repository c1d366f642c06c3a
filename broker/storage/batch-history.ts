// What the batches of a partition add up to: the state of its idempotent producers, which leader epoch began where, and
// its voters records. Owns the first two, reads them from their files when they are first needed and makes them from the
// log where a file is missing or damaged; an idle partition holds neither in memory. The third is kept-voters.ts.
//
// Invariant: once loaded, all cover everything up to the log end offset.

import { assert } from '../../shared/assert.ts'
import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import { baseOffsetAt, leaderEpochAt, producerIdAt } from '../../shared/record-batch/header.ts'
import { writeCheckpoint, writeCheckpointCached } from './checkpoint-file.ts'
import { DiskError } from './disk.ts'
import { LEADER_EPOCHS_FILE, parseLogFileName, producersFile } from './file-names.ts'
import { LeaderEpochCache } from './leader-epoch-cache.ts'
import type { KeptVoters } from './kept-voters.ts'
import type { LogPlace } from './log-files.ts'
import { producerSnapshot, restoreEpochs, restoreProducers } from './log-files.ts'
import { ProducerState } from './producer-state.ts'
import { walkSegmentSync } from './segment.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'
import { votersRecordAt } from './voters-record.ts'

/** Snapshots that are kept: the newest may lie above the recovery point. */
const SNAPSHOTS_KEPT = 2
/** A log that has grown by so much is worth a snapshot, so that a recovery need not look at it for producers. */
const SNAPSHOT_BYTES = 16 * 1024 * 1024

export class BatchHistory {
  readonly voters: KeptVoters
  readonly #context: StorageContext
  readonly #directory: string
  readonly #segments: Segments
  #producers: ProducerState | undefined
  #epochs: LeaderEpochCache | undefined
  /** The epochs without those of batches that are staged and may be taken back; undefined when there are none. */
  #writtenEpochs: LeaderEpochCache | undefined
  /** Epochs were assigned that the file does not have yet. */
  #hasUnsavedEpochs = false
  #snapshotOffset = -1
  #bytesSinceSnapshot = 0

  constructor(context: StorageContext, directory: string, segments: Segments, voters: KeptVoters) {
    this.voters = voters
    this.#context = context
    this.#directory = directory
    this.#segments = segments
  }

  /** Takes over what a recovery has found. */
  adopt(producers: ProducerState | undefined, epochs: LeaderEpochCache | undefined): void {
    producers?.settle()
    this.#producers = producers
    this.#epochs = epochs
    this.#hasUnsavedEpochs = epochs !== undefined && epochs.starts.length > 0
  }

  /** Undefined as long as nobody needed it. */
  get loadedProducers(): ProducerState | undefined {
    return this.#producers
  }

  get loadedEpochs(): LeaderEpochCache | undefined {
    return this.#epochs
  }

  /** What must be in the files before the recovery point may pass it is not. */
  get hasUnsaved(): boolean {
    return this.#hasUnsavedEpochs || this.voters.hasUnsaved
  }

  /** `endOffset` is the end of what stands in the files; nothing from a producer may be staged beyond it. */
  producers(endOffset: Offset, now: TimestampMs): ProducerState {
    this.#producers ??= this.#loadProducers(endOffset, now)
    return this.#producers
  }

  epochs(endOffset: Offset): LeaderEpochCache {
    this.#epochs ??= this.#loadEpochs(endOffset)
    return this.#epochs
  }

  /** Takes note of the epoch of a batch that is about to be staged at the offset. */
  assignEpoch(epoch: LeaderEpoch, startOffset: Offset): void {
    const { latest } = this.#epochs ?? {}
    if (this.#epochs === undefined || (latest !== undefined && epoch <= latest)) return
    if (this.#writtenEpochs === undefined) {
      this.#writtenEpochs = new LeaderEpochCache()
      this.#writtenEpochs.restore(this.#epochs.snapshot())
    }
    this.#epochs.assign(epoch, startOffset)
    this.#hasUnsavedEpochs = true
    this.#context.events.onNewEpoch?.(this.#directory, epoch, startOffset)
  }

  /**
   * The log is empty, and what comes before its end, which is not 0, was written in this epoch: what was known of another
   * beginning is not of this log. It begins below the log start, so that the first epoch that writes does not replace it.
   */
  assumeEpoch(epoch: LeaderEpoch, endOffset: Offset): void {
    assert(this.#writtenEpochs === undefined, 'nothing is staged when a log goes on elsewhere')
    assert(endOffset > 0, 'something comes before the end')
    this.#epochs = new LeaderEpochCache()
    this.#epochs.assign(epoch, (endOffset - 1) as Offset)
    this.#hasUnsavedEpochs = true
  }

  /** Takes note of a batch that is staged. */
  onStaged(bytes: Uint8Array, at: number, now: TimestampMs): void {
    if (producerIdAt(bytes, at) >= 0) this.#producers?.noteBatch(bytes, at, now)
    const record = votersRecordAt(bytes, at)
    if (record !== undefined) this.voters.append(record)
  }

  /** Undoes what was staged at and above the offset, and what a roll has noted of it. @throws DiskError */
  undo(offset: Offset): void {
    this.#producers?.undo(offset)
    this.voters.undo(offset)
    this.#epochs = this.#writtenEpochs ?? this.#epochs
    this.#writtenEpochs = undefined
    if (this.#snapshotOffset > offset) this.#removeSnapshotsBehind(offset)
  }

  /** The log was cut at the offset: what is known of producers is made again, from a snapshot below it. */
  truncate(offset: Offset, now: TimestampMs): void {
    this.#removeSnapshotsBehind(offset)
    // The file of epochs, if it was not read yet, knows of those that are gone too.
    if (this.epochs(offset).truncate(offset)) this.#hasUnsavedEpochs = true
    this.#producers = this.#loadProducers(offset, now)
  }

  /** All records are given up, and what comes next belongs behind others than they were: of their producers nothing is known. */
  forgetProducers(): void {
    this.#removeSnapshotsBehind(-1)
    this.#producers = new ProducerState({ producersMax: this.#context.producersMax })
  }

  /**
   * The log is about to begin at the offset: saves what could not be found in what is left of it. `endOffset` is the end
   * of what stands in the files. @throws DiskError
   */
  async beforeTrim(logStartOffset: Offset, endOffset: Offset): Promise<void> {
    await this.voters.save()
    if (logStartOffset >= endOffset) await this.#saveEpochs()
  }

  trim(logStartOffset: Offset): void {
    this.#writtenEpochs?.trim(logStartOffset)
    if (this.#epochs?.trim(logStartOffset) === true) this.#hasUnsavedEpochs = true
    this.voters.trimTo(logStartOffset)
  }

  /** What the recovery point may pass only when it is in its file: durable when it resolves. @throws DiskError */
  async save(): Promise<void> {
    await this.voters.save()
    await this.#saveEpochs()
  }

  async #saveEpochs(): Promise<void> {
    if (!this.#hasUnsavedEpochs || this.#epochs === undefined) return
    // An epoch of which nothing is written must not be found again: a replica would seem to hold what it does not.
    const written = this.#writtenEpochs ?? this.#epochs
    this.#hasUnsavedEpochs = this.#writtenEpochs !== undefined
    try {
      const path = `${this.#directory}/${LEADER_EPOCHS_FILE}`
      await writeCheckpoint(this.#context.disk, path, written.snapshot())
    } catch (error) {
      this.#hasUnsavedEpochs = true
      throw error
    }
  }

  onWritten(bytes: number): void {
    this.#producers?.settle()
    this.#writtenEpochs = undefined
    this.voters.onWritten()
    this.#bytesSinceSnapshot += bytes
  }

  /**
   * Writes a snapshot of the producers at this place, if that saves a recovery enough work or if it is asked for. A cache:
   * that it could not be written is answered with false.
   */
  saveProducers(place: LogPlace, now: TimestampMs, options?: { readonly isForced?: boolean }): boolean {
    if (this.#snapshotOffset === place.offset) return false
    if (options?.isForced !== true && this.#bytesSinceSnapshot < SNAPSHOT_BYTES) return false
    const { disk } = this.#context
    try {
      // A file of nobody would say that there are no producers, which has to be true.
      const state = this.#producers ?? this.#loadProducers(place.offset, now)
      writeCheckpointCached(disk, `${this.#directory}/${producersFile(place.offset)}`, producerSnapshot(state, place))
      for (const old of this.#snapshots().slice(SNAPSHOTS_KEPT)) {
        disk.remove(`${this.#directory}/${producersFile(old)}`)
      }
    } catch (error) {
      if (error instanceof DiskError) return false
      throw error
    }
    this.#snapshotOffset = place.offset
    this.#bytesSinceSnapshot = 0
    return true
  }

  /**
   * The segments below the offset are about to be written anew: no snapshot may speak of a place in them. The newest may have
   * been one of these, so that another is made first. `place` is the end of what stands in the files. @throws DiskError
   */
  leaveSnapshotsBelow(offset: Offset, place: LogPlace, now: TimestampMs): void {
    const snapshots = this.#snapshots()
    if ((snapshots[0] ?? -1) < offset) this.saveProducers(place, now, { isForced: true })
    for (const snapshot of snapshots) {
      if (snapshot < offset) this.#context.disk.remove(`${this.#directory}/${producersFile(snapshot)}`)
    }
  }

  /** Newest first. */
  #snapshots(): Offset[] {
    const offsets: Offset[] = []
    for (const name of this.#context.disk.list(this.#directory)) {
      const parsed = parseLogFileName(name)
      if (parsed?.kind === 'producers') offsets.push(parsed.offset)
    }
    return offsets.toReversed()
  }

  /** They know of batches that are not in the log any more, and would be believed as soon as it is that long again. */
  #removeSnapshotsBehind(offset: number): void {
    for (const snapshot of this.#snapshots()) {
      if (snapshot > offset) this.#context.disk.remove(`${this.#directory}/${producersFile(snapshot)}`)
    }
    this.#snapshotOffset = -1
  }

  #loadProducers(endOffset: Offset, now: TimestampMs): ProducerState {
    const state = new ProducerState({ producersMax: this.#context.producersMax })
    if (endOffset === 0) return state
    const from = restoreProducers(this.#context, this.#directory, this.#snapshots(), endOffset, state)
    this.#snapshotOffset = from?.offset ?? -1
    replayProducers(this.#context, this.#segments, state, { from, endOffset, now })
    state.settle()
    return state
  }

  #loadEpochs(endOffset: Offset): LeaderEpochCache {
    const epochs = new LeaderEpochCache()
    if (endOffset === 0) return epochs
    if (!restoreEpochs(this.#context, this.#directory, epochs)) {
      rebuildEpochs(this.#context, this.#segments, epochs, endOffset)
      this.#hasUnsavedEpochs = epochs.starts.length > 0
    }
    return epochs
  }
}

export interface ReplayRange {
  /** Where the snapshot was made; undefined to look at all that is young enough to matter. */
  readonly from: LogPlace | undefined
  readonly endOffset: Offset
  readonly now: TimestampMs
}

/** Adds the batches of the range to the state. Looks at frames only. @throws DiskError */
export function replayProducers(
  context: StorageContext,
  segments: Segments,
  state: ProducerState,
  range: ReplayRange,
): void {
  const { from, endOffset, now } = range
  for (const segment of segments) {
    if (segment.size === 0 || segment.baseOffset >= endOffset) continue
    const next = segments.after(segment.baseOffset)
    if (from !== undefined && next !== undefined && next.baseOffset <= from.offset) continue
    // Whoever wrote there last is forgotten by now.
    const isOld = now - (segment.lastAppendMs ?? now) > context.producerExpirationMs
    if (from === undefined && next !== undefined && isOld) continue
    const isPlace = from?.segmentBase === segment.baseOffset && from.position <= segment.size
    const file = context.files.acquire(segment.file)
    try {
      walkSegmentSync(segment, file, isPlace ? from.position : 0, segment.size, (bytes, at) => {
        const baseOffset = baseOffsetAt(bytes, at)
        if (baseOffset >= endOffset) return true
        if (baseOffset >= (from?.offset ?? 0) && producerIdAt(bytes, at) >= 0) state.noteBatch(bytes, at, now)
        return false
      })
    } finally {
      context.files.release(segment.file)
    }
  }
}

/**
 * Finds the epochs of all batches below the offset. A segment is looked through only where the first batches of it and of
 * the next one differ, since epochs never fall. @throws DiskError
 */
export function rebuildEpochs(
  context: StorageContext,
  segments: Segments,
  epochs: LeaderEpochCache,
  endOffset: Offset,
): void {
  for (const segment of segments) {
    if (segment.size === 0 || segment.baseOffset >= endOffset) continue
    const next = segments.after(segment.baseOffset)
    const first = firstEpochOf(context, segments, segment.baseOffset)
    const nextFirst = next === undefined ? undefined : firstEpochOf(context, segments, next.baseOffset)
    const isUniform = first !== undefined && first === nextFirst
    const file = context.files.acquire(segment.file)
    try {
      walkSegmentSync(segment, file, 0, segment.size, (bytes, at) => {
        if (baseOffsetAt(bytes, at) >= endOffset) return true
        const epoch = leaderEpochAt(bytes, at)
        if (epoch >= 0) epochs.assign(epoch, baseOffsetAt(bytes, at))
        return isUniform
      })
    } finally {
      context.files.release(segment.file)
    }
  }
}

function firstEpochOf(context: StorageContext, segments: Segments, baseOffset: Offset): LeaderEpoch | undefined {
  const segment = segments.floor(baseOffset)
  if (segment === undefined || segment.size === 0) return undefined
  let epoch: LeaderEpoch | undefined
  const file = context.files.acquire(segment.file)
  try {
    walkSegmentSync(segment, file, 0, segment.size, (bytes, at) => {
      epoch = leaderEpochAt(bytes, at)
      return true
    })
  } finally {
    context.files.release(segment.file)
  }
  return epoch
}
