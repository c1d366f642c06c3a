// What one connection may have under way: requests that are not answered, their bytes, and the bytes of answers that are
// expected. Pure arithmetic; the connection reads it to decide whether to go on reading.

import { assert } from '../../shared/assert.ts'

export interface WindowLimits {
  /** Requests without an answer, at most. */
  readonly requestsMax: number
  /** Bytes of those requests; one request is always let in, however long. */
  readonly bytesMax: number
}

/** The least an answer may be granted: it bounds the output at requestsMax times this beyond outputBytesMax. */
const GRANT_BYTES_MIN = 64 * 1024
/** What an answer from the disk counts for at least: one batch comes even if it is longer than what was granted. */
const COMING_BYTES_MIN = 1024 * 1024

export class InFlightWindow {
  readonly #limits: WindowLimits
  #requests = 0
  #bytes = 0
  #expectedOutputBytes = 0
  #comingBytes = 0

  constructor(limits: WindowLimits) {
    this.#limits = limits
  }

  get requests(): number {
    return this.#requests
  }

  get bytes(): number {
    return this.#bytes
  }

  get expectedOutputBytes(): number {
    return this.#expectedOutputBytes
  }

  /** Bytes that are being read from the disk for answers: nothing holds them up any more. */
  get comingBytes(): number {
    return this.#comingBytes
  }

  /** Whether another request may begin. */
  get hasRoom(): boolean {
    return this.#requests < this.#limits.requestsMax && this.#bytes < this.#limits.bytesMax
  }

  enter(bytes: number): void {
    this.#requests += 1
    this.#bytes += bytes
  }

  leave(bytes: number): void {
    this.#requests -= 1
    this.#bytes -= bytes
    assert(this.#requests >= 0 && this.#bytes >= 0, 'what leaves the window was in it')
  }

  /**
   * How many bytes an answer may have, of bytesWanted, while outputBytes of outputBytesMax wait for the peer already. Half
   * of what is left each time, so that many requests that wait at once cannot promise more than the cap, and the next
   * still gets some.
   */
  grantOutput(bytesWanted: number, outputBytes: number, outputBytesMax: number): number {
    const left = outputBytesMax - outputBytes - this.#expectedOutputBytes
    const granted = Math.min(bytesWanted, Math.max(GRANT_BYTES_MIN, Math.floor(left / 2)))
    this.#expectedOutputBytes += granted
    return granted
  }

  beginComing(granted: number): void {
    this.#comingBytes += Math.max(granted, COMING_BYTES_MIN)
  }

  endComing(granted: number): void {
    this.#comingBytes -= Math.max(granted, COMING_BYTES_MIN)
    assert(this.#comingBytes >= 0, 'what has come was coming')
  }

  /** The answer has come; its bytes are output now. */
  settleOutput(granted: number): void {
    this.#expectedOutputBytes -= granted
    assert(this.#expectedOutputBytes >= 0, 'what is settled was granted')
  }
}
