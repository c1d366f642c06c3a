// The five doors as one value: time, chance, disk, network and agreement. A broker reaches the outside through these and
// nothing else, so whoever makes an environment decides what its outside is.

import { hostname } from 'node:os'
import { performance } from 'node:perf_hooks'
import { NodeDisk } from './storage/node-disk.ts'
import type { Disk } from './storage/disk.ts'
import type { Coordinator, CoordinatorContext, CoordinatorFactory, OnDisk } from './coordination/coordinator.ts'
import type { Transport } from './network/transport.ts'
import type { Transport as OutgoingTransport } from '../client/transport.ts'
import type { ReplicaTrial } from './replication/replica.ts'
import type { Random } from '../shared/random.ts'
import type { Clock, Timers } from '../shared/time.ts'
import { systemTransport } from '../client/transport.ts'
import { systemRandom } from '../shared/random.ts'
import { systemClock, systemTimers } from '../shared/time.ts'
import { InProcessCoordinator } from './coordination/in-process-coordinator.ts'
import { NodeTransport } from './network/node-transport.ts'

export interface Environment {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly disk: Disk
  /** Where the broker is reached. */
  readonly transport: Transport
  /** The way to other brokers. */
  readonly outgoing: OutgoingTransport
  readonly coordinator: CoordinatorFactory
  /** What other machines call this one; told to clients when the broker listens on all addresses. */
  readonly hostname: string
  /** Share of the time since the last call that the event loop was busy, from 0 to 1. */
  eventLoopUtilization(): number
  /** For whoever puts the rules of replication to the test. */
  readonly replicaTrial?: ReplicaTrial
}

/** The real world: this machine's clock, disk and network, and agreement by the Redis that the settings name, if any. */
export function systemEnvironment(): Environment {
  return {
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    disk: new NodeDisk(),
    transport: new NodeTransport(),
    outgoing: systemTransport,
    coordinator: systemCoordinator,
    hostname: hostname(),
    eventLoopUtilization: measureEventLoop(),
  }
}

const NOTHING_ON_DISK: OnDisk = { clusterId: undefined, tombstones: () => [], leaderships: () => [] }

/** A broker that is its own cluster does not load what speaks to Redis. */
async function systemCoordinator(context: CoordinatorContext): Promise<Coordinator> {
  const { redis, onDisk = NOTHING_ON_DISK } = context
  if (redis === undefined) return new InProcessCoordinator(context)
  const { redisCoordinator } = await import('./coordination/redis-coordinator.ts')
  return redisCoordinator({ url: redis.url, sessionTtlMs: redis.sessionTimeoutMs, onDisk })(context)
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
