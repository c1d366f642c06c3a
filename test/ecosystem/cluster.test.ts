// Clients of the ecosystem against three brokers.

import { type Candidate, clusterSuite } from '../interop/cluster-suite.ts'
import { LACKS } from './abilities.ts'
import { canRun, hasGo, hasKafkaPython, startGo, startKafkaPython } from './programs.ts'

const CANDIDATES: readonly Candidate[] = [
  { name: 'franz-go', isThere: hasGo, start: (brokers) => startGo('franz', brokers), lacks: LACKS['franz-go'] },
  { name: 'sarama', isThere: hasGo, start: (brokers) => startGo('sarama', brokers), lacks: LACKS.sarama },
  {
    name: 'kafka-python',
    isThere: hasKafkaPython,
    start: startKafkaPython,
    lacks: LACKS['kafka-python'],
  },
]

clusterSuite({ candidates: CANDIDATES, canRun })
