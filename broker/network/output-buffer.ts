// What one connection has to say in this turn. Small pieces are gathered in a scratch buffer and become one, so that a
// hundred acknowledgements cost one write; large ones are passed on where they lie and released when the system has taken
// them. Pure: it writes nothing itself.

/** Pieces up to here are copied: a copy of this much costs less than an entry in a vector of buffers. */
const COPY_BYTES_MAX = 4 * 1024
const SCRATCH_BYTES = 16 * 1024
const FREE_SCRATCHES_MAX = 64

export interface OutputTurn {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
  readonly releases: readonly (() => void)[]
}

const NO_RELEASES: readonly (() => void)[] = []
// Between turns no connection needs a scratch buffer, so that they are shared by all.
const freeScratches: Uint8Array[] = []

export class OutputBuffer {
  #buffers: Uint8Array[] = []
  #releases: (() => void)[] = []
  #scratch: Uint8Array | undefined
  #scratchFilled = 0
  /** Bytes gathered since the last take. */
  bytes = 0

  get isEmpty(): boolean {
    return this.bytes === 0
  }

  /** A buffer with room for so many bytes (at most 4 KiB) from `scratchAt` on; `wrote` says how many were used. */
  scratch(bytes: number): Uint8Array {
    if (this.#scratch !== undefined && this.#scratchFilled + bytes > SCRATCH_BYTES) this.#seal()
    this.#scratch ??= freeScratches.pop() ?? Buffer.allocUnsafeSlow(SCRATCH_BYTES)
    return this.#scratch
  }

  get scratchAt(): number {
    return this.#scratchFilled
  }

  wrote(bytes: number): void {
    this.#scratchFilled += bytes
    this.bytes += bytes
  }

  /** Appends a piece, which may be changed afterwards if it is short, and must not be if it is longer than 4 KiB. */
  append(piece: Uint8Array): void {
    if (piece.length > COPY_BYTES_MAX) {
      this.#appendByReference(piece)
      return
    }
    this.scratch(piece.length).set(piece, this.#scratchFilled)
    this.wrote(piece.length)
  }

  /** Appends bytes without copying them; release is called once, when they are not needed any more. */
  appendSlice(piece: Uint8Array, release: () => void): void {
    this.#appendByReference(piece)
    this.#releases.push(release)
  }

  /** What has been gathered; the buffer is empty then. */
  take(): OutputTurn {
    this.#seal()
    const releases = this.#releases.length === 0 ? NO_RELEASES : this.#releases
    const turn = { buffers: this.#buffers, bytes: this.bytes, releases }
    this.#buffers = []
    if (releases.length > 0) this.#releases = []
    this.bytes = 0
    return turn
  }

  #appendByReference(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.#seal()
    this.#buffers.push(piece)
    this.bytes += piece.length
  }

  #seal(): void {
    const scratch = this.#scratch
    if (scratch === undefined) return
    if (this.#scratchFilled > 0) this.#buffers.push(Buffer.from(scratch.subarray(0, this.#scratchFilled)))
    if (freeScratches.length < FREE_SCRATCHES_MAX) freeScratches.push(scratch)
    this.#scratch = undefined
    this.#scratchFilled = 0
  }
}
