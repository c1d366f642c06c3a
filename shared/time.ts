// The first door: time. Clock and Timers are handed to everything that needs them; this file holds the only calls of the
// real clock and the real timers, so that a simulation can put its own in their place.

import type { TimestampMs } from './ids.ts'

export interface Clock {
  /** Wall clock, for timestamps that people and other machines read. May jump. */
  now(): TimestampMs
  /** Milliseconds with a fraction since an arbitrary start; never goes back. For durations and deadlines. */
  monotonic(): number
}

export interface Timer {
  /** Idempotent; a cancelled callback never runs. */
  cancel(): void
}

export interface Timers {
  /** Runs the callback once, delayMs (milliseconds, at least 0) from now. Keeps the process alive unless `background`. */
  after(delayMs: number, callback: () => void, options?: { readonly background?: boolean }): Timer
  /**
   * Runs the callback when the input events of this turn of the event loop have been handled. It is how many small
   * requests that arrived together become one write to the disk and one to each socket.
   */
  atEndOfTurn(callback: () => void): void
}

export const systemClock: Clock = {
  now: () => Date.now() as TimestampMs,
  monotonic: () => performance.now(),
}

export const systemTimers: Timers = {
  after(delayMs, callback, options) {
    const handle = setTimeout(callback, delayMs)
    if (options?.background === true) handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
  atEndOfTurn(callback) {
    setImmediate(callback)
  },
}

/** Resolves after delayMs milliseconds; rejects with the signal's reason if it aborts first, and leaves no timer behind. */
export function sleep(timers: Timers, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(abortReason(signal))
    const onAbort = (): void => {
      timer.cancel()
      reject(abortReason(signal))
    }
    const timer = timers.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason
  return reason instanceof Error ? reason : new DOMException('This operation was aborted', 'AbortError')
}
