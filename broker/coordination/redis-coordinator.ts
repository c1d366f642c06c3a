// Agreement between brokers by way of one Redis. Owns how the parts work together: the connection, the mirror that is read
// locally, the session, and the changes. REDIS.md says what stands in Redis and what its loss means.
//
// Redis is never the truth about data: it decides who tries to lead. All that it holds can be made again from what the
// brokers have on their disks, and is, when it turns out to have forgotten something.

import { createHash } from 'node:crypto'
import { assert } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, LeaderEpoch, TopicId } from '../../shared/ids.ts'
import type { Timer } from '../../shared/time.ts'
import type { Registration } from '../metrics/meter.ts'
import { sleep } from '../../shared/time.ts'
import type {
  BrokerRecord,
  ClusterChange,
  Coordinator,
  CoordinatorContext,
  CoordinatorHealth,
  Leadership,
  LeadershipOutcome,
  Leaderships,
  LeaderSuggestion,
  OnDisk,
  Resignation,
  TopicCatalogue,
  TopicChange,
  TopicDefinition,
  TopicOutcome,
} from './coordinator.ts'
import { checkContract, CONTRACT_SETTINGS, type ContractSetting, isOutOfMemory } from './deployment-contract.ts'
import { RedisConnection, type RedisConnectionOptions, type RedisLink } from './redis-connection.ts'
import { type RedisKeys, redisKeys } from './redis-keys.ts'
import { RedisMirror } from './redis-mirror.ts'
import { leadershipFrom, textsOf, topicFrom, topicText } from './redis-records.ts'
import { CHANGE_LEADERSHIPS, CHANGE_TOPIC, CREATE_TOPIC, DELETE_TOPIC, END_SESSION } from './redis-scripts.ts'
import { RedisSession } from './redis-session.ts'
import { leadershipOf } from './redis-view.ts'
import { changedTopic } from './topic-change.ts'

export interface RedisCoordinatorOptions {
  /** redis://user:password@host:port/database, rediss:// with TLS. */
  readonly url: string
  readonly onDisk: OnDisk
  /** How long a session lives that is not renewed, in milliseconds. */
  readonly sessionTtlMs?: number
  /** How often it is looked for what others have changed, in milliseconds, whether or not it would be told. */
  readonly pollEveryMs?: number
  /** How long Redis is waited for at the start, in milliseconds. */
  readonly startTimeoutMs?: number
  /** Makes the way to Redis; a connection by the network if absent. */
  readonly connect?: (options: RedisConnectionOptions) => RedisLink
}

const SESSION_TTL_MS = 6_000
/** How often Redis is looked at while it tells what is new, and while it does not. */
const POLL_EVERY_MS = { told: 500, untold: 200 } as const
/** Redis is asked for its memory at every so many looks. */
const LOOKS_PER_MEMORY = 20
/** When much is told, it is not looked at every word. */
const HINT_SPACING_MS = 10
const START_TIMEOUT_MS = 5_000
const START_RETRY_MS = 20
const START_SILENT_MS = 500
/** A session is renewed four times in its life, and no answer is waited for longer than until the next renewal. */
const RENEWALS_PER_LIFE = 4
const COMMAND_TIMEOUT_MS_MAX = 1_000
const SUGGESTIONS_PER_SCRIPT_MAX = 2_000
const IN_SYNC_ATTEMPTS_MAX = 5

type LeadershipWork = 'suggest' | 'in-sync' | 'resign'

/** What a script is told of one partition: work, topic, partition, epoch, leader, in-sync replicas, expected version. */
type LeadershipArgs = readonly [
  work: LeadershipWork,
  id: TopicId,
  partition: number,
  epoch: number,
  leader: number | '',
  inSync: string,
  expectedVersion: number | '',
]

/** Coordinators that agree by this Redis. @throws INVALID_OPTION, when it is called, for an address that is none */
export function redisCoordinator(options: RedisCoordinatorOptions): (context: CoordinatorContext) => Coordinator {
  return (context) => new RedisCoordinator(context, options)
}

class RedisCoordinator implements Coordinator {
  readonly topics: TopicCatalogue
  readonly leaderships: Leaderships
  readonly #context: CoordinatorContext
  readonly #options: RedisCoordinatorOptions
  readonly #link: RedisLink
  readonly #keys: RedisKeys
  readonly #mirror: RedisMirror
  readonly #session: RedisSession
  readonly #leaderships: RedisLeaderships
  readonly #listeners = new Set<(change: ClusterChange) => void>()
  readonly #stopping = new AbortController()
  #pollTimer: Timer | undefined
  #hintTimer: Timer | undefined
  /** The version that was told last, until it has been looked for. */
  #hinted = 0
  #upGauge: Registration | undefined
  /** Why the last look at Redis failed; undefined if it did not. */
  #trouble: string | undefined
  /** Monotonic milliseconds of the last look that did not fail. */
  #seenAtMs = 0
  #looks = 0
  /** It answers and renews sessions, and refuses all that would make it larger. */
  #isOutOfMemory = false
  #hasStarted = false
  #hasJoined = false

  constructor(context: CoordinatorContext, options: RedisCoordinatorOptions) {
    this.#context = context
    this.#options = options
    const ttlMs = options.sessionTtlMs ?? SESSION_TTL_MS
    const renewEveryMs = ttlMs / RENEWALS_PER_LIFE
    this.#keys = redisKeys(context.cluster)
    const errors = context.meter?.counter('tidemark_redis_errors_total')
    const connect = options.connect ?? ((parts) => new RedisConnection(parts))
    this.#link = connect({
      url: options.url,
      commandTimeoutMs: Math.min(COMMAND_TIMEOUT_MS_MAX, renewEveryMs),
      clientName: `tidemark-${context.brokerId}`,
      random: context.random,
      logger: context.logger,
      onUp: () => this.#onUp(),
      onFailure: () => {
        // Until it answers for the first time, it is waited for.
        if (this.#hasStarted) errors?.add()
      },
    })
    const shared = { context, link: this.#link, keys: this.#keys }
    this.#mirror = new RedisMirror({
      ...shared,
      onDisk: options.onDisk,
      sessionTtlMs: ttlMs,
      notify: (change) => this.#notify(change),
      onHistory: () => this.#session.hurry(),
    })
    this.#session = new RedisSession({
      ...shared,
      mirror: this.#mirror,
      ttlMs,
      renewEveryMs,
      onLost: (isTaken) => this.#notify({ kind: 'session-lost', isTaken }),
    })
    this.topics = new RedisCatalogue(this.#mirror)
    this.#leaderships = new RedisLeaderships(context, this.#keys, this.#mirror, this.#session)
    this.leaderships = this.#leaderships
  }

  /**
   * Connects, checks what kind of Redis it is, and loads what is agreed on.
   * @throws COORDINATOR_NOT_USABLE, COORDINATOR_NOT_AVAILABLE
   */
  async start(): Promise<void> {
    try {
      this.#link.open()
      await this.#untilUp()
      await this.#checkContract()
      await this.#mirror.sync()
    } catch (error) {
      this.#stopping.abort()
      this.#link.close()
      throw error
    }
    this.#hasStarted = true
    this.#seenAtMs = this.#context.clock.monotonic()
    const isUp = (): boolean => this.#link.isUp && this.#trouble === undefined
    this.#upGauge = this.#context.meter?.gauge('tidemark_redis_up', {}, () => (isUp() ? 1 : 0))
    this.#link.listen?.(
      this.#keys.channel,
      (message) => this.#onHint(Number(message)),
      () => this.#look(),
    )
    this.#poll()
  }

  async join(self: BrokerRecord): Promise<void> {
    assert(self.brokerId === this.#context.brokerId, 'a broker joins as itself')
    await this.#session.begin(self)
    this.#hasJoined = true
    await this.#mirror.sync()
  }

  async announce(self: BrokerRecord): Promise<void> {
    await this.#session.announce(self)
    await this.#mirror.sync()
  }

  brokers(): readonly BrokerRecord[] {
    return this.#stopping.signal.aborted ? [] : this.#mirror.view.brokers()
  }

  lastLifeOf(id: BrokerId): BrokerRecord | undefined {
    return this.#mirror.view.members.get(id)?.broker
  }

  controller(): BrokerId | undefined {
    return this.brokers()[0]?.brokerId
  }

  sessionOf(id: BrokerId): string | undefined {
    return this.#mirror.view.sessionOf(id)
  }

  async endSession(id: BrokerId, session: string): Promise<'done' | 'moved-on'> {
    const reply = await this.#link.run(END_SESSION, [...this.#keys.fixed, this.#keys.session(id)], [id, session])
    await this.#mirror.sync()
    return textsOf(reply)[0] === 'moved-on' ? 'moved-on' : 'done'
  }

  sessionValidUntil(): number {
    return this.#session.lease.validUntil
  }

  health(): CoordinatorHealth {
    const { where } = this.#link
    const successor = this.#session.successor
    if (!this.#hasJoined || this.#stopping.signal.aborted) return { isOk: false, detail: 'not joined' }
    if (successor !== undefined) {
      const detail = `broker-id: the broker at ${successor.host}:${successor.port} has taken the number of this one`
      return { isOk: false, detail }
    }
    const nowMs = this.#context.clock.monotonic()
    if (this.#trouble !== undefined) return { isOk: false, detail: this.#describeTrouble(this.#trouble, nowMs) }
    if (!this.#session.lease.isValidAt(nowMs)) {
      return { isOk: false, detail: `redis ${where}: the session has expired and has not been taken anew` }
    }
    if (this.#isOutOfMemory) {
      const warning = `redis ${where} has used up its memory: no topic is changed, and it is not told who leads; raise maxmemory`
      return { isOk: true, detail: `redis ${where}`, warning }
    }
    const { republishing, unkept } = this.#mirror
    if (unkept !== undefined) return { isOk: true, detail: `redis ${where}; ${unkept}` }
    if (republishing === undefined) return { isOk: true, detail: `redis ${where}` }
    const heard = republishing.length === 0 ? 'none' : republishing.join(', ')
    return { isOk: true, detail: `redis ${where} is being filled again; brokers that have done so: ${heard}` }
  }

  subscribe(listener: (change: ClusterChange) => void): { remove(): void } {
    this.#listeners.add(listener)
    return { remove: () => void this.#listeners.delete(listener) }
  }

  async stop(options?: { readonly immediately?: boolean }): Promise<void> {
    if (this.#stopping.signal.aborted) return
    try {
      const isQuick = options?.immediately === true || !this.#link.isUp
      if (this.#hasJoined && !isQuick) await this.#leaderships.resignAll()
    } catch (error) {
      this.#context.logger.warn({ error: String(error) }, 'the leaderships could not be given back')
    }
    this.#stopping.abort()
    this.#pollTimer?.cancel()
    this.#hintTimer?.cancel()
    this.#upGauge?.remove()
    try {
      await this.#session.end()
    } catch (error) {
      this.#context.logger.warn({ error: String(error) }, 'the session could not be given back; it will expire')
    }
    this.#link.close()
    await this.#mirror.stop()
  }

  /** Commands are refused while there is no connection; the last refusal is the reason. */
  async #untilUp(): Promise<void> {
    const { clock, timers, logger } = this.#context
    const startMs = clock.monotonic()
    const deadlineMs = startMs + (this.#options.startTimeoutMs ?? START_TIMEOUT_MS)
    let isSaid = false
    for (;;) {
      try {
        await this.#link.info('server')
        return
      } catch (error) {
        const isFinal = error instanceof TidemarkError && error.code !== 'COORDINATOR_NOT_AVAILABLE'
        if (isFinal || clock.monotonic() >= deadlineMs) throw atStart(error)
        const isLong = clock.monotonic() - startMs >= START_SILENT_MS
        if (isLong && !isSaid) logger.warn({ redis: this.#link.where }, 'waiting for Redis')
        isSaid ||= isLong
      }
      await sleep(timers, START_RETRY_MS, this.#stopping.signal)
    }
  }

  async #checkContract(): Promise<void> {
    const { logger } = this.#context
    const sections = await Promise.all(
      ['server', 'replication', 'persistence', 'memory'].map((section) => this.#link.info(section)),
    )
    const read = async (name: ContractSetting) => [name, await this.#link.setting(name)] as const
    const entries = await Promise.all(CONTRACT_SETTINGS.map(read))
    const settings = Object.fromEntries(entries) as Record<ContractSetting, string | undefined>
    const findings = checkContract({ info: sections.join('\n'), settings })
    for (const { severity, message } of findings) {
      if (severity === 'warning') logger.warn({ redis: this.#link.where }, message)
    }
    const refused = findings.filter(({ severity }) => severity === 'refused').map(({ message }) => message)
    if (refused.length === 0) return
    throw new TidemarkError(
      'COORDINATOR_NOT_USABLE',
      `redis: ${this.#link.where} cannot be used: ${refused.join('; ')}`,
    )
  }

  #poll(): void {
    if (this.#stopping.signal.aborted) return
    const { timers, random } = this.#context
    const everyMs =
      this.#options.pollEveryMs ?? (this.#link.isListening === true ? POLL_EVERY_MS.told : POLL_EVERY_MS.untold)
    this.#pollTimer?.cancel()
    this.#pollTimer = timers.after(everyMs * (0.8 + random.fraction() * 0.4), () => this.#look())
  }

  /** What was known last is read on while Redis is away. */
  #look(): void {
    const { logger } = this.#context
    const look = async (): Promise<void> => {
      try {
        await this.#mirror.sync()
        await this.#lookAtMemory()
        if (this.#trouble !== undefined) logger.info({ redis: this.#link.where }, 'Redis can be read again')
        this.#trouble = undefined
        this.#seenAtMs = this.#context.clock.monotonic()
      } catch (error) {
        const trouble = error instanceof Error ? error.message : String(error)
        if (this.#trouble === undefined && !this.#stopping.signal.aborted) {
          logger.warn({ error: trouble }, 'Redis cannot be read; what was known last is gone by')
        }
        this.#trouble = trouble
      }
      this.#poll()
    }
    look().catch((error: unknown) => logger.error({ error: String(error) }, 'looking at Redis failed'))
  }

  async #lookAtMemory(): Promise<void> {
    this.#looks += 1
    if (this.#looks % LOOKS_PER_MEMORY !== 0) return
    const { logger } = this.#context
    const isOut = isOutOfMemory(await this.#link.info('memory'))
    if (isOut === this.#isOutOfMemory) return
    this.#isOutOfMemory = isOut
    const redis = this.#link.where
    if (isOut) logger.error({ redis }, 'Redis has used up its memory and refuses changes; raise maxmemory')
    else logger.info({ redis }, 'Redis has memory again')
  }

  /** Somebody, perhaps this broker, has changed something. */
  #onHint(version: number): void {
    if (this.#stopping.signal.aborted || !Number.isSafeInteger(version)) return
    this.#hinted = version
    if (this.#hintTimer === undefined) this.#followHint()
  }

  /** At once, and then not before the spacing is over. */
  #followHint(): void {
    const { timers, logger } = this.#context
    this.#hintTimer = undefined
    if (this.#hinted <= this.#mirror.version) return
    // One look a hint: a Redis that was rolled back may never come to the version that was told.
    this.#hinted = 0
    this.#hintTimer = timers.after(HINT_SPACING_MS, () => this.#followHint())
    // Whatever fails here is seen, and said, by the next look.
    this.#mirror.sync().catch((error: unknown) => logger.debug({ error: String(error) }, 'a hint came to nothing'))
  }

  #describeTrouble(trouble: string, nowMs: number): string {
    const { validUntil } = this.#session.lease
    const silentSeconds = Math.floor((nowMs - this.#seenAtMs) / 1000)
    const lease =
      validUntil > nowMs
        ? `the session lasts another ${Math.ceil((validUntil - nowMs) / 1000)} s`
        : 'the session is over'
    return `redis: ${this.#link.where} not answering for ${silentSeconds} s, ${lease} (${trouble})`
  }

  #onUp(): void {
    if (!this.#hasStarted || this.#stopping.signal.aborted) return
    this.#pollTimer?.cancel()
    this.#look()
    this.#session.hurry()
  }

  /** Ended by a peer, or by the clock of Redis: the sooner it is taken anew, the fewer take this broker for gone. */
  #followOwnSession(): void {
    const seen = this.#mirror.view.sessionOf(this.#context.brokerId)
    if (this.#hasJoined && seen !== this.#session.current) this.#session.hurry()
  }

  #notify(change: ClusterChange): void {
    if (change.kind === 'brokers-changed') this.#followOwnSession()
    for (const listener of this.#listeners) listener(change)
  }
}

class RedisCatalogue implements TopicCatalogue {
  readonly #mirror: RedisMirror

  constructor(mirror: RedisMirror) {
    this.#mirror = mirror
  }

  list(): Iterable<TopicDefinition> {
    return this.#mirror.view.topics.values()
  }

  byName(name: string): TopicDefinition | undefined {
    return this.#mirror.view.byName(name)
  }

  get(id: TopicId): TopicDefinition | undefined {
    return this.#mirror.view.topics.get(id)
  }

  async create(requestId: string, topic: TopicDefinition): Promise<TopicOutcome> {
    const args = [hashOf('create', requestId), topic.topicId, topic.name, topicText(topic)]
    const reply = await this.#mirror.change(CREATE_TOPIC, [], args)
    if (reply[0] === 'deleted') {
      throw new TidemarkError('INVALID_ARGUMENT', `topic ${topic.name}: its id is that of a deleted topic`)
    }
    return this.#kept(await this.#outcomeOf(reply))
  }

  async change(requestId: string, id: TopicId, expectedVersion: number, change: TopicChange): Promise<TopicOutcome> {
    if (this.get(id)?.version !== expectedVersion) await this.#mirror.sync()
    this.#checkKept(id)
    const current = this.get(id)
    // Another version than the expected one makes a conflict, so what it would be changed to does not matter.
    const next = current === undefined ? '' : topicText(changedTopic(current, change, expectedVersion + 1))
    const args = [hashOf('change', requestId), id, expectedVersion, next]
    return this.#kept(await this.#outcomeOf(await this.#mirror.change(CHANGE_TOPIC, [], args)))
  }

  async delete(requestId: string, id: TopicId): Promise<TopicOutcome> {
    const outcome = await this.#outcomeOf(
      await this.#mirror.change(DELETE_TOPIC, [], [hashOf('delete', requestId), id]),
    )
    this.#checkKept(id)
    if (outcome.kind === 'done' && this.get(id) !== undefined) throw forgotten(outcome.topic)
    return outcome
  }

  /** @throws what this broker's store has thrown where it does not have the topic as it is in the cluster */
  #checkKept(id: TopicId): void {
    const why = this.#mirror.whyNotKept(id)
    if (why !== undefined) throw why
  }

  /** Redis may have lost it again before this broker's disk had it: then it is not known whether it will be. */
  #kept(outcome: TopicOutcome): TopicOutcome {
    if (outcome.kind !== 'done') return outcome
    const { topic } = outcome
    this.#checkKept(topic.topicId)
    const { topics, tombstones } = this.#mirror.view
    const isKept = (topics.get(topic.topicId)?.version ?? -1) >= topic.version || tombstones.has(topic.topicId)
    if (!isKept) throw forgotten(topic)
    return outcome
  }

  /** It is told only when this broker's own disk has it too. */
  async #outcomeOf([kind = '', text = '']: readonly string[]): Promise<TopicOutcome> {
    await this.#mirror.sync()
    if (kind === 'missing') return { kind }
    if (kind === 'done' || kind === 'exists' || kind === 'conflict') return { kind, topic: topicFrom(text) }
    throw new TidemarkError('COORDINATOR_NOT_USABLE', `Redis answered a change of a topic with ${kind}`)
  }
}

class RedisLeaderships implements Leaderships {
  readonly #context: CoordinatorContext
  readonly #keys: RedisKeys
  readonly #mirror: RedisMirror
  readonly #session: RedisSession

  constructor(context: CoordinatorContext, keys: RedisKeys, mirror: RedisMirror, session: RedisSession) {
    this.#context = context
    this.#keys = keys
    this.#mirror = mirror
    this.#session = session
  }

  of(id: TopicId, partition: number): Leadership | undefined {
    return this.#mirror.view.leadershipOf(id, partition)
  }

  async claim(id: TopicId, partition: number, leaderEpoch: LeaderEpoch): Promise<LeadershipOutcome> {
    const [outcome] = await this.suggest(this.#context.random.uuid(), [{ topicId: id, partition, leaderEpoch }])
    return outcome ?? { kind: 'missing' }
  }

  suggest(requestId: string, suggestions: readonly LeaderSuggestion[]): Promise<readonly LeadershipOutcome[]> {
    const self = this.#context.brokerId
    const all = suggestions.map((one): LeadershipArgs => {
      const { topicId, partition, leaderEpoch, leader = self, inSyncReplicas = [leader], expectedVersion = '' } = one
      return ['suggest', topicId, partition, leaderEpoch, leader, inSyncReplicas.join(','), expectedVersion]
    })
    return this.#change(hashOf('suggest', requestId), all)
  }

  resign(requestId: string, resignations: readonly Resignation[]): Promise<readonly LeadershipOutcome[]> {
    const all = resignations.map(({ topicId, partition, leaderEpoch }): LeadershipArgs => [
      'resign',
      topicId,
      partition,
      leaderEpoch,
      '',
      '',
      '',
    ])
    return this.#change(hashOf('resign', requestId), all)
  }

  /** By its version, so that a change which is applied late does not undo a later one. */
  async setInSyncReplicas(
    id: TopicId,
    partition: number,
    leaderEpoch: LeaderEpoch,
    inSyncReplicas: readonly BrokerId[],
  ): Promise<LeadershipOutcome> {
    const request = hashOf('in-sync', this.#context.random.uuid())
    let version = this.of(id, partition)?.version ?? 0
    for (let attempt = 1; ; attempt += 1) {
      const args: LeadershipArgs = ['in-sync', id, partition, leaderEpoch, '', inSyncReplicas.join(','), version]
      const [outcome] = await this.#change(request, [args])
      if (outcome?.kind !== 'fenced' || attempt === IN_SYNC_ATTEMPTS_MAX) return outcome ?? { kind: 'missing' }
      const { leadership } = outcome
      const isOwn = leadership.leader === this.#context.brokerId && leadership.leaderEpoch === leaderEpoch
      if (!isOwn || leadership.version === version) return outcome
      version = leadership.version
    }
  }

  /** All that this broker leads. */
  async resignAll(): Promise<void> {
    const own: Resignation[] = []
    for (const topic of this.#mirror.view.topics.values()) {
      for (let partition = 0; partition < topic.partitions; partition += 1) {
        const { leader, leaderEpoch } = this.of(topic.topicId, partition) ?? {}
        if (leader !== this.#context.brokerId || leaderEpoch === undefined) continue
        own.push({ topicId: topic.topicId, partition, leaderEpoch })
      }
    }
    if (own.length > 0) await this.resign(this.#context.random.uuid(), own)
  }

  async #change(request: string, all: readonly LeadershipArgs[]): Promise<readonly LeadershipOutcome[]> {
    const { brokerId } = this.#context
    const outcomes: LeadershipOutcome[] = []
    for (let start = 0; start < all.length; start += SUGGESTIONS_PER_SCRIPT_MAX) {
      const part = all.slice(start, start + SUGGESTIONS_PER_SCRIPT_MAX)
      const args = [request, brokerId, this.#session.current, ...part.flat()]
      const [kind, ...pairs] = await this.#mirror.change(CHANGE_LEADERSHIPS, [this.#keys.session(brokerId)], args)
      if (kind === 'no-session') {
        throw new TidemarkError('COORDINATOR_NOT_AVAILABLE', 'this broker is not a member of the cluster at the moment')
      }
      await this.#mirror.sync()
      outcomes.push(...part.map((one, index) => this.#outcomeOf(one, pairs[2 * index], pairs[2 * index + 1])))
    }
    return outcomes
  }

  #outcomeOf([, id, partition]: LeadershipArgs, kind: string | undefined, text: string | undefined): LeadershipOutcome {
    const topic = this.#mirror.view.topics.get(id)
    if (topic === undefined || (kind !== 'done' && kind !== 'fenced')) return { kind: 'missing' }
    const record = text === undefined || text === '' ? undefined : leadershipFrom(text)
    return { kind, leadership: leadershipOf(topic, partition, record) }
  }
}

function forgotten({ name }: TopicDefinition): TidemarkError {
  return new TidemarkError('COORDINATOR_NOT_AVAILABLE', `redis has lost the change of topic ${name} that was made`)
}

/** What users choose goes into a value of fixed length. */
function hashOf(what: string, requestId: string): string {
  return createHash('sha256').update(`${what} ${requestId}`).digest('hex').slice(0, 40)
}

/** At the start it is for the operator to do something, whatever the reason. */
function atStart(error: unknown): unknown {
  if (!(error instanceof TidemarkError) || error.code !== 'COORDINATOR_NOT_AVAILABLE') return error
  const message = `${error.message}; start Redis there, or correct the address`
  return new TidemarkError('COORDINATOR_NOT_USABLE', message, { cause: error })
}
