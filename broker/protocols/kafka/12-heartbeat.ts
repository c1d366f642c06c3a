// Heartbeat: a member is alive; the answer tells of a rebalance.
//
// v1 has the throttle time. v2 throttles after the answer. v3 has the name of a static member. v4 is flexible.

import { defineApi } from './api.ts'

export const heartbeat = defineApi({
  key: 12,
  name: 'Heartbeat',
  versions: '0-4',
  flexible: '4+',
  request: {
    groupId: 'string',
    generationId: 'int32',
    memberId: 'string',
    groupInstanceId: { type: 'string', versions: '3+', nullable: true, default: null },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    errorCode: 'int16',
  },
})
