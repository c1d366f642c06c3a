// Kafka's own client in Java, in its present major version and the one before.

import { expect, it } from 'vitest'
import { JAVA_CLIENT_VERSIONS } from '../../scripts/ensure-clients.ts'
import { describeWithClient, hasJava, startJava } from './clients.ts'
import { groupsSuite } from './groups-suite.ts'
import { recordsSuite } from './records-suite.ts'
import { stageFor } from './stage.ts'
import { LACKS } from './abilities.ts'
import { adminSuite } from './admin-suite.ts'

for (const version of JAVA_CLIENT_VERSIONS) {
  describeWithClient(`Java ${version}`, hasJava(version), () => {
    const stage = stageFor((brokers) => startJava(version, brokers))
    recordsSuite(stage)
    groupsSuite(stage, { assignors: ['range', 'cooperative-sticky'] })
    adminSuite(stage, { lacks: LACKS.Java })

    it('is refused a transaction at once', async () => {
      await expect(stage.ask('transact')).rejects.toThrow('TransactionalIdAuthorizationException')
    })

    it('is refused the newer group protocol', async () => {
      const topic = await stage.newTopic()
      const joining = stage.ask('joinNewer', { group: stage.newName('newer'), topic })
      await expect(joining).rejects.toThrow('UnsupportedVersionException')
    })
  })
}
