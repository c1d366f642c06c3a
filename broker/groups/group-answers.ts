// The answers of a group to its members, and the requests that wait for one. Owns that a request that waits is answered when
// it is let go of, and the words of refusals; decides nothing. The effects of one step at a time.

import type { GroupEffect, GroupRefusal, JoinAnswer } from './group-events.ts'
import type { Member } from './group-members.ts'

export const GONE: GroupRefusal = {
  error: 'COORDINATOR_NOT_AVAILABLE',
  message: 'the group has just been given up; ask again',
}
export const NOT_EMPTY: GroupRefusal = { error: 'NON_EMPTY_GROUP', message: 'the group has members' }
export const REBALANCING: GroupRefusal = {
  error: 'REBALANCE_IN_PROGRESS',
  message: 'the group is rebalancing: join again',
}
const NOTHING = new Uint8Array(0)

export class GroupAnswers {
  effects: GroupEffect[] = []

  join(request: number, answer: JoinAnswer): void {
    this.effects.push({ kind: 'answer-join', request, answer })
  }

  refuseJoin(request: number, member: string, refusal: GroupRefusal): void {
    const nothing = { generation: -1, protocolType: undefined, protocol: undefined, leader: '', members: [] }
    this.join(request, { refusal, member, skipAssignment: false, ...nothing })
  }

  sync(request: number, of: { protocolType: string | undefined; protocol: string | undefined }, to: Member): void {
    const { protocolType, protocol } = of
    const answer = { refusal: undefined, protocolType, protocol, assignment: to.assignment }
    this.effects.push({ kind: 'answer-sync', request, answer })
  }

  refuseSync(request: number, refusal: GroupRefusal): void {
    const answer = { refusal, protocolType: undefined, protocol: undefined, assignment: NOTHING }
    this.effects.push({ kind: 'answer-sync', request, answer })
  }

  heartbeat(request: number, refusal: GroupRefusal | undefined): void {
    this.effects.push({ kind: 'answer-heartbeat', request, refusal })
  }

  commit(request: number, refusal: GroupRefusal | undefined): void {
    this.effects.push({ kind: 'answer-commit', request, refusal })
  }

  dropJoin(member: Member, refusal: GroupRefusal): void {
    const { join } = member
    member.join = undefined
    if (join !== undefined) this.refuseJoin(join.request, member.id, refusal)
  }

  dropSync(member: Member, refusal: GroupRefusal): void {
    const { sync } = member
    member.sync = undefined
    if (sync !== undefined) this.refuseSync(sync.request, refusal)
  }

  dropHeartbeat(member: Member, refusal: GroupRefusal | undefined): void {
    const { heartbeat } = member
    member.heartbeat = undefined
    if (heartbeat !== undefined) this.heartbeat(heartbeat.request, refusal)
  }

  dropAll(member: Member, refusal: GroupRefusal): void {
    this.dropJoin(member, refusal)
    this.dropSync(member, refusal)
    this.dropHeartbeat(member, refusal)
  }
}
