// ListOffsets: the offset that belongs to a time, or to one of the ends of a partition.
//
// v1 answers one offset and its timestamp. v2 has the isolation level and the throttle time. v3 throttles after the
// answer. v4 sends and answers leader epochs. v5 may answer that the offset is not available yet. v6 is flexible. New
// meanings of negative timestamps: v7 the largest timestamp (-3), v8 the start of what is local (-4), v9 the end of what
// is tiered (-5).

import { defineApi } from './api.ts'

export const listOffsets = defineApi({
  key: 2,
  name: 'ListOffsets',
  versions: '1-9',
  flexible: '6+',
  request: {
    replicaId: 'int32',
    isolationLevel: { type: 'int8', versions: '2+' },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            currentLeaderEpoch: { type: 'int32', versions: '4+', default: -1, ignorable: true },
            timestamp: 'int64',
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '2+', default: 0, ignorable: true },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            errorCode: 'int16',
            timestamp: { type: 'int64', default: -1 },
            offset: { type: 'int64', default: -1 },
            leaderEpoch: { type: 'int32', versions: '4+', default: -1 },
          },
        },
      },
    },
  },
})
