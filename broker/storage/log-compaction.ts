// Compacts one log (FORMAT.md, Compaction): notes the last offset of every key in what is dirty, then writes the segments
// anew from the oldest on and puts each new one in the place of those that it was made from. Owns the order of it, in small
// slices between which everybody else has their turn; what may be cleaned, what stays of a batch and how files change
// places are decided elsewhere.
//
// Invariant: segments are replaced from the oldest on, each before the next is begun, so that a tombstone is never touched
// while something that it deletes still stands below it.

import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Offset, TimestampMs } from '../../shared/ids.ts'
import { attributesAt, baseOffsetAt, endOffsetAt, recordCountAt } from '../../shared/record-batch/header.ts'
import { CONTROL_BIT } from '../../shared/record-batch/format.ts'
import type { Random } from '../../shared/random.ts'
import type { BatchHistory } from './batch-history.ts'
import type { CompactedBatch } from './batch-compactor.ts'
import { BatchCompactor } from './batch-compactor.ts'
import { CleanedSegment } from './cleaned-segment.ts'
import type { CompactedTo, LogFloor } from './compacted-mark.ts'
import { loweredTo, readCompacted, writeCompacted } from './compacted-mark.ts'
import type { CompactionPlan, SegmentGroup } from './compaction-plan.ts'
import { groupSegments, planCompaction } from './compaction-plan.ts'
import { DiskError } from './disk.ts'
import { DropHistory } from './drop-history.ts'
import { isGapAt } from './gap-batch.ts'
import { KEY_MAP_OFFSETS_MAX, KeyMap } from './key-map.ts'
import type { LogAppender } from './log-appender.ts'
import type { LogConfig } from './log-config.ts'
import { failureOf } from './log-failure.ts'
import type { LogPlace } from './log-files.ts'
import type { LogReader } from './log-reader.ts'
import type { LogStanding } from './log-standing.ts'
import { RecordScan, recordsOf } from './record-scan.ts'
import type { Segment } from './segment.ts'
import { BatchBuffers, SegmentBatches } from './segment-batches.ts'
import { beginSwap, finishSwap } from './segment-swap.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'

/** Records looked at before the clock is. */
const STEP_RECORDS = 400
/** Bytes of small batches looked at before the clock is. */
const LOOK_BYTES = 16 * 1024

/** The log that is compacted, as everybody sees it, */
export interface CompactedLog {
  readonly directory: string
  readonly config: LogConfig
  readonly logStartOffset: Offset
  checkpoint(): { readonly recoveryPoint: LogPlace }
}

/** and what it is made of. */
export interface CompactedParts {
  readonly context: StorageContext
  readonly segments: Segments
  readonly history: BatchHistory
  readonly standing: LogStanding
  readonly reader: () => LogReader
  readonly writtenPlace: () => LogPlace
  /** Grows whenever the log is cut. */
  readonly truncations: () => number
  readonly isClosed: () => boolean
  /** Runs what must not be interleaved with syncs, trims and cuts. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
  readonly appender: Pick<LogAppender, 'forgetBelow'>
  /** Looks for what is bad in the segment, and quarantines it. */
  readonly scrub: (segment: Segment) => Promise<unknown>
}

/** How fast, and with what. */
export interface CompactionMeans {
  readonly now: TimestampMs
  readonly random: Random
  /** Bytes that the table of keys may have. */
  readonly keyBytesMax: number
  /** No tombstone at or above goes: somebody who reads along has not come so far. Absent: nobody does. */
  readonly droppableEnd?: Offset | undefined
  /** Makes the recovery point durable. */
  readonly save: () => Promise<void>
  /** Whether this slice has taken long enough. */
  readonly isSliceOver: () => boolean
  /** Lets others have their turn, and waits as long as so many bytes may take. Answers whether to go on. */
  readonly pause: (bytes: number) => Promise<boolean>
}

export interface CompactionResult {
  /** Whether it has come to the end of what there was to clean; otherwise the table was full, or it was stopped. */
  readonly isDone: boolean
  readonly cleanedTo: Offset
  readonly readBytes: number
  /** Of the segments that were replaced, and of those that they were replaced by. */
  readonly oldBytes: number
  readonly newBytes: number
  readonly droppedTo: Offset
}

/** It was told to stop, or the log has changed under it. */
class Stopped extends Error {}

export class LogCompaction {
  readonly #log: CompactedLog
  readonly #parts: CompactedParts
  readonly #drops = new DropHistory()
  #compacted: CompactedTo | undefined

  constructor(log: CompactedLog, parts: CompactedParts) {
    this.#log = log
    this.#parts = parts
  }

  /** How far the log is compacted. Reads a small file when it is first asked. @throws DiskError */
  get compacted(): CompactedTo {
    this.#compacted ??= readCompacted(this.#parts.context, this.#log.directory)
    return this.#compacted
  }

  /** Whether anything of this log has ever been compacted, or copied from one that was. @throws DiskError */
  get hasMark(): boolean {
    const { touchedTo, floor } = this.compacted
    return touchedTo > 0 || floor !== undefined
  }

  /** Records below may be gone because of records below. */
  get touchedTo(): Offset {
    return this.compacted.touchedTo
  }

  /** The position that the log had when it was begun anew. */
  get floor(): LogFloor | undefined {
    return this.compacted.floor
  }

  /** How often tombstones have been dropped since the log was opened. */
  get drops(): number {
    return this.#drops.count
  }

  /** The end of the newest tombstone that was dropped after so many drops; without a number, that was ever dropped. */
  droppedSince(drops?: number): Offset {
    const since = drops === undefined ? undefined : this.#drops.endSince(drops)
    return since ?? this.compacted.droppedTo
  }

  /** The log is about to be cut at the offset. @throws DiskError */
  async onCut(offset: Offset): Promise<void> {
    const isEmptied = offset <= this.#log.logStartOffset
    // Of a log that is emptied the floor may just have been noted.
    const before = isEmptied ? this.compacted : this.#withoutPassedFloor(this.compacted)
    const after = loweredTo(before, offset, isEmptied)
    if (after !== this.compacted) await this.#note(after)
  }

  /**
   * The log is about to be emptied, to be copied from another from the beginning on. Until it reaches as far again, `floor` is
   * remembered. Durable when it resolves. @throws STORAGE_ERROR
   */
  beforeBeginningAnew(floor: LogFloor | undefined): Promise<void> {
    return this.#noteAlone(() => ({ ...this.compacted, floor }))
  }

  /** It is empty now; the log that it is copied from has dropped tombstones up to there. @throws STORAGE_ERROR */
  onBegunAnew(droppedTo: Offset): Promise<void> {
    return this.#noteAlone(() => ({ ...this.compacted, droppedTo, touchedTo: droppedTo }))
  }

  #noteAlone(news: () => CompactedTo): Promise<void> {
    return this.#parts.alone(async () => {
      await this.#note(news()).catch((error: unknown) => {
        throw failureOf(error, `${this.#log.directory} cannot be begun anew`)
      })
    })
  }

  /** The log has come as far as it was: what it was is of no matter any more. */
  #withoutPassedFloor(compacted: CompactedTo): CompactedTo {
    const { floor } = compacted
    if (floor === undefined) return compacted
    const { offset } = this.#parts.writtenPlace()
    const latest = this.#parts.history.epochs(offset).latest ?? -1
    const epoch = floor.latestEpoch ?? -1
    const isPassed = latest > epoch || (latest === epoch && offset >= floor.logEndOffset)
    return isPassed ? { ...compacted, floor: undefined } : compacted
  }

  async #note(compacted: CompactedTo): Promise<void> {
    await writeCompacted(this.#parts.context, this.#log.directory, compacted)
    this.#compacted = compacted
  }

  /**
   * What may be cleaned now, nothing of it at or above `committedEnd`; undefined when there is nothing, or the topic is not
   * compacted. @throws STORAGE_ERROR
   */
  async plan(now: TimestampMs, committedEnd?: Offset): Promise<CompactionPlan<Segment> | undefined> {
    const { context, segments, standing, isClosed, reader } = this.#parts
    const { directory, config } = this.#log
    const { compaction, indexIntervalBytes } = config
    if (compaction === undefined || !standing.isOnline || isClosed()) return undefined
    try {
      const { cleanedTo } = this.compacted
      if (compaction.lagMsMax < Number.MAX_SAFE_INTEGER) {
        for (const segment of segments) if (segment.baseOffset >= cleanedTo) segment.lookUpFirstAppend(context.files)
      }
      const recoverySegmentBase = this.#log.checkpoint().recoveryPoint.segmentBase
      const bounds = { cleanedTo, committedEnd: committedEnd ?? Infinity, recoverySegmentBase, now }
      const load = (segment: Segment): Promise<void> => reader().loadIndexes(segment, indexIntervalBytes)
      return await planCompaction(segments, compaction, bounds, load)
    } catch (error) {
      throw failureOf(error, `${directory} cannot be read`)
    }
  }

  /**
   * Makes one pass over what the plan says, beside everything else that goes on in the log. What it has not come to is as
   * it was, whatever it fails with. @throws STORAGE_ERROR, DISK_FULL, CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE
   */
  async run(plan: CompactionPlan<Segment>, means: CompactionMeans): Promise<CompactionResult> {
    const mark: CompactionMark = {
      compacted: () => this.compacted,
      note: (news) => this.#note({ ...this.compacted, ...news }),
      onDrop: (endOffset) => this.#drops.add(endOffset),
    }
    const pass = new CompactionPass(this.#log, this.#parts, { plan, means, mark })
    try {
      await pass.run()
    } catch (error) {
      // What a log that is gone cannot do is no failure, and neither is what was read of one while it was cut.
      if (!(error instanceof Stopped) && !pass.isOutrun) throw await this.#failureOf(error, pass.segment)
    }
    return pass.result()
  }

  async #failureOf(error: unknown, segment: Segment | undefined): Promise<TidemarkError> {
    const isBad = error instanceof TidemarkError && error.code === 'CORRUPT_MESSAGE' && segment !== undefined
    if (isBad) await this.#parts.scrub(segment)
    return this.#parts.standing.failureOf(error, 'cannot be compacted')
  }
}

/** What is remembered of a log's compaction, for the pass that is under way. */
interface CompactionMark {
  readonly compacted: () => CompactedTo
  /** Durable when it resolves. @throws DiskError */
  readonly note: (news: Partial<CompactedTo>) => Promise<void>
  readonly onDrop: (endOffset: Offset) => void
}

class CompactionPass {
  readonly #log: CompactedLog
  readonly #parts: CompactedParts
  readonly #plan: CompactionPlan<Segment>
  readonly #means: CompactionMeans
  readonly #truncations: number
  readonly #buffers = new BatchBuffers()
  readonly #mark: CompactionMark
  /** The end of the newest tombstone that this pass has dropped. */
  #droppedTo = 0
  #isDone = false
  #readBytes = 0
  #oldBytes = 0
  #newBytes = 0
  /** Read and written since the last pause, and looked at since the clock was. */
  #bytesSincePause = 0
  #bytesSinceLook = 0
  /** The segment that is being read. */
  segment: Segment | undefined

  constructor(
    log: CompactedLog,
    parts: CompactedParts,
    pass: {
      readonly plan: CompactionPlan<Segment>
      readonly means: CompactionMeans
      readonly mark: CompactionMark
    },
  ) {
    this.#log = log
    this.#parts = parts
    this.#mark = pass.mark
    this.#plan = pass.plan
    this.#means = pass.means
    this.#truncations = parts.truncations()
  }

  result(): CompactionResult {
    const { cleanedTo, droppedTo } = this.#mark.compacted()
    const counts = { readBytes: this.#readBytes, oldBytes: this.#oldBytes, newBytes: this.#newBytes }
    return { isDone: this.#isDone, cleanedTo, droppedTo, ...counts }
  }

  async run(): Promise<void> {
    const { segments, endOffset } = this.#plan
    const { now, random, keyBytesMax, save, droppableEnd = Infinity } = this.#means
    await save()
    const { logStartOffset, config } = this.#log
    const { tombstoneMs } = must(config.compaction, 'who has planned a compaction has a topic that is compacted')
    const from = Math.max(this.#mark.compacted().cleanedTo, logStartOffset)
    const keys = new KeyMap(keyBytesMax, from, random)
    const mapEnd = await this.#mapKeys(keys, from)
    const { recoveryPoint } = this.#log.checkpoint()
    const producers = this.#parts.history.producers(this.#parts.writtenPlace().offset, now)
    const isNewestOf = (id: number, base: number): boolean => producers.isNewest(id, base, recoveryPoint.offset)
    const rules = { keys, mapEnd, droppableEnd, logStartOffset, now, tombstoneMs, isNewestOf }
    const compactor = new BatchCompactor(rules)
    const below = segments.filter(({ baseOffset }) => baseOffset < mapEnd)
    for (const group of groupSegments(below, config.segmentBytes, (segment) => this.#endOf(segment))) {
      if (group.isBehindLost) compactor.isAllSeen = false
      await this.#clean(group, compactor, mapEnd as Offset)
    }
    await this.#parts.alone(async () => {
      this.#checkUnchanged()
      const touchedTo = Math.max(mapEnd, this.#mark.compacted().touchedTo) as Offset
      await this.#mark.note({ cleanedTo: mapEnd as Offset, touchedTo })
    })
    this.#isDone = mapEnd === endOffset
  }

  /** Answers up to where the table knows all keys: as far as there is something dirty, unless it is full before. */
  async #mapKeys(keys: KeyMap, from: number): Promise<number> {
    const { segments, firstDirty, endOffset } = this.#plan
    const work = new KeyMapping(keys, from)
    for (const segment of segments.slice(firstDirty)) {
      await this.#walk(segment, work)
      if (work.fullAt !== undefined) return work.fullAt
    }
    return endOffset
  }

  async #clean({ segments }: SegmentGroup<Segment>, compactor: BatchCompactor, mapEnd: Offset): Promise<void> {
    const { directory, config } = this.#log
    const first = must(segments[0], 'a group has segments')
    const cleaned = new CleanedSegment(this.#parts.context.disk, directory, first.baseOffset, config.indexIntervalBytes)
    const work = new Cleaning(compactor, cleaned)
    try {
      for (const segment of segments) {
        await this.#walk(segment, work, cleaned)
        if (cleaned.endOffset !== this.#endOf(segment)) {
          throw new TidemarkError('CORRUPT_MESSAGE', `${segment.file.path} ends before its offsets do`)
        }
      }
      await cleaned.finish()
    } catch (error) {
      cleaned.discard()
      throw error
    }
    const oldBytes = segments.reduce((sum, { size }) => sum + size, 0)
    if (segments.length === 1 && !work.hasChanged && cleaned.segment.size === oldBytes) return cleaned.discard()
    await this.#parts.alone(() => this.#replace(segments, cleaned, compactor.droppedTo, mapEnd))
    this.#oldBytes += oldBytes
    this.#newBytes += cleaned.segment.size
  }

  async #replace(old: readonly Segment[], cleaned: CleanedSegment, droppedTo: number, mapEnd: Offset): Promise<void> {
    const { context, segments, history, writtenPlace, reader, appender } = this.#parts
    const { segment } = cleaned
    const endOffset = cleaned.endOffset as Offset
    try {
      this.#checkUnchanged()
      if (!segments.holds(old) || old.some(({ lost }) => lost.length > 0)) throw new Stopped()
      await this.#noteBefore(droppedTo, mapEnd)
      history.leaveSnapshotsBelow(endOffset, writtenPlace(), this.#means.now)
      await beginSwap(context, segment, endOffset)
      if (this.#parts.isClosed()) throw new Stopped()
    } catch (error) {
      this.#removeFile(segment)
      throw error
    }
    segment.firstAppendMs = old[0]?.firstAppendMs
    segment.lastAppendMs = old.reduce<number | undefined>((last, each) => later(last, each.lastAppendMs), undefined)
    segments.replace(old, segment)
    for (const each of old) context.indexes.remove(each)
    context.indexes.touch(segment)
    reader().onReplaced()
    appender.forgetBelow(endOffset)
    await finishSwap(context, old, segment)
    segment.writeIndexes(context.disk)
  }

  #removeFile({ file }: Segment): void {
    try {
      this.#parts.context.disk.remove(file.path)
    } catch (error) {
      // The next start does: whether it removes or uses it, it finds the same records.
      if (!(error instanceof DiskError)) throw error
    }
  }

  /** Whoever has read less, or is cut below, must be able to find out, whatever happens next. */
  async #noteBefore(droppedTo: number, mapEnd: Offset): Promise<void> {
    const { droppedTo: droppedBefore, touchedTo: touchedBefore } = this.#mark.compacted()
    if (droppedTo > droppedBefore || mapEnd > touchedBefore) {
      const news = { droppedTo: Math.max(droppedTo, droppedBefore), touchedTo: Math.max(mapEnd, touchedBefore) }
      await this.#mark.note({ droppedTo: news.droppedTo as Offset, touchedTo: news.touchedTo as Offset })
    }
    if (droppedTo > this.#droppedTo) this.#mark.onDrop(droppedTo as Offset)
    this.#droppedTo = droppedTo
  }

  /** The log has been closed, or cut. */
  get isOutrun(): boolean {
    return this.#parts.isClosed() || this.#parts.truncations() !== this.#truncations
  }

  #checkUnchanged(): void {
    if (this.isOutrun || !this.#parts.standing.isOnline) throw new Stopped()
  }

  #endOf(segment: Segment): number {
    const next = this.#plan.segments[this.#plan.segments.indexOf(segment) + 1]
    return next?.baseOffset ?? this.#plan.endOffset
  }

  /** Shows all batches of the segment to the work, in slices. @throws DiskError, CORRUPT_MESSAGE */
  async #walk(segment: Segment, work: BatchWork, target?: CleanedSegment): Promise<void> {
    const { files } = this.#parts.context
    // Trimmed away, perhaps.
    if (!this.#parts.segments.holds([segment])) throw new Stopped()
    this.segment = segment
    const file = files.acquire(segment.file)
    const batches = new SegmentBatches(segment, file, this.#buffers)
    try {
      let isInside = false
      while (!work.isOver) {
        if (!isInside) {
          const found = batches.advance()
          if (found === 'end') break
          if (found === 'read') {
            this.#onBytes(await batches.read())
            continue
          }
          this.#bytesSinceLook += batches.size
          isInside = !work.begin(batches)
        } else {
          isInside = !work.step()
          this.#bytesSinceLook = LOOK_BYTES
        }
        if (this.#bytesSinceLook >= LOOK_BYTES) await this.#look(target)
      }
    } finally {
      await batches.close()
      files.release(segment.file)
    }
    this.segment = undefined
  }

  #onBytes(bytes: number): void {
    this.#readBytes += bytes
    this.#bytesSincePause += bytes
  }

  async #look(target: CleanedSegment | undefined): Promise<void> {
    this.#bytesSinceLook = 0
    if (target?.isSyncDue === true) {
      this.#bytesSincePause += await target.sync()
    }
    if (!this.#means.isSliceOver()) return
    const bytes = this.#bytesSincePause
    this.#bytesSincePause = 0
    if (!(await this.#means.pause(bytes))) throw new Stopped()
    this.#checkUnchanged()
  }
}

/** What is done with the batches of a segment. Answers, both times, whether it is done with the batch. */
interface BatchWork {
  readonly isOver: boolean
  begin(batches: SegmentBatches): boolean
  step(): boolean
}

/** Notes the last offset of each key, from an offset on. */
class KeyMapping implements BatchWork {
  /** The first record whose key found no room. */
  fullAt: number | undefined
  readonly #keys: KeyMap
  readonly #from: number
  #baseOffset = 0
  #scan: RecordScan | undefined

  constructor(keys: KeyMap, from: number) {
    this.#keys = keys
    this.#from = from
  }

  get isOver(): boolean {
    return this.fullAt !== undefined
  }

  begin({ bytes, at, size }: SegmentBatches): boolean {
    const baseOffset = baseOffsetAt(bytes, at)
    const endOffset = endOffsetAt(bytes, at)
    if (endOffset <= this.#from || recordCountAt(bytes, at) === 0) return true
    if ((attributesAt(bytes, at) & CONTROL_BIT) !== 0) return true
    if (endOffset - this.#from > KEY_MAP_OFFSETS_MAX) {
      this.fullAt = baseOffset
      return true
    }
    this.#baseOffset = baseOffset
    return this.#attempt(() => {
      this.#scan = new RecordScan(bytes, at, recordsOf(bytes, at, size))
      return false
    })
  }

  step(): boolean {
    return this.#attempt(() => this.#put(must(this.#scan, 'a batch has been begun')))
  }

  #put(scan: RecordScan): boolean {
    for (let left = STEP_RECORDS; left > 0; left--) {
      if (!scan.next()) return true
      if (scan.keyLength < 0) continue
      const offset = this.#baseOffset + scan.offsetDelta
      if (offset < this.#from) continue
      if (this.#keys.put(scan.bytes, scan.keyAt, scan.keyLength, offset)) continue
      this.fullAt = offset
      return true
    }
    return false
  }

  /** A batch that cannot be read supersedes nothing from there on. */
  #attempt(work: () => boolean): boolean {
    try {
      return work()
    } catch (error) {
      if (error instanceof TidemarkError && error.code === 'CORRUPT_MESSAGE') return true
      throw error
    }
  }
}

/** Writes what stays. */
class Cleaning implements BatchWork {
  readonly isOver = false
  /** Whether any batch has become another. */
  hasChanged = false
  readonly #compactor: BatchCompactor
  readonly #cleaned: CleanedSegment
  #batches: SegmentBatches | undefined

  constructor(compactor: BatchCompactor, cleaned: CleanedSegment) {
    this.#compactor = compactor
    this.#cleaned = cleaned
  }

  begin(batches: SegmentBatches): boolean {
    this.#batches = batches
    return this.#put(batches, this.#compactor.begin(batches.bytes, batches.at, batches.size))
  }

  step(): boolean {
    return this.#put(must(this.#batches, 'a batch has been begun'), this.#compactor.step(STEP_RECORDS))
  }

  #put({ bytes, at, size }: SegmentBatches, outcome: CompactedBatch | undefined): boolean {
    if (outcome === undefined) return false
    if (outcome.kind === 'same') {
      this.#cleaned.add(bytes, at, size)
      return true
    }
    if (outcome.kind === 'gap') {
      this.hasChanged ||= !isGapAt(bytes, at)
      this.#cleaned.addGap(bytes, at)
      return true
    }
    this.hasChanged = true
    this.#cleaned.add(outcome.bytes, 0, outcome.bytes.length)
    return true
  }
}

function later(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.max(one, other)
}
