// What groups have committed, read at the source and committed at the target. Owns which groups are taken and that none is set
// back; what an offset of the source is at the target is told from outside.

import type { KafkaCluster } from './kafka-cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { offsetCommit } from '../protocols/kafka/08-offset-commit.ts'
import { offsetFetch } from '../protocols/kafka/09-offset-fetch.ts'
import { listGroups } from '../protocols/kafka/16-list-groups.ts'
import { checkCode } from './kafka-cluster.ts'

export interface CommittedOffset {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly metadata: string | undefined
}

export interface GroupOutcome {
  readonly group: string
  /** How many partitions were committed, and how many had gone on further at the target already. */
  readonly committed: number
  readonly ahead: number
  /** Why nothing was committed. */
  readonly refusal: string | undefined
}

/** The last versions with one group a request. */
const FETCH_VERSION_MAX = 7
const COMMIT_VERSION_MAX = 8
const LIST_VERSION_MAX = 4
/** What the groups of Kafka's consumers call themselves; a group that only commits has no type. */
const CONSUMERS: ReadonlySet<string> = new Set(['consumer', ''])
/** Nobody's generation: who commits is no member. */
const NO_GENERATION = -1

/** All groups of consumers. @throws TidemarkError */
export async function groupNames(cluster: KafkaCluster): Promise<readonly string[]> {
  const names = new Set<string>()
  for (const node of cluster.nodes) {
    const found = await cluster.persist('its groups', async () => {
      const answer = await cluster.askOnce(
        { node },
        listGroups,
        { statesFilter: [], typesFilter: [] },
        LIST_VERSION_MAX,
      )
      checkCode(answer.errorCode, 'its groups')
      return answer.groups
    })
    for (const { groupId, protocolType } of found) if (CONSUMERS.has(protocolType)) names.add(groupId)
  }
  return [...names].toSorted()
}

/** What the group has committed, in all topics. @throws TidemarkError */
export async function committedOffsets(cluster: KafkaCluster, group: string): Promise<readonly CommittedOffset[]> {
  const what = `what group ${group} has committed`
  return await cluster.persist(what, async () => {
    const question = { groupId: group, topics: undefined, groups: [], requireStable: false }
    const answer = await cluster.askOnce({ group }, offsetFetch, question, FETCH_VERSION_MAX)
    checkCode(answer.errorCode, what)
    return answer.topics.flatMap(({ name, partitions }) =>
      partitions.flatMap(({ partitionIndex, committedOffset, metadata, errorCode }) => {
        checkCode(errorCode, `${what}, ${name}-${partitionIndex}`)
        if (committedOffset < 0) return []
        return [{ topic: name, partition: partitionIndex, offset: committedOffset, metadata }]
      }),
    )
  })
}

/** Commits for a group that has no members at the target; what is further there already stays. */
export async function commitAtTarget(
  cluster: KafkaCluster,
  group: string,
  offsets: readonly CommittedOffset[],
): Promise<GroupOutcome> {
  try {
    const there = new Map((await committedOffsets(cluster, group)).map((one) => [nameOf(one), one.offset]))
    const behind = offsets.filter((one) => (there.get(nameOf(one)) ?? -1) < one.offset)
    const ahead = offsets.filter((one) => (there.get(nameOf(one)) ?? -1) > one.offset).length
    if (behind.length > 0) await commit(cluster, group, behind)
    return { group, committed: behind.length, ahead, refusal: undefined }
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    const refusal = MEMBERS.has(error.code) ? 'it has members at the target; stop them first' : error.message
    return { group, committed: 0, ahead: 0, refusal }
  }
}

const MEMBERS: ReadonlySet<string> = new Set([
  'UNKNOWN_MEMBER_ID',
  'ILLEGAL_GENERATION',
  'REBALANCE_IN_PROGRESS',
  'NON_EMPTY_GROUP',
])

async function commit(cluster: KafkaCluster, group: string, offsets: readonly CommittedOffset[]): Promise<void> {
  const topics = new Map<string, CommittedOffset[]>()
  for (const one of offsets) topics.set(one.topic, [...(topics.get(one.topic) ?? []), one])
  const question = {
    groupId: group,
    generationIdOrMemberEpoch: NO_GENERATION,
    memberId: '',
    topics: [...topics].map(([name, some]) => ({
      name,
      partitions: some.map(({ partition, offset, metadata }) => {
        return { partitionIndex: partition, committedOffset: offset, committedMetadata: metadata ?? '' }
      }),
    })),
  }
  await cluster.persist(`the commit of group ${group}`, async () => {
    const answer = await cluster.askOnce({ group }, offsetCommit, question, COMMIT_VERSION_MAX)
    for (const { name, partitions } of answer.topics) {
      for (const { partitionIndex, errorCode } of partitions) checkCode(errorCode, `${name}-${partitionIndex}`)
    }
  })
}

function nameOf({ topic, partition }: CommittedOffset): string {
  return `${topic}-${partition}`
}
