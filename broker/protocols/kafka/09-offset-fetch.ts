// OffsetFetch: what a group has committed.
//
// v1 reads what the coordinator keeps. v2 asks for all topics by null and has one error for the group. v3 has the throttle
// time. v4 throttles after the answer. v5 tells leader epochs. v6 is flexible. v7 can ask for stable offsets only. v8 asks
// for several groups at once, in another layout. v9 has the member and its epoch. Not served: v10 (topic ids).

import { defineApi } from './api.ts'

export const offsetFetch = defineApi({
  key: 9,
  name: 'OffsetFetch',
  versions: '1-9',
  flexible: '6+',
  request: {
    groupId: { type: 'string', versions: '1-7' },
    topics: {
      array: {
        name: 'string',
        partitionIndexes: { array: 'int32' },
      },
      versions: '1-7',
      nullable: '2-7',
    },
    groups: {
      array: {
        groupId: 'string',
        memberId: { type: 'string', versions: '9+', nullable: true, default: null, ignorable: true },
        memberEpoch: { type: 'int32', versions: '9+', default: -1, ignorable: true },
        topics: {
          array: {
            name: 'string',
            partitionIndexes: { array: 'int32' },
          },
          nullable: true,
        },
      },
      versions: '8+',
    },
    requireStable: { type: 'boolean', versions: '7+', default: false },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '3+', default: 0, ignorable: true },
    topics: {
      array: {
        name: 'string',
        partitions: {
          array: {
            partitionIndex: 'int32',
            committedOffset: 'int64',
            committedLeaderEpoch: { type: 'int32', versions: '5-7', default: -1, ignorable: true },
            metadata: { type: 'string', nullable: true },
            errorCode: 'int16',
          },
        },
      },
      versions: '1-7',
      default: [],
    },
    errorCode: { type: 'int16', versions: '2-7', default: 0, ignorable: true },
    groups: {
      array: {
        groupId: 'string',
        topics: {
          array: {
            name: 'string',
            partitions: {
              array: {
                partitionIndex: 'int32',
                committedOffset: 'int64',
                committedLeaderEpoch: { type: 'int32', default: -1 },
                metadata: { type: 'string', nullable: true },
                errorCode: 'int16',
              },
            },
          },
        },
        errorCode: { type: 'int16', default: 0 },
      },
      versions: '8+',
      default: [],
    },
  },
})
