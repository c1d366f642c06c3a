// The foreign clients of `npm test` against three brokers.

import { JAVA_CLIENT_VERSIONS } from '../../scripts/ensure-clients.ts'
import { LACKS } from './abilities.ts'
import { canRun, hasJava, hasPython, kcat, startJava, startPython } from './clients.ts'
import { type Candidate, clusterSuite } from './cluster-suite.ts'
import { startKafkajs } from './kafkajs-driver.ts'
import { startKcat } from './kcat-driver.ts'
import { startPlatformatic } from './platformatic-driver.ts'

const CANDIDATES: readonly Candidate[] = [
  ...JAVA_CLIENT_VERSIONS.map((version) => ({
    name: `Java ${version}`,
    isThere: hasJava(version),
    start: (brokers: string) => startJava(version, brokers),
    lacks: LACKS.Java,
    hasTools: version === JAVA_CLIENT_VERSIONS[0],
  })),
  {
    name: 'confluent-kafka',
    isThere: hasPython,
    start: (brokers) => startPython('confluent_driver', brokers),
    lacks: LACKS['confluent-kafka'],
  },
  {
    name: 'aiokafka',
    isThere: hasPython,
    start: (brokers) => startPython('aiokafka_driver', brokers),
    lacks: LACKS.aiokafka,
  },
  { name: 'kafkajs', isThere: true, start: startKafkajs, lacks: LACKS.kafkajs },
  {
    name: '@platformatic/kafka',
    isThere: true,
    start: startPlatformatic,
    lacks: LACKS['@platformatic/kafka'],
    needsItsCoordinator: true,
  },
  {
    name: 'kcat',
    isThere: kcat !== undefined,
    start: startKcat,
    lacks: LACKS.kcat,
  },
]

clusterSuite({ candidates: CANDIDATES, canRun })
