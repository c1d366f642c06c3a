// Consumer groups, as they are asked for: finds the group and puts the question to it. Owns the shape of the answers, and what
// a commit is checked for besides its group; whether a member is listened to is the group's own to say.

import type { ErrorCode } from '../../shared/errors.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { GroupCoordinator } from '../groups/group-coordinator.ts'
import type { GroupRefusal, JoinAnswer } from '../groups/group-events.ts'
import type { CommittedOffset } from '../groups/group-offsets.ts'
import type { GroupRequest, GroupRequests, RequestContext } from './requests.ts'
import type { AskedJoin } from './other-requests.ts'
import type { GroupServices, RequestServices } from './request-services.ts'
import type { TopicRequests } from './topics.ts'
import { ERRORS } from '../../shared/errors.ts'
import { GroupAdministration } from './groups-administration.ts'
import { GroupPlaces } from './groups-places.ts'
import { NO_ERROR, refused, type WireOutcome } from './outcome.ts'

const METADATA_BYTES_MAX = 4_096
/** Offsets in one answer. */
const FETCHED_MAX = 10_000
const NOTHING = new Uint8Array(0)

type CommittedPartition = RequestOf<'commitOffsets'>['partitions'][number]
type Handlers = {
  readonly [Name in GroupRequest]: (
    request: RequestOf<Name>,
    context: RequestContext,
  ) => ResponseOf<Name> | Promise<ResponseOf<Name>>
}

export class GroupHandlers implements GroupRequests {
  readonly #services: RequestServices
  readonly #groups: GroupCoordinator
  readonly #handlers: Handlers

  constructor(services: RequestServices, topics: TopicRequests, { groups, topic }: GroupServices) {
    this.#services = services
    this.#groups = groups
    const places = new GroupPlaces(services, topics, topic)
    const administration = new GroupAdministration(groups)
    this.#handlers = {
      findCoordinator: (request, context) => places.find(request, context),
      joinGroup: (request, context) => this.#join(request, context),
      syncGroup: (request, context) => this.#sync(request, context),
      heartbeat: (request, context) => this.#heartbeat(request, context),
      leaveGroup: (request) => this.#leave(request),
      commitOffsets: (request, context) => this.#commit(request, context),
      fetchOffsets: (request) => this.#fetch(request),
      listGroups: (request) => administration.list(request),
      describeGroups: (request) => administration.describe(request),
      deleteGroups: (request) => administration.delete(request),
      deleteOffsets: (request) => administration.deleteOffsets(request),
    }
  }

  async ask<Name extends GroupRequest>(
    name: Name,
    request: RequestOf<Name>,
    context: RequestContext,
  ): Promise<ResponseOf<Name>> {
    return this.#handlers[name](request, context)
  }

  onConnectionClosed(connectionId: number): void {
    this.#groups.onConnectionClosed(connectionId)
  }

  stop(): void {
    this.#groups.stop()
  }

  #join(request: RequestOf<'joinGroup'> & AskedJoin, context: RequestContext): Promise<ResponseOf<'joinGroup'>> {
    const { group: name, member, instance, protocolType, protocols } = request
    const { sessionTimeoutMs, rebalanceTimeoutMs, reason, needsNoId = false } = request
    const found = this.#groups.find(name)
    if (found.kind === 'refused') return Promise.resolve(refusedJoin(member, found.refusal))
    const { group } = found
    const { clientId, remote: host, connectionId: connection } = context
    const newMember = this.#groups.newMemberId(found.on, { instance, clientId })
    this.#groups.noteConnection(connection, group)
    return new Promise((resolve) => {
      const who = { member, instance, newMember, clientId, host, connection }
      const how = { protocolType, protocols: protocols.map(copied), sessionTimeoutMs, rebalanceTimeoutMs, reason }
      const habits = { needsNoId, isHeardByBeats: context.protocol === 'kafka' }
      group.ask({ kind: 'join', ...who, ...how, ...habits }, 'answer-join', ({ answer }) => resolve(joined(answer)))
    })
  }

  #sync(request: RequestOf<'syncGroup'>, context: RequestContext): Promise<ResponseOf<'syncGroup'>> {
    const { group: name, member, instance, generation, protocolType, protocol } = request
    const found = this.#groups.find(name)
    if (found.kind === 'refused') {
      const nothing = { protocolType: undefined, protocol: undefined, assignment: NOTHING }
      return Promise.resolve({ ...outcomeOf(found.refusal), ...nothing })
    }
    const { group } = found
    const { connectionId: connection } = context
    const assignments = request.assignments.map((one) => ({ member: one.member, assignment: copyOf(one.assignment) }))
    this.#groups.noteConnection(connection, group)
    return new Promise((resolve) => {
      const who = { member, instance, generation, connection }
      group.ask({ kind: 'sync', ...who, protocolType, protocol, assignments }, 'answer-sync', ({ answer }) => {
        const { refusal, ...rest } = answer
        resolve({ ...outcomeOf(refusal), ...rest })
      })
    })
  }

  #heartbeat(request: RequestOf<'heartbeat'>, context: RequestContext): Promise<ResponseOf<'heartbeat'>> {
    const { group: name, member, instance, generation, maxWaitMs } = request
    const found = this.#groups.find(name)
    if (found.kind === 'refused') return Promise.resolve(outcomeOf(found.refusal))
    const { group } = found
    const { connectionId: connection } = context
    this.#groups.noteConnection(connection, group)
    return new Promise((resolve) => {
      const event = { kind: 'heartbeat', member, instance, generation, maxWaitMs, connection } as const
      group.ask(event, 'answer-heartbeat', ({ refusal }) => resolve(outcomeOf(refusal)))
    })
  }

  #leave({ group: name, members }: RequestOf<'leaveGroup'>): Promise<ResponseOf<'leaveGroup'>> {
    const found = this.#groups.find(name)
    if (found.kind === 'refused') return Promise.resolve({ ...outcomeOf(found.refusal), members: [] })
    return new Promise((resolve) => {
      found.group.ask({ kind: 'leave', members }, 'answer-leave', ({ refusal, errors }) => {
        const each = errors.map((error, index) => ({ member: members[index]?.member ?? '', error: numberOf(error) }))
        resolve({ ...outcomeOf(refusal), members: each })
      })
    })
  }

  #commit(request: RequestOf<'commitOffsets'>, context: RequestContext): Promise<ResponseOf<'commitOffsets'>> {
    const { group: name, member, instance, generation, partitions } = request
    const refuseAll = (refusal: GroupRefusal): ResponseOf<'commitOffsets'> => {
      return { partitions: partitions.map(() => outcomeOf(refusal)) }
    }
    const found = this.#groups.find(name)
    if (found.kind === 'refused') return Promise.resolve(refuseAll(found.refusal))
    const { group } = found
    const { connectionId: connection } = context
    return new Promise((resolve) => {
      group.ask({ kind: 'commit', member, instance, generation, connection }, 'answer-commit', ({ refusal }) => {
        if (refusal !== undefined) return resolve(refuseAll(refusal))
        if (member !== '') this.#groups.noteConnection(connection, group)
        const outcomes = partitions.map((one) => this.#whyNotCommit(one))
        const commits = partitions.filter((_, index) => outcomes[index] === undefined)
        const answer = (failure: GroupRefusal | undefined): void => {
          resolve({ partitions: outcomes.map((outcome) => outcome ?? outcomeOf(failure)) })
        }
        if (commits.length === 0) return answer(undefined)
        const committedAt = this.#services.clock.now()
        group.commit(
          commits.map(({ topic, partition, offset, leaderEpoch, metadata }) => {
            const committed: CommittedOffset = { offset, leaderEpoch, metadata, committedAt, expiresAt: undefined }
            return { topic, partition, committed }
          }),
          answer,
        )
      })
    })
  }

  #whyNotCommit({ topic: name, partition, metadata }: CommittedPartition): WireOutcome | undefined {
    const topic = this.#services.coordinator.topics.byName(name)
    if (topic === undefined) return refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${name.slice(0, 300)}`)
    if (partition >= topic.partitions) {
      const text = `topic ${name} has ${topic.partitions} partitions, and partition ${partition} is none of them`
      return refused('UNKNOWN_TOPIC_OR_PARTITION', text)
    }
    const bytes = Buffer.byteLength(metadata)
    if (bytes <= METADATA_BYTES_MAX) return undefined
    const text = `the text that goes with the offset of ${name}-${partition} has ${bytes} bytes, at most ${METADATA_BYTES_MAX} are kept`
    return refused('OFFSET_METADATA_TOO_LARGE', text)
  }

  #fetch(request: RequestOf<'fetchOffsets'>): ResponseOf<'fetchOffsets'> {
    const group = this.#groups.findKnown(request.group)
    if (group !== undefined && 'error' in group) return { ...outcomeOf(group), partitions: [] }
    const { count } = group?.offsets ?? { count: 0 }
    if (request.partitions === undefined && count > FETCHED_MAX) {
      const text = `the group has ${count} offsets, which is more than an answer holds: ask for partitions by name`
      return { ...refused('INVALID_REQUEST', text), partitions: [] }
    }
    const keys = request.partitions ?? group?.offsets.keys() ?? []
    const partitions = keys.map(({ topic, partition }) => {
      const committed = group?.offsets.get(topic, partition)
      const { offset, leaderEpoch, metadata = '', committedAt } = committed ?? {}
      return { topic, partition, offset, leaderEpoch, metadata, committedAt }
    })
    if (request.partitions !== undefined) return { ...NO_ERROR, partitions }
    return { ...NO_ERROR, partitions: partitions.filter(({ offset }) => offset !== undefined) }
  }
}

/** The message lies in memory that is used again. */
function copied({ name, metadata }: { readonly name: string; readonly metadata: Uint8Array }) {
  return { name, metadata: copyOf(metadata) }
}

/** A slice of a Buffer would be the same memory. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes)
}

function joined({ refusal, ...rest }: JoinAnswer): ResponseOf<'joinGroup'> {
  return { ...outcomeOf(refusal), ...rest }
}

function refusedJoin(member: string, refusal: GroupRefusal): ResponseOf<'joinGroup'> {
  const nothing = { protocolType: undefined, protocol: undefined, leader: '', skipAssignment: false, members: [] }
  return { ...outcomeOf(refusal), generation: -1, member, ...nothing }
}

function outcomeOf(refusal: GroupRefusal | undefined): WireOutcome {
  return refusal === undefined ? NO_ERROR : refused(refusal.error, refusal.message)
}

function numberOf(error: ErrorCode | undefined): number {
  return error === undefined ? 0 : ERRORS[error].number
}
