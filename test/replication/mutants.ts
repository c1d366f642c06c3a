// Each rule of safety, taken away: what the model must notice. A rule that could be left out unnoticed is either not needed
// or not tested.

import { judgeCampaign } from '../../broker/replication/fence-quorum.ts'
import { heldByAll, nextHighWatermark } from '../../broker/replication/high-watermark.ts'
import { REPLICA_RULES, type ReplicaRules } from '../../broker/replication/replica-rules.ts'
import { mayDismiss, whyNotChangeVoters } from '../../broker/replication/voters.ts'
import { offset } from '../../shared/ids.ts'
import type { WalkOptions } from './random-walk.ts'

export interface Mutant {
  readonly name: string
  readonly rules: ReplicaRules
  /** Where it can do harm. */
  readonly options: WalkOptions
  /** Within so many lives it must be noticed; 0 where a random life meets it too seldom. */
  readonly seedsMax: number
  /** The play that shows it, and the beginning of what the oracle says then. */
  readonly scene: { readonly script: string; readonly says: string } | undefined
}

const THREE: WalkOptions = { replicas: 3, minInSyncReplicas: 2, changes: false }
const CHANGING: WalkOptions = { changes: true }
const COMPACTED: WalkOptions = { ...THREE, compaction: true }
/** What is not synced can only be lost where nobody waits for it. */
const THREE_UNSYNCED: WalkOptions = { ...THREE, durability: 'os' }

function mutant(name: string, rules: Partial<ReplicaRules>, facts: Partial<Mutant>): Mutant {
  const { options = THREE, seedsMax = 0, scene } = facts
  return { name, rules: { ...REPLICA_RULES, ...rules }, options, seedsMax, scene }
}

export const MUTANTS: readonly Mutant[] = [
  mutant(
    'quorum-before-acknowledging',
    {
      nextHighWatermark: (facts) =>
        nextHighWatermark({ ...facts, sets: facts.sets.map((set) => ({ ...set, minInSyncReplicas: 1 })) }),
    },
    { seedsMax: 20 },
  ),
  mutant('fence-quorum', { fenceQuorum: () => 1 }, { seedsMax: 50 }),
  mutant(
    'one-promise-an-epoch',
    { mayPromise: (promise, epoch) => promise === undefined || epoch >= promise.epoch },
    { seedsMax: 3_000, scene: { script: 'two-candidates.txt', says: 'epoch 0 has two leaders' } },
  ),
  mutant('owes-where-nothing-was-written', { mayOweEpochStart: () => true }, { seedsMax: 200 }),
  // Random lives meet it once in some thousands: it takes four elections in one order.
  mutant(
    'epoch-start',
    {
      nextHighWatermark: ({ highWatermark, sets }) => offset(Math.max(highWatermark, heldByAll(sets))),
    },
    { scene: { script: 'records-of-an-older-epoch.txt', says: 'lost: offset 1' } },
  ),
  mutant(
    'suspects',
    {
      judgeCampaign: (campaign) =>
        judgeCampaign({ ...campaign, grants: campaign.grants.map((grant) => ({ ...grant, isSuspect: false })) }),
    },
    {
      options: THREE_UNSYNCED,
      seedsMax: 200,
      scene: { script: 'acknowledged-in-an-earlier-life.txt', says: 'lost: offset 2' },
    },
  ),
  mutant(
    'synced-truncation',
    { awaitsTruncation: false },
    { scene: { script: 'cut-not-on-the-disk.txt', says: 'offset 2 is of epoch 0, behind 1' } },
  ),
  mutant(
    'old-high-watermark-at-election',
    { highWatermarkAtElection: (_, epochStartOffset) => epochStartOffset },
    { seedsMax: 50 },
  ),
  mutant(
    'incarnations',
    { isOldIncarnation: () => false, isNewLife: () => false },
    {
      options: THREE_UNSYNCED,
      scene: { script: 'acknowledged-in-an-earlier-life.txt', says: 'lost: offset 2' },
    },
  ),
  mutant('durable-promise', { awaitsPromise: false }, { seedsMax: 500 }),
  // Of the two sets of a change, one alone: a change in one step.
  mutant('old-voters-too', { setsInForce: (set, next) => [next ?? set] }, { options: CHANGING, seedsMax: 500 }),
  mutant('new-voters-too', { setsInForce: (set) => [set] }, { options: CHANGING, seedsMax: 500 }),
  mutant('only-voters-count', { countsIn: () => true }, { options: CHANGING, seedsMax: 500 }),
  mutant('change-is-kept-before-it-ends', { mayFinishChange: () => true }, { options: CHANGING, seedsMax: 5_000 }),
  // These take so many steps in one order that random lives do not meet them.
  mutant(
    'one-change-at-a-time',
    { whyNotChangeVoters: (facts) => whyNotChangeVoters({ ...facts, record: undefined }) },
    { scene: { script: 'two-changes-at-once.txt', says: 'lost: offset 1' } },
  ),
  mutant(
    'cut-takes-voters-back',
    { votersInForce: (newest, before) => ((newest?.offset ?? -1) < (before?.offset ?? -1) ? before : newest) },
    { scene: { script: 'change-that-was-cut-off.txt', says: 'lost: offset 5' } },
  ),
  mutant(
    'nobody-takes-back-what-another-began',
    { mayTakeBack: () => true },
    { scene: { script: 'change-taken-back-by-another.txt', says: 'lost: offset 2' } },
  ),
  mutant('leader-dismisses', { mayDismiss: () => true }, { options: CHANGING, seedsMax: 500 }),
  mutant(
    'dismissed-by-an-older-leader',
    { mayDismiss: (facts) => mayDismiss({ ...facts, latestEpoch: undefined }) },
    { scene: { script: 'dismissed-by-an-older-leader.txt', says: '1 has let 4 go, which is a voter of leader 2' } },
  ),
  mutant(
    'dismissed-are-forgotten',
    { forgetsDismissed: false },
    { scene: { script: 'dismissed-and-wanted-again.txt', says: '1.disk-1.1.0 shows up to 2, which 1 of 1,2,4 hold' } },
  ),
  mutant(
    'generations',
    { isOwnGeneration: () => true },
    { options: { changes: true, recoveries: true }, seedsMax: 1_000 },
  ),
  mutant('behind-dropped-tombstones', { mustBeginAnew: () => false }, { options: COMPACTED, seedsMax: 500 }),
  mutant(
    'copies-of-another-moment',
    { mustBeginAnew: (fetchOffset, droppedTo, copiedSince) => copiedSince === undefined && fetchOffset < droppedTo },
    { options: COMPACTED, seedsMax: 3_000 },
  ),
  // Who has begun anew speaks of what it has, and a voter of long ago wins by its word.
  mutant(
    'floor',
    { positionToTell: (own) => own },
    { scene: { script: 'begun-anew-and-fenced.txt', says: 'lost: offset 2' } },
  ),
  mutant(
    'keeps-what-may-lack',
    { keepsWhatMayLack: true },
    { scene: { script: 'cut-below-what-was-compacted.txt', says: 'at leader 2.disk-2.1.0 of epoch 10513699: key 2' } },
  ),
  mutant(
    'newcomers-are-silent',
    { grantOfNewcomer: (grant) => ({ ...grant, isSuspect: false }) },
    { scene: { script: 'voter-that-forgot.txt', says: 'lost: offset 1' } },
  ),
]
