// What a replica's rules are given at its start: who it is, what its disk remembers, and how it is to behave. Owns only these
// words.

import type { BrokerId, Offset } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'
import type { ReplicaLog } from './divergence.ts'
import type { SuspectPolicy } from './fence-quorum.ts'
import type { ReplicaRules } from './replica-rules.ts'
import type { ReplicaPromise } from './replication-events.ts'

export interface ReplicaOptions {
  readonly self: BrokerId
  readonly directoryId: string
  /** Grows with every start of the broker on this directory. */
  readonly incarnation: number
  /** Of the beginning: whose word counts until the log says otherwise, and how many of them hold what is acknowledged. */
  readonly voters: readonly Voter[]
  readonly minInSyncReplicas: number
  readonly log: ReplicaLog
  /** As the disk remembers them. */
  readonly promise: ReplicaPromise | undefined
  readonly highWatermark: Offset
  readonly isSuspect: boolean
  /** Made anew, to be added or for want of a log, and not yet found complete by a leader: nobody counts on its word. */
  readonly isNewcomer?: boolean
  readonly suspectPolicy?: SuspectPolicy
  /** What a leader does whose lease cannot be renewed while its followers still follow it. */
  readonly withoutLease?: 'serve' | 'stop'
  readonly lagMsMax?: number
  readonly rules?: ReplicaRules
}
