// Turns the chunks of a connection into frames, for the native and the Kafka protocol alike: both begin a frame with its
// length as an unsigned 32-bit number. A frame that arrived whole within a chunk is handed on as a view of it, without a
// copy; one that is spread over chunks is gathered in a buffer. Knows no protocol beyond the length, and opens no memory
// that the sink has not granted.

import { TidemarkError } from '../errors.ts'
import { readUint32 } from './frame.ts'

export interface FrameSink {
  /**
   * A whole frame, without its length field. The view is valid only during the call. Answer false to be given no more:
   * the decoder then stalls until resume.
   */
  onFrame(frame: Uint8Array): boolean
  /**
   * Asks for the memory of a frame that is spread over chunks. false stalls the decoder until resume. What was granted is
   * the sink's to account for until it has seen the frame or closed the decoder.
   */
  reserve(bytes: number): boolean
  /** Gives back what was reserved. */
  release(bytes: number): void
}

/** Where the buffers come from in which frames are gathered; made anew each time without one. */
export interface FrameBuffers {
  /** A buffer of at least so many bytes. */
  take(bytes: number): Uint8Array
  /** Gives back a whole buffer that was taken. Nothing looks at it any more. */
  give(buffer: Uint8Array): void
}

const LENGTH_BYTES = 4
const NOTHING = new Uint8Array(0)

export class FrameDecoder {
  /** Changed when the connection has said hello. */
  frameBytesMax: number
  readonly #sink: FrameSink
  readonly #buffers: FrameBuffers | undefined
  /** Bytes of the length field seen so far, when a chunk ended inside it. */
  readonly #length = new Uint8Array(LENGTH_BYTES)
  #lengthFilled = 0
  /** What the frame is gathered in; may be longer than the frame. */
  #frame: Uint8Array | undefined
  #frameBytes = 0
  #frameFilled = 0
  /** What had arrived when the sink asked for a stop; a copy, at most one chunk long. */
  #held: Uint8Array = NOTHING
  #stalled = false

  constructor(sink: FrameSink, frameBytesMax: number, buffers?: FrameBuffers) {
    this.#sink = sink
    this.#buffers = buffers
    this.frameBytesMax = frameBytesMax
  }

  /** True while the decoder holds bytes back; nothing may be pushed until resume has cleared it. */
  get isStalled(): boolean {
    return this.#stalled
  }

  /** True when the connection could end here without cutting a frame in two. */
  get isAtBoundary(): boolean {
    return this.#frame === undefined && this.#lengthFilled === 0 && this.#held.length === 0
  }

  /** @throws FRAME_TOO_LARGE; the connection is of no further use then. */
  push(chunk: Uint8Array): void {
    if (this.#stalled) this.#hold(chunk, 0)
    else this.#consume(chunk)
  }

  /** Goes on with what was held back. Stalls again if the sink still refuses. */
  resume(): void {
    if (!this.#stalled) return
    this.#stalled = false
    const held = this.#held
    this.#held = NOTHING
    this.#consume(held)
  }

  /** Gives back the memory of a frame that will never be whole. */
  close(): void {
    const frame = this.#frame
    this.#frame = undefined
    if (frame !== undefined) {
      this.#sink.release(this.#frameBytes)
      this.#buffers?.give(frame)
    }
    this.#held = NOTHING
  }

  #consume(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#frame !== undefined) {
        at = this.#fill(this.#frame, chunk, at)
      } else {
        const frameStart = this.#readLength(chunk, at)
        if (frameStart === undefined) return
        const frameBytes = readUint32(this.#length, 0)
        if (frameBytes > this.frameBytesMax) {
          throw new TidemarkError('FRAME_TOO_LARGE', `a frame of ${frameBytes} bytes; at most ${this.frameBytesMax}`)
        }
        if (frameBytes <= chunk.length - frameStart) {
          this.#lengthFilled = 0
          at = frameStart + frameBytes
          if (!this.#sink.onFrame(chunk.subarray(frameStart, at))) this.#stalled = true
        } else if (this.#sink.reserve(frameBytes)) {
          this.#lengthFilled = 0
          this.#frame = this.#buffers?.take(frameBytes) ?? Buffer.allocUnsafeSlow(frameBytes)
          this.#frameBytes = frameBytes
          this.#frameFilled = 0
          at = frameStart
        } else {
          // The length stays read: resume begins again at the frame's first byte.
          this.#hold(chunk, frameStart)
          this.#stalled = true
          return
        }
      }
      if (this.#stalled) return this.#hold(chunk, at)
    }
  }

  /** The position behind the length field, or undefined when the chunk ends inside it. */
  #readLength(chunk: Uint8Array, from: number): number | undefined {
    let at = from
    while (this.#lengthFilled < LENGTH_BYTES) {
      const byte = chunk[at]
      if (byte === undefined) return undefined
      this.#length[this.#lengthFilled] = byte
      this.#lengthFilled += 1
      at += 1
    }
    return at
  }

  #fill(frame: Uint8Array, chunk: Uint8Array, from: number): number {
    const frameBytes = this.#frameBytes
    const end = Math.min(chunk.length, from + frameBytes - this.#frameFilled)
    frame.set(chunk.subarray(from, end), this.#frameFilled)
    this.#frameFilled += end - from
    if (this.#frameFilled === frameBytes) {
      this.#frame = undefined
      this.#sink.release(frameBytes)
      if (!this.#sink.onFrame(frame.length === frameBytes ? frame : frame.subarray(0, frameBytes))) this.#stalled = true
      this.#buffers?.give(frame)
    }
    return end
  }

  #hold(chunk: Uint8Array, from: number): void {
    if (from >= chunk.length) return
    const rest = chunk.subarray(from)
    const held = new Uint8Array(this.#held.length + rest.length)
    held.set(this.#held)
    held.set(rest, this.#held.length)
    this.#held = held
  }
}
