// How far groups are behind, in records and in seconds: what is committed against the ends of the partitions. Owns what a look
// costs, however many groups and however much lag there is: it is only looked at when somebody
// asks, reads few records from the disk at a time, and remembers the times of what it has read.
//
// Told as it is known: of a partition without a replica here its leader is asked, which tells the end and no times, and a
// replica that follows knows the end a moment late.

import type { Clock } from '../../shared/time.ts'
import type { Partition } from '../replication/partition.ts'
import type { PartitionManager } from '../replication/partition-manager.ts'
import type { Group } from './group.ts'
import type { OtherEnds, PartitionName } from './other-ends.ts'
import { offset as offsetOf } from '../../shared/ids.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { baseOffsetAt, baseTimestampAt, codecAt, maxTimestampAt } from '../../shared/record-batch/header.ts'

export interface PartitionLag {
  readonly topic: string
  readonly partition: number
  /** What is committed. */
  readonly offset: number
  /** Records up to the end; undefined where this broker does not know the end. */
  readonly records: number | undefined
  /** Age of the first record that is not worked off; undefined where it has none, or has not been read yet. */
  readonly seconds: number | undefined
}

export interface TopicLag {
  readonly topic: string
  readonly records: number | undefined
  readonly seconds: number | undefined
}

/** Reads from the disk in one look, and how long it may take with them. */
const READS_MAX = 200
const READ_MS_MAX = 500

interface Wanted {
  readonly key: string
  readonly partition: Partition
  readonly from: number
}

export class GroupLag {
  readonly #partitions: PartitionManager
  readonly #clock: Clock
  /** Of partitions without a replica here; undefined where there are no other brokers. */
  readonly #others: OtherEnds | undefined
  /** By partition and offset: when the record was made, in milliseconds since 1970. */
  #times = new Map<string, number>()

  constructor(partitions: PartitionManager, clock: Clock, others?: OtherEnds) {
    this.#partitions = partitions
    this.#clock = clock
    this.#others = others
  }

  /** By what was known at the last refresh. */
  of(group: Group): PartitionLag[] {
    const lags: PartitionLag[] = []
    const now = this.#clock.now()
    for (const [topic, partitions] of group.offsets.topics()) {
      for (const [partition, { offset }] of partitions) {
        const log = this.#partitions.find(topic, undefined, partition)
        if (log === undefined) {
          const end = this.#others?.of({ topic, partition })
          const left = end === undefined ? undefined : Math.max(0, end - offset)
          lags.push({ topic, partition, offset, records: left, seconds: left === 0 ? 0 : undefined })
          continue
        }
        const records = Math.max(0, log.highWatermark - offset)
        const time = records === 0 ? now : this.#times.get(keyOf(topic, partition, firstOf(log, offset)))
        const seconds = time === undefined ? undefined : Math.max(0, (now - time) / 1_000)
        lags.push({ topic, partition, offset, records, seconds })
      }
    }
    return lags
  }

  /** Finds out the times that are not known yet, of these groups and no others: what nobody asks for is forgotten. */
  async refresh(groups: Iterable<Group>): Promise<void> {
    const times = new Map<string, number>()
    const wanted: Wanted[] = []
    const elsewhere: PartitionName[] = []
    for (const group of groups) {
      for (const [topic, partitions] of group.offsets.topics()) {
        for (const [number, { offset }] of partitions) {
          const partition = this.#partitions.find(topic, undefined, number)
          if (partition === undefined) elsewhere.push({ topic, partition: number })
          if (partition === undefined || offset >= partition.highWatermark) continue
          const from = firstOf(partition, offset)
          const key = keyOf(topic, number, from)
          const known = this.#times.get(key) ?? timeInMemory(partition, from)
          if (known === undefined) wanted.push({ key, partition, from })
          else times.set(key, known)
        }
      }
    }
    this.#times = times
    const asked = this.#others?.look(elsewhere)
    await this.#readTimes(wanted, times)
    await asked
  }

  async #readTimes(wanted: readonly Wanted[], times: Map<string, number>): Promise<void> {
    const deadlineMs = this.#clock.monotonic() + READ_MS_MAX
    for (const { key, partition, from } of wanted.slice(0, READS_MAX)) {
      if (this.#clock.monotonic() >= deadlineMs) return
      if (times.has(key)) continue
      const time = await timeOnDisk(partition, from)
      if (time !== undefined) times.set(key, time)
    }
  }
}

/** By topic: all records that are left, and the oldest of them. */
export function topicLags(lags: readonly PartitionLag[]): TopicLag[] {
  const topics = new Map<string, { topic: string; records: number | undefined; seconds: number | undefined }>()
  for (const { topic, records, seconds } of lags) {
    const sum = topics.get(topic) ?? { topic, records: undefined, seconds: undefined }
    topics.set(topic, sum)
    if (records !== undefined) sum.records = (sum.records ?? 0) + records
    if (seconds !== undefined) sum.seconds = Math.max(sum.seconds ?? 0, seconds)
  }
  return [...topics.values()]
}

/** Where the group goes on: what it has not worked off may be gone by now. */
function firstOf(log: Partition, offset: number): number {
  return Math.max(offset, log.logStartOffset)
}

function keyOf(topic: string, partition: number, offset: number): string {
  return `${topic}/${partition}/${offset}`
}

function timeInMemory(partition: Partition, from: number): number | undefined {
  const outcome = partition.readTail(offsetOf(from), 1)
  if (outcome?.kind !== 'records') return undefined
  try {
    return timeAt(outcome.slice.bytes, from)
  } finally {
    outcome.slice.release()
  }
}

async function timeOnDisk(partition: Partition, from: number): Promise<number | undefined> {
  const outcome = await partition.read(offsetOf(from), 1)
  if (outcome.kind === 'refused') return undefined
  try {
    return timeAt(outcome.slice.bytes, from)
  } finally {
    outcome.slice.release()
  }
}

/**
 * Of the first record at or past the offset in the batch; of a compressed one that begins before it the youngest's, as it is
 * not opened for this.
 */
function timeAt(bytes: Uint8Array, from: number): number | undefined {
  if (bytes.length === 0) return undefined
  let time: number = baseTimestampAt(bytes, 0)
  if (baseOffsetAt(bytes, 0) < from) {
    time = maxTimestampAt(bytes, 0)
    if (codecAt(bytes, 0) === 'none') {
      for (const { offset, timestamp } of decodeBatch(bytes, 0, { checkCrc: false })) {
        if (offset < from) continue
        time = timestamp
        break
      }
    }
  }
  return time < 0 ? undefined : time
}
