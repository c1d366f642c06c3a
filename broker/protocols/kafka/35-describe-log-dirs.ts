// DescribeLogDirs: how much the partitions of a broker take on its disks.
//
// v1 throttles after the answer. v2 is flexible. v3 has one error for all. v4 tells how large a disk is and how much of it
// is left.

import { defineApi } from './api.ts'

export const describeLogDirs = defineApi({
  key: 35,
  name: 'DescribeLogDirs',
  versions: '1-4',
  flexible: '2+',
  request: {
    topics: {
      array: {
        topic: 'string',
        partitions: { array: 'int32' },
      },
      nullable: true,
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: { type: 'int16', versions: '3+', ignorable: true },
    results: {
      array: {
        errorCode: 'int16',
        logDir: 'string',
        topics: {
          array: {
            name: 'string',
            partitions: {
              array: {
                partitionIndex: 'int32',
                partitionSize: 'int64',
                offsetLag: 'int64',
                isFutureKey: 'boolean',
              },
            },
          },
        },
        totalBytes: { type: 'int64', versions: '4+', default: -1, ignorable: true },
        usableBytes: { type: 'int64', versions: '4+', default: -1, ignorable: true },
      },
    },
  },
})
