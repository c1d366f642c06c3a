// When this broker tries to lead which of its partitions. Owns one row for each replica: since when it is without a leader,
// what was tried, and when to try next. Synchronous, without time or chance of its own; what it sees is given to it.
//
// Invariants: a replica is tried only while it is seen to be without a leader; after a campaign that came to nothing the next
// one waits longer, up to a bound; what stays without a leader is tried again and again.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import { claimOf, deferenceOf, delayOf, judgeVacancy, rankOf } from './leader-vacancy.ts'
import type { ClusterSight, PartitionView, Vacancy } from './leader-vacancy.ts'

/** What an attempt may be waiting for, besides its moment. */
export interface ElectionSight extends ClusterSight {
  /** Monotonic milliseconds. */
  readonly now: number
  /** Whether the coordinator is reached, and counts this broker as a member. */
  readonly isCoordinated: boolean
  /** Since when; what is said of others is believed only some time after. */
  readonly coordinatedSince: number
  /** Whether enough voters can be asked for a promise. */
  isQuorumInReach(): boolean
}

interface Row {
  /** The claim that is remembered, and the life of its leader when it was first seen. */
  leader: BrokerId | undefined
  epoch: LeaderEpoch | undefined
  life: string | undefined
  /** When that leader has refused to be one: the first time of a series, and the last. */
  refusedSince: number
  refusedLast: number
  attempt: Attempt | undefined
  tries: number
  notBefore: number
}

interface Attempt {
  readonly vacancy: Vacancy
  dueAt: number
  /** Its moment had come, and something was missing. */
  isHeld: boolean
}

/** After an outage of the coordinator its news of who is away may be of sessions that could not be renewed. */
export const SETTLE_MS = 2_000
const RETRY_MS_MIN = 200
const RETRY_MS_MAX = 5_000
/** A leader that refuses for this long is none. */
const REFUSED_MS = 1_000
/** Refusals that are further apart belong to different troubles. */
const REFUSAL_GAP_MS = 3_000

export class ElectionSchedule<Key> {
  readonly #rows = new Map<Key, Row>()

  /** Looks at a partition. `fraction` is drawn from [0, 1). */
  observe(key: Key, view: PartitionView, sight: ElectionSight, fraction: number): void {
    const row = this.#rowOf(key)
    this.#remember(row, view, sight)
    const isRefused = isRefusing(row, sight.now)
    const vacancy = judgeVacancy(view, sight, { life: row.life, isRefused })
    if (vacancy === undefined) {
      row.attempt = undefined
      // A candidate that is beaten is not done yet.
      if (view.role !== 'candidate') row.tries = 0
      return
    }
    if (row.attempt !== undefined && isSame(row.attempt.vacancy, vacancy)) return
    const delayMs = delayOf(vacancy.reason, rankOf(view, sight, vacancy), fraction) + deferenceOf(view)
    const dueAt = sight.now + delayMs
    row.attempt = { vacancy, dueAt: Math.max(dueAt, row.notBefore), isHeld: false }
  }

  /** The vacancy to act on now, if its moment has come and nothing is missing. */
  take(key: Key, view: PartitionView, sight: ElectionSight, fraction: number): Vacancy | undefined {
    const row = this.#rows.get(key)
    const attempt = row?.attempt
    if (row === undefined || attempt === undefined || attempt.dueAt > sight.now) return undefined
    const { vacancy } = attempt
    if (!mayBegin(vacancy, sight)) {
      attempt.isHeld = true
      return undefined
    }
    if (attempt.isHeld) {
      // What was missing has come for the others in the same moment.
      attempt.isHeld = false
      attempt.dueAt = sight.now + delayOf('dead', rankOf(view, sight, vacancy), fraction) + deferenceOf(view)
      if (attempt.dueAt > sight.now) return undefined
    }
    row.attempt = undefined
    row.tries += 1
    row.notBefore = sight.now + retryDelay(row.tries, fraction)
    return vacancy
  }

  onAbandoned(key: Key, now: number, fraction: number): void {
    const row = this.#rows.get(key)
    if (row === undefined) return
    // The campaign may have been somebody else's idea.
    row.tries = Math.max(1, row.tries)
    row.notBefore = now + retryDelay(row.tries, fraction)
    if (row.attempt !== undefined) row.attempt.dueAt = Math.max(row.attempt.dueAt, row.notBefore)
  }

  /** The leader that this replica follows says that it does not lead. */
  onRefused(key: Key, leader: BrokerId, now: number): void {
    const row = this.#rows.get(key)
    if (row === undefined || row.leader !== leader) return
    if (now - row.refusedLast > REFUSAL_GAP_MS) row.refusedSince = now
    row.refusedLast = now
  }

  forget(key: Key): void {
    this.#rows.delete(key)
  }

  /** Those whose moment has come, in no particular order. */
  due(now: number): readonly Key[] {
    return [...this.#rows]
      .filter(([, { attempt }]) => attempt !== undefined && attempt.dueAt <= now)
      .map(([key]) => key)
  }

  /** The next moment at which there is something to do; what is held is left out. Infinity if there is none. */
  nextDueAt(): number {
    let next = Infinity
    for (const { attempt } of this.#rows.values()) {
      if (attempt !== undefined && !attempt.isHeld && attempt.dueAt < next) next = attempt.dueAt
    }
    return next
  }

  #rowOf(key: Key): Row {
    let row = this.#rows.get(key)
    if (row === undefined) {
      const never = -Infinity
      row = {
        leader: undefined,
        epoch: undefined,
        life: undefined,
        refusedSince: never,
        refusedLast: never,
        attempt: undefined,
        tries: 0,
        notBefore: never,
      }
      this.#rows.set(key, row)
    }
    return row
  }

  #remember(row: Row, view: PartitionView, sight: ElectionSight): void {
    const { leader, epoch } = claimOf(view) ?? {}
    const life = leader === undefined ? undefined : sight.lifeOf(leader)
    if (row.leader !== leader || row.epoch !== epoch) {
      row.leader = leader
      row.epoch = epoch
      row.life = undefined
      row.refusedLast = -Infinity
    }
    row.life ??= life
  }
}

function isRefusing(row: Row, now: number): boolean {
  return row.refusedLast - row.refusedSince >= REFUSED_MS && now - row.refusedLast <= REFUSAL_GAP_MS
}

/**
 * Without the coordinator nobody's silence is taken for death, and after it has come back not at once. It is not needed
 * where there was no leader yet, and where this broker has seen for itself that the leader is gone.
 */
function mayBegin({ reason, epoch }: Vacancy, sight: ElectionSight): boolean {
  if (!sight.isQuorumInReach()) return false
  if (reason === 'dead' || (reason === 'vacant' && epoch === undefined)) return true
  if (!sight.isCoordinated) return false
  const isOwn = reason === 'own' || reason === 'begun' || reason === 'vacant'
  return isOwn || sight.now - sight.coordinatedSince >= SETTLE_MS
}

function isSame(one: Vacancy, other: Vacancy): boolean {
  return one.reason === other.reason && one.leader === other.leader && one.epoch === other.epoch
}

function retryDelay(tries: number, fraction: number): number {
  const floor = RETRY_MS_MIN * 2 ** Math.min(tries - 1, 10)
  return Math.min(RETRY_MS_MAX, floor * (1 + 2 * fraction))
}
