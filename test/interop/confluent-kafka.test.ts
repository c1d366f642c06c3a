// Python's confluent-kafka, which is librdkafka.

import { describeWithClient, hasPython, startPython } from './clients.ts'
import { groupsSuite } from './groups-suite.ts'
import { recordsSuite } from './records-suite.ts'
import { stageFor } from './stage.ts'
import { LACKS } from './abilities.ts'
import { adminSuite } from './admin-suite.ts'

describeWithClient('confluent-kafka', hasPython, () => {
  const stage = stageFor((brokers) => startPython('confluent_driver', brokers))
  recordsSuite(stage)
  groupsSuite(stage, { assignors: ['range', 'cooperative-sticky'] })
  adminSuite(stage, { lacks: LACKS['confluent-kafka'] })
})
