// Keeps this broker's view of the cluster in step with Redis, and Redis in step with what the brokers know when it has
// forgotten something. Owns the order of reading, judging, republishing and telling; the rules are in redis-watch.ts,
// redis-view.ts and redis-merge.ts, the changes themselves in the scripts.
//
// Invariants: one synchronisation at a time; a topic is in the view only once this broker's own store has it, unless another
// one has its name there; the cursor moves only past what has been taken in, or stands among the topics that the store did
// not keep, which are tried again.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, TopicId } from '../../shared/ids.ts'
import { brokerId, topicId } from '../../shared/ids.ts'
import type { ClusterChange, CoordinatorContext, OnDisk, TopicDefinition } from './coordinator.ts'
import type { RedisLink } from './redis-connection.ts'
import type { RedisKeys } from './redis-keys.ts'
import { leadershipFrom, listOf, memberFrom, partitionFrom, textsOf, topicFrom } from './redis-records.ts'
import {
  betterThan,
  lostLeaderships,
  lostMembers,
  lostTopics,
  type Merged,
  nameOf,
  objectsFrom,
  type RedisObject,
} from './redis-merge.ts'
import { BEGIN_HISTORY, MERGE, READ, REPUBLISHED, type RedisScript } from './redis-scripts.ts'
import { ClusterView } from './redis-view.ts'
import { judge, type RedisCounts, type RedisHead } from './redis-watch.ts'

export interface MirrorOptions {
  readonly context: CoordinatorContext
  readonly link: RedisLink
  readonly keys: RedisKeys
  readonly onDisk: OnDisk
  readonly sessionTtlMs: number
  readonly notify: (change: ClusterChange) => void
  /** Redis has begun another history: sessions are gone, perhaps. */
  readonly onHistory: () => void
}

/** A topic, or a change or deletion of one, that this broker's store has refused. */
interface UnkeptTopic {
  readonly object: RedisObject
  readonly error: TidemarkError
}

interface Reading {
  readonly head: RedisHead
  readonly republished: readonly string[]
  readonly sessions: ReadonlyMap<BrokerId, string>
  readonly objects: readonly RedisObject[]
}

const OBJECTS_PER_READ_MAX = 1_000
const OBJECTS_PER_MERGE_MAX = 500
const READINGS_UNCOUNTED_MAX = 9
/** How often the store is asked again to keep what it has refused. */
const KEEP_AGAIN_MS = 1_000
/** Redis may change under every step; after this many it is left to the next time. */
const STEPS_MAX = 12
export class RedisMirror {
  readonly view = new ClusterView()
  readonly #options: MirrorOptions
  #history: string | undefined
  #clusterId: string | undefined
  #cursor = 0
  #counts: RedisCounts | undefined
  #countedVersion = 0
  #readingsUncounted = 0
  #republishing: readonly string[] | undefined
  /** By topic id. */
  readonly #unkept = new Map<string, UnkeptTopic>()
  #keepAgainAt = 0
  #hasFailed = false
  #isStopped = false
  /** Monotonic milliseconds until which sessions that Redis does not have may only be late. */
  #sessionsLateUntil = 0
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  constructor(options: MirrorOptions) {
    this.#options = options
    this.#clusterId = options.onDisk.clusterId
    for (const topic of options.context.store.list()) this.view.keepTopic(topic)
    this.#readDisk()
  }

  get clusterId(): string | undefined {
    return this.#clusterId
  }

  /** Of the last change that has been taken in. */
  get version(): number {
    return this.#cursor
  }

  /** The brokers that have republished, while Redis is being filled again; undefined otherwise. */
  get republishing(): readonly string[] | undefined {
    return this.#republishing
  }

  /** Why this broker does not have the topic as Redis has it; undefined if it has. */
  whyNotKept(id: TopicId): TidemarkError | undefined {
    return this.#unkept.get(id)?.error
  }

  /** What this broker's store has refused, in words; undefined for nothing. */
  get unkept(): string | undefined {
    const [first] = this.#unkept.values()
    if (first === undefined) return undefined
    const others = this.#unkept.size === 1 ? '' : ` and ${this.#unkept.size - 1} more`
    return `${nameForPeople(first.object)}${others} cannot be kept here as it is in the cluster (${first.error.message})`
  }

  /**
   * Takes in what is new, and republishes if Redis has lost something. Resolves when everything is in the view that was
   * in Redis at the call, but for topics of which `whyNotKept` says why. @throws COORDINATOR_NOT_AVAILABLE,
   * COORDINATOR_NOT_USABLE
   */
  sync(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      const run = this.#sync()
      this.#running = run.catch(() => {
        this.#hasFailed = true
      })
      return run
    })
    return this.#next
  }

  /** Resolves when nothing is taken in any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  /**
   * Runs a script that changes something, after what this broker believes. When it answers, it was done or refused in
   * the Redis that is known here. @throws COORDINATOR_NOT_AVAILABLE: outcome unknown, or Redis is being filled again
   */
  async change(
    script: RedisScript,
    moreKeys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<readonly string[]> {
    const { keys, link } = this.#options
    for (let step = 0; step < STEPS_MAX; step += 1) {
      if (this.#history !== undefined) {
        const all = [...keys.fixed, ...moreKeys]
        const reply = textsOf(await link.run(script, all, [this.#history, this.#cursor, ...args]))
        if (reply[0] === 'republishing') throw this.#unavailable('is being filled again from the disks of the brokers')
        if (reply[0] !== 'stale') return reply
      }
      await this.sync()
    }
    throw this.#unavailable('keeps changing under this broker')
  }

  async #sync(): Promise<void> {
    const { context, link } = this.#options
    if (this.#isStopped) throw this.#unavailable('is not used any more')
    for (let step = 0; step < STEPS_MAX;) {
      const reading = await this.#read(this.#cursor, this.#isToBeCounted())
      const { head } = reading
      this.#checkRole(head)
      if (!this.#isOurs(head)) {
        step += 1
        await this.#takeOver(head)
        continue
      }
      const verdict = judge(head, { history: this.#history, version: this.#cursor, counts: this.#counts })
      switch (verdict.kind) {
        case 'doubtful':
          step += 1
          await this.#beginHistory(head, verdict.reason)
          continue
        case 'other-history':
          step += 1
          await this.#adopt()
          continue
        case 'trusted':
          break
      }
      const knewBefore = this.view.members.size
      await this.#keepAgain()
      const outdated = await this.#takeIn(reading.objects)
      if (outdated.length > 0) {
        // Lost, and put back by a broker that has missed what came after.
        step += 1
        if (!(await this.#merge(head, outdated))) continue
        context.logger.warn(
          { objects: outdated.length, redis: link.where },
          'Redis had older records; they are put right',
        )
      }
      if (reading.objects.length === OBJECTS_PER_READ_MAX || this.view.members.size > knewBefore) continue
      this.#cursor = head.version
      this.#keepCounts(head)
      this.#keepSessions(reading.sessions)
      await this.#followRepublishing(reading)
      return
    }
    throw this.#unavailable('keeps changing under this broker')
  }

  /** After every change, and now and then besides: counting is most of what a reading without news would cost. */
  #isToBeCounted(): boolean {
    return this.#counts === undefined || this.#readingsUncounted >= READINGS_UNCOUNTED_MAX
  }

  #keepCounts({ counts, version }: RedisHead): void {
    if (counts !== undefined) {
      this.#counts = counts
      this.#countedVersion = version
      this.#readingsUncounted = 0
      return
    }
    this.#readingsUncounted += 1
    if (version !== this.#countedVersion) this.#counts = undefined
  }

  async #read(since: number, isCounting: boolean): Promise<Reading> {
    const { link, keys } = this.#options
    const members = [...this.view.members.keys()]
    const all = [...keys.fixed, ...members.map((id) => keys.session(id))]
    const reply = listOf(await link.run(READ, all, [since, OBJECTS_PER_READ_MAX, isCounting ? 1 : 0]))
    const [life = '', role = '', historyLife = '', history = '', version, mode, clusterId = '', ...counts] = textsOf(
      reply.slice(0, 11),
    )
    const [topics = 0, names = 0, leaderships = 0, brokers = 0] = counts.map(Number)
    const sessions = textsOf(reply[12])
    return {
      head: {
        life,
        role,
        historyLife,
        history,
        version: Number(version),
        isRepublishing: mode === 'republishing',
        clusterId,
        formerClusterId: textsOf(reply.slice(15))[0] ?? '',
        counts: isCounting ? { topics, names, leaderships, brokers, indexed: Number(reply[14]) } : undefined,
      },
      republished: textsOf(reply[11]),
      sessions: new Map(members.map((id, index) => [id, sessions[index] ?? ''])),
      objects: objectsFrom(textsOf(reply[13])),
    }
  }

  #checkRole({ role }: RedisHead): void {
    if (role === 'master') return
    const { where } = this.#options.link
    throw new TidemarkError('COORDINATOR_NOT_USABLE', `redis: ${where} is a read-only replica; name its master`)
  }

  /** A broker with nothing on its disk goes with the cluster that the one it had begun has given way to. */
  #isOurs({ clusterId, formerClusterId }: RedisHead): boolean {
    if (clusterId === '' || this.#clusterId === undefined || clusterId === this.#clusterId) return true
    return formerClusterId === this.#clusterId && this.#isDiskEmpty()
  }

  /** @throws COORDINATOR_NOT_USABLE where it holds what is another cluster's */
  async #takeOver(head: RedisHead): Promise<void> {
    const outcome = this.#isDiskEmpty() ? 'another' : await this.#beginHistory(head, 'its cluster has no topics', true)
    if (outcome !== 'another') return
    const { where } = this.#options.link
    throw new TidemarkError(
      'COORDINATOR_NOT_USABLE',
      `redis: ${where} holds another cluster of this name (${head.clusterId}) than the one this data-dir belongs to (${this.#clusterId}); name the Redis of that one, or start on an empty data-dir`,
    )
  }

  #isDiskEmpty(): boolean {
    this.#readDisk()
    const { topics, tombstones, leaderships } = this.view
    return topics.size === 0 && tombstones.size === 0 && leaderships.size === 0
  }

  /** Whoever comes first begins it; for all others Redis has moved, and they read it again. */
  async #beginHistory(head: RedisHead, reason: string, takesOver = false): Promise<string> {
    const { context, link, keys } = this.#options
    const knowsNothing = this.#isDiskEmpty() && this.#history === undefined
    const isNew = knowsNothing && head.history === ''
    const [outcome = ''] = textsOf(
      await link.run(BEGIN_HISTORY, keys.fixed, [
        head.history,
        head.life,
        context.random.uuid(),
        this.#cursor,
        this.#clusterId ?? context.random.uuid(),
        knowsNothing ? 1 : 0,
        takesOver ? 1 : 0,
      ]),
    )
    if (!isNew && outcome === 'begun') {
      context.logger.warn({ redis: link.where, reason }, 'Redis is not believed; the brokers republish what they know')
    }
    return outcome
  }

  /** Reads everything of another history, and tells Redis what it lacks. */
  async #adopt(): Promise<void> {
    const { context } = this.#options
    this.#readDisk()
    const objects = new Map<string, RedisObject>()
    let reading = await this.#read(0, false)
    const { head } = reading
    // Emptied since it was judged, or another one: it is judged again.
    if (head.history === '' || !this.#isOurs(head)) return
    for (let since = 0; ; reading = await this.#read(since, false)) {
      if (reading.head.history !== head.history || reading.head.life !== head.life) return
      for (const object of reading.objects) {
        objects.set(nameOf(object), object)
        since = object.version
      }
      if (reading.objects.length < OBJECTS_PER_READ_MAX) break
    }
    await this.#keepClusterId(reading.head.clusterId)
    const lost = lostTopics(this.view, objects, reading.head)
    if (lost.length > 0 && !reading.head.isRepublishing) {
      await this.#beginHistory(reading.head, 'it lacks topics that this broker knows')
      return
    }
    const members = lostMembers(this.view, objects, reading.head)
    const merge = [...lost, ...members, ...lostLeaderships(this.view, objects)]
    if (!(await this.#merge(reading.head, merge))) return
    if (merge.length > 0) context.logger.info({ objects: merge.length }, 'republished to Redis what it lacked')
    // In another history the deletion of a topic may stand behind the next one of its name.
    const all = [...objects.values()]
    this.#unkept.clear()
    await this.#takeIn([...all.filter(({ isDeleted }) => isDeleted), ...all.filter(({ isDeleted }) => !isDeleted)])
    if (this.#history !== undefined) this.#expectSessions(this.#options.sessionTtlMs)
    const isFirst = this.#history === undefined
    this.#history = reading.head.history
    this.#cursor = Math.max(0, ...[...objects.values()].map(({ version }) => version))
    this.#counts = undefined
    if (!isFirst) this.#options.onHistory()
  }

  async #keepClusterId(clusterId: string): Promise<void> {
    if (this.#clusterId === clusterId) return
    await this.#options.onDisk.keepClusterId?.(clusterId)
    this.#clusterId = clusterId
  }

  /** What the disk knows counts as much as what was seen since. */
  #readDisk(): void {
    const { onDisk } = this.#options
    for (const id of onDisk.tombstones()) this.view.deleteTopic(id)
    for (const { topicId: id, partition, ...record } of onDisk.leaderships()) {
      this.view.keepLeadership(`${id}:${partition}`, record)
    }
  }

  /** Whether Redis still was the one that was read. */
  async #merge(head: RedisHead, objects: readonly Merged[]): Promise<boolean> {
    const { link, keys, context } = this.#options
    for (let start = 0; start < objects.length; start += OBJECTS_PER_MERGE_MAX) {
      const part = objects.slice(start, start + OBJECTS_PER_MERGE_MAX)
      const args = [head.history, head.version, ...part.flat()]
      const [outcome, ...homeless] = textsOf(await link.run(MERGE, keys.fixed, args))
      if (outcome !== 'done') return false
      for (const id of homeless) {
        context.logger.error(
          { topicId: id },
          'another topic has the name of this one in Redis; it stays on disk, unused',
        )
      }
    }
    return true
  }

  /** Answers what is known better here, as it is merged. */
  async #takeIn(objects: readonly RedisObject[]): Promise<Merged[]> {
    const outdated: Merged[] = []
    for (const object of objects) {
      if (this.#isStopped) throw this.#unavailable('is not used any more')
      const better = betterThan(this.view, object)
      if (better !== undefined) outdated.push(better)
      if (object.kind === 'topic') await this.#takeInTopic(object)
      else if (object.kind === 'broker') this.#takeInMember(object)
      else this.#takeInLeadership(object)
      if (object.version <= this.#cursor || this.#history === undefined) continue
      this.#cursor = object.version
      this.#counts = undefined
    }
    return outdated
  }

  /** News of leaders and members do not wait for one that cannot be kept. */
  async #takeInTopic(object: RedisObject): Promise<void> {
    const { id, version } = object
    try {
      const changes = await this.#keepTopic(object)
      this.#unkept.delete(id)
      for (const change of changes) this.#options.notify(change)
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      const isTold = this.#unkept.get(id)?.object.version === version
      this.#unkept.set(id, { object, error })
      if (isTold) return
      this.#keepAgainAt = this.#options.context.clock.monotonic() + KEEP_AGAIN_MS
      const fields = { topic: nameForPeople(object), error: error.message }
      this.#options.context.logger.error(
        fields,
        'a topic cannot be kept here as it is in the cluster; it is tried again',
      )
    }
  }

  async #keepAgain(): Promise<void> {
    const nowMs = this.#options.context.clock.monotonic()
    if (this.#unkept.size === 0 || nowMs < this.#keepAgainAt) return
    this.#keepAgainAt = nowMs + KEEP_AGAIN_MS
    for (const { object } of [...this.#unkept.values()]) await this.#takeInTopic(object)
  }

  /** Answers what has changed by it. @throws what the store throws */
  async #keepTopic({ id, value, isDeleted }: RedisObject): Promise<ClusterChange[]> {
    const { store } = this.#options.context
    if (isDeleted) {
      const deleted = topicId(id)
      if (this.view.topics.has(deleted)) await store.remove(deleted)
      const topic = this.view.deleteTopic(deleted)
      return topic === undefined ? [] : [{ kind: 'topic-deleted', topic }]
    }
    const topic = value === undefined ? undefined : topicFrom(value)
    if (topic === undefined || !this.view.isNewerTopic(topic)) return []
    const isNew = !this.view.topics.has(topic.topicId)
    await this.#store(topic)
    const homeless = this.view.keepTopic(topic)
    const change: ClusterChange = { kind: isNew ? 'topic-created' : 'topic-changed', topic }
    return homeless === undefined ? [change] : [{ kind: 'topic-deleted', topic: homeless }, change]
  }

  /** Where another topic has the name on this disk, which Redis does not know, this one has no replicas here. */
  async #store(topic: TopicDefinition): Promise<void> {
    const { store, logger } = this.#options.context
    try {
      await store.put(topic)
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'TOPIC_ALREADY_EXISTS') throw error
      // Perhaps the one that is there could not be deleted yet.
      if ([...this.#unkept.values()].some(({ object }) => object.isDeleted)) throw error
      const { topicId: id, name } = topic
      logger.error(
        { topicId: id, topic: name },
        'this topic cannot be kept here: another one of its name is on the disk',
      )
    }
  }

  #takeInMember({ id, value }: RedisObject): void {
    if (value !== undefined) this.view.members.set(brokerId(Number(id)), memberFrom(value))
  }

  #takeInLeadership({ id, value }: RedisObject): void {
    if (value === undefined) return
    const name = partitionFrom(id)
    if (this.view.keepLeadership(id, leadershipFrom(value))) {
      this.#options.notify({ kind: 'leadership-changed', ...name })
    }
  }

  /** Redis had no sessions to keep, or nobody could renew one: they come back within this time if their brokers live. */
  #expectSessions(withinMs: number): void {
    this.#sessionsLateUntil = Math.max(this.#sessionsLateUntil, this.#options.context.clock.monotonic() + withinMs)
  }

  #keepSessions(sessions: ReadonlyMap<BrokerId, string>): void {
    if (this.#hasFailed) this.#expectSessions(this.#options.sessionTtlMs / 2)
    this.#hasFailed = false
    const mayBeLate = this.#options.context.clock.monotonic() < this.#sessionsLateUntil
    if (this.view.keepSessions(sessions, mayBeLate)) this.#options.notify({ kind: 'brokers-changed' })
  }

  async #followRepublishing({ head, republished }: Reading): Promise<void> {
    const { link, keys, context, sessionTtlMs } = this.#options
    if (!head.isRepublishing) {
      this.#republishing = undefined
      return
    }
    this.#republishing = republished
    const graceSeconds = Math.ceil(sessionTtlMs / 1000) + 1
    const args = [head.history, head.version, context.brokerId, graceSeconds, ...this.view.expectedBrokers()]
    const [mode] = textsOf(await link.run(REPUBLISHED, keys.fixed, args))
    if (mode !== 'normal') return
    this.#republishing = undefined
    context.logger.info({ redis: link.where }, 'Redis has been filled again and is believed')
  }

  #unavailable(reason: string): TidemarkError {
    return new TidemarkError('COORDINATOR_NOT_AVAILABLE', `redis: ${this.#options.link.where} ${reason}`)
  }
}

function nameForPeople({ id, value }: RedisObject): string {
  return value === undefined ? `the deletion of topic ${id}` : `topic ${topicFrom(value).name}`
}
