// IncrementalAlterConfigs: sets, deletes, extends or shortens single settings (operations 0 to 3).
//
// v1 is flexible.

import { defineApi } from './api.ts'

export const incrementalAlterConfigs = defineApi({
  key: 44,
  name: 'IncrementalAlterConfigs',
  versions: '0-1',
  flexible: '1+',
  request: {
    resources: {
      array: {
        resourceType: 'int8',
        resourceName: 'string',
        configs: {
          array: {
            name: 'string',
            configOperation: 'int8',
            value: { type: 'string', nullable: true },
          },
        },
      },
    },
    validateOnly: 'boolean',
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    responses: {
      array: {
        errorCode: 'int16',
        errorMessage: { type: 'string', nullable: true },
        resourceType: 'int8',
        resourceName: 'string',
      },
    },
  },
})
