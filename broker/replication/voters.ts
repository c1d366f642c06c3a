// Which sets of voters must agree, and when a set may be changed. Owns these rules; knows nothing of records' bytes, messages
// or time. Pure.
//
// A change is two records: one with the old and the new set, by which both must agree, and, once that one is committed, one
// with the new set alone. A record is in force from its append on, at whoever has it in its log, and a cut takes it back.
// So two replicas that act at the same time, one after any number of changes, always have a set in common, or else one
// of them lacks a committed record and wins no election.

import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import { isSameSet, isValidSet, isVoter } from '../../shared/voters.ts'

/** Why a change of the voters cannot begin now; all but the invalid ones may be asked for again later. */
export type VotersRefusal =
  /** The sets are equal: there is nothing to do. */
  | 'unchanged'
  /** No voters, too many, one broker twice, or a minInSyncReplicas that they cannot have. */
  | 'invalid'
  /** This replica does not take records now. */
  | 'not-leading'
  /** No record of this leader's epoch is committed yet. */
  | 'epoch-not-committed'
  /** The last change is not committed yet. */
  | 'change-under-way'
  /** Some that would be new have not reached the end of the log. */
  | 'newcomers-behind'

export interface VotersChangeFacts {
  readonly record: VotersRecord | undefined
  /** By the record, or that of the beginning. */
  readonly current: VoterSet
  readonly wanted: VoterSet
  readonly highWatermark: Offset
  readonly isEpochCommitted: boolean
  /** Of the wanted set, those that have not reached the end. */
  readonly behind: readonly BrokerId[]
}

/** Whether a change to the wanted set may begin. */
export function whyNotChangeVoters(facts: VotersChangeFacts): VotersRefusal | undefined {
  const { record, current, wanted, highWatermark, isEpochCommitted, behind } = facts
  if (!isValidSet(wanted)) return 'invalid'
  if (record?.next !== undefined) return 'change-under-way'
  if (record !== undefined && record.offset >= highWatermark) return 'change-under-way'
  if (isSameSet(current, wanted)) return 'unchanged'
  if (!isEpochCommitted) return 'epoch-not-committed'
  return behind.length > 0 ? 'newcomers-behind' : undefined
}

export interface DismissalFacts {
  /** The set that is in force alone, by a committed record, as a leader knows that has committed one of its own epoch. */
  readonly settled: VoterSet | undefined
  readonly leaderEpoch: LeaderEpoch
  /** Who asks, and the latest epoch of its log. */
  readonly from: BrokerId
  readonly latestEpoch: LeaderEpoch | undefined
}

/**
 * Whether a replica may go, with all that it holds. What it has acknowledged to a leader of this epoch or of an earlier one,
 * the committed set vouches for; of what it has for a later one this leader knows nothing.
 */
export function mayDismiss({ settled, leaderEpoch, from, latestEpoch }: DismissalFacts): boolean {
  if (settled === undefined || (latestEpoch ?? -1) > leaderEpoch) return false
  return settled.voters.every(({ brokerId }) => brokerId !== from)
}

/** The sets that must agree, the older one first. */
export function setsInForce(set: VoterSet, next: VoterSet | undefined): readonly VoterSet[] {
  return next === undefined ? [set] : [set, next]
}

/** All voters of the sets, each once. */
export function votersOf(sets: readonly VoterSet[]): readonly Voter[] {
  const all: Voter[] = []
  for (const { voters } of sets) {
    for (const voter of voters) if (!isVoter(all, voter.brokerId, voter.directoryId)) all.push(voter)
  }
  return all
}

/** The sets that are in force for some record from the offset on, by this log; `initial` before the first voters record. */
export function setsSince(records: readonly VotersRecord[], from: Offset, initial: VoterSet): readonly VoterSet[] {
  const sets: VoterSet[] = []
  for (let at = records.length - 1; at >= 0; at -= 1) {
    const record = records[at]
    if (record === undefined) continue
    sets.push(...setsInForce(record.set, record.next))
    if (record.offset < from) return sets
  }
  return [...sets, initial]
}
