// Group commit: many who wait, one sync. Owns who is covered by which sync; knows nothing of what is synced.
//
// Invariants: a sync covers exactly those who asked before it began; at most one runs at a time; who asks while it runs
// shares the next one. A failed sync is final: everybody who waits, and everybody who asks later, is told so.

export type SyncCallback = (failure: unknown) => void

export class SyncScheduler {
  readonly #sync: () => Promise<void>
  #isRunning = false
  /** Those whom the running sync does not cover. */
  #waiting: SyncCallback[] = []
  /** The promise that all callers of `request` of the next sync share. */
  #shared: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(sync: () => Promise<void>) {
    this.#sync = sync
  }

  /** Resolves when everything done before the call is on stable storage; rejects with the sync's error, for good. */
  request(): Promise<void> {
    // While nothing runs, the request starts a sync, which later callers may not share.
    if (!this.#isRunning) return this.#newRequest()
    this.#shared ??= this.#newRequest()
    return this.#shared
  }

  /** As request, without a promise: calls back with undefined, or with the error. Never before it has returned. The callback must not throw. */
  notify(callback: SyncCallback): void {
    this.#waiting.push(callback)
    if (!this.#isRunning) this.#start()
  }

  /** The error of the sync that has failed, if one has. */
  get failure(): unknown {
    return this.#failure?.error
  }

  #newRequest(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.notify((failure) => {
        if (failure === undefined) resolve()
        else reject(asError(failure))
      })
    })
  }

  #start(): void {
    this.#isRunning = true
    const covered = this.#waiting
    this.#waiting = []
    this.#shared = undefined
    const sync = this.#failure === undefined ? this.#begin() : Promise.reject(asError(this.#failure.error))
    sync.then(
      () => this.#finish(covered, undefined),
      (error: unknown) => {
        this.#failure ??= { error: asError(error) }
        this.#finish(covered, this.#failure.error)
      },
    )
  }

  #begin(): Promise<void> {
    try {
      return this.#sync()
    } catch (error) {
      return Promise.reject(asError(error))
    }
  }

  #finish(covered: readonly SyncCallback[], failure: unknown): void {
    // The next sync begins before anybody is told: the disk is not kept waiting for what the callbacks do.
    if (this.#waiting.length > 0) this.#start()
    else this.#isRunning = false
    for (const callback of covered) callback(failure)
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
