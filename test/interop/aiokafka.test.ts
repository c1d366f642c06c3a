// Python's aiokafka.

import { describeWithClient, hasPython, startPython } from './clients.ts'
import { groupsSuite } from './groups-suite.ts'
import { recordsSuite } from './records-suite.ts'
import { stageFor } from './stage.ts'
import { LACKS } from './abilities.ts'
import { adminSuite } from './admin-suite.ts'

describeWithClient('aiokafka', hasPython, () => {
  const stage = stageFor((brokers) => startPython('aiokafka_driver', brokers))
  recordsSuite(stage)
  groupsSuite(stage)
  adminSuite(stage, {
    lacks: LACKS.aiokafka,
    readsShares: false,
    findsMaxTimestamp: false,
  })
})
