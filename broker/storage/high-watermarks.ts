// How far each replicated partition was known to be committed, for the next start. Owns the file; a cache: what it says was
// true once, and more may be. Knows nothing of how a high watermark comes about.

import type { Offset, TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import { fieldOf, writeCheckpointCached } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { partitionDirectoryName } from './partition-directories.ts'
import { isCount, readHint } from './recovery-points.ts'

export class HighWatermarks {
  readonly #disk: Disk
  readonly #path: string
  readonly #logger: Logger
  /** By the name of the partition's directory. */
  readonly #offsets = new Map<string, Offset>()
  #hasChanged = false

  /** Without a file, or with a damaged one, none is known. @throws DIRECTORY_FORMAT_UNKNOWN */
  constructor(disk: Disk, path: string, logger: Logger) {
    this.#disk = disk
    this.#path = path
    this.#logger = logger
    const found = fieldOf(readHint(disk, path, logger), 'offsets')
    if (typeof found !== 'object' || found === null) return
    for (const [name, value] of Object.entries(found)) if (isCount(value)) this.#offsets.set(name, value as Offset)
  }

  get(topicId: TopicId, partition: number): Offset | undefined {
    return this.#offsets.get(partitionDirectoryName(topicId, partition))
  }

  /** Takes note of it; written with the next recovery points. */
  note(topicId: TopicId, partition: number, offset: Offset): void {
    const name = partitionDirectoryName(topicId, partition)
    if (this.#offsets.get(name) === offset) return
    this.#offsets.set(name, offset)
    this.#hasChanged = true
  }

  forget(topicId: TopicId, partition: number): void {
    if (this.#offsets.delete(partitionDirectoryName(topicId, partition))) this.#hasChanged = true
  }

  /** Writes what has changed, without a sync. That it cannot is no failure. */
  save(): void {
    if (!this.#hasChanged) return
    try {
      writeCheckpointCached(this.#disk, this.#path, { offsets: Object.fromEntries(this.#offsets) })
      this.#hasChanged = false
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      this.#logger.warn({ path: this.#path, error: error.message }, 'the high watermarks could not be written')
    }
  }
}
