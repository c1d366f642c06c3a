// What a leader knows of the other replicas in its epoch: how far each holds the log, and who keeps up. Owns one row for each
// voter; knows nothing of messages. The in-sync set is a measure of health: metadata and metrics show it, and a produce
// that could not be kept by enough replicas is refused by it in good time. What is safe is decided by held offsets alone.
//
// Invariants: the leader is in sync with itself; a row belongs to one incarnation, and a newer one begins at nothing.

import type { BrokerId, Offset } from '../../shared/ids.ts'
import { assert } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'

interface Follower {
  readonly brokerId: BrokerId
  incarnation: number
  heldEndOffset: Offset
  fetchOffset: Offset
  isSuspect: boolean
  /** Of the last fetch that lay on the log, and of the last time it had all that the leader had; monotonic milliseconds. */
  lastFetchMs: number
  lastCaughtUpMs: number
  /** The leader's end at the last fetch: one that reaches it with the next was caught up then. */
  leaderEndOffset: Offset
  isInSync: boolean
}

/** What the leader takes from a fetch that lies on its log. */
export interface FollowerReport {
  readonly from: BrokerId
  readonly incarnation: number
  readonly fetchOffset: Offset
  readonly heldEndOffset: Offset
  readonly isSuspect: boolean
}

export class InSyncReplicas {
  readonly #self: BrokerId
  readonly #lagMsMax: number
  readonly #followers: readonly Follower[]

  /** The replicas that have granted the leadership count as in sync at first: they get lagMsMax (ms) to show it. */
  constructor(options: {
    readonly self: BrokerId
    readonly voters: readonly BrokerId[]
    readonly granted: readonly BrokerId[]
    readonly lagMsMax: number
    readonly now: number
  }) {
    this.#self = options.self
    this.#lagMsMax = options.lagMsMax
    const others = options.voters.filter((brokerId) => brokerId !== options.self)
    assert(others.length < options.voters.length, 'a leader is a voter')
    this.#followers = others.map((brokerId) => {
      const hasGranted = options.granted.includes(brokerId)
      return {
        brokerId,
        incarnation: -1,
        heldEndOffset: offset(0),
        fetchOffset: offset(0),
        isSuspect: false,
        lastFetchMs: hasGranted ? options.now : Number.NEGATIVE_INFINITY,
        lastCaughtUpMs: hasGranted ? options.now : Number.NEGATIVE_INFINITY,
        leaderEndOffset: offset(Number.MAX_SAFE_INTEGER),
        isInSync: hasGranted,
      }
    })
  }

  /** Ascending, so that equal sets are equal lists. */
  get members(): readonly BrokerId[] {
    const members = this.#followers.filter(({ isInSync }) => isInSync).map(({ brokerId }) => brokerId)
    return [...members, this.#self].sort((a, b) => a - b)
  }

  get count(): number {
    let count = 1
    for (const { isInSync } of this.#followers) if (isInSync) count += 1
    return count
  }

  /** The newest life of the follower that has been heard of in this epoch; -1 for none. */
  incarnationOf(brokerId: BrokerId): number {
    return this.#row(brokerId)?.incarnation ?? -1
  }

  heldEndOffsetOf(brokerId: BrokerId): Offset {
    return this.#row(brokerId)?.heldEndOffset ?? offset(0)
  }

  /** Milliseconds since the follower last had all that the leader had; 0 while it has, undefined if it never did. */
  lagMsOf(brokerId: BrokerId, leaderEndOffset: Offset, now: number): number | undefined {
    const row = this.#row(brokerId)
    if (row === undefined || row.lastCaughtUpMs === Number.NEGATIVE_INFINITY) return undefined
    return row.fetchOffset >= leaderEndOffset && row.isInSync ? 0 : now - row.lastCaughtUpMs
  }

  /** How far each voter holds the log, the leader with what it holds itself. */
  heldEndOffsets(ownHeldEndOffset: Offset): Offset[] {
    const held = [ownHeldEndOffset]
    for (const { heldEndOffset } of this.#followers) held.push(heldEndOffset)
    return held
  }

  /** A new life of the follower: what an earlier one held may be lost. */
  onNewIncarnation(brokerId: BrokerId, incarnation: number): void {
    const row = this.#row(brokerId)
    if (row === undefined) return
    row.incarnation = incarnation
    row.heldEndOffset = offset(0)
    row.fetchOffset = offset(0)
    row.leaderEndOffset = offset(Number.MAX_SAFE_INTEGER)
  }

  /** A fetch that lies on the log. Within one life and epoch a follower cuts nothing, so that a late fetch changes nothing. */
  onFetch(report: FollowerReport, leaderEndOffset: Offset, now: number): void {
    const row = this.#row(report.from)
    if (row === undefined) return
    assert(report.fetchOffset <= leaderEndOffset, 'a fetch on the log is not past its end')
    if (report.fetchOffset >= leaderEndOffset) row.lastCaughtUpMs = now
    else if (report.fetchOffset >= row.leaderEndOffset)
      row.lastCaughtUpMs = Math.max(row.lastCaughtUpMs, row.lastFetchMs)
    row.lastFetchMs = now
    row.leaderEndOffset = leaderEndOffset
    row.isSuspect = report.isSuspect
    if (report.fetchOffset > row.fetchOffset) row.fetchOffset = report.fetchOffset
    const held = Math.min(report.heldEndOffset, report.fetchOffset)
    if (held > row.heldEndOffset) row.heldEndOffset = offset(held)
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
      // One that is silent is out, even if it had all there was: nobody knows whether it is still there.
      const isRecent = facts.now - row.lastCaughtUpMs <= this.#lagMsMax
      // Who was in sync stays so for its time; who was not must reach what the leader vouches for.
      const reaches = row.fetchOffset >= facts.highWatermark && row.fetchOffset > facts.epochStartOffset
      const isInSync = !row.isSuspect && isRecent && (row.isInSync || reaches)
      if (isInSync !== row.isInSync) isChanged = true
      row.isInSync = isInSync
    }
    return isChanged
  }

  /** How many other voters have fetched in this epoch within the last milliseconds. */
  heardWithin(durationMs: number, now: number): number {
    let count = 0
    for (const { lastFetchMs } of this.#followers) if (now - lastFetchMs <= durationMs) count += 1
    return count
  }

  #row(brokerId: BrokerId): Follower | undefined {
    for (const row of this.#followers) if (row.brokerId === brokerId) return row
    return undefined
  }
}
