// Whether a partition is without a leader as far as this broker can see, and how long to wait before trying to lead it. Owns
// the reasons, the ranks and the delays; knows nothing of messages, timers or what was tried before. Pure.
//
// Nothing here is about safety: a wrong judgement costs an election that was not needed, or a moment without a leader.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import type { ReplicaPromise, Role } from './replication-events.ts'

/** Why a partition needs a leader. */
export type VacancyReason =
  /** The coordinator names this broker, which does not lead: it was so in an earlier life. */
  | 'own'
  /** This replica has promised itself, and its campaign came to nothing. */
  | 'begun'
  /** Nobody has ever led, or the last leader has given it back. */
  | 'vacant'
  /** The session of the leader is gone, and its process, too. */
  | 'dead'
  /** The session of the leader is gone; the leader may not know it yet. */
  | 'expired'
  /** The leader's process has begun another life, and a life leads only in epochs of its own. */
  | 'restarted'
  /** The broker that is said to lead has been saying for a while that it does not. */
  | 'unserved'
  /** This replica has promised an epoch of which nobody has become the leader, as far as anybody knows. */
  | 'stranded'

export interface Vacancy {
  readonly reason: VacancyReason
  /** Who is said to lead; undefined where nobody is. */
  readonly leader: BrokerId | undefined
  /** Of that leader. */
  readonly epoch: LeaderEpoch | undefined
}

/** One replica of this broker, and what the coordinator says of its partition. */
export interface PartitionView {
  readonly role: Role
  /** Whether its word counts: the partition knows this broker on this disk. */
  readonly isVoter: boolean
  /** Damage has taken records from its log: another one is better. */
  readonly hasHoles?: boolean
  /** The preferred leader first, and those that are being drained last. */
  readonly assignment: readonly BrokerId[]
  readonly promise: ReplicaPromise | undefined
  /** Whom it follows; undefined while that is nobody. */
  readonly following: BrokerId | undefined
  /** Whether that one has shown, in this epoch, that it leads. */
  readonly hasHeardLeader: boolean
  readonly agreed:
    | {
        readonly leader: BrokerId | undefined
        readonly leaderEpoch: LeaderEpoch | undefined
        readonly inSyncReplicas: readonly BrokerId[]
      }
    | undefined
}

/** The cluster as this broker sees it at one moment. */
export interface ClusterSight {
  readonly self: BrokerId
  /** The life of a broker that has a session; undefined for all others. */
  lifeOf(id: BrokerId): string | undefined
  /** Whether this broker itself has seen that the process of the life it knew last is gone. */
  isDead(id: BrokerId): boolean
}

/** Who leads according to the newest word of it. */
export interface LeaderClaim {
  readonly by: 'coordinator' | 'promise'
  readonly leader: BrokerId | undefined
  readonly epoch: LeaderEpoch | undefined
}

/** What is remembered of a claim since it was first seen. */
export interface ClaimMemory {
  /** Of its leader then; undefined if it has been without a session all the time. */
  readonly life: string | undefined
  /** The leader has refused to be one, again and again. */
  readonly isRefused: boolean
}

interface Delay {
  readonly baseMs: number
  /** For each replica that comes before this one. */
  readonly perRankMs: number
  readonly jitterMs: number
}

/** How long whoever lost a session may need to see it. */
const LOCK_DELAY_MS = 1_000
/** An election takes less; so the next in rank finds it done. */
const TURN_MS = 300
/** Of a new topic the brokers hear one after the other, within the time between two looks at the coordinator. */
const NEWS_MS = 500
const JITTER_MS = 200
/** More than all others wait for one another, and an election: whoever has all records is to be found leading. */
const HOLED_MS = 2_500

const DELAYS: Readonly<Record<VacancyReason, Delay>> = {
  own: { baseMs: 0, perRankMs: 0, jitterMs: 0 },
  begun: { baseMs: 0, perRankMs: 0, jitterMs: JITTER_MS },
  vacant: { baseMs: 0, perRankMs: NEWS_MS, jitterMs: 0 },
  dead: { baseMs: 0, perRankMs: TURN_MS, jitterMs: 20 },
  expired: { baseMs: LOCK_DELAY_MS, perRankMs: TURN_MS, jitterMs: JITTER_MS },
  restarted: { baseMs: LOCK_DELAY_MS, perRankMs: TURN_MS, jitterMs: JITTER_MS },
  unserved: { baseMs: LOCK_DELAY_MS, perRankMs: TURN_MS, jitterMs: JITTER_MS },
  stranded: { baseMs: 10_000, perRankMs: TURN_MS, jitterMs: JITTER_MS },
}

/** The newest word of who leads; undefined where there is none. */
export function claimOf({ agreed, promise, following }: PartitionView): LeaderClaim | undefined {
  const { leader, leaderEpoch: epoch } = agreed ?? {}
  if (epoch !== undefined && epoch >= (promise?.epoch ?? 0)) return { by: 'coordinator', leader, epoch }
  if (promise === undefined) return undefined
  return { by: 'promise', leader: following ?? promise.leader, epoch: promise.epoch }
}

/** Undefined while somebody leads, or may be about to; and where this replica is in no position to do so. */
export function judgeVacancy(view: PartitionView, sight: ClusterSight, memory: ClaimMemory): Vacancy | undefined {
  if (view.role !== 'follower' || !view.isVoter) return undefined
  const claim = claimOf(view)
  const reason = claim?.leader === undefined ? 'vacant' : reasonOf(view, sight, claim, claim.leader, memory)
  return reason === undefined ? undefined : { reason, leader: claim?.leader, epoch: claim?.epoch }
}

function reasonOf(
  view: PartitionView,
  sight: ClusterSight,
  claim: LeaderClaim,
  leader: BrokerId,
  memory: ClaimMemory,
): VacancyReason | undefined {
  if (leader === sight.self) {
    if (claim.by === 'coordinator') return 'own'
    const other = view.agreed?.leader
    // It may well lead, in a lower epoch, those that were not asked for their promises.
    return other !== undefined && other !== leader && sight.lifeOf(other) !== undefined ? 'stranded' : 'begun'
  }
  const life = sight.lifeOf(leader)
  if (life === undefined) return sight.isDead(leader) ? 'dead' : 'expired'
  if (memory.life !== undefined && memory.life !== life) return 'restarted'
  if (memory.isRefused) return 'unserved'
  return claim.by === 'promise' && !view.hasHeardLeader ? 'stranded' : undefined
}

/**
 * How many replicas come before this one: those in sync first, then by the assignment. Only those count that could lead
 * now.
 */
export function rankOf(view: PartitionView, sight: ClusterSight, vacancy: Vacancy): number {
  const inSync = view.agreed?.inSyncReplicas ?? []
  const isCandidate = (id: BrokerId): boolean =>
    id === sight.self || (sight.lifeOf(id) !== undefined && (id !== vacancy.leader || vacancy.reason === 'unserved'))
  const candidates = view.assignment.filter(isCandidate)
  const ordered = [
    ...candidates.filter((id) => inSync.includes(id)),
    ...candidates.filter((id) => !inSync.includes(id)),
  ]
  return Math.max(0, ordered.indexOf(sight.self))
}

/** Milliseconds that this replica waits longer than others, for one that lacks nothing. */
export function deferenceOf({ hasHoles }: PartitionView): number {
  return hasHoles === true ? HOLED_MS : 0
}

/** Milliseconds to wait; `fraction` is drawn from [0, 1) and may be one for many partitions, so that they go together. */
export function delayOf(reason: VacancyReason, rank: number, fraction: number): number {
  const { baseMs, perRankMs, jitterMs } = DELAYS[reason]
  return baseMs + rank * perRankMs + fraction * jitterMs
}
