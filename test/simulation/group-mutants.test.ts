// Whether the simulation of groups can be believed: each rule of coordinators and of consumers, taken away, is noticed within
// a few seeds.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { CoordinatedPartition } from '../../broker/groups/coordinated-partition.ts'
import { Group } from '../../broker/groups/group.ts'
import { ConsumerPartition } from '../../client/consumer-partition.ts'
import { OffsetTracker } from '../../client/offset-tracker.ts'
import type { ClusterFault } from './cluster-plan.ts'
import { simulateCluster } from './cluster-simulation.ts'
import type { GroupFault } from './group-plan.ts'

const SEEDS_MAX = 30

interface Mutant {
  readonly name: string
  /** Takes the rule away. */
  readonly bend: () => void
  /** Where it can do harm. */
  readonly faults: readonly ClusterFault[]
  readonly groupFaults: readonly GroupFault[]
  /** One that is known to show it; others are tried behind it. */
  readonly firstSeed: number
  readonly says: RegExp
}

/** The getter as it is. */
function getterOf(of: object, name: string): (this: unknown) => unknown {
  const getter = Object.getOwnPropertyDescriptor(of, name)?.get
  if (getter === undefined) throw new Error(`there is no ${name}`)
  return getter
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'commits that are taken from whoever asks, in whatever generation',
    bend: () => {
      const ask = Group.prototype.ask
      vi.spyOn(Group.prototype, 'ask').mockImplementation(function (this: Group, question, kind, onAnswer) {
        if (question.kind !== 'commit') return ask.call(this, question, kind, onAnswer as never)
        ask.call(this, question, 'answer-commit', () => onAnswer({ kind, request: 0, refusal: undefined } as never))
      })
    },
    faults: [],
    groupFaults: ['member-paused', 'member-cut'],
    firstSeed: 7,
    says: /had begun|is acknowledged when|is told that|goes back from/,
  },
  {
    name: 'a record that counts as done when it is handed out',
    bend: () => {
      const end = getterOf(OffsetTracker.prototype, 'end')
      vi.spyOn(OffsetTracker.prototype, 'position', 'get').mockImplementation(function (this: OffsetTracker) {
        return Number(end.call(this))
      })
    },
    faults: [],
    groupFaults: ['member-killed', 'dies-handling'],
    firstSeed: 5,
    says: /was handled by nobody|was handled after|again: \d+ was committed/,
  },
  {
    name: 'a coordinator that answers before it has read what there is',
    bend: () => {
      vi.spyOn(CoordinatedPartition.prototype, 'isServing', 'get').mockReturnValue(true)
      vi.spyOn(CoordinatedPartition.prototype, 'load').mockReturnValue(Promise.resolve())
    },
    faults: [],
    groupFaults: ['coordinator-killed', 'coordinator-restarted'],
    firstSeed: 2,
    says: /is told that|is acknowledged when|is assigned from|joins generation/,
  },
  {
    name: 'partitions that are given up without waiting for their handlers',
    bend: () => {
      vi.spyOn(ConsumerPartition.prototype, 'settled').mockImplementation(() => Promise.resolve())
    },
    faults: [],
    groupFaults: ['storm'],
    firstSeed: 3,
    says: /is revoked while its handler|while .* handles/,
  },
  {
    name: 'commits that are acknowledged before they are safe',
    bend: () => {
      const commit = Group.prototype.commit
      vi.spyOn(Group.prototype, 'commit').mockImplementation(function (this: Group, commits, onSettled) {
        commit.call(this, commits, () => undefined)
        for (const key of commits) this.offsets.put(key, key.committed)
        onSettled(undefined)
      })
    },
    faults: [],
    groupFaults: ['coordinator-isolated', 'storm'],
    firstSeed: 19,
    says: /is told that|is acknowledged when|is assigned from|is committed up to/,
  },
]

async function firstFault({ faults, groupFaults, firstSeed }: Mutant): Promise<string> {
  for (let seed = firstSeed; seed < firstSeed + SEEDS_MAX; seed++) {
    const options = { seed, groups: true, onlyFaults: faults, onlyGroupFaults: groupFaults, faultsMax: 1 }
    const result = await simulateCluster(options)
    if (result.kind !== 'kept') return `${result.faults.join('\n')} (seed ${seed})`
  }
  return `nothing in ${SEEDS_MAX} seeds`
}

describe('the simulation of groups notices', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it.each(MUTANTS)(
    '$name',
    async (mutant) => {
      mutant.bend()
      expect(await firstFault(mutant)).toMatch(mutant.says)
    },
    300_000,
  )
})
