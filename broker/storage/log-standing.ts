// Whether a log may still be written to, and what a failure of its disk makes of it. Owns the way from online to read-only
// or offline, which is never taken back; knows nothing of what was being done.

import { TidemarkError } from '../../shared/errors.ts'
import { DiskError } from './disk.ts'
import { DirectorySyncError, noteFailedSync } from './failed-sync.ts'
import type { LogState } from './log-description.ts'
import { failureOf } from './log-failure.ts'
import type { StorageContext } from './storage-context.ts'

export class LogStanding {
  readonly #context: StorageContext
  readonly #directory: string
  #state: LogState = { kind: 'online' }

  constructor(context: StorageContext, directory: string) {
    this.#context = context
    this.#directory = directory
  }

  get state(): LogState {
    return this.#state
  }

  get isOnline(): boolean {
    return this.#state.kind === 'online'
  }

  /** @throws the reason why it is not online */
  requireOnline(): void {
    if (this.#state.kind !== 'online') throw this.#state.reason
  }

  /** After a failed sync no later one is to be believed, whatever it was that was synced. */
  stopWriting(cause: unknown): TidemarkError {
    noteFailedSync(this.#context.disk, this.#directory)
    const reason = new TidemarkError('STORAGE_ERROR', `${this.#directory} cannot be synced`, { cause })
    if (this.#state.kind === 'online') {
      this.#state = { kind: 'read-only', reason }
      this.#context.events.onReadOnly?.(this.#directory, reason)
    }
    return reason
  }

  /** As `stopWriting`. Who closes a log may delete it next: that its files are gone then says nothing of the disk. */
  failedSync(cause: unknown, isClosed: boolean): TidemarkError {
    const isGone = isClosed && cause instanceof DiskError && cause.code === 'ENOENT'
    return isGone ? failureOf(cause, `${this.#directory} is closed`) : this.stopWriting(cause)
  }

  /** What the files hold is not known any more. */
  goOffline(reason: TidemarkError): void {
    this.#state = { kind: 'offline', reason }
    this.#context.events.onOffline?.(this.#directory, reason)
  }

  /** As failureOf of log-failure.ts; a failed sync of the partition's directory is final. */
  failureOf(error: unknown, what: string): TidemarkError {
    const isFinal = error instanceof DirectorySyncError && error.path === this.#directory
    return isFinal ? this.stopWriting(error) : failureOf(error, `${this.#directory} ${what}`)
  }
}
