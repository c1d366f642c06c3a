// The end of a log: takes batches into memory and gives them their offsets, until they are written or taken back. Owns the
// log end offset, what is staged and the tail that is read from; knows nothing of files and of who may append.
//
// Invariant: from the last settled offset to the log end offset everything is staged; its history knows of it.

import { assert } from '../../shared/assert.ts'
import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import type { ControlBatchOptions } from '../../shared/record-batch/encode.ts'
import { encodeControlBatch } from '../../shared/record-batch/encode.ts'
import {
  baseOffsetAt,
  batchBytes,
  lastOffsetDeltaAt,
  leaderEpochAt,
  producerIdAt,
  setBaseOffset,
  setLeaderEpoch,
  setLogAppendTime,
} from '../../shared/record-batch/header.ts'
import type { AppendResult } from './append-check.ts'
import { checkRecords, refusal } from './append-check.ts'
import type { BatchHistory } from './batch-history.ts'
import { fromOffset } from './gap-batch.ts'
import type { ReadSlice } from './hot-tail.ts'
import { HotTail } from './hot-tail.ts'
import type { LogConfig } from './log-config.ts'
import { joinKept } from './kept-check.ts'
import { failureOf } from './log-failure.ts'
import type { ReplicatedAppendOptions, ReplicatedAppendResult } from './replica-check.ts'
import { checkReplicated, unavailable } from './replica-check.ts'
import type { Segments } from './segments.ts'
import type { StagedRun } from './staging.ts'
import { Staging } from './staging.ts'
import type { StorageContext } from './storage-context.ts'

/** What a leader puts on a batch, and when. */
export interface LeaderStamp {
  readonly epoch: LeaderEpoch
  readonly now: TimestampMs
}

/** A record of the broker's own. */
export type ControlRecord = Pick<ControlBatchOptions, 'type' | 'version' | 'value'>

export interface LogAppenderParts {
  readonly context: StorageContext
  readonly directory: string
  readonly segments: Segments
  readonly history: BatchHistory
  readonly logEndOffset: Offset
}

const NOTHING_STAGED: readonly StagedRun[] = []

export class LogAppender {
  readonly #parts: LogAppenderParts
  #logEndOffset: Offset
  /** Made at the first append. */
  #staging: Staging | undefined
  #tail: HotTail | undefined
  #lastAppendMs = 0 as TimestampMs

  constructor(parts: LogAppenderParts) {
    this.#parts = parts
    this.#logEndOffset = parts.logEndOffset
  }

  /** The offset that the next record gets. */
  get logEndOffset(): Offset {
    return this.#logEndOffset
  }

  get lastAppendMs(): TimestampMs {
    return this.#lastAppendMs
  }

  /** Whether anything was ever appended by this process. */
  get hasBegun(): boolean {
    return this.#staging !== undefined
  }

  get stagedBytes(): number {
    return this.#staging?.bytes ?? 0
  }

  get staged(): readonly StagedRun[] {
    return this.#staging?.runs ?? NOTHING_STAGED
  }

  /** As PartitionLog.append. */
  append(records: Uint8Array, stamp: LeaderStamp, config: LogConfig, mayDiffer = false): AppendResult {
    return this.#lead(stamp, config, () => {
      const producers = this.#parts.history.producers(this.#logEndOffset, stamp.now)
      return checkRecords(records, config, producers, stamp.now, mayDiffer) ?? records
    })
  }

  /** As PartitionLog.noteRefused. */
  noteRefused(records: Uint8Array, now: TimestampMs, config: LogConfig): void {
    if ('kind' in this.#begin(now)) return
    const producers = this.#parts.history.producers(this.#logEndOffset, now)
    if (checkRecords(records, config, producers, now) !== undefined) return
    if (producerIdAt(records, 0) >= 0) producers.noteRefused(records, 0)
  }

  /** As PartitionLog.appendKept. */
  appendKept(records: Uint8Array, stamp: LeaderStamp, config: LogConfig): AppendResult {
    // A copy has the times that it had.
    const result = this.#lead(stamp, { ...config, timestampType: 'CreateTime' }, () =>
      joinKept(records, config, this.#logEndOffset, stamp.epoch),
    )
    return result.kind === 'appended' ? { ...result, baseOffset: baseOffsetAt(records, 0) } : result
  }

  /** As PartitionLog.appendControl. */
  appendControl(record: ControlRecord, stamp: LeaderStamp, config: LogConfig): AppendResult {
    return this.#lead(stamp, config, () => encodeControlBatch({ ...record, timestamp: stamp.now }))
  }

  /** As PartitionLog.appendReplicated. */
  appendReplicated(
    sent: Uint8Array,
    now: TimestampMs,
    options: ReplicatedAppendOptions,
    config: LogConfig,
  ): ReplicatedAppendResult {
    const staging = this.#begin(now)
    if ('kind' in staging) return unavailable(staging)
    const { history } = this.#parts
    const end = { offset: this.#logEndOffset, epoch: history.epochs(this.#logEndOffset).latest }
    const records = fromOffset(sent, end.offset)
    const refused = checkReplicated(records, end, options)
    if (refused !== undefined) return refused
    const baseOffset = baseOffsetAt(records, 0)
    for (let at = 0; at < records.length;) {
      history.assignEpoch(leaderEpochAt(records, at), baseOffsetAt(records, at))
      at += this.#stage(staging, records, at, { baseOffset: baseOffsetAt(records, at), stamp: undefined, now, config })
    }
    this.#lastAppendMs = now
    return { kind: 'appended', baseOffset, endOffset: this.#logEndOffset }
  }

  /** What memory holds; see HotTail.read. */
  readTail(fetchOffset: Offset, maxBytes: number, endOffset: Offset): ReadSlice | undefined {
    return this.#tail?.read(fetchOffset, maxBytes, endOffset)
  }

  /** As HotTail.forgetBelow. */
  forgetBelow(offset: Offset): void {
    this.#tail?.forgetBelow(offset)
  }

  /** Everything staged has been written. */
  settle(): void {
    this.#staging?.clear()
  }

  /** Forgets what was appended at and above the offset; the active segment is as it was before. */
  takeBack(toOffset: Offset): void {
    this.#logEndOffset = toOffset
    this.#tail?.truncate(toOffset)
  }

  /** What comes next goes to the active segment as it is now; nothing is staged. */
  continueInActive(): void {
    const { active } = this.#parts.segments
    this.#staging?.reset(active.baseOffset, active.size, active.firstAppendMs)
  }

  /** The log goes on at the offset, with nothing staged. */
  skipTo(offset: Offset): void {
    assert(this.stagedBytes === 0, 'nothing is staged when the end of a log moves')
    this.takeBack(offset)
    this.continueInActive()
  }

  /** Gives the memory back. What is staged is lost. */
  close(): void {
    this.#tail?.clear()
    this.#tail = undefined
  }

  /** Appends what `take` answers, if the epoch may; or answers its refusal. */
  #lead(stamp: LeaderStamp, config: LogConfig, take: () => AppendResult | Uint8Array): AppendResult {
    const staging = this.#begin(stamp.now)
    if ('kind' in staging) return staging
    const { history } = this.#parts
    const { latest } = history.epochs(this.#logEndOffset)
    if (latest !== undefined && stamp.epoch < latest) {
      return refusal('FENCED_LEADER_EPOCH', `the log is in leader epoch ${latest}, the append in ${stamp.epoch}`)
    }
    const records = take()
    if ('kind' in records) return records
    const baseOffset = this.#logEndOffset
    history.assignEpoch(stamp.epoch, baseOffset)
    for (let at = 0; at < records.length;) {
      at += this.#stage(staging, records, at, { baseOffset: this.#logEndOffset, stamp, now: stamp.now, config })
    }
    this.#lastAppendMs = stamp.now
    const logAppendTime = config.timestampType === 'LogAppendTime' ? stamp.now : undefined
    return { kind: 'appended', baseOffset, endOffset: this.#logEndOffset, logAppendTime }
  }

  #begin(now: TimestampMs): Staging | Extract<AppendResult, { kind: 'refused' }> {
    const { context, directory, segments, history } = this.#parts
    if (this.#staging !== undefined) return this.#staging
    try {
      // Both are complete from now on, so that no later append has to look at the log.
      history.producers(this.#logEndOffset, now)
      history.epochs(this.#logEndOffset)
      segments.active.lookUpFirstAppend(context.files)
    } catch (error) {
      return refusal('STORAGE_ERROR', failureOf(error, `${directory} cannot be read`).message)
    }
    const { active } = segments
    this.#staging = new Staging(active.baseOffset, active.size, active.firstAppendMs)
    return this.#staging
  }

  #stage(staging: Staging, records: Uint8Array, at: number, how: StagedHow): number {
    const { context, history } = this.#parts
    const { baseOffset, stamp, config } = how
    const size = batchBytes(records, at)
    const endOffset = (baseOffset + lastOffsetDeltaAt(records, at) + 1) as Offset
    const tail = (this.#tail ??= new HotTail(context.tails))
    const block = tail.blockFor(size, baseOffset)
    const position = block.used
    block.bytes.set(at === 0 && size === records.length ? records : records.subarray(at, at + size), position)
    if (stamp !== undefined) {
      setBaseOffset(block.bytes, position, baseOffset)
      setLeaderEpoch(block.bytes, position, stamp.epoch)
      if (config.timestampType === 'LogAppendTime') setLogAppendTime(block.bytes, position, stamp.now)
    }
    history.onStaged(block.bytes, position, how.now)
    block.noteBatch(baseOffset, endOffset, size)
    staging.add(block, position, { baseOffset, endOffset, bytes: size }, config, how.now)
    this.#logEndOffset = endOffset
    return size
  }
}

interface StagedHow {
  readonly baseOffset: Offset
  /** Undefined for a batch that has all that a leader gives it. */
  readonly stamp: LeaderStamp | undefined
  readonly now: TimestampMs
  readonly config: LogConfig
}
