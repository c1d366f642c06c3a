// Who gets the replicas of a new topic or of added partitions, from what the cluster looks like now. Owns which brokers may be
// given any; how they are spread is placement.ts.
//
// Invariant: the directory of a broker in a definition is the one that it had when it first became a replica there. Where the
// broker has come back with another, its old replicas are lost and the new directory must not be taken for them, so
// it gets no further partition of that topic.

import type { BrokerId } from '../../shared/ids.ts'
import type { Coordinator, TopicDefinition } from '../coordination/coordinator.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Assignment, BrokerLoad, PlacementRequest } from './placement.ts'
import { checkReplicationFactor, countLoad, extendPlacement } from './placement.ts'

export type Replicas = Required<Pick<TopicDefinition, 'assignment' | 'directories'>>

/** The brokers that replicas can be given to: not those that are drained. */
export function candidates(coordinator: Pick<Coordinator, 'brokers'>): readonly Candidate[] {
  return coordinator.brokers().flatMap(({ brokerId, rack, directoryId, isDraining }) => {
    return directoryId === undefined || isDraining === true ? [] : [{ brokerId, rack, directoryId }]
  })
}

/** Members that are drained, by ascending id. */
export function drained(coordinator: Pick<Coordinator, 'brokers'>): readonly BrokerId[] {
  return coordinator.brokers().flatMap(({ brokerId, isDraining }) => (isDraining === true ? [brokerId] : []))
}

export interface Candidate {
  readonly brokerId: BrokerId
  readonly rack: string | undefined
  readonly directoryId: string
}

interface CandidateRequest extends PlacementRequest {
  readonly brokers: readonly Candidate[]
}

/** For a new topic; `startAt` as in placement.ts. @throws INVALID_REPLICATION_FACTOR */
export function assign(
  coordinator: Coordinator,
  topic: Pick<TopicDefinition, 'partitions' | 'replicationFactor'>,
  startAt: number,
): Replicas {
  const brokers = candidates(coordinator)
  checkReplicationFactor(topic.replicationFactor, brokers.length, drained(coordinator))
  const request = { ...topic, brokers, load: loadOf(coordinator), startAt }
  return extend({ assignment: [], directories: {} }, request)
}

/** With partitions added to those of the topic. @throws INVALID_REPLICATION_FACTOR */
export function assignMore(
  coordinator: Coordinator,
  topic: Pick<TopicDefinition, 'name' | 'replicationFactor'>,
  before: Replicas,
  partitions: number,
  startAt: number,
): Replicas {
  const { replicationFactor, name } = topic
  const all = candidates(coordinator)
  const brokers = all.filter(({ brokerId, directoryId }) => {
    return (before.directories[brokerId] ?? directoryId) === directoryId
  })
  if (brokers.length < replicationFactor && all.length >= replicationFactor) {
    const replaced = all.filter((one) => !brokers.includes(one)).map(({ brokerId }) => brokerId)
    const text = `topic ${name} has ${replicationFactor} replicas of each partition, and only ${brokers.length} brokers can take one: the data directory of broker ${replaced.join(', ')} is not the one that its replicas were in`
    throw new TidemarkError('INVALID_REPLICATION_FACTOR', text)
  }
  checkReplicationFactor(replicationFactor, brokers.length, drained(coordinator))
  return extend(before, { brokers, load: loadOf(coordinator), partitions, replicationFactor, startAt })
}

function extend(before: Replicas, request: CandidateRequest): Replicas {
  const assignment = extendPlacement(before.assignment, request)
  const used = new Set(assignment.slice(before.assignment.length).flat())
  const added = request.brokers.filter(({ brokerId }) => used.has(brokerId))
  const directories = Object.fromEntries(added.map(({ brokerId, directoryId }) => [String(brokerId), directoryId]))
  return { assignment, directories: { ...directories, ...before.directories } }
}

export function loadOf({ topics }: Coordinator): Map<BrokerId, BrokerLoad> {
  const assignments: Assignment[] = []
  for (const { assignment } of topics.list()) if (assignment !== undefined) assignments.push(assignment)
  return countLoad(assignments)
}
