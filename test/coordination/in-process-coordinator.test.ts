// The embedded coordinator is held to the same suite as every other.

import { InProcessCoordinator } from '../../broker/coordination/in-process-coordinator.ts'
import { describeCoordinator } from '../conformance/coordinator.ts'

describeCoordinator('the coordinator in the process', (context) => Promise.resolve(new InProcessCoordinator(context)))
