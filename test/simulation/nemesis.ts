// Does what goes wrong in a simulation: draws faults from those that the seed allows, begins them, ends them after a while,
// and mends everything when the time of faults is over. Knows the machines from outside; no rule of the broker.

import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { SYNC_FAILED_FILE } from '../../broker/storage/file-names.ts'
import type { Fault } from './plan.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimBroker } from './sim-broker.ts'
import type { CrashChoice, SimFault, SimOperation } from './sim-disk.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimProcess } from './sim-process.ts'

export interface NemesisParts {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly network: SimNetwork
  readonly brokers: readonly SimBroker[]
  readonly clients: readonly { readonly host: string; readonly process: SimProcess }[]
  readonly faults: readonly Fault[]
  readonly everyMs: number
  readonly onPowerLoss: (broker: SimBroker) => void
}

const CAPACITY_BYTES = 1_000_000_000_000

export class Nemesis {
  readonly begun = new Map<Fault, number>()
  readonly #parts: NemesisParts
  #isOver = false
  /** Share of the disk's operations that fail. */
  #errorShare = 0
  #failingSyncs = 0
  #syncMs = 2
  #readMs = 0.2

  constructor(parts: NemesisParts) {
    this.#parts = parts
    const { random } = parts
    for (const { mood } of parts.brokers) {
      mood.syncMs = () => this.#syncMs * (0.2 + 2 * random.fraction())
      mood.readMs = () => this.#readMs * (0.2 + 2 * random.fraction())
      mood.fault = (operation) => this.#faultOf(operation)
    }
  }

  start(): void {
    if (this.#parts.faults.length > 0) this.#next()
  }

  /** Mends everything; brokers that are down come back. */
  end(): void {
    this.#isOver = true
    this.#errorShare = 0
    this.#failingSyncs = 0
    this.#syncMs = 2
    this.#readMs = 0.2
    this.#parts.network.healAll()
    for (const { process } of this.#parts.clients) process.resume()
    for (const broker of this.#parts.brokers) {
      broker.disk.capacityBytes = CAPACITY_BYTES
      broker.operationsToLive = Infinity
      broker.process.resume()
      broker.startAfter(1)
    }
  }

  #next(): void {
    const { scheduler, random, everyMs } = this.#parts
    scheduler.after(-Math.log(1 - random.fraction()) * everyMs, () => {
      if (this.#isOver) return
      const fault = this.#parts.faults[random.integer(this.#parts.faults.length)]
      if (fault !== undefined) this.#begin(fault)
      this.#next()
    })
  }

  #begin(fault: Fault): void {
    const { random, network, brokers, clients } = this.#parts
    const broker = brokers[random.integer(brokers.length)]
    const client = clients[random.integer(clients.length)]
    if (broker === undefined || client === undefined) return
    this.begun.set(fault, (this.begun.get(fault) ?? 0) + 1)
    network.note('nemesis', fault, '')
    switch (fault) {
      case 'kill':
        return this.#kill(broker)
      case 'power-loss':
        return this.#powerLoss(broker)
      case 'kill-at-operation':
      case 'power-loss-at-operation':
        broker.operationsToLive = 1 + random.integer(40)
        broker.onDoomed = () => (fault === 'kill-at-operation' ? this.#kill(broker) : this.#powerLoss(broker))
        return
      case 'restart':
        return broker.stop(() => broker.startAfter(this.#downMs()))
      case 'pause-broker':
        return broker.process.pause(this.#ms(20_000))
      case 'pause-client':
        return client.process.pause(this.#ms(20_000))
      case 'cut':
      case 'cut-one-way':
        return this.#cut(client.host, broker.host, fault === 'cut')
      case 'reset':
        for (const connection of [...network.connections]) if (random.integer(2) === 0) connection.reset()
        return
      case 'slow-connection':
        for (const connection of network.connections) {
          if (random.integer(2) === 0) connection.bytesPerMs = 0.5 + random.fraction() * 20
        }
        return this.#later(20_000, () => {
          for (const connection of network.connections) connection.bytesPerMs = Infinity
        })
      case 'slow-network':
        network.extraLatencyMs = this.#ms(5_000)
        return this.#later(10_000, () => (network.extraLatencyMs = 0))
      default:
        return this.#beginAtDisk(fault, broker)
    }
  }

  #beginAtDisk(fault: Fault, broker: SimBroker): void {
    const { random } = this.#parts
    switch (fault) {
      case 'disk-full': {
        const used = CAPACITY_BYTES - broker.disk.space('/').freeBytes
        if (broker.disk.capacityBytes !== CAPACITY_BYTES) return
        broker.disk.capacityBytes = used + random.integer(30_000)
        return this.#later(15_000, () => (broker.disk.capacityBytes = CAPACITY_BYTES))
      }
      case 'disk-errors':
        this.#errorShare = [0.01, 0.2, 1][random.integer(3)] ?? 0.01
        return this.#later(5_000, () => (this.#errorShare = 0))
      case 'failed-sync':
        this.#failingSyncs = 1 + random.integer(3)
        return
      case 'slow-disk':
        this.#syncMs = this.#ms(3_000)
        this.#readMs = this.#ms(500)
        return this.#later(10_000, () => {
          this.#syncMs = 2
          this.#readMs = 0.2
        })
      case 'clock-jump': {
        const offsetMs = (random.fraction() - 0.5) * 7_200_000
        for (const process of [broker.process, ...this.#parts.clients.map((client) => client.process)]) {
          if (random.integer(2) === 0) process.setWallClock(offsetMs)
        }
        return
      }
      default:
        return
    }
  }

  #kill(broker: SimBroker): void {
    if (!broker.process.isAlive) return
    broker.kill()
    broker.startAfter(this.#downMs())
  }

  #powerLoss(broker: SimBroker): void {
    if (!broker.process.isAlive) return
    broker.powerLoss(this.#survival())
    this.#parts.onPowerLoss(broker)
    broker.startAfter(this.#downMs())
  }

  #survival(): CrashChoice {
    const { random } = this.#parts
    const kind = random.integer(8)
    if (kind === 0) return { kind: 'none' }
    if (kind === 1) return { kind: 'all' }
    if (kind === 2) return { kind: 'data' }
    if (kind === 3) return { kind: 'names', sizes: random.integer(2) === 0 }
    return { kind: 'random', random: seededRandom(random.integer(0x7fff_ffff)) }
  }

  #cut(client: string, broker: string, isBothWays: boolean): void {
    const { network, random } = this.#parts
    const [from, to] = random.integer(2) === 0 ? [client, broker] : [broker, client]
    network.cut(from, to)
    if (isBothWays) network.cut(to, from)
    this.#later(20_000, () => {
      network.heal(from, to)
      network.heal(to, from)
    })
  }

  #faultOf(operation: SimOperation): SimFault | undefined {
    const { random } = this.#parts
    // Without this mark nobody can know of a failed sync; the broker says so and goes on, which is all it can do.
    if (operation.path.endsWith(SYNC_FAILED_FILE)) return undefined
    if (this.#failingSyncs > 0 && operation.kind === 'sync') {
      this.#failingSyncs -= 1
      return { code: 'EIO' }
    }
    // Of a sync it is the beginning that fails, or the disk would not know what has been lost.
    if (operation.kind === 'synced' || operation.kind === 'directory-synced') return undefined
    if (this.#errorShare === 0 || random.fraction() >= this.#errorShare) return undefined
    const bytes = operation.content?.length ?? 0
    return { code: 'EIO', bytesDone: bytes > 0 ? random.integer(bytes) : 0 }
  }

  #later(meanMs: number, callback: () => void): void {
    this.#parts.scheduler.after(this.#ms(meanMs), callback)
  }

  #downMs(): number {
    return 1 + this.#ms(this.#parts.random.integer(4) === 0 ? 15_000 : 1_500)
  }

  /** From next to nothing to maxMs, small ones as likely as large ones. */
  #ms(maxMs: number): number {
    return maxMs ** this.#parts.random.fraction()
  }
}
