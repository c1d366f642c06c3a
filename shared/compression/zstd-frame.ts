// Walks zstd frames without decoding them, to know what they can hold before anything is allocated for it.

import { corrupt } from './errors.ts'

const FRAME_MAGIC = 0xfd2f_b528
/** 0x184d2a50 to 0x184d2a5f: frames that carry something else and are to be passed over. */
const SKIPPABLE_MAGIC = 0x184d_2a50
/** Bytes that one block decodes to, at most. */
const BLOCK_BYTES_MAX = 128 * 1024

export interface ZstdFrame {
  readonly start: number
  readonly end: number
  /** Bytes that the frame says it holds; undefined when it does not say. Never more than outputBytesMax. */
  readonly contentBytes: number | undefined
  /** Bytes that its blocks can hold, at most. */
  readonly outputBytesMax: number
}

/** Visits the frames in order, without the skippable ones. @throws CORRUPT_MESSAGE when one is malformed or lies. */
export function walkZstdFrames(bytes: Uint8Array, visit: (frame: ZstdFrame) => void): void {
  let at = 0
  while (at < bytes.length) {
    const magic = readUint(bytes, at, 4)
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + readUint(bytes, at + 4, 4)
      if (at > bytes.length) throw corrupt('zstd', 'a skippable frame is cut')
      continue
    }
    if (magic !== FRAME_MAGIC) throw corrupt('zstd', `no frame begins at byte ${at}`)
    const frame = measureFrame(bytes, at)
    visit(frame)
    at = frame.end
  }
}

function measureFrame(bytes: Uint8Array, start: number): ZstdFrame {
  const descriptor = readUint(bytes, start + 4, 1)
  const isSingleSegment = (descriptor & 0x20) !== 0
  const hasChecksum = (descriptor & 0x04) !== 0
  const dictionaryIdBytes = [0, 1, 2, 4][descriptor & 3] ?? 0
  const contentSizeCode = descriptor >> 6
  const contentSizeBytes = contentSizeCode === 0 ? Number(isSingleSegment) : 1 << contentSizeCode
  let at = start + 5 + Number(!isSingleSegment) + dictionaryIdBytes
  const contentBytes = contentSizeBytes === 0 ? undefined : contentSize(bytes, at, contentSizeBytes)
  at += contentSizeBytes
  let outputBytesMax = 0
  for (let isLast = false; !isLast;) {
    const header = readUint(bytes, at, 3)
    isLast = (header & 1) === 1
    const type = (header >> 1) & 3
    const size = header >> 3
    if (type === 3 || size > BLOCK_BYTES_MAX) throw corrupt('zstd', `the block at byte ${at} is malformed`)
    // Stored, one byte repeated, or compressed.
    outputBytesMax += type === 2 ? BLOCK_BYTES_MAX : size
    at += 3 + (type === 1 ? 1 : size)
  }
  const end = at + (hasChecksum ? 4 : 0)
  if (end > bytes.length) throw corrupt('zstd', 'the frame is cut')
  if (contentBytes !== undefined && contentBytes > outputBytesMax) {
    throw corrupt('zstd', `a frame claims ${contentBytes} bytes, its blocks hold at most ${outputBytesMax}`)
  }
  return { start, end, contentBytes, outputBytesMax }
}

function contentSize(bytes: Uint8Array, at: number, count: number): number {
  // The form of two bytes counts from 256.
  if (count === 2) return readUint(bytes, at, 2) + 256
  return readUint(bytes, at, count)
}

/** An unsigned number of up to 8 bytes, lowest first; inexact above 2^53, where only its size matters. */
function readUint(bytes: Uint8Array, at: number, count: number): number {
  if (at + count > bytes.length) throw corrupt('zstd', 'the frame is cut')
  let value = 0
  for (let index = count - 1; index >= 0; index--) value = value * 256 + (bytes[at + index] ?? 0)
  return value
}
