// DescribeGroups: the state and the members of groups.
//
// v1 has the throttle time. v2 throttles after the answer. v3 has authorised operations. v4 tells the names of static
// members. v5 is flexible. Not served: v6, which answers an error where earlier versions answer a dead group.

import { defineApi } from './api.ts'

export const describeGroups = defineApi({
  key: 15,
  name: 'DescribeGroups',
  versions: '0-5',
  flexible: '5+',
  request: {
    groups: { array: 'string' },
    includeAuthorizedOperations: { type: 'boolean', versions: '3+' },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    groups: {
      array: {
        errorCode: 'int16',
        groupId: 'string',
        groupState: 'string',
        protocolType: 'string',
        protocolData: 'string',
        members: {
          array: {
            memberId: 'string',
            groupInstanceId: { type: 'string', versions: '4+', nullable: true, default: null, ignorable: true },
            clientId: 'string',
            clientHost: 'string',
            memberMetadata: 'bytes',
            memberAssignment: 'bytes',
          },
        },
        authorizedOperations: { type: 'int32', versions: '3+', default: -2147483648 },
      },
    },
  },
})
