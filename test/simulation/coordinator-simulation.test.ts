// Histories of three coordinators and a Redis that loses, forgets and hesitates.

import { describe, expect, it } from 'vitest'
import { simulateCoordinators } from './coordinator-simulation.ts'

const SEEDS = 25

describe('coordinators and everything that may happen to their Redis', () => {
  it('agree in the end on all that was acknowledged, in all histories', async () => {
    let done = 0
    for (let seed = 1; seed <= SEEDS; seed++) {
      const history = await simulateCoordinators({ seed })
      expect({ seed, faults: history.faults }).toEqual({ seed, faults: [] })
      done += history.done
    }
    expect(done).toBeGreaterThan(SEEDS * 100)
  })

  it('have one history a seed', async () => {
    const [first, second] = [await simulateCoordinators({ seed: 7 }), await simulateCoordinators({ seed: 7 })]
    expect(second).toEqual(first)
  })
})
