// Whether this broker is being drained: kept on its own disk, so that a restart does not give it work again. Owns the file;
// knows nothing of leaders.
//
// Invariant: what `isDraining` says is on stable storage.

import { TidemarkError } from '../../shared/errors.ts'
import { readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { isLackOfSpace } from './disk-space.ts'

export class DrainMark {
  readonly #disk: Disk
  readonly #path: string
  #isDraining: boolean
  #last: Promise<unknown> = Promise.resolve()

  /** `path` is the data directory's. @throws FILE_CORRUPT, DIRECTORY_FORMAT_UNKNOWN */
  constructor(disk: Disk, path: string) {
    this.#disk = disk
    this.#path = `${path}/draining`
    this.#isDraining = this.#read()
  }

  get isDraining(): boolean {
    return this.#isDraining
  }

  /** Durable when it resolves. @throws DISK_FULL, DISK_FAILED */
  set(isDraining: boolean): Promise<void> {
    const write = async (): Promise<void> => {
      if (isDraining === this.#isDraining) return
      try {
        await writeCheckpoint(this.#disk, this.#path, { isDraining })
      } catch (error) {
        if (!(error instanceof DiskError)) throw error
        const code = isLackOfSpace(error) ? 'DISK_FULL' : 'DISK_FAILED'
        throw new TidemarkError(code, `the mark could not be kept: ${error.message}`, { cause: error })
      }
      this.#isDraining = isDraining
    }
    const written = this.#last.then(write)
    this.#last = written.catch(() => undefined)
    return written
  }

  #read(): boolean {
    const value = readCheckpoint(this.#disk, this.#path)
    if (value === undefined) return false
    const mark: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'isDraining') : undefined
    if (typeof mark === 'boolean') return mark
    throw new TidemarkError('FILE_CORRUPT', `${this.#path} is damaged: it does not say whether the broker is drained`)
  }
}
