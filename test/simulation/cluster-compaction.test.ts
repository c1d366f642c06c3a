// Histories of clusters whose topics are compacted, and whether they can be believed: what compaction must not do is noticed.
// The long run is scripts/simulate.ts --compaction.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { Leadership } from '../../broker/replication/leadership.ts'
import { REPLICA_RULES } from '../../broker/replication/replica-rules.ts'
import { LogCompaction } from '../../broker/storage/log-compaction.ts'
import type { ClusterFault } from './cluster-plan.ts'
import { type ClusterSimulationOptions, simulateCluster } from './cluster-simulation.ts'

const COMMAND = 'node dist/scripts/simulate.js --compaction --seeds 1 --trace'
/** In which replicas come back behind tombstones that are gone. */
const FAULTS: readonly ClusterFault[] = ['isolate', 'cut-pair', 'kill']
const HISTORIES: readonly { readonly seed: number; readonly onlyFaults?: readonly ClusterFault[] }[] = [
  { seed: 5 },
  { seed: 26, onlyFaults: FAULTS },
  { seed: 36, onlyFaults: FAULTS },
]
const SEEDS_MAX = 30

async function firstFault(options: ClusterSimulationOptions): Promise<string> {
  for (let seed = options.seed; seed < options.seed + SEEDS_MAX; seed++) {
    const result = await simulateCluster({ ...options, seed, compaction: true, faultsMax: 1 })
    if (result.kind !== 'kept') return result.faults.join('\n')
  }
  return `nothing in ${SEEDS_MAX} seeds`
}

describe('a cluster whose topics are compacted while everything goes wrong', () => {
  it('keeps of each key what it must, at every replica, and lets no deleted one come back', async () => {
    const totals = { acknowledged: 0, compactedBytes: 0, begunAnew: 0 }
    for (const history of HISTORIES) {
      const { kind, faults, ...result } = await simulateCluster({ ...history, compaction: true })
      const again = `again by: ${COMMAND} --from ${history.seed}`
      expect(kind === 'kept' ? kind : `${kind}: ${faults.join('\n')}\n${again}`).toBe('kept')
      totals.acknowledged += result.acknowledged
      totals.compactedBytes += result.compactedBytes
      totals.begunAnew += result.begunAnew
    }
    process.stdout.write(`${HISTORIES.length} histories of compacted clusters: ${JSON.stringify(totals)}\n`)
    expect(totals.acknowledged).toBeGreaterThan(HISTORIES.length * 50)
    expect(totals.compactedBytes).toBeGreaterThan(HISTORIES.length * 10_000)
    expect(totals.begunAnew).toBeGreaterThan(0)
  }, 300_000)
})

describe('the simulation of compacted topics notices', () => {
  afterEach(() => vi.restoreAllMocks())

  it('compaction of what is not committed', async () => {
    const { plan } = LogCompaction.prototype
    vi.spyOn(LogCompaction.prototype, 'plan').mockImplementation(function (this: LogCompaction, now) {
      return plan.call(this, now)
    })
    const fault = await firstFault({ seed: 1, onlyFaults: FAULTS })
    expect(fault).toMatch(/is compacted up to \d+, and nobody knows of more than \d+ committed/)
  }, 300_000)

  it('tombstones that go before everybody has seen them', async () => {
    vi.spyOn(Leadership.prototype, 'readAlongEnd').mockReturnValue(undefined)
    const rules = { ...REPLICA_RULES, mustBeginAnew: () => false }
    const fault = await firstFault({ seed: 8, rules, onlyFaults: ['isolate', 'kill', 'pause'] })
    expect(fault).toMatch(/a tombstone of k\d+ was committed at \d+, and the one at \d+ is the last/)
  }, 300_000)
})
