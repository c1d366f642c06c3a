// Python's kafka-python.

import { expect, it } from 'vitest'
import { adminSuite } from '../interop/admin-suite.ts'
import { groupsSuite } from '../interop/groups-suite.ts'
import { recordsSuite } from '../interop/records-suite.ts'
import { stageFor } from '../interop/stage.ts'
import { LACKS } from './abilities.ts'
import { describeWithProgram, hasKafkaPython, startKafkaPython } from './programs.ts'

describeWithProgram('kafka-python', hasKafkaPython, () => {
  const stage = stageFor(startKafkaPython)
  recordsSuite(stage, { hasNoNullHeaders: true })
  groupsSuite(stage, { assignors: ['range', 'cooperative-sticky'] })
  adminSuite(stage, { lacks: LACKS['kafka-python'] })

  it('is refused a transaction at once', async () => {
    await expect(stage.ask('transact')).rejects.toThrow('TransactionalIdAuthorizationFailed')
  })
})
