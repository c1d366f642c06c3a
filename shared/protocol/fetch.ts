// fetch: whole record batches from any number of partitions, waiting for them if there are none yet. The tail of a
// response is the batches of its partitions, one partition behind the other; `bytes` says where one ends.

import { array, count53, int32, optional, partitionNumber, string, struct, uint32 } from './schema.ts'

export const fetchRequest = struct({
  /** How long to wait for minBytes, milliseconds. 0 answers at once. */
  maxWaitMs: uint32,
  minBytes: uint32,
  /** Of the whole response. The first batch of the first partition that has one comes even if it is longer. */
  maxBytes: uint32,
  partitions: array(
    struct({
      topic: string,
      topicId: optional(string),
      partition: partitionNumber,
      leaderEpoch: optional(int32),
      fetchOffset: count53,
      maxBytes: uint32,
    }),
  ),
})

/** Only the partitions that have records or an error. */
export const fetchResponse = struct({
  partitions: array(
    struct({
      /** Position of the partition in the request. */
      index: uint32,
      error: int32,
      message: optional(string),
      /** Absent after an error that says nothing about the partition. */
      highWatermark: optional(count53),
      logStartOffset: optional(count53),
      bytes: uint32,
    }),
  ),
})
