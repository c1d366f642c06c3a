// A fixed set of histories, and those that have shown a bug before. The long run is scripts/simulate.ts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FAULTS } from './plan.ts'
import { simulate, type SimulationResult } from './simulation.ts'

const SEEDS = 36
const COMMAND = 'node dist/scripts/simulate.js --seeds 1 --trace'

/** What there is to say of a failure: the faults, and the command that shows them again. */
function verdictOf({ seed, kind, faults }: SimulationResult): string {
  return kind === 'kept' ? 'kept' : `${kind}: ${faults.join('\n')}\nagain by: ${COMMAND} --from ${seed}`
}

function regressions(): { readonly seed: number; readonly story: string }[] {
  const text = readFileSync(join(import.meta.dirname, 'regressions.txt'), 'utf8')
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => ({ seed: Number.parseInt(line, 10), story: line.replace(/^\d+\s+/, '') }))
}

describe('a broker, its clients and everything that may go wrong between them', () => {
  it('keep every promise and come to an end, in all histories', async () => {
    const begun = new Set<string>()
    const totals = { virtualMs: 0, acknowledged: 0, read: 0, lives: 0 }
    for (let seed = 1; seed <= SEEDS; seed++) {
      const result = await simulate({ seed })
      expect(verdictOf(result)).toBe('kept')
      for (const fault of result.begun.keys()) begun.add(fault)
      totals.virtualMs += result.virtualMs
      totals.acknowledged += result.acknowledged
      totals.read += result.read
      totals.lives += result.lives
    }
    process.stdout.write(`${SEEDS} seeds: ${JSON.stringify(totals)}\n`)
    // Histories in which nothing happens would prove nothing.
    expect([...begun].toSorted()).toEqual([...FAULTS].toSorted())
    expect(totals.acknowledged).toBeGreaterThan(SEEDS * 200)
    expect(totals.read).toBeGreaterThan(totals.acknowledged)
    expect(totals.lives).toBeGreaterThan(SEEDS * 2)
  }, 120_000)

  it.each(regressions())('seed $seed: $story', async ({ seed }) => {
    expect(verdictOf(await simulate({ seed }))).toBe('kept')
  })
})
