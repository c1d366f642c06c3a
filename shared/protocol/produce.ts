// produce and initProducerId. The tail of a produce request is the record batches of its partitions, one partition behind
// the other in the order of the array; `bytes` says where one ends.

import { array, count53, int32, integer, optional, partitionNumber, string, struct, uint32 } from './schema.ts'

export const produceRequest = struct({
  /** 0: no answer at all; 1: in the leader's log; -1: held by min.insync.replicas. */
  acks: integer(-1, 1),
  timeoutMs: uint32,
  partitions: array(
    struct({
      topic: string,
      /** When present and not the id of the topic that has this name now, the partition is refused. */
      topicId: optional(string),
      partition: partitionNumber,
      leaderEpoch: optional(int32),
      bytes: uint32,
    }),
  ),
})

/** One element a partition of the request, in its order. */
export const produceResponse = struct({
  partitions: array(
    struct({
      error: int32,
      message: optional(string),
      /** Of the first record; of the first time for a batch that was a duplicate. Absent after an error. */
      baseOffset: optional(count53),
      logStartOffset: optional(count53),
      /** Set when the topic's timestamps are given by the broker. Milliseconds. */
      logAppendTime: optional(count53),
    }),
  ),
})

export const initProducerIdRequest = struct({})

export const initProducerIdResponse = struct({
  producerId: count53,
  producerEpoch: integer(0, 0x7fff),
})
