// One replica of one partition in the world: feeds what happens to its rules (replica-state.ts), one event at a time, and
// runs the effects in their order. Owns the view of the log that the rules read, and the records that came with an event;
// holds no rule itself. What concerns other brokers, the journal or the coordinator is the host's.
//
// Invariants: an event that comes while another is worked on waits for its end; what was appended in this turn is written
// before any event that may change who leads, so that the rules always see the log that the disk has.

import type { BrokerId, LeaderEpoch, Offset, TimestampMs, TopicId } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { Partition, PartitionReplica } from './partition.ts'
import type { PartitionRefusal } from './pending-produce.ts'
import type { ReplicaRules } from './replica-rules.ts'
import type {
  FenceGrant,
  FetchAnswer,
  FetchEcho,
  FetchPosition,
  LogPosition,
  ReplicaEffect,
  ReplicaEvent,
  ReplicaPromise,
  Role,
} from './replication-events.ts'
import { assertNever, must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { lossAcceptedIn, lossAcceptedInLog, encodeEpochStart } from './epoch-start.ts'
import { LogView } from './log-view.ts'
import { encodeVotersRecord } from '../storage/voters-record.ts'
import { ReplicaState } from './replica-state.ts'
import { votersOf } from './voters.ts'

/** What an answer to a fetch says of one partition, besides its records. */
export type FetchedAnswer =
  | {
      readonly kind: 'records'
      readonly highWatermark: Offset
      readonly logStartOffset: Offset
      readonly clearsSuspect: boolean
    }
  | Exclude<FetchAnswer, { readonly kind: 'records' }>

/** Where a log begins anew, and what is to be remembered. */
export type LogBeginning = Omit<ReplicaEffect & { readonly kind: 'restart-log-at' }, 'kind'> & {
  readonly anew: { readonly floor: LogPosition | undefined; readonly droppedTo: Offset }
}

/** How a fence was answered. */
export type FenceAnswer =
  | { readonly kind: 'none' }
  | { readonly kind: 'granted'; readonly grant: FenceGrant }
  | { readonly kind: 'refused'; readonly promisedEpoch: LeaderEpoch; readonly leader: BrokerId | undefined }

export type VotersChangeRefusal = ReplicaEffect & { readonly kind: 'refuse-voters-change' }

/** The broker around a replica. */
export interface ReplicaHost {
  readonly brokerId: BrokerId
  /** Milliseconds, monotonic. */
  monotonic(): number
  now(): TimestampMs
  isLeaseHeld(): boolean
  /** Answered by `onPromisePersisted`. */
  persistPromise(replica: Replica, promise: ReplicaPromise): void
  /** Resolves when it is durable, or has failed and is given up until the next start. */
  persistTrust(replica: Replica): Promise<void>
  sendFence(replica: Replica, to: BrokerId, epoch: LeaderEpoch): void
  answerFence(replica: Replica, to: BrokerId, epoch: LeaderEpoch, answer: FenceAnswer): void
  publishLeadership(replica: Replica, epoch: LeaderEpoch): void
  proposeInSyncReplicas(replica: Replica, epoch: LeaderEpoch, members: readonly BrokerId[]): void
  onCampaignAbandoned(replica: Replica, epochSeen: LeaderEpoch): void
  suggestSuccessor(replica: Replica, to: BrokerId, epochSeen: LeaderEpoch): void
  startFetching(replica: Replica, leader: BrokerId): void
  stopFetching(replica: Replica): void
  /** Durable when it resolves. */
  truncate(replica: Replica, to: Offset): Promise<void>
  /** The voters record is in force there from then on, and durable; absent: those of the beginning. */
  restartLog(replica: Replica, at: Offset, votersRecord: VotersRecord | undefined): Promise<void>
  /** As restartLog, of a log that is to be copied anew: remembers what it is told, the floor before anything is cut. */
  beginLogAnew(replica: Replica, beginning: LogBeginning): Promise<void>
  noteHighWatermark(replica: Replica, to: Offset): void
  reportPossibleLoss(replica: Replica, epoch: LeaderEpoch, fromOffset: Offset): void
  onStopped(replica: Replica, reason: string): void
  /** The voters have changed for good, as far as this replica knows. */
  onVotersSettled(replica: Replica, set: VoterSet): void
}

export interface ReplicaIdentity {
  readonly topic: string
  readonly topicId: TopicId
  readonly partition: number
  /** The preferred leader first; where the catalogue has the replicas now. */
  readonly assignment: readonly BrokerId[]
  /** Of the beginning; whose word counts now says `Replica.voters`. */
  readonly voters: readonly Voter[]
  readonly minInSyncReplicas: number
  readonly directoryId: string
  readonly incarnation: number
  /** What a leader does whose lease cannot be renewed while its followers still follow it. */
  readonly withoutLease: 'serve' | 'stop'
}

export interface ReplicaMemory {
  readonly promise: ReplicaPromise | undefined
  readonly highWatermark: Offset
  readonly isSuspect: boolean
  readonly isNewcomer?: boolean
  readonly rules?: ReplicaRules
}

/** For tests of the rules: other ones, and a look at every replica from its opening on. */
export interface ReplicaTrial {
  readonly rules?: ReplicaRules
  onReplica(replica: Replica): void
}

/** Before these, what is staged need not be written: they change nothing about who leads. */
const HARMLESS: ReadonlySet<ReplicaEvent['kind']> = new Set([
  'replica-fetched',
  'records-appended',
  'records-synced',
  'lease-held',
  'tick',
])

/** Consumers wait for so long for a leader that has the records that this one has lost. */
const TAKE_OVER_MS_MAX = 15_000

export class Replica implements PartitionReplica {
  #identity: ReplicaIdentity
  readonly partition: Partition
  readonly state: ReplicaState
  readonly #host: ReplicaHost
  readonly #log: LogView
  readonly #events: ReplicaEvent[] = []
  readonly #effects: ReplicaEffect[] = []
  #isStepping = false
  #isStopped = false
  /** Came with the event that is worked on. */
  #records: Uint8Array | undefined
  #answer: FetchAnswer | undefined
  #appendFailure: TidemarkError | undefined
  #isDismissed = false
  /** Found complete, which its disk does not remember yet. */
  #isTrustPending = false
  #isLeaseHeld = false
  /** Why the last change of voters that was asked for has not begun. */
  #votersRefusal: VotersChangeRefusal | undefined
  /** The voters record that has been told of or synced last. */
  #votersRecord: VotersRecord | undefined
  /** A record of its own: followers wait for it, and are woken when the step is over. */
  #hasOwnRecord = false
  #voters: readonly Voter[] = []
  #votersOf: readonly VoterSet[] = []
  /** Since consumers have first asked this leader for what it has lost. */
  #refusedIn: { readonly epoch: LeaderEpoch; readonly until: number } | undefined
  /** Why it serves nobody, for people. */
  #stopReason: string | undefined

  constructor(identity: ReplicaIdentity, memory: ReplicaMemory, partition: Partition, host: ReplicaHost) {
    this.#identity = identity
    this.partition = partition
    this.#host = host
    this.#log = new LogView(partition.log)
    this.state = new ReplicaState({ ...identity, ...memory, self: host.brokerId, log: this.#log })
    partition.follow(this, this.state.highWatermark)
  }

  get identity(): ReplicaIdentity {
    return this.#identity
  }

  /** The catalogue says anew where the replicas are. */
  reassign(assignment: readonly BrokerId[]): void {
    const isSame = assignment.join() === this.#identity.assignment.join()
    if (!isSame) this.#identity = { ...this.#identity, assignment }
  }

  /** Whose word counts, by the log of this replica: all that one of the sets in force names. */
  get voters(): readonly Voter[] {
    const { voterSets } = this.state
    if (voterSets !== this.#votersOf) {
      this.#votersOf = voterSets
      this.#voters = votersOf(voterSets)
    }
    return this.#voters
  }

  /** Why the change of voters that was asked for last has not begun; undefined if it has, or was not asked for. */
  get votersRefusal(): VotersChangeRefusal | undefined {
    return this.#votersRefusal
  }

  /** Takes part from now on. What the log holds is synced first: nobody is told of what a loss of power could take. */
  async open(): Promise<void> {
    const { log } = this.partition
    await log.sync()
    this.#log.lossAcceptedIn = await lossAcceptedInLog(log)
    await this.#log.findFirstBatch()
    if (!this.#isStopped) this.step({ kind: 'log-opened' })
    if (this.state.highWatermark !== this.partition.highWatermark) {
      this.partition.advanceHighWatermark(this.state.highWatermark)
      // A log that has lost its end: it must not be remembered as committed when it is as long again with other records.
      this.#host.noteHighWatermark(this, this.state.highWatermark)
    }
  }

  /** Takes part no more; what waits here is answered. Idempotent. */
  stop(): void {
    if (this.#isStopped) return
    this.step({ kind: 'stopped' })
    this.#isStopped = true
  }

  get role(): Role {
    return this.state.role
  }

  get stopReason(): string | undefined {
    return this.#stopReason
  }

  /** Milliseconds, monotonic: for events that carry the time. */
  monotonic(): number {
    return this.#host.monotonic()
  }

  get name(): string {
    return `partition ${this.identity.partition} of ${this.identity.topic}`
  }

  /** This broker where it leads, or whom it follows; undefined while nobody is known. */
  get leader(): BrokerId | undefined {
    return this.role === 'leader' ? this.#host.brokerId : this.state.following
  }

  get leaderEpoch(): LeaderEpoch | undefined {
    return this.state.leaderEpoch
  }

  /** Of its log, or of what that was before it was begun anew. */
  get latestEpochToTell(): LeaderEpoch | undefined {
    const { latestEpoch, compaction } = this.#log
    const before = compaction?.floor?.latestEpoch
    return before !== undefined && before > (latestEpoch ?? -1) ? before : latestEpoch
  }

  /** Whether its disk has lost records that others may still have. */
  get hasHoles(): boolean {
    return this.#log.hasHoles && this.voters.length > 1
  }

  get isLatestKnown(): boolean {
    this.checkLease()
    return this.role === 'leader' && this.state.isLatestKnown
  }

  whyNotAppend(acks: number): PartitionRefusal | undefined {
    this.checkLease()
    if (this.role !== 'leader') return this.#notLeader()
    if (acks !== -1 || this.state.hasEnoughInSync) return undefined
    const { inSyncReplicas, voterSets } = this.state
    const needed = Math.max(...voterSets.map(({ minInSyncReplicas }) => minInSyncReplicas))
    const message = `${this.name}: ${inSyncReplicas.length} replicas are in sync, min.insync.replicas is ${needed}`
    return { error: 'NOT_ENOUGH_REPLICAS', message }
  }

  whyNotReadYet(): PartitionRefusal | undefined {
    const { leaderEpoch, state } = this
    if (leaderEpoch === undefined || state.wholeReplicas.length === 0) return undefined
    const now = this.#host.monotonic()
    if (this.#refusedIn?.epoch !== leaderEpoch) this.#refusedIn = { epoch: leaderEpoch, until: now + TAKE_OVER_MS_MAX }
    // It has had its time, and has not come to that.
    if (now >= this.#refusedIn.until) return undefined
    const message = `${this.name}: this broker has lost these records to damage; one that has them is about to lead`
    return { error: 'NOT_LEADER_OR_FOLLOWER', message }
  }

  whyNotRead(): PartitionRefusal | undefined {
    const { role } = this
    return role === 'leader' || role === 'resigned' ? undefined : this.#notLeader()
  }

  onWritten(): void {
    this.step({ kind: 'records-appended' })
  }

  onSynced(): void {
    this.step({ kind: 'records-synced' })
  }

  onDiskFailed(error: TidemarkError): void {
    // What was under way when it stopped is nobody's loss any more.
    if (this.#isStopped) return
    this.#stopReason = error.message
    this.step({ kind: 'disk-failed' })
    this.#host.onStopped(this, error.message)
  }

  /** Others may lead it. With none, what can be read is better than nothing. */
  onLogFailed(error: TidemarkError): void {
    if (this.voters.length > 1 && this.role !== 'offline') this.onDiskFailed(error)
  }

  onPromisePersisted(promise: ReplicaPromise): void {
    this.step({ kind: 'promise-persisted', promise })
  }

  /** Tells the rules when the lease has come or gone; by the clock, at the moment that it matters. */
  checkLease(): void {
    const isHeld = this.#host.isLeaseHeld()
    if (isHeld === this.#isLeaseHeld) return
    this.#isLeaseHeld = isHeld
    const now = this.#host.monotonic()
    this.step(isHeld ? { kind: 'lease-held', now } : { kind: 'lease-lost', reason: 'expired', now })
  }

  /** The coordinator says that another life has this broker's session. */
  onLeaseTaken(): void {
    this.#isLeaseHeld = false
    this.step({ kind: 'lease-lost', reason: 'taken', now: this.#host.monotonic() })
  }

  campaign(epochHint: LeaderEpoch | undefined): void {
    this.checkLease()
    this.step({ kind: 'campaign-suggested', epochHint, now: this.#host.monotonic() })
  }

  /** To be asked for again until the voters that count are those. */
  changeVoters(to: VoterSet): void {
    this.#votersRefusal = undefined
    this.step({ kind: 'change-voters-asked', to, now: this.#host.monotonic() })
  }

  /**
   * Goes on alone, whatever others have; who asks for this accepts that what they have is lost. Answers whether that has
   * begun: it leads when its promise is durable.
   */
  recover(): boolean {
    this.checkLease()
    this.step({ kind: 'recovery-asked', now: this.#host.monotonic() })
    return this.role === 'candidate'
  }

  /**
   * Whether this leader lets that replica go, which takes part no more until it is answered: its log may be deleted then.
   * False from who does not lead.
   */
  dismiss(from: BrokerId, directoryId: string, latestEpoch: LeaderEpoch | undefined): boolean {
    this.#isDismissed = false
    this.step({ kind: 'dismissal-asked', from, directoryId, latestEpoch, now: this.#host.monotonic() })
    return this.#isDismissed
  }

  handOver(to: BrokerId): void {
    this.step({ kind: 'hand-over-asked', to, now: this.#host.monotonic() })
  }

  tick(): void {
    this.checkLease()
    this.#log.findFirstBatch().catch(() => undefined)
    this.step({ kind: 'tick', now: this.#host.monotonic() })
  }

  /** A follower's fetch that came then, by `monotonic`: what it is answered now, as far as the rules go. */
  fetch(fetch: FetchPosition, cameAt = this.#host.monotonic()): FetchAnswer {
    // Woken by this replica's own standing down: there is nothing more to say.
    if (this.#isStepping) return { kind: 'refused', error: 'NOT_LEADER_OR_FOLLOWER' }
    this.#answer = undefined
    this.step({ kind: 'replica-fetched', fetch, cameAt, now: this.#host.monotonic() })
    return this.#answer ?? { kind: 'refused', error: 'NOT_LEADER_OR_FOLLOWER' }
  }

  /**
   * What to fetch next; undefined while there is nobody to fetch from. The next fetch says that this replica is complete: who
   * hears it may make a newcomer a voter, and as a newcomer it could not elect anybody after a crash.
   */
  fetchPosition(): FetchPosition | undefined {
    const position = this.#isTrustPending ? undefined : this.state.fetchPosition()
    return position === undefined || !this.hasHoles ? position : { ...position, hasHoles: true }
  }

  #persistTrust(): void {
    this.#isTrustPending = true
    const goOn = (): void => {
      this.#isTrustPending = false
      const { following } = this.state
      if (!this.#isStopped && following !== undefined) this.#host.startFetching(this, following)
    }
    this.#host.persistTrust(this).then(goOn, goOn)
  }

  /**
   * The leader's answer to a fetch of this replica. The records are valid only during the call. Answers why they could not
   * be taken: then the same ones are worth asking for again, after a while.
   */
  onFetched(echo: FetchEcho, answer: FetchedAnswer, records: Uint8Array): TidemarkError | undefined {
    this.#appendFailure = undefined
    switch (answer.kind) {
      case 'records': {
        const { highWatermark, clearsSuspect } = answer
        this.#records = records
        this.step({ kind: 'records-received', echo, highWatermark, clearsSuspect, isEmpty: records.length === 0 })
        this.#records = undefined
        return this.#appendFailure
      }
      case 'diverging': {
        const { epoch, endOffset, lossAcceptedIn: accepted } = answer
        this.step({ kind: 'divergence-received', echo, epoch, endOffset, lossAcceptedIn: accepted })
        return undefined
      }
      case 'log-start': {
        const { kind: _, ...told } = answer
        this.step({ kind: 'log-start-received', echo, ...told })
        return undefined
      }
      case 'refused':
        return new TidemarkError(answer.error, `${this.name}: broker ${echo.from} has refused a fetch`)
      default:
        return assertNever(answer)
    }
  }

  step(event: ReplicaEvent): void {
    if (this.#isStopped) return
    this.#events.push(event)
    if (this.#isStepping) return
    if (!HARMLESS.has(event.kind)) this.partition.flush()
    this.#isStepping = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        // One that has come up in the middle of a step finds what was appended before it written as well.
        if (!HARMLESS.has(next.kind)) this.partition.flush()
        this.state.step(next, this.#effects)
        for (let effect = this.#effects.shift(); effect !== undefined; effect = this.#effects.shift()) this.#run(effect)
      }
    } catch (error) {
      this.#onBroken(error)
    } finally {
      this.#isStepping = false
    }
    if (!this.#hasOwnRecord) return
    this.#hasOwnRecord = false
    this.partition.followers.onReadable(1)
  }

  /** A rule or a disk has failed half way: what this replica thinks of itself is not to be trusted any more. */
  #onBroken(error: unknown): void {
    this.#events.length = 0
    this.#effects.length = 0
    const reason = error instanceof Error ? error.message : String(error)
    this.#stopReason = reason
    this.#isStopped = true
    this.#goOffline()
    this.#host.stopFetching(this)
    this.partition.refuseProduces()
    this.#host.onStopped(
      this,
      error instanceof TidemarkError ? reason : error instanceof Error ? (error.stack ?? reason) : reason,
    )
  }

  /** Whoever asks for its role is to hear that it has none. */
  #goOffline(): void {
    try {
      this.state.step({ kind: 'disk-failed' }, [])
    } catch {
      // It was broken before.
    }
  }

  #run(effect: ReplicaEffect): void {
    const host = this.#host
    switch (effect.kind) {
      case 'persist-promise':
        return host.persistPromise(this, effect.promise)
      case 'persist-suspect':
        return effect.isSuspect ? undefined : this.#persistTrust()
      case 'send-fence':
        return host.sendFence(this, effect.to, effect.epoch)
      case 'grant-fence':
        return host.answerFence(this, effect.to, effect.grant.epoch, { kind: 'granted', grant: effect.grant })
      case 'refuse-fence': {
        const { to, epoch, promisedEpoch, leader } = effect
        return host.answerFence(this, to, epoch, { kind: 'refused', promisedEpoch, leader })
      }
      case 'append-epoch-start':
        return this.#appendEpochStart(effect.epoch, effect.lossAcceptedIn)
      case 'publish-leadership':
        return host.publishLeadership(this, effect.epoch)
      case 'abandon-campaign':
        return host.onCampaignAbandoned(this, effect.epochSeen)
      case 'suggest-leader':
        return host.suggestSuccessor(this, effect.to, effect.epochSeen)
      case 'start-fetching':
        return host.startFetching(this, effect.leader)
      case 'stop-fetching':
        return host.stopFetching(this)
      case 'answer-fetch':
        this.#answer = effect.answer
        return undefined
      case 'append-records':
        return this.#appendRecords()
      case 'truncate-to':
        this.#followHighWatermarkDown()
        return this.#cut(host.truncate(this, effect.offset), undefined)
      case 'restart-log-at':
        this.#followHighWatermarkDown()
        return this.#cut(this.#restartLog(effect), effect.epoch)
      case 'advance-high-watermark':
        this.partition.advanceHighWatermark(effect.to)
        return host.noteHighWatermark(this, effect.to)
      case 'settle-produces':
        return this.partition.settleProduces(effect.endOffset)
      case 'refuse-produces':
        return this.partition.refuseProduces()
      case 'propose-in-sync-replicas':
        return host.proposeInSyncReplicas(this, effect.epoch, effect.replicas)
      case 'report-possible-loss':
        return host.reportPossibleLoss(this, effect.epoch, effect.fromOffset)
      case 'append-voters':
        return this.#appendVoters(effect)
      case 'answer-dismissal':
        this.#isDismissed = effect.isDismissed
        return undefined
      case 'refuse-voters-change':
        this.#votersRefusal = effect
        return undefined
      case 'voters-settled':
        return host.onVotersSettled(this, effect.set)
      case 'stop-partition':
        this.#stopReason =
          'the leader would have it cut off what consumers have read: one of the two has lost records; where it is this ' +
          'one, start the broker with an empty data-dir and readmit it'
        return host.onStopped(this, this.#stopReason)
      default:
        return assertNever(effect)
    }
  }

  #restartLog(effect: ReplicaEffect & { readonly kind: 'restart-log-at' }): Promise<void> {
    const { offset: at, votersRecord, anew } = effect
    if (anew === undefined) return this.#host.restartLog(this, at, votersRecord)
    return this.#host.beginLogAnew(this, { ...effect, anew })
  }

  /** Where an election has accepted a loss, or a log begins anew, and only there. */
  #followHighWatermarkDown(): void {
    const { highWatermark } = this.state
    if (highWatermark >= this.partition.highWatermark) return
    this.partition.lowerHighWatermark(highWatermark)
    this.#host.noteHighWatermark(this, highWatermark)
  }

  #appendEpochStart(epoch: LeaderEpoch, accepted: LeaderEpoch | undefined): void {
    try {
      this.partition.appendControl(encodeEpochStart(this.#host.brokerId, accepted), epoch, this.#host.now())
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code === 'STORAGE_ERROR') throw error
      // Where it was left for later, whoever needs it asks again.
      if (this.#effects.some(({ kind }) => kind === 'publish-leadership')) this.#giveUpLeading(epoch)
      return
    }
    this.#log.lossAcceptedIn = accepted
    this.#events.push({ kind: 'records-appended' })
    this.#hasOwnRecord = true
  }

  #appendVoters({ epoch, set, next }: ReplicaEffect & { readonly kind: 'append-voters' }): void {
    this.partition.flush()
    try {
      this.partition.appendControl(encodeVotersRecord(set, next), epoch, this.#host.now())
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code === 'STORAGE_ERROR') throw error
      // Of an election it is a part. A change is asked for again, and so is its end.
      if (this.#effects.some(({ kind }) => kind === 'append-epoch-start')) this.#giveUpLeading(epoch)
      return
    }
    this.#events.push({ kind: 'records-appended' })
    this.#hasOwnRecord = true
    this.#syncVoters()
  }

  /** A voters record counts as held when it is durable, whatever else is synced when. */
  #syncVoters(): void {
    const newest = this.partition.log.votersRecords.at(-1)
    if (newest === this.#votersRecord) return
    this.#votersRecord = newest
    if (newest !== undefined) this.partition.syncSoon()
  }

  /** The disk is full: without its first record there is no leadership, and nobody was told of it. Another may be tried. */
  #giveUpLeading(epoch: LeaderEpoch): void {
    this.#effects.length = 0
    this.#events.unshift({ kind: 'disk-failed' }, { kind: 'log-opened' })
    this.#host.onCampaignAbandoned(this, epoch)
  }

  #appendRecords(): void {
    const records = must(this.#records, 'records come with their event')
    const { epoch } = must(this.state.promise, 'who follows has promised')
    try {
      this.partition.appendReplicated(records, epoch, this.#host.now())
    } catch (error) {
      // Nothing has been appended. A log that has failed for good says so by itself.
      if (!(error instanceof TidemarkError) || error.code === 'STORAGE_ERROR') throw error
      this.#appendFailure = error
      return
    }
    const accepted = lossAcceptedIn(records)
    if (accepted !== undefined) this.#log.lossAcceptedIn = accepted.epoch
    this.#events.push({ kind: 'records-appended' })
    this.#syncVoters()
  }

  #cut(done: Promise<void>, assumedEpoch: LeaderEpoch | undefined): void {
    const cut = async (): Promise<void> => {
      await done
      if (assumedEpoch === undefined) return
      // Durable before anybody is told: a log without it would seem to be another leader's.
      this.partition.log.assumeEpoch(assumedEpoch)
      await this.partition.log.sync()
    }
    cut().then(
      () => this.step({ kind: 'log-truncated' }),
      (error: unknown) => {
        this.onDiskFailed(error instanceof TidemarkError ? error : new TidemarkError('STORAGE_ERROR', String(error)))
      },
    )
  }

  #notLeader(): PartitionRefusal {
    if (this.#stopReason !== undefined) {
      return { error: 'STORAGE_ERROR', message: `${this.name} is out of service here: ${this.#stopReason}` }
    }
    const { following } = this.state
    const who = following === undefined ? 'nobody is known to' : `broker ${following} may`
    return { error: 'NOT_LEADER_OR_FOLLOWER', message: `${this.name} is not led by this broker; ${who} lead it` }
  }
}
