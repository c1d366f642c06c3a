// Each rule of safety, taken away: what the model must notice. A rule that could be left out unnoticed is either not needed
// or not tested.

import { judgeCampaign } from '../../broker/replication/fence-quorum.ts'
import { nextHighWatermark, quorumEndOffset } from '../../broker/replication/high-watermark.ts'
import { REPLICA_RULES, type ReplicaRules } from '../../broker/replication/replica-rules.ts'
import { offset } from '../../shared/ids.ts'
import type { WalkOptions } from './random-walk.ts'

export interface Mutant {
  readonly name: string
  readonly rules: ReplicaRules
  /** Where it can do harm. */
  readonly options: WalkOptions
  /** Within so many lives it must be noticed; 0: by a script alone. */
  readonly seedsMax: number
}

function without(
  name: string,
  seedsMax: number,
  rules: Partial<ReplicaRules>,
  options: WalkOptions = { replicas: 3, minInSyncReplicas: 2 },
): Mutant {
  return { name, seedsMax, rules: { ...REPLICA_RULES, ...rules }, options }
}

export const MUTANTS: readonly Mutant[] = [
  without('quorum-before-acknowledging', 100, {
    nextHighWatermark: (facts) => nextHighWatermark({ ...facts, minInSyncReplicas: 1 }),
  }),
  without('fence-quorum', 300, { fenceQuorum: () => 1 }),
  without('one-promise-an-epoch', 1_000, {
    mayPromise: (promise, epoch) => promise === undefined || epoch >= promise.epoch,
  }),
  without('epoch-start', 0, {
    nextHighWatermark: ({ highWatermark, heldEndOffsets, minInSyncReplicas }) =>
      offset(Math.max(highWatermark, quorumEndOffset(heldEndOffsets, minInSyncReplicas))),
  }),
  without(
    'suspects',
    1_000,
    {
      judgeCampaign: (campaign) =>
        judgeCampaign({ ...campaign, grants: campaign.grants.map((grant) => ({ ...grant, isSuspect: false })) }),
    },
    { replicas: 3, minInSyncReplicas: 2, durability: 'os' },
  ),
  without('synced-truncation', 1_000, { awaitsTruncation: false }),
  without('old-high-watermark-at-election', 100, {
    highWatermarkAtElection: (_, epochStartOffset) => epochStartOffset,
  }),
  without(
    'incarnations',
    3_000,
    { isOldIncarnation: () => false, isNewIncarnation: () => false },
    { replicas: 3, minInSyncReplicas: 2, durability: 'os' },
  ),
  without('durable-promise', 1_000, { awaitsPromise: false }),
]
