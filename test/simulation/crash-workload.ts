// One broker's life with its data directory, told by a seed: topics come and go, records are appended, synced, trimmed and
// cut, the broker stops and starts again. Tells the oracle what is owed at every moment. A failure of the disk may make any
// step fail; then the oracle owes less, never more.

import { LogDirectory } from '../../broker/storage/log-directory.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { isHosted } from '../../broker/storage/hosted-partitions.ts'
import type { TopicDefinition } from '../../broker/storage/topic-store.ts'
import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { brokerId, partitionId } from '../../shared/ids.ts'
import type { BrokerId, LeaderEpoch, Offset, TopicId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import type { RecordToEncode } from '../../shared/record-batch/encode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import type { Disk } from '../../broker/storage/disk.ts'
import type { LogModel, TopicModel } from './crash-oracle.ts'
import { CrashOracle, newLogModel, textOf } from './crash-oracle.ts'
import type { SimDisk } from './sim-disk.ts'
import type { SimTime } from './sim-time.ts'

export const DATA_DIRECTORY = '/data'
const TOPICS_MAX = 3
const PARTITIONS_MAX = 3
const SELF = brokerId(1)
const KEYS = 6
const CONFIG = { 'segment.bytes': '1024', 'retention.bytes': '3000', 'index.interval.bytes': '200' }
const COMPACTED = [
  { 'cleanup.policy': 'compact', 'delete.retention.ms': '2000' },
  { 'cleanup.policy': 'compact,delete', 'delete.retention.ms': '0' },
]
const REPLICAS = [[1], [2, 1], [1, 3], [2, 3]]

export function openDirectory(disk: Disk, time: SimTime, seed: number): Promise<LogDirectory> {
  return LogDirectory.open({
    disk,
    path: DATA_DIRECTORY,
    clock: time,
    timers: time,
    random: seededRandom(seed),
    logger: silentLogger,
    cluster: 'test',
    brokerId: SELF,
    storage: { hotTailBytes: 1_000_000, indexBytes: 1_000_000 },
  })
}

/** What the steps are drawn from; a step that stands here twice comes twice as often. */
export const STEPS = [
  'append',
  'append',
  'append',
  'append-synced',
  'append-synced',
  'append-much',
  'flush',
  'trim',
  'retention',
  'create',
  'delete',
  'grow',
  'configure',
  'cut',
  'restart',
] as const

/** Where replicas come and go. */
export const REPLICA_STEPS = ['move', 'move', 'move', 'release', 'release', 'trust', 'trust'] as const

/** Where logs are compacted. */
export const COMPACTION_STEPS = ['compact', 'compact', 'compact', 'append-much', 'append-much'] as const

export type Step = (typeof STEPS)[number] | (typeof REPLICA_STEPS)[number] | (typeof COMPACTION_STEPS)[number]

export interface WorkloadOptions {
  /** Some topics have replicas on other brokers, and partitions that this one has no log of. */
  readonly assigns?: boolean
  /** Most topics are compacted; without other brokers. */
  readonly compacts?: boolean
}

export class CrashWorkload {
  readonly oracle = new CrashOracle()
  readonly #disk: SimDisk
  readonly #time: SimTime
  readonly #random: Random
  readonly #assigns: boolean
  readonly #compacts: boolean
  /** The step that is under way, or was last. */
  current: Step | undefined
  #directory: LogDirectory | undefined
  #lastNumber = 0
  #version = 1
  readonly #sequences = new Map<LogModel, { producerId: number; next: number }>()
  #lastProducerId = 0

  constructor(disk: SimDisk, time: SimTime, seed: number, options: WorkloadOptions = {}) {
    this.#disk = disk
    this.#time = time
    this.#random = seededRandom(seed)
    this.#assigns = options.assigns ?? false
    this.#compacts = options.compacts ?? false
  }

  get directory(): LogDirectory {
    return must(this.#directory, 'the workload has been started')
  }

  async start(): Promise<void> {
    this.#directory = await openDirectory(this.#disk, this.#time, this.#random.integer(1_000_000))
  }

  async stop(): Promise<void> {
    if (this.#directory === undefined) return
    const live = [...this.#liveLogs()]
    await this.#directory.stop()
    for (const [log, model] of live) if (log.recoveryPoint >= model.writtenEnd) model.durableEnd = model.writtenEnd
  }

  /** Appends to every log once more; answers what refuses. */
  async appendEverywhere(): Promise<string[]> {
    const refusals: string[] = []
    for (const [log, model] of [...this.#liveLogs()]) {
      const end = model.writtenEnd
      // A write that failed is to be gone for good before another is taken; the partition sees to it.
      if (log.state.kind === 'online') await log.sync()
      await this.#appendTo(log, model, 1, true)
      if (model.durableEnd <= end) refusals.push(`${log.directory} is ${log.state.kind} and takes no append`)
    }
    return refusals
  }

  /** Does one step; answers which. A failure that comes from the disk is part of the play. */
  async step(only?: Step): Promise<Step> {
    const steps: Step[] = [...STEPS]
    if (this.#assigns) steps.push(...REPLICA_STEPS)
    if (this.#compacts) steps.push(...COMPACTION_STEPS)
    const step = only ?? must(steps[this.#random.integer(steps.length)], 'there are steps')
    this.current = step
    this.#time.ms += this.#random.integer(1_000)
    try {
      await this.#do(step)
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
    }
    return step
  }

  async #do(step: Step): Promise<void> {
    switch (step) {
      case 'append':
      case 'append-synced':
        return this.#append(1 + this.#random.integer(3), step === 'append-synced')
      case 'append-much':
        for (let times = 0; times < 6; times++) await this.#append(3, false)
        return this.#append(1, true)
      case 'flush':
        return this.#flush()
      case 'trim':
        return this.#trim()
      case 'retention':
        return this.#retain()
      case 'create':
        return this.#create()
      case 'delete':
        return this.#delete()
      case 'grow':
        return this.#change(1)
      case 'configure':
        return this.#change(0)
      case 'cut':
        return this.#cut()
      case 'move':
        return this.#move()
      case 'release':
        return this.#release()
      case 'trust':
        return this.#trust()
      case 'compact':
        return this.#compact()
      case 'restart':
        await this.stop()
        return this.#startAgain()
    }
  }

  async #append(records: number, isSynced: boolean): Promise<void> {
    const [log, model] = this.#pickLog() ?? []
    if (log === undefined || model === undefined) return this.#create()
    return this.#appendTo(log, model, records, isSynced)
  }

  async #appendTo(log: PartitionLog, model: LogModel, records: number, isSynced: boolean): Promise<void> {
    const sent = this.#newRecords(records, model)
    const texts = sent.map(textOf)
    const bytes = this.#encode(sent, model)
    const result = log.append(bytes, 0 as LeaderEpoch, this.#time.now())
    if (result.kind !== 'appended') return
    const { baseOffset, endOffset } = result
    for (const [index, text] of texts.entries()) {
      const known = model.possible.get(baseOffset + index) ?? new Set()
      model.possible.set(baseOffset + index, known.add(text))
    }
    if (log.write() !== undefined) return
    for (const [index, text] of texts.entries()) model.values[baseOffset + index] = text
    model.writtenEnd = endOffset
    this.#onWritten(model, { bytes, baseOffset, endOffset }, texts.length)
    if (!isSynced) return
    await log.sync()
    model.durableEnd = Math.max(model.durableEnd, endOffset)
  }

  /** A fault that keeps the broker from starting is gone at the next try. */
  async #startAgain(): Promise<void> {
    try {
      await this.start()
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      await this.start()
    }
  }

  async #flush(): Promise<void> {
    const written = [...this.#liveLogs()].map(([log, model]) => ({ log, model, end: model.writtenEnd }))
    await this.directory.flush()
    for (const { log, model, end } of written) {
      if (log.state.kind === 'online') model.durableEnd = Math.max(model.durableEnd, end)
    }
  }

  /** What is synced may be cleaned. */
  async #compact(): Promise<void> {
    if (this.#random.integer(3) > 0) await this.#flush()
    for (const [log, model] of this.#liveLogs()) {
      if (model.isCompacted) model.cleanable = Math.max(model.cleanable, log.recoveryPoint)
    }
    await this.directory.cleaner.compactNow({ isForced: true })
  }

  async #trim(): Promise<void> {
    const [log, model] = this.#pickLog() ?? []
    if (log === undefined || model === undefined) return
    const to = log.logStartOffset + this.#random.integer(log.writtenEndOffset - log.logStartOffset + 1)
    model.startRequested = Math.max(model.startRequested, to)
    await log.advanceLogStartOffset(to as Offset)
    model.startAcknowledged = Math.max(model.startAcknowledged, to)
  }

  async #retain(): Promise<void> {
    const live = [...this.#liveLogs()]
    for (const [, model] of live) model.startRequested = Math.max(model.startRequested, model.writtenEnd)
    await this.directory.applyRetention()
    for (const [log, model] of live) {
      model.startAcknowledged = Math.max(model.startAcknowledged, log.logStartOffset)
      // What was asked for and did not happen may still be on its way to the disk if a step failed.
      if (log.state.kind === 'online') model.startRequested = Math.max(model.startAcknowledged, log.logStartOffset)
    }
  }

  async #create(): Promise<void> {
    if (this.directory.topics.list().length >= TOPICS_MAX) return
    const partitions = 1 + this.#random.integer(2)
    const isAssigned = this.#assigns && this.#random.integer(4) > 0
    const isCompacted = this.#compacts && this.#random.integer(4) > 0
    const definition: TopicDefinition = {
      topicId: this.#newTopicId(),
      name: `topic-${this.#random.integer(1000)}-${++this.#version}`,
      partitions,
      replicationFactor: 1,
      ...(isAssigned ? { assignment: Array.from({ length: partitions }, () => this.#replicas()) } : {}),
      config: { ...CONFIG, ...(isCompacted ? must(COMPACTED[this.#random.integer(2)], 'there are two') : {}) },
      version: ++this.#version,
      createdAt: this.#time.now(),
    }
    const model = this.oracle.add(definition)
    for (const log of model.logs) log.isCompacted = isCompacted
    await this.directory.createTopic(definition)
    model.existence = 'yes'
    this.#noteHosted(model)
  }

  async #delete(): Promise<void> {
    const model = this.#pickTopic()
    if (model === undefined) return
    model.existence = 'maybe'
    await this.directory.deleteTopic(model.topicId)
    model.existence = 'no'
    // The removal goes on in the background; let it get somewhere.
    for (let turn = 0; turn < this.#random.integer(40); turn++) await Promise.resolve()
  }

  async #change(added: number): Promise<void> {
    const model = this.#pickTopic()
    const definition = model === undefined ? undefined : this.directory.topics.get(model.topicId)
    if (model === undefined || definition === undefined) return
    const partitions = Math.min(definition.partitions + added, PARTITIONS_MAX)
    model.partitionsRequested = partitions
    const isCompacted = model.logs[0]?.isCompacted === true
    while (model.logs.length < partitions) model.logs.push({ ...newLogModel(), isCompacted })
    const { assignment } = definition
    const grown = assignment?.concat(Array.from({ length: partitions - definition.partitions }, () => this.#replicas()))
    if (grown !== undefined) model.assignmentRequested = grown
    const config = { ...definition.config, 'segment.bytes': this.#random.integer(2) === 0 ? '1024' : '1500' }
    await this.directory.changeTopic({
      ...definition,
      partitions,
      config,
      ...(grown === undefined ? {} : { assignment: grown }),
      version: ++this.#version,
    })
    model.partitionsAcknowledged = partitions
    model.assignmentAcknowledged = grown
    this.#noteHosted(model)
  }

  #noteHosted(model: TopicModel): void {
    for (const [partition, log] of model.logs.entries()) log.isHosted ||= this.directory.hosts(model.topicId, partition)
  }

  /** Gives a partition to other brokers, perhaps to this one. */
  async #move(): Promise<void> {
    const model = this.#pickTopic()
    const definition = model === undefined ? undefined : this.directory.topics.get(model.topicId)
    const { assignment, origins = {} } = definition ?? {}
    if (model === undefined || definition === undefined || assignment === undefined) return
    const partition = this.#random.integer(definition.partitions)
    const replicas = must(assignment[partition], 'every partition is assigned')
    const origin = origins[partition] ?? replicas.map((id) => ({ brokerId: id, directoryId: `disk ${id}` }))
    const moved = assignment.with(partition, this.#replicas())
    const isComing = moved[partition]?.includes(SELF) === true && !this.directory.hosts(model.topicId, partition)
    if (isComing) model.logs[partition] = { ...newLogModel(), newcomer: 'yes' }
    model.assignmentRequested = moved
    const moves = { origins: { ...origins, [partition]: origin }, assignment: moved }
    await this.directory.changeTopic({ ...definition, ...moves, version: ++this.#version })
    model.assignmentAcknowledged = moved
    const log = must(model.logs[partition], 'every partition has a model')
    log.isHosted ||= isComing
  }

  async #release(): Promise<void> {
    for (const topic of this.oracle.topics.values()) {
      const definition = this.directory.topics.get(topic.topicId)
      for (const [partition, model] of topic.logs.entries()) {
        const isLeft = definition !== undefined && !isHosted(definition, partition, SELF)
        if (!isLeft || !this.directory.hosts(topic.topicId, partition)) continue
        model.isHosted = undefined
        await this.directory.releaseLog(topic.topicId, partitionId(partition))
        topic.logs[partition] = newLogModel()
        return
      }
    }
  }

  async #trust(): Promise<void> {
    const isNewcomer = (): boolean => [...this.#liveLogs()].some(([, { newcomer }]) => newcomer === 'yes')
    for (let tries = 0; tries < 3 && !isNewcomer(); tries++) await this.#move()
    for (const [log, model, topic, partition] of this.#liveLogs()) {
      if (model.newcomer !== 'yes') continue
      const end = model.writtenEnd
      model.newcomer = 'maybe'
      await this.directory.clearNewcomer(topic.topicId, partition)
      model.newcomer = 'no'
      if (log.state.kind === 'online') model.durableEnd = Math.max(model.durableEnd, end)
      return
    }
  }

  async #cut(): Promise<void> {
    const [log, model, topic, partition] = this.#pickLog() ?? []
    if (log === undefined || model === undefined || topic === undefined || partition === undefined) return
    if (log.state.kind !== 'online') return
    const anywhere = log.logStartOffset + this.#random.integer(log.logEndOffset - log.logStartOffset + 1)
    // What may be cleaned has been agreed on, and is never cut off.
    const to = Math.max(anywhere, model.cleanable)
    // A batch is cut off whole, so that the cut may come to lie lower, and the log start with it.
    model.cutRequested = Math.max(0, to - 3)
    model.startAcknowledged = Math.min(model.startAcknowledged, model.cutRequested)
    model.lastBatch = undefined
    this.#sequences.delete(model)
    const owed = model.values
    await this.directory.truncateLog(topic.topicId, partitionId(partition), to as Offset)
    const end = log.logEndOffset
    model.values = owed.slice(0, end)
    model.possible = new Map([...model.possible].filter(([offset]) => offset < end))
    model.writtenEnd = end
    model.durableEnd = Math.min(model.durableEnd, end)
    model.startRequested = log.logStartOffset
    model.startAcknowledged = log.logStartOffset
    model.cutRequested = undefined
  }

  #newRecords(count: number, model: LogModel): RecordToEncode[] {
    const timestamp = this.#time.now()
    return Array.from({ length: count }, () => {
      const value = Buffer.from(`${++this.#lastNumber}${'.'.repeat(this.#random.integer(150))}`)
      if (!model.isCompacted) return { key: null, value, timestamp }
      const key = Buffer.from(`key ${this.#random.integer(KEYS)}`)
      return { key, value: this.#random.integer(5) === 0 ? null : value, timestamp }
    })
  }

  #encode(records: readonly RecordToEncode[], model: LogModel): Uint8Array {
    const isNumbered = this.#random.integer(2) === 0
    const codec = model.isCompacted && this.#random.integer(3) === 0 ? 'gzip' : 'none'
    if (!isNumbered) return encodeBatch(records, { codec })
    let sequence = this.#sequences.get(model)
    if (sequence === undefined) {
      sequence = { producerId: ++this.#lastProducerId, next: 0 }
      this.#sequences.set(model, sequence)
    }
    const { producerId, next: baseSequence } = sequence
    return encodeBatch(records, { producerId, producerEpoch: 0, baseSequence, codec })
  }

  #onWritten(
    model: LogModel,
    batch: { bytes: Uint8Array; baseOffset: number; endOffset: number },
    records: number,
  ): void {
    const sequence = this.#sequences.get(model)
    if (sequence === undefined || Buffer.from(batch.bytes).readBigInt64BE(43) < 0n) return
    sequence.next += records
    model.lastBatch = batch
  }

  *#liveLogs(): IterableIterator<[PartitionLog, LogModel, TopicModel, number]> {
    for (const topic of this.oracle.topics.values()) {
      for (const [partition, model] of topic.logs.entries()) {
        const log = this.directory.log(topic.topicId, partition)
        if (log !== undefined) yield [log, model, topic, partition]
      }
    }
  }

  #pickLog(): [PartitionLog, LogModel, TopicModel, number] | undefined {
    const live = [...this.#liveLogs()]
    return live[this.#random.integer(Math.max(1, live.length))]
  }

  #pickTopic(): TopicModel | undefined {
    const live = [...this.oracle.topics.values()].filter(
      (topic) => this.directory.topics.get(topic.topicId) !== undefined,
    )
    return live[this.#random.integer(Math.max(1, live.length))]
  }

  /** This broker among them in three of four cases. */
  #replicas(): BrokerId[] {
    return must(REPLICAS[this.#random.integer(REPLICAS.length)], 'there are replicas').map(brokerId)
  }

  #newTopicId(): TopicId {
    return this.#random.uuid() as TopicId
  }
}
