// One history of a cluster: several brokers, their clients, the network between all of them, their disks, and the Redis by
// which they agree, all from one seed and in one thread. First everything goes wrong that the seed allows; then all is
// mended, everybody has a bounded time to come to an end, and what is found is held against what is owed. Broker, client and
// coordinator are the real ones.
//
// Safety is judged all the time, liveness after the faults: every partition is led, every producer finishes, every reader
// that follows reaches the end, all replicas become equal byte for byte, and brokers that stop leave nothing behind.

import { OFFSETS_TOPIC } from '../../broker/groups/offsets-topic.ts'
import type { MetricName } from '../../broker/metrics/catalogue.ts'
import type { Replica } from '../../broker/replication/replica.ts'
import type { ReplicaRules } from '../../broker/replication/replica-rules.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { withCompaction } from './compacted-plan.ts'
import { ClusterNemesis } from './cluster-nemesis.ts'
import { Operator } from './cluster-operator.ts'
import { ClusterOracle } from './cluster-oracle.ts'
import { type ClusterFault, type ClusterPlan, clusterPlanOf } from './cluster-plan.ts'
import { ClusterView } from './cluster-view.ts'
import { type GroupFigures, GroupPlay } from './group-play.ts'
import { type GroupFault, groupsPlanOf, withGroups } from './group-plan.ts'
import { ReplicaWatch } from './replica-watch.ts'
import { SimBroker } from './sim-broker.ts'
import { SimNetwork } from './sim-network.ts'
import { type ProcessHost, SimProcess } from './sim-process.ts'
import { REDIS_URL, SimRedisServer } from './sim-redis-link.ts'
import { Stage, textOf, type VerdictKind } from './stage.ts'
import { ClientMachine, Workload } from './workload.ts'

export interface ClusterSimulationOptions {
  readonly seed: number
  /** Keep all lines of the trace. */
  readonly isTraced?: boolean
  /** For tests of the simulation itself: what a broker is given may be bent. */
  readonly bend?: SimBroker['bend']
  readonly onlyFaults?: readonly ClusterFault[]
  /** After so many broken promises nothing more is played. */
  readonly faultsMax?: number
  /** For tests of the simulation itself: the rules that all replicas go by. */
  readonly rules?: ReplicaRules
  /** For tests of the simulation itself: a Redis that comes back with older data, and does not let it be noticed. */
  readonly hidesRollbacks?: boolean
  /** Whether consumer groups are played, too. */
  readonly groups?: boolean
  /** Whether topics are compacted. */
  readonly compaction?: boolean
  readonly onlyGroupFaults?: readonly GroupFault[]
}

export interface ClusterSimulationResult {
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
  readonly leaderEpochs: number
  /** How often a replica of a compacted topic gave up what it had, to copy it anew. */
  readonly begunAnew: number
  /** Bytes that compaction has taken away, in the last lives of all brokers. */
  readonly compactedBytes: number
  /** At replicas, past everything that brokers say of themselves. */
  readonly looks: number
  readonly begun: ReadonlyMap<ClusterFault, number>
  readonly outcomes: ReadonlyMap<string, number>
  /** Of an operator, as far as they were taken. */
  readonly changes: ReadonlyMap<string, number>
  readonly groups: GroupFigures | undefined
}

/** What brokers say of themselves; what they are is looked at after every event. */
const PROBE_MS = 250
const SUPERVISE_MS = 4_000
const TOPICS_MS = 120_000
/** After the last fault: until all brokers serve, and until every partition is led and has all its replicas. */
const SERVE_MS = 90_000
const HEAL_MS = 60_000
/** For an operator to end what was begun. */
const CHANGE_MS = 120_000
/** Longer than any call of a client may take. */
const FINISH_MS = 400_000
const ARRIVE_MS = 200_000
const EQUAL_MS = 60_000
const QUIET_MS = 30_000
/** The questions that followers leave with their leaders until there is something new. */
const IDLE_BYTES_MAX = 4_096
/** Checks of what no broker gets over by being started anew. */
const NOT_ITS_OWN: ReadonlySet<string> = new Set(['coordinator', 'groups'])
/** A disk that did not let go of a log that was deleted lets it go at the next start. */
const DISK_TROUBLES: ReadonlySet<ClusterFault> = new Set<ClusterFault>(['disk-errors', 'disk-full', 'failed-sync'])

export async function simulateCluster(options: ClusterSimulationOptions): Promise<ClusterSimulationResult> {
  await prepareCodec('zstd')
  const simulation = new ClusterSimulation(options)
  return simulation.run()
}

class ClusterSimulation {
  readonly #seed: number
  readonly #plan: ClusterPlan
  readonly #stage: Stage
  readonly #oracle: ClusterOracle
  readonly #watch: ReplicaWatch
  readonly #network: SimNetwork
  readonly #redis: SimRedisServer
  readonly #brokers: SimBroker[] = []
  readonly #machines: ClientMachine[] = []
  readonly #judge: ClientMachine
  readonly #nemesis: ClusterNemesis
  readonly #workload: Workload
  readonly #operator: Operator | undefined
  readonly #view: ClusterView
  readonly #groups: GroupPlay | undefined
  #unwell = new Set<SimBroker>()
  #isStopping = false

  constructor(options: ClusterSimulationOptions) {
    const { seed } = options
    this.#seed = seed
    const stream = (number: number): Random =>
      seededRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b))
    const isOfGroups = options.groups === true
    const base = isOfGroups ? withGroups(clusterPlanOf(stream(1)), stream(201)) : clusterPlanOf(stream(1))
    const plan = options.compaction === true ? withCompaction(base, stream(202)) : base
    this.#plan = plan
    const stage = new Stage(options.isTraced, options.faultsMax)
    this.#stage = stage
    const { scheduler } = stage
    const fail = (fault: string): void => stage.fail('correctness', fault)
    this.#oracle = new ClusterOracle(() => scheduler.nowMs, fail)
    const faults = options.onlyFaults ?? plan.faults
    const isLossy = faults.some((fault) => fault.startsWith('power-loss') || fault === 'failed-sync')
    const watch = new ReplicaWatch(fail, (name) => {
      return (
        faults.includes('replaced-disk') ||
        (isLossy && plan.workload.topics.find((topic) => topic.name === name)?.durability !== 'fsync')
      )
    })
    this.#watch = watch
    scheduler.afterEvent = () => watch.afterEvent()
    const onEvent = (who: string, what: string, details: string): void => stage.note(who, what, details)
    this.#network = new SimNetwork({ scheduler, random: stream(2), profile: plan.network, onEvent })
    this.#redis = new SimRedisServer({ scheduler, random: stream(7), onEvent })
    this.#redis.redis.hidesRollbacks = options.hidesRollbacks === true
    const processes: ProcessHost = {
      scheduler,
      random: stream(3),
      onUncaught: (process, error) => stage.fail('crash', `${process.name} died of ${textOf(error)}`),
      onEvent: (process, what, details) => {
        stage.note(process.name, what, details)
        const broker = this.#brokers.find((one) => one.process === process)
        if (broker !== undefined) watch.touch(broker)
      },
    }
    for (let number = 1; number <= plan.brokers; number++) {
      this.#brokers.push(this.#makeBroker(number, processes, stream(100 + number), options))
    }
    const machine = (name: string, number: number): ClientMachine => {
      const process = new SimProcess(name, processes, 1 + (number % 3) / 100)
      const brokers = this.#brokers.map(({ address }) => address)
      return new ClientMachine(name, process, { network: this.#network, random: stream(10 + number), brokers })
    }
    for (let number = 1; number <= plan.clients; number++) this.#machines.push(machine(`client-${number}`, number))
    this.#judge = machine('judge', 0)
    const note = (who: string, what: string, details: string): void => stage.note(who, what, details)
    const shared = { oracle: this.#oracle, machines: this.#machines, fail, note }
    this.#workload = new Workload({ ...shared, plan: plan.workload, random: stream(5) })
    if (plan.operator !== undefined) {
      this.#operator = new Operator({
        ...plan.operator,
        machine: machine('operator', 9),
        random: stream(8),
        topics: plan.workload.topics,
        brokers: plan.brokers,
        note,
        fail,
      })
    }
    if (isOfGroups) {
      const groups = groupsPlanOf(plan, stream(200))
      this.#groups = new GroupPlay({
        plan: groups,
        faults: options.onlyGroupFaults ?? groups.faults,
        stage,
        network: this.#network,
        redis: this.#redis,
        processes,
        brokers: this.#brokers,
        topics: plan.workload.topics,
        random: (number) => stream(300 + number),
        troubleMsMax: plan.troubleMsMax,
      })
    }
    this.#view = new ClusterView({
      topics: [...plan.workload.topics.map(({ name }) => name), ...(isOfGroups ? [OFFSETS_TOPIC] : [])],
      committedEnd: (topicId, partition) => watch.committedEnd(topicId, partition),
      brokers: this.#brokers,
      oracle: this.#oracle,
      watch,
      isExcused: (broker) => this.#nemesis.replaced === broker,
      mayKeepLogs: faults.some((fault) => DISK_TROUBLES.has(fault)),
    })
    this.#nemesis = new ClusterNemesis({
      scheduler,
      random: stream(6),
      network: this.#network,
      redis: this.#redis,
      brokers: this.#brokers,
      clients: [...this.#machines, ...(this.#groups?.machines ?? [])],
      faults,
      everyMs: plan.faultEveryMs,
      troubleMsMax: plan.troubleMsMax,
      lossesMax: plan.lossesMax,
      diskLossesMax: plan.diskLossesMax,
      hasEverything: (broker) => this.#view.hasEverything(broker),
      onPowerLoss: () => this.#look(),
    })
  }

  async run(): Promise<ClusterSimulationResult> {
    await this.#stage.watch(() => this.#play())
    const { scheduler, trace, faults, kind } = this.#stage
    return {
      seed: this.#seed,
      faults,
      kind,
      virtualMs: scheduler.nowMs,
      events: scheduler.events,
      digest: trace.digest(),
      trace: trace.lines(),
      acknowledged: this.#oracle.acknowledgedCount,
      read: this.#oracle.readCount,
      lives: this.#brokers.reduce((sum, { lives }) => sum + lives, 0),
      leaderEpochs: this.#watch.leaderEpochMax,
      begunAnew: this.#watch.begunAnew,
      compactedBytes: this.#sumOf('tidemark_compaction_freed_bytes_total'),
      looks: this.#watch.looks,
      begun: this.#nemesis.begun,
      outcomes: this.#workload.outcomes,
      changes: this.#operator?.done ?? new Map<string, number>(),
      groups: this.#groups?.figures,
    }
  }

  #sumOf(metric: MetricName): number {
    const series = this.#brokers.flatMap(({ meter }) => meter.seriesOf(metric))
    return series.reduce((sum, one) => sum + one.value(), 0)
  }

  #makeBroker(
    number: number,
    processes: ProcessHost,
    random: Random,
    { bend = (same) => same, rules }: ClusterSimulationOptions,
  ): SimBroker {
    const host = `broker-${number}`
    const broker = new SimBroker({
      host,
      port: 9092,
      processes,
      network: this.#network,
      random,
      settings: { ...this.#plan.settings, brokerId: number, redis: REDIS_URL },
      logger: this.#stage.logger(host),
      coordinator: (process) => this.#redis.coordinator(host, process),
    })
    const onReplica = (replica: Replica): void => {
      const { topic, partition } = replica.identity
      this.#oracle.forget(host, topic, partition)
      this.#watch.onReplica(broker, replica)
    }
    const replicaTrial = rules === undefined ? { onReplica } : { onReplica, rules }
    broker.bend = (environment) => bend({ ...environment, replicaTrial })
    this.#watch.follow(broker)
    return broker
  }

  async #play(): Promise<void> {
    for (const broker of this.#brokers) broker.startAfter(1)
    const areServing = (): boolean => this.#brokers.every(({ isServing }) => isServing)
    if (!(await this.#stage.until('all brokers serve', areServing, SERVE_MS))) return
    this.#workload.start()
    this.#probe()
    const areMade = (): boolean => this.#workload.models.size === this.#plan.workload.topics.length
    if (!(await this.#stage.until('the topics are made', areMade, TOPICS_MS))) return
    if ((await this.#groups?.start()) === false) return
    this.#nemesis.start()
    this.#groups?.startFaults()
    this.#operator?.start()
    await this.#stage.until(undefined, () => false, this.#plan.faultsEndMs)
    this.#nemesis.end()
    this.#groups?.endFaults()
    this.#operator?.end()
    if (!(await this.#recover())) return
    const actors = this.#workload
    const isFinished = (): boolean => actors.producersLeft === 0 && actors.isAdminDone && actors.isChurnDone
    if (!(await this.#stage.until('every producer finishes', isFinished, FINISH_MS))) return
    await this.#settle()
  }

  /** All brokers are back; and again, where a disk that failed has left partitions that take nothing. */
  async #recover(): Promise<boolean> {
    const areServing = (): boolean => this.#brokers.every(({ isServing }) => isServing)
    if (!(await this.#stage.until('all brokers serve again', areServing, SERVE_MS))) return false
    this.#supervise()
    const isAtRest = (): boolean => this.#operator?.isDone !== false
    if (!(await this.#stage.until(undefined, isAtRest, CHANGE_MS))) {
      const ill = this.#view.whatIsIll().slice(0, 5).join('; ')
      return this.#giveUp(`within ${CHANGE_MS} ms after the faults: what an operator asks for is not done: ${ill}`)
    }
    // Judged anew when a broker has shown something new, not after every event.
    let seen = -1
    let isHealed = false
    const areWell = (): boolean => {
      if (seen === this.#view.shown) return isHealed
      seen = this.#view.shown
      isHealed = this.#view.whatIsIll().length === 0
      return isHealed
    }
    if (await this.#stage.until(undefined, areWell, HEAL_MS)) return true
    return this.#giveUp(`within ${HEAL_MS} ms after the faults: ${this.#view.whatIsIll().slice(0, 5).join('; ')}`)
  }

  #giveUp(fault: string): false {
    if (!this.#stage.isOver) this.#stage.fail('liveness', fault)
    return false
  }

  /** As whoever watches the health of brokers would: one that is not well for a while is started anew. */
  #supervise(): void {
    const unwell = this.#brokers.filter(
      ({ broker }) => broker?.checks().some(({ name, isOk }) => !isOk && !NOT_ITS_OWN.has(name)) === true,
    )
    for (const broker of unwell) {
      if (this.#unwell.has(broker) && broker.isServing) broker.stop(() => broker.startAfter(10))
    }
    this.#unwell = new Set(unwell)
    this.#stage.scheduler.after(SUPERVISE_MS, () => {
      if (!this.#isStopping) this.#supervise()
    })
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
    if ((await this.#groups?.arrive(this.#judge)) === false) return
    this.#workload.isEnding = true
    const judge = async (): Promise<true> => {
      await this.#workload.judge(this.#judge)
      await this.#groups?.judge(this.#judge)
      return true
    }
    if ((await this.#stage.ask('everything can be read', judge)) === undefined) return
    if ((await this.#groups?.close()) === false) return
    for (const { client } of this.#everybody()) client.close().catch(() => undefined)
    if (!(await this.#becomeEqual())) return
    this.#groups?.judgeLogs(this.#view.topicIdOf(OFFSETS_TOPIC) ?? '')
    const isQuiet = (): boolean => this.#whatIsHeld().length === 0
    if (!(await this.#stage.until(undefined, isQuiet, QUIET_MS))) {
      this.#stage.fail('liveness', `is not idle: ${this.#whatIsHeld().join(', ')}`)
      return
    }
    await this.#stopInOrder()
  }

  async #becomeEqual(): Promise<boolean> {
    // Looked at now and then: it reads all logs.
    const untilMs = this.#stage.scheduler.nowMs + EQUAL_MS
    const found = (): string[] => [...this.#view.howReplicasDiffer(), ...this.#view.whatIsLeftOver()]
    while (found().length > 0 && this.#stage.scheduler.nowMs < untilMs) {
      await this.#stage.until(undefined, () => false, 500)
      if (this.#stage.isOver) return false
    }
    const differences = found()
    for (const difference of differences.slice(0, 5)) {
      this.#stage.fail('liveness', `within ${EQUAL_MS} ms: all replicas become equal: ${difference}`)
    }
    return differences.length === 0
  }

  #everybody(): Pick<ClientMachine, 'host' | 'process' | 'client'>[] {
    const { machine } = this.#operator ?? {}
    return [...this.#machines, this.#judge, ...(machine === undefined ? [] : [machine])]
  }

  /** What brokers and clients hold on to though nobody does anything. */
  #whatIsHeld(): string[] {
    const held: string[] = []
    for (const { meter, host } of this.#brokers) {
      for (const series of meter.seriesOf('tidemark_inflight_bytes')) {
        if (series.value() > IDLE_BYTES_MAX) held.push(`${host} has ${series.value()} bytes in flight`)
      }
    }
    for (const { process, host } of this.#everybody()) {
      if (process.pendingTimers > 0) held.push(`${host} has ${process.pendingTimers} timers`)
    }
    return held
  }

  async #stopInOrder(): Promise<void> {
    this.#isStopping = true
    for (const broker of this.#brokers) {
      // Its last restart may not be over.
      if (!(await this.#stage.until(`${broker.host} serves`, () => broker.isServing, QUIET_MS))) return
      let timers: number | undefined
      broker.stop((left) => {
        timers = left
      })
      if (!(await this.#stage.until(`${broker.host} stops`, () => timers !== undefined, QUIET_MS))) return
      if (timers !== 0) this.#stage.fail('correctness', `${broker.host} leaves ${timers} timers behind`)
    }
  }

  async #ends(): Promise<Map<string, Map<number, { start: number; end: number }>>> {
    const ends = new Map<string, Map<number, { start: number; end: number }>>()
    for (const { name, partitions } of this.#plan.workload.topics) {
      const byPartition = new Map<number, { start: number; end: number }>()
      // Behind the last record may stand control records, which no reader sees.
      const records = this.#oracle.topics.get(name)?.partitions ?? []
      const admin = this.#judge.client.admin()
      const starts = await admin.offsets(name, { at: 'start' })
      for (let partition = 0; partition < partitions; partition++) {
        const start = starts.find((one) => one.partition === partition)?.offset ?? 0
        const known = [...(records[partition]?.known.keys() ?? [])].map((offset) => offset + 1)
        const isCompacted = this.#oracle.topics.get(name)?.spec.isCompacted !== undefined
        const ends = isCompacted ? [this.#oracle.readableEnd(name, partition)] : known
        byPartition.set(partition, { start, end: Math.max(start, ...ends) })
      }
      ends.set(name, byPartition)
    }
    return ends
  }

  #probe(): void {
    this.#stage.scheduler.after(PROBE_MS, () => {
      this.#look()
      this.#watch.lookAtKeys()
      this.#probe()
    })
  }

  /** Looks at the brokers; what they show must hold together. */
  #look(): void {
    for (const broker of this.#brokers) {
      if (broker.process.isPaused) continue
      const { lives } = broker
      broker.describe((topics) => {
        this.#view.show(broker, topics)
        this.#oracle.onDescribed(broker.host, lives, topics)
      })
    }
  }
}
