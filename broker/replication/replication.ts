// All replicas of this broker, and what they need of the world together: the journal of promises, the other brokers, the
// coordinator, time. Owns which replicas there are, and that what many of them ask in one turn of the event loop becomes one
// request a broker and one sync of the journal. Holds no rule: those are a replica's own.

import type { BrokerId, LeaderEpoch, Offset, TimestampMs, TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timer, Timers } from '../../shared/time.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { ClusterChange, Coordinator, Leadership, TopicDefinition } from '../coordination/coordinator.ts'
import type { Meter } from '../metrics/meter.ts'
import type { LogDirectory } from '../storage/log-directory.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { LeadershipPublisher } from './leadership-publisher.ts'
import type { Partition } from './partition.ts'
import type { Peers } from './peers.ts'
import type { FenceAnswer, LogBeginning, ReplicaHost, ReplicaTrial } from './replica.ts'
import type { ReplicaPromise } from './replication-events.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { brokerId as toBrokerId, leaderEpoch, offset, partitionId, topicId as toTopicId } from '../../shared/ids.ts'
import { FENCE_ANSWERS } from '../../shared/protocol/peers.ts'
import { FenceMail } from './fence-mail.ts'
import { HoleRepairs } from './hole-repairs.ts'
import { unlessGarbage } from './peers.ts'
import { parsePartitionDirectoryName } from '../storage/partition-directories.ts'
import { Replica } from './replica.ts'
import { isWanted, type VoterChange, VoterChanges } from './voter-changes.ts'

/** How often leaders and candidates look at the time. */
const TICK_MS = 250
/** How often leaders look whether the coordinator knows what it was told. */
const CORRECT_EVERY_TICKS = 12
/** How often promises that could not be written are tried again: a full disk may have room. */
const PROMISES_EVERY_TICKS = 4
const NO_ANSWER: FenceAnswer = { kind: 'none' }

/** Follows leaders for the replicas that have one. */
export interface Fetching {
  start(replica: Replica, leader: BrokerId): void
  stop(replica: Replica): void
}

/** Hears of what may need a new leader. */
export interface ElectionListener {
  onReplicaOpened(replica: Replica): void
  onReplicaClosed(replica: Replica): void
  onCampaignAbandoned(replica: Replica, epochSeen: LeaderEpoch): void
}

export interface ReplicationOptions {
  readonly brokerId: BrokerId
  readonly directory: LogDirectory
  readonly coordinator: Coordinator
  readonly peers: Peers
  readonly fetching: Fetching
  readonly publisher: LeadershipPublisher
  readonly withoutLease: 'serve' | 'stop'
  readonly trial?: ReplicaTrial
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly meter: Meter
}

/** Closes the partition and has its log deleted; one that is not deleted after all is opened again. */
export type Release = (replica: Replica, deleteLog: () => Promise<void>) => Promise<void>

/** A fence that waits for the promise to become durable. */
interface WaitingFence {
  readonly candidate: BrokerId
  readonly epoch: LeaderEpoch
  readonly answer: (answer: FenceAnswer) => void
}

export class Replication implements ReplicaHost {
  readonly #options: ReplicationOptions
  readonly #replicas = new Map<TopicId, (Replica | undefined)[]>()
  readonly #mail: FenceMail
  readonly #voterChanges: VoterChanges
  readonly #holeRepairs: HoleRepairs
  #release: Release | undefined
  readonly #waiting = new Map<Replica, WaitingFence[]>()
  readonly #inSyncCounts = new WeakMap<Replica, { readonly epoch: LeaderEpoch; readonly count: number }>()
  #election: ElectionListener | undefined
  /** Promises of this turn, the last one of each replica. */
  #promises = new Map<Replica, ReplicaPromise>()
  /** Those that could not be written. */
  readonly #unwritten = new Map<Replica, ReplicaPromise>()
  #subscriptions: { remove(): void }[] = []
  #timer: Timer | undefined
  #ticks = 0
  /** The answer of the step under way to whoever has sent what led to it. */
  #captured: FenceAnswer | undefined
  #isCapturing = false

  constructor(options: ReplicationOptions) {
    this.#options = options
    const { peers, timers, logger, brokerId } = options
    this.#mail = new FenceMail({ brokerId, peers, timers, logger })
    const { coordinator, clock, random, directory } = options
    directory.readAlongEnd = (name) => {
      const at = parsePartitionDirectoryName(name)
      return at && this.find(at.topicId, at.partition)?.state.readAlongEnd(clock.monotonic())
    }
    this.#holeRepairs = new HoleRepairs({ peers, clock, logger, replicas: () => this.all() })
    this.#voterChanges = new VoterChanges({
      self: brokerId,
      coordinator,
      replicas: () => this.all(),
      askToGo: (replica, leader) => this.#askToGo(replica, leader),
      release: (replica, mayGo) => this.#letGo(replica, mayGo),
      clock,
      random,
      logger,
    })
  }

  start(election: ElectionListener): void {
    const { coordinator, peers } = this.#options
    this.#election = election
    this.#subscriptions = [
      coordinator.subscribe((change) => this.#onChange(change)),
      peers.subscribe(({ kind, peer }) => {
        if (kind === 'connected') this.#tellLeaderships(peer)
      }),
    ]
    this.#tick()
  }

  /** Who is to let go of the partition before its log is deleted. */
  onRelease(release: Release): void {
    this.#release = release
  }

  /** All replicas take part no more. */
  stop(): void {
    for (const subscription of this.#subscriptions.splice(0)) subscription.remove()
    this.#timer?.cancel()
    this.#mail.stop()
    this.#holeRepairs.stop()
    for (const replica of [...this.all()]) this.close(replica)
  }

  get brokerId(): BrokerId {
    return this.#options.brokerId
  }

  /** Whether a partition of the topic has a replica here. */
  isReplica(topic: TopicDefinition, partition: number): boolean {
    return this.#options.directory.hosts(topic.topicId, partition) || isWanted(topic, partition, this.brokerId)
  }

  find(topicId: TopicId, partition: number): Replica | undefined {
    return this.#replicas.get(topicId)?.[partition]
  }

  #isOpen(replica: Replica): boolean {
    return this.find(replica.identity.topicId, replica.identity.partition) === replica
  }

  *all(): IterableIterator<Replica> {
    for (const replicas of this.#replicas.values()) {
      for (const replica of replicas) if (replica !== undefined) yield replica
    }
  }

  /** The replica of an open partition, which takes part from now on. @throws STORAGE_ERROR */
  async open(topic: TopicDefinition, partition: Partition, minInSyncReplicas: number): Promise<Replica> {
    const { directory, trial } = this.#options
    const { directoryId, incarnation, hasLostPromises } = directory.startFacts
    if (incarnation === undefined || hasLostPromises) {
      const text =
        'it is not known any more what the replicas of this data directory have promised: start this broker with an ' +
        `empty data-dir, then \`tidemark broker readmit ${this.brokerId}\``
      throw new TidemarkError('STORAGE_ERROR', text)
    }
    const { topicId } = topic
    const number = partition.partition
    const assignment = topic.assignment?.[number] ?? [this.brokerId]
    const voters = votersOfBeginning(topic, number, assignment)
    const identity = {
      topic: topic.name,
      topicId,
      partition: number,
      assignment,
      voters,
      minInSyncReplicas,
      directoryId,
      incarnation,
      withoutLease: this.#options.withoutLease,
    }
    const promise = directory.promises.get(topicId, number)
    const memory = {
      promise: promise === undefined ? undefined : { epoch: promise.epoch, leader: promise.leaderId },
      // What was written of it last may be older than a trim: a log begins nowhere above its high watermark.
      highWatermark: offset(Math.max(directory.highWatermarks.get(topicId, number) ?? 0, partition.logStartOffset)),
      isSuspect: directory.isSuspect(topicId, number),
      isNewcomer: directory.isNewcomer(topicId, number),
      ...(trial?.rules === undefined ? {} : { rules: trial.rules }),
    }
    const replica = new Replica(identity, memory, partition, this)
    trial?.onReplica(replica)
    const replicas = this.#replicas.get(topicId) ?? []
    replicas[number] = replica
    this.#replicas.set(topicId, replicas)
    try {
      await replica.open()
    } catch (error) {
      this.close(replica)
      throw error
    }
    this.#hearCoordinator(replica)
    this.#election?.onReplicaOpened(replica)
    return replica
  }

  close(replica: Replica): void {
    const { topicId, partition } = replica.identity
    const replicas = this.#replicas.get(topicId)
    if (replicas?.[partition] === replica) replicas[partition] = undefined
    if (replicas?.every((one) => one === undefined) === true) this.#replicas.delete(topicId)
    replica.stop()
    this.#unwritten.delete(replica)
    this.#options.fetching.stop(replica)
    this.#dropWaiting(replica)
    this.#election?.onReplicaClosed(replica)
  }

  /** The process of another broker is gone: leaders here do not count on it. */
  onBrokerGone(id: BrokerId): void {
    for (const replica of this.all()) replica.state.onKnownDead(id)
  }

  // What other brokers ask

  async fence(request: RequestOf<'fence'>): Promise<ResponseOf<'fence'>> {
    const candidate = toBrokerId(request.brokerId)
    // All of them are asked before one is waited for, so that their promises share a sync.
    const answers = request.partitions.map(async ({ topicId, partition, epoch }) => {
      const named = this.#named(topicId, partition, epoch)
      return named === undefined ? NO_ANSWER : await this.#fenceOne(named.replica, candidate, named.epoch)
    })
    return { partitions: (await Promise.all(answers)).map(fenceAnswerOf) }
  }

  #fenceOne(replica: Replica, candidate: BrokerId, epoch: LeaderEpoch): FenceAnswer | Promise<FenceAnswer> {
    const answered = this.#capture(() => replica.step({ kind: 'fence-received', candidate, epoch }))
    if (answered !== undefined) return answered
    // A newcomer keeps its promise and says nothing: whoever asked for more partitions must not wait for it.
    if (replica.state.isNewcomer) return NO_ANSWER
    const { promise } = replica.state
    if (promise?.epoch !== epoch || promise.leader !== candidate || replica.role !== 'follower') return NO_ANSWER
    return new Promise((answer) => {
      const waiting = this.#waiting.get(replica) ?? []
      waiting.push({ candidate, epoch, answer })
      this.#waiting.set(replica, waiting)
    })
  }

  async announceLeaders(request: RequestOf<'announceLeaders'>): Promise<ResponseOf<'announceLeaders'>> {
    const leader = toBrokerId(request.brokerId)
    const refused: { index: number; promisedEpoch: number; leader: BrokerId | undefined }[] = []
    for (const [index, { topicId, partition, epoch }] of request.partitions.entries()) {
      const named = this.#named(topicId, partition, epoch)
      if (named === undefined) continue
      const answer = this.#capture(() => named.replica.step({ kind: 'leader-announced', leader, epoch: named.epoch }))
      if (answer?.kind === 'refused')
        refused.push({ index, promisedEpoch: answer.promisedEpoch, leader: answer.leader })
    }
    return { refused }
  }

  async suggestLeader(request: RequestOf<'suggestLeader'>): Promise<object> {
    for (const { topicId, partition, epochSeen } of request.partitions) {
      const named = this.#named(topicId, partition, epochSeen)
      named?.replica.campaign(named.epoch)
    }
    return {}
  }

  async dismissReplicas(request: RequestOf<'dismissReplicas'>): Promise<ResponseOf<'dismissReplicas'>> {
    const from = toBrokerId(request.brokerId)
    const isDismissed = request.partitions.map(({ topicId, partition, latestEpoch }) => {
      const named = this.#named(topicId, partition, latestEpoch ?? 0)
      if (named === undefined) return false
      return named.replica.dismiss(from, request.directoryId, latestEpoch === undefined ? undefined : named.epoch)
    })
    return { isDismissed }
  }

  /** What a peer means by one partition of its request; undefined where it is not here, or makes no sense. */
  #named(
    topicId: string,
    partition: number,
    epoch: number,
  ): { readonly replica: Replica; readonly epoch: LeaderEpoch } | undefined {
    const replica = unlessGarbage(() => this.find(toTopicId(topicId), partition))
    const read = unlessGarbage(() => leaderEpoch(epoch))
    return replica === undefined || read === undefined ? undefined : { replica, epoch: read }
  }

  // What replicas ask for

  monotonic(): number {
    return this.#options.clock.monotonic()
  }

  now(): TimestampMs {
    return this.#options.clock.now()
  }

  isLeaseHeld(): boolean {
    return this.#options.coordinator.sessionValidUntil() > this.#options.clock.monotonic()
  }

  persistPromise(replica: Replica, promise: ReplicaPromise): void {
    // Whoever waits for an earlier one is answered by nobody.
    const waiting = this.#waiting.get(replica)
    if (waiting !== undefined) this.#dropWaiting(replica)
    if (this.#promises.size === 0) this.#options.timers.atEndOfTurn(() => this.#writePromises())
    this.#promises.set(replica, promise)
  }

  #writePromises(): void {
    const promises = this.#promises
    this.#promises = new Map()
    this.#write(promises)
  }

  #write(promises: ReadonlyMap<Replica, ReplicaPromise>): void {
    const entries = [...promises].map(([{ identity }, { epoch, leader }]) => {
      return { topicId: identity.topicId, partition: identity.partition, epoch, leaderId: leader }
    })
    this.#options.directory.promises.record(entries).then(
      () => {
        for (const [replica, promise] of promises) replica.onPromisePersisted(promise)
      },
      (error: unknown) => this.#onPromisesLost(promises, error),
    )
  }

  #onPromisesLost(promises: ReadonlyMap<Replica, ReplicaPromise>, error: unknown): void {
    const failure = error instanceof TidemarkError ? error : new TidemarkError('STORAGE_ERROR', String(error))
    // The disk has promised more for one of them: the others are not to suffer for it.
    if (failure.code === 'FENCED_LEADER_EPOCH' && promises.size > 1) {
      for (const [replica, promise] of promises) this.#write(new Map([[replica, promise]]))
      return
    }
    this.#options.logger.error({ error: failure.message, count: promises.size }, 'promises cannot be written')
    for (const replica of promises.keys()) this.#dropWaiting(replica)
    if (failure.code === 'STORAGE_ERROR' || failure.code === 'SHUTTING_DOWN') {
      for (const replica of promises.keys()) replica.onDiskFailed(failure)
      return
    }
    for (const [replica, promise] of promises) if (this.#isOpen(replica)) this.#unwritten.set(replica, promise)
  }

  #writeAgain(): void {
    const unwritten = [...this.#unwritten]
    this.#unwritten.clear()
    for (const [replica, promise] of unwritten) {
      if (replica.state.promise === promise) this.persistPromise(replica, promise)
    }
  }

  async persistTrust(replica: Replica): Promise<void> {
    const { directory, logger } = this.#options
    const { topicId, partition, incarnation } = replica.identity
    const trusted = directory.promises.trust([{ topicId, partition }], incarnation)
    await Promise.all([trusted, directory.clearNewcomer(topicId, partition)]).catch((error: unknown) => {
      // It stays suspect after the next start, and is found complete again.
      logger.warn({ topic: replica.identity.topic, partition, error: String(error) }, 'trust could not be noted')
    })
  }

  sendFence(replica: Replica, to: BrokerId, epoch: LeaderEpoch): void {
    this.#mail.fence(replica, to, epoch)
  }

  answerFence(replica: Replica, to: BrokerId, epoch: LeaderEpoch, answer: FenceAnswer): void {
    if (this.#isCapturing) {
      this.#captured = answer
      return
    }
    const waiting = this.#waiting.get(replica) ?? []
    for (const one of waiting) one.answer(one.candidate === to && one.epoch === epoch ? answer : NO_ANSWER)
    this.#waiting.delete(replica)
  }

  publishLeadership(replica: Replica, epoch: LeaderEpoch): void {
    const { topic, partition } = replica.identity
    this.#options.logger.info({ topic, partition, epoch }, 'leads')
    this.#options.meter.counter('tidemark_leader_elections_total').add(1)
    this.#options.publisher.publish(replica, epoch)
    for (const peer of this.#audienceOf(replica)) {
      if (peer !== this.brokerId) this.#mail.announce(replica, peer, epoch)
    }
  }

  proposeInSyncReplicas(replica: Replica, epoch: LeaderEpoch, members: readonly BrokerId[]): void {
    this.#countInSync(replica, epoch, members.length)
    this.#options.publisher.propose(replica, epoch, members)
  }

  #countInSync(replica: Replica, epoch: LeaderEpoch, count: number): void {
    const before = this.#inSyncCounts.get(replica)
    this.#inSyncCounts.set(replica, { epoch, count })
    if (before?.epoch !== epoch || before.count === count) return
    const { topic, partition } = replica.identity
    const { meter, logger } = this.#options
    const isShrunk = count < before.count
    meter.counter(isShrunk ? 'tidemark_isr_shrinks_total' : 'tidemark_isr_expands_total').add(1)
    logger.info(
      { topic, partition, inSync: replica.state.inSyncReplicas },
      isShrunk ? 'a replica fell behind' : 'a replica caught up',
    )
  }

  onCampaignAbandoned(replica: Replica, epochSeen: LeaderEpoch): void {
    this.#election?.onCampaignAbandoned(replica, epochSeen)
  }

  suggestSuccessor(replica: Replica, to: BrokerId, epochSeen: LeaderEpoch): void {
    if (to === this.brokerId) replica.campaign(epochSeen)
    else this.#mail.suggest(replica, to, epochSeen)
  }

  startFetching(replica: Replica, leader: BrokerId): void {
    this.#options.fetching.start(replica, leader)
  }

  stopFetching(replica: Replica): void {
    this.#options.fetching.stop(replica)
  }

  async truncate(replica: Replica, to: Offset): Promise<void> {
    const { topic, topicId, partition } = replica.identity
    const from = replica.partition.log.logEndOffset
    this.#options.logger.info({ topic, partition, from, to }, 'cuts its log to that of the leader')
    await this.#options.directory.truncateLog(topicId, partitionId(partition), to)
  }

  async restartLog(replica: Replica, at: Offset, votersRecord: VotersRecord | undefined): Promise<void> {
    const { directory, logger } = this.#options
    const { topic, topicId, partition } = replica.identity
    const { log } = replica.partition
    logger.warn({ topic, partition, from: log.logEndOffset, at }, 'begins anew where the log of the leader begins')
    if (at < log.logEndOffset) await directory.truncateLog(topicId, partitionId(partition), log.logStartOffset)
    await directory.skipLog(topicId, partitionId(partition), at, votersRecord)
  }

  async beginLogAnew(replica: Replica, { offset: at, votersRecord, anew }: LogBeginning): Promise<void> {
    const { directory, logger } = this.#options
    const { topic, topicId, partition } = replica.identity
    const { log } = replica.partition
    const fields = { topic, partition, from: log.logEndOffset, at, droppedTo: anew.droppedTo }
    logger.warn(fields, 'copies its log anew: keys in it may have been deleted, or superseded, in that of the leader')
    // Remembered before anything is given up, and what is of the new log when there is nothing of the old one.
    await log.compaction.beforeBeginningAnew(anew.floor)
    await directory.truncateLog(topicId, partitionId(partition), log.logStartOffset)
    await directory.skipLog(topicId, partitionId(partition), at, votersRecord)
    await log.compaction.onBegunAnew(anew.droppedTo)
  }

  noteHighWatermark(replica: Replica, to: Offset): void {
    const { topicId, partition } = replica.identity
    this.#options.directory.highWatermarks.note(topicId, partition, to)
  }

  reportPossibleLoss(replica: Replica, epoch: LeaderEpoch, fromOffset: Offset): void {
    const { topic, partition } = replica.identity
    const text = 'acknowledged records may be lost: too many replicas were not shut down in order'
    this.#options.logger.error({ topic, partition, epoch, fromOffset }, text)
    this.#options.meter.counter('tidemark_data_loss_suspected_total').add(1)
  }

  onStopped(replica: Replica, reason: string): void {
    const { topic, partition } = replica.identity
    this.#options.logger.error({ topic, partition, reason }, 'a replica is out of service')
    this.#options.fetching.stop(replica)
    this.#dropWaiting(replica)
  }

  onVotersSettled(replica: Replica, { voters, minInSyncReplicas }: VoterSet): void {
    if (replica.role !== 'leader') return
    const { topic, partition } = replica.identity
    const ids = voters.map(({ brokerId }) => brokerId)
    this.#options.logger.info({ topic, partition, voters: ids, minInSyncReplicas }, 'its voters have changed')
  }

  /** Of a partition that this broker leads: the change of its voters that is wanted, and what it waits for. */
  voterChange(topicId: TopicId, partition: number): VoterChange | undefined {
    const replica = this.find(topicId, partition)
    return replica === undefined ? undefined : this.#voterChanges.changeOf(replica)
  }

  /** Whoever has a replica of the partition, or is to get one. */
  #audienceOf({ identity: { topicId, partition, assignment }, voters }: Replica): ReadonlySet<BrokerId> {
    const moving = this.#options.coordinator.topics.get(topicId)?.moves?.[String(partition)] ?? []
    return new Set([
      ...assignment,
      ...voters.map(({ brokerId }) => brokerId),
      ...moving.map(({ brokerId }) => brokerId),
    ])
  }

  async #askToGo(replica: Replica, leader: BrokerId): Promise<boolean> {
    const { brokerId, peers, logger } = this.#options
    const { topic, topicId, partition, directoryId } = replica.identity
    const partitions = [{ topicId, partition, latestEpoch: replica.latestEpochToTell }]
    try {
      const { body } = await peers.ask(leader, 'dismissReplicas', { brokerId, directoryId, partitions })
      return body.isDismissed[0] === true
    } catch (error) {
      logger.debug(
        { topic, partition, leader, error: String(error) },
        'its leader could not be asked whether it may go',
      )
      return false
    }
  }

  async #letGo(replica: Replica, mayGo: () => Promise<boolean>): Promise<boolean> {
    const { topicId, partition } = replica.identity
    let isGone = false
    if (!this.#isOpen(replica)) return isGone
    await this.#release?.(replica, async () => {
      if (!(await mayGo())) return
      await this.#options.directory.releaseLog(topicId, partitionId(partition))
      isGone = true
    })
    return isGone
  }

  // What happens

  #onChange(change: ClusterChange): void {
    switch (change.kind) {
      case 'leadership-changed': {
        const replica = this.find(change.topicId, change.partition)
        if (replica !== undefined) this.#hearCoordinator(replica)
        return
      }
      case 'session-lost': {
        // One that could not be renewed runs out by the clock, and its leader may go on while its followers follow.
        if (change.isTaken) for (const replica of this.all()) replica.onLeaseTaken()
        return
      }
      case 'topic-changed':
        return this.#reassign(change.topic)
      case 'brokers-changed':
      case 'topic-created':
      case 'topic-deleted':
    }
  }

  #reassign({ topicId, assignment }: TopicDefinition): void {
    for (const replica of this.#replicas.get(topicId) ?? []) {
      const row = replica === undefined ? undefined : assignment?.[replica.identity.partition]
      if (row !== undefined) replica?.reassign(row)
    }
  }

  /** What the coordinator says of a leader is worth to be tried. */
  #hearCoordinator(replica: Replica): void {
    const { topicId, partition } = replica.identity
    const known = this.#options.coordinator.leaderships.of(topicId, partition)
    if (known?.leader === this.brokerId) this.#correctInSync(replica, known)
    if (known?.leader === undefined || known.leaderEpoch === undefined || known.leader === this.brokerId) return
    if (known.leaderEpoch < (replica.state.promise?.epoch ?? 0)) return
    // A refusal is for the leader alone; it hears the same from us when it tells us itself.
    const { leader, leaderEpoch: epoch } = known
    this.#capture(() => replica.step({ kind: 'leader-announced', leader, epoch }))
  }

  /** What the coordinator has forgotten without a word is seen by looking. */
  #correctOwn(replica: Replica): void {
    if (replica.role !== 'leader') return
    const { topicId, partition } = replica.identity
    const known = this.#options.coordinator.leaderships.of(topicId, partition)
    if (known?.leader === this.brokerId) this.#correctInSync(replica, known)
  }

  /** A coordinator that has forgotten something is told again what the leader knows. */
  #correctInSync(replica: Replica, { leaderEpoch: epoch, inSyncReplicas: told }: Leadership): void {
    if (replica.role !== 'leader' || epoch === undefined || epoch !== replica.leaderEpoch) return
    const { inSyncReplicas } = replica.state
    const isSame = told.length === inSyncReplicas.length && inSyncReplicas.every((id) => told.includes(id))
    if (!isSame) this.#options.publisher.propose(replica, epoch, inSyncReplicas)
  }

  /** A broker that has just come knows nothing of what happened meanwhile. */
  #tellLeaderships(peer: BrokerId): void {
    for (const replica of this.all()) {
      const { leaderEpoch: epoch } = replica
      if (epoch !== undefined && this.#audienceOf(replica).has(peer)) this.#mail.announce(replica, peer, epoch)
    }
  }

  #tick(): void {
    for (const replica of this.all()) if (replica.role !== 'follower' && replica.role !== 'offline') replica.tick()
    this.#ticks += 1
    if (this.#ticks % PROMISES_EVERY_TICKS === 0) this.#writeAgain()
    if (this.#ticks % CORRECT_EVERY_TICKS === 0) for (const replica of this.all()) this.#correctOwn(replica)
    this.#voterChanges.tick()
    this.#holeRepairs.tick()
    this.#timer = this.#options.timers.after(TICK_MS, () => this.#tick(), { background: true })
  }

  #capture(act: () => void): FenceAnswer | undefined {
    this.#isCapturing = true
    this.#captured = undefined
    try {
      act()
      return this.#captured
    } finally {
      this.#isCapturing = false
      this.#captured = undefined
    }
  }

  #dropWaiting(replica: Replica): void {
    for (const { answer } of this.#waiting.get(replica) ?? []) answer(NO_ANSWER)
    this.#waiting.delete(replica)
  }
}

/** Whose word counted first in the partition: by its origins, where its replicas have changed since. */
function votersOfBeginning(
  topic: TopicDefinition,
  partition: number,
  assignment: readonly BrokerId[],
): readonly Voter[] {
  const origins = topic.origins?.[String(partition)]
  return origins ?? assignment.map((id) => ({ brokerId: id, directoryId: topic.directories?.[String(id)] ?? '' }))
}

function fenceAnswerOf(answer: FenceAnswer): ResponseOf<'fence'>['partitions'][number] {
  const nothing = {
    answer: FENCE_ANSWERS.none,
    directoryId: undefined,
    isSuspect: false,
    latestEpoch: undefined,
    logEndOffset: 0,
    promisedEpoch: undefined,
    leader: undefined,
  }
  if (answer.kind === 'none') return nothing
  if (answer.kind === 'refused') {
    const { promisedEpoch, leader } = answer
    return { ...nothing, answer: FENCE_ANSWERS.refused, promisedEpoch, leader }
  }
  const { directoryId, isSuspect, position } = answer.grant
  return { ...nothing, answer: FENCE_ANSWERS.granted, directoryId, isSuspect, ...position }
}
