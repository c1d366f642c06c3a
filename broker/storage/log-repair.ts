// Puts records back that damage has taken from a log: whole batches that another replica has kept, byte for byte. Owns what fits
// a lost range, and the new file of the segment; knows nothing of who has the records, and of why they are to be believed.
//
// The segment is written anew with the batches in the place of the bad bytes, and takes its name in one step: no other byte
// changes its place. Only then is the range taken out of the quarantine, so that a crash leaves a range too many, never one
// too few; it is put back once more then. The copy of the bad bytes stays for a person to look at.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { leaderEpochAt } from '../../shared/record-batch/header.ts'
import { BatchWalk } from './batch-walk.ts'
import { TEMPORARY_SUFFIX, writeCheckpoint } from './checkpoint-file.ts'
import type { File } from './disk.ts'
import { DiskError } from './disk.ts'
import { syncNames } from './failed-sync.ts'
import { QUARANTINE_FILE } from './file-names.ts'
import type { LogAppender } from './log-appender.ts'
import type { LogReader } from './log-reader.ts'
import { forgetIndexes } from './log-scrub.ts'
import type { LogStanding } from './log-standing.ts'
import type { LogWriter } from './log-writer.ts'
import type { Quarantine, QuarantinedRange } from './quarantine.ts'
import type { LostBytes } from './segment.ts'
import { Segment } from './segment.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'

const CHUNK_BYTES = 1024 * 1024
/** The medium is to take a little all the time rather than all at the end. */
const UNSYNCED_BYTES_MAX = 16 * 1024 * 1024

/** What is asked of the log itself. */
interface RepairedLog {
  readonly directory: string
  readonly writtenEndOffset: Offset
  readonly stagedBytes: number
  epochAt(at: Offset): LeaderEpoch | undefined
  sync(): Promise<void>
}

/** What is needed of the inside of a log. */
export interface RepairParts {
  readonly context: StorageContext
  readonly segments: Segments
  readonly quarantine: Quarantine
  readonly standing: LogStanding
  readonly reader: () => LogReader
  readonly writer: Pick<LogWriter, 'roll'>
  readonly appender: Pick<LogAppender, 'continueInActive' | 'lastAppendMs'>
  /** Grows whenever the log is cut. */
  readonly truncations: () => number
  readonly isClosed: () => boolean
  /** Runs what must not be interleaved with syncs, trims and cuts. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
}

/**
 * Why these batches are not what the range has lost; undefined if they are, as far as it can be told from what is around it:
 * they are sound, join one another and what is beside them, and take exactly the place of the bad bytes.
 */
function whyNoFit(
  range: QuarantinedRange,
  records: Uint8Array,
  epochs: { readonly before: LeaderEpoch | undefined; readonly behind: LeaderEpoch | undefined },
): string | undefined {
  const { position, bytes, startOffset, endOffset } = range
  if (bytes === 0) return 'nothing is bad, something is missing'
  if (records.length !== bytes) return `they have ${records.length} bytes, and ${bytes} are bad`
  let epoch: number = epochs.before ?? -1
  const visit = (batch: Uint8Array, at: number): boolean | string => {
    const next = leaderEpochAt(batch, at)
    if (next < epoch || next > (epochs.behind ?? Infinity)) return `epoch ${next} does not fit what is beside it`
    epoch = next
    return false
  }
  const walk = new BatchWalk({ position, end: position + bytes, expectedOffset: startOffset, isFullCheck: true, visit })
  walk.feed(records, records.length)
  if (walk.fault !== undefined) return walk.fault
  return walk.expectedOffset === endOffset ? undefined : `they end at ${walk.expectedOffset}, not at ${endOffset}`
}

/** Puts the records in the place of the range. Answers why that cannot be; undefined when it is done. @throws STORAGE_ERROR */
export async function repairRange(
  log: RepairedLog,
  parts: RepairParts,
  range: QuarantinedRange,
  records: Uint8Array,
): Promise<string | undefined> {
  const { segments, context, quarantine, standing, truncations, alone } = parts
  const before = range.startOffset === 0 ? undefined : log.epochAt((range.startOffset - 1) as Offset)
  const fault = whyNoFit(range, records, { before, behind: log.epochAt(range.endOffset) })
  if (fault !== undefined) return fault
  const segment = segments.floor(range.segmentBase)
  if (segment?.baseOffset !== range.segmentBase) return 'the segment is gone'
  const cuts = truncations()
  const isChanged = (): boolean =>
    parts.isClosed() ||
    !standing.isOnline ||
    truncations() !== cuts ||
    !segments.holds([segment]) ||
    !quarantine.ranges.includes(range)
  try {
    const isSealed = await alone(async () => !isChanged() && seal(log, parts, segment))
    if (!isSealed) return CHANGED
    // What is copied is durable, and nothing is appended to it any more.
    await log.sync()
    const temporary = segment.file.path + TEMPORARY_SUFFIX
    const failure = await tryWriteRepaired(context, segment, temporary, { range, records })
    if (failure !== undefined) return failure
    return await alone(async () => {
      if (!isChanged() && segments.active !== segment) return putInPlace(log, parts, segment, { temporary, range })
      context.disk.remove(temporary)
      return CHANGED
    })
  } catch (error) {
    throw standing.failureOf(error, 'cannot be repaired')
  }
}

const CHANGED = 'the log has changed meanwhile'

/** Whether nothing will be appended to the segment any more. */
function seal(log: RepairedLog, { segments, writer, appender }: RepairParts, segment: Segment): boolean {
  if (segment !== segments.active) return true
  // Something is on its way into it.
  if (log.stagedBytes > 0) return false
  writer.roll(log.writtenEndOffset, appender.lastAppendMs)
  appender.continueInActive()
  return true
}

/** Answers why it cannot be written: then nothing has changed. */
async function tryWriteRepaired(
  context: StorageContext,
  segment: Segment,
  to: string,
  repaired: { readonly range: QuarantinedRange; readonly records: Uint8Array },
): Promise<string | undefined> {
  const { disk } = context
  if (disk.space(segment.directory).freeBytes < 2 * segment.size) return 'there is too little room to write it anew'
  try {
    await writeRepaired(context, segment, to, repaired)
    return undefined
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    disk.remove(to)
    return error.message
  }
}

async function writeRepaired(
  { disk, files }: StorageContext,
  segment: Segment,
  to: string,
  { range, records }: { readonly range: QuarantinedRange; readonly records: Uint8Array },
): Promise<void> {
  const { position, bytes } = range
  disk.remove(to)
  const source = files.acquire(segment.file)
  try {
    const target = disk.open(to, 'create')
    try {
      await copy(source, target, 0, position)
      target.append([records])
      await copy(source, target, position + bytes, segment.size)
      await target.sync()
      if (target.size !== segment.size) throw new DiskError('EIO', 'copy', segment.file.path)
    } finally {
      target.close()
    }
  } finally {
    files.release(segment.file)
  }
}

async function copy(source: File, target: File, position: number, end: number): Promise<void> {
  const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(1, end - position)))
  let unsynced = 0
  for (let from = position; from < end;) {
    const length = await source.readAt(chunk.subarray(0, Math.min(chunk.length, end - from)), from)
    if (length === 0) return
    target.append([chunk.subarray(0, length)])
    from += length
    unsynced += length
    if (unsynced < UNSYNCED_BYTES_MAX) continue
    unsynced = 0
    await target.sync()
  }
}

/** The new file takes the place of the old one. What is read meanwhile from the old one is what stands in the new one as well. */
async function putInPlace(
  { directory }: RepairedLog,
  { context, segments, quarantine, reader }: RepairParts,
  old: Segment,
  { temporary, range }: { readonly temporary: string; readonly range: QuarantinedRange },
): Promise<undefined> {
  const { disk, files } = context
  disk.rename(temporary, old.file.path)
  const segment = new Segment(directory, old.baseOffset, old.size, true)
  segment.firstAppendMs = old.firstAppendMs
  segment.lastAppendMs = old.lastAppendMs
  segment.lost = old.lost
  segments.replace([old], segment)
  forgetIndexes(context, old)
  files.retire(old.file)
  reader().onReplaced()
  await syncNames(disk, directory)
  const isRange = ({ position, bytes }: LostBytes): boolean => position === range.position && bytes === range.bytes
  segment.lost = segment.lost.filter((lost) => !isRange(lost))
  quarantine.remove(range)
  reader().forgetPlaces()
  await writeCheckpoint(disk, `${directory}/${QUARANTINE_FILE}`, quarantine.snapshot())
}
