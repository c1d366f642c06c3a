// How long, and by whose leave, one piece of work may go on: the caller's signal, a deadline and the life of the client in
// one object. Everything that waits in the client waits through a scope, so that nothing waits for ever and nothing stays
// behind. Knows nothing of what is waited for.

import type { Timer } from '../shared/time.ts'
import type { ClientEnvironment } from './environment.ts'
import { errorOf } from './errors.ts'

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds for the whole call. */
  readonly timeoutMs?: number | undefined
}

export interface ScopeOptions extends WaitOptions {
  /** Fires when the client closes; its reason is the error. */
  readonly closing?: AbortSignal | undefined
  /** What is being done, for the messages: 'createTopics'. */
  readonly what: string
}

export class Scope {
  readonly #environment: ClientEnvironment
  readonly #controller = new AbortController()
  readonly #undo: (() => void)[] = []
  readonly #endsAt: number
  readonly #timer: Timer | undefined

  constructor(environment: ClientEnvironment, options: ScopeOptions) {
    this.#environment = environment
    const { signal, closing, timeoutMs, what } = options
    this.#endsAt = timeoutMs === undefined ? Infinity : environment.clock.monotonic() + timeoutMs
    if (closing !== undefined) this.#follow(closing, () => errorOf('CLIENT_CLOSED', `${what}: the client is closed`))
    if (signal !== undefined) {
      this.#follow(signal, () => errorOf('ABORTED', `${what} was aborted by its caller`, { cause: signal.reason }))
    }
    if (timeoutMs !== undefined && Number.isFinite(timeoutMs) && !this.#controller.signal.aborted) {
      this.#timer = environment.timers.after(timeoutMs, () => {
        this.#controller.abort(errorOf('TIMEOUT', `${what}: not done within ${timeoutMs} ms`))
      })
    }
  }

  /** Fires with a TidemarkError as its reason. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get isOver(): boolean {
    return this.#controller.signal.aborted
  }

  /** Milliseconds until the deadline, at least 0; Infinity without one. */
  get remainingMs(): number {
    return Math.max(0, this.#endsAt - this.#environment.clock.monotonic())
  }

  /** @throws the reason when the scope is over. */
  check(): void {
    if (this.isOver) throw this.#reason()
  }

  /** The promise's outcome, or the scope's end if that comes first; the promise goes on by itself then. */
  async race<T>(promise: Promise<T>): Promise<T> {
    // Its failure is nobody's then.
    if (this.isOver) promise.catch(() => undefined)
    this.check()
    const signal = this.#controller.signal
    return new Promise<T>((resolve, reject) => {
      const onEnd = (): void => reject(this.#reason())
      signal.addEventListener('abort', onEnd, { once: true })
      promise.then(
        (value) => {
          signal.removeEventListener('abort', onEnd)
          resolve(value)
        },
        (error: unknown) => {
          signal.removeEventListener('abort', onEnd)
          reject(error instanceof Error ? error : new Error(String(error)))
        },
      )
    })
  }

  /** Waits delayMs milliseconds. @throws the scope's reason if it ends first. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.isOver) return reject(this.#reason())
      const onEnd = (): void => {
        timer.cancel()
        reject(this.#reason())
      }
      const timer = this.#environment.timers.after(delayMs, () => {
        this.#controller.signal.removeEventListener('abort', onEnd)
        resolve()
      })
      this.#controller.signal.addEventListener('abort', onEnd, { once: true })
    })
  }

  /** Ends what waits in the scope, and the scope. */
  cancel(reason: Error): void {
    this.#controller.abort(reason)
    this.end()
  }

  /** Takes the timer and the listeners away. */
  end(): void {
    this.#timer?.cancel()
    for (const undo of this.#undo) undo()
    this.#undo.length = 0
  }

  #follow(signal: AbortSignal, reason: () => Error): void {
    if (this.isOver) return
    if (signal.aborted) return this.#controller.abort(reason())
    const onAbort = (): void => this.#controller.abort(reason())
    signal.addEventListener('abort', onAbort, { once: true })
    this.#undo.push(() => signal.removeEventListener('abort', onAbort))
  }

  #reason(): Error {
    const reason: unknown = this.#controller.signal.reason
    return reason instanceof Error ? reason : new Error(String(reason))
  }
}

/** Runs work in a scope and takes the scope down after it, however it ends. */
export async function inScope<T>(
  environment: ClientEnvironment,
  options: ScopeOptions,
  work: (scope: Scope) => Promise<T>,
): Promise<T> {
  const scope = new Scope(environment, options)
  try {
    scope.check()
    return await work(scope)
  } finally {
    scope.end()
  }
}
