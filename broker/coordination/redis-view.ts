// What this broker knows of the cluster: the local copy that is read without asking anybody. Owns which of two records is
// newer; pure. Knows neither Redis nor disks.
//
// Invariants: no version in it ever falls and no deleted topic comes back, whatever it is given; the leaderships of a topic
// go with it.

import type { BrokerId, TopicId } from '../../shared/ids.ts'
import type { BrokerRecord, Leadership, TopicDefinition } from './coordinator.ts'
import type { LeadershipRecord, MemberRecord } from './redis-records.ts'
import { partitionKey } from './redis-records.ts'

export class ClusterView {
  readonly topics = new Map<TopicId, TopicDefinition>()
  readonly tombstones = new Set<TopicId>()
  /** By partitionKey. */
  readonly leaderships = new Map<string, LeadershipRecord>()
  /** All brokers there ever were, those without a session too. */
  readonly members = new Map<BrokerId, MemberRecord>()
  readonly #byName = new Map<string, TopicDefinition>()
  #sessions: ReadonlyMap<BrokerId, string> = new Map()

  byName(name: string): TopicDefinition | undefined {
    return this.#byName.get(name)
  }

  isNewerTopic(topic: TopicDefinition): boolean {
    if (this.tombstones.has(topic.topicId)) return false
    return topic.version > (this.topics.get(topic.topicId)?.version ?? -1)
  }

  /** Answers the topic that had the name, if another one had it: that one is known no more. */
  keepTopic(topic: TopicDefinition): TopicDefinition | undefined {
    if (!this.isNewerTopic(topic)) return undefined
    const other = this.#byName.get(topic.name)
    const homeless =
      other === undefined || other.topicId === topic.topicId ? undefined : this.#forgetTopic(other.topicId)
    this.topics.set(topic.topicId, topic)
    this.#byName.set(topic.name, topic)
    return homeless
  }

  /** What it was, if it was there. */
  deleteTopic(id: TopicId): TopicDefinition | undefined {
    this.tombstones.add(id)
    return this.#forgetTopic(id)
  }

  #forgetTopic(id: TopicId): TopicDefinition | undefined {
    const topic = this.topics.get(id)
    if (topic === undefined) return undefined
    this.topics.delete(id)
    if (this.#byName.get(topic.name)?.topicId === id) this.#byName.delete(topic.name)
    for (let partition = 0; partition < topic.partitions; partition += 1) {
      this.leaderships.delete(partitionKey(id, partition))
    }
    return topic
  }

  isNewerLeadership(key: string, record: LeadershipRecord): boolean {
    const current = this.leaderships.get(key)
    return current === undefined || isNewer(record, current)
  }

  /** Whether anything has changed. */
  keepLeadership(key: string, record: LeadershipRecord): boolean {
    if (!this.isNewerLeadership(key, record)) return false
    this.leaderships.set(key, record)
    return true
  }

  leadershipOf(id: TopicId, partition: number): Leadership | undefined {
    const topic = this.topics.get(id)
    if (topic === undefined || partition < 0 || partition >= topic.partitions) return undefined
    return leadershipOf(topic, partition, this.leaderships.get(partitionKey(id, partition)))
  }

  /** Those with a session, by ascending id. */
  brokers(): readonly BrokerRecord[] {
    const live = [...this.members.values()].filter(({ broker }) => this.#sessions.has(broker.brokerId))
    return live.map(({ broker }) => broker).sort((a, b) => a.brokerId - b.brokerId)
  }

  sessionOf(id: BrokerId): string | undefined {
    return this.#sessions.get(id)
  }

  /**
   * Takes the sessions as they were read, '' for those that are over, and says whether any has changed. With `mayBeLate`
   * those that are missing stay: their Redis has lost them, and their brokers may not have come back to it yet.
   */
  keepSessions(sessions: ReadonlyMap<BrokerId, string>, mayBeLate: boolean): boolean {
    const next = new Map<BrokerId, string>()
    let hasChanged = false
    for (const [id, session] of sessions) {
      const before = this.#sessions.get(id)
      const now = session === '' && mayBeLate ? before : session
      if (now !== undefined && now !== '') next.set(id, now)
      hasChanged ||= before !== next.get(id)
    }
    this.#sessions = next
    return hasChanged
  }

  /**
   * The brokers whose word is waited for when Redis has forgotten something: those that have a session, and those that have
   * replicas. One that has neither may be gone for good.
   */
  expectedBrokers(): ReadonlySet<BrokerId> {
    const expected = new Set(this.#sessions.keys())
    for (const { assignment } of this.topics.values()) {
      for (const replicas of assignment ?? []) {
        for (const id of replicas) expected.add(id)
      }
    }
    return expected
  }
}

/** Whether the one comes after the other. */
export function isNewer(one: LeadershipRecord, other: LeadershipRecord): boolean {
  if (one.leaderEpoch !== other.leaderEpoch) return one.leaderEpoch > other.leaderEpoch
  return one.version > other.version
}

/** A leadership with what the topic says about its replicas. */
export function leadershipOf(
  topic: TopicDefinition,
  partition: number,
  record: LeadershipRecord | undefined,
): Leadership {
  const { leader, leaderEpoch, inSyncReplicas = [], version = 0 } = record ?? {}
  const known = leader === undefined ? inSyncReplicas : [...new Set([leader, ...inSyncReplicas])]
  return { leader, leaderEpoch, replicas: topic.assignment?.[partition] ?? known, inSyncReplicas, version }
}
