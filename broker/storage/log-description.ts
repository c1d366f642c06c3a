// What a log shows of itself to whoever administers it.

import type { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import type { BatchHistory } from './batch-history.ts'
import type { EpochStart } from './leader-epoch-cache.ts'
import type { QuarantinedRange } from './quarantine.ts'
import type { Segments } from './segments.ts'

export type LogState =
  | { readonly kind: 'online' }
  /** A sync failed: reading goes on. */
  | { readonly kind: 'read-only'; readonly reason: TidemarkError }
  /** A failed write could not be cut back: what the file holds is not known. */
  | { readonly kind: 'offline'; readonly reason: TidemarkError }

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

/** All of a description but the offsets. */
export function describeLog(
  directory: string,
  state: LogState,
  segments: Segments,
  history: BatchHistory,
): Omit<LogDescription, 'logStartOffset' | 'logEndOffset' | 'recoveryPoint' | 'quarantined'> {
  return {
    directory,
    state: state.kind,
    reason: state.kind === 'online' ? undefined : state.reason.message,
    segments: [...segments].map(({ baseOffset, size, isSealed }) => ({ baseOffset, bytes: size, isSealed })),
    bytes: segments.bytes,
    epochs: history.loadedEpochs?.starts ?? [],
    producers: history.loadedProducers?.count ?? 0,
  }
}
