// ListPartitionReassignments: the partitions that are on their way to other brokers.
//
// v0 is flexible and the only one.

import { defineApi } from './api.ts'

export const listPartitionReassignments = defineApi({
  key: 46,
  name: 'ListPartitionReassignments',
  versions: '0',
  flexible: '0+',
  request: {
    timeoutMs: { type: 'int32', default: 60000 },
    topics: {
      array: {
        name: 'string',
        partitionIndexes: { array: 'int32' },
      },
      nullable: true,
      default: null,
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: 'int16',
    errorMessage: { type: 'string', nullable: true },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            replicas: { array: 'int32' },
            addingReplicas: { array: 'int32' },
            removingReplicas: { array: 'int32' },
          },
        },
      },
    },
  },
})
