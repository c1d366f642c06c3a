// ListConfigResources: what there is that has settings.
//
// v0 is flexible and knows only the settings of client metrics. v1 asks for types of resources and tells them.

import { defineApi } from './api.ts'

export const listConfigResources = defineApi({
  key: 74,
  name: 'ListConfigResources',
  versions: '0-1',
  flexible: '0+',
  request: {
    resourceTypes: { array: 'int8', versions: '1+' },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: 'int16',
    configResources: {
      array: {
        resourceName: 'string',
        resourceType: { type: 'int8', versions: '1+', default: 16, ignorable: true },
      },
    },
  },
})
