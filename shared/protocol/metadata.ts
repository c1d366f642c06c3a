// metadata: which brokers there are, and who leads which partition.

import { array, boolean, int32, optional, partitionNumber, string, struct, uint32 } from './schema.ts'

export const metadataRequest = struct({
  /** Topic names; absent asks for all topics. */
  topics: optional(array(string)),
  /** Whether unknown topics shall be created, where the broker allows it. */
  createMissing: boolean,
})

export const metadataResponse = struct({
  cluster: string,
  controllerId: optional(int32),
  brokers: array(struct({ brokerId: int32, host: string, port: uint32, rack: optional(string) })),
  topics: array(
    struct({
      error: int32,
      message: optional(string),
      topic: string,
      topicId: optional(string),
      isInternal: boolean,
      partitions: array(
        struct({
          error: int32,
          partition: partitionNumber,
          leader: optional(int32),
          leaderEpoch: optional(int32),
          replicas: array(int32),
          inSyncReplicas: array(int32),
        }),
      ),
      /** Bytes that a batch may have as it is stored; absent where that is not known. */
      batchBytesMax: optional(uint32),
    }),
  ),
})
