// What all partition logs of a broker share: the disk, the budgets, and whom they tell of what happens to them. Knows
// nothing of any one log.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { TidemarkError } from '../../shared/errors.ts'
import { BufferPool } from './buffer-pool.ts'
import type { Disk } from './disk.ts'
import { FilePool } from './file-pool.ts'
import { ReadAhead } from './read-ahead.ts'
import { HotTailBudget } from './hot-tail.ts'
import { IndexBudget } from './index-budget.ts'
import { PRODUCER_EXPIRATION_MS_DEFAULT, PRODUCERS_MAX_DEFAULT } from './producer-state.ts'
import type { QuarantinedRange } from './quarantine.ts'

/** What befalls a partition log; `log` is its directory. Called in the middle of things: note it and return. */
export interface LogEvents {
  onRoll?(log: string, baseOffset: Offset): void
  /** A torn tail was cut off, or records that another replica does not have. */
  onTruncate?(log: string, event: { readonly endOffset: Offset; readonly bytes: number; readonly reason: string }): void
  onQuarantine?(log: string, range: QuarantinedRange): void
  /** The log start was found below what was recorded of it, which it is taken from again. */
  onLogStartLost?(
    log: string,
    event: { readonly path: string; readonly expected: Offset; readonly found: Offset },
  ): void
  /** A read has met bytes that are no batch. */
  onCorruptRead?(log: string, error: TidemarkError): void
  /** A small file was missing or damaged; what it held was made anew from the log, or is done without. */
  onCacheRebuilt?(log: string, file: string, why: string): void
  onDelete?(log: string, event: { readonly segments: number; readonly bytes: number; readonly reason: string }): void
  onNewEpoch?(log: string, epoch: LeaderEpoch, startOffset: Offset): void
  /** The log takes no more appends. */
  onReadOnly?(log: string, error: TidemarkError): void
  onOffline?(log: string, error: TidemarkError): void
}

export interface StorageContext {
  readonly disk: Disk
  readonly files: FilePool
  readonly buffers: BufferPool
  readonly readAhead: ReadAhead
  readonly tails: HotTailBudget
  readonly indexes: IndexBudget
  readonly events: LogEvents
  /** Idempotent producers that a partition remembers, at most. */
  readonly producersMax: number
  /** Milliseconds after which a silent producer is forgotten. */
  readonly producerExpirationMs: number
}

export interface StorageContextOptions {
  readonly events?: LogEvents
  readonly openFilesMax?: number
  readonly hotTailBytes?: number
  readonly indexBytes?: number
  readonly readBufferBytes?: number
  readonly producersMax?: number
  readonly producerExpirationMs?: number
}

export function createStorageContext(disk: Disk, options: StorageContextOptions = {}): StorageContext {
  const files = new FilePool(disk, options.openFilesMax === undefined ? {} : { openFilesMax: options.openFilesMax })
  const buffers = new BufferPool(options.readBufferBytes === undefined ? {} : { freeBytesMax: options.readBufferBytes })
  return {
    disk,
    files,
    buffers,
    readAhead: new ReadAhead(files, buffers),
    tails: new HotTailBudget(options.hotTailBytes === undefined ? {} : { limitBytes: options.hotTailBytes }),
    indexes: new IndexBudget(options.indexBytes === undefined ? {} : { limitBytes: options.indexBytes }),
    events: options.events ?? {},
    producersMax: options.producersMax ?? PRODUCERS_MAX_DEFAULT,
    producerExpirationMs: options.producerExpirationMs ?? PRODUCER_EXPIRATION_MS_DEFAULT,
  }
}
