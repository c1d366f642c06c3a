// kafkajs, which is not maintained any more and widely used.

import { describe } from 'vitest'
import { groupsSuite } from './groups-suite.ts'
import { startKafkajs } from './kafkajs-driver.ts'
import { recordsSuite } from './records-suite.ts'
import { stageFor } from './stage.ts'
import { LACKS } from './abilities.ts'
import { adminSuite } from './admin-suite.ts'

describe('kafkajs', () => {
  const stage = stageFor(startKafkajs)
  recordsSuite(stage, { hasNoNullHeaders: true })
  groupsSuite(stage)
  adminSuite(stage, {
    lacks: LACKS.kafkajs,
    findsMaxTimestamp: false,
  })
})
