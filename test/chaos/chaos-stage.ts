// A cluster of real processes under faults, with its clients and the history of what they see. Owns what every scenario
// needs: to know who leads, to wait until all is well, and to gather what brokers say of themselves. Judges nothing.

import { createHash } from 'node:crypto'
import type { Client } from '../../client/client.ts'
import type { RedisServer } from '../../scripts/ensure-redis.ts'
import type { Random } from '../../shared/random.ts'
import type { History } from './history.ts'
import { OFFSETS_TOPIC, partitionOfGroup } from '../../broker/groups/offsets-topic.ts'
import { connect } from '../../client/client.ts'
import { ProcessCluster } from '../setup/cluster.ts'
import { pause, within } from '../setup/cluster-load.ts'
import { leaderOf, type PartitionState, stateOf } from '../setup/cluster-state.ts'
import { leaderChanges } from './checker.ts'
import { GroupMembers, type GroupPlan } from './group-members.ts'
import { Network } from './network.ts'
import { RedisControl } from './redis-control.ts'
import { Workload } from './workload.ts'

const TOPIC = 'chaos'
const PARTITIONS = 3
/** With groups: more to share out, and as many records in all. */
const PARTITIONS_OF_GROUPS = 6
const PACE_OF_GROUPS_MS = 50
/** Of the topic of groups, by default. */
const OFFSETS_PARTITIONS = 16
/** Brokers without a word of Redis for so long hold no lease any more. */
export const LEASE_MS = 2_000
/** A partition that takes nothing for so long after everything has healed is one that has stopped. */
const HEALED_WITHIN_MS = 45_000
const STOPPED_WITHIN_MS = 60_000
/** What members may be behind on a busy machine, they may take so long to work off. */
const DONE_WITHIN_MS = 150_000
/** Lines that a healthy broker never writes. */
const BROKEN = /assertion|in a way that was not expected|uncaught|unhandled|acknowledged records may be lost/i

export interface ChaosStageOptions {
  readonly server: RedisServer
  readonly history: History
  readonly random: Random
  /** Where everything lives. */
  readonly root: string
  /** Whether brokers and Redis have networks of their own, that can be cut. */
  readonly hasNetwork: boolean
  readonly brokers: number
  /** Groups that consume, in processes of their own. */
  readonly groups?: readonly GroupPlan[]
}

export class ChaosStage {
  readonly cluster: ProcessCluster
  readonly redis: RedisControl
  readonly workload: Workload
  readonly history: History
  readonly random: Random
  readonly #network: Network | undefined
  readonly #client: Client
  readonly #topicId: string
  /** Brokers whose replicas do not count any more: they lost their disk. */
  readonly lost = new Set<number>()
  readonly groups: readonly GroupMembers[]
  /** What brokers have said of who leads: broker, topic, partition, epoch. */
  readonly #leaders = new Set<string>()
  readonly #partitionCount: number

  private constructor(
    { history, random, root, groups = [] }: ChaosStageOptions,
    parts: {
      cluster: ProcessCluster
      redis: RedisControl
      network: Network | undefined
      client: Client
      topicId: string
    },
  ) {
    this.history = history
    this.random = random
    this.cluster = parts.cluster
    this.redis = parts.redis
    this.#network = parts.network
    this.#client = parts.client
    this.#topicId = parts.topicId
    const addresses = parts.cluster.addresses
    const partitions = partitionsFor(groups)
    this.#partitionCount = partitions
    const pace = groups.length > 0 ? { paceMs: PACE_OF_GROUPS_MS } : {}
    this.workload = new Workload({ topic: TOPIC, partitions, history, random, addresses, ...pace })
    const { network } = parts
    this.groups = groups.map((plan, index) => {
      // Those of the first group have networks of their own, except for guests.
      const within = (slot: number): readonly string[] => (slot < plan.kinds.length ? placeOf(network, slot) : [])
      const place = index === 0 ? { within } : {}
      return new GroupMembers({ plan, history, topic: TOPIC, partitions, addresses, root, ...place })
    })
  }

  /** Resolves when records are being acknowledged. */
  static async open(options: ChaosStageOptions): Promise<ChaosStage> {
    const { server, root, hasNetwork, brokers } = options
    const ids = Array.from({ length: brokers }, (_, index) => index + 1)
    const slots = [...(options.groups?.[0]?.kinds.keys() ?? [])].map((slot) => `member-${slot}` as const)
    const network = hasNetwork ? await Network.make([...ids, 'redis', ...slots]) : undefined
    const place = (one: number | 'redis') => {
      return network === undefined ? undefined : { host: network.host(one), within: network.within(one) }
    }
    const redis = await RedisControl.start(server, root, place('redis'))
    const cluster = await ProcessCluster.start({
      redis: redis.url,
      brokers,
      args: ['--session-timeout-ms', `${LEASE_MS}ms`],
      ...(network === undefined
        ? {}
        : { place: (id: number) => ({ host: network.host(id), within: network.within(id) }) }),
    })
    const client = connect({ brokers: cluster.addresses })
    const numPartitions = partitionsFor(options.groups ?? [])
    const request = { topics: [{ topic: TOPIC, numPartitions, replicationFactor: 3 }] }
    const [created] = await client.admin().createTopics(request)
    const stage = new ChaosStage(options, { cluster, redis, network, client, topicId: created?.topicId ?? '' })
    await stage.whole()
    return stage
  }

  get network(): Network {
    if (this.#network === undefined) throw new Error('the scenario has no network of its own')
    return this.#network
  }

  /** All brokers but one. */
  others(id: number): number[] {
    return this.cluster.ids.filter((other) => other !== id)
  }

  /** One of them, by lot. */
  oneOf(ids: readonly number[]): number {
    const id = ids[this.random.integer(ids.length)]
    if (id === undefined) throw new Error('there is no broker to choose')
    return id
  }

  tell(what: string): void {
    this.history.add({ op: 'fault', what })
  }

  /** Who leads a partition that is drawn by lot. */
  async someLeader(): Promise<number> {
    return leaderOf(this.#client.admin(), TOPIC, {
      partition: this.random.integer(this.#partitionCount),
      timeoutMs: 30_000,
    })
  }

  /** Between the two, milliseconds. */
  async wait(min: number, max = min): Promise<void> {
    await pause(min + this.random.integer(max - min + 1))
  }

  async kill(id: number): Promise<void> {
    this.tell(`broker ${id} is killed`)
    await this.cluster.kill(id)
  }

  async start(id: number): Promise<void> {
    this.tell(`broker ${id} starts`)
    await this.cluster.restart(id)
  }

  pause(id: number): void {
    this.tell(`broker ${id} is paused`)
    this.cluster.pause(id)
  }

  resume(id: number): void {
    this.tell(`broker ${id} goes on`)
    this.cluster.resume(id)
  }

  /** In order; resolves when it has ended. */
  async stop(id: number): Promise<void> {
    this.tell(`broker ${id} is stopped`)
    const code = await within(this.cluster.stop(id), STOPPED_WITHIN_MS)
    if (code !== 0)
      this.history.add({ op: 'trouble', kind: 'broker-died', what: `broker ${id} was stopped and ended with ${code}` })
  }

  /** The first of the groups. */
  get group(): GroupMembers {
    const [group] = this.groups
    if (group === undefined) throw new Error('the scenario has no groups')
    return group
  }

  /** The broker that coordinates the group, as far as it is known. */
  async coordinator({ plan }: GroupMembers): Promise<number> {
    const partition = partitionOfGroup(plan.name, OFFSETS_PARTITIONS)
    return leaderOf(this.#client.admin(), OFFSETS_TOPIC, { partition, timeoutMs: 30_000 })
  }

  /**
   * Until every partition takes records, all replicas keep up that can, and every group goes on everywhere.
   * @throws when that does not come about.
   */
  async whole(): Promise<void> {
    await this.workload.progress(HEALED_WITHIN_MS)
    await Promise.all(this.groups.map((group) => group.progress(HEALED_WITHIN_MS)))
    const deadline = performance.now() + HEALED_WITHIN_MS
    for (let partition = 0; partition < this.#partitionCount;) {
      const state = await stateOf(this.#client.admin(), TOPIC, partition).catch(String)
      if (typeof state !== 'string' && this.#isWhole(state)) partition += 1
      else if (performance.now() > deadline)
        throw new Error(`partition ${partition} is not whole after ${HEALED_WITHIN_MS} ms: ${JSON.stringify(state)}`)
      else await pause(50)
    }
  }

  #isWhole({ leader, replicas, inSyncReplicas, movingTo = [] }: PartitionState): boolean {
    const wanted = replicas.filter((id) => !this.lost.has(id))
    return leader !== undefined && movingTo.length === 0 && wanted.every((id) => inSyncReplicas.includes(id))
  }

  /** Begins to give a partition these replicas; what has been begun is done when it is whole again. */
  async move(partition: number, replicas: readonly number[]): Promise<void> {
    this.tell(`partition ${partition} moves to brokers ${replicas.join(', ')}`)
    await this.#client.admin().movePartitions({ moves: [{ topic: TOPIC, partition, replicas: [...replicas] }] })
  }

  async replicasOf(partition: number): Promise<readonly number[]> {
    return (await stateOf(this.#client.admin(), TOPIC, partition)).replicas
  }

  get partitions(): readonly number[] {
    return Array.from({ length: this.#partitionCount }, (_, partition) => partition)
  }

  /** What brokers have said since the last time: who led when. Answers how often another one has come to lead. */
  gatherLeaders(): number {
    for (const broker of this.cluster.ids) {
      for (const line of this.cluster.logOf(broker).split('\n')) {
        if (!line.includes('"leads"')) continue
        const { topic, partition, epoch } = JSON.parse(line) as { topic: string; partition: number; epoch: number }
        const key = `${broker} ${topic} ${partition} ${epoch}`
        if (this.#leaders.has(key)) continue
        this.#leaders.add(key)
        if (topic === TOPIC) this.history.add({ op: 'leads', broker, partition, epoch })
        if (topic !== OFFSETS_TOPIC) continue
        for (const { plan } of this.groups) {
          if (partitionOfGroup(plan.name, OFFSETS_PARTITIONS) !== partition) continue
          this.history.add({ op: 'coordinates', group: plan.name, broker, epoch })
        }
      }
    }
    return leaderChanges(this.history.events)
  }

  /** The clients end; then everything is read, and all disks are compared. */
  async finish(): Promise<void> {
    await this.workload.stop()
    await this.workload.readAll(HEALED_WITHIN_MS)
    await Promise.all(this.groups.map((group) => group.finish(DONE_WITHIN_MS)))
    this.gatherLeaders()
    await this.#compareReplicas()
    for (const what of this.cluster.failures) this.history.add({ op: 'trouble', kind: 'broker-died', what })
    for (const broker of this.cluster.ids) {
      for (const line of this.cluster.logOf(broker).split('\n')) {
        const what = `broker ${broker}: ${line.slice(0, 500)}`
        if (BROKEN.test(line)) this.history.add({ op: 'trouble', kind: 'broker-failed', what })
      }
    }
  }

  /** Followers may need a moment for the last bytes. */
  async #compareReplicas(): Promise<void> {
    for (let partition = 0; partition < this.#partitionCount; partition += 1) {
      const voters = (await this.replicasOf(partition)).filter((id) => !this.lost.has(id))
      const held = () =>
        voters.map((broker) => {
          const bytes = this.cluster.logBytes(broker, this.#topicId, partition) ?? Buffer.of()
          const sum = createHash('sha256').update(bytes).digest('hex')
          return { op: 'holds', broker, partition, bytes: bytes.length, sum } as const
        })
      let last = held()
      for (let tries = 0; tries < 100 && new Set(last.map(({ sum }) => sum)).size > 1; tries += 1) {
        await pause(100)
        last = held()
      }
      for (const one of last) this.history.add(one)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.groups.map((group) => group[Symbol.asyncDispose]()))
    await this.#client.close({ timeoutMs: 200 }).catch(() => undefined)
    await this.cluster[Symbol.asyncDispose]()
    await this.redis[Symbol.asyncDispose]()
    await this.#network?.[Symbol.asyncDispose]()
  }
}

const partitionsFor = (groups: readonly GroupPlan[]): number => (groups.length > 0 ? PARTITIONS_OF_GROUPS : PARTITIONS)

const placeOf = (network: Network | undefined, slot: number): readonly string[] =>
  network?.within(`member-${slot}`) ?? []
