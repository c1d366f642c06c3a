// Produce: record batches for partitions, one batch a partition. Nothing is answered when acks is 0.
//
// v3 is where batches of format 2 begin, and the transactional id. v4 may answer a storage error. v5 tells the log start
// offset. v7 allows zstd. v8 names the records that had a batch refused. v9 is flexible. v10 tells the new leader and how
// to reach it, as tagged fields. v11 may answer that the transaction can only be aborted. Not served: v12 (transactions
// that begin by producing) and v13 (topic ids). Versions 0 to 2 are announced and not served: librdkafka before 2.11.1
// compresses nothing for a broker that does not name them.
//
// A tagged field that Kafka does not have says that the batches are copies, which keep the offsets they have; that it is
// understood is told as a feature in ApiVersions.

import { defineApi } from './api.ts'

export const produce = defineApi({
  key: 0,
  name: 'Produce',
  versions: '3-11',
  flexible: '9+',
  announcedMin: 0,
  request: {
    transactionalId: { type: 'string', nullable: true, default: null },
    acks: 'int16',
    timeoutMs: 'int32',
    topicData: {
      array: {
        name: 'string',
        partitionData: {
          array: {
            index: 'int32',
            records: { type: 'records', nullable: true },
          },
        },
      },
    },
    keepsOffsets: { type: 'boolean', versions: '9+', tag: 10_000, default: false },
  },
  response: {
    responses: {
      array: {
        name: 'string',
        partitionResponses: {
          array: {
            index: 'int32',
            errorCode: 'int16',
            baseOffset: 'int64',
            logAppendTimeMs: { type: 'int64', default: -1 },
            logStartOffset: { type: 'int64', versions: '5+', default: -1, ignorable: true },
            recordErrors: {
              array: {
                batchIndex: 'int32',
                batchIndexErrorMessage: { type: 'string', nullable: true, default: null },
              },
              versions: '8+',
              default: [],
              ignorable: true,
            },
            errorMessage: { type: 'string', versions: '8+', nullable: true, default: null, ignorable: true },
            currentLeader: {
              struct: {
                leaderId: { type: 'int32', default: -1 },
                leaderEpoch: { type: 'int32', default: -1 },
              },
              versions: '10+',
              tag: 0,
            },
          },
        },
      },
    },
    throttleTimeMs: { type: 'int32', default: 0 },
    nodeEndpoints: {
      array: {
        nodeId: 'int32',
        host: 'string',
        port: 'int32',
        rack: { type: 'string', nullable: true, default: null },
      },
      versions: '10+',
      tag: 0,
    },
  },
})
