// kafkajs, which is not maintained any more and widely used.

import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, it } from 'vitest'
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

  it('is refused SASL at once', async () => {
    const sasl = { mechanism: 'plain', username: 'somebody', password: 'secret' } as const
    const kafka = new Kafka({ brokers: [stage.broker.brokers], logLevel: logLevel.NOTHING, sasl })
    await expect(kafka.admin().connect()).rejects.toThrow('SASL')
  })
})
