// DeleteGroups: deletes groups without members, and what they have committed.
//
// v1 throttles after the answer. v2 is flexible. Not served: v3.

import { defineApi } from './api.ts'

export const deleteGroups = defineApi({
  key: 42,
  name: 'DeleteGroups',
  versions: '0-2',
  flexible: '2+',
  request: {
    groupsNames: { array: 'string' },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    results: {
      array: {
        groupId: 'string',
        errorCode: 'int16',
      },
    },
  },
})
