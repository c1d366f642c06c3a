// DeleteTopics: deletes topics and all that is in them.
//
// v1 has the throttle time. v2 throttles after the answer. v3 may answer that deletion is disabled. v4 is flexible. v5 has
// an error message and may refuse for a quota. v6 can name topics by id, in another layout.

import { defineApi } from './api.ts'

export const deleteTopics = defineApi({
  key: 20,
  name: 'DeleteTopics',
  versions: '1-6',
  flexible: '4+',
  request: {
    topics: {
      array: {
        name: { type: 'string', nullable: true, default: null },
        topicId: 'uuid',
      },
      versions: '6+',
    },
    topicNames: { array: 'string', versions: '1-5', ignorable: true },
    timeoutMs: 'int32',
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    responses: {
      array: {
        name: { type: 'string', nullable: '6+' },
        topicId: { type: 'uuid', versions: '6+', ignorable: true },
        errorCode: 'int16',
        errorMessage: { type: 'string', versions: '5+', nullable: true, default: null, ignorable: true },
      },
    },
  },
})
