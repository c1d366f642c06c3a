// LeaveGroup: members leave a group, or are taken out of it.
//
// v1 has the throttle time. v2 throttles after the answer. v3 takes out several members, by id or static name. v4 is
// flexible. v5 says why.

import { defineApi } from './api.ts'

export const leaveGroup = defineApi({
  key: 13,
  name: 'LeaveGroup',
  versions: '0-5',
  flexible: '4+',
  request: {
    groupId: 'string',
    memberId: { type: 'string', versions: '0-2' },
    members: {
      array: {
        memberId: 'string',
        groupInstanceId: { type: 'string', nullable: true, default: null },
        reason: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
      },
      versions: '3+',
    },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    errorCode: 'int16',
    members: {
      array: {
        memberId: 'string',
        groupInstanceId: { type: 'string', nullable: true },
        errorCode: 'int16',
      },
      versions: '3+',
      default: [],
    },
  },
})
