// What a recovery finds out about producers, leader epochs and voters: from the files beside the log up to where the scan
// begins, and from the scan's batches from there on. Owns the judgement whether a batch's epoch can be; knows nothing of
// what becomes of a batch that fails.

import { TidemarkError } from '../../shared/errors.ts'
import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import { baseOffsetAt, leaderEpochAt, producerIdAt } from '../../shared/record-batch/header.ts'
import { rebuildEpochs, replayProducers } from './batch-history.ts'
import { KeptVoters, votersOfLog } from './kept-voters.ts'
import type { EpochStart } from './leader-epoch-cache.ts'
import { LeaderEpochCache } from './leader-epoch-cache.ts'
import type { FoundFiles, LogPlace } from './log-files.ts'
import { restoreEpochs, restoreProducers } from './log-files.ts'
import { ProducerState } from './producer-state.ts'
import type { Quarantine } from './quarantine.ts'
import type { Segment } from './segment.ts'
import { walkSegmentSync } from './segment.ts'
import { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'
import type { VotersRecord } from './voters-history.ts'
import { votersFaultAt, votersRecordAt } from './voters-record.ts'

export interface RecoveredHistoryOptions {
  readonly context: StorageContext
  readonly directory: string
  readonly found: FoundFiles
  readonly logStartOffset: Offset
  readonly leaderEpochMax: LeaderEpoch | undefined
  readonly now: TimestampMs
}

export class RecoveredHistory {
  readonly producers: ProducerState
  readonly epochs = new LeaderEpochCache()
  readonly #options: RecoveredHistoryOptions
  /** Batches below are known to the producer state. */
  #producersEnd = 0 as Offset
  /** Of the newest batch scanned; epochs never fall. */
  #latestEpoch = -1 as LeaderEpoch
  /** The newest batch scanned, if it has begun a new epoch: one alone may be the one that is wrong. */
  #risen: { readonly position: number; readonly offset: Offset; readonly epochBefore: LeaderEpoch } | undefined
  #hasEpochFallen = false
  /** What the file of epochs says; undefined when there is none that is sound. */
  #savedEpochs: string | undefined
  /** Those that began below the log start: nothing may be left of the batches that they were saved for. */
  #trimmedEpochs: readonly EpochStart[] = []
  /** What the file of voters says. */
  #savedVoters: readonly VotersRecord[] = []
  /** Of the batches below the scan, and of those scanned. */
  #voters: VotersRecord[] = []

  constructor(options: RecoveredHistoryOptions) {
    this.#options = options
    this.producers = new ProducerState({ producersMax: options.context.producersMax })
  }

  get latestEpoch(): LeaderEpoch {
    return this.#latestEpoch
  }

  /** All up to where the scan starts. @throws FILE_CORRUPT when it is not known who the voters are */
  load(found: readonly Segment[], from: LogPlace): void {
    const { context, directory } = this.#options
    this.#loadVoters(found, from)
    const isRestored = restoreEpochs(context, directory, this.epochs)
    if (isRestored) {
      this.#savedEpochs = JSON.stringify(this.epochs.snapshot())
      this.#trimmedEpochs = this.epochs.starts.filter(({ startOffset }) => startOffset < this.#options.logStartOffset)
      this.epochs.truncate(from.offset)
    }
    if (found.length === 0) return
    const segments = new Segments(found.slice())
    this.#restoreProducers(segments, Infinity as Offset, from.offset)
    if (!isRestored) {
      rebuildEpochs(context, segments, this.epochs, from.offset)
      const isNews = this.epochs.starts.length > 0
      if (isNews) context.events.onCacheRebuilt?.(directory, 'leader-epochs', 'rebuilt from the log')
    }
    this.#latestEpoch = this.epochs.latest ?? (-1 as LeaderEpoch)
  }

  /**
   * Takes note of a batch that is sound by itself. Answers what is wrong with it after those before; then nothing is noted.
   * @throws DIRECTORY_FORMAT_UNKNOWN
   */
  note(bytes: Uint8Array, at: number, position: number): string | undefined {
    const offset = baseOffsetAt(bytes, at)
    const votersFault = votersFaultAt(bytes, at)
    if (votersFault?.code === 'DIRECTORY_FORMAT_UNKNOWN') throw votersFault
    const fault = votersFault?.message ?? this.#checkEpoch(leaderEpochAt(bytes, at), offset, position)
    if (fault !== undefined) return fault
    if (producerIdAt(bytes, at) >= 0 && offset >= this.#producersEnd) {
      this.producers.noteBatch(bytes, at, this.#options.now)
    }
    const record = votersRecordAt(bytes, at)
    // Below the log start the file tells, which knows whether the log has moved on from there.
    if (record !== undefined && offset >= this.#options.logStartOffset) this.#voters.push(record)
    return undefined
  }

  /**
   * When epochs fall behind a single batch with a greater one, it is that batch which is wrong: answers where it stands, as
   * if it had not been seen. To be asked once after every fault, with the epoch of the batch that failed.
   */
  takeRisen(failed: LeaderEpoch | undefined): { readonly position: number; readonly offset: Offset } | undefined {
    const risen = this.#risen
    const hasFallen = this.#hasEpochFallen
    this.#risen = undefined
    this.#hasEpochFallen = false
    if (risen === undefined || !hasFallen || failed === undefined || failed < risen.epochBefore) return undefined
    this.#latestEpoch = risen.epochBefore
    this.epochs.truncate(risen.offset)
    this.#voters = this.#voters.filter(({ offset }) => offset < risen.offset)
    return risen
  }

  /** The log ends at the offset: nothing behind it is known any more. */
  close(segments: readonly Segment[], logEndOffset: Offset): void {
    if (this.#producersEnd > logEndOffset) {
      this.#restoreProducers(new Segments(segments.slice()), logEndOffset, logEndOffset)
    }
    for (const { epoch, startOffset } of this.#trimmedEpochs) this.epochs.assign(epoch, startOffset)
  }

  /** Whether the files say all of it, so that the recovery point may pass it. */
  isSaved(voters: KeptVoters): boolean {
    const hasEpochs = this.epochs.starts.length > 0
    const areEpochsSaved = hasEpochs ? this.#savedEpochs === JSON.stringify(this.epochs.snapshot()) : true
    return areEpochsSaved && !voters.hasUnsaved
  }

  /**
   * The voters of the log as it is now. A record whose bytes the log has lost is still in force, if the file knows it: its
   * offset was never given out again.
   */
  votersOf(logEndOffset: Offset, quarantine: Quarantine): KeptVoters {
    const { context, directory, found } = this.#options
    const lost = this.#savedVoters.filter(({ offset }) => quarantine.rangeAt(offset) !== undefined)
    const known = new Map([...lost, ...this.#voters].map((record) => [record.offset, record]))
    const sorted = [...known.values()].filter(({ offset }) => offset < logEndOffset)
    sorted.sort((one, other) => one.offset - other.offset)
    const records = votersOfLog({ records: sorted, restart: undefined }, this.#options.logStartOffset)
    const isSaved =
      found.voters?.restart === undefined && JSON.stringify(records) === JSON.stringify(found.voters?.records)
    return new KeptVoters(context, directory, records, isSaved)
  }

  #loadVoters(segments: readonly Segment[], from: LogPlace): void {
    const { context, directory, found, logStartOffset } = this.#options
    if (found.voters !== undefined) {
      this.#savedVoters = votersOfLog(found.voters, logStartOffset)
      // Of those below the log start the file knows all, whatever is still there of the segments.
      const scanned = Math.max(from.offset, logStartOffset)
      this.#voters = this.#savedVoters.filter(({ offset }) => offset < scanned)
      return
    }
    if (logStartOffset > 0 || found.quarantine === undefined || found.quarantine.ranges.length > 0) {
      const text = `the voters file of ${directory} is damaged, and not all of the log is there to make it anew from`
      throw new TidemarkError('FILE_CORRUPT', `${text}: remove the directory, so that it is copied from its leader`)
    }
    this.#voters = rebuildVoters(context, segments, from.offset)
  }

  /** The epoch stands outside the checksum: it is checked against the batches before. Answers what is wrong with it. */
  #checkEpoch(epoch: LeaderEpoch, offset: Offset, position: number): string | undefined {
    const epochMax = this.#options.leaderEpochMax
    if (epochMax !== undefined && epoch > epochMax) return `its leader epoch is ${epoch}, the newest one is ${epochMax}`
    if (epoch < this.#latestEpoch) {
      this.#hasEpochFallen = true
      return `its leader epoch is ${epoch}, after ${this.#latestEpoch}`
    }
    this.#risen = epoch > this.#latestEpoch ? { position, offset, epochBefore: this.#latestEpoch } : undefined
    this.#latestEpoch = epoch
    this.epochs.assign(epoch, offset)
    return undefined
  }

  /**
   * The producers as the newest snapshot at or below `snapshotMax` knows them, and from there to endOffset; the scan goes on
   * from where the two end. A snapshot may know producers of whom retention has left nothing in the log.
   */
  #restoreProducers(segments: Segments, snapshotMax: Offset, endOffset: Offset): void {
    const { context, directory, found, now } = this.#options
    const place = restoreProducers(context, directory, found.snapshots, snapshotMax, this.producers)
    this.#producersEnd = Math.max(place?.offset ?? 0, endOffset) as Offset
    if (endOffset > (place?.offset ?? 0)) {
      replayProducers(context, segments, this.producers, { from: place, endOffset, now })
    }
  }
}

/** Finds the voters records below the offset by looking at every batch. @throws DiskError */
function rebuildVoters(context: StorageContext, segments: readonly Segment[], endOffset: Offset): VotersRecord[] {
  const records: VotersRecord[] = []
  for (const segment of segments) {
    if (segment.size === 0 || segment.baseOffset >= endOffset) continue
    const file = context.files.acquire(segment.file)
    try {
      walkSegmentSync(segment, file, 0, segment.size, (bytes, at) => {
        if (baseOffsetAt(bytes, at) >= endOffset) return true
        const record = votersRecordAt(bytes, at)
        if (record !== undefined) records.push(record)
        return false
      })
    } finally {
      context.files.release(segment.file)
    }
  }
  return records
}
