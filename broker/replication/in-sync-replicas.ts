// What a leader knows of the other replicas in its epoch: how far each holds the log, and who keeps up. Owns one row for
// each voter, and for a few others that fetch; knows nothing of messages. The in-sync set is a measure of health: metadata
// and metrics show it, and a produce that could not be kept by enough replicas is refused by it in good time. What is safe is
// decided by held offsets alone.
//
// Invariants: the leader is in sync with itself; a row belongs to one incarnation, and a newer one begins at nothing.

import type { BrokerId, Offset } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { HeldBySet } from './high-watermark.ts'
import { assert } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'
import { isVoter } from '../../shared/voters.ts'
import { votersOf } from './voters.ts'

/** Replicas that fetch and are no voters: more of them are served, but nothing is remembered of those. */
const LEARNERS_MAX = 8

interface Follower {
  readonly brokerId: BrokerId
  readonly directoryId: string
  isVoter: boolean
  incarnation: number
  heldEndOffset: Offset
  fetchOffset: Offset
  isSuspect: boolean
  /** Undefined before its first fetch in this epoch. */
  hasHoles: boolean | undefined
  /** Its process was seen to be gone, and it has not fetched since. */
  isGone: boolean
  /** Of the last fetch that lay on the log, and of the last time it had all that the leader had; monotonic milliseconds. */
  lastFetchMs: number
  lastCaughtUpMs: number
  /** The leader's end at the last fetch: one that reaches it with the next was caught up then. */
  leaderEndOffset: Offset
  isInSync: boolean
  /** A fetch that came earlier says nothing of the replica as it is now; monotonic milliseconds. */
  countsFromMs: number
}

/** What the leader takes from a fetch that lies on its log. */
export interface FollowerReport {
  readonly from: BrokerId
  readonly directoryId: string
  readonly incarnation: number
  readonly fetchOffset: Offset
  readonly heldEndOffset: Offset
  readonly isSuspect: boolean
  readonly hasHoles?: boolean
}

export class InSyncReplicas {
  readonly #self: Voter
  readonly #lagMsMax: number
  readonly #countsIn: (set: VoterSet, replica: BrokerId, directoryId: string) => boolean
  #sets: readonly VoterSet[]
  #followers: Follower[]

  /** The replicas that have granted the leadership count as in sync at first: they get lagMsMax (ms) to show it. */
  constructor(options: {
    readonly self: Voter
    /** In force: each is counted for itself. */
    readonly sets: readonly VoterSet[]
    readonly granted: readonly BrokerId[]
    readonly lagMsMax: number
    readonly now: number
    readonly countsIn?: (set: VoterSet, replica: BrokerId, directoryId: string) => boolean
  }) {
    const { self, sets, granted, now } = options
    this.#self = self
    this.#lagMsMax = options.lagMsMax
    this.#countsIn = options.countsIn ?? (({ voters }, replica, directoryId) => isVoter(voters, replica, directoryId))
    this.#sets = sets
    this.#followers = this.#others(sets).map((voter) => newFollower(voter, granted.includes(voter.brokerId), now))
  }

  get sets(): readonly VoterSet[] {
    return this.#sets
  }

  /** Other sets are in force. What is known of each replica stays; who is no voter any more is served on. */
  setVoters(sets: readonly VoterSet[]): void {
    const others = this.#others(sets)
    this.#sets = sets
    for (const row of this.#followers) row.isVoter = isVoter(others, row.brokerId, row.directoryId)
    for (const voter of others) {
      if (this.#row(voter.brokerId, voter.directoryId) === undefined) this.#followers.push(newFollower(voter, false, 0))
    }
    this.#forgetLearners()
  }

  /** Ascending, so that equal sets are equal lists. */
  get members(): readonly BrokerId[] {
    const members = this.#followers.filter((row) => row.isVoter && row.isInSync).map(({ brokerId }) => brokerId)
    return [...new Set([...members, this.#self.brokerId])].sort((a, b) => a - b)
  }

  /** Of the others in sync, those that are known to have their records without a gap; who has not fetched yet is not. */
  get whole(): readonly BrokerId[] {
    const whole = this.#followers.filter((row) => row.isVoter && row.isInSync && row.hasHoles === false)
    return whole.map(({ brokerId }) => brokerId)
  }

  /** Whether so many of each set are in sync as must hold what is acknowledged. */
  get hasEnough(): boolean {
    return this.#sets.every((set) => {
      let count = this.#isOwn(set) ? 1 : 0
      for (const row of this.#followers) if (row.isInSync && this.#isIn(set, row)) count += 1
      return count >= set.minInSyncReplicas
    })
  }

  /** The newest life of the replica that has been heard of in this epoch; -1 for none. */
  incarnationOf(brokerId: BrokerId, directoryId: string): number {
    return this.#row(brokerId, directoryId)?.incarnation ?? -1
  }

  heldEndOffsetOf(brokerId: BrokerId, directoryId: string): Offset {
    return this.#row(brokerId, directoryId)?.heldEndOffset ?? offset(0)
  }

  /** How far the broker holds the log, on the disk that it was last heard of with. */
  heldEndOffsetOfBroker(brokerId: BrokerId): Offset {
    return this.#lastOf(brokerId)?.heldEndOffset ?? offset(0)
  }

  /** Of the voters, those that have not reached the end, or not yet; the leader always has. */
  behind(voters: readonly Voter[]): readonly BrokerId[] {
    const behind = voters.filter(({ brokerId, directoryId }) => {
      if (brokerId === this.#self.brokerId && directoryId === this.#self.directoryId) return false
      return this.#row(brokerId, directoryId)?.isInSync !== true
    })
    return behind.map(({ brokerId }) => brokerId)
  }

  /** Who of the voters should lead when this leader goes: in sync, with most of the log; undefined for nobody. */
  successor(): BrokerId | undefined {
    let best: Follower | undefined
    for (const row of this.#followers) {
      if (!row.isVoter || !row.isInSync) continue
      if (best === undefined || row.heldEndOffset > best.heldEndOffset) best = row
    }
    return best?.brokerId
  }

  /** Milliseconds since the follower last had all that the leader had; 0 while it has, undefined if it never did. */
  lagMsOf(brokerId: BrokerId, leaderEndOffset: Offset, now: number): number | undefined {
    const row = this.#lastOf(brokerId)
    if (row === undefined || row.lastCaughtUpMs === Number.NEGATIVE_INFINITY) return undefined
    return row.fetchOffset >= leaderEndOffset && row.isInSync ? 0 : now - row.lastCaughtUpMs
  }

  /** How far each voter of each set holds the log, the leader with what it holds itself where it is one. */
  heldBySets(ownHeldEndOffset: Offset): HeldBySet[] {
    return this.#sets.map((set) => {
      const heldEndOffsets = this.#isOwn(set) ? [ownHeldEndOffset] : []
      for (const row of this.#followers) if (this.#isIn(set, row)) heldEndOffsets.push(row.heldEndOffset)
      return { heldEndOffsets, minInSyncReplicas: set.minInSyncReplicas }
    })
  }

  /** A new life of the replica: what an earlier one held may be lost. */
  onNewIncarnation({ brokerId, directoryId }: Voter, incarnation: number, now: number): void {
    let row = this.#row(brokerId, directoryId)
    if (row === undefined) {
      row = { ...newFollower({ brokerId, directoryId }, false, 0), isVoter: false, lastFetchMs: now }
      this.#followers.push(row)
      this.#forgetLearners()
    }
    row.incarnation = incarnation
    row.hasHoles = undefined
    row.heldEndOffset = offset(0)
    row.fetchOffset = offset(0)
    row.leaderEndOffset = offset(Number.MAX_SAFE_INTEGER)
    // A voter gets its time to come back; what is no voter has to show anew that it has everything.
    if (!row.isVoter) row.isInSync = false
  }

  /**
   * The replica may be deleted now: what it holds, and that it keeps up, it would have to show from the beginning. What is
   * looked at later, and came earlier, is of no matter any more. Nothing is forgotten of a voter.
   */
  forget({ brokerId, directoryId }: Voter, now: number): void {
    const row = this.#row(brokerId, directoryId)
    if (row === undefined || row.isVoter) return
    const { incarnation } = row
    Object.assign(row, newFollower(row, false, 0), { isVoter: false, incarnation, countsFromMs: now })
  }

  /** A fetch that lies on the log, and when it came. Within one life and epoch a follower cuts nothing, so that a late fetch changes nothing. */
  onFetch(report: FollowerReport, leaderEndOffset: Offset, cameAt: number): void {
    const row = this.#row(report.from, report.directoryId)
    if (row === undefined || cameAt < row.countsFromMs) return
    assert(report.fetchOffset <= leaderEndOffset, 'a fetch on the log is not past its end')
    // Of several fetches on the way, one that has waited may be looked at after one that came later.
    if (report.fetchOffset >= leaderEndOffset) row.lastCaughtUpMs = Math.max(row.lastCaughtUpMs, cameAt)
    else if (report.fetchOffset >= row.leaderEndOffset)
      row.lastCaughtUpMs = Math.max(row.lastCaughtUpMs, row.lastFetchMs)
    row.lastFetchMs = Math.max(row.lastFetchMs, cameAt)
    row.leaderEndOffset = leaderEndOffset
    row.isSuspect = report.isSuspect
    row.hasHoles = report.hasHoles === true
    row.isGone = false
    if (report.fetchOffset > row.fetchOffset) row.fetchOffset = report.fetchOffset
    const held = Math.min(report.heldEndOffset, report.fetchOffset)
    if (held > row.heldEndOffset) row.heldEndOffset = offset(held)
  }

  /** The broker's process is gone: it is not waited for until it fetches again. Counts with the next `maybeChange`. */
  onKnownDead(brokerId: BrokerId): void {
    for (const row of this.#followers) if (row.brokerId === brokerId) row.isGone = true
  }

  /** Decides anew who is in sync; answers whether that has changed. */
  maybeChange(facts: {
    readonly leaderEndOffset: Offset
    readonly highWatermark: Offset
    readonly epochStartOffset: Offset
    readonly now: number
  }): boolean {
    let isChanged = false
    for (const row of this.#followers) {
      // Where the epoch has no record yet, a voter that follows has all there is. A newcomer has to show more.
      const isUnwritten = row.isVoter && facts.leaderEndOffset === facts.epochStartOffset
      // One that is silent is out, even if it had all there was: nobody knows whether it is still there.
      const isRecent = facts.now - row.lastCaughtUpMs <= this.#lagMsMax
      // Who was in sync stays so for its time; who was not must reach what the leader vouches for.
      const reaches =
        row.fetchOffset >= facts.highWatermark && (row.fetchOffset > facts.epochStartOffset || isUnwritten)
      const isInSync = !row.isSuspect && !row.isGone && isRecent && (row.isInSync || reaches)
      if (row.isVoter && isInSync !== row.isInSync) isChanged = true
      row.isInSync = isInSync
    }
    return isChanged
  }

  /** For each set: how many of its voters have fetched in this epoch within the last milliseconds, the leader included. */
  heardWithin(durationMs: number, now: number): number[] {
    return this.#sets.map((set) => {
      let count = this.#isOwn(set) ? 1 : 0
      for (const row of this.#followers) if (now - row.lastFetchMs <= durationMs && this.#isIn(set, row)) count += 1
      return count
    })
  }

  /** Of those that have fetched in this epoch within the last milliseconds: how far the last one is. Undefined for nobody. */
  lowestFetchedWithin(durationMs: number, now: number): Offset | undefined {
    let lowest: Offset | undefined
    for (const { lastFetchMs, fetchOffset } of this.#followers) {
      if (now - lastFetchMs > durationMs) continue
      if (lowest === undefined || fetchOffset < lowest) lowest = fetchOffset
    }
    return lowest
  }

  #others(sets: readonly VoterSet[]): readonly Voter[] {
    const { brokerId, directoryId } = this.#self
    return votersOf(sets).filter((voter) => voter.brokerId !== brokerId || voter.directoryId !== directoryId)
  }

  #isOwn(set: VoterSet): boolean {
    return this.#countsIn(set, this.#self.brokerId, this.#self.directoryId)
  }

  #isIn(set: VoterSet, row: Follower): boolean {
    return this.#countsIn(set, row.brokerId, row.directoryId)
  }

  #row(brokerId: BrokerId, directoryId: string): Follower | undefined {
    for (const row of this.#followers) if (row.brokerId === brokerId && row.directoryId === directoryId) return row
    return undefined
  }

  /** A broker has two rows while one of its disks takes the place of the other. */
  #lastOf(brokerId: BrokerId): Follower | undefined {
    let last: Follower | undefined
    for (const row of this.#followers) {
      if (row.brokerId === brokerId && (last === undefined || row.lastFetchMs > last.lastFetchMs)) last = row
    }
    return last
  }

  /** The one that was heard of longest ago goes first. */
  #forgetLearners(): void {
    const learners = this.#followers.filter((row) => !row.isVoter)
    if (learners.length <= LEARNERS_MAX) return
    learners.sort((a, b) => b.lastFetchMs - a.lastFetchMs)
    const forgotten = new Set(learners.slice(LEARNERS_MAX))
    this.#followers = this.#followers.filter((row) => !forgotten.has(row))
  }
}

function newFollower({ brokerId, directoryId }: Voter, hasGranted: boolean, now: number): Follower {
  return {
    brokerId,
    directoryId,
    isVoter: true,
    incarnation: -1,
    heldEndOffset: offset(0),
    fetchOffset: offset(0),
    isSuspect: false,
    hasHoles: undefined,
    isGone: false,
    lastFetchMs: hasGranted ? now : Number.NEGATIVE_INFINITY,
    lastCaughtUpMs: hasGranted ? now : Number.NEGATIVE_INFINITY,
    leaderEndOffset: offset(Number.MAX_SAFE_INTEGER),
    isInSync: hasGranted,
    countsFromMs: Number.NEGATIVE_INFINITY,
  }
}
