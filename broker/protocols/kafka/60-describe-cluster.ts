// DescribeCluster: the brokers, the controller and the cluster id.
//
// v0 is flexible. v1 says whether brokers or controllers are asked for (1 and 2). v2 can ask for fenced brokers too.

import { defineApi } from './api.ts'

export const describeCluster = defineApi({
  key: 60,
  name: 'DescribeCluster',
  versions: '0-2',
  flexible: '0+',
  request: {
    includeClusterAuthorizedOperations: 'boolean',
    endpointType: { type: 'int8', versions: '1+', default: 1 },
    includeFencedBrokers: { type: 'boolean', versions: '2+' },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: 'int16',
    errorMessage: { type: 'string', nullable: true, default: null },
    endpointType: { type: 'int8', versions: '1+', default: 1 },
    clusterId: 'string',
    controllerId: { type: 'int32', default: -1 },
    brokers: {
      array: {
        brokerId: 'int32',
        host: 'string',
        port: 'int32',
        rack: { type: 'string', nullable: true, default: null },
        isFenced: { type: 'boolean', versions: '2+' },
      },
    },
    clusterAuthorizedOperations: { type: 'int32', default: -2147483648 },
  },
})
