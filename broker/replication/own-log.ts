// What a replica's own log is worth to others, and what becomes of it when the leader's is another one. Owns whether it is
// being copied anew, since when, and the position that it speaks of meanwhile; cuts nothing itself. What consumers have read is
// for ReplicaState to guard.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { ReplicaLog } from './divergence.ts'
import type { ReplicaRules } from './replica-rules.ts'
import type { Beginning, FetchPosition, LogPosition, ReplicaEffect, ReplicaEvent } from './replication-events.ts'
import type { VotersInForce } from './voters-in-force.ts'
import { assertNever } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'
import { planTruncation, startOf } from './divergence.ts'
import { comparePositions } from './fence-quorum.ts'

/** How a log is made to be the beginning of the leader's. */
export interface LogCut {
  /** Where it parts from the leader's; perhaps more goes. */
  readonly partsAt: Offset
  readonly effect: CutEffect
}

export type CutEffect = ReplicaEffect & { readonly kind: 'truncate-to' | 'restart-log-at' }

export class OwnLog {
  /** In the promised epoch it has begun to copy its leader's log when that had dropped tombstones so often. */
  copiedSince: number | undefined
  readonly #log: ReplicaLog
  readonly #voters: VotersInForce
  readonly #rules: ReplicaRules

  constructor(log: ReplicaLog, voters: VotersInForce, rules: ReplicaRules) {
    this.#log = log
    this.#voters = voters
    this.#rules = rules
  }

  /** While it copies anew what it had, others go by what it had: whoever lacks that must not win by its word. */
  get positionToTell(): LogPosition {
    return this.#rules.positionToTell(this.#position, this.#log.compaction?.floor)
  }

  /** It has given up records that may be committed, and has not got them back yet. */
  get isBelowFloor(): boolean {
    return comparePositions(this.#position, this.positionToTell) < 0
  }

  get #position(): LogPosition {
    const { latestEpoch, logEndOffset } = this.#log
    return { latestEpoch, logEndOffset }
  }

  /** What to fetch next, for who fetches. */
  fetchPosition(
    who: Pick<FetchPosition, 'from' | 'directoryId' | 'incarnation' | 'leaderEpoch' | 'isSuspect'>,
  ): FetchPosition {
    const { logEndOffset: fetchOffset, latestEpoch: lastFetchedEpoch, heldEndOffset } = this.#log
    const copying = this.copiedSince === undefined ? {} : { copiedSince: this.copiedSince }
    const { isSuspect, ...rest } = who
    return { ...rest, fetchOffset, lastFetchedEpoch, heldEndOffset, isSuspect, ...copying }
  }

  /** The leader's greatest epoch that is not above its own ends there. */
  cutFor(diverging: { readonly epoch: LeaderEpoch | undefined; readonly endOffset: Offset }, shown: Offset): LogCut {
    const plan = planTruncation(this.#log, diverging, this.#rules.keepsWhatMayLack ? undefined : shown)
    switch (plan.kind) {
      case 'cut':
        return { partsAt: plan.offset, effect: { kind: 'truncate-to', offset: plan.offset } }
      case 'restart':
        return {
          partsAt: plan.offset,
          effect: { ...plan, kind: 'restart-log-at', ...this.#voters.recordAt(plan.offset) },
        }
      case 'begin-anew': {
        const { offset: at, epoch, floor } = plan
        const anew = { floor, droppedTo: offset(0) }
        const effect = { kind: 'restart-log-at', offset: at, epoch, ...this.#voters.recordAt(at), anew } as const
        return { partsAt: floor.logEndOffset, effect }
      }
      default:
        return assertNever(plan)
    }
  }

  /**
   * The leader has dropped tombstones that this log has not come to: what they have deleted may be in it. Of the records that
   * it gives up none is lost by that: enough others have come past the tombstones, and hold all that is below.
   */
  beginAnew(told: ReplicaEvent & { readonly kind: 'log-start-received' }, { drops, droppedTo }: Beginning): CutEffect {
    const floor = this.#log.logEndOffset === 0 ? this.#log.compaction?.floor : this.positionToTell
    this.copiedSince = drops
    const own = startOf(this.#log)
    const { logStartOffset, epoch, votersRecord } = told
    const anew = { floor, droppedTo }
    // What has been trimmed here is wanted by nobody any more.
    if (own.offset > logStartOffset) {
      return { kind: 'restart-log-at', ...own, ...this.#voters.recordAt(own.offset), anew }
    }
    const voters = votersRecord === undefined ? {} : { votersRecord }
    return { kind: 'restart-log-at', offset: logStartOffset, epoch, ...voters, anew }
  }
}
