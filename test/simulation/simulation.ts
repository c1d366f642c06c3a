// One history: a broker, its clients, the network and the disk between them, all from one seed and in one thread. First
// everything goes wrong that the seed allows; then all is mended, everybody has a bounded time to come to an end, and what
// is found is held against what is owed. The broker and the client are the real ones.
//
// Safety is judged all the time, liveness after the faults: every producer finishes, every reader that follows reaches the
// end, nothing is left in the broker's memory, and a stop leaves nothing behind.

import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { Nemesis } from './nemesis.ts'
import { Oracle } from './oracle.ts'
import { type Fault, planOf, type SimulationPlan } from './plan.ts'
import { SimBroker } from './sim-broker.ts'
import { SimNetwork } from './sim-network.ts'
import { type ProcessHost, SimProcess } from './sim-process.ts'
import { Stage, textOf, type VerdictKind } from './stage.ts'
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
  readonly kind: VerdictKind
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

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  await prepareCodec('zstd')
  const simulation = new Simulation(options)
  return simulation.run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #plan: SimulationPlan
  readonly #stage: Stage
  readonly #oracle: Oracle
  readonly #broker: SimBroker
  readonly #machines: ClientMachine[] = []
  readonly #judge: ClientMachine
  readonly #nemesis: Nemesis
  readonly #workload: Workload

  constructor(options: SimulationOptions) {
    this.#options = options
    const { seed } = options
    const stream = (number: number): Random =>
      seededRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b))
    const plan = planOf(stream(1))
    this.#plan = plan
    const stage = new Stage(options.isTraced)
    this.#stage = stage
    const fail = (fault: string): void => stage.fail('correctness', fault)
    const diskFaults: readonly Fault[] = ['disk-errors', 'failed-sync', 'disk-full']
    const faults = options.onlyFaults ?? plan.faults
    const mayPointLag = faults.some((fault) => diskFaults.includes(fault))
    this.#oracle = new Oracle(() => stage.scheduler.nowMs, fail, mayPointLag)
    const network = new SimNetwork({
      scheduler: stage.scheduler,
      random: stream(2),
      profile: plan.network,
      onEvent: (who, what, details) => stage.note(who, what, details),
    })
    const processes: ProcessHost = {
      scheduler: stage.scheduler,
      random: stream(3),
      onUncaught: (process, error) => stage.fail('crash', `${process.name} died of ${textOf(error)}`),
      onEvent: (process, what, details) => stage.note(process.name, what, details),
    }
    const { settings } = plan
    const logger = stage.logger('broker')
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
      note: (who, what, details) => stage.note(who, what, details),
    })
    this.#nemesis = new Nemesis({
      scheduler: stage.scheduler,
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
    await this.#stage.watch(() => this.#play())
    const { scheduler, trace, faults, kind } = this.#stage
    return {
      seed: this.#options.seed,
      faults,
      kind,
      virtualMs: scheduler.nowMs,
      events: scheduler.events,
      digest: trace.digest(),
      trace: trace.lines(),
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
    if (!(await this.#stage.until('the topics are made', areMade, TOPICS_MS))) return
    this.#nemesis.start()
    await this.#stage.until(undefined, () => false, this.#plan.faultsEndMs)
    this.#nemesis.end()
    if (!(await this.#recover())) return
    const actors = this.#workload
    const isFinished = (): boolean => actors.producersLeft === 0 && actors.isAdminDone && actors.isChurnDone
    if (!(await this.#stage.until('every producer finishes', isFinished, FINISH_MS))) return
    await this.#settle()
  }

  /** The broker is back; once more, if a disk that failed has left it with partitions that take nothing. */
  async #recover(): Promise<boolean> {
    if (!(await this.#stage.until('the broker serves', () => this.#broker.isServing, TOPICS_MS))) return false
    const isWell = (): boolean => this.#broker.broker?.checks().every(({ isOk }) => isOk) === true
    if (await this.#stage.until(undefined, isWell, 3_000)) return true
    this.#broker.stop(() => this.#broker.startAfter(10))
    return this.#stage.until('all is well again', () => this.#broker.isServing && isWell(), TOPICS_MS)
  }

  async #settle(): Promise<void> {
    const ends = await this.#stage.ask('the ends can be asked for', () => this.#ends())
    if (ends === undefined) return
    const haveArrived = (): boolean => this.#workload.whoIsBehind(ends).length === 0
    if (!(await this.#stage.until(undefined, haveArrived, ARRIVE_MS))) {
      const behind = this.#workload.whoIsBehind(ends).join(', ')
      this.#stage.fail('liveness', `within ${ARRIVE_MS} ms: every reader reaches the end: ${behind}`)
      return
    }
    this.#workload.isEnding = true
    if (
      (await this.#stage.ask('everything can be read', async () => (await this.#workload.judge(this.#judge), true))) ===
      undefined
    )
      return
    for (const { client } of [...this.#machines, this.#judge]) client.close().catch(() => undefined)
    const isQuiet = (): boolean => this.#whatIsHeld().length === 0
    if (!(await this.#stage.until(undefined, isQuiet, QUIET_MS))) {
      this.#stage.fail('liveness', `is not idle: ${this.#whatIsHeld().join(', ')}`)
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
    if (!(await this.#stage.until('the broker stops', () => timers !== undefined, QUIET_MS))) return
    if (timers !== 0) this.#stage.fail('correctness', `the broker leaves ${timers} timers behind`)
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

  /** Looks at the broker now and then; what it shows must hold together. */
  #probe(): void {
    this.#stage.scheduler.after(PROBE_MS, () => {
      const { lives } = this.#broker
      if (!this.#broker.process.isPaused) {
        this.#broker.describe((topics) => this.#oracle.onDescribed(lives, topics))
      }
      this.#probe()
    })
  }
}
