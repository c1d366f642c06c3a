// What happens to a group, and what it asks of the world: the words between the rules of membership and those who carry
// them out. Types only.
//
// Every event carries the time by the monotonic clock. A request is a number that its asker has chosen, another one each
// time; the group answers each of them exactly once, at once or later.

import type { ErrorCode } from '../../shared/errors.ts'

export type GroupPhase = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead'

/** A way to share out that a member knows, with what the member has to say for it. */
export interface MemberProtocol {
  readonly name: string
  readonly metadata: Uint8Array
}

/** Who speaks, as far as a group tells its members apart. */
interface Speaker {
  readonly member: string
  /** The name of a static member. */
  readonly instance: string | undefined
}

interface Asked extends Speaker {
  readonly now: number
  readonly request: number
  /** Where it was heard; when that closes, the member has a moment to be heard elsewhere. */
  readonly connection: number | undefined
}

export type GroupEvent =
  | (Asked & {
      readonly kind: 'join'
      /** The id it gets if it has none. */
      readonly newMember: string
      readonly clientId: string
      readonly host: string
      readonly protocolType: string
      readonly sessionTimeoutMs: number
      readonly rebalanceTimeoutMs: number
      readonly protocols: readonly MemberProtocol[]
      /** Old Kafka clients come in at once, without being told their id first. */
      readonly needsNoId?: boolean
      /** Whoever speaks Kafka's protocol says nothing between its heartbeats, of which there are three a session. */
      readonly isHeardByBeats?: boolean
      readonly reason?: string | undefined
    })
  | (Asked & {
      readonly kind: 'sync'
      readonly generation: number
      readonly protocolType: string | undefined
      readonly protocol: string | undefined
      readonly assignments: readonly { readonly member: string; readonly assignment: Uint8Array }[]
    })
  | (Asked & {
      readonly kind: 'heartbeat'
      readonly generation: number
      /** How long the answer may wait for news. */
      readonly maxWaitMs: number
    })
  | {
      readonly kind: 'leave'
      readonly now: number
      readonly request: number
      readonly members: readonly (Speaker & { readonly reason?: string | undefined })[]
    }
  /** Asks whether offsets may be committed; the commit itself is nothing to the membership. */
  | (Asked & { readonly kind: 'commit'; readonly generation: number })
  | { readonly kind: 'connection-closed'; readonly now: number; readonly connection: number }
  /** What was to be stored is (no error), or is not, or nobody knows. */
  | {
      readonly kind: 'stored'
      readonly now: number
      readonly store: number
      readonly error: ErrorCode | undefined
      readonly message?: string | undefined
    }
  /** Somebody wants the group gone. */
  | { readonly kind: 'delete'; readonly now: number; readonly request: number }
  /** All offsets have expired. */
  | { readonly kind: 'expire'; readonly now: number }
  /** The leadership of the partition is over: the group goes on elsewhere. */
  | { readonly kind: 'coordinator-lost'; readonly now: number }
  | { readonly kind: 'tick'; readonly now: number }

export type GroupEventKind = GroupEvent['kind']

export interface GroupRefusal {
  readonly error: ErrorCode
  readonly message: string
}

export interface JoinedMember {
  readonly member: string
  readonly instance: string | undefined
  readonly metadata: Uint8Array
}

export interface JoinAnswer {
  readonly refusal: GroupRefusal | undefined
  readonly generation: number
  readonly protocolType: string | undefined
  readonly protocol: string | undefined
  readonly leader: string
  /** Its id; of a refusal with MEMBER_ID_REQUIRED the one to come back with. */
  readonly member: string
  readonly skipAssignment: boolean
  /** For the leader only. */
  readonly members: readonly JoinedMember[]
}

export interface SyncAnswer {
  readonly refusal: GroupRefusal | undefined
  readonly protocolType: string | undefined
  readonly protocol: string | undefined
  readonly assignment: Uint8Array
}

/** A group as it is written down. */
export interface GroupSnapshot {
  readonly protocolType: string | undefined
  readonly generation: number
  readonly protocol: string | undefined
  readonly leader: string | undefined
  readonly members: readonly StoredMember[]
}

export interface StoredMember {
  readonly member: string
  readonly instance: string | undefined
  readonly clientId: string
  readonly host: string
  readonly rebalanceTimeoutMs: number
  readonly sessionTimeoutMs: number
  readonly subscription: Uint8Array
  readonly assignment: Uint8Array
}

export type GroupEffect =
  | { readonly kind: 'answer-join'; readonly request: number; readonly answer: JoinAnswer }
  | { readonly kind: 'answer-sync'; readonly request: number; readonly answer: SyncAnswer }
  | { readonly kind: 'answer-heartbeat'; readonly request: number; readonly refusal: GroupRefusal | undefined }
  | {
      readonly kind: 'answer-leave'
      readonly request: number
      readonly refusal: GroupRefusal | undefined
      /** One a member of the request, in its order. */
      readonly errors: readonly (ErrorCode | undefined)[]
    }
  | { readonly kind: 'answer-commit'; readonly request: number; readonly refusal: GroupRefusal | undefined }
  | { readonly kind: 'answer-delete'; readonly request: number; readonly refusal: GroupRefusal | undefined }
  /** To be written down, in the order of the effects; answered by the event `stored`. */
  | { readonly kind: 'store'; readonly store: number; readonly snapshot: GroupSnapshot }
  /** Nothing of the group is to stay. Nothing is answered to it. */
  | {
      readonly kind: 'forget'
      readonly wasStored: boolean
      /** All that is to stay, if anything is: the next leader epoch could give it out again. */
      readonly generation: number | undefined
    }
  | { readonly kind: 'rebalance-begun'; readonly reason: string }
  | { readonly kind: 'member-out'; readonly member: string; readonly reason: string }
  | { readonly kind: 'phase-changed'; readonly to: GroupPhase }
