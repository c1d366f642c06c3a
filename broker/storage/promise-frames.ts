// The bytes of the promise journal (FORMAT.md): its header, its frames, and the judgement whether a frame that fails is the
// torn end of the file or damage. A core: bytes in, values out; knows nothing of files or of what the entries mean.

import { crc32c } from '../../shared/crc32c.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { TopicId } from '../../shared/ids.ts'

/** 'TMPJ' */
const JOURNAL_MAGIC = 0x544d504a
/** 'TMPF' */
const FRAME_MAGIC = 0x544d5046
const VERSION = 1
export const JOURNAL_HEADER_BYTES = 32
export const FRAME_HEADER_BYTES = 12
export const ENTRY_BYTES = 29
const UUID_BYTES = 16
const PARTITION_AT = 1 + UUID_BYTES

const KINDS = { promise: 1, trust: 2, forgotten: 3 } as const
/** Stands in the partition of an entry that speaks of all of them. */
const ALL_PARTITIONS = 0xffff_ffff

export type JournalEntry =
  | {
      readonly kind: 'promise'
      readonly topicId: TopicId
      readonly partition: number
      readonly epoch: number
      readonly leaderId: number
    }
  | { readonly kind: 'trust'; readonly topicId: TopicId; readonly partition: number; readonly incarnation: number }
  | { readonly kind: 'forgotten'; readonly topicId: TopicId }

/** How much of which file is proven to have been synced. */
export interface JournalMark {
  readonly generation: number
  readonly bytes: number
}

export interface JournalContent {
  readonly generation: number
  /** Where the next frame would begin. */
  readonly bytes: number
}

export interface JournalReading {
  /** Of errors. */
  readonly path: string
  readonly directoryId: string
  /** Ids that the directory had before: the journal is written anew under the present one when it is opened. */
  readonly formerIds?: readonly string[] | undefined
  /** Undefined when nothing is known to have been synced. */
  readonly mark: JournalMark | undefined
  /** Whether the page cache has outlived the last writer. */
  readonly kernelLived: boolean
}

export function encodeJournalHeader(generation: number, directoryId: string): Uint8Array {
  const bytes = Buffer.alloc(JOURNAL_HEADER_BYTES)
  bytes.writeUInt32BE(JOURNAL_MAGIC, 0)
  bytes.writeUInt16BE(VERSION, 4)
  bytes.writeUInt32BE(generation, 8)
  writeUuid(bytes, 12, directoryId)
  bytes.writeUInt32BE(crc32c(bytes.subarray(4, 28)), 28)
  return bytes
}

/** The frame that stands at the position of the file of this generation. */
export function encodeFrame(entries: readonly JournalEntry[], generation: number, position: number): Uint8Array {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + entries.length * ENTRY_BYTES)
  bytes.writeUInt32BE(FRAME_MAGIC, 0)
  bytes.writeUInt32BE(entries.length * ENTRY_BYTES, 4)
  for (const [index, entry] of entries.entries()) encodeEntry(bytes, FRAME_HEADER_BYTES + index * ENTRY_BYTES, entry)
  bytes.writeUInt32BE(frameChecksum(bytes, 0, bytes.length, { generation, position }), 8)
  return bytes
}

/**
 * Shows every entry of the file, in order, and answers where it ends for good.
 * @throws FILE_CORRUPT when something is missing that may have been promised, DIRECTORY_FORMAT_UNKNOWN
 */
export function decodeJournal(
  content: Uint8Array,
  reading: JournalReading,
  take: (entry: JournalEntry) => void,
): JournalContent {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  const generation = decodeHeader(bytes, reading)
  const { mark } = reading
  if (mark !== undefined && mark.generation > generation) {
    throw corrupt(reading, `it is of generation ${generation}, and generation ${mark.generation} was there already`)
  }
  const durableBytes = mark?.generation === generation ? mark.bytes : 0
  let position = JOURNAL_HEADER_BYTES
  for (;;) {
    const size = frameAt(bytes, position, generation)
    if (size === 0) break
    for (let at = position + FRAME_HEADER_BYTES; at < position + size; at += ENTRY_BYTES) {
      const entry = decodeEntry(bytes, at)
      if (entry === undefined) throw corrupt(reading, `the entry at byte ${at} says nothing that is known`)
      take(entry)
    }
    position += size
  }
  if (position < durableBytes) {
    throw corrupt(reading, `it can be read up to byte ${position}, and was synced up to byte ${durableBytes}`)
  }
  if (position < bytes.length) checkTorn(bytes, position, generation, reading)
  return { generation, bytes: position }
}

function decodeHeader(bytes: Buffer, reading: JournalReading): number {
  if (bytes.length < JOURNAL_HEADER_BYTES) throw corrupt(reading, `its ${bytes.length} bytes are too few for a header`)
  if (bytes.readUInt32BE(0) !== JOURNAL_MAGIC) throw corrupt(reading, 'it does not begin as a journal does')
  if (bytes.readUInt32BE(28) !== crc32c(bytes.subarray(4, 28))) throw corrupt(reading, 'its header fails the checksum')
  const version = bytes.readUInt16BE(4)
  if (version > VERSION) {
    const text = `${reading.path} was written in format ${version}; this version reads up to format ${VERSION}`
    throw new TidemarkError('DIRECTORY_FORMAT_UNKNOWN', text)
  }
  const owner = readUuid(bytes, 12)
  const isOwn = owner === reading.directoryId || reading.formerIds?.includes(owner) === true
  if (!isOwn) throw corrupt(reading, `it belongs to the directory with the id ${owner}`)
  return bytes.readUInt32BE(8)
}

/** Bytes of the good frame at the position; 0 when there is none. */
function frameAt(bytes: Buffer, position: number, generation: number): number {
  if (bytes.length - position < FRAME_HEADER_BYTES || bytes.readUInt32BE(position) !== FRAME_MAGIC) return 0
  const size = FRAME_HEADER_BYTES + bytes.readUInt32BE(position + 4)
  if (position + size > bytes.length || (size - FRAME_HEADER_BYTES) % ENTRY_BYTES !== 0) return 0
  const checksum = frameChecksum(bytes, position, position + size, { generation, position })
  return checksum === bytes.readUInt32BE(position + 8) ? size : 0
}

/** Throws unless what begins at the position is what a write that was cut short leaves behind. */
function checkTorn(bytes: Buffer, position: number, generation: number, reading: JournalReading): void {
  const where = `the frame at byte ${position} fails`
  for (let at = bytes.indexOf('TMPF', position + 1, 'latin1'); at >= 0; at = bytes.indexOf('TMPF', at + 1, 'latin1')) {
    if (frameAt(bytes, at, generation) > 0) throw corrupt(reading, `${where}, and the one at byte ${at} is good`)
  }
  if (reading.kernelLived && !isBegun(bytes, position)) {
    throw corrupt(reading, `${where}, although the kernel has kept what was written`)
  }
}

/** Whether the bytes up to the end of the file are the beginning of a frame, and not the whole of it. */
function isBegun(bytes: Buffer, position: number): boolean {
  const magic = Buffer.alloc(4)
  magic.writeUInt32BE(FRAME_MAGIC)
  const length = Math.min(4, bytes.length - position)
  if (bytes.compare(magic, 0, length, position, position + length) !== 0) return false
  if (bytes.length - position < FRAME_HEADER_BYTES) return true
  return position + FRAME_HEADER_BYTES + bytes.readUInt32BE(position + 4) > bytes.length
}

function frameChecksum(
  bytes: Buffer,
  from: number,
  to: number,
  place: { generation: number; position: number },
): number {
  const seed = Buffer.alloc(12)
  seed.writeUInt32BE(place.generation, 0)
  seed.writeUInt32BE(place.position, 4)
  bytes.copy(seed, 8, from + 4, from + 8)
  return crc32c(bytes.subarray(from + FRAME_HEADER_BYTES, to), crc32c(seed))
}

function encodeEntry(bytes: Buffer, at: number, entry: JournalEntry): void {
  bytes.writeUInt8(KINDS[entry.kind], at)
  writeUuid(bytes, at + 1, entry.topicId)
  bytes.writeUInt32BE(entry.kind === 'forgotten' ? ALL_PARTITIONS : entry.partition, at + PARTITION_AT)
  if (entry.kind === 'promise') {
    bytes.writeUInt32BE(entry.epoch, at + PARTITION_AT + 4)
    bytes.writeUInt32BE(entry.leaderId, at + PARTITION_AT + 8)
  } else if (entry.kind === 'trust') {
    bytes.writeUInt32BE(entry.incarnation, at + PARTITION_AT + 4)
  }
}

function decodeEntry(bytes: Buffer, at: number): JournalEntry | undefined {
  const topicId = readUuid(bytes, at + 1) as TopicId
  const partition = bytes.readUInt32BE(at + PARTITION_AT)
  const first = bytes.readUInt32BE(at + PARTITION_AT + 4)
  switch (bytes.readUInt8(at)) {
    case KINDS.promise:
      return { kind: 'promise', topicId, partition, epoch: first, leaderId: bytes.readUInt32BE(at + PARTITION_AT + 8) }
    case KINDS.trust:
      return { kind: 'trust', topicId, partition, incarnation: first }
    case KINDS.forgotten:
      return { kind: 'forgotten', topicId }
    default:
      return undefined
  }
}

function writeUuid(bytes: Buffer, at: number, uuid: string): void {
  bytes.write(uuid.replaceAll('-', ''), at, UUID_BYTES, 'hex')
}

function readUuid(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + UUID_BYTES)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function corrupt(reading: JournalReading, what: string): TidemarkError {
  return new TidemarkError('FILE_CORRUPT', `${reading.path} is damaged: ${what}`)
}
