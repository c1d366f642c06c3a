// A network of hosts in virtual time: who listens where, which ways are cut, how long bytes take. What a connection does
// with them is sim-connection.ts's. Gives each process the door that the broker or the client expects.
//
// Faults: a way between two hosts may be cut in one direction (what is sent waits, as a retransmission would), a
// connection may be reset in the middle of a frame, and a host may go dark: then nobody is told, and whoever still sends
// to it hears nothing until it is back, and a reset from then on.

import type {
  ListenOptions,
  SocketHandlers,
  Transport as BrokerTransport,
  TransportServer,
  TransportSocket,
} from '../../broker/network/transport.ts'
import type { Address, Transport as ClientTransport, Wire, WireEvents } from '../../client/transport.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import type { Scheduler } from './scheduler.ts'
import { type ConnectionWay, type NetworkProfile, SimConnection, type SimEnd, socketError } from './sim-connection.ts'
import type { SimProcess } from './sim-process.ts'

interface SimHost {
  readonly name: string
  isDark: boolean
  readonly listeners: Map<number, Listening>
}

interface Listening {
  readonly process: SimProcess
  readonly onSocket: (socket: TransportSocket) => void
}

const CONNECT_RETRY_MS = 1_000

export class SimNetwork implements ConnectionWay {
  readonly scheduler: Scheduler
  readonly random: Random
  profile: NetworkProfile
  /** Milliseconds on top of every latency. */
  extraLatencyMs = 0
  readonly connections = new Set<SimConnection>()
  readonly #onEvent: (who: string, what: string, details: string) => void
  readonly #hosts = new Map<string, SimHost>()
  readonly #cuts = new Set<string>()
  readonly #onHeal: (() => void)[] = []
  #lastConnection = 0
  #lastPort = 40_000

  constructor(parts: {
    readonly scheduler: Scheduler
    readonly random: Random
    readonly profile: NetworkProfile
    readonly onEvent: (who: string, what: string, details: string) => void
  }) {
    this.scheduler = parts.scheduler
    this.random = parts.random
    this.profile = parts.profile
    this.#onEvent = parts.onEvent
  }

  /** What a broker on this host reaches the network by, as long as its process lives. */
  brokerTransport(hostName: string, process: SimProcess): BrokerTransport {
    const host = this.#host(hostName)
    process.onDeath(() => {
      for (const [port, listening] of host.listeners) if (listening.process === process) host.listeners.delete(port)
    })
    return { listen: (options, onSocket) => this.#listen(host, process, options, onSocket) }
  }

  clientTransport(hostName: string, process: SimProcess): ClientTransport {
    this.#host(hostName)
    return { open: (address, events) => this.#open(hostName, process, address, events) }
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`)
  }

  isDark(host: string): boolean {
    return this.#host(host).isDark
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  heal(from: string, to: string): void {
    if (this.#cuts.delete(`${from}>${to}`)) this.#tellHealed()
  }

  healAll(): void {
    this.#cuts.clear()
    this.extraLatencyMs = 0
    for (const connection of this.connections) connection.bytesPerMs = Infinity
    this.#tellHealed()
  }

  onNextHeal(callback: () => void): void {
    this.#onHeal.push(callback)
  }

  /** The power of a host fails: what it had on the way is gone, and nobody is told. */
  darken(hostName: string): void {
    const host = this.#host(hostName)
    host.isDark = true
    host.listeners.clear()
    for (const connection of this.connections) connection.onHostGone(hostName)
  }

  lighten(hostName: string): void {
    const host = this.#host(hostName)
    if (!host.isDark) return
    host.isDark = false
    for (const connection of [...this.connections]) connection.onHostBack(hostName)
  }

  arrivalMs(): number {
    const { grainMs, latencyMs } = this.profile
    const at = this.scheduler.nowMs + latencyMs(this.random) + this.extraLatencyMs
    return grainMs === 0 ? at : Math.ceil(at / grainMs) * grainMs
  }

  note(who: string, what: string, details: string): void {
    this.#onEvent(who, what, details)
  }

  forget(connection: SimConnection): void {
    this.connections.delete(connection)
  }

  #tellHealed(): void {
    for (const callback of this.#onHeal.splice(0)) callback()
  }

  #host(name: string): SimHost {
    let host = this.#hosts.get(name)
    if (host === undefined) {
      host = { name, isDark: false, listeners: new Map() }
      this.#hosts.set(name, host)
    }
    return host
  }

  #listen(
    host: SimHost,
    process: SimProcess,
    options: ListenOptions,
    onSocket: (socket: TransportSocket) => void,
  ): Promise<TransportServer> {
    // What a process does in the moment of its death has no effect.
    if (!process.isAlive) return new Promise(() => undefined)
    const port = options.port === 0 ? ++this.#lastPort : options.port
    if (host.listeners.has(port)) {
      return Promise.reject(new TidemarkError('ADDRESS_IN_USE', `${host.name}:${port} is taken`))
    }
    const listening = { process, onSocket }
    host.listeners.set(port, listening)
    return Promise.resolve({
      host: host.name,
      port,
      close: () => {
        if (host.listeners.get(port) === listening) host.listeners.delete(port)
        return Promise.resolve()
      },
    })
  }

  #open(from: string, process: SimProcess, address: Address, events: WireEvents): Wire {
    const { host: to, port } = address
    const connection = new SimConnection(this, ++this.#lastConnection, { from, to })
    this.connections.add(connection)
    const end = connection.client
    end.attach(process, {
      onData: (chunk) => events.onData(chunk),
      onDrain: () => events.onDrain(),
      onClose: (error) => events.onClose(error),
    })
    process.onDeath(() => end.onProcessDeath(this.random.integer(2) === 0))
    const knock = (): void => {
      if (end.isClosed) return
      if (this.isCut(from, to) || this.isCut(to, from) || this.isDark(to)) {
        this.scheduler.after(CONNECT_RETRY_MS, knock)
        return
      }
      const listening = this.#host(to).listeners.get(port)
      const backMs = this.arrivalMs()
      if (listening === undefined) {
        this.scheduler.at(backMs, () => end.fail(socketError('ECONNREFUSED', `connect ${to}:${port}`)))
        return
      }
      this.#accept(connection, listening, process)
      this.scheduler.at(backMs, () => {
        if (!end.isClosed) process.run('connected', connection.name, () => end.isClosed || events.onConnect())
      })
    }
    this.scheduler.at(this.arrivalMs(), knock)
    return { write: (chunks) => end.write(chunks), destroy: () => end.destroy() }
  }

  #accept(connection: SimConnection, listening: Listening, client: SimProcess): void {
    const { process } = listening
    const end = connection.server
    end.open(process)
    process.onDeath(() => end.onProcessDeath(this.random.integer(2) === 0))
    process.run('accept', `${connection.name} of ${client.name}`, () => {
      if (!end.isClosed) listening.onSocket(new AcceptedSocket(end, connection))
    })
  }
}

class AcceptedSocket implements TransportSocket {
  readonly remote: string
  readonly remoteAddress: string
  readonly #end: SimEnd

  constructor(end: SimEnd, connection: SimConnection) {
    this.#end = end
    this.remoteAddress = connection.from
    this.remote = `${connection.from}:${connection.id}`
  }

  get bufferedBytes(): number {
    return this.#end.bufferedBytes
  }

  start(handlers: SocketHandlers): void {
    this.#end.handle(handlers)
  }

  pause(): void {
    this.#end.pause()
  }

  resume(): void {
    this.#end.resume()
  }

  write(buffers: readonly Uint8Array[], onWritten?: () => void): boolean {
    return this.#end.write(buffers, onWritten)
  }

  end(): void {
    this.#end.end()
  }

  destroy(): void {
    this.#end.destroy()
  }
}
