// DescribeConfigs: the settings of topics and brokers, all of them or those that are named.
//
// v1 tells where a value comes from and what else it could be. v2 throttles after the answer. v3 tells types and, if
// asked, documentation. v4 is flexible.

import { defineApi } from './api.ts'

export const describeConfigs = defineApi({
  key: 32,
  name: 'DescribeConfigs',
  versions: '1-4',
  flexible: '4+',
  request: {
    resources: {
      array: {
        resourceType: 'int8',
        resourceName: 'string',
        configurationKeys: { array: 'string', nullable: true },
      },
    },
    includeSynonyms: { type: 'boolean', default: false },
    includeDocumentation: { type: 'boolean', versions: '3+', default: false },
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    results: {
      array: {
        errorCode: 'int16',
        errorMessage: { type: 'string', nullable: true },
        resourceType: 'int8',
        resourceName: 'string',
        configs: {
          array: {
            name: 'string',
            value: { type: 'string', nullable: true },
            readOnly: 'boolean',
            configSource: { type: 'int8', default: -1 },
            isSensitive: 'boolean',
            synonyms: {
              array: {
                name: 'string',
                value: { type: 'string', nullable: true },
                source: 'int8',
              },
            },
            configType: { type: 'int8', versions: '3+', default: 0, ignorable: true },
            documentation: { type: 'string', versions: '3+', nullable: true, ignorable: true },
          },
        },
      },
    },
  },
})
