// DescribeTopicPartitions: the partitions of topics, page by page.
//
// v0 is flexible and the only one. The cursor is a struct that may be null, which a byte before it tells.

import { defineApi } from './api.ts'

export const describeTopicPartitions = defineApi({
  key: 75,
  name: 'DescribeTopicPartitions',
  versions: '0',
  flexible: '0+',
  request: {
    topics: {
      array: {
        name: 'string',
      },
    },
    responsePartitionLimit: { type: 'int32', default: 2000 },
    cursor: {
      struct: {
        topicName: 'string',
        partitionIndex: 'int32',
      },
      nullable: true,
      default: null,
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    topics: {
      array: {
        errorCode: 'int16',
        name: { type: 'string', nullable: true },
        topicId: 'uuid',
        isInternal: { type: 'boolean', default: false },
        partitions: {
          array: {
            errorCode: 'int16',
            partitionIndex: 'int32',
            leaderId: 'int32',
            leaderEpoch: { type: 'int32', default: -1 },
            replicaNodes: { array: 'int32' },
            isrNodes: { array: 'int32' },
            eligibleLeaderReplicas: { array: 'int32', nullable: true, default: null },
            lastKnownElr: { array: 'int32', nullable: true, default: null },
            offlineReplicas: { array: 'int32' },
          },
        },
        topicAuthorizedOperations: { type: 'int32', default: -2147483648 },
      },
    },
    nextCursor: {
      struct: {
        topicName: 'string',
        partitionIndex: 'int32',
      },
      nullable: true,
      default: null,
    },
  },
})
