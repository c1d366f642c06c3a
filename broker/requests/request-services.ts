// What the requests work with: the same for all of them, made once by whoever composes the broker.

import type { BrokerId, LeaderEpoch, Offset, TopicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { Clock } from '../../shared/time.ts'
import type { Coordinator } from '../coordination/coordinator.ts'
import type { GroupCoordinator } from '../groups/group-coordinator.ts'
import type { DelayedOperations } from '../replication/delayed-operations.ts'
import type { PartitionManager } from '../replication/partition-manager.ts'
import type { Peers } from '../replication/peers.ts'
import type { ReplicaRequests } from './requests.ts'

export interface RequestLimits {
  /** Bytes of records in one fetch response; a single batch may be longer. */
  readonly fetchMaxBytes: number
  readonly autoCreateTopics: boolean
  readonly defaultPartitions: number
  readonly defaultReplicationFactor: number
}

/** What a replica knows of its leadership by itself. */
export interface LocalLeadership {
  /** Absent where the replica knows that the leader of the epoch leads no more. */
  readonly leader: BrokerId | undefined
  readonly leaderEpoch: LeaderEpoch
  readonly inSyncReplicas: readonly BrokerId[]
}

/** A replica on this broker, as it is at the moment. */
export interface LocalReplica {
  /** Whether its log is open; if not, nothing else here is of any worth. */
  readonly isOpen: boolean
  readonly isLeading: boolean
  /** It takes part, and knows nobody who leads. */
  readonly isLeaderless: boolean
  /** Whose word counts, by its log; two sets while a change is under way, the older one first. */
  readonly voterSets: readonly VoterSet[]
  /** It may lack records that it has confirmed. */
  readonly isSuspect: boolean
  readonly logStartOffset: Offset
  readonly highWatermark: Offset
  readonly logEndOffset: Offset
  /** Has another replica lead as soon as that one has all that this leader has. */
  handOver(to: BrokerId): void
  /** Has it go on alone, whatever others have; false where that cannot begin now. It leads some time later. */
  recover(): boolean
}

/** What the topic of groups is made with. */
export interface OffsetsTopicOptions {
  readonly partitions: number
  /** Fewer where there are not so many brokers. */
  readonly replicas: number
}

/** A setting that this broker was started with. */
export interface BrokerSetting {
  readonly name: string
  readonly value: string | number | boolean | undefined
  readonly isDefault: boolean
  readonly isSecret: boolean
  readonly about: string
}

export interface GroupServices {
  readonly groups: GroupCoordinator
  readonly topic: OffsetsTopicOptions
}

export interface RequestServices {
  readonly cluster: string
  readonly brokerId: BrokerId
  readonly partitions: PartitionManager
  readonly coordinator: Coordinator
  readonly delayed: DelayedOperations
  readonly limits: RequestLimits
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Whether topics are given replicas on several brokers; false if absent: this broker has everything. */
  readonly isCluster?: boolean
  /** What the replica of the partition on this broker knows of its leadership; undefined where there is none. */
  readonly localLeadership?: (id: TopicId, partition: number) => LocalLeadership | undefined
  /** The replica of the partition on this broker; undefined where there is none. */
  readonly localReplica?: (id: TopicId, partition: number) => LocalReplica | undefined
  /** Why the partition is not as it should be, where the replica on this broker knows better than everybody else. */
  readonly explain?: (id: TopicId, partition: number) => string | undefined
  /** Absent where a broker is its own cluster. */
  readonly replicas?: ReplicaRequests
  /** Absent where no groups are coordinated. */
  readonly groups?: GroupServices
  /** The other brokers. Absent where a broker is its own cluster. */
  readonly peers?: Peers
  /** Of the members that this broker could not connect to: where they are said to be, and why. */
  readonly peerTroubles?: () => readonly {
    readonly peer: BrokerId
    readonly address: string
    readonly trouble: string
  }[]
  /** Sets or takes back the mark that this broker is drained. Absent where a broker is its own cluster. */
  readonly drain?: (isDraining: boolean) => Promise<void>
  /** What this broker was started with, by Kafka's names where it has one; absent where nobody may know. */
  readonly settings?: () => readonly BrokerSetting[]
  /** What is looked at to tell whether all is well. */
  readonly checks: () => readonly { readonly name: string; readonly isOk: boolean; readonly detail: string }[]
}
