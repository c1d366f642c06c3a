// AlterConfigs: replaces all settings of a resource. Newer clients use IncrementalAlterConfigs.
//
// v1 throttles after the answer. v2 is flexible.

import { defineApi } from './api.ts'

export const alterConfigs = defineApi({
  key: 33,
  name: 'AlterConfigs',
  versions: '0-2',
  flexible: '2+',
  request: {
    resources: {
      array: {
        resourceType: 'int8',
        resourceName: 'string',
        configs: {
          array: {
            name: 'string',
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
