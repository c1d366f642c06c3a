// Members of groups, and how far they have come. What members say to each other stays bytes.

import type { RequestOf as Question } from '../../../../shared/protocol/api.ts'
import type { AllRequests, AskedJoin } from '../../../requests/other-requests.ts'
import type { RequestOf, ResponseOf } from '../api.ts'
import { offsetCommit } from '../08-offset-commit.ts'
import { offsetFetch } from '../09-offset-fetch.ts'
import { joinGroup } from '../11-join-group.ts'
import { heartbeat } from '../12-heartbeat.ts'
import { leaveGroup } from '../13-leave-group.ts'
import { syncGroup } from '../14-sync-group.ts'
import { groupCode, kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { type AnyHandler, type Call, handler } from './handler.ts'

const NOTHING = new Uint8Array(0)
/** The first versions in which a client knows of these. */
const KNOWS_MEMBER_ID_REQUIRED = 4
const KNOWS_NO_PROTOCOL = 7
const KNOWS_SKIPPING = 9
const LEAVES_MANY = 3
const FETCHES_MANY = 8
/** Offsets in one answer, beyond which no other group is told of. */
const FETCHED_MAX = 250_000

export function groupHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [
    joinGroupHandler(requests),
    syncGroupHandler(requests),
    heartbeatHandler(requests),
    leaveGroupHandler(requests),
    offsetCommitHandler(requests),
    offsetFetchHandler(requests),
  ]
}

function joinGroupHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: joinGroup,
    answer: (request, call) => answerJoin(requests, request, call),
    refuse: ({ memberId }, { code }, { version }) => {
      const protocolName = version < KNOWS_NO_PROTOCOL ? '' : undefined
      return { errorCode: groupCode(code), protocolName, leader: '', memberId, members: [] }
    },
  })
}

function syncGroupHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: syncGroup,
    async answer(request, { context }) {
      const { groupId, memberId, groupInstanceId, generationId, protocolType, protocolName, assignments } = request
      const who = { group: groupId, member: memberId, instance: groupInstanceId, generation: generationId }
      const what = { protocolType, protocol: protocolName, assignments: assignments.map(shareOf) }
      const { error, protocol, ...rest } = await requests.ask('syncGroup', { ...who, ...what }, context)
      const answer = { errorCode: kafkaCodeOf(error), assignment: rest.assignment }
      return { ...answer, protocolType: rest.protocolType, protocolName: protocol }
    },
    refuse: (_request, { code }) => ({ errorCode: groupCode(code), assignment: NOTHING }),
  })
}

function heartbeatHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: heartbeat,
    async answer(
      { groupId: group, memberId: member, groupInstanceId: instance, generationId: generation },
      { context },
    ) {
      const beat = { group, member, instance, generation, maxWaitMs: 0 }
      const { error } = await requests.ask('heartbeat', beat, context)
      return { errorCode: kafkaCodeOf(error) }
    },
    refuse: (_request, { code }) => ({ errorCode: groupCode(code) }),
  })
}

function leaveGroupHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: leaveGroup,
    async answer({ groupId: group, memberId, members: some }, { version, context }) {
      const one = { memberId, groupInstanceId: undefined, reason: undefined }
      const leaving = version < LEAVES_MANY ? [one] : some
      const members = leaving.map(({ memberId: member, groupInstanceId: instance, reason }) => {
        return { member, instance, reason }
      })
      const left = await requests.ask('leaveGroup', { group, members }, context)
      const errorCode = kafkaCodeOf(left.error)
      const codes = leaving.map((_, index) => kafkaCodeOf(left.members[index]?.error ?? 0))
      if (version < LEAVES_MANY) return { errorCode: errorCode === 0 ? (codes[0] ?? 0) : errorCode }
      const each = leaving.map(({ memberId: member, groupInstanceId }, index) => {
        return { memberId: member, groupInstanceId, errorCode: codes[index] ?? 0 }
      })
      return { errorCode, members: errorCode === 0 ? each : [] }
    },
    refuse: (_request, { code }) => ({ errorCode: groupCode(code) }),
  })
}

function offsetCommitHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: offsetCommit,
    answer: (request, call) => answerCommit(requests, request, call),
    refuse: ({ topics }, { code }) => ({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: groupCode(code) })),
      })),
    }),
  })
}

function offsetFetchHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: offsetFetch,
    isLong: true,
    async answer(request, { version, context }) {
      const { groupId, topics, groups } = request
      const asked = version < FETCHES_MANY ? [{ groupId, topics }] : groups
      const found: FetchedGroup[] = []
      let left = FETCHED_MAX
      for (const one of asked) {
        const group = left > 0 ? await fetchOffsets(requests, one, context) : noRoomFor(one)
        for (const { partitions } of group.topics) left -= partitions.length
        found.push(group)
      }
      const [only] = found
      if (version >= FETCHES_MANY || only === undefined) return { groups: found }
      return { topics: withErrors(only, version), errorCode: only.errorCode }
    },
    refuse: ({ groups }, { code }, { version }) => {
      const errorCode = groupCode(code)
      if (version < FETCHES_MANY) return { errorCode }
      return { groups: groups.map(({ groupId }) => ({ groupId, topics: [], errorCode })) }
    },
  })
}

async function answerJoin(
  requests: AllRequests,
  request: RequestOf<typeof joinGroup>,
  { version, context }: Call,
): Promise<ResponseOf<typeof joinGroup>> {
  const { groupId, memberId, groupInstanceId, protocolType, protocols } = request
  const { sessionTimeoutMs, rebalanceTimeoutMs, reason } = request
  const who = { group: groupId, member: memberId, instance: groupInstanceId }
  const how = { protocolType, protocols: protocols.slice(), sessionTimeoutMs, rebalanceTimeoutMs, reason }
  const join: Question<'joinGroup'> & AskedJoin = { ...who, ...how, needsNoId: version < KNOWS_MEMBER_ID_REQUIRED }
  const joined = await requests.ask('joinGroup', join, context)
  const { error, generation, protocol, leader, member, skipAssignment, members } = joined
  // A leader that does not know that it may skip its work must not take itself for the leader.
  const isTold = skipAssignment && version < KNOWS_SKIPPING
  return {
    errorCode: kafkaCodeOf(error),
    generationId: generation,
    protocolType: joined.protocolType,
    protocolName: protocol ?? (version < KNOWS_NO_PROTOCOL ? '' : undefined),
    leader: isTold ? '' : leader,
    skipAssignment: skipAssignment && !isTold,
    memberId: member,
    members: isTold
      ? []
      : members.map((one) => ({ memberId: one.member, groupInstanceId: one.instance, metadata: one.metadata })),
  }
}

function shareOf({ memberId, assignment }: { readonly memberId: string; readonly assignment: Uint8Array }) {
  return { member: memberId, assignment }
}

async function answerCommit(
  requests: AllRequests,
  request: RequestOf<typeof offsetCommit>,
  { context }: Call,
): Promise<ResponseOf<typeof offsetCommit>> {
  const { groupId, memberId, groupInstanceId, generationIdOrMemberEpoch: generation, topics } = request
  const asked = topics.flatMap(({ name, partitions }) => partitions.map((part) => ({ ...part, topic: name })))
  const legal = asked.filter(({ partitionIndex, committedOffset }) => partitionIndex >= 0 && committedOffset >= 0)
  const partitions = legal.map((part) => ({
    topic: part.topic,
    partition: part.partitionIndex,
    offset: part.committedOffset,
    leaderEpoch: part.committedLeaderEpoch < 0 ? undefined : part.committedLeaderEpoch,
    metadata: part.committedMetadata ?? '',
  }))
  const who = { group: groupId, member: memberId, instance: groupInstanceId, generation }
  const committed = await requests.ask('commitOffsets', { ...who, partitions }, context)
  const codes = new Map(legal.map((part, index) => [part, kafkaCodeOf(committed.partitions[index]?.error ?? 0)]))
  let at = 0
  return {
    topics: topics.map(({ name, partitions: parts }) => ({
      name,
      partitions: parts.map(({ partitionIndex, committedOffset }) => {
        const part = asked[at++]
        const code = part === undefined ? undefined : codes.get(part)
        const whyNot = committedOffset < 0 ? 'OFFSET_OUT_OF_RANGE' : 'UNKNOWN_TOPIC_OR_PARTITION'
        return { partitionIndex, errorCode: code ?? kafkaCode(whyNot) }
      }),
    })),
  }
}

type FetchedGroup = NonNullable<ResponseOf<typeof offsetFetch>['groups']>[number]

async function fetchOffsets(
  requests: AllRequests,
  asked: Pick<RequestOf<typeof offsetFetch>, 'groupId' | 'topics'>,
  context: Call['context'],
): Promise<FetchedGroup> {
  const { groupId, topics } = asked
  const named = topics?.flatMap(({ name, partitionIndexes }) => {
    return partitionIndexes.map((partition) => ({ topic: name, partition }))
  })
  const found = await requests.ask('fetchOffsets', { group: groupId, partitions: named }, context)
  const byTopic = new Map<string, FetchedGroup['topics'][number]['partitions'][number][]>()
  // A group that is refused tells of no partition; who asked for some is told the error with each.
  const rows = found.error === 0 ? found.partitions : (named ?? []).map(notFound)
  for (const { topic, partition, offset = -1, leaderEpoch = -1, metadata } of rows) {
    const row = {
      partitionIndex: partition,
      committedOffset: offset,
      committedLeaderEpoch: leaderEpoch,
      metadata,
      errorCode: 0,
    }
    const known = byTopic.get(topic)
    if (known === undefined) byTopic.set(topic, [row])
    else known.push(row)
  }
  return {
    groupId,
    topics: [...byTopic].map(([name, partitions]) => ({ name, partitions })),
    errorCode: kafkaCodeOf(found.error),
  }
}

/** The same group may be asked for a hundred thousand times. */
function noRoomFor({ groupId }: { readonly groupId: string }): FetchedGroup {
  return { groupId, topics: [], errorCode: kafkaCode('INVALID_REQUEST') }
}

function notFound({ topic, partition }: { readonly topic: string; readonly partition: number }) {
  return { topic, partition, offset: undefined, leaderEpoch: undefined, metadata: '' }
}

/** Version 1 has no place for the error of the group as a whole. */
function withErrors({ topics, errorCode = 0 }: FetchedGroup, version: number): FetchedGroup['topics'] {
  if (version >= 2 || errorCode === 0) return topics
  return topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map((part) => ({ ...part, errorCode })),
  }))
}
