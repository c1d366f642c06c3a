// Does what goes wrong in a simulated cluster: to brokers, to the ways between them, to their disks, to Redis. Draws from the
// faults that the seed allows, ends each after a while, and mends everything when the time of faults is over.
//
// Invariant: unsynced data is lost by no more brokers at a time than the promise to users allows; a broker that lost some
// counts until it has everything again.

import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { SYNC_FAILED_FILE } from '../../broker/storage/file-names.ts'
import type { ClusterFault } from './cluster-plan.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimBroker } from './sim-broker.ts'
import type { CrashChoice, SimFault, SimOperation } from './sim-disk.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimProcess } from './sim-process.ts'
import type { SimRedisServer } from './sim-redis-link.ts'
import type { RedisSnapshot } from './sim-redis.ts'

export interface ClusterNemesisParts {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly network: SimNetwork
  readonly redis: SimRedisServer
  readonly brokers: readonly SimBroker[]
  readonly clients: readonly { readonly host: string; readonly process: SimProcess }[]
  readonly faults: readonly ClusterFault[]
  readonly everyMs: number
  readonly troubleMsMax: number
  /** Brokers that may lack data they lost, at a time. */
  readonly lossesMax: number
  /** Disks that may lose what was synced. */
  readonly diskLossesMax: number
  /** Whether nothing that is settled is missing on its disk. */
  readonly hasEverything: (broker: SimBroker) => boolean
  readonly onPowerLoss: () => void
}

interface DiskTrouble {
  errorShare: number
  failingSyncs: number
  syncMs: number
  readMs: number
}

const CAPACITY_BYTES = 1_000_000_000_000
const SNAPSHOT_EVERY_MS = 2_000
const SNAPSHOTS_KEPT = 5
/** Longer than from a promotion to what is known of it: what was settled before a start has been shown by then. */
const SETTLED_AFTER_MS = 200

export class ClusterNemesis {
  readonly begun = new Map<ClusterFault, number>()
  /** The broker that has got an empty disk. */
  replaced: SimBroker | undefined
  /** Those that have lost their power some time. */
  readonly #withoutPower = new Set<SimBroker>()
  /** Their disks have had errors. */
  readonly #withErrors = new Set<SimBroker>()
  readonly #parts: ClusterNemesisParts
  readonly #troubles = new Map<SimBroker, DiskTrouble>()
  readonly #lossy = new Map<SimBroker, number>()
  readonly #snapshots: RedisSnapshot[] = []
  #isOver = false

  constructor(parts: ClusterNemesisParts) {
    this.#parts = parts
    const { random } = parts
    for (const broker of parts.brokers) {
      const trouble: DiskTrouble = { errorShare: 0, failingSyncs: 0, syncMs: 2, readMs: 0.2 }
      this.#troubles.set(broker, trouble)
      broker.mood.syncMs = () => trouble.syncMs * (0.2 + 2 * random.fraction())
      broker.mood.readMs = () => trouble.readMs * (0.2 + 2 * random.fraction())
      broker.mood.fault = (operation) => this.#faultOf(trouble, operation)
    }
  }

  start(): void {
    if (this.#parts.faults.length === 0) return
    this.#next()
    if (this.#parts.faults.includes('redis-rolled-back')) this.#takeSnapshots()
  }

  /** Mends everything; brokers that are down come back. */
  end(): void {
    this.#isOver = true
    const { network, redis, clients, brokers } = this.#parts
    network.healAll()
    redis.healAll()
    for (const { process } of clients) process.resume()
    for (const broker of brokers) {
      Object.assign(this.#troubleOf(broker), { errorShare: 0, failingSyncs: 0, syncMs: 2, readMs: 0.2 })
      broker.disk.capacityBytes = CAPACITY_BYTES
      broker.operationsToLive = Infinity
      broker.process.resume()
      broker.startAfter(1)
    }
  }

  #next(): void {
    const { scheduler, random, everyMs, faults } = this.#parts
    scheduler.after(-Math.log(1 - random.fraction()) * everyMs, () => {
      if (this.#isOver) return
      const fault = faults[random.integer(faults.length)]
      if (fault !== undefined) this.#begin(fault)
      this.#next()
    })
  }

  #begin(fault: ClusterFault): void {
    const { network } = this.#parts
    const broker = this.#any(this.#parts.brokers)
    this.begun.set(fault, (this.begun.get(fault) ?? 0) + 1)
    network.note('nemesis', fault, broker.host)
    if (fault.startsWith('redis') || fault === 'sessions-lost') this.#beginAtRedis(fault, broker)
    else if (this.#beginAtDisk(fault, broker) || this.#beginOnTheWay(fault, broker)) return
    else this.#beginAtProcess(fault, broker)
  }

  #beginAtProcess(fault: ClusterFault, broker: SimBroker): void {
    const { random, brokers, clients } = this.#parts
    switch (fault) {
      case 'kill':
        return this.#kill(broker)
      case 'kill-all':
        for (const one of brokers) this.#kill(one)
        return
      case 'power-loss':
        return this.#powerLoss(broker)
      case 'power-loss-all':
        for (const one of brokers) this.#powerLoss(one)
        return
      case 'kill-at-operation':
      case 'power-loss-at-operation':
        broker.operationsToLive = 1 + random.integer(60)
        broker.onDoomed = () => (fault === 'kill-at-operation' ? this.#kill(broker) : this.#powerLoss(broker))
        return
      case 'restart':
        return broker.stop(() => broker.startAfter(this.#downMs()))
      case 'rolling-restart':
        return this.#roll([...brokers])
      case 'pause':
        return broker.process.pause(this.#ms(this.#parts.troubleMsMax))
      case 'pause-client':
        return this.#any(clients).process.pause(this.#ms(this.#parts.troubleMsMax))
      case 'clock-jump': {
        const offsetMs = (random.fraction() - 0.5) * 7_200_000
        for (const { process } of [...brokers, ...clients]) if (random.integer(2) === 0) process.setWallClock(offsetMs)
        return
      }
      default:
        return
    }
  }

  /** Whether it is a fault of this kind. */
  #beginOnTheWay(fault: ClusterFault, broker: SimBroker): boolean {
    const { random, network, brokers, clients } = this.#parts
    const others = brokers.filter((one) => one !== broker)
    switch (fault) {
      case 'cut-pair':
      case 'cut-pair-one-way':
        this.#cut(broker.host, [this.#any(others).host], fault === 'cut-pair' ? 'both' : 'one')
        return true
      case 'isolate':
      case 'isolate-one-way':
        this.#cut(
          broker.host,
          others.map(({ host }) => host),
          fault === 'isolate' ? 'both' : 'one',
        )
        if (random.integer(2) === 0) this.#cutFromRedis(broker)
        return true
      case 'cut-client':
        this.#cut(broker.host, [this.#any(clients).host], random.integer(2) === 0 ? 'both' : 'one')
        return true
      case 'reset':
        for (const connection of [...network.connections]) if (random.integer(2) === 0) connection.reset()
        return true
      case 'slow-connection':
        for (const connection of network.connections) {
          if (random.integer(2) === 0) connection.bytesPerMs = 0.5 + random.fraction() * 20
        }
        this.#later(this.#parts.troubleMsMax, () => {
          for (const connection of network.connections) connection.bytesPerMs = Infinity
        })
        return true
      case 'slow-network':
        network.extraLatencyMs = this.#ms(2_000)
        this.#later(this.#parts.troubleMsMax / 2, () => (network.extraLatencyMs = 0))
        return true
      default:
        return false
    }
  }

  /** Whether it is a fault of this kind. */
  #beginAtDisk(fault: ClusterFault, broker: SimBroker): boolean {
    const { random } = this.#parts
    const trouble = this.#troubleOf(broker)
    switch (fault) {
      case 'disk-full': {
        if (broker.disk.capacityBytes !== CAPACITY_BYTES || !broker.isServing) return true
        const used = CAPACITY_BYTES - broker.disk.space('/').freeBytes
        broker.disk.capacityBytes = used + random.integer(30_000)
        this.#later(this.#parts.troubleMsMax, () => (broker.disk.capacityBytes = CAPACITY_BYTES))
        return true
      }
      case 'disk-errors':
        // A sync among them makes a suspect, which counts as little as a disk that is gone.
        if (this.replaced !== undefined && this.replaced !== broker) return true
        this.#withErrors.add(broker)
        trouble.errorShare = [0.01, 0.2, 1][random.integer(3)] ?? 0.01
        this.#later(5_000, () => (trouble.errorShare = 0))
        return true
      case 'failed-sync': {
        // Always of the same disk: what a failed sync may have lost counts as one loss for good.
        const [first] = this.#parts.brokers
        if (first !== undefined && this.#parts.diskLossesMax > 0) {
          this.#troubleOf(first).failingSyncs = 1 + random.integer(3)
        }
        return true
      }
      case 'replaced-disk': {
        const [first] = this.#parts.brokers
        if (first !== undefined) this.#replaceDisk(first)
        return true
      }
      case 'slow-disk':
        trouble.syncMs = this.#ms(3_000)
        trouble.readMs = this.#ms(500)
        this.#later(this.#parts.troubleMsMax / 2, () => Object.assign(trouble, { syncMs: 2, readMs: 0.2 }))
        return true
      default:
        return false
    }
  }

  #beginAtRedis(fault: ClusterFault, broker: SimBroker): void {
    const { random, redis } = this.#parts
    switch (fault) {
      case 'redis-down':
        redis.goDown()
        return this.#later(this.#parts.troubleMsMax, () => redis.comeUp())
      case 'redis-still':
        redis.standStill()
        return this.#later(this.#parts.troubleMsMax, () => redis.goOn())
      case 'redis-cut':
        return this.#cutFromRedis(broker)
      case 'redis-slow':
        redis.extraLatencyMs = this.#ms(1_500)
        return this.#later(this.#parts.troubleMsMax / 2, () => (redis.extraLatencyMs = 0))
      case 'redis-rolled-back': {
        const snapshot = this.#snapshots[random.integer(this.#snapshots.length)]
        if (snapshot === undefined || redis.isDown) return
        redis.goDown()
        return this.#later(3_000, () => redis.comeUp(structuredClone(snapshot)))
      }
      case 'redis-emptied':
        if (random.integer(2) === 0) return redis.redis.empty()
        redis.goDown()
        return this.#later(3_000, () => redis.comeUp(new Map()))
      case 'redis-key-lost':
        return redis.redis.loseKey((['topics', 'names', 'leaders', 'brokers'] as const)[random.integer(4)] ?? 'leaders')
      case 'redis-key-evicted':
        return this.#parts.network.note('redis', 'has evicted', redis.redis.evictKey())
      case 'redis-read-only':
        redis.redis.role = 'slave'
        return this.#later(this.#parts.troubleMsMax, () => (redis.redis.role = 'master'))
      case 'sessions-lost':
        return redis.redis.loseKey('sessions')
      default:
        return
    }
  }

  #takeSnapshots(): void {
    if (this.#isOver) return
    this.#snapshots.push(this.#parts.redis.redis.snapshot())
    if (this.#snapshots.length > SNAPSHOTS_KEPT) this.#snapshots.shift()
    this.#parts.scheduler.after(SNAPSHOT_EVERY_MS, () => this.#takeSnapshots())
  }

  #cutFromRedis(broker: SimBroker): void {
    const { redis } = this.#parts
    redis.cut(broker.host)
    this.#later(this.#parts.troubleMsMax, () => redis.heal(broker.host))
  }

  #cut(host: string, others: readonly string[], ways: 'both' | 'one'): void {
    const { network, random } = this.#parts
    const isOutward = random.integer(2) === 0
    for (const other of others) {
      if (ways === 'both' || isOutward) network.cut(host, other)
      if (ways === 'both' || !isOutward) network.cut(other, host)
    }
    this.#later(this.#parts.troubleMsMax, () => {
      for (const other of others) {
        network.heal(host, other)
        network.heal(other, host)
      }
    })
  }

  #kill(broker: SimBroker): void {
    if (!broker.process.isAlive) return
    broker.kill()
    broker.startAfter(this.#downMs())
  }

  #powerLoss(broker: SimBroker): void {
    if (!broker.process.isAlive) return
    const { scheduler, lossesMax, onPowerLoss } = this.#parts
    // Nobody may lose anything more.
    if (this.replaced !== undefined) return this.#kill(broker)
    this.#withoutPower.add(broker)
    onPowerLoss()
    this.#forgive()
    const isAllowed = this.#lossy.has(broker) || this.#lossy.size < lossesMax
    // Where nobody may lose anything more, the power goes and the disk has everything.
    broker.powerLoss(isAllowed ? this.#survival() : { kind: 'all' })
    if (isAllowed) this.#lossy.set(broker, scheduler.nowMs)
    broker.startAfter(this.#downMs())
  }

  /** Once, and always of the same broker: its replicas are no voters any more, and so much is lost for good. */
  #replaceDisk(broker: SimBroker): void {
    const { scheduler, diskLossesMax, onPowerLoss } = this.#parts
    // Replicas that may have lost something count as little as one that is gone.
    const isSuspect = [...this.#withoutPower, ...this.#withErrors].some((one) => one !== broker)
    if (this.replaced !== undefined || diskLossesMax === 0 || isSuspect || !broker.process.isAlive) return
    onPowerLoss()
    this.replaced = broker
    broker.kill()
    broker.replaceDisk()
    scheduler.after(0, () => broker.startAfter(this.#downMs()))
  }

  /** Who has everything again has lost nothing. */
  #forgive(): void {
    const { scheduler, hasEverything } = this.#parts
    for (const [broker, lostMs] of this.#lossy) {
      const isOld = scheduler.nowMs - lostMs > SETTLED_AFTER_MS
      if (isOld && broker.isServing && hasEverything(broker)) this.#lossy.delete(broker)
    }
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

  /** One broker after the other, each as soon as the one before serves again. */
  #roll(left: SimBroker[]): void {
    const { scheduler } = this.#parts
    const broker = left.shift()
    if (broker === undefined || this.#isOver) return
    const waitFor = (): void => {
      if (broker.isServing) this.#roll(left)
      else if (!this.#isOver) scheduler.after(100, waitFor)
    }
    if (!broker.isServing) return this.#roll(left)
    broker.stop(() => {
      broker.startAfter(this.#ms(500))
      scheduler.after(100, waitFor)
    })
  }

  #faultOf(trouble: DiskTrouble, operation: SimOperation): SimFault | undefined {
    const { random } = this.#parts
    // Without this mark nobody can know of a failed sync; the broker says so and goes on, which is all it can do.
    if (operation.path.endsWith(SYNC_FAILED_FILE)) return undefined
    if (trouble.failingSyncs > 0 && operation.kind === 'sync') {
      trouble.failingSyncs -= 1
      return { code: 'EIO' }
    }
    // Of a sync it is the beginning that fails, or the disk would not know what has been lost.
    if (operation.kind === 'synced' || operation.kind === 'directory-synced') return undefined
    if (trouble.errorShare === 0 || random.fraction() >= trouble.errorShare) return undefined
    const bytes = operation.content?.length ?? 0
    return { code: 'EIO', bytesDone: bytes > 0 ? random.integer(bytes) : 0 }
  }

  #troubleOf(broker: SimBroker): DiskTrouble {
    const trouble = this.#troubles.get(broker)
    if (trouble === undefined) throw new Error(`${broker.host} is not of this cluster`)
    return trouble
  }

  #any<T>(list: readonly T[]): T {
    const one = list[this.#parts.random.integer(list.length)]
    if (one === undefined) throw new Error('nothing to pick from')
    return one
  }

  #later(meanMs: number, callback: () => void): void {
    this.#parts.scheduler.after(this.#ms(meanMs), callback)
  }

  #downMs(): number {
    return 1 + this.#ms(this.#parts.random.integer(4) === 0 ? this.#parts.troubleMsMax : 1_500)
  }

  /** From next to nothing to maxMs, small ones as likely as large ones. */
  #ms(maxMs: number): number {
    return maxMs ** this.#parts.random.fraction()
  }
}
