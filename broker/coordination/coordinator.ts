// What brokers agree on: who is alive, which topics there are, who leads which partition. Owns only the interface and its
// words; one implementation needs nobody else (in-process-coordinator.ts), another keeps these records in Redis.
//
// What every implementation keeps, and test/conformance/coordinator.ts holds it to:
// - Reading (brokers, topics, leaderships) is local, synchronous and may be a moment behind; changing is a promise.
// - A change names what it expects. A version that has moved on is an outcome, not an error; an error means that it is
//   not known whether the change was made, and asking again with the same request id is safe.
// - Versions and leader epochs never fall. A deleted topic id never comes back.
// - Leadership here is a suggestion about who tries: whether a broker may act as leader is decided where the log is.
// - While the others cannot be reached, reading goes on with what was known last, and a change rejects with
//   COORDINATOR_NOT_AVAILABLE, which may be tried again.

import type { BrokerId, LeaderEpoch, TimestampMs, TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timers } from '../../shared/time.ts'
import type { Voter } from '../../shared/voters.ts'
import type { Meter } from '../metrics/meter.ts'

/** One life of one broker. */
export interface BrokerRecord {
  readonly brokerId: BrokerId
  /** Names this life: a UUID drawn at every start. A record of another incarnation is another life. */
  readonly incarnation: string
  /** Where clients reach it. */
  readonly host: string
  readonly port: number
  /** Where clients reach it that came by a listener of this name; absent where it has no listeners but one. */
  readonly listeners?: Readonly<Record<string, { readonly host: string; readonly port: number }>>
  readonly rack: string | undefined
  readonly software: string
  readonly startedAt: TimestampMs
  /** Of its data directory. A life with the same one is the successor of this life, not a stranger with the same number. */
  readonly directoryId?: string
  /** How many starts that directory has counted, this one included; absent where it could not count. */
  readonly starts?: number
  /** Of the operating system it runs on, drawn at every boot; absent where that cannot be known. */
  readonly bootId?: string
  /** It is to lead nothing that another can, and to be given no more replicas. */
  readonly isDraining?: boolean
}

/** By the partition's number, as a text. */
export type VotersByPartition = Readonly<Record<string, readonly Voter[]>>

export interface TopicDefinition {
  readonly topicId: TopicId
  readonly name: string
  /** Never falls. */
  readonly partitions: number
  readonly replicationFactor: number
  readonly config: Readonly<Record<string, string>>
  /** The replicas of each partition, the preferred leader first. Absent where one broker has everything. */
  readonly assignment?: readonly (readonly BrokerId[])[]
  /** The data directories of those brokers when they became replicas, by broker id: a replaced disk is no voter. */
  readonly directories?: Readonly<Record<string, string>>
  /**
   * By partition: its voters of the beginning, kept from the first change of its assignment on. Without an entry they are the
   * assignment with these directories. Whose word counts is said by the partition's own log from then on.
   */
  readonly origins?: VotersByPartition
  /** By partition: the voters that it is to get, the preferred leader first, as long as it has not. */
  readonly moves?: VotersByPartition
  /** Grows by every change. */
  readonly version: number
  readonly createdAt: TimestampMs
}

/** Who leads a partition, and who follows, as far as it is agreed on. */
export interface Leadership {
  /** Absent while nobody leads. Stays when its session is over, until another one is suggested. */
  readonly leader: BrokerId | undefined
  /** Of the last leader there was; absent if there was none yet. */
  readonly leaderEpoch: LeaderEpoch | undefined
  readonly replicas: readonly BrokerId[]
  /** A part of the replicas: a measure of health, not of safety. */
  readonly inSyncReplicas: readonly BrokerId[]
  /** Grows by every change; 0 if there was none yet. */
  readonly version: number
}

export type ClusterChange =
  | { readonly kind: 'topic-created'; readonly topic: TopicDefinition }
  | { readonly kind: 'topic-changed'; readonly topic: TopicDefinition }
  | { readonly kind: 'topic-deleted'; readonly topic: TopicDefinition }
  | { readonly kind: 'brokers-changed' }
  | { readonly kind: 'leadership-changed'; readonly topicId: TopicId; readonly partition: number }
  /**
   * This broker's session is over. It is taken anew as soon as that is possible: sessionValidUntil tells. Told once more,
   * with `isTaken`, where another life has this broker's number meanwhile.
   */
  | { readonly kind: 'session-lost'; readonly isTaken: boolean }

export type TopicOutcome =
  | { readonly kind: 'done'; readonly topic: TopicDefinition }
  /** A live topic has the name. */
  | { readonly kind: 'exists'; readonly topic: TopicDefinition }
  /** The topic has another version than was expected. */
  | { readonly kind: 'conflict'; readonly topic: TopicDefinition }
  /** There is no such topic, or it has been deleted. */
  | { readonly kind: 'missing' }

export type LeadershipOutcome =
  | { readonly kind: 'done'; readonly leadership: Leadership }
  /** A leader epoch at least as high is known, or another broker leads. */
  | { readonly kind: 'fenced'; readonly leadership: Leadership }
  | { readonly kind: 'missing' }

export interface TopicChange {
  readonly partitions?: number
  readonly config?: Readonly<Record<string, string>>
  readonly assignment?: readonly (readonly BrokerId[])[]
  readonly directories?: Readonly<Record<string, string>>
  readonly origins?: VotersByPartition
  /** All that there are from then on; none, when it is empty. */
  readonly moves?: VotersByPartition
}

export interface PartitionName {
  readonly topicId: TopicId
  readonly partition: number
}

/** Who should try to lead a partition from now on. */
export interface LeaderSuggestion extends PartitionName {
  /** Must be higher than any known one. */
  readonly leaderEpoch: LeaderEpoch
  /** This broker if absent. */
  readonly leader?: BrokerId
  /** The leader alone if absent. */
  readonly inSyncReplicas?: readonly BrokerId[]
  /** The version that the leadership must still have; any if absent. */
  readonly expectedVersion?: number
}

/** A leadership of this broker that it gives back. */
export interface Resignation extends PartitionName {
  readonly leaderEpoch: LeaderEpoch
}

export interface TopicCatalogue {
  /** The live topics, in no particular order. */
  list(): Iterable<TopicDefinition>
  byName(name: string): TopicDefinition | undefined
  get(id: TopicId): TopicDefinition | undefined
  /** The topic is durable, and told to the subscribers, when it resolves. `requestId` makes asking again harmless. */
  create(requestId: string, topic: TopicDefinition): Promise<TopicOutcome>
  /** Changes the topic if it still has the expected version. */
  change(requestId: string, id: TopicId, expectedVersion: number, change: TopicChange): Promise<TopicOutcome>
  delete(requestId: string, id: TopicId): Promise<TopicOutcome>
}

export interface Leaderships {
  /** undefined for a partition that no live topic has. */
  of(id: TopicId, partition: number): Leadership | undefined
  /** Suggests this broker as leader of the epoch, which must be higher than any known one. */
  claim(id: TopicId, partition: number, leaderEpoch: LeaderEpoch): Promise<LeadershipOutcome>
  /** Suggests leaders for any number of partitions; each outcome is its own, in the order of the suggestions. */
  suggest(requestId: string, suggestions: readonly LeaderSuggestion[]): Promise<readonly LeadershipOutcome[]>
  /** Gives leaderships back; those that are no longer this broker's, in that epoch, are fenced. */
  resign(requestId: string, resignations: readonly Resignation[]): Promise<readonly LeadershipOutcome[]>
  /** By the leader of the epoch only. */
  setInSyncReplicas(
    id: TopicId,
    partition: number,
    leaderEpoch: LeaderEpoch,
    inSyncReplicas: readonly BrokerId[],
  ): Promise<LeadershipOutcome>
}

export interface CoordinatorHealth {
  readonly isOk: boolean
  readonly detail: string
  /** What somebody has to mend though leaders are still elected; absent for nothing. */
  readonly warning?: string | undefined
}

export interface Coordinator {
  readonly topics: TopicCatalogue
  readonly leaderships: Leaderships
  /** Loads what is agreed on, without becoming a part of it. Before anything else. */
  start(): Promise<void>
  /** Becomes a member. The address may be told only now, since a port is free to be chosen at listening. */
  join(self: BrokerRecord): Promise<void>
  /**
   * Tells what has changed about this broker, which has joined: the record of the same life. Told when it resolves; when it
   * rejects, it is told as soon as that is possible.
   */
  announce(self: BrokerRecord): Promise<void>
  /** The members, this one included once it has joined, by ascending id. */
  brokers(): readonly BrokerRecord[]
  /** The newest life of the broker that anybody has told of, be it over or not; undefined when none is remembered. */
  lastLifeOf(id: BrokerId): BrokerRecord | undefined
  /** The broker that administers topics: the same on all members, as far as they agree. */
  controller(): BrokerId | undefined
  /** The session of a broker that brokers() names: of one life from when it joined until it was lost. */
  sessionOf(id: BrokerId): string | undefined
  /**
   * Marks the session of a broker as over, whose process is known to be gone, instead of waiting for it to expire.
   * `moved-on`: the broker has begun another one meanwhile. Asking again is harmless.
   */
  endSession(id: BrokerId, session: string): Promise<'done' | 'moved-on'>
  /** Up to when this broker may believe itself a member, by its monotonic clock, in milliseconds. */
  sessionValidUntil(): number
  health(): CoordinatorHealth
  /** Changes after they have been made, in order, each once. The listener must not throw. */
  subscribe(listener: (change: ClusterChange) => void): { remove(): void }
  /** Leaves; gives leaderships back unless it must be quick. Idempotent. */
  stop(options?: { readonly immediately?: boolean }): Promise<void>
}

/** Where a broker keeps topic definitions, durably: the embedded catalogue's only truth, a cluster's local copy. */
export interface CatalogueStore {
  list(): Iterable<TopicDefinition>
  /** Durable when it resolves; nothing has changed when it rejects. */
  put(topic: TopicDefinition): Promise<void>
  /** As put; the id is remembered as deleted. */
  remove(id: TopicId): Promise<void>
}

export interface CoordinatorContext {
  readonly cluster: string
  readonly brokerId: BrokerId
  readonly incarnation: string
  readonly store: CatalogueStore
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  /** Default: nothing is counted. */
  readonly meter?: Meter
  /** Where the brokers of the cluster agree; absent where this broker is the whole cluster. */
  readonly redis?: RedisSettings
  /** What this broker's own disk knows of the cluster besides the topics; nothing if absent. */
  readonly onDisk?: OnDisk
}

export interface RedisSettings {
  /** redis://user:password@host:port/database, rediss: with TLS. */
  readonly url: string
  /** How long a session lives that is not renewed, in milliseconds. */
  readonly sessionTimeoutMs: number
}

/** All that a coordinator may have forgotten and this broker's own disk has not, besides topics. */
export interface OnDisk {
  /** Which cluster it belongs to; undefined before it has been in one. */
  readonly clusterId: string | undefined
  /** Durable when it resolves. Called before anything of a cluster that is new to this disk is believed. */
  keepClusterId?(clusterId: string): Promise<void>
  tombstones(): Iterable<TopicId>
  /** Of the partitions of which this broker has a replica. */
  leaderships(): Iterable<OwnLeadershipRecord>
}

export interface OwnLeadershipRecord extends PartitionName {
  readonly leaderEpoch: LeaderEpoch
  readonly leader: BrokerId | undefined
  readonly version: number
  readonly inSyncReplicas: readonly BrokerId[]
}

/** A promise where the implementation is loaded only when it is needed. */
export type CoordinatorFactory = (context: CoordinatorContext) => Coordinator | Promise<Coordinator>
