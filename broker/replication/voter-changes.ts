// Carries out what the catalogue wants of a partition's voters, and tells the catalogue what the partition's log has come to.
// Owns the asking, again and again, by whoever leads, and which logs are of no more use here; when a set may change, and whose
// word counts, is decided by the rules and the logs.
//
// Invariant: a log is let go of only where the catalogue does not want it, and its leader has said, while the replica took
// part in nothing, that the committed voters are others.

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
/** Replicas that are on their way out at a time. */
const RELEASES_MAX = 64

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
  readonly coordinator: Pick<Coordinator, 'topics' | 'leaderships'>
  readonly replicas: () => Iterable<Replica>
  /** Asks that leader whether the replica may go. */
  readonly askToGo: (replica: Replica, leader: BrokerId) => Promise<boolean>
  /**
   * Has the replica take part no more, and if it may go then, deletes its log, durably; else it is opened again. Answers
   * whether it is gone.
   */
  readonly release: (replica: Replica, mayGo: () => Promise<boolean>) => Promise<boolean>
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

  /**
   * Somebody else's now, or never became this broker's: it may go when its leader says so. It is asked twice, before the
   * replica ceases to take part, so that one that is needed goes on, and after that, when what it holds cannot become
   * anything that counts any more.
   */
  #maybeRelease(replica: Replica, topic: TopicDefinition): void {
    const { logger, askToGo } = this.#options
    const leader = this.#leaderOf(replica)
    if (leader === undefined || !this.#isReleasable(replica, topic)) return
    if (this.#releasing.has(replica) || this.#releasing.size >= RELEASES_MAX) return
    this.#releasing.add(replica)
    const fields = { topic: topic.name, partition: replica.identity.partition }
    const mayGo = (): Promise<boolean> => askToGo(replica, leader)
    this.#release(replica, mayGo)
      .then((isGone) => {
        if (isGone) logger.info(fields, 'a replica that is not needed any more is deleted')
      })
      .catch((error: unknown) => {
        logger.warn({ ...fields, error: String(error) }, 'a replica that is not needed any more could not be deleted')
      })
      .finally(() => this.#releasing.delete(replica))
  }

  async #release(replica: Replica, mayGo: () => Promise<boolean>): Promise<boolean> {
    if (!(await mayGo())) return false
    const topic = this.#topicOf(replica)
    if (topic === undefined || replica.role !== 'follower' || !this.#isReleasable(replica, topic)) return false
    return await this.#options.release(replica, mayGo)
  }

  #isReleasable({ state, identity }: Replica, topic: TopicDefinition): boolean {
    if (isWanted(topic, identity.partition, this.#options.self)) return false
    // By its log it has a voice, and its leader is heard: if that is not so any more, the log will say it soon.
    if (state.isVoter && state.hasHeardLeader) return false
    // Not in the middle of a cut, or before its promise is durable.
    return state.following === undefined || state.fetchPosition() !== undefined
  }

  /** Who leads for sure, or should by the coordinator's word: a replica that nobody wants may have no other. */
  #leaderOf({ state, identity: { topicId, partition } }: Replica): BrokerId | undefined {
    const { self, coordinator } = this.#options
    const leader = state.hasHeardLeader ? state.following : coordinator.leaderships.of(topicId, partition)?.leader
    return leader === self ? undefined : leader
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
