// `tidemark log dump` and `log verify`: what stands in segment files, read as any reader of the format would, without a
// broker. Opens files for reading only: nothing is created, locked, cut or repaired.

import type { BatchHeader } from '../../shared/record-batch/header.ts'
import type { CommandContext } from './command.ts'
import type { Disk, File } from '../storage/disk.ts'
import type { SegmentFile } from './segment-files.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { checkBatch, readHeader } from '../../shared/record-batch/header.ts'
import { BatchWalk } from '../storage/batch-walk.ts'
import { NodeDisk } from '../storage/node-disk.ts'
import { printValue } from './output.ts'
import { startProgress } from './progress.ts'
import { findSegments } from './segment-files.ts'

interface Damage {
  readonly position: number
  readonly reason: string
}

interface SegmentReport {
  readonly file: string
  readonly log: string
  readonly baseOffset: number
  /** Of the last batch that could be read. */
  endOffset: number
  batches: number
  records: number
  readonly bytes: number
  readonly damage: Damage[]
}

interface ReadOptions {
  readonly isVerified: boolean
  readonly isDeep: boolean
  /** Called after each stretch of the file, before the next is read. */
  readonly onChunk?: () => Promise<void>
  readonly onBatch?: (header: BatchHeader, position: number, reason: string | undefined) => void
}

export async function logVerify(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const disk = new NodeDisk()
  const segments = findSegments(disk, args.required('path'))
  const progress = await startProgress(context, 'verifying bytes', sum(segments.map(({ bytes }) => bytes)))
  const reports: SegmentReport[] = []
  let doneBytes = 0
  try {
    for (const segment of segments) {
      context.signal.throwIfAborted()
      reports.push(await readSegment(disk, segment, { isVerified: true, isDeep: args.isOn('deep') }))
      doneBytes += segment.bytes
      progress.update(doneBytes)
    }
  } finally {
    progress.stop()
  }
  const format = args.required('format')
  const rows = format === 'table' ? reports.map(({ damage, ...row }) => ({ ...row, damaged: damage.length })) : reports
  await printValue(output, rows, format)
  return sayDamage(context, reports)
}

export async function logDump(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const disk = new NodeDisk()
  const isJson = args.required('format') !== 'table'
  const options = { isVerified: args.isOn('verify') || args.isOn('deep'), isDeep: args.isOn('deep') }
  const reports: SegmentReport[] = []
  for (const segment of findSegments(disk, args.required('path'))) {
    context.signal.throwIfAborted()
    if (!isJson) output.gather(Buffer.from(`# ${segment.log} ${segment.path}, ${segment.bytes} bytes\n`))
    const onBatch = (header: BatchHeader, position: number, reason: string | undefined): void => {
      output.gather(Buffer.from(`${batchLine(segment, header, position, reason, isJson)}\n`))
    }
    reports.push(await readSegment(disk, segment, { ...options, onBatch, onChunk: () => output.flush() }))
  }
  await output.flush()
  return sayDamage(context, reports)
}

async function readSegment(disk: Disk, segment: SegmentFile, options: ReadOptions): Promise<SegmentReport> {
  if (options.isDeep) await prepareCodec('zstd')
  const { path, log, baseOffset, bytes } = segment
  const damage: Damage[] = []
  const report = { file: path, log, baseOffset, endOffset: baseOffset, batches: 0, records: 0, bytes, damage }
  const walk = new BatchWalk({
    position: 0,
    end: bytes,
    visit(chunk, at, size, position) {
      const header = readHeader(chunk, at)
      const reason = faultOf(chunk, at, size, options) ?? orderFault(header.baseOffset, report.endOffset)
      if (reason !== undefined) damage.push({ position, reason })
      report.batches++
      report.records += header.recordCount
      report.endOffset = header.baseOffset + header.lastOffsetDelta + 1
      options.onBatch?.(header, position, reason)
      return false
    },
  })
  const file = disk.open(path, 'read')
  try {
    await walkFile(walk, file, options)
  } finally {
    file.close()
  }
  if (walk.fault !== undefined) {
    damage.push({
      position: walk.position,
      reason: `${walk.fault}; the ${bytes - walk.position} bytes from there on were not read`,
    })
  }
  return report
}

/** As storage walks a segment, with a pause after each stretch, in which the output can be written. */
async function walkFile(walk: BatchWalk, file: File, options: ReadOptions): Promise<void> {
  let buffer = Buffer.alloc(0)
  for (let wanted = walk.wantedBytes; wanted > 0; wanted = walk.wantedBytes) {
    if (buffer.length < wanted) buffer = Buffer.allocUnsafeSlow(wanted)
    walk.feed(buffer, await file.readAt(buffer.subarray(0, wanted), walk.position))
    await options.onChunk?.()
  }
}

function faultOf(bytes: Uint8Array, at: number, size: number, options: ReadOptions): string | undefined {
  const fault = checkBatch(bytes, at, at + size, { mayBeCompacted: true, checkCrc: options.isVerified })
  if (fault !== undefined) return fault.message.replace(/^record batch at byte \d+: /, '')
  if (!options.isDeep) return undefined
  try {
    decodeBatch(bytes, at, { checkCrc: false }).forEach(() => undefined)
    return undefined
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return error.message
  }
}

function orderFault(baseOffset: number, expected: number): string | undefined {
  // A gap is what compaction leaves; going back is nothing that a log may do.
  return baseOffset < expected ? `its base offset is ${baseOffset}, but ${expected} was reached before` : undefined
}

function batchLine(
  segment: SegmentFile,
  header: BatchHeader,
  position: number,
  reason: string | undefined,
  isJson: boolean,
): string {
  const { baseOffset, lastOffsetDelta, batchBytes, recordCount, maxTimestamp, leaderEpoch, codec } = header
  const endOffset = baseOffset + lastOffsetDelta + 1
  if (isJson) {
    return JSON.stringify({ log: segment.log, file: segment.path, position, endOffset, ...header, fault: reason })
  }
  const time = maxTimestamp < 0 ? 'no time' : new Date(maxTimestamp).toISOString()
  const producer =
    header.producerId < 0 ? '' : ` producer ${header.producerId}/${header.producerEpoch}@${header.baseSequence}`
  const kind = header.isControl ? ' control' : ''
  const fault = reason === undefined ? '' : `  DAMAGED: ${reason}`
  return (
    `offsets [${baseOffset}, ${endOffset}) at byte ${position}, ${batchBytes} bytes, ${recordCount} records, ` +
    `${codec ?? 'unknown codec'}, epoch ${leaderEpoch}, ${time}${producer}${kind}${fault}`
  )
}

function sayDamage(context: CommandContext, reports: readonly SegmentReport[]): number {
  const damaged = reports.filter(({ damage }) => damage.length > 0)
  for (const { file, damage } of damaged) {
    for (const { position, reason } of damage) console.error(`${file}: damaged at byte ${position}: ${reason}`)
  }
  const batches = sum(reports.map((report) => report.batches))
  const records = sum(reports.map((report) => report.records))
  const verdict = damaged.length === 0 ? 'no damage found' : `${damaged.length} damaged`
  context.note(`${reports.length} segments, ${batches} batches, ${records} records: ${verdict}`)
  return damaged.length === 0 ? 0 : 1
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
