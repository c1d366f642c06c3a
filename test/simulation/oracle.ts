// What the broker owes its users, as they know it: kept while a simulation runs, held against what is found at its end.
// Judges what clients are told and what they read; sees nothing of the broker but what the checkers show it.
//
// A record is owed from its acknowledgement on. In a topic with durability os a power loss may take what no sync has
// covered, so that a record that was sent before it is owed below the recovery point of that moment only; in a topic with
// durability fsync nothing is forgiven, not even to whoever has only read a record.

import type { DescribedTopic } from './sim-broker.ts'

export interface SentRecord {
  /** Unique: its producer and its number there. */
  readonly value: string
  readonly topic: TopicModel
  readonly producer: string
  readonly number: number
  /** Sent by an idempotent producer: stored once, and behind what that one sent to the partition before. */
  readonly isIdempotent: boolean
  /** Sent with acks=all. */
  readonly isForAll: boolean
  /** Only where the topic is compacted. */
  readonly key?: string
  readonly isTombstone?: boolean
  readonly sentAtMs: number
  /** Where it has been seen; a second place is a fault. */
  partition: number | undefined
  offset: number | undefined
}

export interface TopicSpec {
  readonly name: string
  readonly partitions: number
  readonly durability: 'os' | 'fsync'
  /** Whether records may go by age or size. */
  readonly isRetained: boolean
  /** How many keys its records have, and how many of these are deletions; absent where nothing is compacted. */
  readonly isCompacted?: { readonly keys: number; readonly tombstoneShare: number }
  /** Absent where one broker has everything. */
  readonly replication?: { readonly factor: number; readonly minInSync: number }
}

export class TopicModel {
  readonly spec: TopicSpec
  readonly partitions: PartitionModel[] = []

  constructor(spec: TopicSpec) {
    this.spec = spec
    this.grow(spec.partitions)
  }

  get name(): string {
    return this.spec.name
  }

  grow(count: number): void {
    while (this.partitions.length < count) this.partitions.push(new PartitionModel())
  }
}

export class PartitionModel {
  /** What is known to stand at an offset: acknowledged, or read. */
  readonly known = new Map<number, SentRecord>()
  readonly acknowledged = new Map<number, SentRecord>()
  trimRequested = 0
  trimAcknowledged = 0
  /** As the broker showed it last. */
  recoveryPoint = 0
  highWatermark = 0
  logStartOffset = 0
  life = 0
  /** When the last sync of the log began that has ended well. */
  syncedFromMs = -1
}

/** One reader of one partition, as far as the order of its records goes. */
export interface ReaderModel {
  readonly name: string
  readonly topic: TopicModel
  readonly next: Map<number, number>
  powerLosses: number
}

/** Offsets from the first to the one that is not in it any more. */
export interface JudgedRange {
  readonly from: number
  readonly to: number
}

export function isIn({ from, to }: JudgedRange, offset: number): boolean {
  return offset >= from && offset < to
}

/** What clients are judged by. */
export type WorkloadOracle = Pick<Oracle, 'add' | 'send' | 'acknowledge' | 'reader' | 'read' | 'judge'>

const LOG_FILE = /\/logs\/([0-9a-f-]{36})-(\d+)\/[^/]*\.log/

export class Oracle {
  readonly topics = new Map<string, TopicModel>()
  readonly #sent = new Map<string, SentRecord>()
  readonly #now: () => number
  readonly #fail: (fault: string) => void
  readonly #mayPointLag: boolean
  readonly #byId = new Map<string, TopicModel>()
  #lastPowerLossMs = -1
  #powerLosses = 0
  #earlySyncs: { readonly path: string; readonly topicId: string; readonly beganMs: number }[] = []
  acknowledgedCount = 0
  readCount = 0

  /** mayPointLag: a disk that fails may take a sync and not the note of it. */
  constructor(now: () => number, fail: (fault: string) => void, mayPointLag: boolean) {
    this.#mayPointLag = mayPointLag
    this.#now = now
    this.#fail = fail
  }

  add(spec: TopicSpec): TopicModel {
    const model = new TopicModel(spec)
    this.topics.set(spec.name, model)
    return model
  }

  remove(topic: TopicModel): void {
    if (this.topics.get(topic.name) === topic) this.topics.delete(topic.name)
  }

  /** Of a file on the broker's disk: a sync that has ended well, and when it began. */
  onSynced(path: string, beganMs: number): void {
    const [, topicId, partition] = LOG_FILE.exec(path) ?? []
    if (topicId === undefined) return
    const model = this.#byId.get(topicId)?.partitions[Number(partition)]
    if (model !== undefined) model.syncedFromMs = Math.max(model.syncedFromMs, beganMs)
    else this.#earlySyncs.push({ path, topicId, beganMs })
  }

  /** What was synced before the topic was first described counts from then on. */
  #identify(topicId: string, topic: TopicModel): void {
    if (this.#byId.get(topicId) === topic) return
    this.#byId.set(topicId, topic)
    const syncs = this.#earlySyncs.filter((sync) => sync.topicId === topicId)
    this.#earlySyncs = this.#earlySyncs.filter((sync) => sync.topicId !== topicId)
    for (const { path, beganMs } of syncs) this.onSynced(path, beganMs)
  }

  onPowerLoss(): void {
    this.#lastPowerLossMs = this.#now()
    this.#powerLosses += 1
    // What is found after a power loss comes from the medium, synced or not.
    for (const topic of this.#byId.values()) {
      for (const partition of topic.partitions) partition.syncedFromMs = this.#lastPowerLossMs
    }
    for (const topic of this.topics.values()) {
      if (topic.spec.durability === 'fsync') continue
      for (const partition of topic.partitions) {
        for (const offset of partition.known.keys()) {
          if (offset >= partition.recoveryPoint) partition.known.delete(offset)
        }
        for (const offset of partition.acknowledged.keys()) {
          if (offset >= partition.recoveryPoint) partition.acknowledged.delete(offset)
        }
      }
    }
  }

  send(sent: Omit<SentRecord, 'sentAtMs' | 'partition' | 'offset'>): SentRecord {
    const record: SentRecord = { ...sent, sentAtMs: this.#now(), partition: undefined, offset: undefined }
    this.#sent.set(record.value, record)
    return record
  }

  acknowledge(record: SentRecord, partition: number, offset: number): void {
    this.acknowledgedCount += 1
    if (offset < 0) return
    this.#note(record, partition, offset, 'acknowledged')
    if (this.#isCertain(record)) record.topic.partitions[partition]?.acknowledged.set(offset, record)
  }

  reader(name: string, topic: TopicModel, from: ReadonlyMap<number, number> = new Map()): ReaderModel {
    return { name, topic, next: new Map(from), powerLosses: this.#powerLosses }
  }

  read(reader: ReaderModel, partition: number, offset: number, value: string): void {
    this.readCount += 1
    const { topic } = reader
    const where = `${reader.name} read ${topic.name}-${partition} offset ${offset}`
    const record = this.#sent.get(value)
    if (record === undefined) return this.#fail(`${where}: ${value}, which nobody sent`)
    if (record.topic !== topic) return this.#fail(`${where}: ${value}, which was sent to ${record.topic.name}`)
    this.#checkOrder(reader, partition, offset, where)
    this.#note(record, partition, offset, 'read')
  }

  /** What the broker says of itself, in one of its lives: nothing that has been settled moves back. */
  onDescribed(life: number, topics: readonly DescribedTopic[]): void {
    for (const described of topics) {
      const topic = this.topics.get(described.topic)
      if (topic === undefined) continue
      if (described.topicId !== undefined) this.#identify(described.topicId, topic)
      for (const facts of described.partitions) {
        const model = topic.partitions[facts.partition]
        if (model === undefined || facts.state === 'offline') continue
        const where = `${topic.name}-${facts.partition} in life ${life}`
        const { logStartOffset, highWatermark, logEndOffset, recoveryPoint } = facts
        if (logStartOffset > highWatermark || highWatermark > logEndOffset || recoveryPoint > logEndOffset) {
          const found = JSON.stringify({ logStartOffset, highWatermark, logEndOffset, recoveryPoint })
          this.#fail(`${where}: offsets are out of order: ${found}`)
        }
        // Below the log start there is nothing left to be synced.
        const settled = Math.max(recoveryPoint, logStartOffset)
        if (topic.spec.durability === 'fsync' && highWatermark > settled && !this.#mayPointLag) {
          this.#fail(`${where}: the high watermark ${highWatermark} is past what is synced, ${recoveryPoint}`)
        }
        if (model.life === life && highWatermark < model.highWatermark) {
          this.#fail(`${where}: the high watermark falls from ${model.highWatermark} to ${highWatermark}`)
        }
        if (model.life === life && logStartOffset < model.logStartOffset) {
          this.#fail(`${where}: the log start falls from ${model.logStartOffset} to ${logStartOffset}`)
        }
        if (logStartOffset < model.trimAcknowledged) {
          this.#fail(`${where}: begins at ${logStartOffset}, was trimmed to ${model.trimAcknowledged}`)
        }
        if (!topic.spec.isRetained && logStartOffset > model.trimRequested) {
          this.#fail(`${where}: begins at ${logStartOffset}, was asked to be trimmed to ${model.trimRequested}`)
        }
        if (facts.quarantined.length > 0) this.#fail(`${where}: has quarantined ${JSON.stringify(facts.quarantined)}`)
        Object.assign(model, { life, highWatermark, logStartOffset, recoveryPoint })
      }
    }
  }

  /** The whole of a partition, as it is read when all is over: all that was known of this range before must be there. */
  judge(topic: TopicModel, partition: number, range: JudgedRange, found: ReadonlyMap<number, string>): void {
    const model = topic.partitions[partition]
    if (model === undefined) return
    const where = `${topic.name}-${partition}`
    for (const [offset, record] of model.acknowledged) {
      if (isIn(range, offset) && found.get(offset) !== record.value) {
        this.#fail(`${where} offset ${offset}: ${record.value} was acknowledged, ${found.get(offset)} is there`)
      }
    }
    for (const [offset, record] of model.known) {
      if (isIn(range, offset) && this.#isCertain(record) && found.get(offset) !== record.value) {
        this.#fail(`${where} offset ${offset}: ${record.value} was known, ${found.get(offset)} is there`)
      }
    }
    const last = new Map<string, number>()
    for (const [offset, value] of found) {
      const record = this.#sent.get(value)
      if (record === undefined || !record.isIdempotent) continue
      const before = last.get(record.producer) ?? -1
      if (record.number <= before) {
        this.#fail(`${where} offset ${offset}: ${value} follows number ${before} of the same producer`)
      }
      last.set(record.producer, record.number)
    }
  }

  #checkOrder(reader: ReaderModel, partition: number, offset: number, where: string): void {
    const { topic, next } = reader
    const expected = next.get(partition)
    next.set(partition, offset + 1)
    if (expected === undefined || offset === expected) return
    const mayTurn = topic.spec.durability === 'os' && reader.powerLosses < this.#powerLosses
    if (mayTurn) {
      // What was fetched before comes first; then the reader begins anew, in one partition after the other.
      return
    }
    if (offset < expected) return this.#fail(`${where} after ${expected - 1}: a repetition`)
    const model = topic.partitions[partition]
    const mayHaveGone = topic.spec.isRetained || offset <= (model?.trimRequested ?? 0)
    if (!mayHaveGone) this.#fail(`${where} after ${expected - 1}: a gap`)
  }

  #note(record: SentRecord, partition: number, offset: number, how: string): void {
    const model = record.topic.partitions[partition]
    const where = `${record.topic.name}-${partition} offset ${offset}`
    if (model === undefined) return this.#fail(`${where}: ${record.value} was ${how} in a partition that is not there`)
    const isKnown = [...this.#byId.values()].includes(record.topic)
    // No sync that began before a record was sent can have put it on stable storage.
    if (isKnown && record.topic.spec.durability === 'fsync' && model.syncedFromMs < record.sentAtMs) {
      const synced = `the last sync began at ${model.syncedFromMs}, the record was sent at ${record.sentAtMs}`
      this.#fail(`${where}: ${record.value} was ${how} before it was synced: ${synced}`)
    }
    const isMoved = record.offset !== undefined && (record.offset !== offset || record.partition !== partition)
    if (isMoved && record.isIdempotent && this.#isCertain(record)) {
      this.#fail(`${where}: ${record.value} was ${how}, and before at ${record.partition}:${record.offset}`)
    }
    record.partition = partition
    record.offset = offset
    const other = model.known.get(offset)
    if (other === undefined || (other !== record && !this.#isCertain(other))) {
      if (this.#isCertain(record)) model.known.set(offset, record)
      return
    }
    if (other !== record && this.#isCertain(record)) {
      this.#fail(`${where}: ${record.value} was ${how}, and ${other.value} before`)
    }
  }

  /** Whether no power loss can have taken it since it was sent. */
  #isCertain(record: SentRecord): boolean {
    return record.topic.spec.durability === 'fsync' || record.sentAtMs > this.#lastPowerLossMs
  }
}
