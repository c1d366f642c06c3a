// The bytes of one simulated file: growing, and cheap to copy. A copy shares the memory until one of the two writes below
// the length at which they parted.

export class SimContent {
  #bytes: Uint8Array
  /** Below this the memory is shared with a copy and must not be written. */
  #sharedLength: number
  length: number

  constructor(bytes: Uint8Array = new Uint8Array(0), length = bytes.length, sharedLength = 0) {
    this.#bytes = bytes
    this.length = length
    this.#sharedLength = sharedLength
  }

  copy(): SimContent {
    this.#sharedLength = Math.max(this.#sharedLength, this.length)
    // What lies beyond its length belongs to the original, so the copy may write nowhere before it has its own memory.
    return new SimContent(this.#bytes, this.length, Infinity)
  }

  /** Writes at the position; what lies between the end and the position becomes zeroes. */
  write(position: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const end = Math.max(this.length, position + bytes.length)
    this.#reserve(Math.min(position, this.length), end)
    if (position > this.length) this.#bytes.fill(0, this.length, position)
    this.#bytes.set(bytes, position)
    this.length = end
  }

  /** Cuts off, or fills up with zeroes. */
  resize(length: number): void {
    if (length > this.length) {
      this.#reserve(this.length, length)
      this.#bytes.fill(0, this.length, length)
    }
    this.length = length
  }

  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.length, this.length - position))
    if (count > 0) target.set(this.#bytes.subarray(position, position + count))
    return count
  }

  /** Not a copy: valid until the next change. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length)
  }

  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.length)
  }

  #reserve(from: number, end: number): void {
    if (from >= this.#sharedLength && end <= this.#bytes.length) return
    const grown = new Uint8Array(end <= this.#bytes.length ? this.#bytes.length : Math.max(end, this.length * 2))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
    this.#sharedLength = 0
  }
}
