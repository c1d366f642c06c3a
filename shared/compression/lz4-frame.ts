// The lz4 frame format in JavaScript: a decoder that never writes past its limit, and an encoder that wraps bytes without
// compressing them. Checksums inside a frame are skipped: a record batch has one over all of its bytes.

import { corrupt, tooLarge } from './errors.ts'

const FRAME_MAGIC = 0x184d_2204
/** 0x184d2a50 to 0x184d2a5f: frames that carry something else and are to be passed over. */
const SKIPPABLE_MAGIC = 0x184d_2a50
const FRAME_VERSION = 1

const FLAG_INDEPENDENT_BLOCKS = 0x20
const FLAG_BLOCK_CHECKSUM = 0x10
const FLAG_CONTENT_SIZE = 0x08
const FLAG_CONTENT_CHECKSUM = 0x04
const FLAG_DICTIONARY = 0x01

/** Set in the length of a block that is stored as it is. */
const BLOCK_STORED = 0x8000_0000
const STORED_BLOCK_BYTES = 64 * 1024
/** Magic, version 1 with independent blocks, blocks of 64 KiB, and the checksum byte of just these two bytes. */
const STORED_FRAME_HEADER = Uint8Array.of(0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82)

const MATCH_BYTES_MIN = 4

interface FrameHeader {
  readonly blocksAt: number
  readonly blockBytesMax: number
  readonly isIndependent: boolean
  readonly hasBlockChecksum: boolean
  readonly hasContentChecksum: boolean
}

/** Bytes that all frames together can hold by the headers of their blocks, at most. @throws CORRUPT_MESSAGE. */
export function lz4OutputBytesMax(bytes: Uint8Array): number {
  let total = 0
  walkFrames(bytes, (_start, length, isStored, frame) => {
    // A byte of a block stands for at most 255.
    total += isStored ? length : Math.min(frame.blockBytesMax, length * 255)
  })
  return total
}

/** @throws CORRUPT_MESSAGE when the frame is malformed or holds more than bytesMax bytes. */
export function decodeLz4Frame(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const output = new BoundedOutput(Math.min(bytesMax, 4 * bytes.length), bytesMax)
  let frameStart = 0
  let current: FrameHeader | undefined
  walkFrames(bytes, (start, length, isStored, frame) => {
    if (frame !== current) frameStart = output.length
    current = frame
    const blockStart = output.length
    if (isStored) output.append(bytes, start, length)
    else decodeBlock(bytes, start, start + length, frame.isIndependent ? blockStart : frameStart, output)
    if (output.length - blockStart > frame.blockBytesMax) throw corrupt('lz4', `the block at byte ${start} is too long`)
  })
  return output.finish()
}

/** A frame of blocks that are stored as they are: larger than its content, and legal for every reader. */
export function encodeLz4FrameStored(bytes: Uint8Array): Uint8Array {
  const blockCount = Math.ceil(bytes.length / STORED_BLOCK_BYTES)
  const frame = new Uint8Array(STORED_FRAME_HEADER.length + 4 * blockCount + bytes.length + 4)
  frame.set(STORED_FRAME_HEADER)
  let at = STORED_FRAME_HEADER.length
  for (let start = 0; start < bytes.length; start += STORED_BLOCK_BYTES) {
    const block = bytes.subarray(start, start + STORED_BLOCK_BYTES)
    writeUint32(frame, at, (block.length | BLOCK_STORED) >>> 0)
    frame.set(block, at + 4)
    at += 4 + block.length
  }
  return frame
}

type VisitBlock = (start: number, length: number, isStored: boolean, frame: FrameHeader) => void

function walkFrames(bytes: Uint8Array, visit: VisitBlock): void {
  let at = 0
  while (at < bytes.length) {
    const magic = readUint32(bytes, at)
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + readUint32(bytes, at + 4)
      if (at > bytes.length) throw corrupt('lz4', 'a skippable frame is cut')
      continue
    }
    if (magic !== FRAME_MAGIC) throw corrupt('lz4', `no frame begins at byte ${at}`)
    at = walkBlocks(bytes, readFrameHeader(bytes, at + 4), visit)
  }
}

/** Visits the blocks of a frame and returns the position after it. */
function walkBlocks(bytes: Uint8Array, frame: FrameHeader, visit: VisitBlock): number {
  let at = frame.blocksAt
  for (;;) {
    const field = readUint32(bytes, at)
    at += 4
    if (field === 0) break
    const isStored = field >= BLOCK_STORED
    const length = isStored ? field - BLOCK_STORED : field
    if (length > frame.blockBytesMax) throw corrupt('lz4', `the block at byte ${at} is longer than its frame allows`)
    if (length > bytes.length - at) throw corrupt('lz4', `the block at byte ${at} is cut`)
    visit(at, length, isStored, frame)
    at += length + (frame.hasBlockChecksum ? 4 : 0)
  }
  at += frame.hasContentChecksum ? 4 : 0
  if (at > bytes.length) throw corrupt('lz4', 'the frame is cut')
  return at
}

function readFrameHeader(bytes: Uint8Array, at: number): FrameHeader {
  const flags = byteAt(bytes, at)
  const sizeCode = (byteAt(bytes, at + 1) >> 4) & 7
  if (flags >> 6 !== FRAME_VERSION) throw corrupt('lz4', `frame version ${flags >> 6} is not known`)
  if (sizeCode < 4) throw corrupt('lz4', `block size code ${sizeCode} is not known`)
  if ((flags & FLAG_DICTIONARY) !== 0) throw corrupt('lz4', 'the frame needs a dictionary')
  const contentSizeBytes = (flags & FLAG_CONTENT_SIZE) === 0 ? 0 : 8
  const blocksAt = at + 2 + contentSizeBytes + 1
  return {
    blocksAt,
    blockBytesMax: 1 << (8 + 2 * sizeCode),
    isIndependent: (flags & FLAG_INDEPENDENT_BLOCKS) !== 0,
    hasBlockChecksum: (flags & FLAG_BLOCK_CHECKSUM) !== 0,
    hasContentChecksum: (flags & FLAG_CONTENT_CHECKSUM) !== 0,
  }
}

/** A block is a row of literals and copies of what came before, not reaching back beyond windowStart. */
function decodeBlock(bytes: Uint8Array, start: number, end: number, windowStart: number, output: BoundedOutput): void {
  let at = start
  while (at < end) {
    const token = byteAt(bytes, at++)
    let literals = token >> 4
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) more = byteBefore(bytes, at++, end)
    }
    if (literals > end - at) throw corrupt('lz4', `literals at byte ${at} leave their block`)
    output.append(bytes, at, literals)
    at += literals
    if (at === end) return
    const distance = byteBefore(bytes, at, end) | (byteBefore(bytes, at + 1, end) << 8)
    at += 2
    let match = (token & 15) + MATCH_BYTES_MIN
    if ((token & 15) === 15) {
      for (let more = 255; more === 255; match += more) more = byteBefore(bytes, at++, end)
    }
    if (distance === 0 || distance > output.length - windowStart) {
      throw corrupt('lz4', `the copy at byte ${at} reaches back too far`)
    }
    output.repeat(distance, match)
  }
}

/** Bytes that grow as they come, up to a limit. */
class BoundedOutput {
  #bytes: Uint8Array
  readonly #bytesMax: number
  length = 0

  constructor(initialBytes: number, bytesMax: number) {
    this.#bytes = new Uint8Array(initialBytes)
    this.#bytesMax = bytesMax
  }

  append(source: Uint8Array, start: number, count: number): void {
    this.#reserve(count)
    if (count > 16) this.#bytes.set(source.subarray(start, start + count), this.length)
    else for (let index = 0; index < count; index++) this.#bytes[this.length + index] = byteAt(source, start + index)
    this.length += count
  }

  /** Repeats what stands `distance` bytes back; the copy may overlap itself and then repeats its own beginning. */
  repeat(distance: number, count: number): void {
    this.#reserve(count)
    const bytes = this.#bytes
    const to = this.length
    if (distance >= count && count > 16) bytes.copyWithin(to, to - distance, to - distance + count)
    else for (let at = to; at < to + count; at++) bytes[at] = byteAt(bytes, at - distance)
    this.length += count
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.length)
  }

  #reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.#bytes.length) return
    if (needed > this.#bytesMax) throw tooLarge('lz4', this.#bytesMax)
    const grown = new Uint8Array(Math.min(Math.max(2 * this.#bytes.length, needed), this.#bytesMax))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
  }
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}

function byteBefore(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) throw corrupt('lz4', `the block that ends at byte ${end} is cut`)
  return bytes[at] ?? 0
}

function readUint32(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw corrupt('lz4', 'the frame is cut')
  const low = byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16)
  return (low | (byteAt(bytes, at + 3) << 24)) >>> 0
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}
