// What a log is made of when it is opened, and what it shows of itself to whoever administers it.

import type { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import type { BatchHistory } from './batch-history.ts'
import type { KeptVoters } from './kept-voters.ts'
import type { EpochStart, LeaderEpochCache } from './leader-epoch-cache.ts'
import type { LogConfig } from './log-config.ts'
import type { LogPlace } from './log-files.ts'
import type { ProducerState } from './producer-state.ts'
import type { Quarantine, QuarantinedRange } from './quarantine.ts'
import type { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'

export type LogState =
  | { readonly kind: 'online' }
  /** A sync failed: reading goes on. */
  | { readonly kind: 'read-only'; readonly reason: TidemarkError }
  /** A failed write could not be cut back: what the file holds is not known. */
  | { readonly kind: 'offline'; readonly reason: TidemarkError }

/** What must be remembered of a log for the next start. */
export interface LogCheckpoint {
  /** Everything below is on stable storage. */
  readonly recoveryPoint: LogPlace
  readonly logStartOffset: Offset
  readonly logEndOffset: Offset
}

export type TruncateResult =
  | { readonly kind: 'truncated'; readonly endOffset: Offset }
  /** The cut, at endOffset, would have taken records that everybody was promised: somebody's reasoning is broken. */
  | {
      readonly kind: 'refused'
      readonly endOffset: Offset
      readonly highWatermark: Offset
      readonly message: string
    }

export interface LogDescription {
  readonly directory: string
  readonly state: LogState['kind']
  readonly reason: string | undefined
  readonly segments: readonly { readonly baseOffset: Offset; readonly bytes: number; readonly isSealed: boolean }[]
  readonly bytes: number
  readonly logStartOffset: Offset
  readonly logEndOffset: Offset
  readonly recoveryPoint: Offset
  readonly quarantined: readonly QuarantinedRange[]
  readonly epochs: readonly EpochStart[]
  readonly producers: number
}

/** What a log is made of when it is opened. */
export interface LogParts {
  readonly context: StorageContext
  readonly directory: string
  readonly config: LogConfig
  readonly segments: Segments
  readonly quarantine: Quarantine
  readonly logStartOffset: Offset
  readonly logEndOffset: Offset
  readonly recoveryPoint: LogPlace
  readonly isDirectorySynced: boolean
  readonly isClean: boolean
  readonly voters: KeptVoters
  readonly producers?: ProducerState
  readonly epochs?: LeaderEpochCache
}

type DescribedLog = Pick<
  LogDescription,
  'directory' | 'logStartOffset' | 'logEndOffset' | 'recoveryPoint' | 'quarantined'
> & { readonly state: LogState }

export function describeLog(log: DescribedLog, segments: Segments, history: BatchHistory): LogDescription {
  const { directory, state, logStartOffset, logEndOffset, recoveryPoint, quarantined } = log
  return {
    logStartOffset,
    logEndOffset,
    recoveryPoint,
    quarantined,
    directory,
    state: state.kind,
    reason: state.kind === 'online' ? undefined : state.reason.message,
    segments: [...segments].map(({ baseOffset, size, isSealed }) => ({ baseOffset, bytes: size, isSealed })),
    bytes: segments.bytes,
    epochs: history.loadedEpochs?.starts ?? [],
    producers: history.loadedProducers?.count ?? 0,
  }
}
