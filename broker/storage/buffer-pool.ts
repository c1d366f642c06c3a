// Buffers for reads from files: taken for one read and given back when the bytes have been sent. Owns the free buffers, by
// size class; a fresh buffer of a megabyte is mostly page faults, a used one costs nothing. Buffers above the largest
// class, and those given back when enough lie free, are left to the garbage collector.

const CLASS_BYTES_MIN = 64 * 1024
const CLASS_COUNT = 7
export const POOLED_BYTES_MAX = CLASS_BYTES_MIN << (CLASS_COUNT - 1)

export class BufferPool {
  readonly #free: Uint8Array[][] = Array.from({ length: CLASS_COUNT }, () => [])
  readonly #freeBytesMax: number
  #freeBytes = 0

  constructor(options: { readonly freeBytesMax?: number } = {}) {
    this.#freeBytesMax = options.freeBytesMax ?? 32 * 1024 * 1024
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** A buffer of at least this many bytes, with arbitrary content. */
  take(bytesMin: number): Uint8Array {
    const sizeClass = classOf(bytesMin)
    const list = this.#free[sizeClass]
    if (list === undefined) return Buffer.allocUnsafeSlow(bytesMin)
    const buffer = list.pop()
    if (buffer === undefined) return Buffer.allocUnsafeSlow(CLASS_BYTES_MIN << sizeClass)
    this.#freeBytes -= buffer.length
    return buffer
  }

  /** Gives the whole buffer back; nobody may look at it from now on. */
  give(buffer: Uint8Array): void {
    const list = this.#free[classOf(buffer.length)]
    if (list === undefined || this.#freeBytes + buffer.length > this.#freeBytesMax) return
    this.#freeBytes += buffer.length
    list.push(buffer)
  }
}

function classOf(bytes: number): number {
  if (bytes <= CLASS_BYTES_MIN) return 0
  return 32 - Math.clz32((bytes - 1) >>> 16)
}
