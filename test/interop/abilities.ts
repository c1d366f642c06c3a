// What each client has no call for, as far as the tests would ask for it. The page about clients is held against it.

import type { ForeignVerb } from './foreign-client.ts'

export const LACKS = {
  Java: ['replaceConfigs'],
  'confluent-kafka': ['deleteGroupOffsets', 'logDirs', 'producers', 'reassign', 'reassignments'],
  aiokafka: [
    'alterConfigs',
    'alterGroupOffsets',
    'deleteGroupOffsets',
    'deleteGroups',
    'logDirs',
    'producers',
    'electLeaders',
    'reassign',
    'reassignments',
  ],
  kafkajs: ['alterConfigs', 'deleteGroupOffsets', 'logDirs', 'producers', 'electLeaders'],
  '@platformatic/kafka': ['producers', 'electLeaders', 'reassign', 'reassignments'],
  kcat: ['createTopics', 'reassign', 'reassignments', 'electLeaders'],
} as const satisfies Readonly<Record<string, readonly ForeignVerb[]>>
