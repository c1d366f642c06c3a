// InitProducerId: an identity for an idempotent producer.
//
// v1 throttles after the answer. v2 is flexible. v3 lets a producer go on with the identity it had. v4 may answer that the
// producer is fenced. v5 may answer that the transaction can only be aborted.

import { defineApi } from './api.ts'

export const initProducerId = defineApi({
  key: 22,
  name: 'InitProducerId',
  versions: '0-5',
  flexible: '2+',
  request: {
    transactionalId: { type: 'string', nullable: true },
    transactionTimeoutMs: 'int32',
    producerId: { type: 'int64', versions: '3+', default: -1 },
    producerEpoch: { type: 'int16', versions: '3+', default: -1 },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: 'int16',
    producerId: { type: 'int64', default: -1 },
    producerEpoch: 'int16',
  },
})
