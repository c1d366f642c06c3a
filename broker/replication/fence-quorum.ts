// Who wins an election. Owns how many promises a candidate needs, whose promises count, and how logs are compared; knows
// nothing of messages or time. Pure.
//
// Every quorum of promises has a replica in common with every set of minInSyncReplicas, and with every other quorum. So a
// winner has seen the log of somebody who holds each acknowledged record, and an epoch has one winner.

import type { BrokerId } from '../../shared/ids.ts'
import type { FenceGrant, LogPosition } from './replication-events.ts'
import { assert } from '../../shared/assert.ts'

/** A replica whose word counts: this broker on this disk. */
export interface Voter {
  readonly brokerId: BrokerId
  readonly directoryId: string
}

/** What happens when too many replicas may have lost data for a safe election. */
export type SuspectPolicy =
  /** When all replicas have answered, the best log there is leads, and the possible loss is reported. */
  | 'balanced'
  /** Nobody leads until enough replicas are trusted again. */
  | 'wait'

export interface Campaign {
  readonly candidate: BrokerId
  readonly voters: readonly Voter[]
  /** Promises that are needed. */
  readonly quorum: number
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
  return Math.max(replicas - minInSyncReplicas + 1, Math.floor(replicas / 2) + 1)
}

/** Negative if a is behind b, positive if it is ahead. */
export function comparePositions(a: LogPosition, b: LogPosition): number {
  const byEpoch = (a.latestEpoch ?? -1) - (b.latestEpoch ?? -1)
  return byEpoch === 0 ? a.logEndOffset - b.logEndOffset : byEpoch
}

export function isVoter(voters: readonly Voter[], brokerId: BrokerId, directoryId: string): boolean {
  return voters.some((voter) => voter.brokerId === brokerId && voter.directoryId === directoryId)
}

export function judgeCampaign(campaign: Campaign): CampaignVerdict {
  const { candidate, voters, quorum, policy } = campaign
  const counted = campaign.grants.filter((grant) => isVoter(voters, grant.from, grant.directoryId))
  const own = counted.find(({ from }) => from === candidate)
  if (own === undefined) return { kind: 'open' }
  const trusted = counted.filter(({ isSuspect }) => !isSuspect)
  const best = bestOf(own, trusted)
  if (best !== own) return { kind: 'lost', to: best.from }
  if (trusted.length >= quorum) return { kind: 'won', isLossPossible: false }
  if (policy === 'wait' || counted.length < voters.length) return { kind: 'open' }
  const bestOfAll = bestOf(own, counted)
  return bestOfAll === own ? { kind: 'won', isLossPossible: true } : { kind: 'lost', to: bestOfAll.from }
}

/** The first unless another is really better: nobody gives way to an equal. */
function bestOf(first: FenceGrant, others: readonly FenceGrant[]): FenceGrant {
  return others.reduce((best, grant) => (comparePositions(grant.position, best.position) > 0 ? grant : best), first)
}
