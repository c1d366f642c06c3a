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
  TopicCatalogue,
  TopicChange,
  TopicDefinition,
  TopicOutcome,
} from './coordinator.ts'

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

  brokers(): readonly BrokerRecord[] {
    return this.#self === undefined ? [] : [this.#self]
  }

  controller(): BrokerId | undefined {
    return this.#self?.brokerId
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
      const topic = { ...current, ...change, version: current.version + 1 }
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

class InProcessLeaderships implements Leaderships {
  readonly #brokerId: BrokerId
  readonly #catalogue: TopicCatalogue
  readonly #notify: (change: ClusterChange) => void
  readonly #epochs = new Map<TopicId, LeaderEpoch[]>()

  constructor(brokerId: BrokerId, catalogue: TopicCatalogue, notify: (change: ClusterChange) => void) {
    this.#brokerId = brokerId
    this.#catalogue = catalogue
    this.#notify = notify
  }

  of(id: TopicId, partition: number): Leadership | undefined {
    const topic = this.#catalogue.get(id)
    if (topic === undefined || partition < 0 || partition >= topic.partitions) return undefined
    const leaderEpoch = this.#epochs.get(id)?.[partition]
    const replicas = [this.#brokerId]
    const leader = leaderEpoch === undefined ? undefined : this.#brokerId
    return { leader, leaderEpoch, replicas, inSyncReplicas: leader === undefined ? [] : replicas }
  }

  claim(id: TopicId, partition: number, leaderEpoch: LeaderEpoch): Promise<LeadershipOutcome> {
    const current = this.of(id, partition)
    if (current === undefined) return Promise.resolve({ kind: 'missing' })
    if (current.leaderEpoch !== undefined && leaderEpoch <= current.leaderEpoch) {
      return Promise.resolve({ kind: 'fenced', leadership: current })
    }
    const epochs = this.#epochs.get(id) ?? []
    epochs[partition] = leaderEpoch
    this.#epochs.set(id, epochs)
    this.#notify({ kind: 'leadership-changed', topicId: id, partition })
    return Promise.resolve(this.#done(id, partition))
  }

  setInSyncReplicas(
    id: TopicId,
    partition: number,
    leaderEpoch: LeaderEpoch,
    inSyncReplicas: readonly BrokerId[],
  ): Promise<LeadershipOutcome> {
    const current = this.of(id, partition)
    if (current === undefined) return Promise.resolve({ kind: 'missing' })
    const isOwn = current.leaderEpoch === leaderEpoch && inSyncReplicas.every((replica) => replica === this.#brokerId)
    return Promise.resolve(isOwn ? this.#done(id, partition) : { kind: 'fenced', leadership: current })
  }

  forget(id: TopicId): void {
    this.#epochs.delete(id)
  }

  #done(id: TopicId, partition: number): LeadershipOutcome {
    const leadership = this.of(id, partition)
    return leadership === undefined ? { kind: 'missing' } : { kind: 'done', leadership }
  }
}
