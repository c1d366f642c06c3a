// OffsetDelete: deletes what a group has committed for partitions.
//
// v0 is the only one, and not flexible.

import { defineApi } from './api.ts'

export const offsetDelete = defineApi({
  key: 47,
  name: 'OffsetDelete',
  versions: '0',
  request: {
    groupId: 'string',
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
          },
        },
      },
    },
  },
  response: {
    errorCode: 'int16',
    throttleTimeMs: { type: 'int32', default: 0 },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            errorCode: 'int16',
          },
        },
      },
    },
  },
})
