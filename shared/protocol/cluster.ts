// clusterInfo: the brokers, and whether all is well.

import { array, boolean, count53, int32, optional, string, struct, uint32 } from './schema.ts'

export const clusterInfoRequest = struct({})

export const clusterInfoResponse = struct({
  cluster: string,
  controllerId: optional(int32),
  brokers: array(
    struct({
      brokerId: int32,
      host: string,
      port: uint32,
      rack: optional(string),
      software: string,
      startedAt: count53,
      topics: uint32,
      partitions: uint32,
      /** Known of the answering broker only. */
      bytes: count53,
      /** How many partitions it leads. */
      leaders: optional(uint32),
      /** It is to lead nothing that another can. */
      isDraining: optional(boolean),
    }),
  ),
  /** Each thing that was looked at; the cluster is healthy when all are ok. */
  checks: array(struct({ name: string, isOk: boolean, detail: string })),
})
