// One history of three coordinators and the Redis between them, from one seed: members change topics and leaderships, die and
// come back on the stores they left, while Redis is cut off, stands still, restarts, forgets and is put back. In the end
// all must agree on what was acknowledged. The coordinator is the real one, the brokers around it are not there.

import type {
  CatalogueStore,
  Coordinator,
  OnDisk,
  OwnLeadershipRecord,
  TopicDefinition,
} from '../../broker/coordination/coordinator.ts'
import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { type BrokerId, brokerId, leaderEpoch, type TopicId, topicId } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import type { RedisSnapshot } from './sim-redis.ts'
import { type ProcessHost, SimProcess } from './sim-process.ts'
import { REDIS_URL, SimRedisServer } from './sim-redis-link.ts'
import { Stage, textOf } from './stage.ts'

const MEMBERS = [1, 2, 3].map(brokerId)
const FAULTS_END_MS = 40_000
const AGREE_MS = 60_000
const RETRY_MS = 500

export interface CoordinatorHistory {
  readonly seed: number
  readonly faults: readonly string[]
  readonly digest: string
  readonly trace: readonly string[]
  readonly virtualMs: number
  readonly done: number
  readonly refused: number
}

/** What was promised of one topic. */
interface Owed {
  readonly topic: TopicDefinition
  version: number
  isDeletionAsked: boolean
  isDeleted: boolean
}

/** What a member keeps from life to life. */
class Store implements CatalogueStore, OnDisk {
  readonly topics = new Map<TopicId, TopicDefinition>()
  readonly deleted = new Set<TopicId>()
  readonly led = new Map<string, OwnLeadershipRecord>()
  clusterId: string | undefined

  list(): Iterable<TopicDefinition> {
    return [...this.topics.values()]
  }

  put(topic: TopicDefinition): Promise<void> {
    this.topics.set(topic.topicId, topic)
    return Promise.resolve()
  }

  remove(id: TopicId): Promise<void> {
    this.topics.delete(id)
    this.deleted.add(id)
    return Promise.resolve()
  }

  keepClusterId(clusterId: string): Promise<void> {
    this.clusterId = clusterId
    return Promise.resolve()
  }

  tombstones(): Iterable<TopicId> {
    return this.deleted
  }

  leaderships(): Iterable<OwnLeadershipRecord> {
    return [...this.led.values()].filter(({ topicId: id }) => this.topics.has(id))
  }
}

class Member {
  readonly id: BrokerId
  readonly store = new Store()
  process: SimProcess
  coordinator: Coordinator | undefined
  hasJoined = false
  lives = 0
  readonly #parts: { stage: Stage; server: SimRedisServer; processes: ProcessHost; random: Random }
  /** Epoch and version as they were seen last in this life, by partition. */
  readonly #seen = new Map<string, readonly [epoch: number, version: number]>()

  constructor(id: BrokerId, parts: { stage: Stage; server: SimRedisServer; processes: ProcessHost; random: Random }) {
    this.id = id
    this.#parts = parts
    this.process = new SimProcess(`${id}.0`, parts.processes)
    this.process.die()
  }

  get host(): string {
    return `member-${this.id}`
  }

  start(): void {
    const { processes, random, server, stage } = this.#parts
    if (this.process.isAlive) return
    this.lives += 1
    this.#seen.clear()
    const process = new SimProcess(`${this.host}.${this.lives}`, processes, 1 + (random.fraction() - 0.5) / 10)
    this.process = process
    process.run('start', '', () => {
      this.#begin(process, server).catch((error: unknown) => {
        if (this.process !== process || !process.isAlive) return
        stage.note(this.host, 'start failed', String(error))
        if (!(error instanceof TidemarkError)) stage.fail('crash', `${this.host} started with ${textOf(error)}`)
        this.kill(RETRY_MS)
      })
    })
  }

  kill(downMs: number): void {
    if (!this.process.isAlive) return
    this.#parts.stage.note(this.host, 'dies')
    this.process.die()
    this.coordinator = undefined
    this.hasJoined = false
    this.#parts.stage.scheduler.after(downMs, () => this.start())
  }

  /** Leaves in order and comes back. */
  restart(downMs: number): void {
    const { coordinator, process } = this
    if (coordinator === undefined || !this.hasJoined) return
    this.hasJoined = false
    process.run('stop', '', () => {
      coordinator.stop().then(
        () => {
          if (this.process !== process || !process.isAlive) return
          if (process.pendingTimers > 0) {
            this.#parts.stage.fail('correctness', `${this.host} leaves ${process.pendingTimers} timers behind`)
          }
          this.kill(downMs)
        },
        (error: unknown) => this.#parts.stage.fail('crash', `${this.host} stopped with ${textOf(error)}`),
      )
    })
  }

  async #begin(process: SimProcess, server: SimRedisServer): Promise<void> {
    const { stage, random } = this.#parts
    const incarnation = random.uuid()
    const coordinator = await server.coordinator(
      this.host,
      process,
    )({
      cluster: 'sim',
      brokerId: this.id,
      incarnation,
      store: this.store,
      onDisk: this.store,
      redis: { url: REDIS_URL, sessionTimeoutMs: 6_000 },
      clock: process,
      timers: process,
      random,
      logger: stage.logger(this.host),
    })
    coordinator.subscribe((change) => {
      if (change.kind !== 'leadership-changed') return
      const leadership = coordinator.leaderships.of(change.topicId, change.partition)
      if (leadership === undefined) return
      const { leaderEpoch: epoch = -1, version } = leadership
      const key = `${change.topicId}:${change.partition}`
      const [epochBefore, versionBefore] = this.#seen.get(key) ?? [-1, 0]
      if (epoch < epochBefore || (epoch === epochBefore && version < versionBefore)) {
        const fall = `from ${epochBefore}/${versionBefore} to ${epoch}/${version}`
        stage.fail('correctness', `${this.host}: the leadership of ${key} falls ${fall}`)
      }
      this.#seen.set(key, [epoch, version])
    })
    await coordinator.start()
    await coordinator.join({
      brokerId: this.id,
      incarnation,
      host: this.host,
      port: 9092,
      rack: undefined,
      software: 'simulation',
      startedAt: process.now(),
      directoryId: this.host,
    })
    if (this.process !== process || !process.isAlive) return
    this.coordinator = coordinator
    this.hasJoined = true
  }
}

export async function simulateCoordinators(options: {
  readonly seed: number
  readonly isTraced?: boolean
}): Promise<CoordinatorHistory> {
  const history = new History(options.seed, options.isTraced ?? false)
  return history.run()
}

class History {
  readonly #seed: number
  readonly #stage: Stage
  readonly #server: SimRedisServer
  readonly #members: readonly Member[]
  readonly #random: Random
  readonly #owed = new Map<TopicId, Owed>()
  #isOver = false
  #busy = 0
  #done = 0
  #refused = 0
  #number = 0
  #snapshot: RedisSnapshot | undefined

  constructor(seed: number, isTraced: boolean) {
    this.#seed = seed
    const stage = new Stage(isTraced)
    this.#stage = stage
    const stream = (number: number): Random =>
      seededRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b))
    this.#random = stream(1)
    const onEvent = (who: string, what: string, details: string): void => stage.note(who, what, details)
    this.#server = new SimRedisServer({ scheduler: stage.scheduler, random: stream(2), onEvent })
    const processes: ProcessHost = {
      scheduler: stage.scheduler,
      random: stream(3),
      onUncaught: (process, error) => stage.fail('crash', `${process.name} died of ${textOf(error)}`),
      onEvent: (process, what, details) => stage.note(process.name, what, details),
    }
    const shared = { stage, server: this.#server, processes, random: stream(4) }
    this.#members = MEMBERS.map((id) => new Member(id, shared))
  }

  async run(): Promise<CoordinatorHistory> {
    await this.#stage.watch(() => this.#play())
    const { faults, trace, scheduler } = this.#stage
    return {
      seed: this.#seed,
      faults,
      digest: trace.digest(),
      trace: trace.lines(),
      virtualMs: scheduler.nowMs,
      done: this.#done,
      refused: this.#refused,
    }
  }

  async #play(): Promise<void> {
    const stage = this.#stage
    for (const member of this.#members) member.start()
    this.#act()
    this.#hurt()
    await stage.until(undefined, () => false, FAULTS_END_MS)
    this.#isOver = true
    this.#server.healAll()
    for (const member of this.#members) member.start()
    const areWell = (): boolean => this.#whatIsWrong().length === 0
    if (!(await stage.until(undefined, areWell, AGREE_MS))) {
      for (const wrong of this.#whatIsWrong().slice(0, 5)) stage.fail('liveness', `within ${AGREE_MS} ms: ${wrong}`)
    }
  }

  #whatIsWrong(): string[] {
    const wrong: string[] = this.#busy === 0 ? [] : [`${this.#busy} requests have no answer`]
    const views = this.#members.map((member) => ({ host: member.host, coordinator: member.coordinator }))
    const first = this.#members[0]?.coordinator
    for (const { host, coordinator } of views) {
      if (coordinator === undefined || first === undefined) {
        wrong.push(`${host} is a member`)
        continue
      }
      const health = coordinator.health()
      if (!health.isOk || health.detail.includes('filled again')) wrong.push(`${host} is well: ${health.detail}`)
      if (coordinator.brokers().length < MEMBERS.length) wrong.push(`${host} sees everybody`)
      const theirs = shown(first)
      for (const [id, mine] of shown(coordinator)) {
        if (theirs.get(id) !== mine) wrong.push(`${host} agrees with the first: ${mine} with ${theirs.get(id)}`)
      }
      if (theirs.size > shown(coordinator).size) wrong.push(`${host} has all topics of the first`)
      for (const { topic, version, isDeleted, isDeletionAsked } of this.#owed.values()) {
        const found = coordinator.topics.get(topic.topicId)
        if (isDeleted && found !== undefined) wrong.push(`${topic.name} stays deleted at ${host}`)
        if (!isDeletionAsked && (found?.version ?? 0) < version) {
          wrong.push(`${topic.name} has version ${version} at ${host}, not ${found?.version}`)
        }
      }
    }
    return wrong
  }

  #act(): void {
    this.#stage.scheduler.after(-Math.log(1 - this.#random.fraction()) * 150, () => {
      if (this.#isOver) return
      const member = must(this.#members[this.#random.integer(3)], 'there are three')
      const { coordinator, process } = member
      if (coordinator !== undefined && member.hasJoined) {
        process.run('acts', '', () => {
          this.#busy += 1
          let isSettled = false
          const settle = (): void => {
            if (!isSettled) this.#busy -= 1
            isSettled = true
          }
          process.onDeath(settle)
          this.#request(coordinator, member)
            .catch((error: unknown) => this.#onError(error))
            .finally(settle)
        })
      }
      this.#act()
    })
  }

  #onError(error: unknown): void {
    this.#refused += 1
    const isExpected = error instanceof TidemarkError && error.code === 'COORDINATOR_NOT_AVAILABLE'
    if (!isExpected) this.#stage.fail('correctness', `a request met ${textOf(error)}`)
  }

  /** A request is asked again with the same id until its outcome is known, as a broker does it; or it is given up. */
  async #request(coordinator: Coordinator, member: Member): Promise<void> {
    const kind = this.#random.integer(8)
    const id = `request-${++this.#number}`
    if (kind === 0) await this.#create(coordinator, member, id)
    else if (kind === 1) await this.#delete(coordinator, member, id)
    else if (kind < 4) await this.#change(coordinator, member, id)
    else await this.#suggest(coordinator, member, id)
    this.#done += 1
  }

  async #create(coordinator: Coordinator, { process }: Member, request: string): Promise<void> {
    const topic: TopicDefinition = {
      topicId: topicId(this.#random.uuid()),
      name: `topic-${this.#number}`,
      partitions: 2,
      replicationFactor: 3,
      config: {},
      assignment: [MEMBERS, MEMBERS],
      directories: { 1: 'member-1', 2: 'member-2', 3: 'member-3' },
      version: 1,
      createdAt: process.now(),
    }
    const outcome = await this.#insist(process, () => coordinator.topics.create(request, topic))
    const isDone = outcome?.kind === 'done' || (outcome?.kind === 'exists' && outcome.topic.topicId === topic.topicId)
    if (!isDone) return
    this.#stage.note('oracle', 'created', topic.name)
    this.#owed.set(topic.topicId, { topic, version: 1, isDeletionAsked: false, isDeleted: false })
  }

  async #delete(coordinator: Coordinator, { process }: Member, request: string): Promise<void> {
    const owed = this.#any()
    if (owed === undefined || this.#owed.size < 4) return
    owed.isDeletionAsked = true
    const outcome = await this.#insist(process, () => coordinator.topics.delete(request, owed.topic.topicId))
    if (outcome?.kind !== 'done') return
    this.#stage.note('oracle', 'deleted', owed.topic.name)
    owed.isDeleted = true
  }

  async #change(coordinator: Coordinator, { process }: Member, request: string): Promise<void> {
    const owed = this.#any()
    const current = owed === undefined ? undefined : coordinator.topics.get(owed.topic.topicId)
    if (owed === undefined || current === undefined) return
    const config = { 'retention.ms': String(this.#number) }
    const outcome = await this.#insist(process, () =>
      coordinator.topics.change(request, current.topicId, current.version, { config }),
    )
    if (outcome?.kind !== 'done') return
    owed.version = Math.max(owed.version, current.version + 1)
  }

  async #suggest(coordinator: Coordinator, member: Member, request: string): Promise<void> {
    const owed = this.#any()
    if (owed === undefined) return
    const { topicId: id } = owed.topic
    const partition = this.#random.integer(2)
    const current = coordinator.leaderships.of(id, partition)
    const epoch = leaderEpoch((current?.leaderEpoch ?? 0) + 1)
    const suggestion = { topicId: id, partition, leaderEpoch: epoch }
    const [outcome] =
      (await this.#insist(member.process, () => coordinator.leaderships.suggest(request, [suggestion]))) ?? []
    if (outcome?.kind !== 'done') return
    // Its promise is on its disk.
    const record = { topicId: id, partition, leaderEpoch: epoch, leader: member.id, version: 0, inSyncReplicas: [] }
    member.store.led.set(`${id}:${partition}`, record)
    const { kind } = await coordinator.leaderships.setInSyncReplicas(id, partition, epoch, [...MEMBERS])
    if (kind === 'missing' || this.#random.integer(3) > 0) return
    await coordinator.leaderships.resign(`${request}/2`, [suggestion])
  }

  async #insist<T>(process: SimProcess, ask: () => Promise<T>): Promise<T | undefined> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await ask()
      } catch (error) {
        if (tries >= 5 || !(error instanceof TidemarkError) || !error.retriable) throw error
      }
      // Not by a timer of the process: what the coordinator leaves behind is counted.
      const pauseMs = 200 * tries
      await new Promise<void>((resolve) => {
        this.#stage.scheduler.after(pauseMs, () => process.run('asks again', '', resolve))
      })
    }
  }

  #any(): Owed | undefined {
    const all = [...this.#owed.values()]
    return all[this.#random.integer(all.length)]
  }

  #hurt(): void {
    this.#stage.scheduler.after(-Math.log(1 - this.#random.fraction()) * 2_500, () => {
      if (this.#isOver) return
      this.#beginFault()
      this.#hurt()
    })
  }

  #beginFault(): void {
    const server = this.#server
    const random = this.#random
    const { scheduler } = this.#stage
    const member = must(this.#members[random.integer(3)], 'there are three')
    const later = (meanMs: number, callback: () => void): void =>
      void scheduler.after(meanMs ** random.fraction(), callback)
    const number = random.integer(13)
    this.#stage.note('nemesis', String(number), member.host)
    if (number === 0) return member.kill(10_000 ** random.fraction())
    if (number === 1) return member.restart(1_000 ** random.fraction())
    if (number === 2) return member.process.pause(12_000 ** random.fraction())
    if (number === 3) {
      server.cut(member.host)
      return later(12_000, () => server.heal(member.host))
    }
    if (number === 4) {
      server.standStill()
      return later(12_000, () => server.goOn())
    }
    if (number === 5) {
      server.extraLatencyMs = 1_200 ** random.fraction()
      return later(8_000, () => (server.extraLatencyMs = 0))
    }
    if (number === 6) return server.redis.empty()
    if (number === 7) return server.redis.loseKey('sessions')
    if (number === 8)
      return server.redis.loseKey((['topics', 'names', 'leaders', 'brokers'] as const)[random.integer(4)] ?? 'names')
    if (number === 9) {
      this.#snapshot = server.redis.snapshot()
      return
    }
    if (server.isDown) return
    server.goDown()
    const data = number === 10 ? undefined : number === 11 ? new Map() : this.#snapshot
    return later(8_000, () => server.comeUp(data === undefined ? undefined : structuredClone(data)))
  }
}

/** Everything that members should agree on, a text a topic. */
function shown({ topics, leaderships }: Coordinator): ReadonlyMap<string, string> {
  const entries = [...topics.list()].map((topic): readonly [string, string] => {
    const leaders = [0, 1].map((partition) => {
      const { leader, leaderEpoch: epoch, version, inSyncReplicas } = leaderships.of(topic.topicId, partition) ?? {}
      return [leader, epoch, version, inSyncReplicas]
    })
    return [topic.topicId, JSON.stringify([topic.name, topic.version, topic.config, topic.directories, leaders])]
  })
  return new Map(entries)
}
