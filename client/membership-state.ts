// One consumer's membership of its group, as rules: when to ask for the coordinator, to join, to sync, to say that it lives,
// and what becomes of its partitions. Pure: events with the time in, effects out; what is sent and waited for is the shell's.
// Knows nothing of records.
//
// Invariants: at most one of find, join and sync is on its way, and one heartbeat; what is being given up is claimed in every
// join until it has been, so that nobody is given it before; a member that does not keep its partitions, or has lost them,
// joins only when they have been given up; an answer to what is no longer waited for changes nothing; a member that keeps its
// partitions while it joins is not asked to let go of one that it is given again.

import { assertNever } from '../shared/assert.ts'
import type { ErrorCode, TidemarkError } from '../shared/errors.ts'
import type { Random } from '../shared/random.ts'
import { FencedError } from './errors.ts'
import { backoffMs, type RetryOptions } from './retry.ts'
import { minus, namesOf, type TopicPartition } from './topic-partitions.ts'

export interface MembershipOptions {
  readonly groupId: string
  readonly instanceId: string | undefined
  /** Whether the member keeps its partitions while it joins again. */
  readonly isCooperative: boolean
  /** Milliseconds; also how long a heartbeat waits at the coordinator. */
  readonly heartbeatIntervalMs: number
  readonly retry: Pick<RetryOptions, 'minMs' | 'maxMs'>
}

export interface JoinedMember {
  readonly member: string
  readonly instance: string | undefined
  readonly metadata: Uint8Array
}

export type MembershipEvent =
  | { readonly kind: 'begin' }
  | { readonly kind: 'found'; readonly attempt: number }
  | {
      readonly kind: 'joined'
      readonly attempt: number
      readonly generation: number
      readonly member: string
      readonly leader: string
      readonly protocol: string
      /** For the leader; empty for others. */
      readonly members: readonly JoinedMember[]
      readonly skipAssignment: boolean
    }
  | { readonly kind: 'synced'; readonly attempt: number; readonly assignment: readonly TopicPartition[] }
  | { readonly kind: 'heard'; readonly attempt: number }
  /** The request of that number was refused or lost. `member`: the id that came with the refusal. */
  | {
      readonly kind: 'refused'
      readonly attempt: number
      readonly error: TidemarkError
      readonly member?: string | undefined
    }
  /** What was to be given up by the `revoke` of that number has been given up. */
  | { readonly kind: 'released'; readonly release: number }
  /** A request of the member in that generation was refused because the group knows it no more, or not as it is. */
  | { readonly kind: 'forgotten'; readonly generation: number; readonly error: TidemarkError }
  /** There is another reason to share out anew: topics or partitions came or went. */
  | { readonly kind: 'rejoin'; readonly reason: string }
  /** The member goes until `begin`. What it has is lost to it, unless it has given it up before. */
  | { readonly kind: 'go'; readonly reason: string; readonly hasGivenUp: boolean }
  | { readonly kind: 'tick' }

export type MembershipEffect =
  | { readonly kind: 'find'; readonly attempt: number }
  | { readonly kind: 'join'; readonly attempt: number; readonly member: string; readonly reason: string }
  /** `members`: those to share out among, for the leader. */
  | {
      readonly kind: 'sync'
      readonly attempt: number
      readonly protocol: string
      readonly members: readonly JoinedMember[] | undefined
    }
  | { readonly kind: 'heartbeat'; readonly attempt: number; readonly maxWaitMs: number }
  /** To be answered by `released`. Lost: others may have them already, and all that is being given up besides. */
  | {
      readonly kind: 'revoke'
      readonly release: number
      readonly partitions: readonly TopicPartition[]
      readonly isLost: boolean
      readonly reason: string
    }
  | { readonly kind: 'assign'; readonly partitions: readonly TopicPartition[] }
  /** Nothing is waited for. */
  | { readonly kind: 'leave'; readonly member: string; readonly reason: string }
  /** There is no way on. */
  | { readonly kind: 'fail'; readonly error: TidemarkError }

export type MembershipPhase = 'out' | 'joining' | 'syncing' | 'stable' | 'failed'

/** What a member is to the coordinator; a commit carries it. */
export interface MemberIdentity {
  readonly member: string
  readonly generation: number
}

/** Of the requests that are waited for, one after the other; a heartbeat goes beside them. */
interface Waiting {
  readonly what: 'find' | 'join' | 'sync'
  readonly attempt: number
}

const NO_GENERATION = -1

export class MembershipState {
  readonly #options: MembershipOptions
  readonly #random: Random
  #phase: MembershipPhase = 'out'
  #phaseSince = 0
  #isCoordinatorKnown = false
  #waiting: Waiting | undefined
  #beat: { readonly attempt: number; readonly sentAt: number } | undefined
  #attempts = 0
  #member = ''
  #generation = NO_GENERATION
  #protocol = ''
  #members: readonly JoinedMember[] = []
  #isLeader = false
  #isAssignmentSkipped = false
  #owned: readonly TopicPartition[] = []
  /** Revocations that are not done, by number. */
  readonly #releases = new Map<
    number,
    { readonly partitions: readonly TopicPartition[]; readonly isBlocking: boolean }
  >()
  /** Why to join again; undefined while there is no reason to. */
  #rejoinReason: string | undefined
  #failures = 0
  #lastFailure: TidemarkError | undefined
  #failingSince: number | undefined
  #outReason: string | undefined
  /** Nothing is asked before, heartbeats beside. */
  #pauseUntil = 0
  #beatAt = 0
  #now = 0
  #effects: MembershipEffect[] = []

  constructor(options: MembershipOptions, random: Random) {
    this.#options = options
    this.#random = random
  }

  get phase(): MembershipPhase {
    return this.#phase
  }

  get phaseSince(): number {
    return this.#phaseSince
  }

  get isLeader(): boolean {
    return this.#isLeader
  }

  get identity(): MemberIdentity {
    return { member: this.#member, generation: this.#generation }
  }

  get owned(): readonly TopicPartition[] {
    return this.#owned
  }

  /** What nobody else may be given: what it has, and what it is giving up. */
  get claims(): readonly TopicPartition[] {
    const claims = [...this.#owned]
    for (const { partitions } of this.#releases.values()) claims.push(...minus(partitions, claims))
    return this.#generation === NO_GENERATION ? [] : claims
  }

  /** What went wrong last, if nothing has gone well since. */
  get lastFailure(): TidemarkError | undefined {
    return this.#lastFailure
  }

  /** Since when nothing has gone well, by the monotonic clock; undefined while all is well. */
  get failingSince(): number | undefined {
    return this.#failingSince
  }

  /** Why the member went, while it is out. */
  get outReason(): string | undefined {
    return this.#outReason
  }

  /** What is waited for, for people; undefined when nothing is. */
  get waitsFor(): string | undefined {
    if (this.#phase === 'out' || this.#phase === 'failed') return undefined
    if (!this.#isCoordinatorKnown) return 'the coordinator of the group'
    if (this.#phase === 'stable' && this.#rejoinReason === undefined) return undefined
    if (this.#isBlocked) return 'partitions to be given up'
    return this.#phase === 'syncing' ? 'the leader of the group to share out' : 'the other members to join'
  }

  /** When `tick` is to be told; Infinity while nothing is due. */
  get nextDeadline(): number {
    if (this.#phase === 'out' || this.#phase === 'failed') return Infinity
    const isPausing = this.#waiting === undefined && this.#pauseUntil > this.#now
    const beatAt = this.#mayBeat ? this.#beatAt : Infinity
    return Math.min(beatAt, isPausing ? this.#pauseUntil : Infinity)
  }

  step(event: MembershipEvent, now: number, effects: MembershipEffect[]): void {
    this.#now = now
    this.#effects = effects
    this.#on(event)
    this.#proceed()
  }

  #on(event: MembershipEvent): void {
    switch (event.kind) {
      case 'begin':
        if (this.#phase === 'out') this.#join('it comes in')
        return
      case 'found':
        return this.#onFound(event.attempt)
      case 'joined':
        return this.#onJoined(event)
      case 'synced':
        return this.#onSynced(event.attempt, event.assignment)
      case 'heard':
        return this.#onHeard(event.attempt)
      case 'refused':
        return this.#onRefused(event.attempt, event.error, event.member)
      case 'released':
        return this.#onReleased(event.release)
      case 'forgotten': {
        // The answer to a join tells by itself what has become of the generation before.
        const isCurrent = event.generation === this.#generation && this.#phase !== 'joining'
        if (!isCurrent || this.#phase === 'out' || this.#phase === 'failed') return
        return event.error.code === 'FENCED_INSTANCE_ID' ? this.#onFatal(event.error) : this.#onForgotten(event.error)
      }
      case 'rejoin':
        this.#rejoinReason ??= event.reason
        return
      case 'go':
        return this.#onGo(event.reason, event.hasGivenUp)
      case 'tick':
        return
      default:
        assertNever(event)
    }
  }

  /** Whatever is possible and due now. */
  #proceed(): void {
    if (this.#phase === 'out' || this.#phase === 'failed') return
    if (this.#phase === 'stable' && this.#rejoinReason !== undefined && !this.#isBlocked) {
      this.#giveUpToJoin(this.#rejoinReason)
    }
    if (this.#waiting === undefined && this.#now >= this.#pauseUntil) this.#askNext()
    if (this.#mayBeat && this.#now >= this.#beatAt) {
      const attempt = this.#nextAttempt()
      this.#beat = { attempt, sentAt: this.#now }
      // After a failure the answer is to tell at once that all is well again.
      const mayWait = this.#phase === 'stable' && !this.#isBlocked && this.#failingSince === undefined
      const maxWaitMs = mayWait ? this.#options.heartbeatIntervalMs : 0
      this.#effects.push({ kind: 'heartbeat', attempt, maxWaitMs })
    }
  }

  #askNext(): void {
    if (!this.#isCoordinatorKnown) {
      return void this.#effects.push({ kind: 'find', attempt: this.#wait('find') })
    }
    if (this.#phase === 'joining' && !this.#isBlocked) {
      const reason = this.#rejoinReason ?? 'it comes in'
      this.#rejoinReason = undefined
      // A parked join says that the member lives.
      this.#beat = undefined
      this.#effects.push({ kind: 'join', attempt: this.#wait('join'), member: this.#member, reason })
    }
    if (this.#phase === 'syncing') {
      const members = this.#isLeader && !this.#isAssignmentSkipped ? this.#members : undefined
      this.#effects.push({ kind: 'sync', attempt: this.#wait('sync'), protocol: this.#protocol, members })
    }
  }

  /** Whether a heartbeat is to be sent some time, and none is on its way. */
  get #mayBeat(): boolean {
    if (!this.#isCoordinatorKnown || this.#beat !== undefined || this.#generation === NO_GENERATION) return false
    return this.#phase === 'stable' || this.#phase === 'syncing' || this.#isBlocked
  }

  /** Whether something has to be given up before the member may join. */
  get #isBlocked(): boolean {
    for (const { isBlocking } of this.#releases.values()) if (isBlocking) return true
    return false
  }

  #onReleased(release: number): void {
    const released = this.#releases.get(release)
    this.#releases.delete(release)
    if (released === undefined || released.isBlocking) return
    const gone = minus(released.partitions, this.#owned)
    if (gone.length > 0) this.#rejoinReason ??= `it has given up ${namesOf(gone)}`
  }

  #onFound(attempt: number): void {
    if (!this.#isAnswer(attempt)) return
    this.#isCoordinatorKnown = true
    // Whoever is new there is to hear that the member lives.
    this.#beatAt = this.#now
  }

  #onJoined(event: Extract<MembershipEvent, { kind: 'joined' }>): void {
    if (!this.#isAnswer(event.attempt)) return
    this.#onWell()
    this.#member = event.member
    this.#generation = event.generation
    this.#protocol = event.protocol
    this.#isLeader = event.member === event.leader
    this.#isAssignmentSkipped = event.skipAssignment
    this.#members = event.members
    this.#beatAt = this.#now + this.#options.heartbeatIntervalMs
    this.#become('syncing')
  }

  #onSynced(attempt: number, assignment: readonly TopicPartition[]): void {
    if (!this.#isAnswer(attempt)) return
    this.#onWell()
    this.#members = []
    const revoked = minus(this.#owned, assignment)
    const added = minus(assignment, this.#owned)
    this.#owned = assignment
    this.#become('stable')
    this.#beatAt = this.#now
    if (revoked.length > 0) this.#revoke(revoked, { isLost: false, isBlocking: false }, 'the group has shared out anew')
    this.#effects.push({ kind: 'assign', partitions: added })
  }

  #onHeard(attempt: number): void {
    if (this.#beat?.attempt !== attempt) return
    // That one has not waited for news: another one does from now on.
    const wasFailing = this.#failingSince !== undefined
    this.#beatAt = wasFailing ? this.#now : this.#beat.sentAt + this.#options.heartbeatIntervalMs
    this.#beat = undefined
    this.#onWell()
  }

  #onRefused(attempt: number, error: TidemarkError, member: string | undefined): void {
    const beat = this.#beat?.attempt === attempt ? this.#beat : undefined
    if (beat === undefined && this.#waiting?.attempt !== attempt) return
    if (beat === undefined) this.#waiting = undefined
    else {
      this.#beatAt = beat.sentAt + this.#options.heartbeatIntervalMs
      this.#beat = undefined
    }
    const { code } = error
    if (code === 'MEMBER_ID_REQUIRED' && member !== undefined) {
      this.#member = member
      return
    }
    if (code === 'REBALANCE_IN_PROGRESS') return this.#onRebalance()
    this.#lastFailure = error
    this.#failingSince ??= this.#now
    if (code === 'UNKNOWN_MEMBER_ID' || code === 'ILLEGAL_GENERATION') return this.#onForgotten(error)
    if (!error.retriable) return this.#onFatal(error)
    if (beat === undefined || isCoordinatorLost(code)) this.#pause()
    if (isCoordinatorLost(code)) {
      this.#isCoordinatorKnown = false
      // A heartbeat that waits there will not be answered any more; a join or sync is asked for anew by itself.
      this.#beat = undefined
      if (this.#waiting?.what !== 'find') this.#waiting = undefined
    }
  }

  #onRebalance(): void {
    if (this.#phase === 'syncing') {
      this.#waiting = undefined
      this.#become('joining')
    } else if (this.#phase === 'stable') this.#rejoinReason ??= 'the group rebalances'
    else this.#pause()
  }

  /** The coordinator does not know the member, or not as it is: others may have its partitions. */
  #onForgotten(error: TidemarkError): void {
    if (error.code === 'UNKNOWN_MEMBER_ID') this.#member = ''
    this.#generation = NO_GENERATION
    this.#waiting = undefined
    this.#beat = undefined
    this.#lose(error.message)
    this.#pause()
    this.#join(error.code === 'UNKNOWN_MEMBER_ID' ? 'it was taken out' : 'the group has rebalanced without it')
  }

  #onFatal(error: TidemarkError): void {
    this.#lose(error.message)
    this.#become('failed')
    const { groupId, instanceId } = this.#options
    const isFenced = error.code === 'FENCED_INSTANCE_ID'
    const text = `group ${groupId}: another member has come in as ${instanceId ?? ''}: ${error.message}`
    this.#effects.push({ kind: 'fail', error: isFenced ? new FencedError(error.code, text, { cause: error }) : error })
  }

  #onGo(reason: string, hasGivenUp: boolean): void {
    if (this.#phase === 'out' || this.#phase === 'failed') return
    if (hasGivenUp) this.#owned = []
    this.#lose(reason)
    if (this.#member !== '') this.#effects.push({ kind: 'leave', member: this.#member, reason })
    this.#member = ''
    this.#generation = NO_GENERATION
    this.#waiting = undefined
    this.#beat = undefined
    this.#rejoinReason = undefined
    this.#outReason = reason
    this.#become('out')
  }

  /** Goes back to joining; who does not keep its partitions meanwhile gives them up first. */
  #giveUpToJoin(reason: string): void {
    if (!this.#options.isCooperative && this.#owned.length > 0) {
      this.#revoke(this.#owned, { isLost: false, isBlocking: true }, reason)
      this.#owned = []
    }
    this.#become('joining')
  }

  #join(reason: string): void {
    this.#rejoinReason ??= reason
    this.#become('joining')
  }

  #lose(reason: string): void {
    // What is being given up is lost too, though nothing else be left.
    if (this.#owned.length === 0 && this.#releases.size === 0) return
    for (const [release, { isBlocking }] of this.#releases) this.#releases.set(release, { partitions: [], isBlocking })
    this.#revoke(this.#owned, { isLost: true, isBlocking: true }, reason)
    this.#owned = []
  }

  #revoke(
    partitions: readonly TopicPartition[],
    { isLost, isBlocking }: { readonly isLost: boolean; readonly isBlocking: boolean },
    reason: string,
  ): void {
    const release = this.#nextAttempt()
    this.#releases.set(release, { partitions, isBlocking })
    this.#effects.push({ kind: 'revoke', release, partitions, isLost, reason })
  }

  #become(phase: MembershipPhase): void {
    if (phase !== this.#phase) this.#phaseSince = this.#now
    this.#phase = phase
  }

  #onWell(): void {
    this.#failures = 0
    this.#lastFailure = undefined
    this.#failingSince = undefined
    this.#pauseUntil = 0
  }

  /** The first failure is followed up at once: a member whose connection broke has half a second to be heard again. */
  #pause(): void {
    this.#failures += 1
    const pauseMs = this.#failures === 1 ? 0 : backoffMs(this.#failures - 1, this.#options.retry, this.#random)
    this.#pauseUntil = this.#now + pauseMs
  }

  #wait(what: Waiting['what']): number {
    const attempt = this.#nextAttempt()
    this.#waiting = { what, attempt }
    return attempt
  }

  #isAnswer(attempt: number): boolean {
    if (this.#waiting?.attempt !== attempt) return false
    this.#waiting = undefined
    return true
  }

  #nextAttempt(): number {
    this.#attempts += 1
    return this.#attempts
  }
}

/** Whether another may coordinate by now, or nobody can say. */
export function isCoordinatorLost(code: ErrorCode): boolean {
  switch (code) {
    case 'NOT_COORDINATOR':
    case 'COORDINATOR_NOT_AVAILABLE':
    case 'CONNECTION_FAILED':
    case 'TIMEOUT':
    case 'REQUEST_TIMED_OUT':
    case 'SHUTTING_DOWN':
      return true
    default:
      return false
  }
}
