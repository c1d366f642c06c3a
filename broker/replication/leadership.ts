// What a replica has and does as the leader of one epoch, whether it takes records at the moment or not. Owns what it knows of
// its followers, its hand-over, and the change of voters that it carries out; the role, the promise, the lease and the
// high watermark stay with ReplicaState, which hands in what is needed of them.

import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { FetchCheck, ReplicaLog } from './divergence.ts'
import type { ReplicaRules } from './replica-rules.ts'
import type { FetchAnswer, FetchPosition, ReplicaEffect, ReplicaEvent } from './replication-events.ts'
import type { VotersInForce } from './voters-in-force.ts'
import { assert } from '../../shared/assert.ts'
import { isSameSet, isVoter } from '../../shared/voters.ts'
import { checkDropped, checkFetch } from './divergence.ts'
import { InSyncReplicas } from './in-sync-replicas.ts'

const LAG_MS_MAX_DEFAULT = 10_000
/** A hand-over that takes longer is given up: the partition must not stay without a leader. */
const HAND_OVER_MS_MAX = 500
/** Followers that have fetched within this time confirm a leader whose lease could not be renewed. */
const CONFIRMATION_MS_MAX = 2_500
/** A leader that is no voter any more hands over; if nobody takes it, it tries again so much later. */
const LEAVE_AGAIN_MS = 2_000

export interface LeadershipOptions {
  readonly self: Voter
  readonly epoch: LeaderEpoch
  readonly log: ReplicaLog
  readonly voters: VotersInForce
  readonly rules: ReplicaRules
  readonly granted: readonly BrokerId[]
  /** Whether its epoch-start record is left for later. */
  readonly owesStart: boolean
  readonly lagMsMax: number | undefined
  readonly now: number
}

interface HandOver {
  readonly to: BrokerId
  readonly deadline: number
  isSuggested: boolean
}

export class Leadership {
  readonly epoch: LeaderEpoch
  /** Where the first record of the epoch stands. */
  readonly epochStartOffset: Offset
  readonly inSync: InSyncReplicas
  readonly #mayOweStart: boolean
  readonly #log: ReplicaLog
  readonly #voters: VotersInForce
  readonly #rules: ReplicaRules
  readonly #lagMsMax: number
  #handOver: HandOver | undefined
  /** The last set that was asked for. */
  #wanted: VoterSet | undefined
  /** From then on, if it is no voter any more, it tries to hand over. */
  #leavesAt: number

  /** The epoch-start record is not appended yet. */
  constructor(options: LeadershipOptions) {
    const { self, epoch, log, voters, rules, granted, lagMsMax = LAG_MS_MAX_DEFAULT, now } = options
    assert(epoch > (log.latestEpoch ?? -1), 'an epoch of a leader is new to its log')
    this.epoch = epoch
    this.epochStartOffset = log.logEndOffset
    this.#mayOweStart = options.owesStart
    this.inSync = new InSyncReplicas({ self, sets: voters.sets, granted, lagMsMax, now, countsIn: rules.countsIn })
    this.#log = log
    this.#voters = voters
    this.#rules = rules
    this.#lagMsMax = lagMsMax
    this.#leavesAt = now
  }

  /** Nothing has been written in this epoch yet, not even its epoch-start record. */
  get owesStart(): boolean {
    return this.#mayOweStart && this.#log.logEndOffset === this.epochStartOffset
  }

  /** Somebody needs a committed record of this epoch, whatever it says. */
  maybeStart(effects: ReplicaEffect[]): void {
    if (this.owesStart) effects.push({ kind: 'append-epoch-start', epoch: this.epoch, lossAcceptedIn: undefined })
  }

  /** How far behind this leader a follower is: records, and milliseconds if that can be said. */
  lagOf(follower: BrokerId, now: number): { readonly records: number; readonly ms: number | undefined } {
    const { logEndOffset } = this.#log
    const records = Math.max(0, logEndOffset - this.inSync.heldEndOffsetOfBroker(follower))
    return { records, ms: this.inSync.lagMsOf(follower, logEndOffset, now) }
  }

  /** Whether so many voters fetch as could elect another leader. */
  isHeard(now: number): boolean {
    const heard = this.inSync.heardWithin(CONFIRMATION_MS_MAX, now)
    return this.#voters.campaignSets.every(({ quorum }, at) => (heard[at] ?? 0) >= quorum)
  }

  /** A fetch in this epoch, and when it came. */
  answer(fetch: FetchPosition, highWatermark: Offset, cameAt: number): FetchAnswer {
    const { inSync } = this
    const { from, directoryId, incarnation, fetchOffset } = fetch
    const known = inSync.incarnationOf(from, directoryId)
    if (this.#rules.isOldIncarnation(known, incarnation)) return { kind: 'refused', error: 'FENCED_LEADER_EPOCH' }
    // One that was deleted and made anew within a life of its broker holds nothing of what it has told before.
    const isMadeAnew = fetch.isSuspect && fetchOffset < inSync.heldEndOffsetOf(from, directoryId)
    if (this.#rules.isNewLife(known, incarnation, isMadeAnew)) {
      inSync.onNewIncarnation({ brokerId: from, directoryId }, incarnation, cameAt)
    }
    const check = this.#check(fetch)
    const { lossAcceptedIn } = this.#log
    switch (check.kind) {
      case 'diverging':
        return { ...check, lossAcceptedIn }
      case 'before-log-start':
        return { ...check, kind: 'log-start', lossAcceptedIn, ...this.#voters.recordAt(check.logStartOffset) }
      case 'before-dropped': {
        // What it has told of it is going to give up.
        inSync.onNewIncarnation({ brokerId: from, directoryId }, incarnation, cameAt)
        const { logStartOffset, epoch, drops, droppedTo } = check
        const voters = this.#voters.recordAt(logStartOffset)
        return { kind: 'log-start', logStartOffset, epoch, lossAcceptedIn, ...voters, beginning: { drops, droppedTo } }
      }
      case 'on-log':
    }
    // One that is no voter, or not on this disk, may read along and catch up, and counts for nothing.
    inSync.onFetch(fetch, this.#log.logEndOffset, cameAt)
    const held = inSync.heldEndOffsetOf(from, directoryId)
    const clearsSuspect = fetch.isSuspect && held >= highWatermark && held > this.epochStartOffset
    return { kind: 'records', fetchOffset, highWatermark, clearsSuspect }
  }

  #check(fetch: FetchPosition): FetchCheck {
    const check = checkFetch(this.#log, fetch.fetchOffset, fetch.lastFetchedEpoch)
    return check.kind === 'on-log' ? checkDropped(this.#log, fetch, this.#rules.mustBeginAnew) : check
  }

  /** Whoever reads along, or did a moment ago, has come at least so far. Undefined when nobody does. */
  readAlongEnd(now: number): Offset | undefined {
    return this.inSync.lowestFetchedWithin(this.#lagMsMax, now)
  }

  nextHighWatermark(highWatermark: Offset): Offset {
    const { epochStartOffset } = this
    const sets = this.inSync.heldBySets(this.#log.heldEndOffset)
    return this.#rules.nextHighWatermark({ highWatermark, epochStartOffset, sets })
  }

  /**
   * Whether the high watermark may be told as the latest offset. Who was elected with an empty log has all that was ever shown,
   * which is nothing.
   */
  isLatestKnown(highWatermark: Offset): boolean {
    return this.#mayOweStart || this.isEpochCommitted(highWatermark)
  }

  /** Whether a record of this epoch is committed. */
  isEpochCommitted(highWatermark: Offset): boolean {
    return highWatermark > this.epochStartOffset
  }

  proposeInSync(effects: ReplicaEffect[]): void {
    effects.push({ kind: 'propose-in-sync-replicas', epoch: this.epoch, replicas: this.inSync.members })
  }

  maybeProposeInSync(highWatermark: Offset, now: number, effects: ReplicaEffect[]): void {
    const { epochStartOffset } = this
    const facts = { leaderEndOffset: this.#log.logEndOffset, highWatermark, epochStartOffset, now }
    if (this.inSync.maybeChange(facts)) this.proposeInSync(effects)
  }

  // Handing over

  get isHandingOver(): boolean {
    return this.#handOver !== undefined
  }

  handOver(to: BrokerId, now: number): void {
    this.#handOver = { to, deadline: now + HAND_OVER_MS_MAX, isSuggested: false }
  }

  maybeEndHandOver(now: number): void {
    if (this.#handOver !== undefined && now >= this.#handOver.deadline) this.#handOver = undefined
  }

  /** The successor needs all that has been acknowledged or may yet be, or it would lose to a better log. */
  maybeSuggestSuccessor(effects: ReplicaEffect[]): void {
    const handOver = this.#handOver
    if (handOver === undefined || handOver.isSuggested) return
    if (this.inSync.heldEndOffsetOfBroker(handOver.to) < this.#log.logEndOffset) return
    handOver.isSuggested = true
    effects.push({ kind: 'suggest-leader', to: handOver.to, epochSeen: this.epoch })
  }

  /** To whom a leader that is no voter any more should hand over now. */
  takeLeave(now: number): BrokerId | undefined {
    if (now < this.#leavesAt) return undefined
    const to = this.inSync.successor()
    if (to !== undefined) this.#leavesAt = now + LEAVE_AGAIN_MS
    return to
  }

  // Changing the voters

  /** The log may have got a voters record, or lost one: from now on it is another set that counts. */
  noteVoters(effects: ReplicaEffect[]): void {
    const { sets } = this.#voters
    if (this.inSync.sets === sets) return
    this.inSync.setVoters(sets)
    this.proposeInSync(effects)
  }

  /** Whether it matters what the broker has promised: it is a voter, or is to become one. */
  isHeeded(broker: BrokerId): boolean {
    return this.#voters.isNamed(broker) || this.#wanted?.voters.some(({ brokerId }) => brokerId === broker) === true
  }

  changeVoters(wanted: VoterSet, isTaking: boolean, highWatermark: Offset, effects: ReplicaEffect[]): void {
    this.#wanted = wanted
    if (isTaking) this.maybeStart(effects)
    const { record, current } = this.#voters
    if (isTaking && record !== undefined && this.#isTakenBack(record, wanted)) {
      effects.push({ kind: 'append-voters', epoch: this.epoch, set: record.set, next: undefined })
      return
    }
    const newcomers = wanted.voters.filter(
      ({ brokerId, directoryId }) => !isVoter(current.voters, brokerId, directoryId),
    )
    const behind = this.inSync.behind(newcomers)
    const isEpochCommitted = this.isEpochCommitted(highWatermark)
    const facts = { record, current, wanted, highWatermark, isEpochCommitted, behind }
    const why = isTaking ? this.#rules.whyNotChangeVoters(facts) : 'not-leading'
    effects.push(
      why === undefined
        ? { kind: 'append-voters', epoch: this.epoch, set: current, next: wanted }
        : { kind: 'refuse-voters-change', why, behind },
    )
  }

  /** `settled`: the set that is in force alone, by committed records, one of this epoch among them. */
  answerDismissal(
    { from, directoryId, latestEpoch, now }: ReplicaEvent & { readonly kind: 'dismissal-asked' },
    settled: VoterSet | undefined,
    effects: ReplicaEffect[],
  ): void {
    this.maybeStart(effects)
    const isDismissed = this.#rules.mayDismiss({ settled, leaderEpoch: this.epoch, from, latestEpoch })
    if (isDismissed && this.#rules.forgetsDismissed) this.inSync.forget({ brokerId: from, directoryId }, now)
    effects.push({ kind: 'answer-dismissal', to: from, isDismissed })
  }

  /** The set that was is wanted again, and nobody but this leader could have gone on to the new one. */
  #isTakenBack({ offset, set, next }: VotersRecord, wanted: VoterSet): boolean {
    return next !== undefined && isSameSet(set, wanted) && this.#rules.mayTakeBack(offset, this.epochStartOffset)
  }

  /** Both sets hold the record that names both: from now on the new set is enough. Whoever leads then goes on with it. */
  maybeFinishChange(highWatermark: Offset, effects: ReplicaEffect[]): void {
    const { record } = this.#voters
    if (record?.next === undefined || !this.isEpochCommitted(highWatermark)) return
    if (!this.#rules.mayFinishChange(record.offset, highWatermark)) return
    effects.push({ kind: 'append-voters', epoch: this.epoch, set: record.next, next: undefined })
  }
}
