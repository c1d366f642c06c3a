// DescribeAcls: who may do what. Everybody may do everything here.
//
// v1 has patterns of names. v2 is flexible. v3 may ask for users as resources. Not served: v0, which Kafka has removed, too.

import { defineApi } from './api.ts'

const LITERAL = 3

export const describeAcls = defineApi({
  key: 29,
  name: 'DescribeAcls',
  versions: '1-3',
  flexible: '2+',
  request: {
    resourceTypeFilter: 'int8',
    resourceNameFilter: { type: 'string', nullable: true },
    patternTypeFilter: { type: 'int8', default: LITERAL },
    principalFilter: { type: 'string', nullable: true },
    hostFilter: { type: 'string', nullable: true },
    operation: 'int8',
    permissionType: 'int8',
  },
  response: {
    throttleTimeMs: { type: 'int32', default: 0 },
    errorCode: 'int16',
    errorMessage: { type: 'string', nullable: true },
    resources: {
      array: {
        resourceType: 'int8',
        resourceName: 'string',
        patternType: { type: 'int8', default: LITERAL },
        acls: {
          array: {
            principal: 'string',
            host: 'string',
            operation: 'int8',
            permissionType: 'int8',
          },
        },
      },
    },
  },
})
