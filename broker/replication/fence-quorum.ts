// Who wins an election. Owns how many promises a candidate needs, whose promises count, and how logs are compared; knows
// nothing of messages or time. Pure.
//
// Every quorum of promises has a replica in common with every set of minInSyncReplicas, and with every other quorum. So a
// winner has seen the log of somebody who holds each acknowledged record, and an epoch has one winner. While the voters
// change, that is asked of the old set and of the new one.

import type { BrokerId } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'
import type { FenceGrant, LogPosition } from './replication-events.ts'
import { assert } from '../../shared/assert.ts'
import { electionQuorum, isVoter } from '../../shared/voters.ts'

/** What happens when too many replicas may have lost data for a safe election. */
export type SuspectPolicy =
  /** When all replicas have answered, the best log there is leads, and the possible loss is reported. */
  | 'balanced'
  /** Nobody leads until enough replicas are trusted again. */
  | 'wait'

/** Voters, and how many of their promises are needed. */
export interface CampaignSet {
  readonly voters: readonly Voter[]
  readonly quorum: number
}

export interface Campaign {
  readonly candidate: BrokerId
  /** By the candidate's own log; two while the voters change, the older one first. Each must be won. */
  readonly sets: readonly CampaignSet[]
  readonly policy: SuspectPolicy
  /** One of each replica at most, the candidate's own included. */
  readonly grants: readonly FenceGrant[]
}

export type CampaignVerdict =
  | { readonly kind: 'open' }
  | { readonly kind: 'won'; readonly isLossPossible: boolean }
  | { readonly kind: 'lost'; readonly to: BrokerId }

export function fenceQuorum(replicas: number, minInSyncReplicas: number): number {
  assert(minInSyncReplicas >= 1, 'at least the leader holds what is acknowledged')
  assert(minInSyncReplicas <= replicas, 'no more replicas are asked for than there are')
  return electionQuorum(replicas, minInSyncReplicas)
}

/** Negative if a is behind b, positive if it is ahead. */
export function comparePositions(a: LogPosition, b: LogPosition): number {
  const byEpoch = (a.latestEpoch ?? -1) - (b.latestEpoch ?? -1)
  return byEpoch === 0 ? a.logEndOffset - b.logEndOffset : byEpoch
}

export function judgeCampaign(campaign: Campaign): CampaignVerdict {
  const { candidate, sets, policy, grants } = campaign
  // The candidate itself need not be a voter: one that is being removed may be the only one left that can go on.
  const own = grants.find(({ from }) => from === candidate)
  if (own === undefined) return { kind: 'open' }
  const counted = grants.filter((grant) => sets.some(({ voters }) => isVoter(voters, grant.from, grant.directoryId)))
  const trusted = counted.filter(({ isSuspect }) => !isSuspect)
  const reached = trusted.filter(({ position }) => comparePositions(position, own.position) <= 0)
  if (sets.every((set) => countOf(set, reached) >= set.quorum)) return { kind: 'won', isLossPossible: false }
  const best = bestOf(
    own,
    trusted.filter((grant) => mayTry(grant, own, sets)),
  )
  if (best !== own) return { kind: 'lost', to: best.from }
  if (policy === 'wait' || !sets.every((set) => countOf(set, counted) === set.voters.length)) return { kind: 'open' }
  const bestOfAll = bestOf(own, counted)
  return bestOfAll === own ? { kind: 'won', isLossPossible: true } : { kind: 'lost', to: bestOfAll.from }
}

function countOf({ voters }: CampaignSet, grants: readonly FenceGrant[]): number {
  return grants.filter(({ from, directoryId }) => isVoter(voters, from, directoryId)).length
}

/**
 * Whether a better log can be expected to know that it has a voice: that of an old voter, or one that goes on from this
 * very log. A newcomer whose log has parted from this one need not know of the change, and is not given way to.
 */
function mayTry(grant: FenceGrant, own: FenceGrant, sets: readonly CampaignSet[]): boolean {
  if (grant.position.latestEpoch === own.position.latestEpoch) return true
  return sets[0] !== undefined && isVoter(sets[0].voters, grant.from, grant.directoryId)
}

/** The first unless another is really better: nobody gives way to an equal. */
function bestOf(first: FenceGrant, others: readonly FenceGrant[]): FenceGrant {
  return others.reduce((best, grant) => (comparePositions(grant.position, best.position) > 0 ? grant : best), first)
}
