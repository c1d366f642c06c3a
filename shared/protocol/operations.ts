// The requests by which a cluster is operated: which brokers lead and hold what, and what to do when too few replicas are
// left. Partitions are answered for themselves: one that is refused does not hold up the rest.

import { array, boolean, count53, int32, integer, optional, partitionNumber, string, struct, uint32 } from './schema.ts'

/** The mark is kept by the broker itself, so it is the one to be asked. */
export const drainBrokerRequest = struct({
  broker: int32,
  /** False takes the mark away. */
  isDraining: boolean,
})
export const drainBrokerResponse = struct({})

/** Partitions that one request moves, or one answer plans. */
export const MOVES_MAX = 10_000

export const movePartitionsRequest = struct({
  moves: array(
    struct({
      topic: string,
      partition: partitionNumber,
      /** The brokers that are to have a replica, the preferred leader first; none: the move under way is called off. */
      replicas: array(int32),
    }),
    MOVES_MAX,
  ),
  /** Only check, change nothing. */
  validateOnly: boolean,
})

const movedPartition = struct({
  topic: string,
  partition: partitionNumber,
  error: int32,
  message: optional(string),
  /** Before the move. */
  from: array(int32),
  /** What is wanted now; the same as `from` where there is nothing to do. */
  to: array(int32),
  /** Nothing was to be done: its replicas are there, in that order, on the disks that those brokers have now. */
  isThere: boolean,
})

export const movePartitionsResponse = struct({ partitions: array(movedPartition, MOVES_MAX) })

/** Moves every replica of a broker to others. Asked again, it plans what is left. */
export const decommissionBrokerRequest = struct({ broker: int32, validateOnly: boolean })

export const decommissionBrokerResponse = struct({
  /** Those of this call; not more than MOVES_MAX. */
  partitions: array(movedPartition, MOVES_MAX),
  /** Replicas that the broker has still, those that are on their way included. */
  left: count53,
})

/** Gives brokers that have few replicas some of those that have many, and evens out who is preferred as leader. */
export const balanceReplicasRequest = struct({
  /** Partitions that change, at most; asked again, it plans the next ones. */
  movesMax: integer(1, MOVES_MAX),
  validateOnly: boolean,
})

export const balanceReplicasResponse = struct({
  /** Those of this call. */
  partitions: array(movedPartition, MOVES_MAX),
  /** Partitions that were on their way before. */
  underWay: count53,
})

/** Lets one replica lead although others, which may know more, are not there. Asked of the broker that has it. */
export const recoverPartitionRequest = struct({
  topic: string,
  partition: partitionNumber,
  broker: int32,
  /** False: only tells what would be lost. */
  isLossAccepted: boolean,
})

export const recoverPartitionResponse = struct({
  isDone: boolean,
  /** Of the replica on that broker. */
  logStartOffset: count53,
  highWatermark: count53,
  logEndOffset: count53,
  /** What would be lost, or what is to be done instead; a sentence each. */
  notes: array(string),
})

/** Has partitions led by whom they should be led: the first of their replicas. */
export const electLeadersRequest = struct({
  /** Absent: all that are led by somebody else. */
  partitions: optional(array(struct({ topic: string, partition: partitionNumber }), MOVES_MAX)),
  /** How long it is waited for; it goes on afterwards. */
  timeoutMs: uint32,
  /** The one who is asked is to ask nobody else: from another broker. */
  isForwarded: boolean,
})

/** One element a partition of the request, in its order; for all, one a partition that was led by somebody else. */
export const electLeadersResponse = struct({
  partitions: array(
    struct({ topic: string, partition: partitionNumber, error: int32, message: optional(string) }),
    MOVES_MAX,
  ),
})
