// What a client may ask of a broker, in no wire format: the room between the protocols, which only translate, and the
// partitions, which hold the truth. Produce and fetch answer through callbacks, because a promise for each would cost more
// than the work; everything else is a promise. Nothing here throws for what a client sent: refusals are outcomes.

import type { ErrorCode } from '../../shared/errors.ts'
import type { Offset, TimestampMs, TopicId } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'

/** Who is asking; lives as long as the connection. */
export interface RequestContext {
  readonly connectionId: number
  readonly protocol: 'native' | 'kafka'
  readonly remote: string
  /** The name of the listener that the connection came by, where the broker has several; absent for the first. */
  readonly listener?: string | undefined
  clientId: string
  software: string
}

export interface Refusal {
  readonly error: ErrorCode
  readonly message: string | undefined
}

export interface ProducePartition {
  readonly topic: string
  readonly topicId: TopicId | undefined
  readonly partition: number
  readonly leaderEpoch: number | undefined
  /** One or more record batches. Valid only during the call. */
  readonly records: Uint8Array
}

export interface ProduceRequest {
  /** 0: nobody waits; 1: in the leader's log; -1: held by min.insync.replicas. Durability is the topic's. */
  readonly acks: number
  readonly timeoutMs: number
  /** Whether the batches are copies of another log's that keep the offsets they have. */
  readonly keepsOffsets?: boolean
  /** Whether a batch that a producer sends again may have other bytes than before. */
  readonly mayDiffer?: boolean
  readonly partitions: readonly ProducePartition[]
}

/** The mutable object that the answer of one partition is gathered in. */
export interface ProduceOutcome {
  refusal: Refusal | undefined
  baseOffset: Offset | undefined
  logStartOffset: Offset | undefined
  logAppendTime: TimestampMs | undefined
}

export interface FetchPartition {
  readonly topic: string
  readonly topicId: TopicId | undefined
  readonly partition: number
  readonly leaderEpoch: number | undefined
  readonly fetchOffset: number
  readonly maxBytes: number
}

export interface FetchRequest {
  /** Whether the answer tells of partitions without news too. */
  readonly tellsAll?: boolean
  readonly maxWaitMs: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly partitions: readonly FetchPartition[]
}

/** Whole batches that stay where they are until released. */
export interface RecordSlice {
  readonly bytes: Uint8Array
  /** Called once, when the bytes have been handed to the system or are not wanted any more. */
  release(): void
}

export interface FetchOutcome {
  /** Position of the partition in the request. */
  readonly index: number
  readonly refusal: Refusal | undefined
  readonly highWatermark: Offset | undefined
  readonly logStartOffset: Offset | undefined
  readonly records: RecordSlice | undefined
}

/** A fetch that may still be waiting. */
export interface PendingFetch {
  /** The connection is gone: nothing will be answered. Idempotent. */
  cancel(): void
}

/** What is asked of the coordinator of a group. */
export type GroupRequest =
  | 'findCoordinator'
  | 'joinGroup'
  | 'syncGroup'
  | 'heartbeat'
  | 'leaveGroup'
  | 'commitOffsets'
  | 'fetchOffsets'
  | 'listGroups'
  | 'describeGroups'
  | 'deleteGroups'
  | 'deleteOffsets'

/** The requests whose native messages are already in no particular wire format. */
export type PlainRequest =
  | 'metadata'
  | 'listOffsets'
  | 'initProducerId'
  | 'createTopics'
  | 'deleteTopics'
  | 'alterTopic'
  | 'addPartitions'
  | 'trim'
  | 'describeTopics'
  | 'clusterInfo'
  | 'drainBroker'
  | 'movePartitions'
  | 'decommissionBroker'
  | 'balanceReplicas'
  | 'recoverPartition'
  | 'electLeaders'
  | 'fence'
  | 'announceLeaders'
  | 'suggestLeader'
  | 'probeBroker'
  | 'dismissReplicas'
  | GroupRequest

/** What a follower's fetch is answered with for one partition: the message, and the records that go with it. */
export interface ReplicaFetchOutcome {
  readonly answer: Omit<ResponseOf<'replicaFetch'>['partitions'][number], 'bytes'>
  readonly records: RecordSlice | undefined
}

/** What other brokers ask of the replicas of this one. */
export interface ReplicaRequests {
  /** Calls `respond` once, as a fetch does; every slice in it must be released. */
  replicaFetch(
    request: RequestOf<'replicaFetch'>,
    respond: (outcomes: readonly ReplicaFetchOutcome[]) => void,
    onReading?: (isReading: boolean) => void,
  ): PendingFetch
  fence(request: RequestOf<'fence'>): Promise<ResponseOf<'fence'>>
  announceLeaders(request: RequestOf<'announceLeaders'>): Promise<ResponseOf<'announceLeaders'>>
  suggestLeader(request: RequestOf<'suggestLeader'>): Promise<object>
  probeBroker(request: RequestOf<'probeBroker'>): Promise<ResponseOf<'probeBroker'>>
  dismissReplicas(request: RequestOf<'dismissReplicas'>): Promise<ResponseOf<'dismissReplicas'>>
}

/** Consumer groups, as far as this broker coordinates them. */
export interface GroupRequests {
  onConnectionClosed(connectionId: number): void
  /** Whoever waits is answered. */
  stop(): void

  /** @throws TidemarkError when the request as a whole is refused. */
  ask<Name extends GroupRequest>(
    name: Name,
    request: RequestOf<Name>,
    context: RequestContext,
  ): Promise<ResponseOf<Name>>
}

export interface Requests {
  /** Nothing can be answered on the connection any more. To be told once. */
  onConnectionClosed?(context: RequestContext): void

  /**
   * Appends the batches in the order of the array, before returning; `respond` is called once, when every partition is
   * acknowledged or refused, with one outcome a partition, in the request's order. With acks 0 it is called as well, and
   * the protocol says nothing.
   */
  produce(
    request: ProduceRequest,
    context: RequestContext,
    respond: (outcomes: readonly ProduceOutcome[]) => void,
  ): void

  /**
   * Calls `respond` once, with the partitions that have records or a refusal, and if that is asked for the others: at once, or when enough has been appended,
   * or when the wait is over. Every slice in it must be released. `onReading` is told when the fetch begins to wait for
   * the disk, which will bring records soon, and when it does so no more; what waits for appends is not reading.
   */
  fetch(
    request: FetchRequest,
    context: RequestContext,
    respond: (outcomes: readonly FetchOutcome[]) => void,
    onReading?: (isReading: boolean) => void,
  ): PendingFetch

  /** As fetch, for another broker that follows partitions of this one. */
  replicaFetch(
    request: RequestOf<'replicaFetch'>,
    context: RequestContext,
    respond: (outcomes: readonly ReplicaFetchOutcome[]) => void,
    onReading?: (isReading: boolean) => void,
  ): PendingFetch

  /** @throws TidemarkError when the request as a whole is refused. */
  ask<Name extends PlainRequest>(
    name: Name,
    request: RequestOf<Name>,
    context: RequestContext,
  ): Promise<ResponseOf<Name>>
}
