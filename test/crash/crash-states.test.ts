// Crash consistency: a broker's life is ended before every operation of its disk, in many ways, and started again.
// The long run is scripts/crash-states.ts.

import { describe, expect, it } from 'vitest'
import { enumerateCrashes } from '../simulation/crash-enumeration.ts'
import { REPLICA_STEPS, STEPS } from '../simulation/crash-workload.ts'

const STATES_MIN = 10_500
const OPTIONS = { steps: 40, randomChoices: 2, share: 0.2 }
const COMMAND = 'node dist/scripts/crash-states.js'

describe('a data directory after a crash', () => {
  it('keeps every promise, whatever was lost, and is the same at the second start', async () => {
    let states = 0
    const byStep = new Map<string, number>()
    for (let seed = 1; states < STATES_MIN; seed++) {
      const result = await enumerateCrashes({ ...OPTIONS, seed })
      const again = `${COMMAND} --seed ${seed} --states ${result.states} --steps 40 --choices 2 --share 0.2`
      expect(result.failure === undefined ? 'kept' : `${result.failure}\nagain by: ${again}`).toBe('kept')
      states += result.states
      for (const [step, count] of result.statesByStep) byStep.set(step, (byStep.get(step) ?? 0) + count)
    }
    const counts = [...byStep].map(([step, count]) => `${step} ${count}`).join(', ')
    process.stdout.write(`${states} crash states: ${counts}\n`)
    expect(states).toBeGreaterThanOrEqual(10_000)
    for (const step of STEPS) expect(byStep.get(step) ?? 0).toBeGreaterThan(10)
  }, 240_000)

  it('has of every key the last record, wherever a compaction is broken off', async () => {
    let inCompaction = 0
    for (const seed of [2, 3, 5, 8, 13]) {
      const options = { steps: 60, randomChoices: 2, share: 0.01, compacts: true, statesMax: 450 }
      const result = await enumerateCrashes({ ...options, seed })
      const again = `${COMMAND} --compacts --seed ${seed} --states 450 --steps 60 --choices 2 --share 0.01`
      expect(result.failure === undefined ? 'kept' : `${result.failure}\nagain by: ${again}`).toBe('kept')
      inCompaction += result.statesByStep.get('compact') ?? 0
    }
    expect(inCompaction).toBeGreaterThan(1_000)
  }, 120_000)

  it('has logs of its own partitions alone, also when replicas come and go, and knows the newcomers', async () => {
    const byStep = new Map<string, number>()
    for (let seed = 1; seed <= 7; seed++) {
      const result = await enumerateCrashes({ ...OPTIONS, steps: 50, seed, share: 0.1, assigns: true })
      const again = `${COMMAND} --assigns --seed ${seed} --states ${result.states} --steps 50 --choices 2 --share 0.1`
      expect(result.failure === undefined ? 'kept' : `${result.failure}\nagain by: ${again}`).toBe('kept')
      for (const [step, count] of result.statesByStep) byStep.set(step, (byStep.get(step) ?? 0) + count)
    }
    const rare = ['create', 'grow', 'delete', 'restart', ...REPLICA_STEPS].filter(
      (step) => !((byStep.get(step) ?? 0) > 5),
    )
    expect(rare, JSON.stringify([...byStep])).toEqual([])
  }, 120_000)
})
