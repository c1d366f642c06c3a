// Who gets the replicas of a new topic or of added partitions, from what the cluster looks like now. Owns which brokers may be
// given any; how they are spread is placement.ts.
//
// Invariant: a new partition begins with the directories that its brokers have now, and what was said of the voters that
// others began with stays true: where a broker has come back with another directory, those are named one by one first.

import type { BrokerId } from '../../shared/ids.ts'
import type { Coordinator, TopicDefinition, VotersByPartition } from '../coordination/coordinator.ts'
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

/** For a new topic; `startAt` as in placement.ts, unless somebody has chosen. @throws INVALID_REPLICATION_FACTOR */
export function assign(
  coordinator: Coordinator,
  topic: Pick<TopicDefinition, 'partitions' | 'replicationFactor'>,
  startAt: number,
  chosen?: Assignment,
): Replicas {
  const brokers = candidates(coordinator)
  checkReplicationFactor(topic.replicationFactor, brokers.length, drained(coordinator))
  const request = { ...topic, brokers, load: loadOf(coordinator), startAt }
  return extend({ assignment: [], directories: {} }, request, chosen)
}

/** With partitions added to those of the topic. @throws INVALID_REPLICATION_FACTOR */
export function assignMore(
  coordinator: Coordinator,
  topic: Pick<TopicDefinition, 'replicationFactor' | 'origins'>,
  before: Replicas,
  added: { readonly partitions: number; readonly startAt: number; readonly chosen: Assignment | undefined },
): Replicas & Pick<TopicDefinition, 'origins'> {
  const { replicationFactor } = topic
  const { partitions, startAt, chosen } = added
  const brokers = candidates(coordinator)
  checkReplicationFactor(replicationFactor, brokers.length, drained(coordinator))
  const request = { brokers, load: loadOf(coordinator), partitions, replicationFactor, startAt }
  const { assignment, directories } = extend(before, request, chosen)
  const replaced = Object.keys(directories).filter(
    (id) => (before.directories[id] ?? directories[id]) !== directories[id],
  )
  return replaced.length === 0
    ? { assignment, directories }
    : { assignment, directories, origins: { ...originsOf(before, replaced), ...topic.origins } }
}

/**
 * The brokers that somebody has chosen for new partitions, checked. @throws INVALID_REPLICA_ASSIGNMENT for brokers that are
 * not there, are there twice, or are not as many as the topic's replicas
 */
export function checkChosen(
  coordinator: Coordinator,
  chosen: readonly (readonly number[])[],
  replicationFactor: number,
): Assignment {
  const drainedBrokers = drained(coordinator)
  const there = coordinator.brokers().filter(({ brokerId }) => !drainedBrokers.includes(brokerId))
  const brokers = new Map(there.map(({ brokerId }) => [Number(brokerId), brokerId]))
  return chosen.map((row, at) => {
    if (row.length !== replicationFactor || row.length === 0) {
      throw illegal(`partition ${at} of those named is given ${row.length} brokers, not ${replicationFactor}`)
    }
    return row.map((id, place) => {
      const broker = brokers.get(id)
      if (broker === undefined) throw illegal(`broker ${id} is not there, or is drained`)
      if (row.indexOf(id) !== place) throw illegal(`broker ${id} is there twice for one partition`)
      return broker
    })
  })
}

function illegal(text: string): TidemarkError {
  return new TidemarkError('INVALID_REPLICA_ASSIGNMENT', text)
}

/** The voters that the partitions on these brokers began with, by the directories that were right until now. */
function originsOf({ assignment, directories }: Replicas, replaced: readonly string[]): VotersByPartition {
  const named = [...assignment.entries()].filter(([, row]) => row.some((id) => replaced.includes(String(id))))
  return Object.fromEntries(
    named.map(([partition, row]) => {
      const voters = row.map((brokerId) => ({ brokerId, directoryId: directories[String(brokerId)] ?? '' }))
      return [String(partition), voters]
    }),
  )
}

function extend(before: Replicas, request: CandidateRequest, chosen: Assignment | undefined): Replicas {
  const assignment =
    chosen === undefined ? extendPlacement(before.assignment, request) : [...before.assignment, ...chosen]
  const used = new Set(assignment.slice(before.assignment.length).flat())
  const added = request.brokers.filter(({ brokerId }) => used.has(brokerId))
  const directories = Object.fromEntries(added.map(({ brokerId, directoryId }) => [String(brokerId), directoryId]))
  return { assignment, directories: { ...before.directories, ...directories } }
}

/** What every broker has, or is to have where a move is under way. */
export function loadOf({ topics }: Coordinator): Map<BrokerId, BrokerLoad> {
  const assignments: Assignment[] = []
  for (const { assignment = [], moves } of topics.list()) {
    assignments.push(assignment.map((row, partition) => moves?.[partition]?.map((voter) => voter.brokerId) ?? row))
  }
  return countLoad(assignments)
}
