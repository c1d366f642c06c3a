// What a mirror is told and what it tells.

import type { Address } from '../../client/transport.ts'
import type { GroupOutcome } from './group-offsets.ts'
import type { RefusedSetting } from './topic-settings.ts'

export type Verification = 'all' | 'new' | 'none'

export interface MirrorOptions {
  readonly from: readonly Address[]
  readonly to: readonly Address[]
  /** Names, and names with * in them; all but internal ones when there are none. */
  readonly topics: readonly string[]
  readonly copiesGroups: boolean
  /** What is compared in the end: everything, what was copied now, or nothing. */
  readonly verification: Verification
  readonly isDryRun: boolean
  /** Partitions at a time. */
  readonly parallel: number
  readonly bytesPerSecond: number | undefined
  /** Replicas of topics that are made; those of the source, or as many as there are brokers, when it is not said. */
  readonly replicationFactor: number | undefined
  /** False lets the target give the offsets although it could keep those of the source. Default: keeps them where it can. */
  readonly keepsOffsets?: boolean
  readonly requestTimeoutMs: number
  /** How long what may pass is tried again. */
  readonly patienceMs: number
  readonly signal: AbortSignal
}

export interface MirrorEvents {
  /** For a person. */
  note(line: string): void
  /** Offsets of the source: those that are done with, and all. */
  progress(what: 'copying' | 'verifying', done: number, total: number): void
}

export interface PartitionReport {
  readonly partition: number
  /** Copied now. */
  readonly records: number
  readonly bytes: number
  /** Records of transactions that were given up. */
  readonly abortedRecords: number
  /** Offsets that the source dropped while it was read. */
  readonly skippedOffsets: number
  /** Whether records have the offsets that they have at the source; unknown where nothing was compared. */
  readonly offsets: 'equal' | 'moved' | 'unknown'
  readonly source: SideReport
  readonly target: SideReport
  /** What is not the same; undefined when all is, or nothing was compared. */
  readonly difference: string | undefined
}

export interface SideReport {
  readonly logStartOffset: number
  /** Exclusive. */
  readonly endOffset: number
  /** As they were counted; undefined when nothing was compared. */
  readonly records: number | undefined
  /** Of their contents and times, in their order, as eight hexadecimal digits. */
  readonly checksum: string | undefined
}

export interface TopicReport {
  readonly topic: string
  /** `failed`: partitions of it could not be copied, or are not the same; the reason was noted. */
  readonly outcome: 'verified' | 'copied' | 'failed' | 'would be created' | 'would be continued'
  readonly partitions: readonly PartitionReport[]
  readonly refusedSettings: readonly RefusedSetting[]
}

export interface MirrorReport {
  readonly topics: readonly TopicReport[]
  readonly groups: readonly GroupOutcome[]
  /** Whether everything was done and nothing was found different. */
  readonly isComplete: boolean
}
