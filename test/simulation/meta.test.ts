// Whether the simulation can be believed: a seed is one history, what no seed decides is noticed, and a machine that does
// not do what it says is found out.

import { describe, expect, it } from 'vitest'
import type { Environment } from '../../broker/environment.ts'
import type { Disk, File } from '../../broker/storage/disk.ts'
import { simulate } from './simulation.ts'

/** A disk whose every sync of a file succeeds at once and does nothing. */
function withIdleSyncs(environment: Environment): Environment {
  const { disk } = environment
  const open = (...args: Parameters<Disk['open']>): File => {
    const file = disk.open(...args)
    return new Proxy(file, {
      get(target, name) {
        if (name === 'sync') return () => Promise.resolve()
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

describe('a seed', () => {
  it.each([3, 14, 15, 92])('is one history: seed %i, played twice, leaves the same trace', async (seed) => {
    const first = await simulate({ seed })
    const second = await simulate({ seed })
    expect(first.events).toBeGreaterThan(1_000)
    expect(second).toEqual(first)
  })

  it('is a history of its own: two seeds leave different traces', async () => {
    expect((await simulate({ seed: 3 })).digest).not.toBe((await simulate({ seed: 4 })).digest)
  })

  it('does not hide what comes from elsewhere: one call of real chance in the broker changes the trace', async () => {
    const bend = (environment: Environment): Environment => {
      const { random } = environment
      return { ...environment, random: { ...random, integer: (end) => Math.floor(Math.random() * end) } }
    }
    const digests = new Set<string>()
    for (let run = 0; run < 3; run++) digests.add((await simulate({ seed: 3, bend })).digest)
    expect(digests.size).toBeGreaterThan(1)
  })
})

describe('the simulation', () => {
  it('finds a disk out whose syncs do nothing', async () => {
    const faults: string[] = []
    for (let seed = 1; seed <= 20 && faults.length === 0; seed++) {
      const result = await simulate({ seed, bend: withIdleSyncs, onlyFaults: ['power-loss'] })
      faults.push(...result.faults)
    }
    expect(faults.join('\n')).toMatch(/was acknowledged|was known|quarantined|begins at|is out of range/)
  })

  it('finds a broker out whose turns never end', async () => {
    const bend = (environment: Environment): Environment => {
      const { timers } = environment
      const after: typeof timers.after = (...args) => timers.after(...args)
      return { ...environment, timers: { after, atEndOfTurn: () => undefined } }
    }
    expect((await simulate({ seed: 3, bend })).kind).toBe('liveness')
  })
})
