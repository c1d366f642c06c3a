// Epochs of replicas that an operator has had go on alone. Owns how they are told from those of the replicas that they have
// left behind, which may elect leaders as well until they hear of it. Pure.
//
// Epochs come in generations of so many that elections do not use them up. Going on alone begins a new one, and a replica
// campaigns in the generation of its own log only: so an epoch is never won twice, by those who know of it and by those who
// do not.

import type { LeaderEpoch } from '../../shared/ids.ts'
import { leaderEpoch } from '../../shared/ids.ts'

/** Epochs of one generation. */
const GENERATION = 1 << 18
/** Two replicas that begin new generations without hearing of each other begin different ones, if these are enough. */
const SLOTS = 32
const OFFSETS = 1 << 17

/** Above all known ones, and another one for each directory. */
export function recoveryEpoch(known: LeaderEpoch | undefined, directoryId: string): LeaderEpoch {
  const hash = hashOf(directoryId)
  const round = Math.floor(generationOf(known) / SLOTS) + 1
  return leaderEpoch((round * SLOTS + (hash % SLOTS)) * GENERATION + (Math.floor(hash / SLOTS) % OFFSETS))
}

/** Whether a replica with such a log may campaign when it has heard of the epoch: what it has is not given up. */
export function isOwnGeneration(epochSeen: LeaderEpoch | undefined, latestEpoch: LeaderEpoch | undefined): boolean {
  return generationOf(epochSeen) <= generationOf(latestEpoch)
}

/** The epoch from which on a log of this generation may lack what was acknowledged; undefined for the first. */
export function lossAcceptedBy(latestEpoch: LeaderEpoch | undefined): LeaderEpoch | undefined {
  const generation = generationOf(latestEpoch)
  return generation === 0 ? undefined : leaderEpoch(generation * GENERATION)
}

function generationOf(epoch: LeaderEpoch | undefined): number {
  return Math.floor((epoch ?? 0) / GENERATION)
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}
