// Fetch: record batches of partitions from given offsets on, waiting until there are enough.
//
// v4 brings batches of format 2 and the isolation level. v5 tells the log start offset. v6 may answer a storage error. v7
// has fetch sessions. v8 throttles after the answer. v9 sends the leader epoch that the consumer knows. v10 allows zstd.
// v11 has racks and the preferred replica. v12 is flexible, finds out where logs diverge and tells the new leader. v13
// names topics by id only. v14 may answer that an offset has moved to other storage. v15 has the replica in a tagged
// field. v16 tells how to reach new leaders. v17 has the directory of a replica. Not served: v18, for followers only.

import { defineApi } from './api.ts'

export const fetch = defineApi({
  key: 1,
  name: 'Fetch',
  versions: '4-17',
  flexible: '12+',
  request: {
    clusterId: { type: 'string', versions: '12+', nullable: true, tag: 0, default: null, ignorable: true },
    replicaId: { type: 'int32', versions: '4-14', default: -1 },
    replicaState: {
      struct: {
        replicaId: { type: 'int32', default: -1 },
        replicaEpoch: { type: 'int64', default: -1 },
      },
      versions: '15+',
      tag: 1,
    },
    maxWaitMs: 'int32',
    minBytes: 'int32',
    maxBytes: { type: 'int32', default: 2147483647 },
    isolationLevel: { type: 'int8', default: 0 },
    sessionId: { type: 'int32', versions: '7+', default: 0, ignorable: true },
    sessionEpoch: { type: 'int32', versions: '7+', default: -1, ignorable: true },
    topics: {
      array: {
        topic: { type: 'string', versions: '4-12', ignorable: true },
        topicId: { type: 'uuid', versions: '13+', ignorable: true },
        partitions: {
          array: {
            partition: 'int32',
            currentLeaderEpoch: { type: 'int32', versions: '9+', default: -1, ignorable: true },
            fetchOffset: 'int64',
            lastFetchedEpoch: { type: 'int32', versions: '12+', default: -1 },
            logStartOffset: { type: 'int64', versions: '5+', default: -1, ignorable: true },
            partitionMaxBytes: 'int32',
            replicaDirectoryId: { type: 'uuid', versions: '17+', tag: 0, ignorable: true },
          },
        },
      },
    },
    forgottenTopicsData: {
      array: {
        topic: { type: 'string', versions: '7-12', ignorable: true },
        topicId: { type: 'uuid', versions: '13+', ignorable: true },
        partitions: { array: 'int32' },
      },
      versions: '7+',
    },
    rackId: { type: 'string', versions: '11+', default: '', ignorable: true },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: { type: 'int16', versions: '7+', ignorable: true },
    sessionId: { type: 'int32', versions: '7+', default: 0 },
    responses: {
      array: {
        topic: { type: 'string', versions: '4-12', ignorable: true },
        topicId: { type: 'uuid', versions: '13+', ignorable: true },
        partitions: {
          array: {
            partitionIndex: 'int32',
            errorCode: 'int16',
            highWatermark: 'int64',
            lastStableOffset: { type: 'int64', default: -1 },
            logStartOffset: { type: 'int64', versions: '5+', default: -1, ignorable: true },
            divergingEpoch: {
              struct: {
                epoch: { type: 'int32', default: -1 },
                endOffset: { type: 'int64', default: -1 },
              },
              versions: '12+',
              tag: 0,
            },
            currentLeader: {
              struct: {
                leaderId: { type: 'int32', default: -1 },
                leaderEpoch: { type: 'int32', default: -1 },
              },
              versions: '12+',
              tag: 1,
            },
            snapshotId: {
              struct: {
                endOffset: { type: 'int64', default: -1 },
                epoch: { type: 'int32', default: -1 },
              },
              versions: '12+',
              tag: 2,
            },
            abortedTransactions: {
              array: {
                producerId: 'int64',
                firstOffset: 'int64',
              },
              nullable: true,
            },
            preferredReadReplica: { type: 'int32', versions: '11+', default: -1 },
            records: { type: 'records', nullable: true },
          },
        },
      },
    },
    nodeEndpoints: {
      array: {
        nodeId: 'int32',
        host: 'string',
        port: 'int32',
        rack: { type: 'string', nullable: true, default: null },
      },
      versions: '16+',
      tag: 0,
    },
  },
})
