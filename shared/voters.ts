// Whose word counts in a partition: the words that the catalogue, the log and the rules of replication have in common. Owns
// what a voter and a set of them are; knows nothing of how they are used, or kept. Pure.

import type { BrokerId } from './ids.ts'

/** A replica whose word counts: this broker on this disk. */
export interface Voter {
  readonly brokerId: BrokerId
  readonly directoryId: string
}

export interface VoterSet {
  readonly voters: readonly Voter[]
  /** How many of them hold what is acknowledged. */
  readonly minInSyncReplicas: number
}

/** More replicas of one partition are of no use to anybody. */
export const VOTERS_MAX = 32

/** How many replicas must agree to a leader: enough that one of them holds each acknowledged record, and the majority. */
export function electionQuorum(replicas: number, minInSyncReplicas: number): number {
  return Math.max(replicas - minInSyncReplicas + 1, Math.floor(replicas / 2) + 1)
}

export function isVoter(voters: readonly Voter[], brokerId: BrokerId, directoryId: string): boolean {
  return voters.some((voter) => voter.brokerId === brokerId && voter.directoryId === directoryId)
}

export function isValidSet({ voters, minInSyncReplicas }: VoterSet): boolean {
  if (voters.length < 1 || voters.length > VOTERS_MAX) return false
  if (new Set(voters.map(({ brokerId }) => brokerId)).size < voters.length) return false
  return Number.isInteger(minInSyncReplicas) && minInSyncReplicas >= 1 && minInSyncReplicas <= voters.length
}

/** Whether both ask for the same, in whatever order they name the voters. */
export function isSameSet(a: VoterSet, b: VoterSet): boolean {
  if (a.minInSyncReplicas !== b.minInSyncReplicas || a.voters.length !== b.voters.length) return false
  return a.voters.every(({ brokerId, directoryId }) => isVoter(b.voters, brokerId, directoryId))
}
