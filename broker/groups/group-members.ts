// Who is in a group, and who is about to be: members, the names of static ones, ids that have been given out and not come
// back yet. Owns whom the group has in common a way of sharing out with, and who its leader is. Pure; knows no phase.
//
// Invariants: a static name belongs to one member; the leader is a member.

import type { GroupRefusal, JoinedMember, MemberProtocol, StoredMember } from './group-events.ts'
import { isLaterId } from './member-id.ts'
import { assert } from '../../shared/assert.ts'

/** A request that waits for its answer. */
export interface Parked {
  readonly request: number
  readonly connection: number | undefined
}

export interface ParkedHeartbeat extends Parked {
  readonly deadline: number
}

const NOTHING = new Uint8Array(0)
/** Lengths and numbers of a member in its record. */
const MEMBER_BYTES = 32

export interface Member {
  id: string
  readonly instance: string | undefined
  clientId: string
  host: string
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  protocols: readonly MemberProtocol[]
  assignment: Uint8Array
  /** Whether it says nothing but its heartbeats, on a connection of its own. */
  isHeardByBeats: boolean
  /** Where it was heard last; undefined if nobody knows. */
  connection: number | undefined
  lastHeardAt: number
  /** Its connection has closed: up to when another may come. */
  graceDeadline: number | undefined
  join: Parked | undefined
  sync: Parked | undefined
  heartbeat: ParkedHeartbeat | undefined
  /** It has been told of the generation, and has not asked for its share. */
  isToSync: boolean
}

/** What of a group is being written down, and for what. */
export type Storing =
  | { readonly what: 'assignment'; readonly generation: number; readonly shares: ReadonlyMap<string, Uint8Array> }
  | { readonly what: 'returned'; readonly generation: number; readonly member: Member; readonly request: number }
  | { readonly what: 'reserved'; readonly generation: number }
  | { readonly what: 'empty' }

type MemberFacts = Pick<
  Member,
  'id' | 'instance' | 'clientId' | 'host' | 'sessionTimeoutMs' | 'rebalanceTimeoutMs' | 'protocols'
>

/** One that has just been heard, and waits for nothing. */
export function memberFrom(facts: MemberFacts, now: number): Member {
  return {
    ...facts,
    assignment: NOTHING,
    isHeardByBeats: false,
    connection: undefined,
    lastHeardAt: now,
    graceDeadline: undefined,
    join: undefined,
    sync: undefined,
    heartbeat: undefined,
    isToSync: false,
  }
}

/** An id that was given out. */
export interface PendingMember {
  readonly id: string
  readonly connection: number | undefined
  deadline: number
}

export class GroupMembers {
  readonly #members = new Map<string, Member>()
  readonly #instances = new Map<string, Member>()
  readonly pending = new Map<string, PendingMember>()
  #leader: Member | undefined

  get size(): number {
    return this.#members.size
  }

  /** Those that there are, and those that may come with an id that they were given. */
  get sizeWithPending(): number {
    return this.#members.size + this.pending.size
  }

  get leader(): Member | undefined {
    return this.#leader
  }

  all(): IterableIterator<Member> {
    return this.#members.values()
  }

  get(id: string): Member | undefined {
    return this.#members.get(id)
  }

  ofInstance(instance: string): Member | undefined {
    return this.#instances.get(instance)
  }

  /** The member that speaks, or why it is not listened to. */
  speaker(id: string, instance: string | undefined): Member | GroupRefusal {
    const known = instance === undefined ? undefined : this.#instances.get(instance)
    if (known !== undefined && known.id !== id) {
      // What an earlier coordinator had told it was not written down: the member that is known is the one before it.
      if (isLaterId(id, known.id)) {
        const message = `'${id}' has come in as '${instance ?? ''}' and is not known: it is to come in again`
        return { error: 'UNKNOWN_MEMBER_ID', message }
      }
      const message = `another member has come in as '${instance ?? ''}': its id is not '${id}'`
      return { error: 'FENCED_INSTANCE_ID', message }
    }
    const member = this.#members.get(id)
    if (member === undefined || member.instance !== instance) {
      // Some clients leave the name out once they have an id.
      if (member !== undefined && instance === undefined) return member
      return { error: 'UNKNOWN_MEMBER_ID', message: `the group has no member '${id}'` }
    }
    return member
  }

  add(member: Member): void {
    assert(!this.#members.has(member.id), 'a member comes in once')
    this.#members.set(member.id, member)
    if (member.instance !== undefined) {
      assert(!this.#instances.has(member.instance), 'a static name belongs to one member')
      this.#instances.set(member.instance, member)
    }
    this.#leader ??= member
  }

  remove(member: Member): void {
    this.#members.delete(member.id)
    if (member.instance !== undefined) this.#instances.delete(member.instance)
    if (this.#leader === member) this.#leader = this.#nextLeader()
  }

  /** A static member has come back, and goes by another id from now on. It keeps its place. */
  rename(member: Member, id: string): void {
    const members = [...this.#members.values()]
    member.id = id
    this.#members.clear()
    for (const one of members) this.#members.set(one.id, one)
  }

  /** A leader that has not come into the round cannot share out. */
  electJoined(): void {
    if (this.#leader?.join === undefined) this.#leader = this.#nextLeader()
  }

  #nextLeader(): Member | undefined {
    let first: Member | undefined
    for (const member of this.#members.values()) {
      if (member.join !== undefined) return member
      first ??= member
    }
    return first
  }

  get hasAllJoined(): boolean {
    for (const { join } of this.#members.values()) if (join === undefined) return false
    return true
  }

  get hasAnyJoined(): boolean {
    for (const { join } of this.#members.values()) if (join !== undefined) return true
    return false
  }

  /** The longest that any of them may take to come back. */
  get rebalanceTimeoutMsMax(): number {
    let longest = 0
    for (const { rebalanceTimeoutMs } of this.#members.values()) longest = Math.max(longest, rebalanceTimeoutMs)
    return longest
  }

  /** Bytes that the members have said and been given, but for one of them. */
  bytesBesides(besides: Member | undefined): number {
    let total = 0
    for (const member of this.#members.values()) if (member !== besides) total += bytesOfMember(member)
    return total
  }

  /** Whether one of the protocols is known to all members, but for the one that says so. */
  hasCommon(protocols: readonly MemberProtocol[], besides: Member | undefined): boolean {
    return protocols.some(({ name }) => this.#isCommon(name, besides))
  }

  #isCommon(name: string, besides: Member | undefined): boolean {
    for (const member of this.#members.values()) {
      if (member !== besides && !member.protocols.some((one) => one.name === name)) return false
    }
    return true
  }

  /** What most members prefer among what all know; among equals, what the leader prefers. */
  selectProtocol(): string {
    const leader = this.#leader
    assert(leader !== undefined, 'who shares out is a member')
    const votes = new Map<string, number>()
    for (const { name } of leader.protocols) if (this.#isCommon(name, undefined)) votes.set(name, 0)
    for (const { protocols } of this.#members.values()) {
      const vote = protocols.find(({ name }) => votes.has(name))
      if (vote !== undefined) votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1)
    }
    let selected: string | undefined
    for (const [name, count] of votes) {
      if (selected === undefined || count > (votes.get(selected) ?? 0)) selected = name
    }
    assert(selected !== undefined, 'members of a group have a protocol in common')
    return selected
  }

  /** As they are written down: with what they have, or with these shares. */
  toStore(protocol: string | undefined, shares: ReadonlyMap<string, Uint8Array> | undefined): StoredMember[] {
    return [...this.#members.values()].map((member) => ({
      member: member.id,
      instance: member.instance,
      clientId: member.clientId,
      host: member.host,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      sessionTimeoutMs: member.sessionTimeoutMs,
      subscription: metadataOf(member, protocol),
      assignment: shares === undefined ? member.assignment : (shares.get(member.id) ?? NOTHING),
    }))
  }

  restore(stored: readonly StoredMember[], protocol: string, leader: string | undefined, now: number): void {
    for (const { member: id, subscription, assignment, ...rest } of stored) {
      const isThere = this.#members.has(id) || (rest.instance !== undefined && this.#instances.has(rest.instance))
      if (isThere) continue
      const member = memberFrom({ ...rest, id, protocols: [{ name: protocol, metadata: subscription }] }, now)
      member.assignment = assignment
      this.add(member)
    }
    this.#leader = (leader === undefined ? undefined : this.#members.get(leader)) ?? this.#nextLeader()
  }

  /** For who shares out. */
  joined(protocol: string): JoinedMember[] {
    return [...this.#members.values()].map((member) => {
      return { member: member.id, instance: member.instance, metadata: metadataOf(member, protocol) }
    })
  }
}

export function metadataOf({ protocols }: Pick<Member, 'protocols'>, protocol: string | undefined): Uint8Array {
  return protocols.find(({ name }) => name === protocol)?.metadata ?? NOTHING
}

/** What it takes to write the member down, but for its share. */
export function bytesOfMember(
  member: Pick<Member, 'clientId' | 'host' | 'instance' | 'protocols'> & { readonly newMember?: string; id?: string },
): number {
  const { clientId, host, instance = '', protocols, id = member.newMember ?? '' } = member
  let total = MEMBER_BYTES + id.length + instance.length + clientId.length + host.length
  for (const { name, metadata } of protocols) total += name.length + metadata.length
  return total
}

/** In the same order, with the same bytes. */
export function isSameProtocols(one: readonly MemberProtocol[], other: readonly MemberProtocol[]): boolean {
  if (one.length !== other.length) return false
  return one.every(({ name, metadata }, index) => {
    const same = other[index]
    return same !== undefined && same.name === name && isSameBytes(same.metadata, metadata)
  })
}

export function isSameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}

/** While a join or a sync waits, the member lives as long as the connection does; the round has its own end. */
export function deadlineOf({ join, sync, graceDeadline = Infinity, lastHeardAt, sessionTimeoutMs }: Member): number {
  if (join !== undefined || sync !== undefined) return graceDeadline
  return Math.min(graceDeadline, lastHeardAt + sessionTimeoutMs)
}
