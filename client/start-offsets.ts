// Where the partitions that came in begin: where the group has committed, else at an end. Owns the questions; who
// asks decides when to ask again.

import type { TidemarkError } from '../shared/errors.ts'
import type { RequestOf } from '../shared/protocol/api.ts'
import type { Cluster } from './cluster.ts'
import { errorFromWire, toTidemarkError } from './errors.ts'
import type { GroupMembership } from './group-membership.ts'
import { resolvePositions } from './offsets.ts'
import type { ParsedPosition } from './read-position.ts'
import type { Scope } from './scope.ts'
import { type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'

export interface StartOffset {
  readonly offset: number
  /** Whether the group has committed it. */
  readonly isCommitted: boolean
}

export interface StartRules {
  readonly groupId: string
  /** Whether a partition without a committed offset begins at its first record. */
  fromBeginning(of: TopicPartition): boolean
}

export interface StartQuestion {
  readonly partitions: readonly TopicPartition[]
  readonly rules: StartRules
  readonly onFailure: (topic: string, error: TidemarkError) => void
}

/** Partitions of one request. */
const PARTITIONS_MAX = 5_000

/**
 * One attempt. A topic whose offsets cannot be had holds up no other: its partitions are told to onFailure, and are not
 * among those found. @throws what the coordinator refused.
 */
export async function findStartOffsets(
  cluster: Cluster,
  membership: GroupMembership,
  { partitions, rules, onFailure }: StartQuestion,
  scope: Scope,
): Promise<TopicPartitionMap<StartOffset>> {
  const found = new TopicPartitionMap<StartOffset>()
  for (let at = 0; at < partitions.length; at += PARTITIONS_MAX) {
    const named = partitions.slice(at, at + PARTITIONS_MAX).map(({ topic, partition }) => ({ topic, partition }))
    const request: RequestOf<'fetchOffsets'> = { group: rules.groupId, partitions: named }
    const answer = await membership.ask('fetchOffsets', request, scope)
    if (answer.error !== 0) throw errorFromWire(answer.error, answer.message)
    for (const { topic, partition, offset } of answer.partitions) {
      if (offset !== undefined) found.set(topic, partition, { offset, isCommitted: true })
    }
  }
  const missing = new Map<string, Map<number, ParsedPosition>>()
  for (const of of partitions) {
    const { topic, partition } = of
    if (found.has(topic, partition)) continue
    const positions = missing.get(topic) ?? new Map<number, ParsedPosition>()
    positions.set(partition, { kind: rules.fromBeginning(of) ? 'earliest' : 'latest' })
    missing.set(topic, positions)
  }
  const resolved = [...missing].map(async ([topic, positions]) => {
    try {
      // Whoever shared out may know of partitions that have come since this client looked.
      const known = cluster.metadata.topic(topic)?.partitions.length ?? Infinity
      if (Math.max(...positions.keys()) >= known) await scope.race(cluster.metadata.refresh([topic], false))
      const offsets = await resolvePositions(cluster, topic, positions, scope)
      for (const [partition, offset] of offsets) found.set(topic, partition, { offset, isCommitted: false })
    } catch (thrown) {
      onFailure(topic, toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `offsets of ${topic}`))
    }
  })
  await Promise.all(resolved)
  return found
}
