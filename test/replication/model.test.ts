// The rules of replication under everything that can happen, from seeds. `node dist/scripts/model-replication.js` runs more
// of them, and prints the life of one.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { MUTANTS } from './mutants.ts'
import { play } from './play.ts'
import { walk, type WalkOptions } from './random-walk.ts'

const SEEDS = 8_000
const COMMAND = 'node dist/scripts/model-replication.js'

/** The first seed whose life breaks a rule; undefined when all of them keep all. */
function firstFailure(seeds: number, options: WalkOptions): number | undefined {
  for (let seed = 1; seed <= seeds; seed += 1) if (walk(seed, options).failure !== undefined) return seed
  return undefined
}

describe('a cluster of replicas', () => {
  it('keeps its promises through everything that can happen to it', () => {
    const totals = { epochs: 0, acknowledged: 0, lossAccepted: 0 }
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { failure, epochs, acknowledged, isLossAccepted } = walk(seed)
      const again = `${COMMAND} --seed ${seed} --seeds 1 --trace`
      expect(failure === undefined ? 'kept' : `${failure}\nagain by: ${again}`).toBe('kept')
      totals.epochs += epochs
      totals.acknowledged += acknowledged
      if (isLossAccepted) totals.lossAccepted += 1
    }
    process.stdout.write(`${SEEDS} lives of a cluster: ${JSON.stringify(totals)}\n`)
    // Lives in which nothing is ever led or acknowledged would prove nothing.
    expect(totals.epochs).toBeGreaterThan(2 * SEEDS)
    expect(totals.acknowledged).toBeGreaterThan(2 * SEEDS)
    expect(totals.lossAccepted).toBeGreaterThan(0)
    expect(totals.lossAccepted).toBeLessThan(SEEDS / 10)
  }, 120_000)

  it('goes on after an operator has accepted a loss, in epochs that nobody else comes to', () => {
    let lossAccepted = 0
    for (let seed = 1; seed <= 1_000; seed += 1) {
      const { failure, isLossAccepted } = walk(seed, { recoveries: true })
      const again = `${COMMAND} --seed ${seed} --seeds 1 --recoveries --trace`
      expect(failure === undefined ? 'kept' : `${failure}\nagain by: ${again}`).toBe('kept')
      if (isLossAccepted) lossAccepted += 1
    }
    expect(lossAccepted).toBeGreaterThan(300)
  }, 60_000)

  it('keeps them with compacted logs, and lets no deleted key come back', () => {
    let begunAnew = 0
    for (let seed = 1; seed <= 1_500; seed += 1) {
      const life = walk(seed, { compaction: true })
      const again = `${COMMAND} --seed ${seed} --seeds 1 --compaction --trace`
      expect(life.failure === undefined ? 'kept' : `${life.failure}\nagain by: ${again}`).toBe('kept')
      begunAnew += life.begunAnew
    }
    expect(begunAnew).toBeGreaterThan(50)
  }, 60_000)

  it('lives the same life twice from one seed', () => {
    const lives = [0, 1].map(() => {
      const lines: string[] = []
      for (let seed = 1; seed <= 20; seed += 1) walk(seed, { trace: (line) => lines.push(line) })
      return lines
    })
    expect(lives[0]?.length).toBeGreaterThan(1_000)
    expect(lives[1]).toEqual(lives[0])
  })
})

describe('a cluster without one of its rules is noticed', () => {
  it.each(MUTANTS.filter(({ seedsMax }) => seedsMax > 0))(
    '$name: by one of $seedsMax lives',
    ({ rules, options, seedsMax }) => {
      const seed = firstFailure(seedsMax, { ...options, rules })
      expect(seed).toBeDefined()
    },
    60_000,
  )

  it.each(MUTANTS.flatMap(({ name, rules, scene }) => (scene === undefined ? [] : [{ name, rules, scene }])))(
    '$name: by $scene.script',
    ({ rules, scene }) => {
      const text = readFileSync(join(import.meta.dirname, '../scripts', scene.script), 'utf8')
      expect(play(text)).not.toContain('\n! ')
      expect(play(text, rules)).toContain(`\n! ${scene.says}`)
    },
  )
})
