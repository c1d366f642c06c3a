// lz4 in its frame format, with independent blocks and without checksums of its own, as Kafka's clients write and expect
// it. The native package does the work. It has no limit on its output, so the headers of the blocks are added up first;
// where that sum is too coarse, and where the package is missing, the decoder in JavaScript counts every byte.

import { createRequire } from 'node:module'
import { corrupt } from './errors.ts'
import { decodeLz4Frame, encodeLz4FrameStored, lz4OutputBytesMax } from './lz4-frame.ts'

interface Lz4Napi {
  compressFrameSync(bytes: Buffer): Uint8Array
  decompressFrameSync(bytes: Buffer): Uint8Array
}

let native: Lz4Napi | 'absent' | undefined

export function compressLz4(bytes: Uint8Array): Uint8Array {
  const lz4 = nativeLz4()
  return lz4 === 'absent' ? encodeLz4FrameStored(bytes) : lz4.compressFrameSync(asBuffer(bytes))
}

export function decompressLz4(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const lz4 = nativeLz4()
  const outputBytesMax = lz4OutputBytesMax(bytes)
  if (lz4 === 'absent' || outputBytesMax > bytesMax) return decodeLz4Frame(bytes, bytesMax)
  try {
    return lz4.decompressFrameSync(asBuffer(bytes))
  } catch (error) {
    throw corrupt('lz4', 'the frame is damaged', error)
  }
}

function nativeLz4(): Lz4Napi | 'absent' {
  native ??= loadNative()
  return native
}

function loadNative(): Lz4Napi | 'absent' {
  try {
    return createRequire(import.meta.url)('lz4-napi') as Lz4Napi
  } catch {
    // Not installed or not built for this platform.
    return 'absent'
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
