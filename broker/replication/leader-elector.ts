// Which replicas of this broker should try to lead, and when; and which led ones should go to another broker. The shell: sees
// the coordinator, the other brokers and the time, asks the cores beside it (election-schedule.ts, preferred-leaders.ts,
// suspected-brokers.ts), and acts by `campaign` and `handOver` alone. SPEC.md has the rules.
//
// Safety never depends on it: promises do that. What it looks after is that a partition is led again soon, and left in peace
// otherwise; many partitions are tried in one turn, so that their promises travel together.

import type { BrokerId, LeaderEpoch, TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { Random } from '../../shared/random.ts'
import { sleep, type Clock, type Timer, type Timers } from '../../shared/time.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { ClusterChange, Coordinator, Leaderships } from '../coordination/coordinator.ts'
import type { Meter } from '../metrics/meter.ts'
import type { PartitionView, Vacancy } from './leader-vacancy.ts'
import type { Peers } from './peers.ts'
import type { ReplicaIdentity } from './replica.ts'
import type { ReplicaPromise, Role } from './replication-events.ts'
import { ElectionSchedule, SETTLE_MS, type ElectionSight } from './election-schedule.ts'
import { fenceQuorum } from './fence-quorum.ts'
import { IsolatedLeaders, type LedAlone } from './isolated-leaders.ts'
import { PreferredLeaders, successorOf, type LedPartition } from './preferred-leaders.ts'
import { votersOf } from './voters.ts'
import { SuspectedBrokers } from './suspected-brokers.ts'

/** A replica as far as elections go. */
export interface ElectableReplica {
  readonly identity: Pick<ReplicaIdentity, 'topic' | 'topicId' | 'partition' | 'assignment'>
  readonly role: Role
  readonly leader: BrokerId | undefined
  readonly leaderEpoch: LeaderEpoch | undefined
  /** Damage has taken records from its log that others may have. */
  readonly hasHoles?: boolean
  readonly state: {
    readonly promise: ReplicaPromise | undefined
    readonly hasHeardLeader: boolean
    readonly inSyncReplicas: readonly BrokerId[]
    readonly wholeReplicas?: readonly BrokerId[]
    readonly isFollowed: boolean
    /** Whose word counts by its log: two sets while they change. */
    readonly voterSets: readonly VoterSet[]
    readonly isVoter: boolean
    readonly isNewcomer: boolean
  }
  campaign(epochHint: LeaderEpoch | undefined): void
  handOver(to: BrokerId): void
}

/** What it needs of the coordinator. */
export interface ElectionCoordinator extends Pick<
  Coordinator,
  'brokers' | 'sessionOf' | 'endSession' | 'health' | 'subscribe'
> {
  readonly leaderships: Pick<Leaderships, 'of'>
}

export interface LeaderElectorOptions {
  readonly brokerId: BrokerId
  readonly replicas: () => Iterable<ElectableReplica>
  readonly find: (topicId: TopicId, partition: number) => ElectableReplica | undefined
  readonly coordinator: ElectionCoordinator
  readonly peers: Peers
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly meter?: Meter
  /** The process of another broker was seen to be gone. */
  readonly onBrokerGone?: (brokerId: BrokerId) => void
  /** Tells the coordinator that this broker leads them no more, for others to try. */
  readonly giveBack?: (replicas: readonly ElectableReplica[]) => void
}

/** Campaigns that are begun in one turn, and the least time to the next such turn. */
const CAMPAIGNS_AT_ONCE = 500
const CAMPAIGNS_EVERY_MS = 50
/** What no event tells is seen by then. */
const SWEEP_EVERY_MS = 1_000
const PREFERRED_EVERY_MS = 5_000
const PREFERRED_AT_ONCE = 25
const DRAINED_AT_ONCE = 250
const STOP_MS_MAX = 5_000
const STOP_AT_ONCE = 250
/** A hand-over is given up by its leader after half a second, or a little later. */
const HAND_OVER_MS_MAX = 800
const HAND_OVER_LOOK_MS = 5

export class LeaderElector {
  readonly #options: LeaderElectorOptions
  readonly #schedule = new ElectionSchedule<ElectableReplica>()
  readonly #preferred: PreferredLeaders<ElectableReplica>
  readonly #isolated: IsolatedLeaders<ElectableReplica>
  readonly #suspected: SuspectedBrokers
  /** To be looked at when this turn ends. */
  readonly #marked = new Set<ElectableReplica>()
  #isPassDue = false
  #subscriptions: readonly { remove(): void }[] = []
  #sweepTimer: Timer | undefined
  #dueTimer: Timer | undefined
  #lastFullBatchAt = -Infinity
  #lastPreferredAt: number
  /** Undefined while the coordinator is not reached. */
  #coordinatedSince: number | undefined
  #isRunning = false
  #isStopping = false

  constructor(options: LeaderElectorOptions) {
    this.#options = options
    const { brokerId, coordinator, peers, timers, logger, clock } = options
    this.#preferred = new PreferredLeaders(brokerId)
    this.#isolated = new IsolatedLeaders(brokerId)
    this.#lastPreferredAt = clock.monotonic()
    this.#suspected = new SuspectedBrokers({
      brokerId,
      coordinator,
      peers,
      timers,
      logger,
      witnessesOf: (suspect) => this.#witnessesOf(suspect),
      isEnough: (suspect, witnesses) => this.#isEnough(suspect, witnesses),
      onGone: (id) => options.onBrokerGone?.(id),
      onChange: () => this.#markAll(),
    })
  }

  start(): void {
    const { coordinator, peers, clock } = this.#options
    this.#isRunning = true
    // What is seen at the start has been read just now.
    if (this.#isCoordinated()) this.#coordinatedSince = clock.monotonic() - SETTLE_MS
    this.#subscriptions = [
      coordinator.subscribe((change) => this.#onChange(change)),
      peers.subscribe(({ kind, peer }) => {
        if (kind === 'lost') this.#suspected.onLost(peer)
        else this.#suspected.onConnected(peer)
        this.#markAll()
      }),
    ]
    this.#sweep()
  }

  /** Idempotent; nothing is begun any more. */
  stop(): void {
    this.#isRunning = false
    for (const subscription of this.#subscriptions) subscription.remove()
    this.#subscriptions = []
    this.#sweepTimer?.cancel()
    this.#dueTimer?.cancel()
    this.#suspected.stop()
    this.#marked.clear()
  }

  onReplicaOpened(replica: ElectableReplica): void {
    this.#mark(replica)
  }

  onReplicaClosed(replica: ElectableReplica): void {
    this.#marked.delete(replica)
    this.#schedule.forget(replica)
    this.#preferred.forget(replica)
  }

  onCampaignAbandoned(replica: ElectableReplica, epochSeen: LeaderEpoch): void {
    const { clock, random, logger } = this.#options
    const { topic, partition } = replica.identity
    logger.debug({ topic, partition, epochSeen }, 'a campaign came to nothing')
    this.#schedule.onAbandoned(replica, clock.monotonic(), random.fraction())
    this.#mark(replica)
  }

  /** The broker that the replica follows has refused a fetch, since it does not lead (NOT_LEADER_OR_FOLLOWER). */
  onLeaderRefused(replica: ElectableReplica, leader: BrokerId): void {
    this.#schedule.onRefused(replica, leader, this.#options.clock.monotonic())
  }

  /** Answers another broker that suspects a third one. */
  probeBroker(request: RequestOf<'probeBroker'>): Promise<ResponseOf<'probeBroker'>> {
    return this.#suspected.probe(request)
  }

  /**
   * Hands over everything that this broker leads and somebody else can. Resolves when that is done, or after five seconds;
   * nothing is begun from now on. Before connections are closed.
   */
  async prepareStop(): Promise<void> {
    const { clock, logger } = this.#options
    this.#isStopping = true
    const startedAt = clock.monotonic()
    const asked = new Map<ElectableReplica, Set<BrokerId>>()
    let count = 0
    while (clock.monotonic() - startedAt < STOP_MS_MAX) {
      const wave = this.#nextWave(asked)
      if (wave.length === 0) break
      await this.#untilDecided(wave, Math.min(clock.monotonic() + HAND_OVER_MS_MAX, startedAt + STOP_MS_MAX))
      count += wave.filter((replica) => !isLed(replica)).length
    }
    const left = [...this.#options.replicas()].filter(isLed).length
    const tookMs = Math.round(clock.monotonic() - startedAt)
    if (count + left > 0) logger.info({ count, left, tookMs }, 'leaderships are handed over')
  }

  /** The longest tried last: one that goes to nobody must not hold up the others. */
  #nextWave(asked: Map<ElectableReplica, Set<BrokerId>>): readonly ElectableReplica[] {
    const lifeOf = this.#lives()
    const timesOf = (replica: ElectableReplica): number => asked.get(replica)?.size ?? 0
    const led = [...this.#options.replicas()].filter(isLed).toSorted((one, other) => timesOf(one) - timesOf(other))
    const wave: ElectableReplica[] = []
    const draining = this.#draining()
    for (const replica of led) {
      if (wave.length >= STOP_AT_ONCE) break
      const partition = this.#ledPartitionOf(replica, draining)
      const already = asked.get(replica) ?? new Set()
      const to = partition && successorOf(partition, (id) => this.#mayLead(id, lifeOf), already)
      if (to === undefined) continue
      asked.set(replica, already.add(to))
      replica.handOver(to)
      wave.push(replica)
    }
    return wave
  }

  /** Until each is led by its successor, or its leader has given up and leads again. */
  async #untilDecided(wave: readonly ElectableReplica[], deadline: number): Promise<void> {
    const { clock, timers } = this.#options
    while (clock.monotonic() < deadline && wave.some((replica) => !this.#isDecided(replica))) {
      await sleep(timers, HAND_OVER_LOOK_MS)
    }
  }

  /** To have promised is not enough: the successor may need the answer still, and clients somebody to go to. */
  #isDecided({ role, state, identity }: ElectableReplica): boolean {
    if (role === 'resigned' || role === 'candidate') return false
    if (role !== 'follower' || state.hasHeardLeader) return true
    const known = this.#options.coordinator.leaderships.of(identity.topicId, identity.partition)
    return (known?.leaderEpoch ?? -1) >= (state.promise?.epoch ?? 0)
  }

  #onChange(change: ClusterChange): void {
    switch (change.kind) {
      case 'leadership-changed': {
        const replica = this.#options.find(change.topicId, change.partition)
        if (replica !== undefined) this.#mark(replica)
        return
      }
      case 'brokers-changed':
        this.#suspected.onBrokersChanged()
        return this.#markAll()
      case 'session-lost':
        this.#coordinatedSince = undefined
        return
      case 'topic-created':
      case 'topic-changed':
      case 'topic-deleted':
    }
  }

  #sweep(): void {
    const { clock, timers, brokerId } = this.#options
    this.#markAll()
    this.#giveBack()
    const isDraining = this.#draining().has(brokerId)
    const isUrgent = isDraining || this.#preferred.isUrgent
    if (isUrgent || clock.monotonic() - this.#lastPreferredAt >= PREFERRED_EVERY_MS) this.#giveAway(isDraining)
    this.#sweepTimer = timers.after(SWEEP_EVERY_MS, () => this.#sweep(), { background: true })
  }

  #markAll(): void {
    for (const replica of this.#options.replicas()) this.#mark(replica)
  }

  #mark(replica: ElectableReplica): void {
    if (!this.#isRunning) return
    this.#marked.add(replica)
    if (this.#isPassDue) return
    this.#isPassDue = true
    this.#options.timers.atEndOfTurn(() => this.#pass())
  }

  /** Looks at what is marked. One draw for all: those that lost their leader together are tried together. */
  #pass(): void {
    this.#isPassDue = false
    if (!this.#isRunning) return
    const { clock, random } = this.#options
    const now = clock.monotonic()
    const fraction = random.fraction()
    if (!this.#isCoordinated()) this.#coordinatedSince = undefined
    else this.#coordinatedSince ??= now
    const lifeOf = this.#lives()
    const draining = this.#draining()
    const isDraining = draining.has(this.#options.brokerId)
    const mayLead = (id: BrokerId): boolean => this.#mayLead(id, lifeOf) && !draining.has(id)
    for (const replica of this.#marked) {
      const sight = this.#sightFor(replica, now, lifeOf)
      this.#schedule.observe(replica, this.#viewOf(replica, draining), sight, fraction)
      this.#preferred.observe(replica, this.#ledPartitionOf(replica, draining), mayLead, now, isDraining)
    }
    this.#marked.clear()
    this.#beginDue()
  }

  #beginDue(): void {
    if (!this.#isRunning || this.#isStopping) return
    const { clock, random } = this.#options
    const now = clock.monotonic()
    if (now - this.#lastFullBatchAt < CAMPAIGNS_EVERY_MS) return this.#arm(now)
    const fraction = random.fraction()
    const lifeOf = this.#lives()
    const draining = this.#draining()
    let begun = 0
    for (const replica of this.#schedule.due(now)) {
      const view = this.#viewOf(replica, draining)
      const sight = this.#sightFor(replica, now, lifeOf)
      this.#schedule.observe(replica, view, sight, fraction)
      const vacancy = this.#schedule.take(replica, view, sight, fraction)
      if (vacancy === undefined) continue
      this.#begin(replica, vacancy)
      begun += 1
      if (begun < CAMPAIGNS_AT_ONCE) continue
      this.#lastFullBatchAt = now
      break
    }
    this.#arm(now)
  }

  #begin(replica: ElectableReplica, { reason, leader }: Vacancy): void {
    const { coordinator, logger, meter } = this.#options
    const { topic, topicId, partition } = replica.identity
    logger.info({ topic, partition, reason, leader }, 'tries to lead')
    meter?.counter('tidemark_leader_campaigns_total', { reason }).add()
    replica.campaign(coordinator.leaderships.of(topicId, partition)?.leaderEpoch)
  }

  #arm(now: number): void {
    this.#dueTimer?.cancel()
    const dueAt = Math.max(this.#schedule.nextDueAt(), this.#lastFullBatchAt + CAMPAIGNS_EVERY_MS)
    if (dueAt === Infinity) return
    const delayMs = Math.max(0, Math.ceil(dueAt - now))
    this.#dueTimer = this.#options.timers.after(delayMs, () => this.#beginDue(), { background: true })
  }

  /** What nobody follows although others are there: they do not reach this broker, and could lead it among themselves. */
  #giveBack(): void {
    const { clock, replicas, logger, giveBack } = this.#options
    if (giveBack === undefined || this.#coordinatedSince === undefined) return
    const lifeOf = this.#lives()
    const isMember = (id: BrokerId): boolean => lifeOf(id) !== undefined && !this.#suspected.isDead(id)
    const alone: (readonly [ElectableReplica, LedAlone])[] = []
    for (const replica of replicas()) {
      const { leaderEpoch: epoch, state, role } = replica
      const newest = state.voterSets.at(-1)
      if (role !== 'leader' || epoch === undefined || newest === undefined) continue
      const quorum = fenceQuorum(newest.voters.length, newest.minInSyncReplicas)
      const voters = newest.voters.map(({ brokerId }) => brokerId)
      alone.push([replica, { epoch, voters, isFollowed: state.isFollowed, quorum }])
    }
    const agreedOn = ({ identity: { topicId, partition } }: ElectableReplica): BrokerId | undefined =>
      this.#options.coordinator.leaderships.of(topicId, partition)?.leader
    const isolated = this.#isolated
      .take(alone, isMember, clock.monotonic())
      .filter((replica) => agreedOn(replica) === this.#options.brokerId)
    if (isolated.length === 0) return
    logger.warn({ count: isolated.length }, 'no other replica reaches this broker: gives back what it leads')
    giveBack(isolated)
  }

  #giveAway(isDraining: boolean): void {
    const { clock, replicas, logger } = this.#options
    const now = clock.monotonic()
    this.#lastPreferredAt = now
    // One at a time is enough trouble for those who write.
    const isBusy = this.#isStopping || this.#coordinatedSince === undefined
    if (isBusy || [...replicas()].some(({ role }) => role === 'resigned')) return
    for (const { key: replica, to } of this.#preferred.take(now, isDraining ? DRAINED_AT_ONCE : PREFERRED_AT_ONCE)) {
      if (replica.role !== 'leader') continue
      const { topic, partition } = replica.identity
      if (replica.hasHoles === true && !isDraining) {
        logger.warn({ topic, partition, to }, 'has lost records to damage: hands over to a replica that has them')
      } else {
        const text = isDraining ? 'is drained: hands over' : 'hands over to the preferred leader'
        logger.info({ topic, partition, to }, text)
      }
      replica.handOver(to)
    }
  }

  // What is seen

  #isCoordinated(): boolean {
    const { coordinator, brokerId } = this.#options
    return coordinator.health().isOk && coordinator.brokers().some((member) => member.brokerId === brokerId)
  }

  #lives(): (id: BrokerId) => string | undefined {
    const lives = new Map(
      this.#options.coordinator.brokers().map(({ brokerId, incarnation }) => [brokerId, incarnation]),
    )
    return (id) => lives.get(id)
  }

  /** The members that are to lead nothing which another can. */
  #draining(): ReadonlySet<BrokerId> {
    const draining = this.#options.coordinator.brokers().filter(({ isDraining }) => isDraining === true)
    return new Set(draining.map(({ brokerId }) => brokerId))
  }

  #ledPartitionOf(replica: ElectableReplica, draining: ReadonlySet<BrokerId>): LedPartition | undefined {
    const { leaderEpoch: epoch, identity, state, hasHoles = false } = replica
    if (epoch === undefined || !isLed(replica)) return undefined
    const { inSyncReplicas, wholeReplicas = inSyncReplicas } = state
    return { epoch, assignment: preferredOrder(identity.assignment, draining), inSyncReplicas, wholeReplicas, hasHoles }
  }

  #mayLead(id: BrokerId, lifeOf: (id: BrokerId) => string | undefined): boolean {
    return lifeOf(id) !== undefined && this.#options.peers.isConnected(id)
  }

  #viewOf(replica: ElectableReplica, draining: ReadonlySet<BrokerId>): PartitionView {
    const { topicId, partition, assignment } = replica.identity
    const { role, state } = replica
    const others = votersOf(state.voterSets).map(({ brokerId }) => brokerId)
    return {
      role,
      isVoter: state.isVoter && !state.isNewcomer,
      hasHoles: replica.hasHoles === true,
      assignment: preferredOrder([...new Set([...assignment, ...others])], draining),
      promise: state.promise,
      following: replica.leader,
      hasHeardLeader: state.hasHeardLeader,
      agreed: this.#options.coordinator.leaderships.of(topicId, partition),
    }
  }

  #sightFor(replica: ElectableReplica, now: number, lifeOf: (id: BrokerId) => string | undefined): ElectionSight {
    const { brokerId: self, peers } = this.#options
    const { voterSets } = replica.state
    return {
      self,
      now,
      isCoordinated: this.#coordinatedSince !== undefined,
      coordinatedSince: this.#coordinatedSince ?? now,
      lifeOf,
      isDead: (id) => this.#suspected.isDead(id),
      isQuorumInReach: () => areEnough(voterSets, (brokerId) => brokerId === self || peers.isConnected(brokerId)),
    }
  }

  #witnessesOf(suspect: BrokerId): ReadonlySet<BrokerId> {
    const witnesses = new Set<BrokerId>()
    for (const { state } of this.#options.replicas()) {
      const voters = votersOf(state.voterSets)
      if (!voters.some(({ brokerId }) => brokerId === suspect)) continue
      for (const { brokerId } of voters) if (brokerId !== suspect) witnesses.add(brokerId)
    }
    return witnesses
  }

  #isEnough(suspect: BrokerId, witnesses: ReadonlySet<BrokerId>): boolean {
    for (const { state } of this.#options.replicas()) {
      const { voterSets } = state
      if (!votersOf(voterSets).some(({ brokerId }) => brokerId === suspect)) continue
      if (areEnough(voterSets, (brokerId) => brokerId !== suspect && witnesses.has(brokerId))) return true
    }
    return false
  }
}

/** Whether so many of each set are among them as can elect a leader. */
function areEnough(sets: readonly VoterSet[], isAmong: (brokerId: BrokerId) => boolean): boolean {
  return sets.every(({ voters, minInSyncReplicas }) => {
    const count = voters.filter(({ brokerId }) => isAmong(brokerId)).length
    return count >= fenceQuorum(voters.length, minInSyncReplicas)
  })
}

function isLed({ role }: ElectableReplica): boolean {
  return role === 'leader' || role === 'resigned'
}

/** Those that are drained come last. */
function preferredOrder(assignment: readonly BrokerId[], draining: ReadonlySet<BrokerId>): readonly BrokerId[] {
  if (draining.size === 0) return assignment
  return [...assignment.filter((id) => !draining.has(id)), ...assignment.filter((id) => draining.has(id))]
}
