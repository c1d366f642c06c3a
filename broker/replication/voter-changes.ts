// Carries out what the catalogue wants of a partition's voters, and tells the catalogue what the partition's log has come to.
// Owns the asking, again and again, by whoever leads, and which logs are of no more use here; when a set may change, and whose
// word counts, is decided by the rules and the logs.
//
// Invariant: a log is let go of only where its own committed records name this broker no more and the catalogue does not
// either.

import type { BrokerId, TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock } from '../../shared/time.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { Coordinator, TopicChange, TopicDefinition } from '../coordination/coordinator.ts'
import type { Replica } from './replica.ts'
import type { VotersRefusal } from './voters.ts'
import { isSameSet, isVoter } from '../../shared/voters.ts'

/** How often a change is asked for. */
const ASK_MS = 1_000

/** What stands between a partition and the voters that it is to get. */
export interface VoterChange {
  /** The preferred leader first. */
  readonly wanted: readonly Voter[]
  /** Whose word counts now. */
  readonly voters: readonly Voter[]
  /** Why the change has not begun; undefined once it has. */
  readonly why: VotersRefusal | undefined
  /** Those of the wanted that have not caught up. */
  readonly behind: readonly BrokerId[]
}

export interface VoterChangesOptions {
  readonly self: BrokerId
  readonly coordinator: Pick<Coordinator, 'topics'>
  readonly replicas: () => Iterable<Replica>
  /** Lets go of a replica and its log, durably. */
  readonly release: (replica: Replica) => Promise<void>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** What a topic's partitions have come to: their voters, in the order of preference. */
type Settled = Map<number, readonly Voter[]>

export class VoterChanges {
  readonly #options: VoterChangesOptions
  #nextAt = 0
  /** Topics of which a change is under way. */
  readonly #changing = new Set<TopicId>()
  readonly #releasing = new Set<Replica>()

  constructor(options: VoterChangesOptions) {
    this.#options = options
  }

  tick(): void {
    const now = this.#options.clock.monotonic()
    if (now < this.#nextAt) return
    this.#nextAt = now + ASK_MS
    const settled = new Map<TopicDefinition, Settled>()
    for (const replica of [...this.#options.replicas()]) {
      const topic = this.#topicOf(replica)
      if (topic === undefined) continue
      if (replica.role === 'leader') this.#tend(replica, topic, settled)
      else if (replica.role === 'follower') this.#maybeRelease(replica, topic)
    }
    for (const [topic, partitions] of settled) this.#tell(topic, partitions)
  }

  /** What is under way, as the leader of the partition knows; undefined when nothing is, or another broker leads it. */
  changeOf(replica: Replica): VoterChange | undefined {
    const wanted = this.#topicOf(replica)?.moves?.[String(replica.identity.partition)]
    if (wanted === undefined || replica.role !== 'leader') return undefined
    const { voters, votersRefusal } = replica
    return { wanted, voters, why: votersRefusal?.why, behind: votersRefusal?.behind ?? [] }
  }

  #topicOf({ identity: { topicId } }: Replica): TopicDefinition | undefined {
    return this.#options.coordinator.topics.get(topicId)
  }

  #tend(replica: Replica, topic: TopicDefinition, settled: Map<TopicDefinition, Settled>): void {
    const { partition, minInSyncReplicas } = replica.identity
    const { settledVoters: current, voterSets } = replica.state
    const moving = topic.moves?.[String(partition)]
    const minimum = Math.min(minInSyncReplicas, moving?.length ?? 0)
    const wanted = moving === undefined ? undefined : { voters: moving, minInSyncReplicas: minimum }
    const note = (voters: readonly Voter[]): void => {
      const partitions: Settled = settled.get(topic) ?? new Map<number, readonly Voter[]>()
      settled.set(topic, partitions.set(partition, voters))
    }
    const [before, next] = voterSets
    if (before !== undefined && next !== undefined && (wanted === undefined || !isSameSet(next, wanted))) {
      // What has begun is wanted no more. Where it cannot be taken back, it goes on by itself.
      replica.changeVoters(before)
      return
    }
    if (moving === undefined || wanted === undefined) {
      // Called off when it could not be taken back any more, or forgotten by a coordinator that has lost something: the log is right.
      const assignment = topic.assignment?.[partition]
      if (current !== undefined && assignment !== undefined && !isAssigned(current, assignment)) {
        note(inOrderOf(assignment, current.voters))
      }
      return
    }
    if (current !== undefined && isSameSet(current, wanted)) note(moving)
    else replica.changeVoters(wanted)
  }

  #tell(topic: TopicDefinition, settled: Settled): void {
    const { coordinator, random, logger } = this.#options
    const { topicId, version, name } = topic
    if (this.#changing.has(topicId)) return
    this.#changing.add(topicId)
    const change = settle(topic, settled)
    coordinator.topics
      .change(random.uuid(), topicId, version, change)
      .then(({ kind }) => {
        if (kind !== 'done') return
        for (const [partition, voters] of settled) {
          const replicas = voters.map(({ brokerId }) => brokerId)
          logger.info({ topic: name, partition, replicas }, 'has the replicas that its log says')
        }
      })
      .catch((error: unknown) => {
        logger.warn({ topic: name, error: String(error) }, 'new replicas could not be told; it is tried again')
      })
      .finally(() => this.#changing.delete(topicId))
  }

  /** Somebody else's now, or never became this broker's: what the leader has committed is all here, and names it no more. */
  #maybeRelease(replica: Replica, topic: TopicDefinition): void {
    const { self, release, logger } = this.#options
    const { state, partition, identity } = replica
    if (state.isVoter || !state.hasHeardLeader || isWanted(topic, identity.partition, self)) return
    if (state.settledVoters === undefined) return
    // A committed record says it. What comes behind it is of no matter, and while others write there is always something.
    const isSaid = partition.log.votersRecords.length > 0
    if (!isSaid && state.highWatermark < partition.log.logEndOffset) return
    if (this.#releasing.has(replica)) return
    this.#releasing.add(replica)
    const fields = { topic: topic.name, partition: identity.partition }
    release(replica)
      .then(() => logger.info(fields, 'a replica that is not needed any more is deleted'))
      .catch((error: unknown) => logger.warn({ ...fields, error: String(error) }, 'a replica could not be deleted'))
      .finally(() => this.#releasing.delete(replica))
  }
}

/** Where the topic's partitions have their replicas from now on. Pure. */
export function settle(topic: TopicDefinition, settled: ReadonlyMap<number, readonly Voter[]>): TopicChange {
  const { assignment = [], directories = {} } = topic
  const origins: Record<string, readonly Voter[]> = { ...topic.origins }
  const moves: Record<string, readonly Voter[]> = {}
  for (const [partition, row] of assignment.entries()) {
    const key = String(partition)
    const moving = topic.moves?.[key]
    if (moving !== undefined && !settled.has(partition)) moves[key] = moving
    if (!settled.has(partition)) continue
    origins[key] ??= row.map((brokerId) => ({ brokerId, directoryId: directories[String(brokerId)] ?? '' }))
  }
  const rows = assignment.map((row, partition) => settled.get(partition)?.map(({ brokerId }) => brokerId) ?? row)
  return { assignment: rows, origins, moves }
}

/** Whether the catalogue says that the broker has, or is to get, a replica of the partition. */
export function isWanted({ assignment, moves }: TopicDefinition, partition: number, broker: BrokerId): boolean {
  if (assignment?.[partition]?.includes(broker) === true) return true
  return moves?.[String(partition)]?.some(({ brokerId }) => brokerId === broker) === true
}

function isAssigned({ voters }: VoterSet, assignment: readonly BrokerId[]): boolean {
  return voters.length === assignment.length && voters.every(({ brokerId }) => assignment.includes(brokerId))
}

/** Those that were assigned before stay where they stood. */
function inOrderOf(assignment: readonly BrokerId[], voters: readonly Voter[]): readonly Voter[] {
  const kept = assignment.flatMap((id) => voters.filter(({ brokerId }) => brokerId === id))
  return [...kept, ...voters.filter((voter) => !isVoter(kept, voter.brokerId, voter.directoryId))]
}
