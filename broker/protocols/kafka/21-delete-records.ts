// DeleteRecords: moves the log start offset of partitions up.
//
// v1 throttles after the answer. v2 is flexible.

import { defineApi } from './api.ts'

export const deleteRecords = defineApi({
  key: 21,
  name: 'DeleteRecords',
  versions: '0-2',
  flexible: '2+',
  request: {
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            offset: 'int64',
          },
        },
      },
    },
    timeoutMs: 'int32',
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            lowWatermark: 'int64',
            errorCode: 'int16',
          },
        },
      },
    },
  },
})
