// Ends a broker's life before every operation of its simulated disk, seed after seed, until stopped or until so many states
// have been looked at. Prints the command that shows a failure again.
//
//   node dist/scripts/crash-states.js [--seed FIRST] [--states COUNT] [--steps COUNT] [--choices COUNT] [--share FRACTION] [--assigns] [--compacts]

import { parseArgs } from 'node:util'
import { enumerateCrashes } from '../test/simulation/crash-enumeration.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    states: { type: 'string', default: 'Infinity' },
    steps: { type: 'string', default: '60' },
    choices: { type: 'string', default: '4' },
    share: { type: 'string', default: '1' },
    assigns: { type: 'boolean', default: false },
    compacts: { type: 'boolean', default: false },
  },
})

const statesMax = Number(values.states)
const steps = Number(values.steps)
const randomChoices = Number(values.choices)
const share = Number(values.share)
const { assigns, compacts } = values
let states = 0
let failures = 0
const startedMs = performance.now()

for (let seed = Number(values.seed); states < statesMax; seed++) {
  const options = { seed, steps, randomChoices, share, assigns, compacts }
  const result = await enumerateCrashes({ ...options, statesMax: statesMax - states })
  states += result.states
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  if (result.failure === undefined) {
    process.stdout.write(`seed ${seed}: ${result.states} states, ${states} in all, ${seconds} s\n`)
    continue
  }
  failures++
  process.stdout.write(`${result.failure}\n`)
  const again = `--seed ${seed} --states ${result.states} --steps ${steps} --choices ${randomChoices} --share ${share}${assigns ? ' --assigns' : ''}${compacts ? ' --compacts' : ''}`
  process.stdout.write(`again by: node dist/scripts/crash-states.js ${again}\n`)
}
process.stdout.write(`${states} states, ${failures} failures\n`)
process.exitCode = failures === 0 ? 0 : 1
