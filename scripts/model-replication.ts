// Lives of a simulated cluster of replicas, seed after seed, until stopped or until so many have been looked at. Prints the
// command that shows a failure again, with everything that happened in it.
//
//   node dist/scripts/model-replication.js [--seed FIRST] [--seeds COUNT] [--without RULE] [--changes]
//     [--recoveries] [--compaction] [--trace]

import { parseArgs } from 'node:util'
import { MUTANTS } from '../test/replication/mutants.ts'
import { walk } from '../test/replication/random-walk.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: 'Infinity' },
    without: { type: 'string' },
    changes: { type: 'boolean', default: false },
    recoveries: { type: 'boolean', default: false },
    compaction: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
})

const mutant = MUTANTS.find(({ name }) => name === values.without)
if (values.without !== undefined && mutant === undefined) {
  process.stdout.write(`--without takes one of: ${MUTANTS.map(({ name }) => name).join(', ')}\n`)
  process.exit(2)
}
const trace = values.trace ? (line: string): void => void process.stdout.write(`${line}\n`) : undefined
const options = {
  ...mutant?.options,
  ...(values.changes ? { changes: true } : {}),
  ...(values.recoveries ? { recoveries: true } : {}),
  ...(values.compaction ? { compaction: true } : {}),
  ...(mutant === undefined ? {} : { rules: mutant.rules }),
  ...(trace === undefined ? {} : { trace }),
}
const without = mutant === undefined ? '' : ` --without ${mutant.name}`

const first = Number(values.seed)
const end = first + Number(values.seeds)
const startedMs = performance.now()
const totals = { failures: 0, steps: 0, epochs: 0, acknowledged: 0, changes: 0, lossy: 0, begunAnew: 0 }
for (let seed = first; seed < end; seed += 1) {
  const result = walk(seed, options)
  totals.steps += result.steps
  totals.epochs += result.epochs
  totals.acknowledged += result.acknowledged
  totals.changes += result.changes
  totals.begunAnew += result.begunAnew
  if (result.isLossAccepted) totals.lossy += 1
  if (result.failure !== undefined) {
    totals.failures += 1
    process.stdout.write(`seed ${seed}: ${result.failure}\n`)
    process.stdout.write(
      `again by: node dist/scripts/model-replication.js --seed ${seed} --seeds 1${without} --trace\n`,
    )
  }
  if ((seed - first + 1) % 10_000 === 0 || seed + 1 === end) report(seed - first + 1)
}
process.exitCode = totals.failures === 0 ? 0 : 1

function report(seeds: number): void {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  const { failures, steps, epochs, acknowledged, changes, lossy, begunAnew } = totals
  const found = `${seeds} seeds, ${failures} failures, ${steps} steps, ${epochs} leaders, ${acknowledged} records acknowledged`
  process.stdout.write(
    `${found}, ${changes} changes of voters, ${begunAnew} logs copied anew, ${lossy} lives with an accepted loss, ${seconds} s\n`,
  )
}
