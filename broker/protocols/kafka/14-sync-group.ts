// SyncGroup: the leader of a generation gives the assignments, and each member gets its own. Bytes are not interpreted.
//
// v1 has the throttle time. v2 throttles after the answer. v3 has the name of a static member. v4 is flexible. v5 has the
// protocol type and name, to be compared.

import { defineApi } from './api.ts'

export const syncGroup = defineApi({
  key: 14,
  name: 'SyncGroup',
  versions: '0-5',
  flexible: '4+',
  request: {
    groupId: 'string',
    generationId: 'int32',
    memberId: 'string',
    groupInstanceId: { type: 'string', versions: '3+', nullable: true, default: null },
    protocolType: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
    protocolName: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
    assignments: {
      array: {
        memberId: 'string',
        assignment: 'bytes',
      },
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    errorCode: 'int16',
    protocolType: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
    protocolName: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
    assignment: 'bytes',
  },
})
