// What a cluster owes its users, as they know it. A record is owed from its acknowledgement with acks=all on, or from the
// moment at which anybody has read it: at its one place, for ever, whatever the durability of its topic, since never more
// replicas lose unsynced data at a time than the promise allows. Judges what clients are told and read, and what brokers
// show of themselves.
//
// Offsets between records may be those of control records. A gap that a reader met is judged at the end, when it is known
// whether a record stands in it.

import type { JudgedRange, PartitionModel, ReaderModel, SentRecord, TopicSpec, WorkloadOracle } from './oracle.ts'
import { isIn, TopicModel } from './oracle.ts'
import type { DescribedTopic } from './sim-broker.ts'

interface Gap {
  readonly where: string
  readonly topic: TopicModel
  readonly partition: number
  readonly from: number
  readonly end: number
}

interface Shown {
  readonly life: number
  readonly topicId: string
  readonly highWatermark: number
  readonly logStartOffset: number
}

export class ClusterOracle implements WorkloadOracle {
  readonly topics = new Map<string, TopicModel>()
  acknowledgedCount = 0
  readCount = 0
  readonly #sent = new Map<string, SentRecord>()
  readonly #owed = new Set<SentRecord>()
  readonly #gaps: Gap[] = []
  /** By broker, topic and partition. */
  readonly #shown = new Map<string, Shown>()
  /** The highest that any broker has shown, by topic and partition. */
  readonly #highWatermarks = new Map<string, number>()
  readonly #now: () => number
  readonly #fail: (fault: string) => void

  constructor(now: () => number, fail: (fault: string) => void) {
    this.#now = now
    this.#fail = fail
  }

  add(spec: TopicSpec): TopicModel {
    const model = new TopicModel(spec)
    this.topics.set(spec.name, model)
    return model
  }

  send(sent: Omit<SentRecord, 'sentAtMs' | 'partition' | 'offset'>): SentRecord {
    const record: SentRecord = { ...sent, sentAtMs: this.#now(), partition: undefined, offset: undefined }
    this.#sent.set(record.value, record)
    return record
  }

  acknowledge(record: SentRecord, partition: number, offset: number): void {
    this.acknowledgedCount += 1
    if (offset < 0 || !record.isForAll) return
    this.#note(record, partition, offset, 'acknowledged')
    record.topic.partitions[partition]?.acknowledged.set(offset, record)
  }

  reader(name: string, topic: TopicModel, from: ReadonlyMap<number, number> = new Map()): ReaderModel {
    return { name, topic, next: new Map(from), powerLosses: 0 }
  }

  read(reader: ReaderModel, partition: number, offset: number, value: string): void {
    this.readCount += 1
    const { topic, next } = reader
    const where = `${reader.name} read ${topic.name}-${partition} offset ${offset}`
    const record = this.#sent.get(value)
    if (record === undefined) return this.#fail(`${where}: ${value}, which nobody sent`)
    if (record.topic !== topic) return this.#fail(`${where}: ${value}, which was sent to ${record.topic.name}`)
    const expected = next.get(partition)
    next.set(partition, offset + 1)
    if (expected !== undefined && offset < expected) this.#fail(`${where} after ${expected - 1}: a repetition`)
    if (expected !== undefined && offset > expected) {
      this.#gaps.push({ where: `${where} after ${expected - 1}`, topic, partition, from: expected, end: offset })
    }
    this.#note(record, partition, offset, 'read')
  }

  /** What a broker says of itself, in one of its lives: nothing that has been settled moves back. */
  onDescribed(broker: string, life: number, topics: readonly DescribedTopic[]): void {
    for (const { topic, topicId = '', partitions } of topics) {
      for (const { partition, logStartOffset, highWatermark, state, figuresOf } of partitions) {
        // Its log is another broker's.
        if (figuresOf === undefined) this.forget(broker, topic, partition)
        if (state !== 'online' || figuresOf === undefined) continue
        const where = `${topic}-${partition} at ${broker} in life ${life}`
        // A log that is about to begin anew further on ends below the high watermark, until it does.
        if (logStartOffset > highWatermark) {
          this.#fail(`${where}: offsets are out of order: ${JSON.stringify({ logStartOffset, highWatermark })}`)
        }
        const key = `${broker} ${topic} ${partition}`
        const before = this.#shown.get(key)
        if (before !== undefined && before.life === life && before.topicId === topicId) {
          // One that copies its log anew shows less for a while; replica-watch.ts knows when.
          if (highWatermark < before.highWatermark && this.topics.get(topic)?.spec.isCompacted === undefined) {
            this.#fail(`${where}: the high watermark falls from ${before.highWatermark} to ${highWatermark}`)
          }
          if (logStartOffset < before.logStartOffset) {
            this.#fail(`${where}: the log start falls from ${before.logStartOffset} to ${logStartOffset}`)
          }
        }
        this.#shown.set(key, { life, topicId, highWatermark, logStartOffset })
        const name = `${topic}-${partition}`
        this.#highWatermarks.set(name, Math.max(this.#highWatermarks.get(name) ?? 0, highWatermark))
      }
    }
  }

  /** The broker begins with a partition anew: after it has been somebody else's, say. */
  forget(broker: string, topic: string, partition: number): void {
    this.#shown.delete(`${broker} ${topic} ${partition}`)
  }

  /** Up to where anybody has been told that records stand, in a partition. */
  settledEnd(topic: TopicModel, partition: number): number {
    const known = topic.partitions[partition]?.known.keys() ?? []
    const shown = this.#highWatermarks.get(`${topic.name}-${partition}`) ?? 0
    return Math.max(shown, ...[...known].map((offset) => offset + 1))
  }

  /** The whole of a partition, as it is read when all is over. */
  judge(topic: TopicModel, partition: number, range: JudgedRange, found: ReadonlyMap<number, string>): void {
    const model = topic.partitions[partition]
    if (model === undefined) return
    const where = `${topic.name}-${partition}`
    if (topic.spec.isCompacted !== undefined) this.#judgeKeys(where, model, range, found)
    for (const [offset, record] of topic.spec.isCompacted === undefined ? model.known : []) {
      if (!isIn(range, offset) || found.get(offset) === record.value) continue
      const how = model.acknowledged.has(offset) ? 'acknowledged' : 'read'
      this.#fail(`${where} offset ${offset}: ${record.value} was ${how}, ${found.get(offset)} is there`)
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
    for (const gap of this.#gaps) {
      if (gap.topic !== topic || gap.partition !== partition) continue
      if (topic.spec.isCompacted !== undefined || topic.spec.isRetained || gap.from < model.trimRequested) continue
      for (let offset = gap.from; offset < gap.end; offset++) {
        const value = found.get(offset)
        if (value !== undefined) this.#fail(`${gap.where}: a gap, though ${value} stands at ${offset}`)
      }
    }
  }

  /** Of each key the newest record that anybody was told of is there, or a newer one; or nothing, if it deletes the key. */
  #judgeKeys(where: string, model: PartitionModel, range: JudgedRange, found: ReadonlyMap<number, string>): void {
    const last = new Map<string, number>()
    for (const [offset, value] of found) {
      const key = this.#sent.get(value)?.key ?? ''
      last.set(key, Math.max(offset, last.get(key) ?? -1))
    }
    for (const [key, { offset, record }] of newestOf(model)) {
      const at = last.get(key)
      if (!isIn(range, offset) || (at ?? -1) >= offset) continue
      if (at === undefined && (record.isTombstone === true || this.#mayBeDeleted(record))) continue
      const how = model.acknowledged.has(offset) ? 'acknowledged' : 'read'
      const there = at === undefined ? 'nothing' : `${found.get(at)} at offset ${at}`
      this.#fail(
        `${where} offset ${offset}: ${record.value} of ${key} was ${how}, and of that key ${there} is the last`,
      )
    }
  }

  /** A deletion of the key was sent, and it is not known whether and where it stands: it may have come, and have gone again. */
  #mayBeDeleted({ topic, key }: SentRecord): boolean {
    for (const sent of this.#sent.values()) {
      if (sent.topic === topic && sent.key === key && sent.isTombstone === true && sent.offset === undefined)
        return true
    }
    return false
  }

  /** Up to where a reader of a compacted partition is sure to find records. */
  readableEnd(topic: string, partition: number): number {
    const model = this.topics.get(topic)?.partitions[partition]
    if (model === undefined) return 0
    const kept = [...newestOf(model).values()].filter(({ record }) => {
      return record.isTombstone !== true && !this.#mayBeDeleted(record)
    })
    return Math.max(0, ...kept.map(({ offset }) => offset + 1))
  }

  #note(record: SentRecord, partition: number, offset: number, how: string): void {
    const model = record.topic.partitions[partition]
    const where = `${record.topic.name}-${partition} offset ${offset}`
    if (model === undefined) return this.#fail(`${where}: ${record.value} was ${how} in a partition that is not there`)
    const isMoved = this.#owed.has(record) && (record.offset !== offset || record.partition !== partition)
    if (isMoved && record.isIdempotent) {
      this.#fail(`${where}: ${record.value} was ${how}, and before at ${record.partition}:${record.offset}`)
    }
    this.#owed.add(record)
    record.partition = partition
    record.offset = offset
    const other = model.known.get(offset)
    if (other !== undefined && other !== record) {
      this.#fail(`${where}: ${record.value} was ${how}, and ${other.value} before`)
    }
    model.known.set(offset, record)
  }
}

/** By key: the newest record that anybody was told of. */
function newestOf({ known }: PartitionModel): Map<string, { readonly offset: number; readonly record: SentRecord }> {
  const newest = new Map<string, { readonly offset: number; readonly record: SentRecord }>()
  for (const [offset, record] of known) {
    const key = record.key ?? ''
    if (offset > (newest.get(key)?.offset ?? -1)) newest.set(key, { offset, record })
  }
  return newest
}
