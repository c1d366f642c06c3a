// The five doors as one value: time, chance, disk, network and agreement. A broker reaches the outside through these and
// nothing else, so whoever makes an environment decides what its outside is.

import { hostname } from 'node:os'
import { performance } from 'node:perf_hooks'
import { NodeDisk } from './storage/node-disk.ts'
import type { Disk } from './storage/disk.ts'
import type { CoordinatorFactory } from './coordination/coordinator.ts'
import type { Transport } from './network/transport.ts'
import type { Random } from '../shared/random.ts'
import type { Clock, Timers } from '../shared/time.ts'
import { systemRandom } from '../shared/random.ts'
import { systemClock, systemTimers } from '../shared/time.ts'
import { InProcessCoordinator } from './coordination/in-process-coordinator.ts'
import { NodeTransport } from './network/node-transport.ts'

export interface Environment {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly disk: Disk
  readonly transport: Transport
  readonly coordinator: CoordinatorFactory
  /** What other machines call this one; told to clients when the broker listens on all addresses. */
  readonly hostname: string
  /** Share of the time since the last call that the event loop was busy, from 0 to 1. */
  eventLoopUtilization(): number
}

/** The real world: this machine's clock, disk and network, and a broker that is its own cluster. */
export function systemEnvironment(): Environment {
  return {
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    disk: new NodeDisk(),
    transport: new NodeTransport(),
    coordinator: (context) => new InProcessCoordinator(context),
    hostname: hostname(),
    eventLoopUtilization: measureEventLoop(),
  }
}

function measureEventLoop(): () => number {
  let last = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    return Number.isFinite(utilization) ? utilization : 0
  }
}
