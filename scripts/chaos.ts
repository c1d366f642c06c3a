// Three brokers and a Redis, real processes, under one kind of fault after the other, while clients write and read; what they
// saw is kept as lines of JSON and judged. Every scenario goes on until enough records are acknowledged and enough leaders
// have changed, and fails on any anomaly, or if too little has happened to say anything. Run from the checkout after a build:
//
//   node dist/scripts/chaos.js [--only NAME,...] [--seconds N] [--records N] [--seed N] [--out DIR] [--list]
//   node dist/scripts/chaos.js --check HISTORY
//
// Scenarios that cut the network need network namespaces (on Linux, as root); without them they are left out, and that is
// said. The machine's own network is not touched: the whole run then lives in a namespace of its own.

import { spawn } from 'node:child_process'
import { cp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import yargs from 'yargs'
import { seededRandom } from '../shared/random.ts'
import { ChaosStage } from '../test/chaos/chaos-stage.ts'
import { check, type Verdict } from '../test/chaos/checker.ts'
import { coordinatorChanges, type GroupVerdict } from '../test/chaos/group-checker.ts'
import { History, readHistory } from '../test/chaos/history.ts'
import { canMakeNetworks, insideOwnNetwork } from '../test/chaos/network.ts'
import { type Scenario, SCENARIOS } from '../test/chaos/scenarios.ts'
import { findRedis, type RedisServer } from './ensure-redis.ts'

const LEADER_CHANGES_MIN = 5
const REBALANCES_MIN = 5
/** A scenario that has not had its records and leaders by then ends without a verdict. */
const SECONDS_MAX_TIMES = 8
const ANOMALIES_SHOWN_MAX = 10
const INSIDE = 'TIDEMARK_CHAOS_INSIDE'

interface Asked {
  readonly seconds: number
  readonly records: number
  readonly leaderChanges: number
  readonly rebalances: number
  readonly seed: number
  readonly out: string
  readonly keep: boolean
}

async function play(name: string, scenario: Scenario, server: RedisServer, asked: Asked): Promise<Verdict> {
  const root = join(asked.out, name)
  await rm(root, { recursive: true, force: true })
  await mkdir(root, { recursive: true })
  const history = new History(join(root, 'history.jsonl'))
  const random = seededRandom(asked.seed)
  const { hasNetwork = false, brokers = 3, groups = [] } = scenario
  let isSound = false
  {
    await using stage = await ChaosStage.open({ server, history, random, root, hasNetwork, brokers, groups })
    const note = (error: unknown): void => {
      history.add({ op: 'trouble', kind: 'not-recovered', what: String(error) })
    }
    await playRounds(stage, scenario, asked).catch(note)
    // What is still there tells what is wrong, too.
    await stage.finish().catch(note)
    stage.gatherLeaders()
    isSound = check(history.events).anomalies.length === 0
    if (!isSound || asked.keep) await cp(stage.cluster.root, join(root, 'brokers'), { recursive: true })
  }
  await history.close()
  if (isSound && !asked.keep) await rm(join(root, 'redis'), { recursive: true, force: true })
  return check(history.events)
}

async function playRounds(stage: ChaosStage, scenario: Scenario, asked: Asked): Promise<void> {
  const { history, workload } = stage
  const from = history.now()
  await scenario.prepare?.(stage)
  const changesMin = scenario.leaderChangesMin ?? asked.leaderChanges
  for (;;) {
    await scenario.round(stage)
    await stage.whole()
    workload.shake()
    const seconds = (history.now() - from) / 1_000
    const isEnough = workload.acknowledged >= asked.records && stage.gatherLeaders() >= changesMin
    const haveGroups = stage.groups.every(({ rebalances, plan }) => {
      return hasDone({ rebalances, coordinatorChanges: coordinatorChanges(history.events, plan.name) }, scenario, asked)
    })
    if (seconds >= asked.seconds && isEnough && haveGroups) return
    if (seconds >= asked.seconds * SECONDS_MAX_TIMES) return
  }
}

/** Whether a group has shared out anew, and has been coordinated by others, often enough. */
function hasDone(
  { rebalances, coordinatorChanges: changes }: Pick<GroupVerdict, 'rebalances' | 'coordinatorChanges'>,
  { coordinatorChangesMin = 0 }: Scenario,
  asked: Asked,
): boolean {
  return rebalances >= asked.rebalances && changes >= Math.min(coordinatorChangesMin, asked.leaderChanges)
}

/** One line; and whether it is a good one. */
function report(name: string, scenario: Scenario, verdict: Verdict, asked: Asked): { line: string; isGood: boolean } {
  const changesMin = scenario.leaderChangesMin ?? asked.leaderChanges
  const { anomalies, acknowledged, failed, unknown, polled, leaderChanges, longestGapMs, relaxed } = verdict
  const groups = Object.entries(verdict.groups)
  const haveGroups = groups.every(([, group]) => hasDone(group, scenario, asked))
  const isValid = acknowledged >= asked.records && leaderChanges >= changesMin && haveGroups
  const names = new Map<string, number>()
  for (const anomaly of anomalies) names.set(anomaly.name, (names.get(anomaly.name) ?? 0) + 1)
  const found = [...names].map(([anomaly, count]) => `${count} ${anomaly}`).join(', ')
  const parts = [
    `${acknowledged} acknowledged, ${failed} failed, ${unknown} unknown, ${polled} read`,
    `${leaderChanges} leader changes`,
    `longest gap ${Math.round(longestGapMs)} ms`,
    ...groups.map(([group, { handled, again, rebalances, coordinatorChanges: changes, zombiesRefused }]) => {
      const zombies = zombiesRefused === 0 ? '' : `, ${zombiesRefused} commits of zombies refused`
      const moves = changes === 0 ? '' : `, ${changes} other coordinators`
      return `group ${group}: ${handled} handled, ${again} of them again, ${rebalances} rebalances${moves}${zombies}`
    }),
    `acks 0 and 1: ${relaxed.lost} of ${relaxed.acknowledged} lost, ${relaxed.repeated} repeated`,
    anomalies.length === 0 ? 'no anomaly' : `ANOMALIES: ${found}`,
    ...(isValid ? [] : ['TOO LITTLE HAPPENED']),
  ]
  return { line: `${name}: ${parts.join('; ')}`, isGood: isValid && anomalies.length === 0 }
}

function show(verdict: Verdict): void {
  for (const { name, what } of verdict.anomalies.slice(0, ANOMALIES_SHOWN_MAX)) console.error(`  ${name}: ${what}`)
  const more = verdict.anomalies.length - ANOMALIES_SHOWN_MAX
  if (more > 0) console.error(`  and ${more} more`)
}

const flags = await yargs(process.argv.slice(2))
  .option('only', { type: 'string', describe: 'Some of the scenarios, by name, with commas between them' })
  .option('seconds', { type: 'number', default: 40, describe: 'How long a scenario goes on, at least' })
  .option('records', { type: 'number', default: 50_000, describe: 'Acknowledged records of a scenario, at least' })
  .option('leader-changes', { type: 'number', default: LEADER_CHANGES_MIN, describe: 'Of a scenario, at least' })
  .option('rebalances', { type: 'number', default: REBALANCES_MIN, describe: 'Of each group, at least' })
  .option('seed', { type: 'number', default: 1, describe: 'Of the choices; what they meet is up to the machine' })
  .option('out', { type: 'string', default: join(tmpdir(), 'tidemark-chaos'), describe: 'Where histories are kept' })
  .option('keep', { type: 'boolean', default: false, describe: 'Keep the data of brokers where all was well, too' })
  .option('check', { type: 'string', describe: 'Judge a history that was kept, and do nothing else' })
  .option('list', { type: 'boolean', default: false, describe: 'Name the scenarios, and do nothing else' })
  .strict()
  .parseAsync()

if (flags.list) {
  for (const [name, { about }] of Object.entries(SCENARIOS)) console.log(`${name.padEnd(20)} ${about}`)
} else if (flags.check !== undefined) {
  const verdict = check(await readHistory(flags.check))
  console.log(JSON.stringify({ ...verdict, anomalies: verdict.anomalies.length }))
  show(verdict)
  if (verdict.anomalies.length > 0) process.exitCode = 1
} else if (process.env[INSIDE] === undefined && canMakeNetworks()) {
  process.exitCode = await runInside()
} else {
  await main()
}

/** The same, with a network of its own. */
function runInside(): Promise<number> {
  const [program = '', ...words] = insideOwnNetwork([process.execPath, ...process.argv.slice(1)])
  const child = spawn(program, words, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  return new Promise((done, fail) => {
    child.once('exit', (code) => done(code ?? 1))
    child.once('error', fail)
  })
}

async function main(): Promise<void> {
  const server = await findRedis()
  if (server === undefined) throw new Error('there is no redis-server; node dist/scripts/ensure-redis.js gets one')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))
  const names = flags.only?.split(',') ?? Object.keys(SCENARIOS)
  for (const name of names) {
    const known = Object.keys(SCENARIOS).join(', ')
    if (SCENARIOS[name] === undefined) throw new Error(`--only knows ${known}, not ${name}`)
  }
  const hasNetworks = process.env[INSIDE] !== undefined
  const asked = { ...flags, out: resolve(flags.out) }
  for (const name of names) {
    const scenario = SCENARIOS[name]
    if (scenario === undefined) continue
    if (scenario.hasNetwork === true && !hasNetworks) {
      console.log(`${name}: SKIPPED, network namespaces cannot be made here (on Linux they need root)`)
      continue
    }
    const verdict = await play(name, scenario, server, asked)
    const { line, isGood } = report(name, scenario, verdict, asked)
    console.log(line)
    if (isGood) continue
    process.exitCode = 1
    show(verdict)
    console.error(`  the history and what the brokers left are in ${join(asked.out, name)}`)
  }
}
