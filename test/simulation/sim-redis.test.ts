// The coordinator over the simulated Redis is held to the same suite as over a real one, in virtual time.

import { setImmediate } from 'node:timers/promises'
import { beforeAll } from 'vitest'
import { seededRandom } from '../../shared/random.ts'
import { systemClock } from '../../shared/time.ts'
import { describeCoordinator } from '../conformance/coordinator.ts'
import { Scheduler } from './scheduler.ts'
import { SimProcess } from './sim-process.ts'
import { SimRedisServer } from './sim-redis-link.ts'

const scheduler = new Scheduler()
const server = new SimRedisServer({ scheduler, random: seededRandom(1), onEvent: () => undefined })
const process = new SimProcess('broker', {
  scheduler,
  random: seededRandom(2),
  onEvent: () => undefined,
  onUncaught: (_process, error) => {
    throw error
  },
})

beforeAll(() => {
  const state = { isOver: false }
  const pump = async (): Promise<void> => {
    while (!state.isOver) {
      await scheduler.run(() => state.isOver, Infinity)
      await setImmediate()
    }
  }
  const pumping = pump()
  return () => {
    state.isOver = true
    return pumping
  }
})

describeCoordinator('the coordinator by a simulated Redis', (context) => {
  // The suite compares moments with the clock of this machine, so virtual time begins there.
  scheduler.nowMs = Math.max(scheduler.nowMs, systemClock.monotonic() + 1_000)
  const factory = server.coordinator('broker', process)
  return Promise.resolve(factory({ ...context, clock: process, timers: process }))
})
