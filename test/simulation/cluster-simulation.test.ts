// A fixed set of histories of a cluster, and those that have shown a bug before. The long run is scripts/simulate.ts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CLUSTER_FAULTS } from './cluster-plan.ts'
import { type ClusterSimulationResult, simulateCluster } from './cluster-simulation.ts'

const SEEDS = 24
/** So many more may be played until every fault has been seen. */
const MORE_SEEDS = 30
const COMMAND = 'node dist/scripts/simulate.js --cluster --seeds 1 --trace'

/** What there is to say of a failure: the faults, and the command that shows them again. */
function verdictOf({ seed, kind, faults }: ClusterSimulationResult): string {
  return kind === 'kept' ? 'kept' : `${kind}: ${faults.join('\n')}\nagain by: ${COMMAND} --from ${seed}`
}

function regressions(): { readonly seed: number; readonly story: string }[] {
  const text = readFileSync(join(import.meta.dirname, 'cluster-regressions.txt'), 'utf8')
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => ({ seed: Number.parseInt(line, 10), story: line.replace(/^\d+\s+/, '') }))
}

describe('several brokers, their Redis, their clients and everything that may go wrong between them', () => {
  it('keep every promise and come to an end, in all histories', async () => {
    const begun = new Set<string>()
    const changes = new Set<string>()
    const totals = { virtualMs: 0, acknowledged: 0, read: 0, lives: 0, leaderEpochs: 0, looks: 0 }
    const isEnough = (seed: number): boolean =>
      seed > SEEDS && (begun.size === CLUSTER_FAULTS.length || seed > SEEDS + MORE_SEEDS)
    for (let seed = 1; !isEnough(seed); seed++) {
      const result = await simulateCluster({ seed })
      expect(verdictOf(result)).toBe('kept')
      for (const fault of result.begun.keys()) begun.add(fault)
      for (const change of result.changes.keys()) changes.add(change)
      for (const key of ['virtualMs', 'acknowledged', 'read', 'lives', 'leaderEpochs', 'looks'] as const) {
        totals[key] += result[key]
      }
    }
    process.stdout.write(`${SEEDS} seeds of clusters: ${JSON.stringify(totals)}\n`)
    // Histories in which nothing happens would prove nothing.
    expect([...begun].toSorted()).toEqual([...CLUSTER_FAULTS].toSorted())
    expect([...changes].toSorted()).toEqual(['call-off', 'decommission', 'drain', 'move', 'replace', 'undrain'])
    expect(totals.acknowledged).toBeGreaterThan(SEEDS * 100)
    expect(totals.read).toBeGreaterThan(totals.acknowledged)
    expect(totals.lives).toBeGreaterThan(SEEDS * 5)
    expect(totals.leaderEpochs).toBeGreaterThan(SEEDS * 2)
    expect(totals.looks).toBeGreaterThan(SEEDS * 10_000)
  }, 300_000)

  it.each(regressions())(
    'seed $seed: $story',
    async ({ seed }) => {
      expect(verdictOf(await simulateCluster({ seed }))).toBe('kept')
    },
    60_000,
  )
})

describe('a seed of a cluster', () => {
  it.each([3, 11])(
    'is one history: seed %i, played twice, leaves the same trace',
    async (seed) => {
      const first = await simulateCluster({ seed })
      const second = await simulateCluster({ seed })
      expect(first.events).toBeGreaterThan(1_000)
      expect(second).toEqual(first)
    },
    60_000,
  )
})
