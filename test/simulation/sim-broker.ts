// A machine with a broker on it, through all of its lives: each is a process of its own on the disk that the one before
// left. Owns starting again after whatever ended the last life, as a supervisor would; what ends a life, and when, is
// decided elsewhere. The broker is the real one.

import type { Broker } from '../../broker/broker.ts'
import { createBroker } from '../../broker/broker.ts'
import type { BrokerSettings } from '../../broker/config.ts'
import type { CoordinatorFactory } from '../../broker/coordination/coordinator.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import type { RequestContext } from '../../broker/requests/requests.ts'
import { SYNC_FAILED_FILE } from '../../broker/storage/file-names.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { Random } from '../../shared/random.ts'
import { type CrashChoice, type SimAppend, SimDisk, type SimFault, type SimOperation } from './sim-disk.ts'
import { brokerEnvironment } from './sim-environment.ts'
import type { SimNetwork } from './sim-network.ts'
import { type ProcessHost, SimProcess } from './sim-process.ts'

export type DescribedTopic = ResponseOf<'describeTopics'>['topics'][number]

export interface SimBrokerParts {
  readonly host: string
  readonly port: number
  readonly processes: ProcessHost
  readonly network: SimNetwork
  readonly random: Random
  readonly settings: BrokerSettings
  readonly logger: Logger
  /** Of a life; a broker that is its own cluster if absent. */
  readonly coordinator?: (process: SimProcess) => CoordinatorFactory
}

/** How the disk of the machine behaves at the moment. */
export interface DiskMood {
  syncMs: () => number
  readMs: () => number
  fault: (operation: SimOperation) => SimFault | undefined
}

const RETRY_MS = 500
export const DATA_DIRECTORY = '/data'

export class SimBroker {
  readonly host: string
  readonly address: string
  readonly mood: DiskMood
  disk: SimDisk
  process: SimProcess
  /** Of the present life, while it serves. */
  broker: Broker | undefined
  meter = new SlotMeter()
  lives = 0
  /** The life is ended before the disk operation at which this reaches zero. */
  operationsToLive = Infinity
  onDoomed: () => void = () => undefined
  onSynced: (path: string, beganMs: number) => void = () => undefined
  onAppended: (append: SimAppend) => void = () => undefined
  onCut: (path: string, size: number) => void = () => undefined
  readonly #syncs = new Map<string, number[]>()
  /** For tests of the simulation: what the broker is given may be bent before. */
  bend: (environment: ReturnType<typeof brokerEnvironment>) => ReturnType<typeof brokerEnvironment> = (same) => same
  #isWanted = false
  #isStopping = false
  readonly #parts: SimBrokerParts

  constructor(parts: SimBrokerParts) {
    this.#parts = parts
    this.host = parts.host
    this.address = `${parts.host}:${parts.port}`
    this.mood = { syncMs: () => 1, readMs: () => 0.2, fault: () => undefined }
    this.process = new SimProcess(`${parts.host}.0`, parts.processes)
    this.process.die()
    this.disk = new SimDisk({ clock: this.process })
  }

  get isServing(): boolean {
    return this.broker !== undefined && this.process.isAlive && !this.#isStopping
  }

  /** Starts a life now, and another one whenever a start fails. */
  start(): void {
    this.#isWanted = true
    if (this.process.isAlive) return
    this.lives += 1
    this.#syncs.clear()
    const { host, port, processes, network, random, settings, logger } = this.#parts
    const process = new SimProcess(`${host}.${this.lives}`, processes, 1 + (random.fraction() - 0.5) / 10)
    this.process = process
    this.#useDisk(this.disk.kill(), process)
    network.lighten(host)
    this.meter = new SlotMeter()
    const machine = { host, process, disk: this.disk, network, random }
    const { coordinator } = this.#parts
    const environment = this.bend(
      brokerEnvironment(coordinator === undefined ? machine : { ...machine, coordinator: coordinator(process) }),
    )
    const { meter } = this
    process.run('start', `life ${this.lives}`, () => {
      createBroker(
        environment,
        { ...settings, http: 'off', dataDir: DATA_DIRECTORY, listen: `${host}:${port}` },
        { logger, meter },
      ).then(
        (broker) => {
          if (this.process !== process || !process.isAlive) return
          network.note(host, 'serving', `life ${this.lives}`)
          this.broker = broker
        },
        (error: unknown) => {
          if (this.process !== process || !process.isAlive) return
          network.note(host, 'start failed', String(error))
          this.kill()
          this.startAfter(RETRY_MS)
        },
      )
    })
  }

  startAfter(delayMs: number): void {
    this.#isWanted = true
    this.#parts.processes.scheduler.after(delayMs, () => {
      if (this.#isWanted) this.start()
    })
  }

  /** As SIGKILL: what was written stays, synced or not. */
  kill(): void {
    if (!this.process.isAlive) return
    this.#isWanted = false
    this.#parts.network.note(this.host, 'kill', '')
    const left = this.disk.kill()
    this.#end()
    this.disk = left
  }

  /** An empty one in its place; for a broker that is not running. */
  replaceDisk(): void {
    this.#parts.network.note(this.host, 'new disk', '')
    this.disk = new SimDisk({ clock: this.process })
  }

  powerLoss(choice: CrashChoice): void {
    if (!this.process.isAlive) return
    this.#isWanted = false
    this.#parts.network.note(this.host, 'power loss', choice.kind)
    const left = this.disk.crash(choice)
    this.#parts.network.darken(this.host)
    this.#end()
    this.disk = left
  }

  /** Stops in order; `onStopped` is told how many timers the broker has left behind. */
  stop(onStopped: (timers: number) => void): void {
    const { broker, process } = this
    if (broker === undefined || !process.isAlive || this.#isStopping) return
    this.#isWanted = false
    this.#isStopping = true
    process.run('stop', '', () => {
      broker.stop().then(
        () => {
          if (this.process !== process || !process.isAlive) return
          const timers = process.pendingTimers
          this.#parts.network.note(this.host, 'stopped', `${timers} timers`)
          this.kill()
          onStopped(timers)
        },
        (error: unknown) => this.#parts.processes.onUncaught(process, error),
      )
    })
  }

  /** Topics and partitions as the broker sees them in this moment; later in the same event. */
  describe(onDescribed: (topics: readonly DescribedTopic[]) => void): void {
    const { broker, process } = this
    if (broker === undefined || !this.isServing) return
    broker.requests.ask('describeTopics', { topics: undefined }, CHECKER).then(
      ({ topics }) => {
        if (this.process === process && process.isAlive) onDescribed(topics)
      },
      () => undefined,
    )
  }

  #end(): void {
    this.operationsToLive = Infinity
    this.#isStopping = false
    this.broker = undefined
    this.disk.powerOff()
    this.process.die()
  }

  #followSync({ kind, path }: SimOperation): void {
    if (kind !== 'sync' && kind !== 'synced') return
    const begun = this.#syncs.get(path) ?? []
    this.#syncs.set(path, begun)
    if (kind === 'sync') begun.push(this.#parts.processes.scheduler.nowMs)
    else {
      // The youngest: one that failed at its beginning has left its own behind.
      this.onSynced(path, begun.at(-1) ?? -1)
      begun.length = 0
    }
  }

  #useDisk(disk: SimDisk, process: SimProcess): void {
    const { network } = this.#parts
    this.disk = disk
    disk.options = {
      clock: process,
      latency: { timers: process, syncMs: () => this.mood.syncMs(), readMs: () => this.mood.readMs() },
      fault: (operation) => this.mood.fault(operation),
      onAppended: (append) => this.onAppended(append),
      onCut: (path, size) => this.onCut(path, size),
      onOperation: (operation) => {
        if (this.disk !== disk || operation.kind === 'read' || operation.kind === 'open') return
        network.note(this.host, operation.kind, `${operation.path} ${operation.content?.length ?? ''}`)
        this.#followSync(operation)
        this.operationsToLive -= 1
        // Between a failed sync and the mark that tells of it nothing can be done about a death.
        if (this.operationsToLive < 1 && !operation.path.endsWith(SYNC_FAILED_FILE)) this.onDoomed()
      },
    }
  }
}

const CHECKER: RequestContext = {
  connectionId: 0,
  protocol: 'native',
  remote: 'checker',
  clientId: 'checker',
  software: 'simulation',
}
