// Go's franz-go.

import { expect, it } from 'vitest'
import { adminSuite } from '../interop/admin-suite.ts'
import { groupsSuite } from '../interop/groups-suite.ts'
import { recordsSuite } from '../interop/records-suite.ts'
import { numbered, toMessages } from '../interop/samples.ts'
import { stageFor } from '../interop/stage.ts'
import { LACKS } from './abilities.ts'
import { describeWithProgram, hasGo, startGo } from './programs.ts'

describeWithProgram('franz-go', hasGo, () => {
  const stage = stageFor((brokers) => startGo('franz', brokers))
  recordsSuite(stage)
  groupsSuite(stage, { assignors: ['range', 'cooperative-sticky'] })
  adminSuite(stage, { lacks: LACKS['franz-go'] })

  it('is refused a transaction at once', async () => {
    await expect(stage.ask('transact')).rejects.toThrow('TRANSACTIONAL_ID_AUTHORIZATION_FAILED')
  })

  it('falls back where it would like the newer group protocol', async () => {
    const topic = await stage.newTopic()
    await stage.native.producer().send({ topic, messages: toMessages(numbered(1)) })
    const group = stage.newName('newer')
    await stage.ask('joinNewer', { group, topic })
    expect((await stage.ask('describeGroup', { group })).state).toBe('Empty')
  })
})
