// One replica of one partition: whom it follows or leads, how far consumers may read, and what that asks of the world. Owns
// the promise, the campaign, the leadership and the high watermark; reads the log through a view and never touches records,
// files, messages or clocks. SPEC.md is its description, REPLICA_RULES the rules it asks, TRANSITIONS where it may go.
//
// Total, synchronous, deterministic: every event may come in every role, at any time and more than once. Effects are pushed
// in the order in which they must happen.
//
// Invariants: the promise never falls; who leads has promised itself, durably, in this epoch and in this life; the high
// watermark does not fall, but for a loss that an election has accepted and reported.

import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { ReplicaLog } from './divergence.ts'
import type { SuspectPolicy, Voter } from './fence-quorum.ts'
import type {
  FenceGrant,
  FetchAnswer,
  FetchEcho,
  FetchPosition,
  ReplicaEffect,
  ReplicaEvent,
  ReplicaPromise,
  Role,
} from './replication-events.ts'
import type { ReplicaRules } from './replica-rules.ts'
import { assert, assertNever, must } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'
import { checkFetch, planTruncation } from './divergence.ts'
import { isVoter } from './fence-quorum.ts'
import { InSyncReplicas } from './in-sync-replicas.ts'
import { isPlausibleEpoch, nextEpoch } from './promise.ts'
import { REPLICA_RULES } from './replica-rules.ts'
import { TRANSITIONS } from './replica-transitions.ts'

export interface ReplicaOptions {
  readonly self: BrokerId
  readonly directoryId: string
  /** Grows with every start of the broker on this directory. */
  readonly incarnation: number
  /** The replicas whose word counts, on the disks that are registered for them. */
  readonly voters: readonly Voter[]
  readonly minInSyncReplicas: number
  readonly log: ReplicaLog
  /** As the disk remembers them. */
  readonly promise: ReplicaPromise | undefined
  readonly highWatermark: Offset
  readonly isSuspect: boolean
  readonly suspectPolicy?: SuspectPolicy
  /** What a leader does whose lease cannot be renewed while its followers still follow it. */
  readonly withoutLease?: 'serve' | 'stop'
  readonly lagMsMax?: number
  readonly rules?: ReplicaRules
}

const LAG_MS_MAX_DEFAULT = 10_000
/** A campaign that has not won by then is over: somebody else may try. */
const CAMPAIGN_MS_MAX = 2_000
/** A hand-over that takes longer is given up: the partition must not stay without a leader. */
const HAND_OVER_MS_MAX = 500
/** Followers that have fetched within this time confirm a leader whose lease could not be renewed. */
const CONFIRMATION_MS_MAX = 2_500

type Lease = 'held' | 'expired' | 'taken'

interface RunningCampaign {
  readonly deadline: number
  readonly grants: Map<BrokerId, FenceGrant>
  readonly refusedBy: Set<BrokerId>
}

interface Leadership {
  readonly epoch: LeaderEpoch
  readonly epochStartOffset: Offset
  readonly inSync: InSyncReplicas
  handOver: { readonly to: BrokerId; readonly deadline: number; isSuggested: boolean } | undefined
}

export class ReplicaState {
  readonly #options: ReplicaOptions
  readonly #rules: ReplicaRules
  readonly #log: ReplicaLog
  readonly #quorum: number
  #role: Role = 'offline'
  #promise: ReplicaPromise | undefined
  /** The last promise that is known to be durable. */
  #durablePromise: ReplicaPromise | undefined
  /** The broker that is said to lead the promised epoch; who really does answers fetches, and nobody else. */
  #following: BrokerId | undefined
  /** It has answered in the promised epoch: it leads for sure. */
  #hasHeard = false
  /** Who waits to be told of the promise until it is durable. */
  #fencedBy: BrokerId | undefined
  /** At least that of the promise. */
  #epochSeen: LeaderEpoch | undefined
  #isSuspect: boolean
  /** Exclusive. logStartOffset <= highWatermark <= logEndOffset while the log is open. */
  #highWatermark: Offset
  /** What the leader of the promised epoch has told last; 0 while it has told nothing. */
  #leaderHighWatermark = offset(0)
  /** A cut is not on stable storage yet. */
  #isTruncating = false
  #lease: Lease = 'expired'
  #campaign: RunningCampaign | undefined
  #leadership: Leadership | undefined
  #now = 0

  constructor(options: ReplicaOptions) {
    const { voters, minInSyncReplicas } = options
    this.#options = options
    this.#rules = options.rules ?? REPLICA_RULES
    this.#log = options.log
    this.#quorum = this.#rules.fenceQuorum(voters.length, minInSyncReplicas)
    this.#promise = options.promise
    this.#durablePromise = options.promise
    this.#following = options.promise?.leader
    this.#epochSeen = options.promise?.epoch
    this.#isSuspect = options.isSuspect
    this.#highWatermark = options.highWatermark
  }

  get role(): Role {
    return this.#role
  }

  get promise(): ReplicaPromise | undefined {
    return this.#promise
  }

  /** Whom this replica fetches from; undefined while it follows nobody. */
  get following(): BrokerId | undefined {
    return this.#role === 'follower' && this.#following !== this.#options.self ? this.#following : undefined
  }

  /** Whether the broker that it follows has shown, in the promised epoch, that it leads. */
  get hasHeardLeader(): boolean {
    return this.following !== undefined && this.#hasHeard
  }

  /** Exclusive end of what consumers may read. */
  get highWatermark(): Offset {
    return this.#highWatermark
  }

  get isSuspect(): boolean {
    return this.#isSuspect
  }

  /** Of the leadership that this replica holds, or has resigned from. */
  get leaderEpoch(): LeaderEpoch | undefined {
    return this.#leadership?.epoch
  }

  /** Whether the high watermark is that of this epoch: until then nobody can say what the latest offset is. */
  get isLatestKnown(): boolean {
    return this.#leadership !== undefined && this.#highWatermark > this.#leadership.epochStartOffset
  }

  get inSyncReplicas(): readonly BrokerId[] {
    return this.#leadership?.inSync.members ?? []
  }

  /** How far behind this leader a follower is: records, and milliseconds if that can be said. */
  lagOf(follower: BrokerId): { readonly records: number; readonly ms: number | undefined } | undefined {
    const inSync = this.#leadership?.inSync
    if (inSync === undefined) return undefined
    const { logEndOffset } = this.#log
    const records = Math.max(0, logEndOffset - inSync.heldEndOffsetOf(follower))
    return { records, ms: inSync.lagMsOf(follower, logEndOffset, this.#now) }
  }

  /** Whether a produce that waits for its replicas could be kept by enough of them now. */
  get hasEnoughInSync(): boolean {
    return this.#leadership !== undefined && this.#leadership.inSync.count >= this.#options.minInSyncReplicas
  }

  /** What to fetch next, and from whom; undefined when this replica follows nobody, or must not fetch now. */
  fetchPosition(): FetchPosition | undefined {
    const promise = this.#durablePromise
    const { self, directoryId, incarnation } = this.#options
    if (this.#role !== 'follower' || promise === undefined || promise !== this.#promise) return undefined
    if (this.following === undefined || this.#isTruncating) return undefined
    return {
      from: self,
      directoryId,
      incarnation,
      leaderEpoch: promise.epoch,
      fetchOffset: this.#log.logEndOffset,
      lastFetchedEpoch: this.#log.latestEpoch,
      heldEndOffset: this.#log.heldEndOffset,
      isSuspect: this.#isSuspect,
    }
  }

  step(event: ReplicaEvent, effects: ReplicaEffect[]): void {
    const allowed = TRANSITIONS[this.#role][event.kind]
    if (allowed.length === 0) return
    if ('now' in event) this.#now = event.now
    this.#on(event, effects)
    assert(allowed.includes(this.#role), 'a replica goes where its table lets it')
    assert(this.#role !== 'leader' || this.#promise?.leader === this.#options.self, 'who leads has promised itself')
  }

  #on(event: ReplicaEvent, effects: ReplicaEffect[]): void {
    switch (event.kind) {
      case 'log-opened':
        return this.#onLogOpened(effects)
      case 'stopped':
      case 'disk-failed':
        return this.#goOffline(effects)
      case 'campaign-suggested':
        return this.#onCampaignSuggested(event.epochHint, effects)
      case 'promise-persisted':
        return this.#onPromisePersisted(event.promise, effects)
      case 'fence-received':
        return this.#onFence(event.candidate, event.epoch, effects)
      case 'fence-granted':
        return this.#onGrant(event.grant, effects)
      case 'fence-refused':
        return this.#onRefusal(event, effects)
      case 'leader-announced':
        return this.#onAnnounced(event.leader, event.epoch, effects)
      case 'lease-held':
        this.#lease = 'held'
        return this.#weighLeadership(effects)
      case 'lease-lost':
        // One that has been taken away does not become better by running out.
        if (this.#lease !== 'taken') this.#lease = event.reason
        return this.#weighLeadership(effects)
      case 'hand-over-asked':
        return this.#onHandOver(event.to, effects)
      case 'records-appended':
      case 'records-synced':
        return this.#onLogGrown(effects)
      case 'log-truncated':
        return this.#onTruncated(effects)
      case 'replica-fetched':
        return this.#onFetch(event.fetch, effects)
      case 'records-received':
        return this.#onRecords(event, effects)
      case 'divergence-received':
        return this.#onDivergence(event, effects)
      case 'log-start-received':
        return this.#onLogStart(event, effects)
      case 'tick':
        return this.#onTick(effects)
      default:
        return assertNever(event)
    }
  }

  // Being there

  #onLogOpened(effects: ReplicaEffect[]): void {
    // A log that has lost its end has lost what was read from there, too; whoever holds more says so.
    const { logStartOffset, logEndOffset } = this.#log
    const known = Math.min(this.#highWatermark, logEndOffset)
    this.#highWatermark = offset(Math.max(known, logStartOffset))
    // A log may be older than the promises: one that a single broker has written knows epochs that it never promised.
    if (this.#log.latestEpoch !== undefined) this.#noteEpoch(this.#log.latestEpoch)
    this.#role = 'follower'
    this.#maybeFetch(effects)
  }

  #goOffline(effects: ReplicaEffect[]): void {
    if (this.#role === 'offline') return
    this.#stepDown(effects)
    this.#role = 'offline'
  }

  /** Ends whatever this replica did in its last role; its promise stays. */
  #stepDown(effects: ReplicaEffect[]): void {
    if (this.#role === 'follower') effects.push({ kind: 'stop-fetching' })
    if (this.#leadership !== undefined) effects.push({ kind: 'refuse-produces', outcome: 'unknown' })
    this.#leadership = undefined
    this.#campaign = undefined
    this.#leaderHighWatermark = offset(0)
    this.#role = 'follower'
  }

  // Promises

  #onFence(candidate: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    if (!this.#mayFollow(candidate, epoch)) return this.#refuse(candidate, epoch, effects)
    if (this.#hasPromised(candidate, epoch)) {
      if (this.#promise === this.#durablePromise) return this.#grant(candidate, epoch, effects)
      this.#fencedBy = candidate
      return undefined
    }
    this.#stepDown(effects)
    this.#givePromise({ epoch, leader: candidate }, effects)
    this.#fencedBy = candidate
    if (!this.#rules.awaitsPromise) this.#grant(candidate, epoch, effects)
  }

  #onAnnounced(leader: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    if (leader === this.#options.self || !isPlausibleEpoch(epoch, this.#epochSeen)) return
    const promised = this.#promise?.epoch ?? -1
    if (epoch < promised) return this.#refuse(leader, epoch, effects)
    if (epoch > promised) {
      this.#stepDown(effects)
      this.#givePromise({ epoch, leader }, effects)
      return
    }
    // An epoch has one leader, whomever this replica had promised it to. It cannot be another where this one leads itself.
    if (this.#leadership !== undefined) return
    if (this.#role === 'candidate') this.#abandonCampaign(effects)
    if (this.#following !== leader) {
      this.#following = leader
      this.#hasHeard = false
      this.#leaderHighWatermark = offset(0)
    }
    this.#maybeFetch(effects)
  }

  #onPromisePersisted(promise: ReplicaPromise, effects: ReplicaEffect[]): void {
    // Of a promise that has been overtaken nobody is told: its candidate would count a replica that follows it no more.
    if (!this.#hasPromised(promise.leader, promise.epoch)) return
    this.#durablePromise = this.#promise
    const fencedBy = this.#fencedBy
    this.#fencedBy = undefined
    if (this.#role === 'candidate') return this.#beginCampaign(promise.epoch, effects)
    if (fencedBy !== undefined) this.#grant(fencedBy, promise.epoch, effects)
    this.#maybeFetch(effects)
  }

  #mayFollow(leader: BrokerId, epoch: LeaderEpoch): boolean {
    // Itself it follows only by a campaign, which makes sure that the epoch is new to this life.
    if (leader === this.#options.self) return false
    return isPlausibleEpoch(epoch, this.#epochSeen) && this.#rules.mayPromise(this.#promise, epoch, leader)
  }

  #hasPromised(leader: BrokerId, epoch: LeaderEpoch): boolean {
    return this.#promise?.epoch === epoch && this.#promise.leader === leader
  }

  #givePromise(promise: ReplicaPromise, effects: ReplicaEffect[]): void {
    this.#promise = promise
    this.#following = promise.leader
    this.#hasHeard = false
    this.#fencedBy = undefined
    this.#noteEpoch(promise.epoch)
    effects.push({ kind: 'persist-promise', promise })
  }

  #noteEpoch(epoch: LeaderEpoch): void {
    if (this.#epochSeen === undefined || epoch > this.#epochSeen) this.#epochSeen = epoch
  }

  #refuse(to: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    const promisedEpoch = this.#promise?.epoch
    if (promisedEpoch === undefined || to === this.#options.self) return
    const { self } = this.#options
    const heard = this.#hasHeard ? this.following : undefined
    const leader = this.#leadership === undefined ? heard : self
    effects.push({ kind: 'refuse-fence', to, epoch, promisedEpoch, leader: leader === to ? undefined : leader })
  }

  #grant(to: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    effects.push({ kind: 'grant-fence', to, grant: this.#ownGrant(epoch) })
  }

  #ownGrant(epoch: LeaderEpoch): FenceGrant {
    const { self: from, directoryId } = this.#options
    const position = { latestEpoch: this.#log.latestEpoch, logEndOffset: this.#log.logEndOffset }
    return { from, epoch, directoryId, isSuspect: this.#isSuspect, position }
  }

  // Campaigns

  #onCampaignSuggested(epochHint: LeaderEpoch | undefined, effects: ReplicaEffect[]): void {
    const { self, directoryId, voters } = this.#options
    if (this.#role === 'candidate' || this.#isTruncating) return
    if (!isVoter(voters, self, directoryId)) return
    // A leader begins anew only where somebody may have promised more than its epoch.
    const isAbove = (epochHint ?? -1) > (this.#promise?.epoch ?? -1)
    if (this.#role === 'leader' && !isAbove) return
    const epoch = nextEpoch(this.#epochSeen, epochHint)
    this.#stepDown(effects)
    this.#role = 'candidate'
    this.#campaign = { deadline: this.#now + CAMPAIGN_MS_MAX, grants: new Map(), refusedBy: new Set() }
    this.#givePromise({ epoch, leader: self }, effects)
    if (!this.#rules.awaitsPromise) this.#beginCampaign(epoch, effects)
  }

  /** Its own promise is durable: no later life of this replica can use the epoch again. */
  #beginCampaign(epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    const { self, voters } = this.#options
    for (const { brokerId } of voters) if (brokerId !== self) effects.push({ kind: 'send-fence', to: brokerId, epoch })
    this.#onGrant(this.#ownGrant(epoch), effects)
  }

  #onGrant(grant: FenceGrant, effects: ReplicaEffect[]): void {
    const campaign = must(this.#campaign, 'a candidate has a campaign')
    const epoch = must(this.#promise, 'a candidate has promised itself').epoch
    if (grant.epoch !== epoch) return
    campaign.grants.set(grant.from, grant)
    const { self: candidate, voters, suspectPolicy: policy = 'balanced' } = this.#options
    const grants = [...campaign.grants.values()]
    const verdict = this.#rules.judgeCampaign({ candidate, voters, quorum: this.#quorum, policy, grants })
    switch (verdict.kind) {
      case 'open':
        return
      case 'lost':
        this.#abandonCampaign(effects)
        effects.push({ kind: 'suggest-leader', to: verdict.to, epochSeen: epoch })
        return
      case 'won':
        return this.#lead(epoch, verdict.isLossPossible, [...campaign.grants.keys()], effects)
      default:
        return assertNever(verdict)
    }
  }

  #onRefusal(event: ReplicaEvent & { readonly kind: 'fence-refused' }, effects: ReplicaEffect[]): void {
    const { from, promisedEpoch, leader } = event
    const own = this.#promise?.epoch
    if (own === undefined || promisedEpoch < own) return
    // Somebody leads there: to disturb it would help nobody.
    if (leader !== undefined) return this.#onAnnounced(leader, promisedEpoch, effects)
    this.#noteEpoch(promisedEpoch)
    if (this.#campaign === undefined) {
      if (promisedEpoch > own) this.#suggestSelf(promisedEpoch, effects)
      return
    }
    // In the same epoch another may have been promised: as long as enough are left, this campaign may still be won.
    this.#campaign.refusedBy.add(from)
    const left = this.#options.voters.length - this.#campaign.refusedBy.size
    if (promisedEpoch > own || left < this.#quorum) this.#abandonCampaign(effects)
  }

  /** Somebody has promised more than this leader's epoch and would never follow it: a higher one makes them its followers. */
  #suggestSelf(epochSeen: LeaderEpoch, effects: ReplicaEffect[]): void {
    if (this.#role === 'leader') effects.push({ kind: 'suggest-leader', to: this.#options.self, epochSeen })
  }

  #abandonCampaign(effects: ReplicaEffect[]): void {
    this.#campaign = undefined
    this.#role = 'follower'
    effects.push({ kind: 'abandon-campaign', epochSeen: must(this.#epochSeen, 'a candidate has seen its own epoch') })
  }

  // Leading

  #lead(epoch: LeaderEpoch, isLossPossible: boolean, granted: readonly BrokerId[], effects: ReplicaEffect[]): void {
    const { self, voters, lagMsMax = LAG_MS_MAX_DEFAULT } = this.#options
    assert(this.#durablePromise === this.#promise || !this.#rules.awaitsPromise, 'who leads is bound by its disk')
    assert(epoch > (this.#log.latestEpoch ?? -1), 'an epoch of a leader is new to its log')
    const epochStartOffset = this.#log.logEndOffset
    const inSync = new InSyncReplicas({
      self,
      voters: voters.map(({ brokerId }) => brokerId),
      granted,
      lagMsMax,
      now: this.#now,
    })
    this.#campaign = undefined
    this.#leadership = { epoch, epochStartOffset, inSync, handOver: undefined }
    this.#role = 'leader'
    if (isLossPossible) effects.push({ kind: 'report-possible-loss', epoch, fromOffset: epochStartOffset })
    if (this.#isSuspect) this.#clearSuspect(effects)
    const lossAcceptedIn = isLossPossible ? epoch : this.#log.lossAcceptedIn
    effects.push({ kind: 'append-epoch-start', epoch, lossAcceptedIn })
    this.#highWatermark = this.#rules.highWatermarkAtElection(this.#highWatermark, epochStartOffset)
    effects.push({ kind: 'publish-leadership', epoch })
    effects.push({ kind: 'propose-in-sync-replicas', epoch, replicas: inSync.members })
    this.#weighLeadership(effects)
  }

  #clearSuspect(effects: ReplicaEffect[]): void {
    this.#isSuspect = false
    effects.push({ kind: 'persist-suspect', isSuspect: false })
  }

  /** Whether to take records: not while it hands over, and not without a lease unless its followers confirm it. */
  #weighLeadership(effects: ReplicaEffect[]): void {
    const leadership = this.#leadership
    if (leadership === undefined) return
    if (leadership.handOver !== undefined && this.#now >= leadership.handOver.deadline) leadership.handOver = undefined
    const isLeading = leadership.handOver === undefined && (this.#lease === 'held' || this.isConfirmed)
    const isBack = isLeading && this.#role === 'resigned'
    this.#role = isLeading ? 'leader' : 'resigned'
    if (isBack) effects.push({ kind: 'publish-leadership', epoch: leadership.epoch })
  }

  /** Whether the followers stand in for a lease that could not be renewed. */
  get isConfirmed(): boolean {
    const { withoutLease = 'serve' } = this.#options
    if (this.#leadership === undefined || this.#lease === 'taken' || withoutLease === 'stop') return false
    return this.#leadership.inSync.heardWithin(CONFIRMATION_MS_MAX, this.#now) >= this.#quorum - 1
  }

  #onHandOver(to: BrokerId, effects: ReplicaEffect[]): void {
    const { self, voters } = this.#options
    const leadership = must(this.#leadership, 'only who leads hands over')
    if (to === self || leadership.handOver !== undefined) return
    if (!voters.some(({ brokerId }) => brokerId === to)) return
    leadership.handOver = { to, deadline: this.#now + HAND_OVER_MS_MAX, isSuggested: false }
    this.#weighLeadership(effects)
    this.#maybeSuggestSuccessor(leadership, effects)
  }

  /** The successor needs all that has been acknowledged or may yet be, or it would lose to a better log. */
  #maybeSuggestSuccessor(leadership: Leadership, effects: ReplicaEffect[]): void {
    const { handOver, inSync, epoch } = leadership
    if (handOver === undefined || handOver.isSuggested) return
    if (inSync.heldEndOffsetOf(handOver.to) < this.#log.logEndOffset) return
    handOver.isSuggested = true
    effects.push({ kind: 'suggest-leader', to: handOver.to, epochSeen: epoch })
  }

  #onFetch(fetch: FetchPosition, effects: ReplicaEffect[]): void {
    const answer = this.#answerFetch(fetch, effects)
    effects.push({ kind: 'answer-fetch', fetch, answer })
    if (this.#leadership === undefined || answer.kind !== 'records') return
    this.#maybeAdvance(effects)
    this.#maybeProposeInSync(this.#leadership, effects)
    this.#maybeSuggestSuccessor(this.#leadership, effects)
  }

  #answerFetch(fetch: FetchPosition, effects: ReplicaEffect[]): FetchAnswer {
    const leadership = this.#leadership
    if (leadership === undefined) return { kind: 'refused', error: 'NOT_LEADER_OR_FOLLOWER' }
    if (fetch.leaderEpoch < leadership.epoch) return { kind: 'refused', error: 'FENCED_LEADER_EPOCH' }
    if (fetch.leaderEpoch > leadership.epoch) {
      this.#noteEpoch(fetch.leaderEpoch)
      this.#suggestSelf(fetch.leaderEpoch, effects)
      return { kind: 'refused', error: 'UNKNOWN_LEADER_EPOCH' }
    }
    const isCounted = isVoter(this.#options.voters, fetch.from, fetch.directoryId)
    const { inSync } = leadership
    const known = inSync.incarnationOf(fetch.from)
    if (isCounted && this.#rules.isOldIncarnation(known, fetch.incarnation)) {
      return { kind: 'refused', error: 'FENCED_LEADER_EPOCH' }
    }
    if (isCounted && this.#rules.isNewIncarnation(known, fetch.incarnation)) {
      inSync.onNewIncarnation(fetch.from, fetch.incarnation)
    }
    const { fetchOffset, lastFetchedEpoch } = fetch
    const check = checkFetch(this.#log, fetchOffset, lastFetchedEpoch)
    const { lossAcceptedIn } = this.#log
    if (check.kind === 'diverging') return { ...check, lossAcceptedIn }
    if (check.kind === 'before-log-start') return { ...check, kind: 'log-start', lossAcceptedIn }
    // One on another disk than the registered one may read along and catch up, and counts for nothing.
    if (isCounted) inSync.onFetch(fetch, this.#log.logEndOffset, this.#now)
    const held = inSync.heldEndOffsetOf(fetch.from)
    const clearsSuspect =
      isCounted && fetch.isSuspect && held >= this.#highWatermark && held > leadership.epochStartOffset
    return { kind: 'records', fetchOffset, highWatermark: this.#highWatermark, clearsSuspect }
  }

  #maybeProposeInSync(leadership: Leadership, effects: ReplicaEffect[]): void {
    const { inSync, epoch, epochStartOffset } = leadership
    const facts = { leaderEndOffset: this.#log.logEndOffset, highWatermark: this.#highWatermark, epochStartOffset }
    if (!inSync.maybeChange({ ...facts, now: this.#now })) return
    effects.push({ kind: 'propose-in-sync-replicas', epoch, replicas: inSync.members })
  }

  #onLogGrown(effects: ReplicaEffect[]): void {
    if (this.#leadership !== undefined) return this.#maybeAdvance(effects)
    this.#maybeFollow(effects)
  }

  #maybeAdvance(effects: ReplicaEffect[]): void {
    const { epochStartOffset, inSync } = must(this.#leadership, 'only who leads moves the high watermark by itself')
    const { minInSyncReplicas } = this.#options
    const heldEndOffsets = inSync.heldEndOffsets(this.#log.heldEndOffset)
    const { highWatermark: current } = this
    const next = this.#rules.nextHighWatermark({
      highWatermark: current,
      epochStartOffset,
      heldEndOffsets,
      minInSyncReplicas,
    })
    assert(next >= current, 'the high watermark does not fall')
    if (next === current) return
    this.#highWatermark = next
    effects.push({ kind: 'advance-high-watermark', to: next })
    effects.push({ kind: 'settle-produces', endOffset: next })
  }

  #onTick(effects: ReplicaEffect[]): void {
    if (this.#campaign !== undefined && this.#now >= this.#campaign.deadline) return this.#abandonCampaign(effects)
    if (this.#leadership === undefined) return
    this.#weighLeadership(effects)
    this.#maybeProposeInSync(this.#leadership, effects)
  }

  // Following

  #maybeFetch(effects: ReplicaEffect[]): void {
    const position = this.fetchPosition()
    if (position === undefined || this.#following === undefined) return
    effects.push({ kind: 'start-fetching', leader: this.#following, epoch: position.leaderEpoch })
  }

  /** Whether the answer is to what this replica would fetch now: from the leader of its epoch, where its log ends. */
  #hearsCurrent(echo: FetchEcho): boolean {
    const promise = this.#promise
    if (promise === undefined || this.following !== echo.from || this.#isTruncating) return false
    if (this.#promise !== this.#durablePromise || echo.leaderEpoch !== promise.epoch) return false
    if (echo.incarnation !== this.#options.incarnation) return false
    this.#hasHeard = true
    return echo.fetchOffset === this.#log.logEndOffset && echo.lastFetchedEpoch === this.#log.latestEpoch
  }

  #onRecords(event: ReplicaEvent & { readonly kind: 'records-received' }, effects: ReplicaEffect[]): void {
    if (!this.#hearsCurrent(event.echo)) return
    if (event.clearsSuspect && this.#isSuspect) this.#clearSuspect(effects)
    if (event.highWatermark > this.#leaderHighWatermark) this.#leaderHighWatermark = event.highWatermark
    if (!event.isEmpty) effects.push({ kind: 'append-records' })
    this.#maybeFollow(effects)
  }

  /** Up to its own end this log is the leader's, and so the leader's high watermark is its own. */
  #maybeFollow(effects: ReplicaEffect[]): void {
    const to = offset(Math.min(this.#leaderHighWatermark, this.#log.heldEndOffset))
    if (to <= this.#highWatermark) return
    this.#highWatermark = to
    effects.push({ kind: 'advance-high-watermark', to })
  }

  #onDivergence(event: ReplicaEvent & { readonly kind: 'divergence-received' }, effects: ReplicaEffect[]): void {
    if (!this.#hearsCurrent(event.echo)) return
    const plan = planTruncation(this.#log, event)
    if (!this.#mayCut(plan.offset, event.lossAcceptedIn, event.echo.leaderEpoch, effects)) return
    this.#awaitTruncation()
    const { offset: at } = plan
    effects.push(
      plan.kind === 'cut'
        ? { kind: 'truncate-to', offset: at }
        : { kind: 'restart-log-at', offset: at, epoch: plan.epoch },
    )
    if (!this.#rules.awaitsTruncation) this.#maybeFetch(effects)
  }

  #onLogStart(event: ReplicaEvent & { readonly kind: 'log-start-received' }, effects: ReplicaEffect[]): void {
    if (!this.#hearsCurrent(event.echo)) return
    const { logStartOffset: at, epoch } = event
    if (!this.#mayCut(at, event.lossAcceptedIn, event.echo.leaderEpoch, effects)) return
    this.#awaitTruncation()
    effects.push({ kind: 'restart-log-at', offset: at, epoch })
    if (at <= this.#highWatermark) return
    this.#highWatermark = at
    effects.push({ kind: 'advance-high-watermark', to: at })
  }

  /** What consumers have read is cut off by nobody, unless an election has accepted that it may be lost. */
  #mayCut(at: Offset, lossAcceptedIn: LeaderEpoch | undefined, epoch: LeaderEpoch, effects: ReplicaEffect[]): boolean {
    if (at >= this.#highWatermark) return true
    effects.push({ kind: 'report-possible-loss', epoch, fromOffset: at })
    if (lossAcceptedIn !== undefined && lossAcceptedIn > (this.#log.latestEpoch ?? -1)) {
      this.#highWatermark = at
      return true
    }
    this.#goOffline(effects)
    effects.push({ kind: 'stop-partition', reason: 'truncation-below-high-watermark' })
    return false
  }

  #awaitTruncation(): void {
    this.#isTruncating = this.#rules.awaitsTruncation
    this.#leaderHighWatermark = offset(0)
  }

  #onTruncated(effects: ReplicaEffect[]): void {
    this.#isTruncating = false
    this.#maybeFetch(effects)
  }
}
