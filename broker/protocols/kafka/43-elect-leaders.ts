// ElectLeaders: has partitions led by their preferred replica, or by one that may have lost records.
//
// v1 says which kind of election, and has one error for all. v2 is flexible.

import { defineApi } from './api.ts'

export const electLeaders = defineApi({
  key: 43,
  name: 'ElectLeaders',
  versions: '0-2',
  flexible: '2+',
  request: {
    electionType: { type: 'int8', versions: '1+' },
    topicPartitions: {
      array: {
        topic: 'string',
        partitions: { array: 'int32' },
      },
      nullable: true,
    },
    timeoutMs: { type: 'int32', default: 60000 },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: { type: 'int16', versions: '1+' },
    replicaElectionResults: {
      array: {
        topic: 'string',
        partitionResult: {
          array: {
            partitionId: 'int32',
            errorCode: 'int16',
            errorMessage: { type: 'string', nullable: true },
          },
        },
      },
    },
  },
})
