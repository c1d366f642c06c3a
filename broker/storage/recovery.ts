// Makes a log usable after anything but a clean stop (FORMAT.md, Opening). Owns the judgement whether a batch that fails is
// a torn tail or corruption, and what is done about either. Scans from the recovery point; what lies below it is on stable
// storage and is looked at only where something must be derived from it.
//
// Invariants: nothing below the recovery point is cut off or given out again; a second recovery of the same files finds
// what the first has left.

import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { lastOffsetDeltaAt, leaderEpochAt, recordCountAt } from '../../shared/record-batch/header.ts'
import { BatchWalk, frameBytes, runWalk } from './batch-walk.ts'
import { writeCheckpoint } from './checkpoint-file.ts'
import type { File } from './disk.ts'
import { forgetFailedSync, hasFailedSync, syncMarked, syncNames } from './failed-sync.ts'
import {
  keptFile,
  LEADER_EPOCHS_FILE,
  LOG_START_FILE,
  NEWCOMER_FILE,
  producersFile,
  QUARANTINE_FILE,
  VOTERS_FILE,
} from './file-names.ts'
import type { LogConfig } from './log-config.ts'
import type { FoundFiles, LogPlace } from './log-files.ts'
import { findFiles, placeLost } from './log-files.ts'
import { rewriteFile } from './made-anew.ts'
import { copyBytes, findNextBatch, isZeroToEnd } from './salvage.ts'
import { PartitionLog } from './partition-log.ts'
import { Quarantine } from './quarantine.ts'
import type { QuarantinedRange } from './quarantine.ts'
import { RecoveredHistory } from './recovered-history.ts'
import { Segment } from './segment.ts'
import { finishSwaps } from './segment-swap.ts'
import { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'
import { finishCut, forgetCut, noteCut, removeCutAnew } from './unfinished-cut.ts'

/** Bytes read at a time. scripts/bench-log.ts has the figures. */
const SCAN_CHUNK_BYTES = 2 * 1024 * 1024

export interface RecoverOptions {
  readonly context: StorageContext
  readonly directory: string
  readonly config: LogConfig
  /** Undefined when it is not known: then whatever fails and has good batches behind it is taken for corruption. */
  readonly recoveryPoint: LogPlace | undefined
  /** What the last checkpoint said, if that is known; the log's own file is newer. */
  readonly logStartOffset?: Offset | undefined
  /** It was closed in order: then the checkpoint is as new as the log's own file. */
  readonly wasClosed?: boolean
  /** Whether the page cache has survived since the last append. */
  readonly kernelLived: boolean
  /** A batch with a greater epoch is damaged, since nobody has led in one. Undefined when that is not known. */
  readonly leaderEpochMax?: LeaderEpoch
  readonly now: TimestampMs
}

export interface RecoveryReport {
  readonly directory: string
  readonly scannedBytes: number
  /** Cut off as a torn tail. */
  readonly truncatedBytes: number
  readonly truncatedAt: Offset | undefined
  /** Ranges that this recovery has found. */
  readonly quarantined: readonly QuarantinedRange[]
  readonly logStartOffset: Offset
  readonly logEndOffset: Offset
}

/** @throws DiskError */
export async function recoverLog(options: RecoverOptions): Promise<{ log: PartitionLog; report: RecoveryReport }> {
  await finishSwaps(options.context, options.directory)
  const recovery = new Recovery(options)
  return recovery.run()
}

/** A batch that fails, and what is known around it. */
interface Fault {
  readonly segment: Segment
  readonly file: File
  readonly position: number
  readonly offset: Offset
  readonly reason: string
}

class Recovery {
  readonly #options: RecoverOptions
  readonly #context: StorageContext
  readonly #found: FoundFiles
  #segments: Segment[]
  readonly #quarantine: Quarantine
  readonly #logStartOffset: Offset
  readonly #foundRanges: QuarantinedRange[] = []
  readonly #history: RecoveredHistory
  #scannedBytes = 0
  #truncatedBytes = 0
  #truncatedAt: Offset | undefined
  /** Names or sizes were changed that must be durable before the first append. */
  #hasChanged = false
  #isCutNoted = false
  /** The file that states it must be made anew. */
  #isStartLost = false

  constructor(options: RecoverOptions) {
    this.#options = options
    this.#context = options.context
    this.#context.disk.makeDirectory(options.directory)
    this.#found = findFiles(options.context, options.directory)
    this.#segments = this.#found.segments
    this.#quarantine = this.#found.quarantine ?? new Quarantine()
    this.#dropWithoutBeginning()
    this.#logStartOffset = this.#findStart()
    const { leaderEpochMax } = options
    const parts = { found: this.#found, logStartOffset: this.#logStartOffset, leaderEpochMax }
    this.#history = new RecoveredHistory({ ...options, ...parts })
  }

  async run(): Promise<{ log: PartitionLog; report: RecoveryReport }> {
    this.#dropBelowStart()
    this.#missBeginning()
    const point = this.#options.recoveryPoint
    this.#dropBelowPoint(point)
    await this.#rewriteAfterFailedSync(point)
    if (this.#found.hasUnfinishedCut) {
      const cut = this.#segments.filter((segment) => segment.baseOffset >= (point?.segmentBase ?? 0))
      await finishCut(this.#context, this.#options.directory, cut)
    }
    const from = this.#scanStart(point)
    this.#history.load(this.#segments, from)
    let logEndOffset = await this.#scan(from, point)
    logEndOffset = this.#closeEnd(logEndOffset, point)
    this.#history.close(this.#segments, logEndOffset)
    await this.#settle(logEndOffset)
    return { log: this.#open(logEndOffset, point), report: this.#report(logEndOffset) }
  }

  /**
   * After a failed sync the kernel may hold pages and names that it takes for written and that no later sync would write.
   * What is not known to be on stable storage is made anew, so that the next syncs are worth something.
   */
  async #rewriteAfterFailedSync(point: LogPlace | undefined): Promise<void> {
    const { disk } = this.#context
    const { directory, kernelLived } = this.#options
    if (!hasFailedSync(disk, directory)) return
    // What a new kernel has read came from the medium.
    if (kernelLived) {
      for (const segment of this.#segments) {
        if (segment.baseOffset >= (point?.segmentBase ?? 0)) await rewriteFile(disk, segment.file.path)
      }
      for (const name of [LOG_START_FILE, QUARANTINE_FILE, LEADER_EPOCHS_FILE, VOTERS_FILE, NEWCOMER_FILE]) {
        if (disk.stat(`${directory}/${name}`) !== undefined) await rewriteFile(disk, `${directory}/${name}`)
      }
      removeCutAnew(disk, directory)
    }
    await syncNames(disk, directory)
    forgetFailedSync(disk, directory)
  }

  /** Never below what is known: what was trimmed does not come back because a file is gone. */
  #findStart(): Offset {
    const { logStartOffset: recorded, wasClosed } = this.#options
    const own = this.#found.logStartOffset
    const first = this.#segments[0]?.baseOffset
    const known = wasClosed === true ? Math.max(own ?? 0, recorded ?? 0) : (own ?? recorded)
    const found = own ?? first
    if (known !== undefined && found !== undefined && known > found) {
      const path = `${this.#options.directory}/${LOG_START_FILE}`
      this.#context.events.onLogStartLost?.(this.#options.directory, { path, expected: known as Offset, found })
      this.#isStartLost = true
    }
    return (known ?? first ?? 0) as Offset
  }

  /** A segment is removed only after the start was moved behind it: where it is missing, its records are lost. */
  #missBeginning(): void {
    const first = this.#segments[0]
    const startOffset = this.#logStartOffset
    if (first === undefined || first.baseOffset <= startOffset) return
    if (this.#quarantine.rangeAt(startOffset)?.endOffset === first.baseOffset) return
    const range = { startOffset, endOffset: first.baseOffset }
    const reason = `the log starts at ${startOffset}, and its first segment is ${first.file.path}: those before are missing`
    this.#quarantineRange(first, 0, 0, range, reason)
    // Stated, for from now on the names of the segments do not say it.
    this.#isStartLost = true
  }

  /** Whole segments below the log start offset are what a crash has left of a removal. */
  #dropBelowStart(): void {
    const { disk, files } = this.#context
    while ((this.#segments[1]?.baseOffset ?? Infinity) <= this.#logStartOffset) {
      this.#segments.shift()?.remove(disk, files)
      this.#hasChanged = true
    }
  }

  /**
   * What is synced stands in the point's segment and in those before. A file that begins behind the one and below the
   * other was removed, and its removal has fallen to a failed sync: it must not be read in the place of what is synced.
   */
  #dropBelowPoint(point: LogPlace | undefined): void {
    const holder = this.#segments.find((segment) => segment.baseOffset === point?.segmentBase)
    if (point === undefined || holder === undefined || holder.size < point.position) return
    for (const segment of this.#segments.slice()) {
      if (segment.baseOffset <= point.segmentBase || segment.baseOffset >= point.offset) continue
      this.#setAside(segment)
      this.#segments.splice(this.#segments.indexOf(segment), 1)
    }
  }

  /**
   * The names of the first segments may be lost in a power loss while those of later ones are not. Nothing of them was
   * promised, and what is left without its beginning must not look like a log that was trimmed.
   */
  #dropWithoutBeginning(): void {
    const { recoveryPoint, kernelLived } = this.#options
    const first = this.#segments[0]
    if (recoveryPoint === undefined || kernelLived || first === undefined) return
    const start = Math.max(recoveryPoint.offset, this.#found.logStartOffset ?? 0) as Offset
    if (first.baseOffset <= start) return
    const bytes = this.#segments.reduce((sum, segment) => sum + segment.size, 0)
    for (const segment of this.#segments.splice(0)) this.#setAside(segment)
    this.#truncatedBytes += bytes
    this.#truncatedAt = start
    const reason = 'the segments before are missing'
    this.#context.events.onTruncate?.(this.#options.directory, { endOffset: start, bytes, reason })
  }

  /** A damaged quarantine file is made again by a scan of everything. */
  #scanStart(point: LogPlace | undefined): LogPlace {
    const first = this.#segments[0]
    const base = first?.baseOffset ?? this.#logStartOffset
    const start: LogPlace = { offset: base, segmentBase: base, position: 0 }
    if (point === undefined || this.#found.quarantine === undefined) return start
    const segment = this.#segments.findLast((candidate) => candidate.baseOffset <= point.offset)
    if (segment === undefined) return start
    if (segment.baseOffset === point.segmentBase && point.position <= segment.size) return point
    return { offset: segment.baseOffset, segmentBase: segment.baseOffset, position: 0 }
  }

  /** Answers the log end offset. */
  async #scan(from: LogPlace, point: LogPlace | undefined): Promise<Offset> {
    let expected: Offset = from.offset
    let index = this.#segments.findIndex((segment) => segment.baseOffset === from.segmentBase)
    for (; index >= 0 && index < this.#segments.length; index++) {
      const segment = this.#segments[index]
      if (segment === undefined) break
      if (segment.baseOffset < expected && segment.baseOffset !== from.segmentBase) {
        // Its offsets are there already: an older file whose removal was lost.
        this.#setAside(segment)
        this.#segments.splice(index--, 1)
        continue
      }
      if (segment.baseOffset > expected) {
        const before = this.#segments[index - 1] ?? segment
        if (this.#mayTruncate(expected, point)) {
          await this.#truncate(before, before.size, expected, 'a segment is missing behind it')
          return expected
        }
        expected = await this.#missing(before, expected, segment.baseOffset)
      }
      const start = segment.baseOffset === from.segmentBase ? from.position : 0
      segment.indexedFrom = start
      const end = await this.#scanSegment(segment, start, expected, point)
      if (end === undefined) return this.#truncatedAt ?? expected
      expected = end
    }
    return expected
  }

  /** Answers the offset behind the segment's last batch; undefined when the log was cut inside it. */
  async #scanSegment(
    segment: Segment,
    start: number,
    expectedOffset: Offset,
    point: LogPlace | undefined,
  ): Promise<Offset | undefined> {
    let expected = expectedOffset
    let position = start
    this.#context.files.makeWritable(segment.file)
    const file = this.#context.files.acquire(segment.file)
    try {
      while (position < segment.size) {
        const known = segment.lost.find((lost) => lost.bytes > 0 && lost.position === position)
        if (known !== undefined) {
          position += known.bytes
          expected = known.endOffset as Offset
          continue
        }
        const walk = await this.#walk(segment, file, position, expected)
        expected = (walk.expectedOffset ?? expected) as Offset
        position = walk.position
        if (walk.fault === undefined) continue
        const fault = this.#blame({ segment, file, position, offset: expected, reason: walk.fault })
        const next = await this.#judge(fault, point)
        if (next === undefined) return undefined
        position = next.position
        expected = next.offset
      }
      const lostAtEnd = segment.lost.find((lost) => lost.bytes === 0 && lost.endOffset > expected)
      return lostAtEnd === undefined ? expected : (lostAtEnd.endOffset as Offset)
    } finally {
      this.#context.files.release(segment.file)
    }
  }

  async #walk(segment: Segment, file: File, position: number, expectedOffset: Offset): Promise<BatchWalk> {
    const { config } = this.#options
    const walk = new BatchWalk({
      position,
      end: segment.readableEnd(position),
      expectedOffset,
      isFullCheck: true,
      chunkBytes: SCAN_CHUNK_BYTES,
      visit: (bytes, at, size, batchPosition) => {
        const fault = this.#history.note(bytes, at, batchPosition)
        if (fault !== undefined) return fault
        this.#scannedBytes += size
        segment.noteBatch(bytes, at, batchPosition, config.indexIntervalBytes)
        return false
      },
    })
    await runWalk(walk, file)
    return walk
  }

  /** The batch that is wrong: not always the one that failed. */
  #blame(fault: Fault): Fault {
    const { segment, file } = fault
    const header = readHeaderBytes(file, fault.position, segment.size)
    const risen = this.#history.takeRisen(header === undefined ? undefined : leaderEpochAt(header, 0))
    if (risen === undefined) return fault
    return { segment, file, position: risen.position, offset: risen.offset, reason: 'its leader epoch is too new' }
  }

  /** Where to go on after a batch that failed; undefined when the log was cut there. */
  async #judge(fault: Fault, point: LogPlace | undefined): Promise<{ position: number; offset: Offset } | undefined> {
    const { segment, file, position, offset } = fault
    const later = this.#segments[this.#segments.indexOf(segment) + 1]
    if (this.#mayTruncate(offset, point)) {
      await this.#truncate(segment, position, offset, fault.reason)
      return undefined
    }
    const next = findNextBatch(file, {
      position,
      end: segment.size,
      afterOffset: offset,
      beforeOffset: later?.baseOffset,
      epochMin: this.#history.latestEpoch,
    })
    const isBelowPoint = point !== undefined && offset < point.offset
    if (!isBelowPoint && later === undefined && next === undefined && this.#isTorn(fault)) {
      await this.#truncate(segment, position, offset, fault.reason)
      return undefined
    }
    const end = next?.position ?? segment.size
    const endOffset = next?.offset ?? later?.baseOffset ?? this.#provenEnd(fault, point)
    this.#quarantineRange(segment, position, end, { startOffset: offset, endOffset }, fault.reason)
    return { position: end, offset: endOffset }
  }

  /** Nothing at or above the recovery point was promised, and the kernel has not kept it. */
  #mayTruncate(offset: Offset, point: LogPlace | undefined): boolean {
    return point !== undefined && offset >= point.offset && !this.#options.kernelLived
  }

  /** Whether the last bytes of the log look like a write that was cut short. */
  #isTorn(fault: Fault): boolean {
    const { file, position, segment } = fault
    if (isZeroToEnd(file, position, segment.size)) return true
    // Without a recovery point, a power loss may have torn the batch in any way.
    if (!this.#options.kernelLived) return true
    const header = readHeaderBytes(file, position, segment.size)
    if (header === undefined) return true
    const size = frameBytes(header, 0)
    return size > 0 && position + size > segment.size
  }

  /** How far the offsets had been given out when the bad bytes at the end of the log were written, as far as it shows. */
  #provenEnd(fault: Fault, point: LogPlace | undefined): Offset {
    const { file, position, segment, offset } = fault
    // A file that ends before the recovery point holds nothing that the point does not cover.
    if (point?.segmentBase === segment.baseOffset && segment.size <= point.position) return point.offset
    const header = readHeaderBytes(file, position, segment.size)
    // A record has seven bytes at least, if it is not compressed: more than the bytes can hold is never given out again.
    let count = Math.max(1, segment.size - position)
    if (header !== undefined && frameBytes(header, 0) === segment.size - position) {
      const span = lastOffsetDeltaAt(header, 0) + 1
      if (span === recordCountAt(header, 0)) count = span
    }
    return Math.max(offset + count, point?.offset ?? 0) as Offset
  }

  #quarantineRange(
    segment: Segment,
    position: number,
    end: number,
    offsets: { readonly startOffset: Offset; readonly endOffset: Offset },
    reason: string,
  ): void {
    const { context, directory } = this.#options
    const range: QuarantinedRange = {
      ...offsets,
      segmentBase: segment.baseOffset,
      position,
      bytes: end - position,
      reason,
    }
    this.#quarantine.add(range)
    this.#foundRanges.push(range)
    placeLost([segment], this.#quarantine)
    this.#hasChanged = true
    if (range.bytes > 0) {
      const copy = `${directory}/${keptFile('corrupt', segment.baseOffset, position)}`
      copyBytes(context, segment, copy, { position, end })
    }
    context.events.onQuarantine?.(directory, range)
  }

  /** The log has a hole between this segment's end and the next one's base. */
  async #missing(before: Segment, startOffset: Offset, endOffset: Offset): Promise<Offset> {
    const known = this.#quarantine.rangeAt(startOffset)
    if (known?.endOffset === endOffset) return endOffset
    const reason = 'the records between two segments are missing'
    this.#quarantineRange(before, before.size, before.size, { startOffset, endOffset }, reason)
    return endOffset
  }

  /** Cuts the log at the position of the segment; what stood there and behind is kept if it looked like batches. */
  async #truncate(segment: Segment, position: number, offset: Offset, reason: string): Promise<void> {
    const { context, directory } = this.#options
    this.#noteCut()
    let bytes = segment.size - position
    for (const later of this.#segments.splice(this.#segments.indexOf(segment) + 1)) {
      bytes += later.size
      this.#setAside(later)
    }
    if (position < segment.size) {
      context.files.makeWritable(segment.file)
      const file = context.files.acquire(segment.file)
      try {
        const range = { position, end: segment.size, afterOffset: offset, beforeOffset: undefined }
        if (findNextBatch(file, { ...range, epochMin: -1 as LeaderEpoch }) !== undefined) {
          const copy = `${directory}/${keptFile('truncated', segment.baseOffset, position)}`
          copyBytes(context, segment, copy, range)
        }
        file.truncate(position)
        segment.truncate(position, offset)
        await syncMarked(context.disk, directory, file)
      } finally {
        context.files.release(segment.file)
      }
    }
    segment.isSealed = false
    this.#truncatedBytes += bytes
    this.#truncatedAt = offset
    this.#hasChanged = true
    context.events.onTruncate?.(directory, { endOffset: offset, bytes, reason })
  }

  #noteCut(): void {
    if (this.#isCutNoted) return
    this.#isCutNoted = true
    this.#hasChanged = true
    noteCut(this.#context, this.#options.directory)
  }

  /** Takes a segment out of the log; it is kept under another name if it has anything in it. */
  #setAside(segment: Segment): void {
    const { disk, files } = this.#context
    this.#noteCut()
    files.drop(segment.file)
    if (segment.size > 0) {
      const kept = `${this.#options.directory}/${keptFile('truncated', segment.baseOffset, 0)}`
      disk.rename(segment.file.path, kept)
    }
    segment.remove(disk, files)
    this.#hasChanged = true
  }

  /** What was promised, or trimmed, reaches beyond what is there: offsets go on behind it, in a new segment. */
  #closeEnd(logEndOffset: Offset, point: LogPlace | undefined): Offset {
    const last = this.#segments[this.#segments.length - 1]
    if (logEndOffset < this.#logStartOffset || last === undefined) {
      const { disk, files } = this.#context
      for (const segment of this.#segments) segment.remove(disk, files)
      this.#segments = []
      const end = Math.max(this.#logStartOffset, point?.offset ?? 0) as Offset
      const segment = this.#newSegment(end)
      if (end > this.#logStartOffset) {
        const range = { startOffset: this.#logStartOffset, endOffset: end }
        this.#quarantineRange(segment, 0, 0, range, 'all of the log, which was synced, is missing')
      }
      return end
    }
    let end = logEndOffset
    if (point !== undefined && end < point.offset) {
      const range = { startOffset: end, endOffset: point.offset }
      this.#quarantineRange(last, last.size, last.size, range, 'the end of the log, which was synced, is missing')
      end = point.offset
    }
    // Behind lost bytes the log goes on in a segment of its own, whose name says where.
    if (last.lost.some((lost) => lost.endOffset === end) && last.baseOffset !== end) {
      last.isSealed = true
      this.#newSegment(end)
    }
    return end
  }

  #newSegment(baseOffset: Offset): Segment {
    const { disk, files } = this.#context
    const segment = Segment.create(disk, files, this.#options.directory, baseOffset)
    this.#segments.push(segment)
    this.#hasChanged = true
    return segment
  }

  /** What the recovery has changed is durable before anything is appended. */
  async #settle(logEndOffset: Offset): Promise<void> {
    const { disk } = this.#context
    const { directory } = this.#options
    for (const snapshot of this.#found.snapshots) {
      if (snapshot <= logEndOffset) continue
      disk.remove(`${directory}/${producersFile(snapshot)}`)
      this.#hasChanged = true
    }
    if (this.#isStartLost) await writeCheckpoint(disk, `${directory}/${LOG_START_FILE}`, this.#logStartOffset)
    const isTrimmed = this.#quarantine.trim(this.#logStartOffset)
    if (isTrimmed || this.#foundRanges.length > 0 || this.#found.quarantine === undefined) {
      await writeCheckpoint(disk, `${directory}/${QUARANTINE_FILE}`, this.#quarantine.snapshot())
    }
    for (const segment of this.#segments) if (segment.size > segment.indexedFrom) segment.removeIndexFiles(disk)
    if (this.#hasChanged) await syncNames(disk, directory)
    if (this.#isCutNoted) forgetCut(this.#context, directory)
  }

  #open(logEndOffset: Offset, point: LogPlace | undefined): PartitionLog {
    const { context, directory, config, kernelLived } = this.#options
    const segments = new Segments(this.#segments)
    for (const segment of segments) {
      segment.isSealed = segment !== segments.active
      if (segment.isSealed && segment.isIndexed) context.indexes.touch(segment)
    }
    const { active } = segments
    const end: LogPlace = { offset: logEndOffset, segmentBase: active.baseOffset, position: active.size }
    // What was read after the kernel was gone came from the medium. What a living kernel gave may be in its memory alone.
    let recoveryPoint = end
    const voters = this.#history.votersOf(logEndOffset, this.#quarantine)
    // Another recovery must find what this one has found, which is in no file yet.
    if (kernelLived || !this.#history.isSaved(voters)) recoveryPoint = this.#unsyncedFrom(point)
    if (kernelLived) {
      for (const segment of segments) {
        if (segment.baseOffset > recoveryPoint.segmentBase) segment.syncedSize = 0
        else if (segment.baseOffset === recoveryPoint.segmentBase) segment.syncedSize = recoveryPoint.position
      }
    }
    return new PartitionLog({
      context,
      directory,
      config,
      segments,
      quarantine: this.#quarantine,
      logStartOffset: this.#logStartOffset,
      logEndOffset,
      recoveryPoint,
      isDirectorySynced: this.#hasChanged || !kernelLived,
      isClean: false,
      voters,
      producers: this.#history.producers,
      epochs: this.#history.epochs,
    })
  }

  #unsyncedFrom(point: LogPlace | undefined): LogPlace {
    const first = this.#segments[0]?.baseOffset ?? this.#logStartOffset
    const segment = this.#segments.find((candidate) => candidate.baseOffset === point?.segmentBase)
    if (point !== undefined && segment !== undefined && point.position <= segment.size) return point
    return { offset: first, segmentBase: first, position: 0 }
  }

  #report(logEndOffset: Offset): RecoveryReport {
    return {
      directory: this.#options.directory,
      scannedBytes: this.#scannedBytes,
      truncatedBytes: this.#truncatedBytes,
      truncatedAt: this.#truncatedAt,
      quarantined: this.#foundRanges,
      logStartOffset: this.#logStartOffset,
      logEndOffset,
    }
  }
}

function readHeaderBytes(file: File, position: number, end: number): Uint8Array | undefined {
  if (end - position < BATCH_HEADER_BYTES) return undefined
  const header = new Uint8Array(BATCH_HEADER_BYTES)
  return file.readAtSync(header, position) === BATCH_HEADER_BYTES ? header : undefined
}
