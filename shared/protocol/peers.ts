// What brokers ask of one another: promises, news of leaders, and the records of partitions that they follow. The same
// connection, frames and limits as for clients; a broker that is alone is never asked.
//
// Partitions go by topic id, never by name: a topic that was deleted and made anew is another one. Every answer stands at
// the position of what was asked.

import { VOTERS_MAX } from '../voters.ts'
import { array, boolean, count53, int32, optional, partitionNumber, string, struct, uint32 } from './schema.ts'

/** Partitions in one request between brokers; what is more goes into another one. */
export const PEER_PARTITIONS_MAX = 10_000

/** Asks for the promises that an election needs. */
export const fenceRequest = struct({
  /** The candidate. */
  brokerId: int32,
  partitions: array(struct({ topicId: string, partition: partitionNumber, epoch: int32 }), PEER_PARTITIONS_MAX),
})

/** How a fence was answered; `none` when nothing came of it: a later promise has overtaken it, or there is no such replica. */
export const FENCE_ANSWERS = { none: 0, granted: 1, refused: 2 } as const

export const fenceResponse = struct({
  partitions: array(
    struct({
      answer: uint32,
      /** Of a grant: on which disk it was made, and how far the log there reaches. */
      directoryId: optional(string),
      isSuspect: boolean,
      latestEpoch: optional(int32),
      logEndOffset: count53,
      /** Of a refusal: what has been promised, and who is known to lead there. */
      promisedEpoch: optional(int32),
      leader: optional(int32),
    }),
    PEER_PARTITIONS_MAX,
  ),
})

/** Tells who has won. */
export const announceLeadersRequest = struct({
  /** The leader. */
  brokerId: int32,
  partitions: array(struct({ topicId: string, partition: partitionNumber, epoch: int32 }), PEER_PARTITIONS_MAX),
})

/** Only the refused. */
export const announceLeadersResponse = struct({
  refused: array(struct({ index: uint32, promisedEpoch: int32, leader: optional(int32) }), PEER_PARTITIONS_MAX),
})

/** Asks a broker to try to lead: a leader that hands over, or a candidate that has seen a better log than its own. */
export const suggestLeaderRequest = struct({
  brokerId: int32,
  partitions: array(struct({ topicId: string, partition: partitionNumber, epochSeen: int32 }), PEER_PARTITIONS_MAX),
})

export const suggestLeaderResponse = struct({})

/** Asks the leader whether replicas may go that nobody wants any more; meanwhile they may take part in nothing. */
export const dismissReplicasRequest = struct({
  /** Who has the replicas, and on which disk. */
  brokerId: int32,
  directoryId: string,
  /** With the latest epoch of the log; absent when it never had a record. */
  partitions: array(
    struct({ topicId: string, partition: partitionNumber, latestEpoch: optional(int32) }),
    PEER_PARTITIONS_MAX,
  ),
})

/** Whoever does not lead, or needs the replica, says no. */
export const dismissReplicasResponse = struct({ isDismissed: array(boolean, PEER_PARTITIONS_MAX) })

/** Asks whether a process is gone: whoever is asked tries to connect to it, unless it has heard from it just now. */
export const probeBrokerRequest = struct({ brokerId: int32, incarnation: string })

export const probeBrokerResponse = struct({
  /** Its address refuses connections. Slow, or not known, is not gone. */
  isGone: boolean,
})

const voterSet = struct({
  minInSyncReplicas: uint32,
  voters: array(struct({ brokerId: int32, directoryId: string }), VOTERS_MAX),
})

/** Records for a follower, waiting for them if there are none yet. Every position is an acknowledgement, too. */
export const replicaFetchRequest = struct({
  brokerId: int32,
  directoryId: string,
  /** Grows with every start of the broker on this directory. */
  incarnation: count53,
  /** Milliseconds to wait for the first byte. */
  maxWaitMs: uint32,
  /** Of the whole response; the first batch comes even if it is longer. */
  maxBytes: uint32,
  partitions: array(
    struct({
      topicId: string,
      partition: partitionNumber,
      leaderEpoch: int32,
      fetchOffset: count53,
      /** Epoch of the record before fetchOffset; absent when the log never had one. */
      lastFetchedEpoch: optional(int32),
      /** Up to where the follower may be counted. */
      heldEndOffset: count53,
      /** What the follower shows; a leader that has moved on says so with its next answer. */
      highWatermark: count53,
      isSuspect: boolean,
      /** Its disk has lost records of what it holds (quarantine): it is not to lead while another can. Absent: no. */
      hasHoles: optional(boolean),
      /** All that it has it has copied from this leader, in this epoch: the `drops` that it was told then. */
      copiedSince: optional(count53),
    }),
    PEER_PARTITIONS_MAX,
  ),
})

export const REPLICA_FETCH_ANSWERS = { records: 0, diverging: 1, logStart: 2, refused: 3 } as const

/** Only the partitions that have something to say. The tail is their records, one partition behind the other. */
export const replicaFetchResponse = struct({
  partitions: array(
    struct({
      /** Position of the partition in the request. */
      index: uint32,
      answer: uint32,
      /** Number of a row of shared/errors.ts; only of a refusal. */
      error: int32,
      /** Of records: how far the leader shows them, and from where on it has them. */
      highWatermark: count53,
      logStartOffset: count53,
      clearsSuspect: boolean,
      bytes: uint32,
      /** Where the logs part, or where the leader's begins: the epoch there, and its end or start. */
      epoch: optional(int32),
      /** Of records: where the leader's log ends. */
      offset: count53,
      lossAcceptedIn: optional(int32),
      /** Where the leader's log begins: the voters record in force there, if there is one; two sets while they change. */
      votersOffset: optional(count53),
      voterSets: array(voterSet, 2),
      /**
       * Where the leader's log begins, of a compacted one: how often it has dropped tombstones, and the end of the newest of
       * them. What the follower has may have been deleted by these: it is to copy the log anew.
       */
      drops: optional(count53),
      droppedTo: optional(count53),
    }),
    PEER_PARTITIONS_MAX,
  ),
})
