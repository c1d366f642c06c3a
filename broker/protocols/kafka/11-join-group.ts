// JoinGroup: comes into a group, and waits for the generation that follows from it. What a protocol's bytes mean is the
// members' own affair.
//
// v1 has the rebalance timeout; before it, the session timeout is meant. v2 has the throttle time. v3 throttles after the
// answer. v4 has newcomers join twice: the first answer gives the member id. v5 has the names of static members. v6 is
// flexible. v7 tells the protocol type and may tell no protocol. v8 says why a member joins. v9 can tell the leader to
// assign nothing.

import { defineApi } from './api.ts'

export const joinGroup = defineApi({
  key: 11,
  name: 'JoinGroup',
  versions: '0-9',
  flexible: '6+',
  request: {
    groupId: 'string',
    sessionTimeoutMs: 'int32',
    rebalanceTimeoutMs: { type: 'int32', versions: '1+', default: -1, ignorable: true },
    memberId: 'string',
    groupInstanceId: { type: 'string', versions: '5+', nullable: true, default: null },
    protocolType: 'string',
    protocols: {
      array: {
        name: 'string',
        metadata: 'bytes',
      },
    },
    reason: { type: 'string', versions: '8+', nullable: true, default: null, ignorable: true },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '2+', default: 0, ignorable: true },
    errorCode: 'int16',
    generationId: { type: 'int32', default: -1 },
    protocolType: { type: 'string', versions: '7+', nullable: true, default: null, ignorable: true },
    protocolName: { type: 'string', nullable: '7+' },
    leader: 'string',
    skipAssignment: { type: 'boolean', versions: '9+', default: false },
    memberId: 'string',
    members: {
      array: {
        memberId: 'string',
        groupInstanceId: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
        metadata: 'bytes',
      },
    },
  },
})
