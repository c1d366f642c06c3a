// Buffers for frames that arrive in pieces, used again and again: a fresh one for each frame costs a page fault for every
// 4 KiB. Owns the free ones only. Invariant: they are never more than freeBytesMax together.

import type { FrameBuffers } from './frame-decoder.ts'

const CLASS_BYTES_MIN = 16 * 1024
const CLASS_BYTES_MAX = 2 * 1024 * 1024
const FREE_BYTES_MAX = 8 * 1024 * 1024

export class FrameBufferPool implements FrameBuffers {
  readonly #free = new Map<number, Uint8Array[]>()
  readonly #freeBytesMax: number
  #freeBytes = 0

  constructor(freeBytesMax: number = FREE_BYTES_MAX) {
    this.#freeBytesMax = freeBytesMax
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** A buffer with room for the bytes; perhaps a longer one, with whatever it held before. */
  take(bytes: number): Uint8Array {
    if (bytes > CLASS_BYTES_MAX) return Buffer.allocUnsafeSlow(bytes)
    const classBytes = classOf(bytes)
    const buffer = this.#free.get(classBytes)?.pop()
    if (buffer === undefined) return Buffer.allocUnsafeSlow(classBytes)
    this.#freeBytes -= classBytes
    return buffer
  }

  give(buffer: Uint8Array): void {
    const bytes = buffer.length
    if (bytes > CLASS_BYTES_MAX || this.#freeBytes + bytes > this.#freeBytesMax) return
    const free = this.#free.get(bytes)
    if (free === undefined) this.#free.set(bytes, [buffer])
    else free.push(buffer)
    this.#freeBytes += bytes
  }
}

/** The next power of two. */
function classOf(bytes: number): number {
  return bytes <= CLASS_BYTES_MIN ? CLASS_BYTES_MIN : 2 ** (32 - Math.clz32(bytes - 1))
}
