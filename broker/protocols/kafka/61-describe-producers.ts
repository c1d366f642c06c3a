// DescribeProducers: the idempotent producers that partitions remember.
//
// v0 is flexible and the only one.

import { defineApi } from './api.ts'

export const describeProducers = defineApi({
  key: 61,
  name: 'DescribeProducers',
  versions: '0',
  flexible: '0+',
  request: {
    topics: {
      array: {
        name: 'string',
        partitionIndexes: { array: 'int32' },
      },
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            errorCode: 'int16',
            errorMessage: { type: 'string', nullable: true, default: null },
            activeProducers: {
              array: {
                producerId: 'int64',
                producerEpoch: 'int32',
                lastSequence: { type: 'int32', default: -1 },
                lastTimestamp: { type: 'int64', default: -1 },
                coordinatorEpoch: 'int32',
                currentTxnStartOffset: { type: 'int64', default: -1 },
              },
            },
          },
        },
      },
    },
  },
})
