// Giving partitions other replicas, and taking away all that a broker has. Owns what is legal to ask for, and writing it into
// the topic as what is wanted; whoever leads a partition sees to it that it comes about (voter-changes.ts).
//
// Invariants: a wanted replica is a broker on the disk that it has now; nobody's move is replaced by another one unless that
// takes a broker out of it which is to be left alone.

import type { BrokerId } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { Voter } from '../../shared/voters.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { brokerId } from '../../shared/ids.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { MOVES_MAX } from '../../shared/protocol/operations.ts'
import { isSameSet, isVoter, VOTERS_MAX } from '../../shared/voters.ts'
import { candidates, drained, loadOf } from './assignment.ts'
import { planBalance } from './balance.ts'
import { minInSyncReplicas } from './leadership.ts'
import { NO_ERROR, outcomeOf } from './outcome.ts'
import { countMove, type BrokerLoad, replaceReplica } from './placement.ts'
import { votersOf } from './replaced-disks.ts'

type AskedMove = RequestOf<'movePartitions'>['moves'][number]
type MovedPartition = ResponseOf<'movePartitions'>['partitions'][number]

/** What is to stand in the topic as wanted: undefined where nothing is. */
interface Plan {
  readonly partition: number
  readonly to: readonly Voter[] | undefined
}

/** How often a change is tried again because somebody else has changed the topic meanwhile. */
const CONFLICTS_MAX = 10

export class MoveRequests {
  readonly #services: RequestServices

  constructor(services: RequestServices) {
    this.#services = services
  }

  async movePartitions(request: RequestOf<'movePartitions'>): Promise<ResponseOf<'movePartitions'>> {
    this.#checkCluster()
    const { moves, validateOnly } = request
    const outcomes = new Map<AskedMove, MovedPartition>()
    for (const [name, asked] of byTopic(moves)) {
      for (const outcome of await this.#moveIn(name, asked, validateOnly)) outcomes.set(outcome.asked, outcome.moved)
    }
    return { partitions: moves.flatMap((move) => outcomes.get(move) ?? []) }
  }

  /** @throws INVALID_REQUEST for a broker that nobody knows, INVALID_REPLICATION_FACTOR where too few others are left */
  async decommissionBroker(request: RequestOf<'decommissionBroker'>): Promise<ResponseOf<'decommissionBroker'>> {
    this.#checkCluster()
    const { coordinator } = this.#services
    const leaving = brokerId(request.broker)
    const topics = [...coordinator.topics.list()].filter((topic) => partitionsOn(topic, leaving).length > 0)
    const isMember = coordinator.brokers().some((broker) => broker.brokerId === leaving)
    if (topics.length === 0 && !isMember) {
      throw new TidemarkError('INVALID_REQUEST', `there is no broker ${leaving}, and no replica is assigned to it`)
    }
    const load = loadOf(coordinator)
    const partitions: MovedPartition[] = []
    for (const topic of topics) {
      if (partitions.length >= MOVES_MAX) break
      const plans = this.#planLeaving(topic, leaving, load).slice(0, MOVES_MAX - partitions.length)
      partitions.push(...(await this.#begin(topic, plans, request.validateOnly)))
    }
    let left = 0
    for (const topic of coordinator.topics.list()) left += partitionsOn(topic, leaving).length
    return { partitions, left }
  }

  /** Gives brokers that have few replicas, because they are new perhaps, some of those that have many. */
  async balanceReplicas(request: RequestOf<'balanceReplicas'>): Promise<ResponseOf<'balanceReplicas'>> {
    this.#checkCluster()
    const { coordinator } = this.#services
    const topics = [...coordinator.topics.list()]
    const underWay = topics.reduce((count, { moves = {} }) => count + Object.keys(moves).length, 0)
    const free = topics.flatMap((topic) => {
      const rows = [...(topic.assignment ?? []).entries()]
      return rows.flatMap(([partition, row]) => {
        return topic.moves?.[partition] === undefined ? [{ topic, partition, row }] : []
      })
    })
    const wanted = planBalance({
      brokers: candidates(coordinator),
      racks: new Map(coordinator.brokers().map((one) => [one.brokerId, one.rack])),
      rows: free.map(({ row }) => row),
      load: loadOf(coordinator),
      movesMax: Math.min(request.movesMax, MOVES_MAX),
    })
    const plans = new Map<TopicDefinition, Plan[]>()
    for (const [at, ids] of wanted) {
      const one = free[at]
      if (one === undefined) continue
      const to = ids.map((id) => this.#voterFor(one.topic, one.partition, id))
      plans.set(one.topic, [...(plans.get(one.topic) ?? []), { partition: one.partition, to }])
    }
    const partitions: MovedPartition[] = []
    for (const [topic, some] of plans) partitions.push(...(await this.#begin(topic, some, request.validateOnly)))
    return { partitions, underWay }
  }

  async #begin(topic: TopicDefinition, plans: readonly Plan[], validateOnly: boolean): Promise<MovedPartition[]> {
    const answer = (outcome: typeof NO_ERROR): MovedPartition[] =>
      plans.map(({ partition, to = [] }) => movedOf(topic, partition, to, outcome))
    if (plans.length === 0 || validateOnly) return answer(NO_ERROR)
    try {
      // Somebody else's change has it looked at again by whoever asks again.
      const isDone = await this.#want(topic, plans)
      if (!isDone) throw new TidemarkError('NOT_CONTROLLER', `topic ${topic.name} has just been changed; ask again`)
      return answer(NO_ERROR)
    } catch (error) {
      return answer(outcomeOf(error, this.#services.logger))
    }
  }

  /** Of one topic: all that are legal in one change, again and again while others change it. */
  async #moveIn(
    name: string,
    asked: readonly AskedMove[],
    validateOnly: boolean,
  ): Promise<{ readonly asked: AskedMove; readonly moved: MovedPartition }[]> {
    const { coordinator, logger } = this.#services
    for (let attempt = 0; ; attempt += 1) {
      const topic = coordinator.topics.byName(name)
      const plans: Plan[] = []
      const outcomes = asked.map((move) => {
        try {
          const plan = this.#plan(topic, move, asked)
          if (plan !== undefined) plans.push(plan)
          const to = (plan?.to ?? []).map((voter) => voter.brokerId)
          const wanted = to.length > 0 ? to : (topic?.assignment?.[move.partition] ?? [])
          const isThere = plan === undefined && topic?.moves?.[move.partition] === undefined
          return { asked: move, moved: { ...answerOf(topic, move), ...NO_ERROR, to: wanted, isThere } }
        } catch (error) {
          return { asked: move, moved: { ...answerOf(topic, move), ...outcomeOf(error, logger) } }
        }
      })
      if (topic === undefined || plans.length === 0 || validateOnly) return outcomes
      try {
        if (await this.#want(topic, plans)) return outcomes
        if (attempt >= CONFLICTS_MAX) {
          throw new TidemarkError('NOT_CONTROLLER', `topic ${name} is being changed by others all the time; ask again`)
        }
      } catch (error) {
        const failure = outcomeOf(error, logger)
        return outcomes.map(({ asked: move, moved }) => {
          return { asked: move, moved: moved.error === 0 ? { ...moved, ...failure } : moved }
        })
      }
    }
  }

  /** Undefined where there is nothing to do. @throws INVALID_REPLICA_ASSIGNMENT, UNKNOWN_TOPIC_OR_PARTITION */
  #plan(topic: TopicDefinition | undefined, move: AskedMove, all: readonly AskedMove[]): Plan | undefined {
    const { partition, replicas } = move
    const name = `${move.topic}-${partition}`
    const assigned = topic?.assignment?.[partition]
    if (topic === undefined || assigned === undefined) {
      throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no partition ${name} with replicas`)
    }
    if (all.some((other) => other !== move && other.partition === partition)) {
      throw illegal(`${name} is there twice`)
    }
    const underWay = topic.moves?.[partition]
    if (replicas.length === 0) {
      if (underWay === undefined) {
        const text = `no move of ${name} is under way that could be called off`
        throw new TidemarkError('NO_REASSIGNMENT_IN_PROGRESS', text)
      }
      return { partition, to: undefined }
    }
    if (replicas.length > VOTERS_MAX) throw illegal(`a partition has at most ${VOTERS_MAX} replicas`)
    const twice = replicas.find((id, at) => replicas.indexOf(id) !== at)
    if (twice !== undefined) throw illegal(`broker ${twice} is there twice for ${name}`)
    const current = votersOf(this.#services, topic, partition)
    checkEnough(topic, partition, replicas.length, Math.min(assigned.length, current.length || assigned.length))
    const to = replicas.map((id) => this.#voterFor(topic, partition, brokerId(id)))
    if (underWay !== undefined) {
      if (isSameRow(underWay, to)) return undefined
      const ids = underWay.map((voter) => voter.brokerId).join(', ')
      throw illegal(`${name} is on its way to brokers ${ids}; wait until it is there, or call that off first`)
    }
    const isInOrder = assigned.length === to.length && assigned.every((id, at) => id === to[at]?.brokerId)
    if (isInOrder && isSameSet({ voters: current, minInSyncReplicas: 1 }, { voters: to, minInSyncReplicas: 1 })) {
      return undefined
    }
    return { partition, to }
  }

  /** The broker on the disk that it has now; one that is away keeps the place that it has. @throws INVALID_REPLICA_ASSIGNMENT */
  #voterFor(topic: TopicDefinition, partition: number, id: BrokerId): Voter {
    const members = this.#services.coordinator.brokers()
    const member = members.find((broker) => broker.brokerId === id)
    const name = `${topic.name}-${partition}`
    const hasIt = topic.assignment?.[partition]?.includes(id) === true
    if (member?.isDraining === true && !hasIt) {
      throw illegal(
        `broker ${id} is drained, so ${name} cannot go there; \`tidemark broker drain ${id} --undo\` ends that`,
      )
    }
    const { directoryId } = member ?? {}
    if (directoryId !== undefined) return { brokerId: id, directoryId }
    if (member !== undefined)
      throw illegal(`broker ${id} does not tell its data directory: it has to be a newer version`)
    const known = [...votersOf(this.#services, topic, partition), ...(topic.moves?.[partition] ?? [])]
    const voter = known.find((one) => one.brokerId === id)
    if (voter !== undefined && hasIt) return voter
    const there = members.map((broker) => broker.brokerId).join(', ')
    const what = hasIt
      ? `broker ${id} is away, and its disk is not known here`
      : `there is no broker ${id} at the moment`
    throw illegal(`${what}; there are: ${there}`)
  }

  /** What is to become of the partitions that the broker has, or is to get. @throws INVALID_REPLICATION_FACTOR */
  #planLeaving(topic: TopicDefinition, leaving: BrokerId, load: Map<BrokerId, BrokerLoad>): Plan[] {
    const { coordinator, random } = this.#services
    const brokers = candidates(coordinator).filter((one) => one.brokerId !== leaving)
    return partitionsOn(topic, leaving).flatMap((partition): Plan[] => {
      const wanted = topic.moves?.[partition]?.map((voter) => voter.brokerId)
      const row = wanted ?? topic.assignment?.[partition] ?? []
      // It is on its way already.
      if (!row.includes(leaving)) return []
      const others = brokers.filter((one) => !row.includes(one.brokerId))
      if (others.length === 0) throw tooFew(topic, partition, row, leaving, drained(coordinator))
      const racks = new Map(coordinator.brokers().map((one) => [one.brokerId, one.rack]))
      const to = replaceReplica({ row, leaving, brokers, racks, load, startAt: random.integer(MOVES_MAX) })
      countMove(load, row, to)
      return [{ partition, to: to.map((id) => this.#voterFor(topic, partition, id)) }]
    })
  }

  /** False if the topic has changed meanwhile. @throws as a change of the catalogue does */
  async #want(topic: TopicDefinition, plans: readonly Plan[]): Promise<boolean> {
    const { coordinator, random, partitions } = this.#services
    const moves: Record<string, readonly Voter[]> = { ...topic.moves }
    for (const { partition, to } of plans) {
      if (to === undefined) delete moves[partition]
      else moves[partition] = to
    }
    const outcome = await coordinator.topics.change(random.uuid(), topic.topicId, topic.version, { moves })
    if (outcome.kind === 'missing') {
      throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic.name}`)
    }
    if (outcome.kind !== 'done') return false
    await partitions.whenOpen(topic.topicId)
    return true
  }

  #checkCluster(): void {
    if (this.#services.isCluster === true) return
    throw new TidemarkError('INVALID_REQUEST', 'this broker is alone: there is no other that could have a replica')
  }
}

/** Those of which the broker has a replica, or is to get one. */
function partitionsOn(topic: TopicDefinition, id: BrokerId): readonly number[] {
  const { assignment = [], moves } = topic
  return assignment.flatMap((row, partition) => {
    const isWanted = moves?.[partition]?.some((voter) => voter.brokerId === id) === true
    return row.includes(id) || isWanted ? [partition] : []
  })
}

function byTopic(moves: readonly AskedMove[]): ReadonlyMap<string, readonly AskedMove[]> {
  const topics = new Map<string, AskedMove[]>()
  for (const move of moves) topics.set(move.topic, [...(topics.get(move.topic) ?? []), move])
  return topics
}

function isSameRow(one: readonly Voter[], other: readonly Voter[]): boolean {
  if (one.length !== other.length) return false
  return one.every((voter, at) => {
    const { brokerId: id, directoryId } = voter
    const same = other[at]
    return same !== undefined && isVoter([same], id, directoryId)
  })
}

function answerOf(
  topic: TopicDefinition | undefined,
  { topic: name, partition }: AskedMove,
): Omit<MovedPartition, 'error' | 'message'> {
  const from = topic?.assignment?.[partition] ?? []
  return { topic: name, partition, from, to: from, isThere: false }
}

function movedOf(
  topic: TopicDefinition,
  partition: number,
  to: readonly Voter[],
  outcome: typeof NO_ERROR,
): MovedPartition {
  const from = topic.assignment?.[partition] ?? []
  return { topic: topic.name, partition, ...outcome, from, to: to.map((voter) => voter.brokerId), isThere: false }
}

function illegal(text: string): TidemarkError {
  return new TidemarkError('INVALID_REPLICA_ASSIGNMENT', text)
}

/**
 * What is acknowledged is to be held by as many as the topic says, also afterwards. One that has fewer already, because it
 * went on alone, may keep what it has, or get more.
 * @throws INVALID_REPLICA_ASSIGNMENT
 */
function checkEnough(topic: TopicDefinition, partition: number, wanted: number, now: number): void {
  const minimum = minInSyncReplicas(topic)
  if (wanted >= Math.min(minimum, now)) return
  const count = wanted === 1 ? '1 replica is' : `${wanted} replicas are`
  throw illegal(
    `${count} too few for ${topic.name}-${partition}: min.insync.replicas of topic ${topic.name} is ${minimum}, and cannot be lowered; name at least ${minimum} brokers`,
  )
}

function tooFew(
  topic: TopicDefinition,
  partition: number,
  row: readonly BrokerId[],
  leaving: BrokerId,
  drainedToo: readonly BrokerId[],
): TidemarkError {
  const others = drainedToo.filter((id) => id !== leaving && !row.includes(id))
  const besides = others.length === 0 ? '' : ` besides ${others.join(', ')}, which get none while they are drained`
  const orFewer = row.length > minInSyncReplicas(topic) ? ', or move the partition to fewer' : ''
  const text = `broker ${leaving} cannot be left out: ${topic.name}-${partition} has ${row.length} ${row.length === 1 ? 'replica' : 'replicas'}, and there is no broker that has none of it${besides}; add a broker first${orFewer}`
  return new TidemarkError('INVALID_REPLICATION_FACTOR', text)
}
