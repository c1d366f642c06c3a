// Agreement when there is nobody to agree with: one broker is the whole cluster and leads everything. Owns the catalogue in
// memory, with the broker's own store behind it; knows nothing of files.
//
// Invariants: a definition is in memory only once the store has it; changes go one behind the other, so that what was
// checked is still true when it is written.

import type { BrokerId, LeaderEpoch, TopicId } from '../../shared/ids.ts'
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
  Resignation,
  TopicCatalogue,
  TopicChange,
  TopicDefinition,
  TopicOutcome,
} from './coordinator.ts'
import { changedTopic } from './topic-change.ts'

/** Outcomes that are remembered, so that a request which is repeated is answered and not done again. */
const REMEMBERED_REQUESTS_MAX = 1_000

export class InProcessCoordinator implements Coordinator {
  readonly topics: TopicCatalogue
  readonly leaderships: Leaderships
  readonly #listeners = new Set<(change: ClusterChange) => void>()
  #self: BrokerRecord | undefined

  constructor(context: CoordinatorContext) {
    this.topics = new InProcessCatalogue(context, (change) => {
      if (change.kind === 'topic-deleted') leaderships.forget(change.topic.topicId)
      this.#notify(change)
    })
    const leaderships = new InProcessLeaderships(context.brokerId, this.topics, (change) => this.#notify(change))
    this.leaderships = leaderships
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  join(self: BrokerRecord): Promise<void> {
    this.#self = self
    this.#notify({ kind: 'brokers-changed' })
    return Promise.resolve()
  }

  announce(self: BrokerRecord): Promise<void> {
    return this.join(self)
  }

  brokers(): readonly BrokerRecord[] {
    return this.#self === undefined ? [] : [this.#self]
  }

  lastLifeOf(id: BrokerId): BrokerRecord | undefined {
    return this.#self?.brokerId === id ? this.#self : undefined
  }

  controller(): BrokerId | undefined {
    return this.#self?.brokerId
  }

  sessionOf(id: BrokerId): string | undefined {
    return this.#self?.brokerId === id ? this.#self.incarnation : undefined
  }

  /** The only session is this process's own, which is alive if it can ask. */
  endSession(_id: BrokerId, session: string): Promise<'done' | 'moved-on'> {
    return Promise.resolve(session === this.#self?.incarnation ? 'moved-on' : 'done')
  }

  sessionValidUntil(): number {
    return this.#self === undefined ? 0 : Number.POSITIVE_INFINITY
  }

  health(): CoordinatorHealth {
    return this.#self === undefined
      ? { isOk: false, detail: 'not joined' }
      : { isOk: true, detail: 'embedded: this broker is the whole cluster' }
  }

  subscribe(listener: (change: ClusterChange) => void): { remove(): void } {
    this.#listeners.add(listener)
    return { remove: () => void this.#listeners.delete(listener) }
  }

  stop(): Promise<void> {
    if (this.#self !== undefined) {
      this.#self = undefined
      this.#notify({ kind: 'brokers-changed' })
    }
    return Promise.resolve()
  }

  #notify(change: ClusterChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

class InProcessCatalogue implements TopicCatalogue {
  readonly #context: CoordinatorContext
  readonly #notify: (change: ClusterChange) => void
  readonly #topics = new Map<TopicId, TopicDefinition>()
  readonly #byName = new Map<string, TopicDefinition>()
  readonly #remembered = new Map<string, Promise<TopicOutcome>>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(context: CoordinatorContext, notify: (change: ClusterChange) => void) {
    this.#context = context
    this.#notify = notify
    for (const topic of context.store.list()) this.#keep(topic)
  }

  list(): Iterable<TopicDefinition> {
    return this.#topics.values()
  }

  byName(name: string): TopicDefinition | undefined {
    return this.#byName.get(name)
  }

  get(id: TopicId): TopicDefinition | undefined {
    return this.#topics.get(id)
  }

  create(requestId: string, topic: TopicDefinition): Promise<TopicOutcome> {
    return this.#once(requestId, async () => {
      const existing = this.#byName.get(topic.name) ?? this.#topics.get(topic.topicId)
      if (existing !== undefined) return { kind: 'exists', topic: existing }
      await this.#context.store.put(topic)
      this.#keep(topic)
      this.#notify({ kind: 'topic-created', topic })
      return { kind: 'done', topic }
    })
  }

  change(requestId: string, id: TopicId, expectedVersion: number, change: TopicChange): Promise<TopicOutcome> {
    return this.#once(requestId, async () => {
      const current = this.#topics.get(id)
      if (current === undefined) return { kind: 'missing' }
      if (current.version !== expectedVersion) return { kind: 'conflict', topic: current }
      const topic = changedTopic(current, change, current.version + 1)
      await this.#context.store.put(topic)
      this.#keep(topic)
      this.#notify({ kind: 'topic-changed', topic })
      return { kind: 'done', topic }
    })
  }

  delete(requestId: string, id: TopicId): Promise<TopicOutcome> {
    return this.#once(requestId, async () => {
      const topic = this.#topics.get(id)
      if (topic === undefined) return { kind: 'missing' }
      await this.#context.store.remove(id)
      this.#topics.delete(id)
      this.#byName.delete(topic.name)
      this.#notify({ kind: 'topic-deleted', topic })
      return { kind: 'done', topic }
    })
  }

  #keep(topic: TopicDefinition): void {
    this.#topics.set(topic.topicId, topic)
    this.#byName.set(topic.name, topic)
  }

  #once(requestId: string, work: () => Promise<TopicOutcome>): Promise<TopicOutcome> {
    const known = this.#remembered.get(requestId)
    if (known !== undefined) return known
    const outcome = this.#last.then(work)
    // A failure is forgotten, so that asking again tries again.
    this.#last = outcome.catch(() => void this.#remembered.delete(requestId))
    this.#remembered.set(requestId, outcome)
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= REMEMBERED_REQUESTS_MAX) break
      this.#remembered.delete(oldest)
    }
    return outcome
  }
}

interface OwnLeadership {
  readonly leaderEpoch: LeaderEpoch
  readonly version: number
  readonly isLeading: boolean
  /** Of the request that made it so, to know it again. */
  readonly requestId: string | undefined
}

class InProcessLeaderships implements Leaderships {
  readonly #brokerId: BrokerId
  readonly #catalogue: TopicCatalogue
  readonly #notify: (change: ClusterChange) => void
  readonly #records = new Map<TopicId, OwnLeadership[]>()

  constructor(brokerId: BrokerId, catalogue: TopicCatalogue, notify: (change: ClusterChange) => void) {
    this.#brokerId = brokerId
    this.#catalogue = catalogue
    this.#notify = notify
  }

  of(id: TopicId, partition: number): Leadership | undefined {
    const topic = this.#catalogue.get(id)
    if (topic === undefined || partition < 0 || partition >= topic.partitions) return undefined
    const record = this.#records.get(id)?.[partition]
    const replicas = [this.#brokerId]
    const leader = record?.isLeading === true ? this.#brokerId : undefined
    const inSyncReplicas = record === undefined ? [] : replicas
    return { leader, leaderEpoch: record?.leaderEpoch, replicas, inSyncReplicas, version: record?.version ?? 0 }
  }

  claim(id: TopicId, partition: number, leaderEpoch: LeaderEpoch): Promise<LeadershipOutcome> {
    const current = this.of(id, partition)
    if (current === undefined) return Promise.resolve({ kind: 'missing' })
    if (current.leaderEpoch !== undefined && leaderEpoch <= current.leaderEpoch) {
      return Promise.resolve({ kind: 'fenced', leadership: current })
    }
    return Promise.resolve(this.#keep(id, partition, { leaderEpoch, isLeading: true, requestId: undefined }))
  }

  suggest(requestId: string, suggestions: readonly LeaderSuggestion[]): Promise<readonly LeadershipOutcome[]> {
    const outcomes = suggestions.map((suggestion): LeadershipOutcome => {
      const { topicId, partition, leaderEpoch, leader = this.#brokerId, expectedVersion } = suggestion
      const current = this.of(topicId, partition)
      if (current === undefined) return { kind: 'missing' }
      if (this.#isRepeated(requestId, suggestion)) return { kind: 'done', leadership: current }
      const isFenced =
        leader !== this.#brokerId ||
        (current.leaderEpoch !== undefined && leaderEpoch <= current.leaderEpoch) ||
        (expectedVersion !== undefined && expectedVersion !== current.version)
      if (isFenced) return { kind: 'fenced', leadership: current }
      return this.#keep(topicId, partition, { leaderEpoch, isLeading: true, requestId })
    })
    return Promise.resolve(outcomes)
  }

  resign(requestId: string, resignations: readonly Resignation[]): Promise<readonly LeadershipOutcome[]> {
    const outcomes = resignations.map((resignation): LeadershipOutcome => {
      const { topicId, partition, leaderEpoch } = resignation
      const current = this.of(topicId, partition)
      if (current === undefined) return { kind: 'missing' }
      if (this.#isRepeated(requestId, resignation)) return { kind: 'done', leadership: current }
      if (current.leader === undefined || current.leaderEpoch !== leaderEpoch) {
        return { kind: 'fenced', leadership: current }
      }
      return this.#keep(topicId, partition, { leaderEpoch, isLeading: false, requestId })
    })
    return Promise.resolve(outcomes)
  }

  setInSyncReplicas(
    id: TopicId,
    partition: number,
    leaderEpoch: LeaderEpoch,
    inSyncReplicas: readonly BrokerId[],
  ): Promise<LeadershipOutcome> {
    const current = this.of(id, partition)
    if (current === undefined) return Promise.resolve({ kind: 'missing' })
    const isLed = current.leader !== undefined && current.leaderEpoch === leaderEpoch
    const isOwn = isLed && inSyncReplicas.every((replica) => replica === this.#brokerId)
    return Promise.resolve(isOwn ? this.#done(id, partition) : { kind: 'fenced', leadership: current })
  }

  forget(id: TopicId): void {
    this.#records.delete(id)
  }

  #isRepeated(requestId: string, { topicId, partition, leaderEpoch }: Resignation): boolean {
    const record = this.#records.get(topicId)?.[partition]
    return record?.requestId === requestId && record.leaderEpoch === leaderEpoch
  }

  #keep(id: TopicId, partition: number, record: Omit<OwnLeadership, 'version'>): LeadershipOutcome {
    const records = this.#records.get(id) ?? []
    records[partition] = { ...record, version: (records[partition]?.version ?? 0) + 1 }
    this.#records.set(id, records)
    this.#notify({ kind: 'leadership-changed', topicId: id, partition })
    return this.#done(id, partition)
  }

  #done(id: TopicId, partition: number): LeadershipOutcome {
    const leadership = this.of(id, partition)
    return leadership === undefined ? { kind: 'missing' } : { kind: 'done', leadership }
  }
}
