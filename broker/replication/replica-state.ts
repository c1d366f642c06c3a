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
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { ReplicaLog } from './divergence.ts'
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
import type { ReplicaOptions } from './replica-options.ts'
import type { ReplicaRules } from './replica-rules.ts'
import { assert, assertNever, must } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'
import { isVoter } from '../../shared/voters.ts'
import { GivenPromise } from './given-promise.ts'
import { Leadership } from './leadership.ts'
import { type CutEffect, OwnLog } from './own-log.ts'
import { isPlausibleEpoch, nextEpoch } from './promise.ts'
import { REPLICA_RULES } from './replica-rules.ts'
import { lossAcceptedBy, recoveryEpoch } from './recovery-epoch.ts'
import { TRANSITIONS } from './replica-transitions.ts'
import { RunningCampaign } from './running-campaign.ts'
import { VotersInForce } from './voters-in-force.ts'

type Lease = 'held' | 'expired' | 'taken'

export class ReplicaState {
  readonly #options: ReplicaOptions
  readonly #rules: ReplicaRules
  readonly #log: ReplicaLog
  readonly #self: Voter
  readonly #voters: VotersInForce
  /** The voters record that has been told to be settled. */
  #settled: VotersRecord | undefined
  #role: Role = 'offline'
  readonly #promise: GivenPromise
  #isSuspect: boolean
  #isNewcomer: boolean
  /** Exclusive. logStartOffset <= highWatermark <= logEndOffset while the log is open. */
  #highWatermark: Offset
  /** What the leader of the promised epoch has told last; 0 while it has told nothing. */
  #leaderHighWatermark = offset(0)
  /** A cut is not on stable storage yet. */
  #isTruncating = false
  readonly #ownLog: OwnLog
  #lease: Lease = 'expired'
  #campaign: RunningCampaign | undefined
  #leadership: Leadership | undefined
  #now = 0

  constructor(options: ReplicaOptions) {
    const { self, directoryId, voters, minInSyncReplicas } = options
    this.#options = options
    this.#rules = options.rules ?? REPLICA_RULES
    this.#log = options.log
    this.#self = { brokerId: self, directoryId }
    this.#voters = new VotersInForce(options.log, { voters, minInSyncReplicas }, this.#rules)
    this.#ownLog = new OwnLog(options.log, this.#voters, this.#rules)
    this.#promise = new GivenPromise(options.promise)
    this.#isNewcomer = options.isNewcomer === true
    this.#isSuspect = options.isSuspect || this.#isNewcomer
    this.#highWatermark = options.highWatermark
  }

  get role(): Role {
    return this.#role
  }

  get promise(): ReplicaPromise | undefined {
    return this.#promise.newest
  }

  /** Whom this replica fetches from; undefined while it follows nobody. */
  get following(): BrokerId | undefined {
    const { following } = this.#promise
    return this.#role === 'follower' && following !== this.#options.self ? following : undefined
  }

  /** Whether the broker that it follows has shown, in the promised epoch, that it leads. */
  get hasHeardLeader(): boolean {
    return this.following !== undefined && this.#promise.hasHeard
  }

  /** Exclusive end of what consumers may read. */
  get highWatermark(): Offset {
    return this.#highWatermark
  }

  get isSuspect(): boolean {
    return this.#isSuspect
  }

  /** Made anew, and not yet found complete by a leader. */
  get isNewcomer(): boolean {
    return this.#isNewcomer
  }

  /** The sets that must agree, by this replica's log; two while a change is under way, the older one first. */
  get voterSets(): readonly VoterSet[] {
    return this.#voters.sets
  }

  /** Below, its log is committed and that of the leader that it follows, who has said so of this very log. */
  get matchedEndOffset(): Offset {
    return offset(this.following === undefined ? 0 : Math.min(this.#leaderHighWatermark, this.#highWatermark))
  }

  /**
   * Whether it has a voice: by a set that is in force, or by one that may still come back, because the record that has
   * replaced it is not known to be committed.
   */
  get isVoter(): boolean {
    const { brokerId, directoryId } = this.#self
    return this.#voters.mayBeVoter(brokerId, directoryId, this.#highWatermark)
  }

  /** The set that is in force alone, if what says so is known to be committed; of a leader, in its own epoch. */
  get settledVoters(): VoterSet | undefined {
    const isKnown = this.#leadership?.isEpochCommitted(this.#highWatermark) !== false
    return isKnown ? this.#voters.settledAt(this.#highWatermark) : undefined
  }

  /** Of the leadership that this replica holds, or has resigned from. */
  get leaderEpoch(): LeaderEpoch | undefined {
    return this.#leadership?.epoch
  }

  /** Whether the high watermark is that of this epoch: until then nobody can say what the latest offset is. */
  get isLatestKnown(): boolean {
    return this.#leadership?.isLatestKnown(this.#highWatermark) === true
  }

  get inSyncReplicas(): readonly BrokerId[] {
    return this.#leadership?.inSync.members ?? []
  }

  /** Of those in sync, who has said in this epoch that nothing is missing in its log; the leader itself is not among them. */
  get wholeReplicas(): readonly BrokerId[] {
    return this.#leadership?.inSync.whole ?? []
  }

  /** How far behind this leader a follower is: records, and milliseconds if that can be said. */
  lagOf(follower: BrokerId): { readonly records: number; readonly ms: number | undefined } | undefined {
    return this.#leadership?.lagOf(follower, this.#now)
  }

  /** Whether a produce that waits for its replicas could be kept by enough of them now. */
  get hasEnoughInSync(): boolean {
    return this.#leadership?.inSync.hasEnough === true
  }

  /** Of a leader: how far those have come who read along; undefined when nobody does. */
  readAlongEnd(now: number): Offset | undefined {
    return this.#leadership?.readAlongEnd(now)
  }

  /** Of a leader: whether so many voters fetch as could elect another one. */
  get isFollowed(): boolean {
    return this.#leadership?.isHeard(this.#now) === true
  }

  /** The broker's process is gone: it counts as in sync no more, from the next tick until it fetches again. */
  onKnownDead(broker: BrokerId): void {
    this.#leadership?.inSync.onKnownDead(broker)
  }

  /** What to fetch next, and from whom; undefined when this replica follows nobody, or must not fetch now. */
  fetchPosition(): FetchPosition | undefined {
    const promise = this.#promise.inEffect
    const { self, directoryId, incarnation } = this.#options
    if (this.#role !== 'follower' || promise === undefined) return undefined
    if (this.following === undefined || this.#isTruncating) return undefined
    const { isSuspect } = this
    return this.#ownLog.fetchPosition({ from: self, directoryId, incarnation, leaderEpoch: promise.epoch, isSuspect })
  }

  step(event: ReplicaEvent, effects: ReplicaEffect[]): void {
    const allowed = TRANSITIONS[this.#role][event.kind]
    if (allowed.length === 0) return
    if ('now' in event) this.#now = event.now
    this.#leadership?.noteVoters(effects)
    this.#on(event, effects)
    assert(allowed.includes(this.#role), 'a replica goes where its table lets it')
    assert(this.#role !== 'leader' || this.promise?.leader === this.#options.self, 'who leads has promised itself')
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
        this.#isTruncating = false
        return this.#maybeFetch(effects)
      case 'replica-fetched':
        return this.#onFetch(event.fetch, event.cameAt ?? event.now, effects)
      case 'records-received':
        return this.#onRecords(event, effects)
      case 'divergence-received':
        return this.#onDivergence(event, effects)
      case 'log-start-received':
        return this.#onLogStart(event, effects)
      case 'change-voters-asked':
        return this.#leadership?.changeVoters(event.to, this.#role === 'leader', this.#highWatermark, effects)
      case 'dismissal-asked':
        return this.#leadership?.answerDismissal(event, this.settledVoters, effects)
      case 'recovery-asked':
        return this.#onRecovery(effects)
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
    if (this.#log.latestEpoch !== undefined) this.#promise.noteEpoch(this.#log.latestEpoch)
    this.#role = 'follower'
    this.#maybeFetch(effects)
    this.#maybeSettleVoters(effects)
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
    this.#ownLog.copiedSince = undefined
    this.#role = 'follower'
  }

  // Promises

  #onFence(candidate: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    if (!this.#mayFollow(candidate, epoch) || this.#isDisturbance(candidate)) {
      return this.#refuse(candidate, epoch, effects)
    }
    if (this.#promise.isTo(candidate, epoch)) {
      if (this.#promise.isDurable) return this.#grant(candidate, epoch, effects)
      return this.#promise.tellWhenDurable(candidate)
    }
    this.#stepDown(effects)
    this.#givePromise({ epoch, leader: candidate }, effects)
    this.#promise.tellWhenDurable(candidate)
    if (!this.#rules.awaitsPromise) this.#grant(candidate, epoch, effects)
  }

  #onAnnounced(leader: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    if (leader === this.#options.self || !isPlausibleEpoch(epoch, this.#promise.epochSeen)) return
    const promised = this.promise?.epoch ?? -1
    if (epoch < promised) return this.#refuse(leader, epoch, effects)
    if (epoch > promised) {
      this.#stepDown(effects)
      this.#givePromise({ epoch, leader }, effects)
      return
    }
    // An epoch has one leader, whomever this replica had promised it to. It cannot be another where this one leads itself.
    if (this.#leadership !== undefined) return
    if (this.#role === 'candidate') this.#abandonCampaign(effects)
    if (this.#promise.follow(leader)) {
      this.#leaderHighWatermark = offset(0)
      this.#ownLog.copiedSince = undefined
    }
    this.#maybeFetch(effects)
  }

  #onPromisePersisted(promise: ReplicaPromise, effects: ReplicaEffect[]): void {
    // Of a promise that has been overtaken nobody is told: its candidate would count a replica that follows it no more.
    if (!this.#promise.isTo(promise.leader, promise.epoch)) return
    const fencedBy = this.#promise.onDurable()
    if (this.#role === 'candidate') return this.#beginCampaign(promise.epoch, effects)
    if (fencedBy !== undefined) this.#grant(fencedBy, promise.epoch, effects)
    this.#maybeFetch(effects)
  }

  #mayFollow(leader: BrokerId, epoch: LeaderEpoch): boolean {
    // Itself it follows only by a campaign, which makes sure that the epoch is new to this life.
    if (leader === this.#options.self) return false
    return isPlausibleEpoch(epoch, this.#promise.epochSeen) && this.#rules.mayPromise(this.promise, epoch, leader)
  }

  #givePromise(promise: ReplicaPromise, effects: ReplicaEffect[]): void {
    this.#promise.give(promise)
    effects.push({ kind: 'persist-promise', promise })
  }

  #refuse(to: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    const promisedEpoch = this.promise?.epoch
    if (promisedEpoch === undefined || to === this.#options.self) return
    const heard = this.#promise.hasHeard ? this.following : undefined
    const leader = this.#leadership === undefined ? heard : this.#options.self
    effects.push({ kind: 'refuse-fence', to, epoch, promisedEpoch, leader: leader === to ? undefined : leader })
  }

  #grant(to: BrokerId, epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    const grant = this.#ownGrant(epoch)
    // A newcomer may have been a voter on this very disk before, and have forgotten what it held: it keeps its promise, and
    // says nothing, or a replica that has slept since could win with the voters of long ago.
    const told = this.#isNewcomer ? this.#rules.grantOfNewcomer(grant) : grant
    if (told !== undefined) effects.push({ kind: 'grant-fence', to, grant: told })
  }

  #ownGrant(epoch: LeaderEpoch): FenceGrant {
    const { self: from, directoryId } = this.#options
    return { from, epoch, directoryId, isSuspect: this.#isSuspect, position: this.#ownLog.positionToTell }
  }

  // Campaigns

  #onCampaignSuggested(epochHint: LeaderEpoch | undefined, effects: ReplicaEffect[]): void {
    if (this.#role === 'candidate' || this.#isTruncating) return
    if (this.#isNewcomer || !this.isVoter || this.#ownLog.isBelowFloor) return
    const { epochSeen } = this.#promise
    // A replica has gone on alone, and this one has nothing of it: what it would lead has been given up.
    if (!this.#rules.isOwnGeneration(epochSeen, this.#log.latestEpoch)) return
    // A leader begins anew only where somebody may have promised more than its epoch.
    const hint = this.#rules.isOwnGeneration(epochHint, epochSeen) ? epochHint : undefined
    const isAbove = (hint ?? -1) > (this.promise?.epoch ?? -1)
    if (this.#role === 'leader' && !isAbove) return
    const epoch = nextEpoch(epochSeen, hint)
    this.#stepDown(effects)
    this.#role = 'candidate'
    this.#campaign = new RunningCampaign(this.#self.brokerId, this.#options.suspectPolicy ?? 'balanced', this.#now)
    this.#givePromise({ epoch, leader: this.#self.brokerId }, effects)
    if (!this.#rules.awaitsPromise) this.#beginCampaign(epoch, effects)
  }

  /** It goes on alone, with what it has. Its promise is durable first, as in any campaign. */
  #onRecovery(effects: ReplicaEffect[]): void {
    const { self, directoryId, suspectPolicy = 'balanced' } = this.#options
    if (this.#isTruncating || this.#campaign?.isRecovery === true) return
    const epoch = recoveryEpoch(this.#promise.epochSeen, directoryId)
    this.#stepDown(effects)
    this.#role = 'candidate'
    this.#campaign = new RunningCampaign(self, suspectPolicy, this.#now, true)
    this.#givePromise({ epoch, leader: self }, effects)
  }

  /** Its own promise is durable: no later life of this replica can use the epoch again. */
  #beginCampaign(epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    if (this.#campaign?.isRecovery === true) return this.#recover(epoch, effects)
    const others = new Set(this.#voters.all.map(({ brokerId }) => brokerId))
    others.delete(this.#options.self)
    for (const to of others) effects.push({ kind: 'send-fence', to, epoch })
    this.#onGrant(this.#ownGrant(epoch), effects)
  }

  #recover(epoch: LeaderEpoch, effects: ReplicaEffect[]): void {
    const set = { voters: [this.#self], minInSyncReplicas: 1 }
    // First: whoever has a record of this generation knows whose word counts in it.
    effects.push({ kind: 'append-voters', epoch, set, next: undefined })
    this.#lead(epoch, true, [], effects)
  }

  #onGrant(grant: FenceGrant, effects: ReplicaEffect[]): void {
    const campaign = must(this.#campaign, 'a candidate has a campaign')
    if (campaign.isRecovery) return
    const epoch = must(this.promise, 'a candidate has promised itself').epoch
    if (grant.epoch !== epoch) return
    const verdict = campaign.onGrant(grant, this.#voters.campaignSets, this.#rules)
    switch (verdict.kind) {
      case 'open':
        return
      case 'lost':
        this.#abandonCampaign(effects)
        effects.push({ kind: 'suggest-leader', to: verdict.to, epochSeen: epoch })
        return
      case 'won':
        return this.#lead(epoch, verdict.isLossPossible, campaign.grantedBy, effects)
      default:
        return assertNever(verdict)
    }
  }

  #onRefusal(event: ReplicaEvent & { readonly kind: 'fence-refused' }, effects: ReplicaEffect[]): void {
    const { from, promisedEpoch, leader } = event
    const own = this.promise?.epoch
    if (own === undefined || promisedEpoch < own) return
    // Somebody leads there: to disturb it would help nobody.
    if (leader !== undefined) return this.#onAnnounced(leader, promisedEpoch, effects)
    this.#promise.noteEpoch(promisedEpoch)
    if (this.#campaign === undefined) {
      if (promisedEpoch > own && this.#leadership?.isHeeded(from) === true)
        this.#suggestAbove(promisedEpoch, from, effects)
      return
    }
    if (!this.#voters.isNamed(from)) return
    // In the same epoch another may have been promised: as long as enough are left, this campaign may still be won.
    const isHopeless = this.#campaign.onRefusal(from, this.#voters.campaignSets)
    if (promisedEpoch > own || isHopeless) this.#abandonCampaign(effects)
  }

  /**
   * Somebody has promised more than this leader's epoch and would never follow it: a higher one makes them its followers. A
   * leader that is no voter any more may not win one; then who has promised shall.
   */
  #suggestAbove(epochSeen: LeaderEpoch, promisedBy: BrokerId, effects: ReplicaEffect[]): void {
    if (this.#role !== 'leader') return
    const to = this.isVoter ? this.#options.self : promisedBy
    effects.push({ kind: 'suggest-leader', to, epochSeen })
  }

  #abandonCampaign(effects: ReplicaEffect[]): void {
    this.#campaign = undefined
    this.#role = 'follower'
    effects.push({
      kind: 'abandon-campaign',
      epochSeen: must(this.#promise.epochSeen, 'a candidate has seen its own epoch'),
    })
  }

  // Leading

  #lead(epoch: LeaderEpoch, isLossPossible: boolean, granted: readonly BrokerId[], effects: ReplicaEffect[]): void {
    assert(this.#promise.isDurable || !this.#rules.awaitsPromise, 'who leads is bound by its disk')
    const lossAcceptedIn = isLossPossible ? epoch : this.#lossAcceptedIn
    const owesStart = this.#rules.mayOweEpochStart(this.#ownLog.positionToTell, lossAcceptedIn)
    const leadership = new Leadership({
      self: this.#self,
      epoch,
      log: this.#log,
      voters: this.#voters,
      rules: this.#rules,
      granted,
      owesStart,
      lagMsMax: this.#options.lagMsMax,
      now: this.#now,
    })
    const { epochStartOffset } = leadership
    this.#campaign = undefined
    this.#settled = undefined
    this.#leadership = leadership
    this.#role = 'leader'
    if (isLossPossible) effects.push({ kind: 'report-possible-loss', epoch, fromOffset: epochStartOffset })
    if (this.#isSuspect) this.#clearSuspect(effects)
    if (!owesStart) effects.push({ kind: 'append-epoch-start', epoch, lossAcceptedIn })
    this.#highWatermark = this.#rules.highWatermarkAtElection(this.#highWatermark, epochStartOffset)
    effects.push({ kind: 'publish-leadership', epoch })
    leadership.proposeInSync(effects)
    this.#weighLeadership(effects)
  }

  /** Newest epoch whose election has accepted a loss, by its record or by the epochs of the log. */
  get #lossAcceptedIn(): LeaderEpoch | undefined {
    return this.#log.lossAcceptedIn ?? lossAcceptedBy(this.#log.latestEpoch)
  }

  #clearSuspect(effects: ReplicaEffect[]): void {
    this.#isSuspect = false
    this.#isNewcomer = false
    effects.push({ kind: 'persist-suspect', isSuspect: false })
  }

  /** Whether to take records: not while it hands over, and not without a lease unless its followers confirm it. */
  #weighLeadership(effects: ReplicaEffect[]): void {
    const leadership = this.#leadership
    if (leadership === undefined) return
    leadership.maybeEndHandOver(this.#now)
    const isLeading = !leadership.isHandingOver && (this.#lease === 'held' || this.isConfirmed)
    const isBack = isLeading && this.#role === 'resigned'
    this.#role = isLeading ? 'leader' : 'resigned'
    if (isBack) effects.push({ kind: 'publish-leadership', epoch: leadership.epoch })
  }

  /** Whether the followers stand in for a lease that could not be renewed. */
  get isConfirmed(): boolean {
    const { withoutLease = 'serve' } = this.#options
    if (this.#leadership === undefined || this.#lease === 'taken' || withoutLease === 'stop') return false
    return this.#leadership.isHeard(this.#now)
  }

  #onHandOver(to: BrokerId, effects: ReplicaEffect[]): void {
    const leadership = must(this.#leadership, 'only who leads hands over')
    if (to === this.#options.self || leadership.isHandingOver || !this.#voters.isNamed(to)) return
    leadership.handOver(to, this.#now)
    this.#weighLeadership(effects)
    leadership.maybeSuggestSuccessor(effects)
  }

  #onFetch(fetch: FetchPosition, cameAt: number, effects: ReplicaEffect[]): void {
    const answer = this.#answerFetch(fetch, cameAt, effects)
    const leadership = this.#leadership
    effects.push({ kind: 'answer-fetch', fetch, answer })
    if (leadership === undefined || answer.kind !== 'records') return
    this.#maybeAdvance(effects)
    leadership.maybeProposeInSync(this.#highWatermark, this.#now, effects)
    leadership.maybeSuggestSuccessor(effects)
    this.#maybeLeave(leadership, effects)
    // It is trusted again when it holds a record of this epoch.
    if (fetch.isSuspect && this.#role === 'leader') leadership.maybeStart(effects)
  }

  #answerFetch(fetch: FetchPosition, cameAt: number, effects: ReplicaEffect[]): FetchAnswer {
    const leadership = this.#leadership
    if (leadership === undefined) return { kind: 'refused', error: 'NOT_LEADER_OR_FOLLOWER' }
    if (fetch.leaderEpoch < leadership.epoch) return { kind: 'refused', error: 'FENCED_LEADER_EPOCH' }
    if (fetch.leaderEpoch > leadership.epoch) {
      this.#promise.noteEpoch(fetch.leaderEpoch)
      if (leadership.isHeeded(fetch.from)) this.#suggestAbove(fetch.leaderEpoch, fetch.from, effects)
      return { kind: 'refused', error: 'UNKNOWN_LEADER_EPOCH' }
    }
    return leadership.answer(fetch, this.#highWatermark, cameAt)
  }

  #onLogGrown(effects: ReplicaEffect[]): void {
    if (this.#leadership !== undefined) return this.#maybeAdvance(effects)
    this.#maybeFollow(effects)
  }

  #maybeAdvance(effects: ReplicaEffect[]): void {
    const leadership = must(this.#leadership, 'only who leads moves the high watermark by itself')
    const { highWatermark: current } = this
    const next = leadership.nextHighWatermark(current)
    assert(next >= current, 'the high watermark does not fall')
    if (next === current) return
    this.#highWatermark = next
    effects.push({ kind: 'advance-high-watermark', to: next })
    effects.push({ kind: 'settle-produces', endOffset: next })
    this.#maybeSettleVoters(effects)
    if (this.#role === 'leader') leadership.maybeFinishChange(next, effects)
  }

  #onTick(effects: ReplicaEffect[]): void {
    if (this.#campaign?.isOver(this.#now) === true) return this.#abandonCampaign(effects)
    const leadership = this.#leadership
    if (leadership === undefined) return
    this.#weighLeadership(effects)
    leadership.maybeProposeInSync(this.#highWatermark, this.#now, effects)
    if (this.#role === 'leader') leadership.maybeFinishChange(this.#highWatermark, effects)
    this.#maybeLeave(leadership, effects)
  }

  // The voters

  /**
   * Whether a fence can only do harm: from one that was no voter when the last committed record was written, to a voter
   * that hears its leader. Such a one has slept while it was removed; it could not win. A leader that nobody follows, and a
   * replica that is no voter by its own log, may be behind themselves: they refuse nobody for that.
   */
  #isDisturbance(candidate: BrokerId): boolean {
    const isServed = this.#leadership === undefined ? this.hasHeardLeader : this.#leadership.isHeard(this.#now)
    if (!isServed || !this.isVoter) return false
    return !this.#voters
      .setsSince(this.#highWatermark)
      .some(({ voters }) => voters.some(({ brokerId }) => brokerId === candidate))
  }

  #maybeSettleVoters(effects: ReplicaEffect[]): void {
    const { record } = this.#voters
    const set = this.settledVoters
    if (set === undefined || record === undefined || record === this.#settled) return
    this.#settled = record
    const isOwn = isVoter(set.voters, this.#self.brokerId, this.#self.directoryId)
    effects.push({ kind: 'voters-settled', offset: record.offset, set, isVoter: isOwn })
  }

  /** Who leads and is no voter any more goes when everybody can know it, and leaves nobody without a leader. */
  #maybeLeave(leadership: Leadership, effects: ReplicaEffect[]): void {
    if (this.#role !== 'leader' || this.isVoter) return
    const to = leadership.takeLeave(this.#now)
    if (to !== undefined) this.#onHandOver(to, effects)
  }

  // Following

  #maybeFetch(effects: ReplicaEffect[]): void {
    const position = this.fetchPosition()
    const leader = this.following
    if (position === undefined || leader === undefined) return
    effects.push({ kind: 'start-fetching', leader, epoch: position.leaderEpoch })
  }

  /** Whether the answer is to what this replica would fetch now: from the leader of its epoch, where its log ends. */
  #hearsCurrent(echo: FetchEcho): boolean {
    const promise = this.#promise.inEffect
    if (promise === undefined || this.following !== echo.from || this.#isTruncating) return false
    if (echo.leaderEpoch !== promise.epoch) return false
    if (echo.incarnation !== this.#options.incarnation) return false
    this.#promise.hear()
    if (echo.copiedSince !== this.#ownLog.copiedSince) return false
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
    this.#maybeSettleVoters(effects)
  }

  #onDivergence(event: ReplicaEvent & { readonly kind: 'divergence-received' }, effects: ReplicaEffect[]): void {
    if (!this.#hearsCurrent(event.echo)) return
    const { partsAt, effect } = this.#ownLog.cutFor(event, this.#highWatermark)
    if (!this.#mayCut(partsAt, event.lossAcceptedIn, event.echo.leaderEpoch, effects)) return
    this.#cut(effect, effects)
    if (!this.#rules.awaitsTruncation) this.#maybeFetch(effects)
  }

  #onLogStart(event: ReplicaEvent & { readonly kind: 'log-start-received' }, effects: ReplicaEffect[]): void {
    if (!this.#hearsCurrent(event.echo)) return
    const { logStartOffset: at, epoch, votersRecord, beginning } = event
    if (beginning !== undefined) return this.#cut(this.#ownLog.beginAnew(event, beginning), effects)
    if (!this.#mayCut(at, event.lossAcceptedIn, event.echo.leaderEpoch, effects)) return
    const voters = votersRecord === undefined ? {} : { votersRecord }
    this.#cut({ kind: 'restart-log-at', offset: at, epoch, ...voters }, effects)
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

  #cut(effect: CutEffect, effects: ReplicaEffect[]): void {
    this.#isTruncating = this.#rules.awaitsTruncation
    this.#leaderHighWatermark = offset(0)
    // What is copied anew is shown when it has come.
    if (effect.kind === 'restart-log-at' && effect.anew !== undefined) this.#highWatermark = effect.offset
    effects.push(effect)
  }
}
