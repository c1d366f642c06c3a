// Metadata: the brokers, and who leads the partitions of which topics.
//
// v0 asks for all topics by an empty array, v1 and later by null. v1 tells racks, the controller and whether a topic is
// internal. v2 tells the cluster id. v3 has the throttle time. v4 says whether a topic that is missing may be created. v5
// tells offline replicas. v6 throttles after the answer. v7 tells leader epochs. v8 has authorised operations, of the
// cluster too until v10. v9 is flexible. v10 has topic ids, which may be asked for from v12 on. v13 has one error for all.

import { defineApi } from './api.ts'

export const metadata = defineApi({
  key: 3,
  name: 'Metadata',
  versions: '0-13',
  flexible: '9+',
  request: {
    topics: {
      array: {
        topicId: { type: 'uuid', versions: '10+', ignorable: true },
        name: { type: 'string', nullable: '10+' },
      },
      nullable: '1+',
    },
    allowAutoTopicCreation: { type: 'boolean', versions: '4+', default: true },
    includeClusterAuthorizedOperations: { type: 'boolean', versions: '8-10' },
    includeTopicAuthorizedOperations: { type: 'boolean', versions: '8+' },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '3+', default: 0, ignorable: true },
    brokers: {
      array: {
        nodeId: 'int32',
        host: 'string',
        port: 'int32',
        rack: { type: 'string', versions: '1+', nullable: true, default: null, ignorable: true },
      },
    },
    clusterId: { type: 'string', versions: '2+', nullable: true, default: null, ignorable: true },
    controllerId: { type: 'int32', versions: '1+', default: -1, ignorable: true },
    topics: {
      array: {
        errorCode: 'int16',
        name: { type: 'string', nullable: '12+' },
        topicId: { type: 'uuid', versions: '10+', ignorable: true },
        isInternal: { type: 'boolean', versions: '1+', default: false, ignorable: true },
        partitions: {
          array: {
            errorCode: 'int16',
            partitionIndex: 'int32',
            leaderId: 'int32',
            leaderEpoch: { type: 'int32', versions: '7+', default: -1, ignorable: true },
            replicaNodes: { array: 'int32' },
            isrNodes: { array: 'int32' },
            offlineReplicas: { array: 'int32', versions: '5+', ignorable: true },
          },
        },
        topicAuthorizedOperations: { type: 'int32', versions: '8+', default: -2147483648 },
      },
    },
    clusterAuthorizedOperations: { type: 'int32', versions: '8-10', default: -2147483648 },
    errorCode: { type: 'int16', versions: '13+', ignorable: true },
  },
})
