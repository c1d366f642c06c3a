// snappy. One bare block is written, which every client of Kafka's reads. The framing of xerial's Java library, which Kafka's
// own client writes, is read as well: a magic of 8 bytes, two versions, then blocks, each behind its length. No bare block
// begins with the magic: it would copy from before its beginning. The native package does the work, the one in JavaScript
// when it is missing.

import { createRequire } from 'node:module'
import { corrupt, tooLarge, unavailable } from './errors.ts'

/** A compressor of single blocks. */
export interface SnappyBlocks {
  compress(bytes: Uint8Array): Uint8Array
  decompress(bytes: Uint8Array, bytesMax: number): Uint8Array
}

const XERIAL_MAGIC = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0)
/** With the versions, which are not looked at: some writers have them in the wrong byte order. */
const XERIAL_HEADER_BYTES = 16
/** A copy of 64 bytes takes 3, so no block grows more than this. A length field that claims more is a lie. */
const RATIO_MAX = 22

let selected: SnappyBlocks | undefined

export function compressSnappy(bytes: Uint8Array): Uint8Array {
  return snappyBlocks().compress(bytes)
}

export function decompressSnappy(bytes: Uint8Array, bytesMax: number): Uint8Array {
  return decodeSnappy(bytes, bytesMax, snappyBlocks())
}

export function decodeSnappy(bytes: Uint8Array, bytesMax: number, blocks: SnappyBlocks): Uint8Array {
  if (!isXerial(bytes)) return decodeBlock(bytes, 0, bytesMax, blocks)
  const parts: Uint8Array[] = []
  let total = 0
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length;) {
    const start = at + 4
    const end = start + readUint32(bytes, at)
    if (start > bytes.length || end > bytes.length) throw corrupt('snappy', `the block at byte ${at} is cut`)
    const block = decodeBlock(bytes.subarray(start, end), total, bytesMax, blocks)
    parts.push(block)
    total += block.length
    at = end
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, total)
}

/** `before` bytes have come out already. */
function decodeBlock(block: Uint8Array, before: number, bytesMax: number, blocks: SnappyBlocks): Uint8Array {
  const length = uncompressedLength(block)
  if (before + length > bytesMax) throw tooLarge('snappy', bytesMax)
  if (length > block.length * RATIO_MAX) throw corrupt('snappy', `no ${length} bytes are in ${block.length}`)
  let decompressed: Uint8Array
  try {
    decompressed = blocks.decompress(block, length)
  } catch (error) {
    throw corrupt('snappy', 'a block is damaged', error)
  }
  if (decompressed.length !== length) throw corrupt('snappy', 'a block has another length than it says')
  return decompressed
}

/** A block begins with its length when decompressed, as an unsigned varint of 32 bits. */
function uncompressedLength(block: Uint8Array): number {
  let length = 0
  for (let index = 0; index < 5; index++) {
    const byte = block[index]
    if (byte === undefined) break
    length += (byte & 0x7f) * 2 ** (7 * index)
    if (byte < 0x80) return length
  }
  throw corrupt('snappy', 'the length of a block is malformed')
}

function isXerial(bytes: Uint8Array): boolean {
  return bytes.length >= XERIAL_HEADER_BYTES && XERIAL_MAGIC.every((byte, index) => bytes[index] === byte)
}

function readUint32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  return high * 0x1_0000 + (((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))
}

function snappyBlocks(): SnappyBlocks {
  selected ??= nativeSnappy() ?? javascriptSnappy()
  if (selected === undefined) throw unavailable('snappy', "the package 'snappy' or 'snappyjs'")
  return selected
}

/** Undefined when the package is not installed or not built for this platform. */
export function nativeSnappy(): SnappyBlocks | undefined {
  try {
    const snappy = createRequire(import.meta.url)('snappy') as {
      compressSync(bytes: Uint8Array): Uint8Array
      uncompressSync(bytes: Uint8Array, options: { asBuffer: true }): Uint8Array
    }
    return {
      compress: (bytes) => snappy.compressSync(bytes),
      decompress: (bytes) => snappy.uncompressSync(bytes, { asBuffer: true }),
    }
  } catch {
    return undefined
  }
}

/** Undefined when the package is not installed. */
export function javascriptSnappy(): SnappyBlocks | undefined {
  try {
    const snappyjs = createRequire(import.meta.url)('snappyjs') as {
      compress(bytes: Uint8Array): Uint8Array
      uncompress(bytes: Uint8Array, bytesMax: number): Uint8Array
    }
    return {
      compress: (bytes) => snappyjs.compress(bytes),
      decompress: (bytes, bytesMax) => snappyjs.uncompress(bytes, bytesMax),
    }
  } catch {
    return undefined
  }
}
