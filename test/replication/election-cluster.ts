// Several brokers with many replicas each, as far as elections go, in virtual time: the real electors, the real rules of
// every replica and the real coordinator over a simulated Redis. Between them stands no more than has to: links that break
// when a process dies, promises that take a moment to become durable, logs in memory. Records are not written here, but
// for those that an epoch begins with.

import type { CatalogueStore, Coordinator, TopicDefinition } from '../../broker/coordination/coordinator.ts'
import { LeaderElector, type ElectableReplica } from '../../broker/replication/leader-elector.ts'
import type { PeerAnswer, PeerRequest, Peers } from '../../broker/replication/peers.ts'
import { ReplicaState } from '../../broker/replication/replica-state.ts'
import type {
  FetchAnswer,
  FetchPosition,
  ReplicaEffect,
  ReplicaEvent,
  ReplicaPromise,
  Role,
} from '../../broker/replication/replication-events.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { assert, must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import {
  type BrokerId,
  brokerId,
  type LeaderEpoch,
  offset,
  timestampMs,
  type TopicId,
  topicId,
} from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { type Random, seededRandom } from '../../shared/random.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import { Scheduler } from '../simulation/scheduler.ts'
import { SimProcess } from '../simulation/sim-process.ts'
import { SimRedisServer } from '../simulation/sim-redis-link.ts'
import { type Entry, ModelLog } from './model-log.ts'

const LATENCY_MS = 0.5
const PROMISE_MS = 2
const FENCE_EVERY_MS = 100
const TICK_EVERY_MS = 250
const PUBLISH_RETRY_MS = 300
const SILENCE_MS = 500
const RESTART_MS = 1_000
const TOPIC = 'orders'

type PeerListener = Parameters<Peers['subscribe']>[0]

/** What a broker keeps from life to life, of one partition. */
interface Disk {
  readonly log: ModelLog
  promise: ReplicaPromise | undefined
}

export interface Campaign {
  readonly atMs: number
  readonly broker: BrokerId
  readonly partition: number
  readonly reason: string
}

export class ElectionCluster {
  readonly scheduler = new Scheduler()
  readonly random: Random
  readonly redis: SimRedisServer
  readonly topic: TopicDefinition
  readonly minInSyncReplicas: number
  readonly brokers = new Map<BrokerId, ElectionBroker>()
  readonly campaigns: Campaign[] = []
  /** Of each replica; it costs the most. */
  fetchEveryMs = 100
  readonly fences: { readonly atMs: number; readonly from: BrokerId; readonly to: BrokerId }[] = []
  /** Pairs of brokers that do not reach each other. */
  readonly cuts = new Set<string>()

  constructor(seed: number, assignment: readonly (readonly number[])[], minInSyncReplicas = 2) {
    this.random = seededRandom(seed)
    this.minInSyncReplicas = minInSyncReplicas
    this.redis = new SimRedisServer({ scheduler: this.scheduler, random: this.random, onEvent: () => undefined })
    const ids = [...new Set(assignment.flat())]
    this.topic = {
      topicId: topicId(this.random.uuid()),
      name: TOPIC,
      partitions: assignment.length,
      replicationFactor: assignment[0]?.length ?? 1,
      config: {},
      version: 1,
      createdAt: timestampMs(1),
      assignment: assignment.map((replicas) => replicas.map((id) => brokerId(id))),
      directories: Object.fromEntries(ids.map((id) => [String(id), `disk-${id}`])),
    }
    for (const id of ids.sort((one, other) => one - other))
      this.brokers.set(brokerId(id), new ElectionBroker(this, brokerId(id)))
  }

  broker(id: number): ElectionBroker {
    return must(this.brokers.get(brokerId(id)), 'the cluster has such a broker')
  }

  /** All brokers run, and the topic exists. */
  async begin(): Promise<void> {
    for (const broker of this.brokers.values()) broker.start()
    const first = this.broker(1)
    const { size } = this.brokers
    const isComplete = (one: ElectionBroker): boolean => one.hasJoined && one.coordinator.brokers().length === size
    await this.until(() => [...this.brokers.values()].every(isComplete))
    first.process.run('create', '', () => void first.coordinator.topics.create('create', this.topic))
    await this.until(() => this.isLed())
  }

  async run(ms: number): Promise<void> {
    const untilMs = this.scheduler.nowMs + ms
    await this.scheduler.run(() => false, untilMs)
    this.scheduler.nowMs = untilMs
  }

  /** Milliseconds that it took, to the next of 5. @throws InvariantError when it does not come true in time */
  async until(isTrue: () => boolean, withinMs = 60_000): Promise<number> {
    const fromMs = this.scheduler.nowMs
    while (!isTrue()) {
      assert(this.scheduler.nowMs < fromMs + withinMs, 'what is waited for comes true')
      await this.run(5)
    }
    return this.scheduler.nowMs - fromMs
  }

  leaderOf(partition: number): BrokerId | undefined {
    let found: ElectionReplica | undefined
    for (const broker of this.brokers.values()) {
      const replica = broker.replicas.get(partition)
      if (!broker.process.isAlive || replica?.role !== 'leader') continue
      if ((found?.leaderEpoch ?? -1) < (replica.leaderEpoch ?? 0)) found = replica
    }
    return found?.broker.id
  }

  leaders(): readonly (BrokerId | undefined)[] {
    return Array.from({ length: this.topic.partitions }, (_, partition) => this.leaderOf(partition))
  }

  /** Every partition has a leader among the brokers that run. */
  isLed(): boolean {
    return this.leaders().every((leader) => leader !== undefined)
  }

  /** As a broker has them from the coordinator. */
  agreedLeaders(id: number): readonly (BrokerId | undefined)[] {
    const { leaderships } = this.broker(id).coordinator
    return this.leaders().map((_, partition) => leaderships.of(this.topic.topicId, partition)?.leader)
  }

  isCut(one: BrokerId, other: BrokerId): boolean {
    return this.cuts.has(`${one} ${other}`) || this.cuts.has(`${other} ${one}`)
  }

  cut(one: number, other: number): void {
    this.cuts.add(`${one} ${other}`)
    this.broker(one).peers.lose(brokerId(other))
    this.broker(other).peers.lose(brokerId(one))
  }
}

export class ElectionBroker {
  readonly id: BrokerId
  readonly cluster: ElectionCluster
  readonly replicas = new Map<number, ElectionReplica>()
  readonly #disks = new Map<number, Disk>()
  readonly #untold = new Set<ElectionReplica>()
  readonly #store = new Map<string, TopicDefinition>()
  process: SimProcess
  meter = new SlotMeter()
  lastReason = ''
  lives = 0
  hasJoined = false
  #life: { readonly coordinator: Coordinator; readonly elector: LeaderElector; readonly peers: MemoryPeers } | undefined

  constructor(cluster: ElectionCluster, id: BrokerId) {
    this.cluster = cluster
    this.id = id
    this.process = this.#newProcess()
    this.process.die()
  }

  get coordinator(): Coordinator {
    return must(this.#life, 'it has been started').coordinator
  }

  get elector(): LeaderElector {
    return must(this.#life, 'it has been started').elector
  }

  get peers(): MemoryPeers {
    return must(this.#life, 'it has been started').peers
  }

  start(): void {
    const { cluster, id } = this
    this.lives += 1
    this.hasJoined = false
    this.process = this.#newProcess()
    this.meter = new SlotMeter()
    const { process } = this
    const incarnation = cluster.random.uuid()
    const store: CatalogueStore = {
      list: () => this.#store.values(),
      put: (topic) => Promise.resolve(void this.#store.set(topic.topicId, topic)),
      remove: (gone) => Promise.resolve(void this.#store.delete(gone)),
    }
    // The elector says why it does what it does.
    const logger = {
      ...silentLogger,
      info: (fields: object) => void ('reason' in fields && (this.lastReason = String(fields.reason))),
    }
    const parts = { clock: process, timers: process, random: cluster.random, logger }
    const context = { ...parts, cluster: 'elections', brokerId: id, incarnation, store }
    const factory = cluster.redis.coordinator(`broker-${id}`, process)
    const peers = new MemoryPeers(this)
    const run = async (): Promise<void> => {
      const coordinator = await factory(context)
      const elector = new LeaderElector({
        ...parts,
        brokerId: id,
        replicas: () => this.replicas.values(),
        find: (topic, partition) => (topic === cluster.topic.topicId ? this.replicas.get(partition) : undefined),
        coordinator,
        peers,
        meter: this.meter,
      })
      this.#life = { coordinator, elector, peers }
      await coordinator.start()
      coordinator.subscribe((change) => {
        if (change.kind === 'topic-created') this.#openAll()
        if (change.kind === 'leadership-changed') this.#hear(change.topicId, change.partition)
      })
      const directoryId = `disk-${id}`
      const record = { host: `broker-${id}`, port: 1, rack: undefined, software: '', startedAt: timestampMs(1) }
      await coordinator.join({ ...record, brokerId: id, incarnation, directoryId })
      peers.connectAll()
      elector.start()
      this.hasJoined = true
      if (coordinator.topics.get(cluster.topic.topicId) !== undefined) this.#openAll()
      this.#tick()
    }
    process.run('start', '', () => {
      run().catch((error: unknown) => {
        if (!process.isAlive) return
        // Without Redis it ends; whoever looks after it starts it again.
        assert(error instanceof TidemarkError, 'a start fails for a reason')
        this.kill()
        cluster.scheduler.after(RESTART_MS, () => {
          if (!this.process.isAlive) this.start()
        })
      })
    })
  }

  /** As kill -9: nothing of it runs any more, and its port refuses connections. */
  kill(): void {
    this.process.die()
    this.replicas.clear()
    this.#untold.clear()
    for (const other of this.cluster.brokers.values()) if (other !== this) other.peersIfAny?.lose(this.id)
  }

  get peersIfAny(): MemoryPeers | undefined {
    return this.process.isAlive ? this.#life?.peers : undefined
  }

  send(to: BrokerId, partition: number, deliver: (replica: ElectionReplica) => void): void {
    const { cluster } = this
    const target = must(cluster.brokers.get(to), 'replicas are on brokers')
    if (cluster.isCut(this.id, to)) return
    cluster.scheduler.after(LATENCY_MS, () => {
      target.process.run('message', '', () => {
        const replica = target.replicas.get(partition)
        if (replica !== undefined) deliver(replica)
      })
    })
  }

  diskOf(partition: number): Disk {
    let disk = this.#disks.get(partition)
    if (disk === undefined) {
      disk = { log: new ModelLog('os'), promise: undefined }
      this.#disks.set(partition, disk)
    }
    return disk
  }

  /** All of one turn together, and what could not be told again. */
  publish(replica: ElectionReplica): void {
    if (this.#untold.size === 0) this.process.atEndOfTurn(() => this.#publishAll())
    this.#untold.add(replica)
  }

  #publishAll(): void {
    const replicas = [...this.#untold]
    this.#untold.clear()
    const suggestions = replicas.flatMap(({ identity: { topicId: id, partition }, leaderEpoch, state }) => {
      const { inSyncReplicas } = state
      return leaderEpoch === undefined ? [] : [{ topicId: id, partition, leaderEpoch, inSyncReplicas }]
    })
    this.coordinator.leaderships.suggest(this.cluster.random.uuid(), suggestions).catch(() => {
      this.process.after(PUBLISH_RETRY_MS, () => {
        for (const replica of replicas) this.publish(replica)
      })
    })
  }

  #newProcess(): SimProcess {
    return new SimProcess(`broker-${this.id}.${this.lives}`, {
      scheduler: this.cluster.scheduler,
      random: this.cluster.random,
      onEvent: () => undefined,
      onUncaught: (_process, error) => {
        throw error
      },
    })
  }

  #openAll(): void {
    for (const [partition, replicas] of (this.cluster.topic.assignment ?? []).entries()) {
      if (!replicas.includes(this.id) || this.replicas.has(partition)) continue
      const replica = new ElectionReplica(this, partition)
      this.replicas.set(partition, replica)
      replica.open()
      this.#hear(this.cluster.topic.topicId, partition)
      this.elector.onReplicaOpened(replica)
    }
  }

  #hear(id: TopicId, partition: number): void {
    const known = this.coordinator.leaderships.of(id, partition)
    const replica = this.replicas.get(partition)
    if (known?.leader === undefined || known.leaderEpoch === undefined || known.leader === this.id) return
    if (known.leaderEpoch < (replica?.state.promise?.epoch ?? 0)) return
    replica?.step({ kind: 'leader-announced', leader: known.leader, epoch: known.leaderEpoch })
  }

  #tick(): void {
    for (const replica of this.replicas.values()) {
      if (replica.role !== 'follower') replica.step({ kind: 'tick', now: this.process.monotonic() })
    }
    this.process.after(TICK_EVERY_MS, () => this.#tick())
  }
}

export class ElectionReplica implements ElectableReplica {
  readonly broker: ElectionBroker
  readonly identity: ElectableReplica['identity']
  readonly state: ReplicaState
  readonly #disk: Disk
  #fetches = 0

  constructor(broker: ElectionBroker, partition: number) {
    const { topic, minInSyncReplicas } = broker.cluster
    const assignment = must(topic.assignment?.[partition], 'the partition is assigned')
    const voters = assignment.map((id) => ({ brokerId: id, directoryId: `disk-${id}` }))
    const directoryId = `disk-${broker.id}`
    this.broker = broker
    this.identity = {
      topic: topic.name,
      topicId: topic.topicId,
      partition,
      assignment,
    }
    this.#disk = broker.diskOf(partition)
    const { log, promise } = this.#disk
    this.state = new ReplicaState({
      self: broker.id,
      directoryId,
      incarnation: broker.lives,
      voters,
      minInSyncReplicas,
      log,
      promise,
      highWatermark: offset(0),
      isSuspect: false,
    })
  }

  get role(): Role {
    return this.state.role
  }

  get hasHoles(): boolean {
    return this.#disk.log.hasHoles
  }

  get leader(): BrokerId | undefined {
    return this.role === 'leader' ? this.broker.id : this.state.following
  }

  get leaderEpoch(): LeaderEpoch | undefined {
    return this.state.leaderEpoch
  }

  open(): void {
    this.step({ kind: 'lease-held', now: this.#now })
    this.step({ kind: 'log-opened' })
  }

  campaign(epochHint: LeaderEpoch | undefined): void {
    const { cluster, id } = this.broker
    cluster.campaigns.push({
      atMs: cluster.scheduler.nowMs,
      broker: id,
      partition: this.identity.partition,
      reason: this.broker.lastReason,
    })
    this.step({ kind: 'campaign-suggested', epochHint, now: this.#now })
  }

  handOver(to: BrokerId): void {
    this.step({ kind: 'hand-over-asked', to, now: this.#now })
  }

  step(event: ReplicaEvent, entries: readonly Entry[] = []): void {
    const effects: ReplicaEffect[] = []
    const { log } = this.#disk
    const end = log.logEndOffset
    this.state.step(event, effects)
    for (const effect of effects) this.#run(effect, entries)
    if (log.logEndOffset > end) this.step({ kind: 'records-appended' })
  }

  get #now(): number {
    return this.broker.process.monotonic()
  }

  #run(effect: ReplicaEffect, entries: readonly Entry[]): void {
    const { broker } = this
    const from = broker.id
    const { log } = this.#disk
    switch (effect.kind) {
      case 'persist-promise':
        broker.process.after(PROMISE_MS, () => {
          this.#disk.promise = effect.promise
          this.step({ kind: 'promise-persisted', promise: effect.promise })
        })
        return
      case 'send-fence':
        return this.#fence(effect.to, effect.epoch)
      case 'grant-fence':
        return this.#send(effect.to, { kind: 'fence-granted', grant: effect.grant, now: 0 })
      case 'refuse-fence': {
        const { epoch, promisedEpoch, leader } = effect
        return this.#send(effect.to, { kind: 'fence-refused', from, epoch, promisedEpoch, leader })
      }
      case 'append-epoch-start':
        log.append({ epoch: effect.epoch, value: 0, lossAcceptedIn: effect.lossAcceptedIn })
        return
      case 'publish-leadership':
        for (const to of this.identity.assignment) {
          if (to !== from) this.#send(to, { kind: 'leader-announced', leader: from, epoch: effect.epoch })
        }
        return broker.publish(this)
      case 'abandon-campaign':
        return broker.elector.onCampaignAbandoned(this, effect.epochSeen)
      case 'suggest-leader':
        if (effect.to === from) return void broker.process.after(0, () => this.campaign(effect.epochSeen))
        return broker.send(effect.to, this.identity.partition, (replica) => replica.campaign(effect.epochSeen))
      case 'start-fetching':
        return this.#fetch((this.#fetches += 1))
      case 'stop-fetching':
        this.#fetches += 1
        return
      case 'answer-fetch':
        return this.#answer(effect.fetch, effect.answer)
      case 'append-records':
        for (const entry of entries) log.append(entry)
        return
      case 'truncate-to':
        log.truncate(effect.offset)
        return void broker.process.after(PROMISE_MS, () => this.step({ kind: 'log-truncated' }))
      default:
    }
  }

  /** Again while it matters: the other broker may not know of the partition yet. */
  #fence(to: BrokerId, epoch: LeaderEpoch): void {
    if (this.role !== 'candidate' || this.state.promise?.epoch !== epoch) return
    const { cluster, id } = this.broker
    cluster.fences.push({ atMs: Math.floor(cluster.scheduler.nowMs), from: id, to })
    this.#send(to, { kind: 'fence-received', candidate: id, epoch })
    this.broker.process.after(FENCE_EVERY_MS, () => this.#fence(to, epoch))
  }

  #fetch(run: number): void {
    if (run !== this.#fetches) return
    const fetch = this.state.fetchPosition()
    const leader = this.state.following
    if (fetch === undefined || leader === undefined) return
    this.#send(leader, { kind: 'replica-fetched', fetch: { ...fetch, hasHoles: this.hasHoles }, now: 0 })
    this.broker.process.after(this.broker.cluster.fetchEveryMs, () => this.#fetch(run))
  }

  #answer(fetch: FetchPosition, answer: FetchAnswer): void {
    const { leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch } = fetch
    const echo = { from: this.broker.id, leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch }
    switch (answer.kind) {
      case 'records': {
        const { highWatermark, clearsSuspect } = answer
        const entries = this.#disk.log.read(fetchOffset, 10)
        const isEmpty = entries.length === 0
        const event = { kind: 'records-received', echo, highWatermark, clearsSuspect, isEmpty } as const
        return this.#send(fetch.from, event, entries)
      }
      case 'diverging':
        return this.#send(fetch.from, { ...answer, kind: 'divergence-received', echo })
      case 'log-start':
        return this.#send(fetch.from, { ...answer, kind: 'log-start-received', echo })
      case 'refused': {
        if (answer.error !== 'NOT_LEADER_OR_FOLLOWER') return undefined
        const leader = this.broker.id
        return this.broker.send(fetch.from, this.identity.partition, (replica) => {
          replica.broker.elector.onLeaderRefused(replica, leader)
        })
      }
      default:
    }
  }

  #send(to: BrokerId, event: ReplicaEvent, entries: readonly Entry[] = []): void {
    this.broker.send(to, this.identity.partition, (replica) => {
      replica.step('now' in event ? { ...event, now: replica.#now } : event, entries)
    })
  }
}

/** Links between processes: they break when one dies, and stand while one sleeps. */
export class MemoryPeers implements Peers {
  readonly #broker: ElectionBroker
  readonly #connected = new Set<BrokerId>()
  readonly #listeners = new Set<PeerListener>()

  constructor(broker: ElectionBroker) {
    this.#broker = broker
  }

  connectAll(): void {
    const { cluster, id } = this.#broker
    for (const other of cluster.brokers.values()) {
      if (other.id === id || !other.hasJoined || other.peersIfAny === undefined || cluster.isCut(id, other.id)) continue
      this.#connect(other.id)
      other.peers.#connect(id)
    }
  }

  lose(peer: BrokerId): void {
    this.#change('lost', peer)
  }

  async ask<Name extends PeerRequest>(to: BrokerId, name: Name, request: RequestOf<Name>): Promise<PeerAnswer<Name>> {
    const { cluster, id } = this.#broker
    const target = must(cluster.brokers.get(to), 'only brokers are asked')
    if (!this.isConnected(to)) throw new TidemarkError('CONNECTION_FAILED', 'there is no connection')
    assert(name === 'probeBroker', 'electors ask nothing else')
    return new Promise((resolve, reject) => {
      cluster.scheduler.after(LATENCY_MS, () => {
        target.process.run('probe', '', () => {
          target.elector.probeBroker(request as RequestOf<'probeBroker'>).then((body) => {
            cluster.scheduler.after(LATENCY_MS, () => {
              if (cluster.isCut(id, to)) return
              this.#broker.process.run('answer', '', () =>
                resolve({ body, tail: new Uint8Array() } as PeerAnswer<Name>),
              )
            })
          }, reject)
        })
      })
    })
  }

  isConnected(to: BrokerId): boolean {
    return this.#connected.has(to)
  }

  isRefusing(to: BrokerId): Promise<boolean> {
    const { cluster, id, process } = this.#broker
    const target = cluster.brokers.get(to)
    const isMember = this.#broker.coordinator.brokers().some((member) => member.brokerId === to)
    if (target === undefined || !isMember) return Promise.resolve(false)
    return new Promise((resolve) => {
      const isSilent = cluster.isCut(id, to)
      process.after(isSilent ? SILENCE_MS : LATENCY_MS, () => resolve(!isSilent && !target.process.isAlive))
    })
  }

  subscribe(listener: PeerListener): { remove(): void } {
    this.#listeners.add(listener)
    return { remove: () => void this.#listeners.delete(listener) }
  }

  #connect(peer: BrokerId): void {
    this.#change('connected', peer)
  }

  #change(kind: 'connected' | 'lost', peer: BrokerId): void {
    const { process, cluster } = this.#broker
    cluster.scheduler.after(LATENCY_MS, () => {
      process.run(kind, '', () => {
        const isChanged = kind === 'connected' ? !this.#connected.has(peer) : this.#connected.has(peer)
        if (kind === 'connected') this.#connected.add(peer)
        else this.#connected.delete(peer)
        if (isChanged) for (const listener of this.#listeners) listener({ kind, peer })
      })
    })
  }
}
