// CreatePartitions: gives topics more partitions.
//
// v1 throttles after the answer. v2 is flexible. v3 may refuse for a quota.

import { defineApi } from './api.ts'

export const createPartitions = defineApi({
  key: 37,
  name: 'CreatePartitions',
  versions: '0-3',
  flexible: '2+',
  request: {
    topics: {
      array: {
        name: 'string',
        count: 'int32',
        assignments: {
          array: {
            brokerIds: { array: 'int32' },
          },
          nullable: true,
        },
      },
    },
    timeoutMs: 'int32',
    validateOnly: 'boolean',
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    results: {
      array: {
        name: 'string',
        errorCode: 'int16',
        errorMessage: { type: 'string', nullable: true, default: null },
      },
    },
  },
})
