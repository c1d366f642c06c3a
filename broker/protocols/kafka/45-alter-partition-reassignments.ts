// AlterPartitionReassignments: moves partitions to other brokers, or calls a move off.
//
// v0 is flexible. Not served: v1, which can forbid another number of replicas.

import { defineApi } from './api.ts'

export const alterPartitionReassignments = defineApi({
  key: 45,
  name: 'AlterPartitionReassignments',
  versions: '0',
  flexible: '0+',
  request: {
    timeoutMs: { type: 'int32', default: 60000 },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            replicas: { array: 'int32', nullable: true, default: null },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: 'int16',
    errorMessage: { type: 'string', nullable: true },
    responses: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            errorCode: 'int16',
            errorMessage: { type: 'string', nullable: true },
          },
        },
      },
    },
  },
})
