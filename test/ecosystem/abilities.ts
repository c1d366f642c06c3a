// What each client of the ecosystem has no call for, as far as the tests would ask for it.

import type { ForeignVerb } from '../interop/foreign-client.ts'

export const LACKS = {
  'franz-go': [],
  sarama: ['producers'],
  'kafka-python': ['replaceConfigs'],
} as const satisfies Readonly<Record<string, readonly ForeignVerb[]>>
