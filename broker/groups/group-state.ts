// The membership of one group: rounds, generations, who is in and for how long. Owns every rule of it; events with the time
// in, effects out. SPEC.md is its description, GROUP_TRANSITIONS where it may go. Knows no log, no wire and no clock, and
// of what members tell each other only whether a consumer that has come back wants the same (same-wish.ts).
//
// Total, synchronous, deterministic: every event may come in every phase. Effects are pushed in the order in which they must
// happen.
//
// Invariants: every request is answered exactly once; a generation has one set of members, and grows; whoever waits is
// answered as time passes, given that what is to be stored is settled; after a step nextDeadline is no later than the
// earliest moment at which something is due.

import type {
  GroupEffect,
  GroupEvent,
  GroupEventKind,
  GroupPhase,
  GroupRefusal,
  GroupSnapshot,
} from './group-events.ts'
import type { Member, Parked, Storing } from './group-members.ts'
import { assert, assertNever, must } from '../../shared/assert.ts'
import { CONNECTION_GRACE_MS, graceMsOf } from './connection-grace.ts'
import { type EpochOptions, generationToKeep, isToBeReserved } from './group-generation.ts'
import { GONE, GroupAnswers, NOT_EMPTY, REBALANCING } from './group-answers.ts'
import { GroupMembers, isSameProtocols, metadataOf, memberFrom, deadlineOf } from './group-members.ts'
import { GroupRound } from './group-round.ts'
import { GROUP_TRANSITIONS } from './group-transitions.ts'
import { heartbeatDeadline } from './heartbeat-grid.ts'
import { because, type JoinLimits, rebalanceTimeoutOf, whyNotJoin } from './join-check.ts'
import { isSameWish } from './same-wish.ts'

export interface GroupOptions extends JoinLimits, EpochOptions {
  /** No generation up to this one is given out. */
  readonly generationBase: number
  readonly initialRebalanceDelayMs: number
  readonly membersMax: number
}

type EventOf<Kind extends GroupEventKind> = Extract<GroupEvent, { readonly kind: Kind }>

/** How long after a failure a generation is tried to be written down again. */
const RESERVE_RETRY_MS = 500
const NOTHING = new Uint8Array(0)

export class GroupState {
  readonly #options: GroupOptions
  readonly #members = new GroupMembers()
  #phase: GroupPhase = 'Empty'
  #generation = 0
  #protocolType: string | undefined
  /** Of the generation; undefined while there is none. */
  #protocol: string | undefined
  #wasStored = false
  readonly #round = new GroupRound()
  /** When who has not asked for its share is out. */
  #syncDeadline = Infinity
  readonly #storing = new Map<number, Storing>()
  #stores = 0
  /** The highest generation that is written down for the sake of it. */
  #reserved = 0
  #reserveAgainAt: number | undefined
  #isSharingOut = false
  #now = 0
  #nextDeadline = Infinity
  readonly #answers = new GroupAnswers()

  constructor(options: GroupOptions) {
    this.#options = options
  }

  /** As it was written down; all its members have been heard just now. */
  static restore(options: GroupOptions, snapshot: GroupSnapshot, now: number): GroupState {
    const state = new GroupState(options)
    state.#restore(snapshot, now)
    return state
  }

  get phase(): GroupPhase {
    return this.#phase
  }

  get generation(): number {
    return this.#generation
  }

  get protocolType(): string | undefined {
    return this.#protocolType
  }

  get protocol(): string | undefined {
    return this.#protocol
  }

  get leader(): string | undefined {
    return this.#members.leader?.id
  }

  get memberCount(): number {
    return this.#members.size
  }

  members(): IterableIterator<Readonly<Member>> {
    return this.#members.all()
  }

  /** Nobody is in it or about to come, and nothing of it is written down. */
  get isBlank(): boolean {
    return this.#phase === 'Empty' && !this.#wasStored && this.#members.sizeWithPending === 0
  }

  /** When `tick` is to be told at the latest; Infinity while nothing is due. May be too early. */
  get nextDeadline(): number {
    return this.#nextDeadline
  }

  #snapshotWith(shares: ReadonlyMap<string, Uint8Array> | undefined): GroupSnapshot {
    return {
      protocolType: this.#protocolType,
      generation: this.#generation,
      protocol: this.#protocol,
      leader: this.#phase === 'Empty' ? undefined : this.leader,
      members: this.#members.toStore(this.#protocol, shares),
    }
  }

  step(event: GroupEvent, effects: GroupEffect[]): void {
    const allowed = GROUP_TRANSITIONS[this.#phase][event.kind]
    if (allowed.length === 0) return
    this.#now = event.now
    this.#answers.effects = effects
    const generation = this.#generation
    this.#on(event)
    assert(allowed.includes(this.#phase), 'a group goes where its table lets it')
    assert(this.#generation >= generation, 'a generation never goes back')
  }

  #on(event: GroupEvent): void {
    switch (event.kind) {
      case 'join':
        return this.#onJoin(event)
      case 'sync':
        return this.#onSync(event)
      case 'heartbeat':
        return this.#onHeartbeat(event)
      case 'leave':
        return this.#onLeave(event)
      case 'commit':
        return this.#onCommit(event)
      case 'connection-closed':
        return this.#onConnectionClosed(event.connection)
      case 'stored':
        return this.#onStored(event)
      case 'delete':
        return this.#onDelete(event.request)
      case 'expire':
        return this.#members.pending.size === 0 ? this.#die() : undefined
      case 'coordinator-lost':
        return this.#onCoordinatorLost()
      case 'tick':
        return this.#onTick()
      default:
        return assertNever(event)
    }
  }

  #onJoin(event: EventOf<'join'>): void {
    const isDead = this.#phase === 'Dead'
    const refusal = isDead ? GONE : whyNotJoin(this.#options, this.#members, this.#protocolType, event)
    if (refusal !== undefined) return this.#answers.refuseJoin(event.request, event.member, refusal)
    if (event.member === '') return this.#onNewcomer(event)
    if (this.#members.pending.has(event.member) && event.instance === undefined) {
      this.#members.pending.delete(event.member)
      return this.#comeIn(event, event.member)
    }
    const member = this.#members.speaker(event.member, event.instance)
    if ('error' in member) return this.#answers.refuseJoin(event.request, event.member, member)
    this.#comeAgain(event, member)
  }

  #onNewcomer(event: EventOf<'join'>): void {
    const { instance, newMember, request, connection, sessionTimeoutMs } = event
    const former = instance === undefined ? undefined : this.#members.ofInstance(instance)
    if (former !== undefined) return this.#takePlace(event, former)
    const { membersMax } = this.#options
    if (this.#members.sizeWithPending >= membersMax) {
      const message = `the group has ${this.#members.sizeWithPending} members, and may have ${membersMax}`
      return this.#answers.refuseJoin(request, '', { error: 'GROUP_MAX_SIZE_REACHED', message })
    }
    if (instance !== undefined || event.needsNoId === true) return this.#comeIn(event, newMember)
    const deadline = this.#now + sessionTimeoutMs
    this.#members.pending.set(newMember, { id: newMember, connection, deadline })
    this.#due(deadline)
    const message = 'join again with the member id of this answer'
    this.#answers.refuseJoin(request, newMember, { error: 'MEMBER_ID_REQUIRED', message })
  }

  #comeIn(event: EventOf<'join'>, id: string): void {
    const { instance, clientId, host, sessionTimeoutMs, protocols, protocolType, connection, request } = event
    if (this.#members.size === 0) this.#protocolType = protocolType
    const rebalanceTimeoutMs = rebalanceTimeoutOf(event)
    const member = memberFrom(
      { id, instance, clientId, host, sessionTimeoutMs, rebalanceTimeoutMs, protocols },
      this.#now,
    )
    member.isHeardByBeats = event.isHeardByBeats === true
    member.connection = connection
    member.join = { request, connection }
    this.#members.add(member)
    this.#round.noteNewcomer()
    this.#rebalance(`member ${id} has come in${because(event.reason)}`)
  }

  #comeAgain(event: EventOf<'join'>, member: Member): void {
    this.#hear(member, event.connection)
    const isSame = isSameProtocols(member.protocols, event.protocols)
    const isFollower = this.#phase === 'Stable' && this.#members.leader !== member
    if (isSame && (this.#phase === 'CompletingRebalance' || isFollower)) {
      // Its answer was lost, or it has asked twice.
      this.#answers.dropJoin(member, { error: 'REBALANCE_IN_PROGRESS', message: 'the member has joined again' })
      return this.#answerJoin(member, event.request, false)
    }
    this.#update(member, event)
    this.#parkJoin(member, event)
    this.#rebalance(`member ${member.id} has joined again${because(event.reason)}`)
  }

  /** A static member has come back, without its id. */
  #takePlace(event: EventOf<'join'>, member: Member): void {
    const { request, newMember } = event
    const fenced = { error: 'FENCED_INSTANCE_ID', message: 'another member has come in under this name' } as const
    this.#answers.dropAll(member, fenced)
    const before = metadataOf(member, this.#protocol)
    this.#members.rename(member, newMember)
    this.#update(member, event)
    this.#hear(member, event.connection)
    this.#parkJoin(member, event)
    const isAsBefore =
      this.#phase === 'Stable' &&
      this.#members.selectProtocol() === this.#protocol &&
      isSameWish(this.#protocolType, before, metadataOf(member, this.#protocol))
    if (!isAsBefore) return this.#rebalance(`static member ${member.instance ?? ''} has come back`)
    this.#store({ what: 'returned', generation: this.#generation, member, request }, this.#snapshotWith(undefined))
  }

  #update(member: Member, event: EventOf<'join'>): void {
    if (this.#members.size === 1) this.#protocolType = event.protocolType
    member.clientId = event.clientId
    member.host = event.host
    member.sessionTimeoutMs = event.sessionTimeoutMs
    member.rebalanceTimeoutMs = rebalanceTimeoutOf(event)
    member.protocols = event.protocols
  }

  #parkJoin(member: Member, { request, connection }: EventOf<'join'>): void {
    this.#answers.dropJoin(member, { error: 'REBALANCE_IN_PROGRESS', message: 'the member has joined again' })
    member.join = { request, connection }
  }

  #onSync(event: EventOf<'sync'>): void {
    const { request, connection } = event
    const found = this.#memberOf(event)
    if ('error' in found) return this.#answers.refuseSync(request, found)
    this.#hear(found, connection)
    if (this.#phase === 'PreparingRebalance') return this.#answers.refuseSync(request, REBALANCING)
    const { protocolType = this.#protocolType, protocol = this.#protocol } = event
    if (protocolType !== this.#protocolType || protocol !== this.#protocol) {
      const message = `the group shares out by ${this.#protocolType ?? ''} ${this.#protocol ?? ''}, not ${protocolType ?? ''} ${protocol ?? ''}`
      return this.#answers.refuseSync(request, { error: 'INCONSISTENT_GROUP_PROTOCOL', message })
    }
    found.isToSync = false
    if (this.#phase === 'Stable') return this.#answers.sync(request, this, found)
    this.#answers.dropSync(found, REBALANCING)
    found.sync = { request, connection }
    if (found === this.#members.leader && !this.#isSharingOut) this.#shareOut(event, found)
  }

  #shareOut({ assignments }: EventOf<'sync'>, leader: Member): void {
    const shares = new Map<string, Uint8Array>()
    let bytes = this.#members.bytesBesides(undefined)
    for (const { member, assignment } of assignments) {
      if (this.#members.get(member) === undefined) continue
      shares.set(member, assignment)
      bytes += assignment.length
    }
    const { bytesMax } = this.#options
    if (bytes > bytesMax) {
      const message = `what the members say and are given has ${bytes} bytes; a group has at most ${bytesMax}`
      // It has its share still to give: who never does is out in the end.
      leader.isToSync = true
      return this.#answers.dropSync(leader, { error: 'INVALID_REQUEST', message })
    }
    this.#isSharingOut = true
    this.#store({ what: 'assignment', generation: this.#generation, shares }, this.#snapshotWith(shares))
  }

  #onHeartbeat(event: EventOf<'heartbeat'>): void {
    const { request, connection, maxWaitMs } = event
    const found = this.#memberOf(event)
    if ('error' in found) return this.#answers.heartbeat(request, found)
    this.#hear(found, connection)
    if (this.#phase === 'PreparingRebalance') return this.#answers.heartbeat(request, REBALANCING)
    this.#answers.dropHeartbeat(found, undefined)
    const deadline = heartbeatDeadline(this.#now, Math.min(maxWaitMs, Math.floor(found.sessionTimeoutMs / 2)))
    if (deadline <= this.#now) return this.#answers.heartbeat(request, undefined)
    found.heartbeat = { request, connection, deadline }
    this.#due(deadline)
  }

  #onCommit(event: EventOf<'commit'>): void {
    const { request } = event
    const isNobodys = event.generation < 0 && event.member === '' && event.instance === undefined
    if (isNobodys && this.#phase === 'Empty') return this.#answers.commit(request, undefined)
    if (isNobodys && this.#phase !== 'Dead') {
      const message = 'the group has members: only they may commit'
      return this.#answers.commit(request, { error: 'UNKNOWN_MEMBER_ID', message })
    }
    const found = this.#memberOf(event)
    if ('error' in found) return this.#answers.commit(request, found)
    this.#hear(found, event.connection)
    const isBetween = this.#phase === 'CompletingRebalance'
    this.#answers.commit(request, isBetween ? REBALANCING : undefined)
  }

  #onLeave({ request, members }: EventOf<'leave'>): void {
    if (this.#phase === 'Dead') {
      this.#answers.effects.push({ kind: 'answer-leave', request, refusal: GONE, errors: [] })
      return
    }
    const out: string[] = []
    const errors = members.map(({ member: id, instance, reason }) => {
      if (instance === undefined && this.#members.pending.delete(id)) return undefined
      const byName = instance === undefined || id !== '' ? undefined : this.#members.ofInstance(instance)
      const found = byName ?? this.#members.speaker(id, instance)
      if ('error' in found) return found.error
      this.#remove(found, `it has left${because(reason)}`)
      out.push(found.id)
      return undefined
    })
    this.#answers.effects.push({ kind: 'answer-leave', request, refusal: undefined, errors })
    this.#afterRemoval(out)
  }

  /** What waits on it is answered to nobody: a member that is gone is not to count as one that has joined. */
  #onConnectionClosed(connection: number): void {
    const gone = { error: 'REBALANCE_IN_PROGRESS', message: 'the connection has closed' } as const
    const isOn = (parked: Parked | undefined): boolean => parked !== undefined && parked.connection === connection
    for (const member of this.#members.all()) {
      if (isOn(member.join)) this.#answers.dropJoin(member, gone)
      if (isOn(member.sync)) this.#answers.dropSync(member, gone)
      if (isOn(member.heartbeat)) this.#answers.dropHeartbeat(member, gone)
      if (member.connection !== connection) continue
      member.connection = (member.join ?? member.sync ?? member.heartbeat)?.connection
      // It waits on another one.
      if (member.connection !== undefined) continue
      // One with a name of its own is meant to come back without anybody noticing.
      if (member.instance === undefined) member.graceDeadline = this.#now + graceMsOf(member)
      this.#due(deadlineOf(member))
    }
    for (const pending of this.#members.pending.values()) {
      if (pending.connection !== connection) continue
      pending.deadline = Math.min(pending.deadline, this.#now + CONNECTION_GRACE_MS)
      this.#due(pending.deadline)
    }
  }

  #onStored({ store, error, message }: EventOf<'stored'>): void {
    const storing = this.#storing.get(store)
    if (storing === undefined) return
    this.#storing.delete(store)
    const refusal = error === undefined ? undefined : { error, message: message ?? error }
    switch (storing.what) {
      case 'assignment':
        return this.#onShared(storing, refusal)
      case 'returned':
        return this.#onReturnedStored(storing, refusal)
      case 'reserved':
        if (refusal === undefined) this.#reserved = Math.max(this.#reserved, storing.generation)
        this.#reserveAgainAt = refusal === undefined ? undefined : this.#now + RESERVE_RETRY_MS
        if (this.#reserveAgainAt !== undefined) this.#due(this.#reserveAgainAt)
        else this.#maybeEndRound()
        return
      case 'empty':
        return
      default:
        return assertNever(storing)
    }
  }

  #onShared({ generation, shares }: Extract<Storing, { what: 'assignment' }>, refusal: GroupRefusal | undefined): void {
    if (this.#phase !== 'CompletingRebalance' || generation !== this.#generation) return
    this.#isSharingOut = false
    if (refusal !== undefined) {
      for (const member of this.#members.all()) this.#answers.dropSync(member, refusal)
      return this.#rebalance('the assignment could not be written down')
    }
    this.#syncDeadline = Infinity
    this.#goTo('Stable')
    for (const member of this.#members.all()) {
      member.assignment = shares.get(member.id) ?? NOTHING
      const { sync } = member
      member.sync = undefined
      if (sync !== undefined) this.#answers.sync(sync.request, this, member)
    }
  }

  #onReturnedStored(storing: Extract<Storing, { what: 'returned' }>, refusal: GroupRefusal | undefined): void {
    const { member, request, generation } = storing
    // Another round has begun meanwhile: its join is one of that round.
    if (this.#phase !== 'Stable' || generation !== this.#generation || member.join?.request !== request) return
    member.join = undefined
    this.#hear(member, member.connection)
    if (refusal !== undefined) return this.#answers.refuseJoin(request, member.id, refusal)
    this.#answerJoin(member, request, true)
  }

  #onDelete(request: number): void {
    const isEmpty = this.#phase === 'Empty'
    const refusal = this.#phase === 'Dead' ? GONE : isEmpty ? undefined : NOT_EMPTY
    this.#answers.effects.push({ kind: 'answer-delete', request, refusal })
    if (isEmpty) this.#die()
  }

  #die(): void {
    this.#members.pending.clear()
    this.#nextDeadline = Infinity
    this.#goTo('Dead')
    const generation = generationToKeep(this.#generation, this.#options.leaderEpoch)
    this.#answers.effects.push({ kind: 'forget', wasStored: this.#wasStored, generation })
  }

  #onCoordinatorLost(): void {
    const moved = { error: 'NOT_COORDINATOR', message: 'the group is coordinated by another broker' } as const
    for (const member of this.#members.all()) this.#answers.dropAll(member, moved)
    this.#storing.clear()
    this.#nextDeadline = Infinity
    this.#goTo('Dead')
  }

  #onTick(): void {
    this.#nextDeadline = Infinity
    for (const { id, deadline } of this.#members.pending.values()) {
      if (deadline <= this.#now) this.#members.pending.delete(id)
    }
    const out: string[] = []
    for (const member of this.#members.all()) {
      const { heartbeat } = member
      if (heartbeat !== undefined && heartbeat.deadline <= this.#now) this.#answers.dropHeartbeat(member, undefined)
      if (deadlineOf(member) > this.#now) continue
      this.#remove(member, member.graceDeadline === undefined ? 'its session has timed out' : 'its connection is gone')
      out.push(member.id)
    }
    if (out.length > 0) this.#afterRemoval(out)
    else if (this.#phase === 'PreparingRebalance') this.#maybeEndRound()
    if (this.#phase === 'CompletingRebalance' && this.#syncDeadline <= this.#now) {
      this.#syncDeadline = Infinity
      this.#afterRemoval(this.#expel(({ isToSync }) => isToSync, 'it has not asked for its share in time'))
    }
    this.#findDeadlines()
  }

  #expel(isOut: (member: Member) => boolean, reason: string): string[] {
    const out = [...this.#members.all()].filter(isOut)
    for (const member of out) this.#remove(member, reason)
    return out.map(({ id }) => id)
  }

  #findDeadlines(): void {
    for (const { deadline } of this.#members.pending.values()) this.#due(deadline)
    for (const member of this.#members.all()) {
      this.#due(deadlineOf(member))
      if (member.heartbeat !== undefined) this.#due(member.heartbeat.deadline)
    }
    if (this.#phase === 'CompletingRebalance') this.#due(this.#syncDeadline)
    if (this.#phase !== 'PreparingRebalance') return
    // A generation that is being written down ends the round when it is.
    if (!this.#isReserving) this.#due(this.#reserveAgainAt ?? this.#round.due)
  }

  #afterRemoval(out: readonly string[]): void {
    if (out.length === 0) {
      // A pending member may have been the last that was waited for.
      if (this.#phase === 'PreparingRebalance') this.#maybeEndRound()
      return
    }
    const reason = out.length === 1 ? `member ${out[0] ?? ''} is out` : `${out.length} members are out`
    if (this.#phase === 'Stable' || this.#phase === 'CompletingRebalance') this.#rebalance(reason)
    else this.#maybeEndRound()
  }

  /** Begins a round unless one is under way; either way it may be over at once. */
  #rebalance(reason: string): void {
    if (this.#phase !== 'PreparingRebalance') {
      const wasEmpty = this.#phase === 'Empty'
      for (const member of this.#members.all()) {
        this.#answers.dropSync(member, REBALANCING)
        this.#answers.dropHeartbeat(member, REBALANCING)
        member.isToSync = false
      }
      this.#isSharingOut = false
      this.#syncDeadline = Infinity
      this.#goTo('PreparingRebalance')
      this.#answers.effects.push({ kind: 'rebalance-begun', reason })
      const delayMs = wasEmpty ? this.#options.initialRebalanceDelayMs : 0
      this.#round.begin(this.#now, this.#members.rebalanceTimeoutMsMax, delayMs)
      this.#due(this.#round.due)
    }
    this.#maybeEndRound()
  }

  #maybeEndRound(): void {
    if (this.#phase !== 'PreparingRebalance' || this.#isReserving) return
    if (this.#reserveAgainAt !== undefined && this.#reserveAgainAt > this.#now) return
    this.#reserveAgainAt = undefined
    const isHeld = this.#round.isHeld(this.#now, this.#members.sizeWithPending > 0)
    this.#due(this.#round.due)
    if (isHeld) return
    const isOver = this.#round.isOver(this.#now)
    const areAllIn = this.#members.hasAllJoined && this.#members.pending.size === 0
    if (!isOver && !areAllIn) return
    this.#expel(({ join, instance }) => join === undefined && instance === undefined, 'it has not joined in time')
    if (this.#members.size > 0 && !this.#members.hasAnyJoined) {
      // Static members that are away: nobody is there to share out.
      this.#round.extend(this.#now, this.#members.rebalanceTimeoutMsMax)
      return this.#due(this.#round.due)
    }
    const next = Math.max(this.#generation, this.#options.generationBase) + 1
    if (next > this.#reserved && isToBeReserved(next, this.#options)) return this.#reserve(next)
    this.#generation = next
    if (this.#members.size === 0) this.#endEmpty()
    else this.#endRound()
  }

  get #isReserving(): boolean {
    for (const { what } of this.#storing.values()) if (what === 'reserved') return true
    return false
  }

  /** Without members: whoever reads it knows that the generation is gone, and nobody is in it. */
  #reserve(generation: number): void {
    const none = { protocol: undefined, leader: undefined, members: [] }
    this.#store({ what: 'reserved', generation }, { protocolType: this.#protocolType, generation, ...none })
  }

  #endEmpty(): void {
    this.#protocol = undefined
    this.#goTo('Empty')
    this.#store({ what: 'empty' }, this.#snapshotWith(undefined))
  }

  #endRound(): void {
    this.#members.electJoined()
    this.#protocol = this.#members.selectProtocol()
    this.#goTo('CompletingRebalance')
    this.#syncDeadline = this.#now + this.#members.rebalanceTimeoutMsMax
    this.#due(this.#syncDeadline)
    for (const member of this.#members.all()) {
      member.assignment = NOTHING
      const { join } = member
      if (join === undefined) continue
      member.join = undefined
      member.isToSync = true
      this.#hear(member, member.connection)
      this.#answerJoin(member, join.request, false)
    }
  }

  /** `isBack`: it has come back to the share that it had. */
  #answerJoin(member: Member, request: number, isBack: boolean): void {
    const protocol = must(this.#protocol, 'a generation with members has a protocol')
    const isLeader = this.#members.leader === member
    this.#answers.join(request, {
      refusal: undefined,
      generation: this.#generation,
      protocolType: this.#protocolType,
      protocol,
      leader: this.#members.leader?.id ?? '',
      member: member.id,
      skipAssignment: isBack && isLeader,
      members: isLeader ? this.#members.joined(protocol) : [],
    })
  }

  #remove(member: Member, reason: string): void {
    this.#answers.dropAll(member, { error: 'UNKNOWN_MEMBER_ID', message: `the member is out: ${reason}` })
    this.#members.remove(member)
    this.#answers.effects.push({ kind: 'member-out', member: member.id, reason })
  }

  /** The member of the generation that speaks, or why it is not listened to. */
  #memberOf(event: { readonly member: string; readonly instance: string | undefined; readonly generation: number }) {
    if (this.#phase === 'Dead') return GONE
    const found = this.#members.speaker(event.member, event.instance)
    if ('error' in found || event.generation === this.#generation) return found
    const message = `the group is in generation ${this.#generation}, not ${event.generation}`
    return { error: 'ILLEGAL_GENERATION', message } as const
  }

  #hear(member: Member, connection: number | undefined): void {
    member.lastHeardAt = this.#now
    member.connection = connection
    member.graceDeadline = undefined
    this.#due(this.#now + member.sessionTimeoutMs)
  }

  #store(storing: Storing, snapshot: GroupSnapshot): void {
    this.#wasStored = true
    this.#stores += 1
    this.#storing.set(this.#stores, storing)
    this.#answers.effects.push({ kind: 'store', store: this.#stores, snapshot })
  }

  #goTo(phase: GroupPhase): void {
    if (this.#phase === phase) return
    this.#phase = phase
    this.#answers.effects.push({ kind: 'phase-changed', to: phase })
  }

  #due(at: number): void {
    if (at < this.#nextDeadline) this.#nextDeadline = at
  }

  #restore(snapshot: GroupSnapshot, now: number): void {
    const { protocol, leader } = snapshot
    this.#wasStored = true
    this.#generation = snapshot.generation
    this.#reserved = snapshot.generation
    this.#protocolType = snapshot.protocolType
    this.#protocol = protocol
    if (snapshot.members.length === 0 || protocol === undefined) return
    this.#phase = 'Stable'
    this.#members.restore(snapshot.members, protocol, leader, now)
    this.#findDeadlines()
  }
}
