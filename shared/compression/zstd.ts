// zstd by the runtime's zlib where it has it, else by a package in WebAssembly, which must be loaded asynchronously once
// (prepareZstd). Frames are measured before they are decoded, because the package allocates what a frame claims.

import { createRequire } from 'node:module'
import * as zlib from 'node:zlib'
import { corrupt, tooLarge, unavailable } from './errors.ts'
import { walkZstdFrames } from './zstd-frame.ts'

/** Part of newer versions of node:zlib. */
interface ZlibWithZstd {
  zstdCompressSync(bytes: Uint8Array): Uint8Array
  zstdDecompressSync(bytes: Uint8Array, options: { maxOutputLength: number }): Uint8Array
}

interface ZstdWasm {
  init(): Promise<void>
  compress(bytes: Uint8Array, level: number): Uint8Array
  decompress(bytes: Uint8Array, options: { defaultHeapSize: number }): Uint8Array
}

const PACKAGE = "a Node with zstd in node:zlib or the package '@bokuweb/zstd-wasm'"
const LEVEL = 3
/** How the package says that the output did not fit what it was given. */
const OUTPUT_TOO_SMALL = /code -70$/

const builtIn = 'zstdCompressSync' in zlib ? (zlib as unknown as ZlibWithZstd) : undefined
let wasm: ZstdWasm | undefined
let preparing: Promise<void> | undefined

/** Idempotent. @throws UNSUPPORTED_COMPRESSION_TYPE when neither the runtime nor the package can do it. */
export function prepareZstd(): Promise<void> {
  if (builtIn !== undefined) return Promise.resolve()
  preparing ??= loadWasm()
  return preparing
}

export function compressZstd(bytes: Uint8Array): Uint8Array {
  return builtIn === undefined ? preparedWasm().compress(bytes, LEVEL) : builtIn.zstdCompressSync(bytes)
}

/** Frame by frame: neither the runtime nor the package goes on to a second one by itself. */
export function decompressZstd(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const decode = builtIn === undefined ? decodeByWasm(preparedWasm()) : decodeByRuntime(builtIn)
  const parts: Uint8Array[] = []
  let total = 0
  walkZstdFrames(bytes, (frame) => {
    const left = bytesMax - total
    if (frame.contentBytes !== undefined && frame.contentBytes > left) throw tooLarge('zstd', bytesMax)
    const part = decode(
      bytes.subarray(frame.start, frame.end),
      Math.min(frame.outputBytesMax, left),
      frame.contentBytes,
    )
    if (part === undefined) throw frame.outputBytesMax > left ? tooLarge('zstd', bytesMax) : corrupt('zstd', 'no end')
    parts.push(part)
    total += part.length
  })
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts, total)
}

/** Decodes one frame; undefined when more than outputBytesMax bytes come out. */
type DecodeFrame = (
  frame: Uint8Array,
  outputBytesMax: number,
  contentBytes: number | undefined,
) => Uint8Array | undefined

function decodeByRuntime(zstd: ZlibWithZstd): DecodeFrame {
  return (frame, outputBytesMax) => {
    try {
      return zstd.zstdDecompressSync(frame, { maxOutputLength: Math.max(1, outputBytesMax) })
    } catch (error) {
      if (error instanceof RangeError) return undefined
      throw corrupt('zstd', 'the frame is damaged', error)
    }
  }
}

function decodeByWasm(zstd: ZstdWasm): DecodeFrame {
  return (frame, outputBytesMax, contentBytes) =>
    contentBytes === undefined
      ? decodeUnsized(frame, outputBytesMax, zstd)
      : decodeFrame(frame, Math.max(contentBytes, 1), zstd)
}

/** A frame that does not say its size gets more and more room, up to what its blocks can hold. */
function decodeUnsized(frame: Uint8Array, outputBytesMax: number, zstd: ZstdWasm): Uint8Array | undefined {
  for (let room = Math.max(16 * frame.length, 64 * 1024); ; room *= 8) {
    const isLast = room >= outputBytesMax
    const output = decodeFrame(frame, Math.max(1, isLast ? outputBytesMax : room), zstd)
    if (output !== undefined || isLast) return output
  }
}

/** Undefined when the output does not fit. */
function decodeFrame(frame: Uint8Array, outputBytes: number, zstd: ZstdWasm): Uint8Array | undefined {
  try {
    return zstd.decompress(frame, { defaultHeapSize: outputBytes })
  } catch (error) {
    if (error instanceof Error && OUTPUT_TOO_SMALL.test(error.message)) return undefined
    throw corrupt('zstd', 'the frame is damaged', error)
  }
}

function preparedWasm(): ZstdWasm {
  if (wasm === undefined) throw unavailable('zstd', `prepareCodec('zstd') to be awaited first, and ${PACKAGE}`)
  return wasm
}

async function loadWasm(): Promise<void> {
  try {
    const zstd = createRequire(import.meta.url)('@bokuweb/zstd-wasm') as ZstdWasm
    await zstd.init()
    wasm = zstd
  } catch (error) {
    throw unavailable('zstd', PACKAGE, error)
  }
}
