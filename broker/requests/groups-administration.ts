// Groups, for people and tools: which there are, what they are doing, and forgetting them. Owns the bounds on what one answer
// holds; changes nothing that a group would refuse.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { GroupCoordinator } from '../groups/group-coordinator.ts'
import type { GroupRefusal } from '../groups/group-events.ts'
import type { Group } from '../groups/group.ts'
import { metadataOf } from '../groups/group-members.ts'
import { NO_ERROR, refused, type WireOutcome } from './outcome.ts'

type DescribedGroup = ResponseOf<'describeGroups'>['groups'][number]
type DescribedMember = DescribedGroup['members'][number]
type DeletedGroup = ResponseOf<'deleteGroups'>['groups'][number]

const LISTED_MAX = 100_000
/** What all groups of one answer say of their members. */
const DESCRIBED_MEMBERS_MAX = 20_000
const DESCRIBED_BYTES_MAX = 32 * 1024 * 1024

export class GroupAdministration {
  readonly #groups: GroupCoordinator

  constructor(groups: GroupCoordinator) {
    this.#groups = groups
  }

  list({ states }: RequestOf<'listGroups'>): ResponseOf<'listGroups'> {
    const wanted = new Set(states.map((state) => state.toLowerCase()))
    const groups: ResponseOf<'listGroups'>['groups'][number][] = []
    let isCut = false
    for (const { name, phase, state } of this.#groups.groups()) {
      if (wanted.size > 0 && !wanted.has(phase.toLowerCase())) continue
      isCut = groups.length >= LISTED_MAX
      if (isCut) break
      groups.push({ group: name, protocolType: state.protocolType ?? '', state: phase, members: state.memberCount })
    }
    return { groups, isCut, loading: this.#groups.loading }
  }

  describe({ groups }: RequestOf<'describeGroups'>): ResponseOf<'describeGroups'> {
    const room = { members: DESCRIBED_MEMBERS_MAX, bytes: DESCRIBED_BYTES_MAX }
    return { groups: groups.map((name) => this.#describe(name, room)) }
  }

  #describe(name: string, room: { members: number; bytes: number }): DescribedGroup {
    const group = this.#groups.findKnown(name)
    if (group === undefined) return nothingOf(name, NO_ERROR)
    if ('error' in group) return nothingOf(name, refused(group.error, group.message))
    const { state } = group
    const now = this.#groups.clock.monotonic()
    const members: DescribedMember[] = [...state.members()].map((member) => ({
      member: member.id,
      instance: member.instance,
      clientId: member.clientId,
      host: member.host,
      sessionTimeoutMs: member.sessionTimeoutMs,
      silentMs: Math.max(0, Math.floor(now - member.lastHeardAt)),
      metadata: metadataOf(member, state.protocol),
      assignment: member.assignment,
    }))
    room.members -= members.length
    for (const { metadata, assignment } of members) room.bytes -= metadata.length + assignment.length
    if (room.members < 0 || room.bytes < 0) {
      return nothingOf(
        name,
        refused('BROKER_OVERLOADED', 'the answer has no room for it: ask for fewer groups at once'),
      )
    }
    return {
      ...NO_ERROR,
      group: name,
      state: group.phase,
      protocolType: state.protocolType ?? '',
      protocol: state.protocol ?? '',
      generation: state.generation,
      leader: state.leader ?? '',
      stateSince: group.stateSince,
      members,
    }
  }

  async delete({ groups }: RequestOf<'deleteGroups'>): Promise<ResponseOf<'deleteGroups'>> {
    return { groups: await Promise.all(groups.map((name) => this.#delete(name))) }
  }

  async #delete(name: string): Promise<DeletedGroup> {
    const group = this.#groups.findKnown(name)
    if (group === undefined) return { group: name, ...refused('GROUP_ID_NOT_FOUND', `there is no group ${name}`) }
    if ('error' in group) return { group: name, ...refused(group.error, group.message) }
    const refusal = await group.delete()
    return { group: name, ...outcomeOf(refusal) }
  }

  async deleteOffsets(request: RequestOf<'deleteOffsets'>): Promise<ResponseOf<'deleteOffsets'>> {
    const { group: name, partitions } = request
    const group = this.#groups.findKnown(name)
    const none = { partitions: [] }
    if (group === undefined) return { ...refused('GROUP_ID_NOT_FOUND', `there is no group ${name}`), ...none }
    if ('error' in group) return { ...refused(group.error, group.message), ...none }
    const subscribed = subscriptionOf(group)
    if (subscribed === undefined) return { ...refused('NON_EMPTY_GROUP', 'the group has members'), ...none }
    const isSubscribed = ({ topic }: { readonly topic: string }): boolean => subscribed.has(topic)
    const forgotten = partitions.filter((key) => !isSubscribed(key))
    const refusal = await new Promise<GroupRefusal | undefined>((resolve) => {
      if (forgotten.length === 0) resolve(undefined)
      else group.forget(forgotten, resolve)
    })
    const outcomes = partitions.map((key): WireOutcome => {
      if (!isSubscribed(key)) return outcomeOf(refusal)
      return refused('GROUP_SUBSCRIBED_TO_TOPIC', `members of the group are subscribed to ${key.topic}`)
    })
    return { ...NO_ERROR, partitions: outcomes }
  }
}

/** The topics whose offsets must stay; undefined where members may be using any of them. */
function subscriptionOf(group: Group): ReadonlySet<string> | undefined {
  return group.phase === 'Empty' ? new Set() : group.subscribedTopics()
}

/** As Kafka tells of a group that it does not know. */
function nothingOf(group: string, outcome: WireOutcome): DescribedGroup {
  const nothing = { protocolType: '', protocol: '', generation: 0, leader: '', stateSince: 0, members: [] }
  return { ...outcome, group, state: 'Dead', ...nothing }
}

function outcomeOf(refusal: GroupRefusal | undefined): WireOutcome {
  return refusal === undefined ? NO_ERROR : refused(refusal.error, refusal.message)
}
