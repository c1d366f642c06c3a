// ListGroups: the groups that a broker coordinates.
//
// v1 has the throttle time. v2 throttles after the answer. v3 is flexible. v4 tells the state and can ask for some states
// only. v5 does the same with the types of groups.

import { defineApi } from './api.ts'

export const listGroups = defineApi({
  key: 16,
  name: 'ListGroups',
  versions: '0-5',
  flexible: '3+',
  request: {
    statesFilter: { array: 'string', versions: '4+' },
    typesFilter: { array: 'string', versions: '5+' },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    errorCode: 'int16',
    groups: {
      array: {
        groupId: 'string',
        protocolType: 'string',
        groupState: { type: 'string', versions: '4+', ignorable: true },
        groupType: { type: 'string', versions: '5+', ignorable: true },
      },
    },
  },
})
