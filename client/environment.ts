// The doors of the client as one value: time, chance and the network. A simulation puts its own in their place.

import { type Random, systemRandom } from '../shared/random.ts'
import { type Clock, systemClock, systemTimers, type Timers } from '../shared/time.ts'
import { systemTransport, type Transport } from './transport.ts'

export interface ClientEnvironment {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly transport: Transport
}

export const systemEnvironment: ClientEnvironment = {
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  transport: systemTransport,
}
