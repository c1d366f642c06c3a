// Counts frames in a stream of bytes without keeping them: the length, and the first bytes of each. What both ends of the
// benchmark use, so that neither measures a parser.

export class FrameMeter {
  readonly #onFrame: (frameBytes: number, header: Buffer) => void
  readonly #header: Buffer
  #headerFilled = 0
  /** Bytes of the frame that are still to come, once its header is whole. */
  #left = 0

  /** `headerBytes` of each frame are kept, its length field included; a frame may be shorter. */
  constructor(onFrame: (frameBytes: number, header: Buffer) => void, headerBytes: number) {
    this.#onFrame = onFrame
    this.#header = Buffer.alloc(headerBytes)
  }

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at)
        this.#left -= taken
        at += taken
        if (this.#left === 0) this.#end()
        continue
      }
      const wanted = this.#headerFilled < 4 ? 4 : this.#headerWanted()
      while (this.#headerFilled < wanted && at < chunk.length) {
        this.#header[this.#headerFilled] = chunk[at] ?? 0
        this.#headerFilled += 1
        at += 1
      }
      if (this.#headerFilled < 4 || this.#headerFilled < this.#headerWanted()) continue
      this.#left = this.#frameBytes() - this.#headerFilled
      if (this.#left === 0) this.#end()
    }
  }

  #frameBytes(): number {
    return 4 + this.#header.readUInt32BE(0)
  }

  #headerWanted(): number {
    return Math.min(this.#header.length, this.#frameBytes())
  }

  #end(): void {
    this.#headerFilled = 0
    this.#onFrame(this.#frameBytes(), this.#header)
  }
}
