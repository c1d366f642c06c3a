// A few brokers in one process, as far as replicas need them: real replicas over real logs on disks in memory, and a carrier
// that takes requests from one to the other in memory, through the real messages. Elections go without a journal: a
// promise is durable at once. Builds and carries; judges nothing.

import { createHash } from 'node:crypto'
import type { BrokerId, LeaderEpoch, Offset, TopicId } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { PeerAnswer, PeerAskOptions, PeerRequest, Peers } from '../../broker/replication/peers.ts'
import type { FenceAnswer, LogBeginning, ReplicaHost } from '../../broker/replication/replica.ts'
import type { ReplicaRules } from '../../broker/replication/replica-rules.ts'
import type { ReplicaPromise } from '../../broker/replication/replication-events.ts'
import type { ReadSlice } from '../../broker/storage/hot-tail.ts'
import type { ConfigEntries } from '../../broker/storage/log-config.ts'
import type { LogConfig } from '../../broker/storage/log-config.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { VotersRecord } from '../../broker/storage/voters-history.ts'
import type { StorageContextOptions } from '../../broker/storage/storage-context.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { DelayedOperations } from '../../broker/replication/delayed-operations.ts'
import { Partition } from '../../broker/replication/partition.ts'
import { type PendingAppend, PendingProduce } from '../../broker/replication/pending-produce.ts'
import { Replica } from '../../broker/replication/replica.ts'
import { type PendingReplicaFetch, ReplicaFetchRequests } from '../../broker/replication/replica-fetch.ts'
import { ReplicaFetcher } from '../../broker/replication/replica-fetcher.ts'
import { TopicTraffic } from '../../broker/replication/topic-traffic.ts'
import { TurnWriter } from '../../broker/replication/turn-writer.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createLog } from '../../broker/storage/log-opening.ts'
import { createStorageContext, type StorageContext } from '../../broker/storage/storage-context.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { brokerId, offset, topicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import { APIS } from '../../shared/protocol/api.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { batch } from '../storage/log-fixture.ts'
import { STARTING_RULES } from './starting.ts'

export const TOPIC: TopicId = topicId('00000000-0000-4000-8000-000000000001')
export const [ONE, TWO, THREE] = [brokerId(1), brokerId(2), brokerId(3)] as const

export type FetchBody = ResponseOf<'replicaFetch'>
export type FetchMessage = RequestOf<'replicaFetch'>

export interface BrokersOptions {
  readonly brokers?: number
  readonly partitions?: number
  readonly minInSyncReplicas?: number
  /** How many of the brokers have a voice at the beginning; the others are newcomers. All unless given. */
  readonly voters?: number
  readonly entries?: ConfigEntries
  readonly storage?: StorageContextOptions
  readonly catchUpBytesPerSecond?: number
  /** Those by which every leader begins with a record, unless given. */
  readonly rules?: ReplicaRules
}

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

export class Brokers {
  readonly time = new SimTime()
  readonly list: Broker[] = []
  readonly partitions: number
  readonly options: BrokersOptions

  constructor(options: BrokersOptions = {}) {
    this.options = options
    this.partitions = options.partitions ?? 1
    for (let id = 1; id <= (options.brokers ?? 2); id += 1) this.list.push(new Broker(this, brokerId(id)))
  }

  static async start(options: BrokersOptions = {}): Promise<Brokers> {
    const brokers = new Brokers(options)
    for (const broker of brokers.list) await broker.open()
    return brokers
  }

  get ids(): readonly BrokerId[] {
    return this.list.map(({ id }) => id)
  }

  of(id: BrokerId): Broker {
    const broker = this.list.find((one) => one.id === id)
    if (broker === undefined) throw new Error(`there is no broker ${id}`)
    return broker
  }

  /** The broker leads all partitions, or the one. */
  async elect(id: BrokerId, partition?: number): Promise<void> {
    for (const replica of this.of(id).replicas) {
      if (partition === undefined || replica.identity.partition === partition) replica.campaign(undefined)
    }
    await settle()
  }

  /** Until it holds; time goes on meanwhile. */
  async until(condition: () => boolean, msMax = 60_000): Promise<void> {
    for (let ms = 0; ms < msMax; ms += 5) {
      await settle()
      if (condition()) return
      this.time.advance(5)
    }
    throw new Error(`after ${msMax} ms it is still not so`)
  }

  close(): void {
    for (const broker of this.list) broker.close()
  }
}

export class Broker implements ReplicaHost {
  readonly id: BrokerId
  readonly replicas: Replica[] = []
  readonly requests: ReplicaFetchRequests
  fetcher: ReplicaFetcher
  readonly carrier: Carrier
  readonly context: StorageContext
  readonly lines: { readonly level: string; readonly fields: object; readonly message: string }[] = []
  /** Until then its disk does not remember that a replica has been found complete. */
  trust: Promise<void> = Promise.resolve()
  /** Slices that were read and not released. */
  slices = 0
  readonly delayed: DelayedOperations
  readonly #brokers: Brokers
  readonly #turnWriter: TurnWriter
  #incarnation = 1
  /** What the disk remembers besides the logs, by partition. */
  readonly #promises: (ReplicaPromise | undefined)[] = []
  readonly #highWatermarks: Offset[] = []
  #isNewcomer: boolean

  constructor(brokers: Brokers, id: BrokerId) {
    const { time } = brokers
    this.#brokers = brokers
    this.id = id
    this.context = createStorageContext(new MemoryDisk(time), brokers.options.storage)
    this.#turnWriter = new TurnWriter(time)
    this.delayed = new DelayedOperations({ clock: time, timers: time, countMax: 1_000 })
    this.carrier = new Carrier(brokers, id)
    this.requests = new ReplicaFetchRequests({
      find: (topic, partition) => (topic === TOPIC ? this.replicas[partition] : undefined),
      delayed: this.delayed,
      clock: time,
    })
    this.fetcher = this.#newFetcher()
    this.#isNewcomer = id > (brokers.options.voters ?? id)
  }

  #newFetcher(): ReplicaFetcher {
    const { time, options } = this.#brokers
    const { catchUpBytesPerSecond } = options
    return new ReplicaFetcher({
      brokerId: this.id,
      directoryId: `disk-${this.id}`,
      incarnation: this.#incarnation,
      peers: this.carrier,
      clock: time,
      timers: time,
      random: seededRandom(this.id),
      logger: this.#logger(),
      ...(catchUpBytesPerSecond === undefined ? {} : { catchUpBytesPerSecond }),
    })
  }

  async open(): Promise<void> {
    for (let number = 0; number < this.#brokers.partitions; number += 1) {
      const replica = this.#replica(number, createLog(this.context, `data/${number}`, this.#config()))
      this.replicas.push(replica)
      await replica.open()
    }
  }

  /** The process ends as it is, and another one begins on what it has written. */
  async restart(): Promise<void> {
    const replicas = this.replicas.splice(0)
    this.close()
    for (const replica of replicas) {
      replica.stop()
      replica.partition.close()
      replica.partition.log.close()
    }
    this.#incarnation += 1
    this.fetcher = this.#newFetcher()
    for (const number of replicas.keys()) {
      const { log } = await recoverLog({
        context: this.context,
        directory: `data/${number}`,
        config: this.#config(),
        recoveryPoint: undefined,
        kernelLived: true,
        now: this.now(),
      })
      const replica = this.#replica(number, log)
      this.replicas.push(replica)
      await replica.open()
    }
  }

  close(): void {
    this.fetcher.close()
    for (const replica of this.replicas) replica.stop()
  }

  replica(partition = 0): Replica {
    const replica = this.replicas[partition]
    if (replica === undefined) throw new Error(`there is no partition ${partition}`)
    return replica
  }

  log(partition = 0): PartitionLog {
    return this.replica(partition).partition.log
  }

  /** Appends one batch; resolves with what became of it. */
  produce(values: readonly string[], partition = 0, acks = -1): Promise<PendingAppend> {
    return new Promise((resolve) => this.append(values, partition, resolve, acks))
  }

  /** As `produce`, where nobody waits. */
  append(values: readonly string[], partition = 0, onSettled?: (append: PendingAppend) => void, acks = -1): void {
    this.appendBatch(batch(values), partition, onSettled, acks)
  }

  appendBatch(records: Uint8Array, partition = 0, onSettled?: (append: PendingAppend) => void, acks = -1): void {
    const produce = new PendingProduce(
      (appends) => appends[0] !== undefined && onSettled?.(appends[0]),
      () => undefined,
    )
    const append = produce.add()
    const request = { records, leaderEpoch: undefined, acks, now: this.now() }
    this.replica(partition).partition.append(request, append)
    produce.close()
  }

  /** How many bytes a log has, and their digest. */
  async bytes(partition = 0): Promise<string> {
    const log = this.log(partition)
    const digest = createHash('sha256')
    let count = 0
    let at = log.logStartOffset
    while (at < log.writtenEndOffset) {
      const slice = await log.read(at, 1_000_000, log.writtenEndOffset)
      digest.update(slice.bytes)
      count += slice.bytes.length
      at = slice.endOffset
      slice.release()
    }
    return `${count} bytes, ${digest.digest('hex')}`
  }

  #config(): LogConfig {
    return parseTopicConfig(this.#brokers.options.entries ?? {})
  }

  #replica(number: number, log: PartitionLog): Replica {
    const { options, ids } = this.#brokers
    this.#countSlices(log)
    const partition = new Partition({
      topic: 't',
      partition: number,
      log,
      turnWriter: this.#turnWriter,
      traffic: new TopicTraffic(new SlotMeter(), 't'),
      space: { admitsAppend: () => true, onAppendFailure: () => undefined, noteAppended: () => undefined },
      logger: this.#logger(),
    })
    const voters = ids.slice(0, options.voters).map((id) => ({ brokerId: id, directoryId: `disk-${id}` }))
    const identity = {
      topic: 't',
      topicId: TOPIC,
      partition: number,
      assignment: ids.slice(0, options.voters),
      voters,
      minInSyncReplicas: options.minInSyncReplicas ?? 1,
      directoryId: `disk-${this.id}`,
      incarnation: this.#incarnation,
      withoutLease: 'serve' as const,
    }
    const memory = {
      promise: this.#promises[number],
      highWatermark: this.#highWatermarks[number] ?? offset(0),
      isSuspect: false,
      isNewcomer: this.#isNewcomer,
      rules: options.rules ?? STARTING_RULES,
    }
    return new Replica(identity, memory, partition, this)
  }

  #countSlices(log: PartitionLog): void {
    const [readTail, read] = [log.readTail.bind(log), log.read.bind(log)]
    const counted = (slice: ReadSlice): ReadSlice => {
      let isOut = true
      this.slices += 1
      return {
        bytes: slice.bytes,
        endOffset: slice.endOffset,
        release: () => {
          if (isOut) this.slices -= 1
          isOut = false
          slice.release()
        },
      }
    }
    log.readTail = (...range) => {
      const slice = readTail(...range)
      return slice === undefined ? undefined : counted(slice)
    }
    // What it reads from memory it reads by readTail, and that is counted already.
    log.read = async (...range) => {
      const before = this.slices
      const slice = await read(...range)
      return this.slices > before ? slice : counted(slice)
    }
  }

  #logger(): Logger {
    const say = (level: string) => (fields: object, message: string) => void this.lines.push({ level, fields, message })
    return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
  }

  // What a replica needs of the broker around it

  get brokerId(): BrokerId {
    return this.id
  }

  monotonic(): number {
    return this.#brokers.time.monotonic()
  }

  now() {
    return this.#brokers.time.now()
  }

  isLeaseHeld(): boolean {
    return true
  }

  persistPromise(replica: Replica, promise: ReplicaPromise): void {
    queueMicrotask(() => {
      this.#promises[replica.identity.partition] = promise
      replica.onPromisePersisted(promise)
    })
  }

  async persistTrust(): Promise<void> {
    await this.trust
    this.#isNewcomer = false
  }

  sendFence(replica: Replica, to: BrokerId, epoch: LeaderEpoch): void {
    this.#tell(replica, to, (other) => other.step({ kind: 'fence-received', candidate: this.id, epoch }))
  }

  answerFence(replica: Replica, to: BrokerId, epoch: LeaderEpoch, answer: FenceAnswer): void {
    this.#tell(replica, to, (other) => {
      if (answer.kind === 'granted') other.step({ kind: 'fence-granted', grant: answer.grant, now: this.monotonic() })
      if (answer.kind !== 'refused') return
      const { promisedEpoch, leader } = answer
      other.step({ kind: 'fence-refused', from: this.id, epoch, promisedEpoch, leader })
    })
  }

  publishLeadership(replica: Replica, epoch: LeaderEpoch): void {
    for (const to of this.#brokers.ids) {
      if (to === this.id) continue
      this.#tell(replica, to, (other) => other.step({ kind: 'leader-announced', leader: this.id, epoch }))
    }
  }

  proposeInSyncReplicas(): void {}
  onCampaignAbandoned(): void {}

  suggestSuccessor(replica: Replica, to: BrokerId, epochSeen: LeaderEpoch): void {
    if (to === this.id) queueMicrotask(() => replica.campaign(epochSeen))
    else this.#tell(replica, to, (other) => other.campaign(epochSeen))
  }

  noteHighWatermark(replica: Replica, to: Offset): void {
    this.#highWatermarks[replica.identity.partition] = to
  }

  reportPossibleLoss(): void {}

  startFetching(replica: Replica, leader: BrokerId): void {
    this.fetcher.start(replica, leader)
  }

  stopFetching(replica: Replica): void {
    this.fetcher.stop(replica)
  }

  async truncate(replica: Replica, to: Offset): Promise<void> {
    await replica.partition.log.truncateTo(to, this.now(), async () => undefined)
  }

  async restartLog(replica: Replica, at: Offset, votersRecord: VotersRecord | undefined): Promise<void> {
    const { log } = replica.partition
    if (at < log.logEndOffset) await this.truncate(replica, log.logStartOffset)
    await log.skipTo(at, async () => undefined, votersRecord)
  }

  async beginLogAnew(replica: Replica, { offset: at, votersRecord, anew }: LogBeginning): Promise<void> {
    const { log } = replica.partition
    await log.compaction.beforeBeginningAnew(anew.floor)
    await this.truncate(replica, log.logStartOffset)
    await log.skipTo(at, async () => undefined, votersRecord)
    await log.compaction.onBegunAnew(anew.droppedTo)
  }

  onVotersSettled(): void {
    return undefined
  }

  onStopped(replica: Replica): void {
    this.fetcher.stop(replica)
  }

  #tell(replica: Replica, to: BrokerId, tell: (other: Replica) => void): void {
    const { partition } = replica.identity
    if (!this.carrier.isConnected(to)) return
    queueMicrotask(() => {
      const other = this.#brokers.of(to).replicas[partition]
      if (other !== undefined) tell(other)
    })
  }
}

interface WaitingRequest {
  pending: PendingReplicaFetch | undefined
  fail(): void
}

/** A storm of requests must end, for a test to fail by it. */
const REQUESTS_MAX = 20_000

/** One request that has been carried. */
export interface Carried {
  readonly to: BrokerId
  readonly message: FetchMessage
  /** Absent while it waits. */
  body: FetchBody | undefined
}

/** Takes fetches to the other brokers, and answers back; can be cut, and told to spoil answers. */
export class Carrier implements Peers {
  readonly carried: Carried[] = []
  /** Changes an answer on its way. */
  spoil: (answer: PeerAnswer<'replicaFetch'>) => PeerAnswer<'replicaFetch'> = (answer) => answer
  readonly #brokers: Brokers
  readonly #from: BrokerId
  readonly #cut = new Set<BrokerId>()
  readonly #listeners = new Set<(change: { readonly kind: 'connected' | 'lost'; readonly peer: BrokerId }) => void>()
  readonly #waiting = new Map<BrokerId, Set<WaitingRequest>>()

  constructor(brokers: Brokers, from: BrokerId) {
    this.#brokers = brokers
    this.#from = from
  }

  /** Requests under way. */
  get waiting(): readonly Carried[] {
    return this.carried.filter(({ body }) => body === undefined)
  }

  async ask<Name extends PeerRequest>(
    to: BrokerId,
    name: Name,
    request: RequestOf<Name>,
    { read }: PeerAskOptions<Name> = {},
  ): Promise<PeerAnswer<Name>> {
    const answer = await this.#carry(to, name, request)
    if (read === undefined) return answer
    read(answer)
    // As a connection does, which uses the memory again.
    answer.tail.fill(0xee)
    return { ...answer, tail: new Uint8Array(0) }
  }

  #carry<Name extends PeerRequest>(to: BrokerId, name: Name, request: RequestOf<Name>): Promise<PeerAnswer<Name>> {
    const failed = new TidemarkError('CONNECTION_FAILED', `no connection from ${this.#from} to ${to}`)
    if (this.#cut.has(to)) return Promise.reject(failed)
    if (name !== 'replicaFetch') return Promise.reject(new Error('only fetches are carried'))
    const { request: field, response } = APIS.replicaFetch
    const message = field.decode(field.encode(request as FetchMessage), name)
    if (this.carried.length > REQUESTS_MAX) return new Promise(() => undefined)
    const carried: Carried = { to, message, body: undefined }
    this.carried.push(carried)
    const broker = this.#brokers.of(to)
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(to) ?? new Set<WaitingRequest>()
      const entry: WaitingRequest = {
        pending: undefined,
        fail: () => {
          entry.pending?.cancel()
          reject(failed)
        },
      }
      this.#waiting.set(to, waiting.add(entry))
      entry.pending = broker.requests.replicaFetch(message, (results) => {
        waiting.delete(entry)
        const partitions = results.map(({ answer, records }) => ({ ...answer, bytes: records?.bytes.length ?? 0 }))
        const tail = Buffer.concat(results.map(({ records }) => records?.bytes ?? new Uint8Array(0)))
        for (const { records } of results) records?.release()
        carried.body = response.decode(response.encode({ partitions }), name)
        // Only fetches come here, so that this is the answer that was asked for.
        resolve(this.spoil({ body: carried.body, tail }) as PeerAnswer<Name>)
      })
    })
  }

  isConnected(to: BrokerId): boolean {
    return !this.#cut.has(to)
  }

  isRefusing(): Promise<boolean> {
    return Promise.resolve(false)
  }

  subscribe(listener: (change: { readonly kind: 'connected' | 'lost'; readonly peer: BrokerId }) => void) {
    this.#listeners.add(listener)
    return { remove: () => void this.#listeners.delete(listener) }
  }

  cut(peer: BrokerId): void {
    this.#cut.add(peer)
    for (const entry of this.#waiting.get(peer) ?? []) entry.fail()
    this.#waiting.delete(peer)
    for (const listener of this.#listeners) listener({ kind: 'lost', peer })
  }

  connect(peer: BrokerId): void {
    this.#cut.delete(peer)
    for (const listener of this.#listeners) listener({ kind: 'connected', peer })
  }
}
