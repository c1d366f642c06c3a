// What a replica's promise allows. Owns the rule by which fences and announcements are followed or refused, and the choice
// of a new epoch; knows nothing of how a promise becomes durable. Pure.
//
// Invariant: a promise never falls; in one epoch it is never given to two brokers. With a quorum of at least the majority
// this alone makes the leader of an epoch unique.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import type { ReplicaPromise } from './replication-events.ts'
import { assert } from '../../shared/assert.ts'
import { leaderEpoch } from '../../shared/ids.ts'

/** A hint from outside that leaps further is not followed: a broken coordinator must not use up all epochs there are. */
export const EPOCH_LEAP_MAX = 1 << 24

/** Whether a replica that has given `promise` may follow the broker in the epoch. */
export function mayPromise(promise: ReplicaPromise | undefined, epoch: LeaderEpoch, leader: BrokerId): boolean {
  if (promise === undefined) return true
  return epoch > promise.epoch || (epoch === promise.epoch && leader === promise.leader)
}

/** Whether an epoch that somebody speaks of is one that this cluster can have come to. */
export function isPlausibleEpoch(epoch: LeaderEpoch, known: LeaderEpoch | undefined): boolean {
  return epoch <= (known ?? 0) + EPOCH_LEAP_MAX
}

/** The epoch of a new campaign: above all that are known, and above the hint unless it is absurd. */
export function nextEpoch(known: LeaderEpoch | undefined, hint: LeaderEpoch | undefined): LeaderEpoch {
  const floor = known ?? -1
  const above = hint !== undefined && hint > floor && isPlausibleEpoch(hint, known) ? hint : floor
  const next = leaderEpoch(above + 1)
  assert(next > floor, 'a new epoch is above all known ones')
  return next
}
