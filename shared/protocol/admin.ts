// The requests that administer topics. Each topic is answered for itself: one that is refused does not hold up the rest.

import {
  array,
  boolean,
  count53,
  int32,
  integer,
  optional,
  partitionNumber,
  string,
  stringPairs,
  struct,
  uint32,
} from './schema.ts'

const outcome = struct({ topic: string, error: int32, message: optional(string) })

export const createTopicsRequest = struct({
  topics: array(
    struct({
      topic: string,
      /** Absent: the broker's default. */
      partitions: optional(int32),
      replicationFactor: optional(int32),
      config: stringPairs,
    }),
  ),
  /** Only check, change nothing. */
  validateOnly: boolean,
  timeoutMs: uint32,
})

export const createTopicsResponse = struct({
  topics: array(
    struct({
      topic: string,
      error: int32,
      message: optional(string),
      topicId: optional(string),
      partitions: optional(int32),
      replicationFactor: optional(int32),
    }),
  ),
})

export const deleteTopicsRequest = struct({ topics: array(string), timeoutMs: uint32 })
export const deleteTopicsResponse = struct({ topics: array(outcome) })

export const alterTopicRequest = struct({
  topic: string,
  set: stringPairs,
  /** Keys that go back to their defaults. */
  remove: array(string),
  validateOnly: boolean,
})
export const alterTopicResponse = struct({})

export const addPartitionsRequest = struct({
  topic: string,
  /** The number of partitions afterwards. */
  partitions: int32,
  validateOnly: boolean,
})
export const addPartitionsResponse = struct({})

export const trimRequest = struct({
  partitions: array(
    struct({
      topic: string,
      partition: partitionNumber,
      /** Everything below goes; -1 stands for the high watermark. */
      beforeOffset: integer(-1, Number.MAX_SAFE_INTEGER),
    }),
  ),
})
export const trimResponse = struct({
  partitions: array(
    struct({
      topic: string,
      partition: partitionNumber,
      error: int32,
      message: optional(string),
      logStartOffset: optional(count53),
    }),
  ),
})

export const describeTopicsRequest = struct({
  /** Absent: all topics. */
  topics: optional(array(string)),
})
export const describeTopicsResponse = struct({
  topics: array(
    struct({
      topic: string,
      error: int32,
      message: optional(string),
      topicId: optional(string),
      replicationFactor: optional(int32),
      config: array(struct({ name: string, value: string, isDefault: boolean, about: string })),
      partitions: array(
        struct({
          partition: partitionNumber,
          leader: optional(int32),
          leaderEpoch: optional(int32),
          replicas: array(int32),
          /** None where nobody is known to lead. */
          inSyncReplicas: array(int32),
          logStartOffset: count53,
          highWatermark: count53,
          logEndOffset: count53,
          /** Everything below is on stable storage. */
          recoveryPoint: count53,
          segments: uint32,
          bytes: count53,
          /** online, read-only or offline; `reason` says why it is not online. */
          state: string,
          reason: optional(string),
          /** Ranges of offsets lost to corruption: start inclusive, end exclusive. */
          quarantined: array(struct({ startOffset: count53, endOffset: count53 })),
          /** The replicas that are wanted, while a move is under way. */
          movingTo: optional(array(int32)),
          /** The broker whose log the offsets, segments and bytes are of; absent where it has none, and they are 0. */
          figuresOf: optional(int32),
          /** Where nobody is known to lead: who did before, and who was in sync then, as far as that is known. */
          last: optional(struct({ leader: optional(int32), inSyncReplicas: array(int32) })),
        }),
      ),
    }),
  ),
})
