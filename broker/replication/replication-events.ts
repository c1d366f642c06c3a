// The words between a replica's rules and the world: everything that can happen to one replica of one partition, and
// everything that its rules may ask for. Owns no behaviour. Records themselves never pass here: an event says that some
// have come, an effect says that these may be appended, and the shell keeps them meanwhile.
//
// Effects are run in their order, without waiting between them; what takes time comes back as an event.

import type { ErrorCode } from '../../shared/errors.ts'
import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { VotersRefusal } from './voters.ts'

export type Role = 'offline' | 'follower' | 'candidate' | 'leader' | 'resigned'

/** A replica's word to follow nobody of a lower epoch, and in this epoch nobody else. Durable before anybody is told. */
export interface ReplicaPromise {
  readonly epoch: LeaderEpoch
  readonly leader: BrokerId
}

/** How far a log reaches: logs are compared by the epoch of their last record, then by their ends. */
export interface LogPosition {
  /** Absent while nothing was ever written. */
  readonly latestEpoch: LeaderEpoch | undefined
  readonly logEndOffset: Offset
}

/** What a replica answers to a fence that it follows. The position is read after the promise has become durable. */
export interface FenceGrant {
  readonly from: BrokerId
  readonly epoch: LeaderEpoch
  /** Names the disk: a replaced one is not the voter that the partition knows. */
  readonly directoryId: string
  readonly isSuspect: boolean
  readonly position: LogPosition
}

/** Where a follower stands, as it tells its leader with every fetch. The fetch is also its acknowledgement. */
export interface FetchPosition {
  readonly from: BrokerId
  readonly directoryId: string
  /** Grows with every start of the broker on this directory: tells a fetch of an earlier life. */
  readonly incarnation: number
  readonly leaderEpoch: LeaderEpoch
  readonly fetchOffset: Offset
  /** Epoch of the record before fetchOffset; absent when the log never had one. */
  readonly lastFetchedEpoch: LeaderEpoch | undefined
  /** At most fetchOffset: what the follower may be counted for; with durability fsync, what is on stable storage. */
  readonly heldEndOffset: Offset
  readonly isSuspect: boolean
  /** Damage has taken records from the middle of the log. What it holds counts as ever: all others that counted have them. */
  readonly hasHoles?: boolean
  /** All that it has it has copied from this leader, in this epoch, after so many drops of tombstones there. */
  readonly copiedSince?: number | undefined
}

/** Where to begin anew, and what is to be remembered of that. */
export interface Beginning {
  /** How often the leader had dropped tombstones when it said so, and the end of the newest of them. */
  readonly drops: number
  readonly droppedTo: Offset
}

/** What every answer to a fetch repeats, so that a late one is known for what it is. */
export interface FetchEcho {
  readonly from: BrokerId
  readonly leaderEpoch: LeaderEpoch
  readonly incarnation: number
  readonly fetchOffset: Offset
  readonly lastFetchedEpoch: LeaderEpoch | undefined
  readonly copiedSince?: number | undefined
}

/** A leader's answer to a fetch: where to read, or where the logs part. */
export type FetchAnswer =
  | {
      readonly kind: 'records'
      /** Read from here. */
      readonly fetchOffset: Offset
      readonly highWatermark: Offset
      /** The follower holds again all that it may have lost. */
      readonly clearsSuspect: boolean
    }
  | {
      readonly kind: 'diverging'
      /** The leader's greatest epoch that is not above the follower's, and where it ends; no epoch: nothing is shared. */
      readonly epoch: LeaderEpoch | undefined
      readonly endOffset: Offset
      /** The newest epoch whose election accepted a loss. */
      readonly lossAcceptedIn: LeaderEpoch | undefined
    }
  | {
      readonly kind: 'log-start'
      readonly logStartOffset: Offset
      /** Of what stands before the leader's log start; undefined if nothing does. */
      readonly epoch: LeaderEpoch | undefined
      readonly lossAcceptedIn: LeaderEpoch | undefined
      /** In force there; absent: those of the beginning. */
      readonly votersRecord?: VotersRecord | undefined
      /** Absent: the follower needs what the leader has trimmed. Else: what it has may have been deleted at the leader. */
      readonly beginning?: Beginning | undefined
    }
  | { readonly kind: 'refused'; readonly error: ErrorCode }

export type ReplicaEvent =
  /** The log has been opened, recovered where needed, and can be appended to. */
  | { readonly kind: 'log-opened' }
  /** The broker stops, the partition moves away, or its topic is deleted. */
  | { readonly kind: 'stopped' }
  /** A write or a sync of the log or of the promises has failed: nothing is known any more of what they hold. */
  | { readonly kind: 'disk-failed' }
  /** Somebody thinks that this replica should lead: the coordinator, a leader that hands over, peers of a dead one. */
  | { readonly kind: 'campaign-suggested'; readonly epochHint: LeaderEpoch | undefined; readonly now: number }
  | { readonly kind: 'promise-persisted'; readonly promise: ReplicaPromise }
  | { readonly kind: 'fence-received'; readonly candidate: BrokerId; readonly epoch: LeaderEpoch }
  | { readonly kind: 'fence-granted'; readonly grant: FenceGrant; readonly now: number }
  | {
      readonly kind: 'fence-refused'
      readonly from: BrokerId
      /** Of the fence, or of the announcement, that was refused. */
      readonly epoch: LeaderEpoch
      readonly promisedEpoch: LeaderEpoch
      /** Of the promised epoch, if whoever refuses has heard from it; else nobody may lead that epoch. */
      readonly leader: BrokerId | undefined
    }
  /** Somebody says that a leader has been elected; it need not be true. */
  | { readonly kind: 'leader-announced'; readonly leader: BrokerId; readonly epoch: LeaderEpoch }
  | { readonly kind: 'lease-held'; readonly now: number }
  /** Expired: it could not be renewed in time. Taken: the coordinator says that it is over. */
  | { readonly kind: 'lease-lost'; readonly reason: 'expired' | 'taken'; readonly now: number }
  | { readonly kind: 'hand-over-asked'; readonly to: BrokerId; readonly now: number }
  /** The log end offset has grown; what is counted without a sync may have, too. */
  | { readonly kind: 'records-appended' }
  | { readonly kind: 'records-synced' }
  /** Here the log is cut, and the cut is on stable storage. */
  | { readonly kind: 'log-truncated' }
  | {
      readonly kind: 'replica-fetched'
      readonly fetch: FetchPosition
      /** Of a fetch that has waited here: when it came. What it says was so then. Absent: now. */
      readonly cameAt?: number
      readonly now: number
    }
  | {
      readonly kind: 'records-received'
      readonly echo: FetchEcho
      readonly highWatermark: Offset
      readonly clearsSuspect: boolean
      readonly isEmpty: boolean
    }
  | {
      readonly kind: 'divergence-received'
      readonly echo: FetchEcho
      readonly epoch: LeaderEpoch | undefined
      readonly endOffset: Offset
      readonly lossAcceptedIn: LeaderEpoch | undefined
    }
  | {
      readonly kind: 'log-start-received'
      readonly echo: FetchEcho
      readonly logStartOffset: Offset
      readonly epoch: LeaderEpoch | undefined
      readonly lossAcceptedIn: LeaderEpoch | undefined
      readonly votersRecord?: VotersRecord | undefined
      readonly beginning?: Beginning | undefined
    }
  /** Somebody wants other voters; asked again and again until `voters-settled` says that they are. */
  | { readonly kind: 'change-voters-asked'; readonly to: VoterSet; readonly now: number }
  /**
   * A replica that the catalogue wants no more asks whether it may go; it takes part in nothing until it is answered. It is
   * to be forgotten as it was: what it told before is worth nothing any more.
   */
  | {
      readonly kind: 'dismissal-asked'
      readonly from: BrokerId
      readonly directoryId: string
      /** Of its log; absent when that never had a record. */
      readonly latestEpoch: LeaderEpoch | undefined
      readonly now: number
    }
  /**
   * An operator accepts that what other replicas know is lost: this one is to go on alone. Nothing says that others do not
   * go on as well; whoever asks has made sure that they are gone.
   */
  | { readonly kind: 'recovery-asked'; readonly now: number }
  /** Time has passed, by the monotonic clock, in milliseconds. */
  | { readonly kind: 'tick'; readonly now: number }

export type EventKind = ReplicaEvent['kind']

export type ReplicaEffect =
  /** Answered by promise-persisted once it is on stable storage. */
  | { readonly kind: 'persist-promise'; readonly promise: ReplicaPromise }
  | { readonly kind: 'persist-suspect'; readonly isSuspect: boolean }
  | { readonly kind: 'send-fence'; readonly to: BrokerId; readonly epoch: LeaderEpoch }
  | { readonly kind: 'grant-fence'; readonly to: BrokerId; readonly grant: FenceGrant }
  | {
      readonly kind: 'refuse-fence'
      readonly to: BrokerId
      readonly epoch: LeaderEpoch
      readonly promisedEpoch: LeaderEpoch
      readonly leader: BrokerId | undefined
    }
  /** At once, so that the log end offset has grown by one when the next effect runs. */
  | {
      readonly kind: 'append-epoch-start'
      readonly epoch: LeaderEpoch
      readonly lossAcceptedIn: LeaderEpoch | undefined
    }
  /** To the coordinator and to the other replicas. */
  | { readonly kind: 'publish-leadership'; readonly epoch: LeaderEpoch }
  /** The campaign is over without success; a later one must go above this epoch. */
  | { readonly kind: 'abandon-campaign'; readonly epochSeen: LeaderEpoch }
  | { readonly kind: 'suggest-leader'; readonly to: BrokerId; readonly epochSeen: LeaderEpoch }
  /** Fetch from the leader, from the replica's fetchPosition on; a fetch that is under way is dropped. */
  | { readonly kind: 'start-fetching'; readonly leader: BrokerId; readonly epoch: LeaderEpoch }
  | { readonly kind: 'stop-fetching' }
  | { readonly kind: 'answer-fetch'; readonly fetch: FetchPosition; readonly answer: FetchAnswer }
  /** Those that came with the event, as they are. */
  | { readonly kind: 'append-records' }
  /** Answered by log-truncated once the cut is on stable storage. */
  | { readonly kind: 'truncate-to'; readonly offset: Offset }
  /** Drop everything and begin at the offset, as if all below had been trimmed; answered by log-truncated. */
  | {
      readonly kind: 'restart-log-at'
      readonly offset: Offset
      /** Undefined where nothing stands before. */
      readonly epoch: LeaderEpoch | undefined
      /** In force there, and durable with the cut; absent: those of the beginning. */
      readonly votersRecord?: VotersRecord | undefined
      /** It gives up what may be committed. Remembered before the cut: the floor; after it: up to where tombstones are gone. */
      readonly anew?: { readonly floor: LogPosition | undefined; readonly droppedTo: Offset } | undefined
    }
  /** At once, as append-epoch-start, and synced soon: until then it does not count as held. In force from here on. */
  | {
      readonly kind: 'append-voters'
      readonly epoch: LeaderEpoch
      readonly set: VoterSet
      readonly next: VoterSet | undefined
    }
  /** Dismissed: its log may be deleted, whatever it holds. */
  | { readonly kind: 'answer-dismissal'; readonly to: BrokerId; readonly isDismissed: boolean }
  | { readonly kind: 'refuse-voters-change'; readonly why: VotersRefusal; readonly behind: readonly BrokerId[] }
  /**
   * The change of voters is over: the record at the offset is committed. A leader makes it known; one that is no voter any
   * more may go, unless it is wanted again. May come more than once.
   */
  | { readonly kind: 'voters-settled'; readonly offset: Offset; readonly set: VoterSet; readonly isVoter: boolean }
  | { readonly kind: 'advance-high-watermark'; readonly to: Offset }
  /** Produces that end at or below the offset are kept by enough replicas. */
  | { readonly kind: 'settle-produces'; readonly endOffset: Offset }
  /** All that wait: nobody knows whether their records will stay. */
  | { readonly kind: 'refuse-produces'; readonly outcome: 'unknown' }
  | {
      readonly kind: 'propose-in-sync-replicas'
      readonly epoch: LeaderEpoch
      readonly replicas: readonly BrokerId[]
    }
  /** An acknowledged record may be gone: in an election of suspect replicas, or by a cut below the high watermark. */
  | { readonly kind: 'report-possible-loss'; readonly epoch: LeaderEpoch; readonly fromOffset: Offset }
  /** A rule of the cluster has been broken: serve nobody until an operator has looked. */
  | { readonly kind: 'stop-partition'; readonly reason: 'truncation-below-high-watermark' }
