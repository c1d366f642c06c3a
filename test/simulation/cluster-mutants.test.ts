// Whether the simulation of a cluster can be believed: each rule of replication, taken away, is noticed within a few seeds.

import { describe, expect, it } from 'vitest'
import type { Environment } from '../../broker/environment.ts'
import { judgeCampaign } from '../../broker/replication/fence-quorum.ts'
import { heldByAll, nextHighWatermark } from '../../broker/replication/high-watermark.ts'
import { REPLICA_RULES, type ReplicaRules } from '../../broker/replication/replica-rules.ts'
import type { Disk, File } from '../../broker/storage/disk.ts'
import { offset } from '../../shared/ids.ts'
import type { ClusterFault } from './cluster-plan.ts'
import { type ClusterSimulationOptions, simulateCluster } from './cluster-simulation.ts'

const SEEDS_MAX = 60

interface Mutant {
  readonly name: string
  readonly options: Omit<ClusterSimulationOptions, 'seed'>
  /** Where it can do harm. */
  readonly faults: readonly ClusterFault[]
  /** One that is known to show it; others are tried behind it. */
  readonly firstSeed: number
  readonly says: RegExp
}

function without(rules: Partial<ReplicaRules>): Omit<ClusterSimulationOptions, 'seed'> {
  return { rules: { ...REPLICA_RULES, ...rules } }
}

/** Whatever is cut off comes back after a loss of power, unless something else has synced the file by then. */
function withIdleCuts(environment: Environment): Environment {
  const { disk } = environment
  const open = (...args: Parameters<Disk['open']>): File => {
    const file = disk.open(...args)
    let isCut = false
    return new Proxy(file, {
      get(target, name) {
        if (name === 'truncate') {
          return (size: number) => {
            isCut = true
            target.truncate(size)
          }
        }
        if (name === 'sync' && isCut) {
          return () => {
            isCut = false
            return Promise.resolve()
          }
        }
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  }
  const idle = new Proxy(disk, {
    get(target, name) {
      if (name === 'open') return open
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return { ...environment, disk: idle }
}

const DEATHS: readonly ClusterFault[] = ['kill', 'kill-all', 'isolate', 'cut-pair', 'slow-network', 'restart']

const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledging before a quorum has the record',
    options: without({
      nextHighWatermark: (facts) =>
        nextHighWatermark({ ...facts, sets: facts.sets.map((set) => ({ ...set, minInSyncReplicas: 1 })) }),
    }),
    faults: ['isolate', 'kill', 'cut-pair', 'slow-network'],
    firstSeed: 3,
    says: /is committed, and 1 of \d disks have it|leads in epoch/,
  },
  {
    name: 'a quorum that is too small',
    options: without({ fenceQuorum: () => 1 }),
    faults: ['isolate', 'kill-all', 'kill', 'power-loss-all', 'replaced-disk'],
    firstSeed: 8,
    says: /leads in epoch|has two leaders|committed at|another batch|would have it cut/,
  },
  {
    name: 'no rule of the first record of an epoch',
    options: without({
      nextHighWatermark: ({ highWatermark, sets }) => offset(Math.max(highWatermark, heldByAll(sets))),
    }),
    faults: DEATHS,
    firstSeed: 5,
    says: /was committed by counting/,
  },
  {
    name: 'trust in replicas that may have lost something',
    options: without({
      judgeCampaign: (campaign) =>
        judgeCampaign({ ...campaign, grants: campaign.grants.map((grant) => ({ ...grant, isSuspect: false })) }),
    }),
    faults: ['power-loss', 'power-loss-at-operation', 'restart', 'isolate'],
    firstSeed: 8,
    says: /leads in epoch|committed at/,
  },
  {
    name: 'a high watermark that is shown at the election',
    options: without({ highWatermarkAtElection: (_, epochStartOffset) => epochStartOffset }),
    faults: DEATHS,
    firstSeed: 5,
    says: /is committed, and 1 of \d disks have it|leads in epoch/,
  },
  {
    name: 'a cut that is not synced',
    options: { bend: withIdleCuts },
    faults: ['isolate', 'cut-pair', 'power-loss', 'kill', 'kill-all'],
    firstSeed: 15,
    says: /before a cut is synced/,
  },
  {
    name: 'a Redis that was rolled back and is believed',
    options: { hidesRollbacks: true },
    faults: ['redis-rolled-back', 'redis-emptied'],
    firstSeed: 28,
    says: /knows no|no leader|in sync|OUT_OF_RANGE|is not done/,
  },
]

async function firstFault({ options, faults, firstSeed }: Omit<Mutant, 'name' | 'says'>): Promise<string> {
  for (let seed = firstSeed; seed < firstSeed + SEEDS_MAX; seed++) {
    const result = await simulateCluster({ ...options, seed, onlyFaults: faults, faultsMax: 1 })
    if (result.kind !== 'kept') return result.faults.join('\n')
  }
  return `nothing in ${SEEDS_MAX} seeds`
}

describe('the simulation of a cluster notices', () => {
  it.each(MUTANTS)(
    '$name',
    async ({ says, ...mutant }) => {
      expect(await firstFault(mutant)).toMatch(says)
    },
    300_000,
  )
})
