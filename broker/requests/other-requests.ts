// Requests that the native protocol has no message for: what only Kafka's clients and tools ask. In no wire format; the names
// are ours. Types only.

import type { Offset } from '../../shared/ids.ts'
import type { WireOutcome } from './outcome.ts'
import type { Requests } from './requests.ts'

interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export interface EpochEndsRequest {
  readonly partitions: readonly (TopicPartition & {
    /** What the asker takes for the present epoch; refused unless it is. */
    readonly currentLeaderEpoch: number | undefined
    readonly leaderEpoch: number
  })[]
}

/** Nothing where the log knows of no epoch so old. */
export interface EpochEnd extends WireOutcome {
  readonly leaderEpoch: number | undefined
  readonly endOffset: Offset | undefined
}

export interface ProducersRequest {
  readonly partitions: readonly TopicPartition[]
}

export interface DescribedProducers extends WireOutcome {
  readonly producers: readonly {
    readonly producerId: number
    readonly epoch: number
    readonly lastSequence: number | undefined
    readonly lastSeenMs: number
  }[]
}

export interface LogDirectoryRequest {
  /** Absent: all. */
  readonly topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[] | undefined
}

export interface LogDirectoryContents extends WireOutcome {
  readonly path: string
  readonly totalBytes: number
  readonly freeBytes: number
  readonly partitions: readonly (TopicPartition & { readonly bytes: number; readonly offsetLag: number })[]
}

export interface ConfigsRequest {
  readonly resources: readonly {
    readonly kind: 'topic' | 'broker'
    /** Of a topic; the number of a broker, or nothing for what all brokers have in common. */
    readonly name: string
    /** Absent: all settings. */
    readonly settings: readonly string[] | undefined
  }[]
}

export interface DescribedSetting {
  readonly name: string
  readonly value: string | undefined
  readonly type: 'boolean' | 'string' | 'integer' | 'ratio' | 'list' | 'secret'
  /** Who set it: the topic, the broker's operator, or nobody. */
  readonly source: 'topic' | 'broker' | 'default'
  /** Whether it can be changed by a request. */
  readonly isReadOnly: boolean
  readonly about: string
}

export interface DescribedResource extends WireOutcome {
  readonly settings: readonly DescribedSetting[]
}

export interface ReassignmentsRequest {
  /** Absent: all that are under way. */
  readonly topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[] | undefined
}

/** A partition on its way to other brokers. */
export interface Reassignment extends TopicPartition {
  /** Both those that it has and those that it is to have. */
  readonly replicas: readonly number[]
  readonly adding: readonly number[]
  readonly removing: readonly number[]
}

export interface OtherRequests {
  readonly epochEnds: (request: EpochEndsRequest) => readonly EpochEnd[]
  readonly describeProducers: (request: ProducersRequest) => readonly DescribedProducers[]
  readonly describeLogDirectory: (request: LogDirectoryRequest) => LogDirectoryContents
  readonly describeConfigs: (request: ConfigsRequest) => readonly DescribedResource[]
  readonly listReassignments: (request: ReassignmentsRequest) => readonly Reassignment[]
}

/** A topic to be made, as Kafka's tools may ask for it. */
export interface AskedTopic {
  /** The brokers of each partition, the preferred leader first, instead of numbers. */
  readonly replicas?: readonly (readonly number[])[]
}

/** Partitions to be added, as Kafka's tools may ask for them. */
export interface AskedPartitions {
  /** The brokers of each partition that is new. */
  readonly replicas?: readonly (readonly number[])[] | undefined
}

/** A change of a topic's settings, as Kafka's tools may ask for it. */
export interface AskedAlteration {
  /** What is not set goes back to its default. */
  readonly replaces?: boolean
  /** Values that lists get, or lose. */
  readonly append?: readonly (readonly [name: string, value: string])[]
  readonly subtract?: readonly (readonly [name: string, value: string])[]
}

/** A member that comes into a group, as Kafka's clients do. */
export interface AskedJoin {
  /** It does not know that it could be told its id first. */
  readonly needsNoId?: boolean
}

/** All that there is to ask. Those of here are answered at once, as things are. */
export interface AllRequests extends Requests {
  readonly other: OtherRequests
  /** The name of the topic with this id; undefined where there is none. */
  topicName(id: string): string | undefined
}
