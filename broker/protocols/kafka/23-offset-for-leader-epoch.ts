// OffsetForLeaderEpoch: where a leader epoch ended, so that a consumer finds out whether its position was truncated.
//
// v2 has the throttle time and the epoch that the consumer takes for the current one. v3 says which replica asks: -1 is a
// consumer, -2 one that may see all. v4 is flexible.

import { defineApi } from './api.ts'

export const offsetForLeaderEpoch = defineApi({
  key: 23,
  name: 'OffsetForLeaderEpoch',
  versions: '2-4',
  flexible: '4+',
  request: {
    replicaId: { type: 'int32', versions: '3+', default: -2, ignorable: true },
    topics: {
      array: {
        topic: 'string',
        partitions: {
          array: {
            partition: 'int32',
            currentLeaderEpoch: { type: 'int32', default: -1 },
            leaderEpoch: 'int32',
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    topics: {
      array: {
        topic: 'string',
        partitions: {
          array: {
            errorCode: 'int16',
            partition: 'int32',
            leaderEpoch: { type: 'int32', default: -1 },
            endOffset: { type: 'int64', default: -1 },
          },
        },
      },
    },
  },
})
