// Go's sarama.

import { expect, it } from 'vitest'
import { adminSuite } from '../interop/admin-suite.ts'
import { groupsSuite } from '../interop/groups-suite.ts'
import { recordsSuite } from '../interop/records-suite.ts'
import { stageFor } from '../interop/stage.ts'
import { LACKS } from './abilities.ts'
import { describeWithProgram, hasGo, startGo } from './programs.ts'

describeWithProgram('sarama', hasGo, () => {
  const stage = stageFor((brokers) => startGo('sarama', brokers))
  recordsSuite(stage)
  groupsSuite(stage, { assignors: ['range', 'cooperative-sticky'] })
  adminSuite(stage, { lacks: LACKS.sarama, findsMaxTimestamp: false })

  it('is refused a transaction at once', async () => {
    await expect(stage.ask('transact')).rejects.toThrow(/transactional.?id.?authorization/i)
  })
})
