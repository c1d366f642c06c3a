// Where clients connect: the first listener and the named ones, each with both protocols, and what clients of each are told to
// connect to. Composes; how a listener works is the network's business.

import type { Logger } from '../shared/logger.ts'
import { must } from '../shared/assert.ts'
import { type Address, type BrokerOptions, parseAddress, parseListeners } from './config.ts'
import type { BrokerRecord } from './coordination/coordinator.ts'
import type { Environment } from './environment.ts'
import type { Meter } from './metrics/meter.ts'
import { CONNECTION_LIMITS } from './network/connection-limits.ts'
import { Listener } from './network/listener.ts'
import { KafkaAdapter } from './protocols/kafka/kafka-adapter.ts'
import { NativeAdapter } from './protocols/native/native-adapter.ts'
import type { RequestRouter } from './requests/request-router.ts'

export interface ListenersParts {
  readonly environment: Environment
  readonly options: BrokerOptions
  readonly software: string
  readonly router: RequestRouter
  readonly logger: Logger
  readonly meter: Meter
}

export class Listeners {
  readonly #parts: ListenersParts
  readonly #started: Listener[] = []
  #first: Address | undefined
  /** The others, by their names, as they listen. */
  readonly #named = new Map<string, Address>()

  constructor(parts: ListenersParts) {
    this.#parts = parts
  }

  /** Where the first one listens; undefined before it does. */
  get first(): Address | undefined {
    return this.#first
  }

  /** @throws ADDRESS_IN_USE, INVALID_OPTION; what listens by then is stopped by `stop`. */
  async start(): Promise<void> {
    const { options } = this.#parts
    this.#first = await this.#listen(undefined, parseAddress(options.listen, 'listen'))
    if (options.listeners === undefined) return
    for (const [name, address] of parseListeners(options.listeners, 'listeners')) {
      this.#named.set(name, await this.#listen(name, address))
    }
  }

  /** As Listener.stop, all of them. */
  async stop(options: { readonly drainMs: number }): Promise<void> {
    await Promise.all(this.#started.map((listener) => listener.stop(options)))
  }

  /** What clients are told to connect to: those of the first listener, and those of each of the others. */
  advertised(): Pick<BrokerRecord, 'host' | 'port' | 'listeners'> {
    const { advertise, advertisedListeners } = this.#parts.options
    const first = advertise === undefined ? this.#reachable(this.#first) : parseAddress(advertise, 'advertise')
    if (this.#named.size === 0) return first
    const told =
      advertisedListeners === undefined ? undefined : parseListeners(advertisedListeners, 'advertised-listeners')
    const listeners: Record<string, Address> = {}
    for (const [name, listens] of this.#named) listeners[name] = told?.get(name) ?? this.#reachable(listens)
    return { ...first, listeners }
  }

  async #listen(name: string | undefined, { host, port }: Address): Promise<Address> {
    const { environment, options, software, router, logger, meter } = this.#parts
    const { clock, timers, transport } = environment
    const limits = {
      ...CONNECTION_LIMITS,
      connectionsMax: options.connectionsMax,
      connectionsPerAddressMax: options.connectionsPerAddressMax,
      requestBytesMax: options.requestMemoryBytes,
      inFlightMax: options.inFlightMax,
      idleMs: options.connectionIdleMs,
    }
    const common = { logger, meter, limits, requests: router, listener: name }
    const identity = () => {
      const { brokerId, cluster, rack } = options
      return { brokerId, cluster, software, rack }
    }
    const adapters = [new NativeAdapter({ ...common, identity }), new KafkaAdapter(common)]
    const label = name === undefined ? {} : { name }
    const listener = new Listener({ ...common, ...label, transport, host, port, adapters, clock, timers })
    this.#started.push(listener)
    return listener.start()
  }

  /** Who listens on all addresses is reached by its name. */
  #reachable(listens: Address | undefined): Address {
    const { host, port } = must(listens, 'a broker that is told of listens')
    return { host: host === '0.0.0.0' || host === '::' ? this.#parts.environment.hostname : host, port }
  }
}
