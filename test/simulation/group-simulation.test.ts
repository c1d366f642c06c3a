// A fixed set of histories of consumer groups in a cluster, and those that have shown a bug before. The long run is
// scripts/simulate.ts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type ClusterSimulationResult, simulateCluster } from './cluster-simulation.ts'
import { GROUP_FAULTS } from './group-plan.ts'

const SEEDS = 5
/** So many more may be played until every fault has been seen. */
const MORE_SEEDS = 12
const COMMAND = 'node dist/scripts/simulate.js --groups --seeds 1 --trace'

function verdictOf({ seed, kind, faults }: ClusterSimulationResult): string {
  return kind === 'kept' ? 'kept' : `${kind}: ${faults.join('\n')}\nagain by: ${COMMAND} --from ${seed}`
}

function regressions(): { readonly seed: number; readonly story: string }[] {
  const text = readFileSync(join(import.meta.dirname, 'group-regressions.txt'), 'utf8')
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => ({ seed: Number.parseInt(line, 10), story: line.replace(/^\d+\s+/, '') }))
}

describe('consumer groups in a cluster in which everything may go wrong', () => {
  it('skip no record, share none at once, and never go back, in all histories', async () => {
    const begun = new Set<string>()
    const totals = { handled: 0, committed: 0, refusedCommits: 0, generations: 0, members: 0 }
    const isEnough = (seed: number): boolean =>
      seed > SEEDS && (begun.size === GROUP_FAULTS.length || seed > SEEDS + MORE_SEEDS)
    for (let seed = 1; !isEnough(seed); seed++) {
      const result = await simulateCluster({ seed, groups: true })
      expect(verdictOf(result)).toBe('kept')
      const { groups } = result
      if (groups === undefined) throw new Error('groups are played')
      for (const fault of groups.begun.keys()) begun.add(fault)
      for (const key of ['handled', 'committed', 'refusedCommits', 'generations', 'members'] as const) {
        totals[key] += groups[key]
      }
    }
    process.stdout.write(`seeds of groups: ${JSON.stringify(totals)}\n`)
    // Histories in which nothing happens would prove nothing.
    expect([...begun].toSorted()).toEqual([...GROUP_FAULTS].toSorted())
    expect(totals.handled).toBeGreaterThan(SEEDS * 100)
    expect(totals.committed).toBeGreaterThan(SEEDS * 50)
    expect(totals.refusedCommits).toBeGreaterThan(0)
    expect(totals.generations).toBeGreaterThan(SEEDS * 3)
    expect(totals.members).toBeGreaterThan(SEEDS * 5)
  }, 300_000)

  it.each(regressions())(
    'seed $seed: $story',
    async ({ seed }) => {
      expect(verdictOf(await simulateCluster({ seed, groups: true }))).toBe('kept')
    },
    60_000,
  )

  it('are one history to a seed: played twice, it leaves the same trace', async () => {
    const first = await simulateCluster({ seed: 9, groups: true })
    const second = await simulateCluster({ seed: 9, groups: true })
    expect(first.groups?.handled).toBeGreaterThan(50)
    expect(second).toEqual(first)
  }, 60_000)
})
