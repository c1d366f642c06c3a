// The rules of replication that safety hangs on, as one table of pure functions and facts. ReplicaState asks this table and
// nothing else, so that a test can take away one rule and see that its absence is noticed.

import type { CampaignVerdict, Campaign } from './fence-quorum.ts'
import type { HighWatermarkFacts } from './high-watermark.ts'
import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { FenceGrant, LogPosition, ReplicaPromise } from './replication-events.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { DismissalFacts, VotersChangeFacts, VotersRefusal } from './voters.ts'
import { isVoter } from '../../shared/voters.ts'
import { comparePositions, fenceQuorum, judgeCampaign } from './fence-quorum.ts'
import { nextHighWatermark } from './high-watermark.ts'
import { mayPromise } from './promise.ts'
import { isOwnGeneration } from './recovery-epoch.ts'
import { mayDismiss, setsInForce, whyNotChangeVoters } from './voters.ts'

export interface ReplicaRules {
  readonly fenceQuorum: (replicas: number, minInSyncReplicas: number) => number
  readonly judgeCampaign: (campaign: Campaign) => CampaignVerdict
  readonly mayPromise: (promise: ReplicaPromise | undefined, epoch: LeaderEpoch, leader: BrokerId) => boolean
  readonly nextHighWatermark: (facts: HighWatermarkFacts) => Offset
  /** What consumers may read at a leader that has just been elected. */
  readonly highWatermarkAtElection: (highWatermark: Offset, epochStartOffset: Offset) => Offset
  /** Whether a new leader may leave its epoch-start record for later: the first record of its epoch does as well there. */
  readonly mayOweEpochStart: (log: LogPosition, lossAcceptedIn: LeaderEpoch | undefined) => boolean
  /** Whether a fetch belongs to a life of the follower that is over. */
  readonly isOldIncarnation: (known: number, incarnation: number) => boolean
  /**
   * Whether a fetch is the first of a new life, of which nothing is known yet; also of a replica that was deleted and made
   * anew within a life of its broker.
   */
  readonly isNewLife: (known: number, incarnation: number, isMadeAnew: boolean) => boolean
  /** Whether nothing is fetched before a cut is on stable storage. */
  readonly awaitsTruncation: boolean
  /** Whether nobody is told of a promise before it is on stable storage. */
  readonly awaitsPromise: boolean
  /** Which voters record is in force when this one is the log's newest, and that one was in force before. */
  readonly votersInForce: (
    newest: VotersRecord | undefined,
    before: VotersRecord | undefined,
  ) => VotersRecord | undefined
  /** The sets that must agree, the older one first. */
  readonly setsInForce: (set: VoterSet, next: VoterSet | undefined) => readonly VoterSet[]
  /** Whether what a replica holds counts for the set. */
  readonly countsIn: (set: VoterSet, replica: BrokerId, directoryId: string) => boolean
  readonly whyNotChangeVoters: (facts: VotersChangeFacts) => VotersRefusal | undefined
  /** Whether the record with both sets, at the offset, may be followed by the one with the new set alone. */
  readonly mayFinishChange: (recordOffset: Offset, highWatermark: Offset) => boolean
  /** Whether the leader whose epoch begins there may take back the record with both sets, as long as it has not finished. */
  readonly mayTakeBack: (recordOffset: Offset, epochStartOffset: Offset) => boolean
  /** Whether a leader may let a replica go that asks for it. */
  readonly mayDismiss: (facts: DismissalFacts) => boolean
  /** Whether what a replica has told before it was let go of counts for nothing any more. */
  readonly forgetsDismissed: boolean
  /** Whether a replica with such a log may campaign when it has heard of the epoch. */
  readonly isOwnGeneration: (epochSeen: LeaderEpoch | undefined, latestEpoch: LeaderEpoch | undefined) => boolean
  /**
   * Whether a follower whose log ends there must begin anew, where tombstones have been dropped up to `droppedTo`; of one
   * that copies: since it began, which `copiedSince` tells.
   */
  readonly mustBeginAnew: (fetchOffset: Offset, droppedTo: Offset, copiedSince: number | undefined) => boolean
  /** Whether what a cut leaves may be kept, though it may lack records that the leader has. */
  readonly keepsWhatMayLack: boolean
  /** The position that a replica speaks of: that of its log, or the one that the log had before it was begun anew. */
  readonly positionToTell: (own: LogPosition, floor: LogPosition | undefined) => LogPosition
  /** What a replica answers to a fence that was made anew, and has not been found complete by a leader since. */
  readonly grantOfNewcomer: (grant: FenceGrant) => FenceGrant | undefined
}

export const REPLICA_RULES: ReplicaRules = {
  fenceQuorum,
  judgeCampaign,
  mayPromise,
  nextHighWatermark,
  highWatermarkAtElection: (highWatermark) => highWatermark,
  mayOweEpochStart: ({ latestEpoch, logEndOffset }, lossAcceptedIn) =>
    latestEpoch === undefined && logEndOffset === 0 && lossAcceptedIn === undefined,
  isOldIncarnation: (known, incarnation) => incarnation < known,
  isNewLife: (known, incarnation, isMadeAnew) => isMadeAnew || incarnation > known,
  awaitsTruncation: true,
  awaitsPromise: true,
  votersInForce: (newest) => newest,
  setsInForce,
  countsIn: ({ voters }, replica, directoryId) => isVoter(voters, replica, directoryId),
  whyNotChangeVoters,
  mayFinishChange: (recordOffset, highWatermark) => recordOffset < highWatermark,
  // Of an earlier leader's nobody knows whether it was finished.
  mayTakeBack: (recordOffset, epochStartOffset) => recordOffset > epochStartOffset,
  mayDismiss,
  forgetsDismissed: true,
  isOwnGeneration,
  mustBeginAnew: (fetchOffset, droppedTo) => fetchOffset < droppedTo,
  keepsWhatMayLack: false,
  positionToTell: (own, floor) => (floor !== undefined && comparePositions(floor, own) > 0 ? floor : own),
  grantOfNewcomer: () => undefined,
}
