// CreateTopics: makes topics, or only says whether it could.
//
// v2 has the throttle time. v3 throttles after the answer. v4 has -1 stand for the broker's own number of partitions and
// replicas. v5 is flexible and answers the configuration. v6 may refuse for a quota. v7 answers the topic id.

import { defineApi } from './api.ts'

export const createTopics = defineApi({
  key: 19,
  name: 'CreateTopics',
  versions: '2-7',
  flexible: '5+',
  request: {
    topics: {
      array: {
        name: 'string',
        numPartitions: 'int32',
        replicationFactor: 'int16',
        assignments: {
          array: {
            partitionIndex: 'int32',
            brokerIds: { array: 'int32' },
          },
        },
        configs: {
          array: {
            name: 'string',
            value: { type: 'string', nullable: true },
          },
        },
      },
    },
    timeoutMs: { type: 'int32', default: 60000 },
    validateOnly: { type: 'boolean', default: false },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    topics: {
      array: {
        name: 'string',
        topicId: { type: 'uuid', versions: '7+', ignorable: true },
        errorCode: 'int16',
        errorMessage: { type: 'string', nullable: true },
        topicConfigErrorCode: { type: 'int16', versions: '5+', tag: 0, ignorable: true },
        numPartitions: { type: 'int32', versions: '5+', default: -1, ignorable: true },
        replicationFactor: { type: 'int16', versions: '5+', default: -1, ignorable: true },
        configs: {
          array: {
            name: 'string',
            value: { type: 'string', nullable: true },
            readOnly: 'boolean',
            configSource: { type: 'int8', default: -1 },
            isSensitive: 'boolean',
          },
          versions: '5+',
          nullable: true,
          ignorable: true,
        },
      },
    },
  },
})
