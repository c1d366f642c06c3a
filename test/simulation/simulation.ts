// One history: a broker, its clients, the network and the disk between them, all from one seed and in one thread. First
// everything goes wrong that the seed allows; then all is mended, everybody has a bounded time to come to an end, and what
// is found is held against what is owed. The broker and the client are the real ones.
//
// Safety is judged all the time, liveness after the faults: every producer finishes, every reader that follows reaches the
// end, nothing is left in the broker's memory, and a stop leaves nothing behind.

import type { Logger } from '../../shared/logger.ts'
import { silentLogger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { Nemesis } from './nemesis.ts'
import { Oracle } from './oracle.ts'
import { type Fault, planOf, type SimulationPlan } from './plan.ts'
import { Scheduler } from './scheduler.ts'
import { SimBroker } from './sim-broker.ts'
import { SimNetwork } from './sim-network.ts'
import { type ProcessHost, SimProcess } from './sim-process.ts'
import { Trace } from './trace.ts'
import { ClientMachine, Workload } from './workload.ts'

export interface SimulationOptions {
  readonly seed: number
  /** Keep all lines of the trace. */
  readonly isTraced?: boolean
  /** For tests of the simulation itself: what the broker is given may be bent. */
  readonly bend?: SimBroker['bend']
  readonly onlyFaults?: readonly Fault[]
}

export interface SimulationResult {
  readonly seed: number
  /** Empty when all is well. */
  readonly faults: readonly string[]
  readonly kind: 'kept' | 'crash' | 'liveness' | 'correctness'
  readonly virtualMs: number
  readonly events: number
  readonly digest: string
  readonly trace: readonly string[]
  readonly acknowledged: number
  readonly read: number
  readonly lives: number
  readonly begun: ReadonlyMap<Fault, number>
  readonly outcomes: ReadonlyMap<string, number>
}

const PROBE_MS = 20
const TOPICS_MS = 90_000
/** Longer than any call of a client may take. */
const FINISH_MS = 400_000
/** Less than the longest wait of a fetch: who is not woken does not arrive. */
const ARRIVE_MS = 200_000
const QUIET_MS = 30_000
const FAULTS_MAX = 20

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  await prepareCodec('zstd')
  const simulation = new Simulation(options)
  return simulation.run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #plan: SimulationPlan
  readonly #scheduler = new Scheduler()
  readonly #trace: Trace
  readonly #faults: string[] = []
  readonly #oracle: Oracle
  readonly #broker: SimBroker
  readonly #machines: ClientMachine[] = []
  readonly #judge: ClientMachine
  readonly #nemesis: Nemesis
  readonly #workload: Workload
  #kind: SimulationResult['kind'] = 'kept'

  constructor(options: SimulationOptions) {
    this.#options = options
    const { seed } = options
    const stream = (number: number): Random =>
      seededRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b))
    const plan = planOf(stream(1))
    this.#plan = plan
    this.#trace = new Trace(options.isTraced)
    const fail = (fault: string): void => this.#fail('correctness', fault)
    const diskFaults: readonly Fault[] = ['disk-errors', 'failed-sync', 'disk-full']
    const faults = options.onlyFaults ?? plan.faults
    const mayPointLag = faults.some((fault) => diskFaults.includes(fault))
    this.#oracle = new Oracle(() => this.#scheduler.nowMs, fail, mayPointLag)
    const network = new SimNetwork({
      scheduler: this.#scheduler,
      random: stream(2),
      profile: plan.network,
      onEvent: (who, what, details) => this.#trace.add(this.#scheduler.nowMs, who, what, details),
    })
    const processes: ProcessHost = {
      scheduler: this.#scheduler,
      random: stream(3),
      onUncaught: (process, error) => this.#fail('crash', `${process.name} died of ${textOf(error)}`),
      onEvent: (process, what, details) => this.#trace.add(this.#scheduler.nowMs, process.name, what, details),
    }
    const { settings } = plan
    const logger = this.#logger('broker')
    const brokerRandom = stream(4)
    this.#broker = new SimBroker({
      host: 'broker-1',
      port: 9092,
      processes,
      network,
      random: brokerRandom,
      settings,
      logger,
    })
    if (options.bend !== undefined) this.#broker.bend = options.bend
    this.#broker.onSynced = (path, beganMs) => this.#oracle.onSynced(path, beganMs)
    const brokers = [this.#broker.address]
    const machine = (name: string, number: number): ClientMachine => {
      const process = new SimProcess(name, processes, 1 + (number % 3) / 100)
      return new ClientMachine(name, process, { network, random: stream(10 + number), brokers })
    }
    for (let number = 1; number <= plan.clients; number++) this.#machines.push(machine(`client-${number}`, number))
    this.#judge = machine('judge', 0)
    this.#workload = new Workload({
      plan: plan.workload,
      oracle: this.#oracle,
      machines: this.#machines,
      random: stream(5),
      fail,
      note: (who, what, details) => this.#trace.add(this.#scheduler.nowMs, who, what, details),
    })
    this.#nemesis = new Nemesis({
      scheduler: this.#scheduler,
      random: stream(6),
      network,
      brokers: [this.#broker],
      clients: this.#machines,
      faults,
      everyMs: plan.faultEveryMs,
      onPowerLoss: () => this.#oracle.onPowerLoss(),
    })
  }

  async run(): Promise<SimulationResult> {
    const onRejection = (error: unknown): void =>
      this.#fail('crash', `a rejection that nobody handled: ${textOf(error)}`)
    process.on('unhandledRejection', onRejection)
    try {
      await this.#play()
    } finally {
      process.off('unhandledRejection', onRejection)
    }
    return {
      seed: this.#options.seed,
      faults: this.#faults,
      kind: this.#kind,
      virtualMs: this.#scheduler.nowMs,
      events: this.#scheduler.events,
      digest: this.#trace.digest(),
      trace: this.#trace.lines(),
      acknowledged: this.#oracle.acknowledgedCount,
      read: this.#oracle.readCount,
      lives: this.#broker.lives,
      begun: this.#nemesis.begun,
      outcomes: this.#workload.outcomes,
    }
  }

  async #play(): Promise<void> {
    const { topics } = this.#plan.workload
    this.#broker.start()
    this.#workload.start()
    this.#probe()
    const areMade = (): boolean => this.#workload.models.size === topics.length
    if (!(await this.#until('the topics are made', areMade, TOPICS_MS))) return
    this.#nemesis.start()
    await this.#until(undefined, () => false, this.#plan.faultsEndMs)
    this.#nemesis.end()
    if (!(await this.#recover())) return
    const actors = this.#workload
    const isFinished = (): boolean => actors.producersLeft === 0 && actors.isAdminDone && actors.isChurnDone
    if (!(await this.#until('every producer finishes', isFinished, FINISH_MS))) return
    await this.#settle()
  }

  /** The broker is back; once more, if a disk that failed has left it with partitions that take nothing. */
  async #recover(): Promise<boolean> {
    if (!(await this.#until('the broker serves', () => this.#broker.isServing, TOPICS_MS))) return false
    const isWell = (): boolean => this.#broker.broker?.checks().every(({ isOk }) => isOk) === true
    if (await this.#until(undefined, isWell, 3_000)) return true
    this.#broker.stop(() => this.#broker.startAfter(10))
    return this.#until('all is well again', () => this.#broker.isServing && isWell(), TOPICS_MS)
  }

  async #settle(): Promise<void> {
    const ends = await this.#ask('the ends can be asked for', () => this.#ends())
    if (ends === undefined) return
    const haveArrived = (): boolean => this.#workload.whoIsBehind(ends).length === 0
    if (!(await this.#until(undefined, haveArrived, ARRIVE_MS))) {
      const behind = this.#workload.whoIsBehind(ends).join(', ')
      this.#fail('liveness', `within ${ARRIVE_MS} ms: every reader reaches the end: ${behind}`)
      return
    }
    this.#workload.isEnding = true
    if (
      (await this.#ask('everything can be read', async () => (await this.#workload.judge(this.#judge), true))) ===
      undefined
    )
      return
    for (const { client } of [...this.#machines, this.#judge]) client.close().catch(() => undefined)
    const isQuiet = (): boolean => this.#whatIsHeld().length === 0
    if (!(await this.#until(undefined, isQuiet, QUIET_MS))) {
      this.#fail('liveness', `is not idle: ${this.#whatIsHeld().join(', ')}`)
      return
    }
    await this.#stopInOrder()
  }

  /** What the broker and the clients hold on to though nobody does anything. */
  #whatIsHeld(): string[] {
    const { meter } = this.#broker
    const held: string[] = []
    for (const name of ['tidemark_inflight_bytes', 'tidemark_waiting_fetches', 'tidemark_connections'] as const) {
      for (const series of meter.seriesOf(name)) if (series.value() !== 0) held.push(`${name} ${series.value()}`)
    }
    for (const { process, host } of this.#machines) {
      if (process.pendingTimers > 0) held.push(`${host} has ${process.pendingTimers} timers`)
    }
    return held
  }

  async #stopInOrder(): Promise<void> {
    let timers: number | undefined
    this.#broker.stop((left) => {
      timers = left
    })
    if (!(await this.#until('the broker stops', () => timers !== undefined, QUIET_MS))) return
    if (timers !== 0) this.#fail('correctness', `the broker leaves ${timers} timers behind`)
  }

  async #ends(): Promise<Map<string, Map<number, { start: number; end: number }>>> {
    const ends = new Map<string, Map<number, { start: number; end: number }>>()
    for (const { name } of this.#plan.workload.topics) {
      const admin = this.#judge.client.admin()
      const [starts, lasts] = [await admin.offsets(name, { at: 'start' }), await admin.offsets(name, { at: 'end' })]
      const byPartition = new Map<number, { start: number; end: number }>()
      // A reader sees the partitions that there were when it began.
      const count = this.#plan.workload.topics.find((topic) => topic.name === name)?.partitions ?? 0
      for (const [index, { partition, offset }] of lasts.entries()) {
        if (partition < count) byPartition.set(partition, { start: starts[index]?.offset ?? 0, end: offset ?? 0 })
      }
      ends.set(name, byPartition)
    }
    return ends
  }

  /** Runs until the promise settles; its failure is one of liveness. */
  async #ask<T>(what: string, question: () => Promise<T>): Promise<T | undefined> {
    let answer: { value: T } | undefined
    let failure: string | undefined
    question().then(
      (value) => {
        answer = { value }
      },
      (error: unknown) => {
        failure = textOf(error)
      },
    )
    await this.#until(what, () => answer !== undefined || failure !== undefined, ARRIVE_MS)
    if (failure !== undefined) this.#fail('liveness', `${what}: not so, ${failure}`)
    return answer?.value
  }

  /** What does not come true in time is a failure, if it has a name. */
  async #until(what: string | undefined, isTrue: () => boolean, withinMs: number): Promise<boolean> {
    const isDone = (): boolean => this.#faults.length >= FAULTS_MAX || isTrue()
    const untilMs = this.#scheduler.nowMs + withinMs
    // Something happens at the end of the time at the latest.
    this.#scheduler.at(untilMs, () => undefined)
    if (await this.#scheduler.run(isDone, untilMs)) return this.#faults.length < FAULTS_MAX
    if (what !== undefined) this.#fail('liveness', `within ${withinMs} ms: ${what}`)
    return false
  }

  /** Looks at the broker now and then; what it shows must hold together. */
  #probe(): void {
    this.#scheduler.after(PROBE_MS, () => {
      const { lives } = this.#broker
      if (!this.#broker.process.isPaused) {
        this.#broker.describe((topics) => this.#oracle.onDescribed(lives, topics))
      }
      this.#probe()
    })
  }

  #fail(kind: 'crash' | 'liveness' | 'correctness', fault: string): void {
    if (this.#kind === 'kept') this.#kind = kind
    if (this.#faults.length >= FAULTS_MAX) return
    this.#faults.push(`at ${this.#scheduler.nowMs.toFixed(3)} ms: ${fault}`)
    this.#trace.add(this.#scheduler.nowMs, 'oracle', 'FAULT', fault)
  }

  #logger(who: string): Logger {
    if (this.#options.isTraced !== true) return silentLogger
    const line =
      (level: string) =>
      (fields: object, message: string): void =>
        this.#trace.note(this.#scheduler.nowMs, who, level, `${message} ${JSON.stringify(fields)}`)
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
