// OffsetCommit: a group's offsets, kept by its coordinator.
//
// v2 to v4 say how long to keep them. v3 has the throttle time. v4 throttles after the answer. v5 leaves keeping to the
// broker. v6 has the leader epoch. v7 has the name of a static member. v8 is flexible. v9 also serves the newer group
// protocol and answers that a group does not exist. Not served: v10 (topic ids).

import { defineApi } from './api.ts'

export const offsetCommit = defineApi({
  key: 8,
  name: 'OffsetCommit',
  versions: '2-9',
  flexible: '8+',
  request: {
    groupId: 'string',
    generationIdOrMemberEpoch: { type: 'int32', default: -1 },
    memberId: 'string',
    groupInstanceId: { type: 'string', versions: '7+', nullable: true, default: null },
    retentionTimeMs: { type: 'int64', versions: '2-4', default: -1, ignorable: true },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            committedOffset: 'int64',
            committedLeaderEpoch: { type: 'int32', versions: '6+', default: -1, ignorable: true },
            committedMetadata: { type: 'string', nullable: true },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '3+', default: 0, ignorable: true },
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
