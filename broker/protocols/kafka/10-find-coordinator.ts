// FindCoordinator: which broker keeps a group (key type 0) or a transaction (1).
//
// v1 has the key type, the throttle time and an error message. v2 throttles after the answer. v3 is flexible. v4 asks for
// several keys at once, in another layout. v5 may answer that the transaction can only be aborted. Not served: v6 (share
// groups).

import { defineApi } from './api.ts'

export const findCoordinator = defineApi({
  key: 10,
  name: 'FindCoordinator',
  versions: '0-5',
  flexible: '3+',
  request: {
    key: { type: 'string', versions: '0-3' },
    keyType: { type: 'int8', versions: '1+', default: 0 },
    coordinatorKeys: { array: 'string', versions: '4+' },
  },
  response: {
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    errorCode: { type: 'int16', versions: '0-3', default: 0 },
    errorMessage: { type: 'string', versions: '1-3', nullable: true, ignorable: true },
    nodeId: { type: 'int32', versions: '0-3', default: 0 },
    host: { type: 'string', versions: '0-3', default: '' },
    port: { type: 'int32', versions: '0-3', default: 0 },
    coordinators: {
      array: {
        key: 'string',
        nodeId: 'int32',
        host: 'string',
        port: 'int32',
        errorCode: 'int16',
        errorMessage: { type: 'string', nullable: true },
      },
      versions: '4+',
      default: [],
    },
  },
})
