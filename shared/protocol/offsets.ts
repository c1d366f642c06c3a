// listOffsets: where a partition begins, ends, or stood at a time.

import { array, count53, int32, integer, optional, partitionNumber, string, struct } from './schema.ts'

/** What `at` may be besides a timestamp in milliseconds: as in Kafka. */
export const OFFSET_AT = { latest: -1, earliest: -2, maxTimestamp: -3 } as const

export const listOffsetsRequest = struct({
  partitions: array(
    struct({
      topic: string,
      partition: partitionNumber,
      leaderEpoch: optional(int32),
      /** A timestamp (first record that is not older), or one of OFFSET_AT. */
      at: integer(-3, Number.MAX_SAFE_INTEGER),
    }),
  ),
})

/** One element a partition of the request, in its order. */
export const listOffsetsResponse = struct({
  partitions: array(
    struct({
      error: int32,
      message: optional(string),
      /** Absent when no record is as young as the timestamp asked for. `latest` is the high watermark. */
      offset: optional(count53),
      timestamp: optional(count53),
      leaderEpoch: optional(int32),
    }),
  ),
})
