// Plays the deterministic simulation, seed after seed, until stopped or until so many have been played. A failure prints
// the seed, the commit and the one command that shows it again with its trace.
//
//   node dist/scripts/simulate.js [--cluster | --groups | --compaction] [--from FIRST] [--seeds COUNT] [--trace] [--stop-at-failure]
//
// One broker; a cluster of several with --cluster; one with consumer groups in it with --groups, and
// one of compacted topics with --compaction.
//
// Exit codes: 1 an error that nobody handled, 2 something did not come to an end, 3 a promise was broken.

import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { type ClusterSimulationResult, simulateCluster } from '../test/simulation/cluster-simulation.ts'
import { simulate, type SimulationResult } from '../test/simulation/simulation.ts'

const { values } = parseArgs({
  options: {
    cluster: { type: 'boolean', default: false },
    groups: { type: 'boolean', default: false },
    compaction: { type: 'boolean', default: false },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: 'Infinity' },
    trace: { type: 'boolean', default: false },
    'stop-at-failure': { type: 'boolean', default: false },
  },
})

const EXIT_CODE = { kept: 0, crash: 1, liveness: 2, correctness: 3 } as const
const KIND = values.groups ? '--groups ' : values.compaction ? '--compaction ' : values.cluster ? '--cluster ' : ''
const REPORT_EVERY_MS = 5_000
const first = Number(values.from)
const last = first + Number(values.seeds)
const totals = { seeds: 0, failures: 0, virtualMs: 0, events: 0, acknowledged: 0 }
const startedMs = performance.now()
let reportedMs = startedMs

for (let seed = first; seed < last; seed++) {
  const options = { seed, isTraced: values.trace }
  const { groups, compaction } = values
  const isCluster = values.cluster || groups || compaction
  const result = isCluster ? await simulateCluster({ ...options, groups, compaction }) : await simulate(options)
  totals.seeds += 1
  totals.virtualMs += result.virtualMs
  totals.events += result.events
  totals.acknowledged += result.acknowledged
  if (values.trace) process.stdout.write(`${result.trace.join('\n')}\n`)
  if (result.kind !== 'kept') {
    totals.failures += 1
    process.exitCode = EXIT_CODE[result.kind]
    reportFailure(result)
    if (values['stop-at-failure']) break
  }
  if (performance.now() - reportedMs >= REPORT_EVERY_MS || values.trace) reportTotals(seed)
}
reportTotals(last - 1)

function reportFailure(result: SimulationResult | ClusterSimulationResult): void {
  const commit = commitOf()
  process.stdout.write(`seed ${result.seed} at commit ${commit}: ${result.kind}\n`)
  for (const fault of result.faults) process.stdout.write(`  ${fault}\n`)
  const ofGroups = 'groups' in result ? (result.groups?.begun ?? []) : []
  const begun = [...result.begun, ...ofGroups].map(([fault, times]) => `${fault} ${times}`).join(', ')
  process.stdout.write(`  what went wrong: ${begun}\n`)
  process.stdout.write(`again by: node dist/scripts/simulate.js ${KIND}--from ${result.seed} --seeds 1 --trace\n`)
}

function commitOf(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}

function reportTotals(seed: number): void {
  reportedMs = performance.now()
  const seconds = (reportedMs - startedMs) / 1000
  const speed = (totals.virtualMs / 1000 / seconds).toFixed(0)
  const rate = (totals.events / seconds).toFixed(0)
  process.stdout.write(
    `seed ${seed}: ${totals.seeds} seeds, ${totals.failures} failures, ${seconds.toFixed(1)} s, ` +
      `${speed} virtual s per s, ${rate} events per s, ${totals.acknowledged} records acknowledged\n`,
  )
}
