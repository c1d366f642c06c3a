// The doors of a broker and of a client, simulated: what they know as time, chance, disk, network and agreement comes from
// one seed. Nothing else is handed to them, so that nothing else can make two runs of a seed differ.

import type { ClientEnvironment } from '../../client/environment.ts'
import type { CoordinatorFactory } from '../../broker/coordination/coordinator.ts'
import type { Environment } from '../../broker/environment.ts'
import type { Random } from '../../shared/random.ts'
import type { SimDisk } from './sim-disk.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimProcess } from './sim-process.ts'
import { InProcessCoordinator } from '../../broker/coordination/in-process-coordinator.ts'

export interface BrokerMachine {
  readonly host: string
  readonly process: SimProcess
  readonly disk: SimDisk
  readonly network: SimNetwork
  readonly random: Random
  /** Default: a broker that is its own cluster. */
  readonly coordinator?: CoordinatorFactory
}

export function brokerEnvironment(machine: BrokerMachine): Environment {
  const { process, disk, network, random, host } = machine
  return {
    clock: process,
    timers: process,
    random,
    disk,
    transport: network.brokerTransport(host, process),
    outgoing: network.clientTransport(host, process),
    coordinator: machine.coordinator ?? ((context) => new InProcessCoordinator(context)),
    hostname: host,
    eventLoopUtilization: () => 0,
  }
}

export function clientEnvironment(
  host: string,
  process: SimProcess,
  network: SimNetwork,
  random: Random,
): ClientEnvironment {
  return { clock: process, timers: process, random, transport: network.clientTransport(host, process) }
}
