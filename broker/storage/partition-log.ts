// One partition's log: appended to in memory, written once a turn, synced when somebody waits for it, read from memory or
// from files. Owns the offsets that everything else goes by, and what happens to them when the disk fails. Knows nothing
// of leaders' elections, replicas, topics or requests.
//
// Invariants: logStartOffset <= writtenEndOffset <= logEndOffset; recoveryPoint.offset <= writtenEndOffset; what is below
// writtenEndOffset stands in the files; everything below the recovery point is on stable storage. Offsets are given out
// without a gap and never twice, save that a failed write takes back those that nobody was told of.

import { assert } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import { refusal, type AppendResult, type RefusedAppend } from './append-check.ts'
import { BatchHistory } from './batch-history.ts'
import { writeCheckpoint } from './checkpoint-file.ts'
import { DiskError } from './disk.ts'
import { Exclusive } from './exclusive.ts'
import { DirectorySyncError, noteFailedSync, syncNames } from './failed-sync.ts'
import { LOG_START_FILE, QUARANTINE_FILE } from './file-names.ts'
import { EmptySlice, type ReadSlice } from './hot-tail.ts'
import { LogAppender, type ControlRecord } from './log-appender.ts'
import { expireKept } from './kept-files.ts'
import { type CompactedParts, LogCompaction } from './log-compaction.ts'
import type { LogConfig } from './log-config.ts'
import type { LogCheckpoint, LogDescription, LogParts, LogState, TruncateResult } from './log-description.ts'
import { describeLog } from './log-description.ts'
import type { LogPlace } from './log-files.ts'
import { failureOf } from './log-failure.ts'
import { LogReader } from './log-reader.ts'
import { LogStanding } from './log-standing.ts'
import { LogWriter, type WriteMark } from './log-writer.ts'
import { type RepairParts, repairRange } from './log-repair.ts'
import { forgetIndexes, scrubSealed, scrubSegment } from './log-scrub.ts'
import { QuarantinedError, type Quarantine, type QuarantinedRange } from './quarantine.ts'
import { unavailable, type ReplicatedAppendOptions, type ReplicatedAppendResult } from './replica-check.ts'
import type { DescribedProducer } from './producer-state.ts'
import { Retention } from './retention.ts'
import type { Segment } from './segment.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'
import { forgetCut, noteCut } from './unfinished-cut.ts'
import type { VotersRecord } from './voters-history.ts'

const IDLE: Promise<void> = Promise.resolve()

export class PartitionLog {
  readonly directory: string
  config: LogConfig
  readonly #context: StorageContext
  readonly #segments: Segments
  readonly #quarantine: Quarantine
  readonly #history: BatchHistory
  readonly #writer: LogWriter
  readonly #appender: LogAppender
  readonly #standing: LogStanding
  #logStartOffset: Offset
  #writtenEndOffset: Offset
  #recoveryPoint: LogPlace
  #reader: LogReader | undefined
  #retention: Retention | undefined
  #compaction: LogCompaction | undefined
  #lastScrubbed: Segment | undefined
  /** Whether there may be bytes that a cut has left for a person to look at. */
  #mayHaveKept = true
  /** Nothing has changed since a clean stop. */
  #isUntouched: boolean
  #isClosed = false
  /** Grows with every truncation; a read that straddles one begins anew. */
  #truncations = 0
  /** Cuts that were asked for and are not durable yet. */
  #cuts = 0
  /** For what must not be interleaved with its like: syncs, trims, cuts, closing. */
  readonly #alone = new Exclusive()
  #nextSync: Promise<void> | undefined

  constructor(parts: LogParts) {
    assert(parts.logStartOffset <= parts.logEndOffset, 'a log does not start behind its end')
    assert(parts.recoveryPoint.offset <= parts.logEndOffset, 'what is synced is there')
    this.directory = parts.directory
    this.#context = parts.context
    this.#segments = parts.segments
    this.#quarantine = parts.quarantine
    this.config = parts.config
    this.#logStartOffset = parts.logStartOffset
    this.#writtenEndOffset = parts.logEndOffset
    this.#recoveryPoint = parts.recoveryPoint
    this.#isUntouched = parts.isClean
    this.#standing = new LogStanding(parts.context, parts.directory)
    this.#history = new BatchHistory(parts.context, parts.directory, parts.segments, parts.voters)
    if (!parts.isClean) this.#history.adopt(parts.producers, parts.epochs)
    this.#writer = new LogWriter(parts.context, parts.directory, parts.segments, this.#history)
    this.#writer.isDirectorySynced = parts.isDirectorySynced
    this.#appender = new LogAppender({ ...parts, history: this.#history })
  }

  get state(): LogState {
    return this.#standing.state
  }

  /** The oldest offset that may be read. */
  get logStartOffset(): Offset {
    return this.#logStartOffset
  }

  /** The offset that the next record gets; exclusive end of all that was appended. */
  get logEndOffset(): Offset {
    return this.#appender.logEndOffset
  }

  /** Exclusive end of what stands in the files and may be read. */
  get writtenEndOffset(): Offset {
    return this.#writtenEndOffset
  }

  /** Everything below is on stable storage. */
  get recoveryPoint(): Offset {
    return this.#recoveryPoint.offset
  }

  get bytes(): number {
    return this.#segments.bytes
  }

  /** Bytes appended and not yet written. */
  get stagedBytes(): number {
    return this.#appender.stagedBytes
  }

  get quarantined(): readonly QuarantinedRange[] {
    return this.#quarantine.ranges
  }

  /** The epoch of the newest batch. Reads a small file when it is first asked. */
  get latestEpoch(): LeaderEpoch | undefined {
    return this.#history.epochs(this.#writtenEndOffset).latest
  }

  /** Where the leader epoch ends, as LeaderEpochCache.endOffsetFor. */
  epochEndOffset(epoch: LeaderEpoch): { readonly epoch: LeaderEpoch; readonly endOffset: Offset } | undefined {
    return this.#history.epochs(this.#writtenEndOffset).endOffsetFor(epoch, this.logEndOffset)
  }

  /** The leader epoch of the batch at the offset; at the end, of the newest one. Undefined below the first known one. */
  epochAt(at: Offset): LeaderEpoch | undefined {
    return this.#history.epochs(this.#writtenEndOffset).epochAt(at)
  }

  /** The idempotent producers that are remembered. Reads a small file when it is first asked. */
  describeProducers(now: TimestampMs): readonly DescribedProducer[] {
    return this.#history.producers(this.#writtenEndOffset, now).describe()
  }

  /** The voters records of the log, staged ones too, and the last one below its start. The same list as long as none changes. */
  get votersRecords(): readonly VotersRecord[] {
    return this.#history.voters.records
  }

  /** How far a replica may count what is written as held: no voters record is, until it is durable. */
  get heldEndOffset(): Offset {
    return this.#history.voters.heldEndOffset(this.#writtenEndOffset, this.#recoveryPoint.offset)
  }

  /**
   * What stands before the end was written in this epoch, although none of it is here: for an empty log that has moved on.
   * Durable with the next sync.
   */
  assumeEpoch(epoch: LeaderEpoch): void {
    this.#history.assumeEpoch(epoch, this.#writtenEndOffset)
  }

  /**
   * Appends the batches in `records` in memory and gives them their offsets; all or none. They are written by the next
   * `write`, which may take the offsets back. `records` is not kept. With `mayDiffer`, a batch that a producer sends again may
   * have other bytes.
   */
  append(records: Uint8Array, epoch: LeaderEpoch, now: TimestampMs, mayDiffer = false): AppendResult {
    return this.#refuseAll() ?? this.#appender.append(records, { epoch, now }, this.config, mayDiffer)
  }

  /** The batches in `records` were refused before they came here, for a reason that may pass; no append that follows them may. */
  noteRefused(records: Uint8Array, now: TimestampMs): void {
    if (this.#refuseAll() === undefined) this.#appender.noteRefused(records, now, this.config)
  }

  /**
   * Appends batches of another log, as `append`, with the offsets and times that they have there: none may be below the log
   * end offset, and offsets that are missing between them are gaps here. They belong to no producer.
   */
  appendKept(records: Uint8Array, epoch: LeaderEpoch, now: TimestampMs): AppendResult {
    return this.#refuseAll() ?? this.#appender.appendKept(records, { epoch, now }, this.config)
  }

  /** Appends a record of the broker's own, as `append`: a new leader opens its epoch with one. */
  appendControl(record: ControlRecord, epoch: LeaderEpoch, now: TimestampMs): AppendResult {
    return this.#refuseAll() ?? this.#appender.appendControl(record, { epoch, now }, this.config)
  }

  /**
   * Appends batches of the leader as they are, with the offsets and epochs that it gave them; all or none. The log is then
   * byte for byte the leader's. They are written by the next `write`, as everything. `records` is not kept.
   */
  appendReplicated(records: Uint8Array, now: TimestampMs, options: ReplicatedAppendOptions): ReplicatedAppendResult {
    const refused = this.#refuseAll()
    if (refused !== undefined) return unavailable(refused)
    return this.#appender.appendReplicated(records, now, options, this.config)
  }

  /**
   * Writes all that is staged. Answers why it could not: then everything staged is undone, and the log end offset is again
   * what it was before. Nothing staged is no failure.
   */
  write(): TidemarkError | undefined {
    const { staged, stagedBytes, lastAppendMs } = this.#appender
    if (staged.length === 0) return undefined
    const mark = this.#writer.mark()
    try {
      this.#writer.write(staged, lastAppendMs, this.config.indexIntervalBytes)
    } catch (error) {
      const failure = failureOf(error, `${this.directory} cannot be written`)
      this.#undoWrite(mark, failure)
      return failure
    }
    this.#history.onWritten(stagedBytes)
    this.#appender.settle()
    this.#writtenEndOffset = this.#appender.logEndOffset
    this.#isUntouched = false
    this.#context.tails.shrink()
    return undefined
  }

  /**
   * Resolves when everything written before the call is on stable storage. Calls that come together share one sync. A
   * failure is final: the log is read-only from then on. @throws STORAGE_ERROR
   */
  sync(): Promise<void> {
    const isMarked = this.#recoveryPoint.offset === this.#writtenEndOffset && this.#nextSync === undefined
    if (isMarked && !this.#writer.hasUnsynced && !this.#history.hasUnsaved) {
      const { state } = this.#standing
      return state.kind === 'read-only' ? Promise.reject(state.reason) : IDLE
    }
    this.#nextSync ??= this.#alone.run(() => {
      this.#nextSync = undefined
      return this.#syncNow()
    })
    return this.#nextSync
  }

  /** A name in the directory has changed by another hand: the next sync covers it. */
  noteNamesChanged(): void {
    this.#writer.isDirectorySynced = false
  }

  /**
   * What memory holds from the batch at fetchOffset on, at once; undefined when it must be read from a file. Never past
   * endOffset or what is written. @throws OFFSET_OUT_OF_RANGE, QUARANTINED
   */
  readTail(fetchOffset: Offset, maxBytes: number, endOffset: Offset): ReadSlice | undefined {
    const end = Math.min(endOffset, this.#writtenEndOffset) as Offset
    if (fetchOffset >= this.#logStartOffset) {
      if (fetchOffset < end) {
        const slice = this.#appender.readTail(fetchOffset, maxBytes, end)
        if (slice !== undefined) return slice
      } else if (fetchOffset <= this.logEndOffset) {
        return new EmptySlice(fetchOffset)
      }
    }
    this.#checkReadable(fetchOffset)
    return undefined
  }

  /**
   * The batches from the one that holds fetchOffset on, at least one, then as many as fit maxBytes; none past endOffset.
   * Empty when there is nothing to read yet.
   * @throws OFFSET_OUT_OF_RANGE, QUARANTINED (QuarantinedError), CORRUPT_MESSAGE, STORAGE_ERROR
   */
  async read(fetchOffset: Offset, maxBytes: number, endOffset: Offset): Promise<ReadSlice> {
    for (;;) {
      const slice = this.readTail(fetchOffset, maxBytes, endOffset)
      if (slice !== undefined) return slice
      const truncations = this.#truncations
      const written = this.#writtenEndOffset
      const range = { fetchOffset, maxBytes, endOffset: Math.min(endOffset, written) as Offset }
      try {
        const read = await this.#readerOf().read(range, written, this.config.indexIntervalBytes)
        if (truncations === this.#truncations) return read
        read.release()
      } catch (error) {
        if (truncations !== this.#truncations || fetchOffset < this.#logStartOffset) continue
        const failure = failureOf(error, `${this.directory} cannot be read`)
        if (failure.code !== 'CORRUPT_MESSAGE' || !(await this.#scrubAt(fetchOffset))) throw failure
      }
    }
  }

  /** The first record whose timestamp is at or above the one given, below endOffset. @throws STORAGE_ERROR */
  offsetForTimestamp(
    timestamp: TimestampMs,
    endOffset: Offset = this.#writtenEndOffset,
  ): Promise<{ readonly offset: Offset; readonly timestamp: TimestampMs } | undefined> {
    const end = Math.min(endOffset, this.#writtenEndOffset) as Offset
    const interval = this.config.indexIntervalBytes
    return this.#reading(this.#readerOf().offsetForTimestamp(timestamp, this.#logStartOffset, end, interval))
  }

  /** The youngest record: the first that has the greatest timestamp. Undefined when none has one. @throws STORAGE_ERROR */
  async youngestRecord(): Promise<{ readonly offset: Offset; readonly timestamp: TimestampMs } | undefined> {
    const largest = await this.#reading(this.#readerOf().largestTimestamp(this.config.indexIntervalBytes))
    return largest === undefined ? undefined : this.offsetForTimestamp(largest)
  }

  /**
   * Makes everything below the offset unreadable, durably, and removes the segments that lie below it as a whole.
   * @throws OFFSET_OUT_OF_RANGE when it lies past what is written, STORAGE_ERROR
   */
  advanceLogStartOffset(to: Offset): Promise<void> {
    return this.#alone.run(async () => {
      if (to <= this.#logStartOffset) return
      if (to > this.#writtenEndOffset) {
        throw new TidemarkError('OFFSET_OUT_OF_RANGE', `offset ${to} is past the end, ${this.#writtenEndOffset}`)
      }
      await this.#moveLogStart(to, 'trimmed')
    })
  }

  /**
   * Removes the segments that the topic's retention lets go of, and forgets producers long silent. Answers what it removed.
   * No record at or above `committedEnd` goes: it may be cut off yet, and others may not have it. @throws STORAGE_ERROR
   */
  applyRetention(
    now: TimestampMs,
    committedEnd?: Offset,
  ): Promise<{ readonly segments: number; readonly bytes: number }> {
    return this.#alone.run(async () => {
      this.#history.loadedProducers?.expire(now, this.#context.producerExpirationMs)
      if (this.#mayHaveKept) this.#mayHaveKept = expireKept(this.#context.disk, this.directory, now)
      const to = await this.#reading(this.#retainedFrom(now, committedEnd))
      if (to === undefined) return { segments: 0, bytes: 0 }
      // Segments whose removal has failed may lie below what was trimmed.
      return this.#moveLogStart(Math.max(to, this.#logStartOffset) as Offset, 'retention')
    })
  }

  /**
   * Cuts the log at the offset, or before the batch that holds it; durable when it resolves, and no append is taken before.
   * Whatever is staged must have been written. A cut that would take what lies below `highWatermark` is refused, and nothing
   * has changed. `save` is called when the recovery point has been lowered and nothing has been cut: it makes the checkpoint
   * durable, so that no recovery looks for what was cut. @throws STORAGE_ERROR
   */
  truncateTo(
    offset: Offset,
    now: TimestampMs,
    save: () => Promise<void>,
    highWatermark?: Offset,
  ): Promise<TruncateResult> {
    return this.#cutting('truncated', async () => {
      if (offset >= this.logEndOffset) return { kind: 'truncated', endOffset: this.logEndOffset }
      const cut = await this.#readerOf().placeOf(offset, this.config.indexIntervalBytes)
      if (highWatermark !== undefined && cut.offset < highWatermark) {
        const message = `${this.directory} would be cut at ${cut.offset}, below its high watermark ${highWatermark}`
        return { kind: 'refused', endOffset: cut.offset, highWatermark, message }
      }
      await this.#truncate(cut, now, save)
      return { kind: 'truncated', endOffset: cut.offset }
    })
  }

  /**
   * Gives up all records and goes on at the offset, which is not below the end: for a follower whose leader has nothing
   * older any more. Of voters records the one that is in force there is known from then on, if there is one. Durable when
   * it resolves, and no append is taken before. Whatever is staged must have been written. @throws STORAGE_ERROR
   */
  async skipTo(offset: Offset, save: () => Promise<void>, inForce?: VotersRecord): Promise<void> {
    await this.#cutting('moved on', async () => {
      assert(offset >= this.logEndOffset, 'a log moves on, never back')
      assert((inForce?.offset ?? -1) < offset, 'what is in force stands before')
      const { voters } = this.#history
      this.#history.forgetProducers()
      await voters.beforeRestart(offset, inForce)
      try {
        await this.#moveLogStart(offset, 'its leader has nothing older')
      } finally {
        voters.settleRestart(this.#logStartOffset)
      }
      await voters.save()
      await save()
    })
  }

  /** What compacts the log, where the topic says so. */
  get compaction(): LogCompaction {
    this.#compaction ??= new LogCompaction(this, this.#parts())
    return this.#compaction
  }

  #parts(): CompactedParts & RepairParts {
    return {
      context: this.#context,
      segments: this.#segments,
      history: this.#history,
      standing: this.#standing,
      reader: () => this.#readerOf(),
      writtenPlace: () => this.#writtenPlace(),
      truncations: () => this.#truncations,
      isClosed: () => this.#isClosed,
      alone: (work) => this.#alone.run(work),
      scrub: (segment) => this.#scrubSegment(segment),
      appender: this.#appender,
      quarantine: this.#quarantine,
      writer: this.#writer,
    }
  }

  /** What the directory's checkpoint file must say of this log. */
  checkpoint(): LogCheckpoint {
    return {
      recoveryPoint: this.#recoveryPoint,
      logStartOffset: this.#logStartOffset,
      logEndOffset: this.#writtenEndOffset,
    }
  }

  /** Writes a snapshot of the producers if the log has grown enough since the last one. Answers whether it did. */
  snapshotProducers(now: TimestampMs): boolean {
    if (!this.#appender.hasBegun || !this.#standing.isOnline) return false
    return this.#history.saveProducers(this.#writtenPlace(), now)
  }

  /**
   * Writes what is staged, syncs it, writes the caches and closes. Answers what the clean stop must record; a log that has
   * failed answers undefined, and must be recovered at the next start.
   */
  async closeClean(now: TimestampMs): Promise<LogCheckpoint | undefined> {
    if (this.write() !== undefined || !this.#standing.isOnline) {
      this.close()
      return undefined
    }
    await this.sync()
    return this.#alone.run(async () => {
      if (!this.#isUntouched) {
        await this.#history.save().catch((error: unknown) => {
          throw this.#standing.failureOf(error, 'cannot be closed in order')
        })
        this.#history.saveProducers(this.#writtenPlace(), now, { isForced: true })
        this.#segments.active.writeIndexes(this.#context.disk)
      }
      this.close()
      return this.checkpoint()
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Gives files and memory back. Idempotent. Staged batches that were not written are lost. */
  close(): void {
    this.#isClosed = true
    this.#appender.close()
    for (const segment of this.#segments) {
      this.#context.indexes.remove(segment)
      this.#context.files.retire(segment.file)
    }
  }

  describe(): LogDescription {
    return describeLog(this, this.#segments, this.#history)
  }

  // Appending

  /** Why nothing at all may be appended; undefined when it may. */
  #refuseAll(): RefusedAppend | undefined {
    const { state } = this.#standing
    if (state.kind !== 'online') return refusal('STORAGE_ERROR', state.reason.message)
    if (this.#isClosed) return refusal('NOT_LEADER_OR_FOLLOWER', 'the partition is closed')
    if (this.#cuts > 0 || this.#writer.hasUndone) {
      return refusal('NOT_LEADER_OR_FOLLOWER', 'the partition is being cut back')
    }
    return undefined
  }

  // Writing

  /** Puts memory and files back to what they were before the write; if the files cannot be, the log is offline. */
  #undoWrite(mark: WriteMark, failure: TidemarkError): void {
    this.#appender.takeBack(this.#writtenEndOffset)
    try {
      this.#history.undo(this.#writtenEndOffset)
      this.#writer.undo(mark, this.#writtenEndOffset)
      this.#appender.continueInActive()
      // Before anything else is written: a power loss could bring back what was undone, at offsets where another batch of the
      // same epoch has been given to followers.
      this.sync().catch(() => undefined)
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      this.#appender.settle()
      const message = `${failure.message}; what was written of it cannot be taken back`
      this.#standing.goOffline(new TidemarkError('STORAGE_ERROR', message, { cause: error }))
    }
  }

  // Syncing

  async #syncNow(): Promise<void> {
    this.#standing.requireOnline()
    const place = this.#writtenPlace()
    try {
      await this.#writer.sync()
      if (await this.#maybeSaveHistory()) this.#recoveryPoint = place
    } catch (error) {
      throw this.#standing.failedSync(error, this.#isClosed)
    }
  }

  /**
   * Without the files a recovery must look at the records for their epochs and voters: the recovery point stays behind until
   * they could be written. Nothing else depends on them, so that a full disk is no reason to refuse what is synced.
   */
  async #maybeSaveHistory(): Promise<boolean> {
    try {
      await this.#history.save()
      return true
    } catch (error) {
      if (error instanceof DiskError && !(error instanceof DirectorySyncError)) return false
      throw error
    }
  }

  #writtenPlace(): LogPlace {
    const { baseOffset, size } = this.#segments.active
    return { offset: this.#writtenEndOffset, segmentBase: baseOffset, position: size }
  }

  // Reading

  #readerOf(): LogReader {
    this.#reader ??= new LogReader(this.#context, this.directory, this.#segments)
    return this.#reader
  }

  #reading<T>(read: Promise<T>): Promise<T> {
    return read.catch((error: unknown) => {
      throw failureOf(error, `${this.directory} cannot be read`)
    })
  }

  #checkReadable(fetchOffset: Offset): void {
    if (fetchOffset < this.#logStartOffset || fetchOffset > this.logEndOffset) {
      const range = `[${this.#logStartOffset}, ${this.logEndOffset}]`
      throw new TidemarkError('OFFSET_OUT_OF_RANGE', `offset ${fetchOffset} is not in ${range}`)
    }
    const range = this.#quarantine.rangeAt(fetchOffset)
    if (range !== undefined) throw new QuarantinedError(range)
  }

  /**
   * Checks every byte of all segments and quarantines what is bad. Answers the ranges that it has found. Reads all of the
   * log: for times of little load. @throws STORAGE_ERROR
   */
  async scrub(): Promise<readonly QuarantinedRange[]> {
    const found: QuarantinedRange[] = []
    for (const segment of [...this.#segments]) found.push(...(await this.#scrubSegment(segment)))
    return found
  }

  /**
   * Checks every byte of the sealed segments, beside everything else that goes on, and quarantines what is bad. Answers the
   * ranges that it has found. `pause` as in scrubSealed of log-scrub.ts. @throws STORAGE_ERROR
   */
  scrubSealed(pause: (bytes: number) => Promise<boolean>): Promise<readonly QuarantinedRange[]> {
    const isOver = (): boolean => this.#isClosed || this.state.kind === 'offline'
    const log = { directory: this.directory, pause, isOver, scrub: (segment: Segment) => this.#scrubSegment(segment) }
    return scrubSealed(this.#context, this.#segments, log)
  }

  /** Looks for what a read has stumbled upon, once a segment. Answers whether the read is worth to be tried again. */
  async #scrubAt(offset: Offset): Promise<boolean> {
    const segment = this.#segments.floor(offset)
    if (segment === undefined || segment === this.#lastScrubbed) return false
    this.#lastScrubbed = segment
    await this.#scrubSegment(segment)
    forgetIndexes(this.#context, segment)
    return true
  }

  #scrubSegment(segment: Segment): Promise<readonly QuarantinedRange[]> {
    return this.#alone.run(async () => {
      if (this.#segments.floor(segment.baseOffset) !== segment) return []
      const next = this.#segments.after(segment.baseOffset)
      const endOffset = next?.baseOffset ?? this.#writtenEndOffset
      try {
        const found = await scrubSegment(this.#context, segment, this.#quarantine, endOffset)
        this.#reader?.forgetPlaces()
        if (found.length === 0) return found
        this.#isUntouched = false
        await this.#saveQuarantine()
        return found
      } catch (error) {
        throw this.#standing.failureOf(error, 'cannot be checked')
      }
    })
  }

  /**
   * Puts the records of a quarantined range back, whole batches as they were: whoever calls this knows that they are. Answers
   * why they cannot be; undefined when they are back, durably. @throws STORAGE_ERROR
   */
  putBack(range: QuarantinedRange, records: Uint8Array): Promise<string | undefined> {
    return repairRange(this, this.#parts(), range, records)
  }

  // Trimming and cutting

  /** The new log start offset that retention asks for; undefined when everything stays. */
  async #retainedFrom(now: TimestampMs, committedEnd: number = Infinity): Promise<Offset | undefined> {
    this.#retention ??= new Retention()
    const load = (segment: Segment): Promise<void> =>
      this.#readerOf().loadIndexes(segment, this.config.indexIntervalBytes)
    let removable = await this.#retention.removable(this.#segments, this.config, now, load)
    while (removable > 0 && (this.#segments.at(removable)?.baseOffset ?? this.#writtenEndOffset) > committedEnd) {
      removable--
    }
    if (removable === 0) return undefined
    const kept = this.#segments.at(removable)
    if (kept !== undefined) return kept.baseOffset
    // All have expired, the active one too: it is sealed, unless something is on its way into it.
    if (this.stagedBytes > 0) {
      const { baseOffset } = this.#segments.active
      return baseOffset > this.#logStartOffset ? baseOffset : undefined
    }
    this.#rollAt(this.#writtenEndOffset)
    return this.#writtenEndOffset
  }

  #rollAt(offset: Offset): void {
    try {
      this.#writer.roll(offset, this.#appender.lastAppendMs)
      this.#appender.continueInActive()
    } catch (error) {
      throw failureOf(error, `${this.directory} cannot be rolled`)
    }
  }

  /** The start is durable before a file goes: a removal that a crash undoes, alone among others, leaves no gap. */
  async #moveLogStart(to: Offset, reason: string): Promise<{ readonly segments: number; readonly bytes: number }> {
    const { disk, files, indexes, events } = this.#context
    let segments = 0
    let bytes = 0
    try {
      await this.#history.beforeTrim(to, this.#writtenEndOffset)
      await writeCheckpoint(disk, `${this.directory}/${LOG_START_FILE}`, to)
      this.#logStartOffset = to
      this.#isUntouched = false
      if (to > this.#writtenEndOffset) await this.#beginAt(to)
      while (this.#segments.count > 1 && (this.#segments.at(1)?.baseOffset ?? Infinity) <= to) {
        const segment = this.#segments.shift()
        segments++
        bytes += segment.size
        indexes.remove(segment)
        segment.remove(disk, files)
      }
      if (this.#quarantine.trim(to)) await this.#saveQuarantine()
      this.#history.trim(to)
    } catch (error) {
      throw this.#standing.failureOf(error, 'cannot be trimmed')
    }
    if (segments > 0) events.onDelete?.(this.directory, { segments, bytes, reason })
    return { segments, bytes }
  }

  /** Goes on in a new segment behind the end; everything before it is trimmed already. */
  async #beginAt(offset: Offset): Promise<void> {
    this.#truncations++
    this.#reader?.forgetPlaces()
    this.#writer.roll(offset, this.#appender.lastAppendMs)
    this.#writtenEndOffset = offset
    this.#appender.skipTo(offset)
    this.#recoveryPoint = { offset, segmentBase: offset, position: 0 }
    await this.#writer.sync()
  }

  /** Runs what changes the end of the log: no append is taken meanwhile, and a failure half way puts it offline. */
  async #cutting<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#cuts++
    try {
      return await this.#alone.run(async () => {
        assert(this.#writtenEndOffset === this.logEndOffset, 'nothing is staged when a log is cut')
        this.#standing.requireOnline()
        const truncations = this.#truncations
        try {
          return await work()
        } catch (error) {
          const failure = this.#standing.failureOf(error, `cannot be ${what}`)
          // Memory is cut already and the files may not be: whatever was appended now would stand behind what was to go.
          if (truncations !== this.#truncations) {
            // Perhaps it was a sync, and then no later one is to be believed.
            noteFailedSync(this.#context.disk, this.directory)
            this.#standing.goOffline(failure)
          }
          throw failure
        }
      })
    } finally {
      this.#cuts--
    }
  }

  async #truncate(cut: LogPlace, now: TimestampMs, save: () => Promise<void>): Promise<void> {
    const { disk, events } = this.#context
    if (cut.offset < this.#recoveryPoint.offset) this.#recoveryPoint = cut
    await save()
    await this.#history.voters.truncateTo(cut.offset)
    await this.compaction.onCut(cut.offset)
    noteCut(this.#context, this.directory)
    const bytesBefore = this.#segments.bytes
    this.#truncations++
    this.#appender.takeBack(cut.offset)
    this.#reader?.forgetPlaces()
    this.#writtenEndOffset = cut.offset
    this.#isUntouched = false
    const isStartLowered = cut.offset < this.#logStartOffset
    if (isStartLowered) this.#logStartOffset = cut.offset
    await this.#writer.cut(cut, now)
    this.#mayHaveKept = true
    this.#history.truncate(cut.offset, now)
    await this.#maybeSaveHistory()
    await syncNames(disk, this.directory)
    // The batch that the start lay in is gone as a whole: what is appended in its place must not count as trimmed.
    if (isStartLowered) await writeCheckpoint(disk, `${this.directory}/${LOG_START_FILE}`, cut.offset)
    if (this.#quarantine.truncate(cut.offset)) await this.#saveQuarantine()
    forgetCut(this.#context, this.directory)
    this.#appender.continueInActive()
    const bytes = bytesBefore - this.#segments.bytes
    events.onTruncate?.(this.directory, { endOffset: cut.offset, bytes, reason: 'asked for' })
  }

  #saveQuarantine(): Promise<void> {
    return writeCheckpoint(this.#context.disk, `${this.directory}/${QUARANTINE_FILE}`, this.#quarantine.snapshot())
  }
}
