// What a data directory owes its users: kept by the workload while it runs, held against what is found after a crash.
// Judges; does nothing to the directory but read.

import { isHosted } from '../../broker/storage/hosted-partitions.ts'
import type { LogDirectory } from '../../broker/storage/log-directory.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { TopicDefinition } from '../../broker/storage/topic-store.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { must } from '../../shared/assert.ts'
import type { LeaderEpoch, TimestampMs, TopicId } from '../../shared/ids.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import { checkCompacted, TOMBSTONE } from './compaction-oracle.ts'

/** Ways in which the process may have ended; they leave different promises standing. */
export type Ending = 'power loss' | 'kill' | 'none'

export interface LastBatch {
  readonly bytes: Uint8Array
  readonly baseOffset: number
  readonly endOffset: number
}

/** What is known of one log. Offsets are exclusive ends unless named start. */
export interface LogModel {
  /** By offset: what was written and not undone. */
  values: string[]
  /** By offset: whatever was ever given to the log since it was last cut. */
  possible: Map<number, Set<string>>
  writtenEnd: number
  durableEnd: number
  /** The log start offset lies between what was acknowledged and what was asked for. */
  startAcknowledged: number
  startRequested: number
  /** A cut that is under way: nothing at or above it is owed. */
  cutRequested: number | undefined
  /** The newest batch of the idempotent producer that was written. */
  lastBatch: LastBatch | undefined
  /** Whether there must be a log, whoever has the partition; undefined while it is being released. */
  isHosted: boolean | undefined
  /** Its records have keys, and those that are superseded may be gone. */
  isCompacted: boolean
  /** What lies below may have been compacted. */
  cleanable: number
  newcomer: 'yes' | 'maybe' | 'no'
}

export interface TopicModel {
  readonly topicId: TopicId
  readonly name: string
  /** 'maybe' while a creation or a deletion is under way or has failed. */
  existence: 'yes' | 'maybe' | 'no'
  partitionsAcknowledged: number
  partitionsRequested: number
  /** The replicas of each partition, as they were agreed on last, and as they were asked for last. */
  assignmentAcknowledged: TopicDefinition['assignment']
  assignmentRequested: TopicDefinition['assignment']
  logs: LogModel[]
}

export function newLogModel(): LogModel {
  return {
    values: [],
    possible: new Map(),
    writtenEnd: 0,
    durableEnd: 0,
    startAcknowledged: 0,
    startRequested: 0,
    cutRequested: undefined,
    lastBatch: undefined,
    isHosted: false,
    isCompacted: false,
    cleanable: 0,
    newcomer: 'no',
  }
}

export class CrashOracle {
  readonly topics = new Map<TopicId, TopicModel>()

  add(definition: TopicDefinition): TopicModel {
    const model: TopicModel = {
      topicId: definition.topicId,
      name: definition.name,
      existence: 'maybe',
      partitionsAcknowledged: definition.partitions,
      partitionsRequested: definition.partitions,
      assignmentAcknowledged: definition.assignment,
      assignmentRequested: definition.assignment,
      logs: Array.from({ length: definition.partitions }, newLogModel),
    }
    this.topics.set(definition.topicId, model)
    return model
  }

  /** As it is now. What was written stays shared: it only grows above the ends that are copied. */
  snapshot(): CrashOracle {
    const copy = new CrashOracle()
    for (const [id, topic] of this.topics) {
      copy.topics.set(id, Object.assign({}, topic, { logs: topic.logs.map((log) => Object.assign({}, log)) }))
    }
    return copy
  }

  /** Everything that is wrong with what was found; empty if nothing is. Also answers a description of what was found. */
  async check(directory: LogDirectory, ending: Ending): Promise<{ faults: string[]; found: string }> {
    const faults: string[] = []
    const found: string[] = []
    for (const definition of directory.topics.list()) {
      if (!this.topics.has(definition.topicId)) faults.push(`topic ${definition.name} was never made`)
    }
    for (const topic of this.topics.values()) {
      const definition = directory.topics.get(topic.topicId)
      if (definition === undefined) {
        if (topic.existence === 'yes') faults.push(`topic ${topic.name} is gone`)
        if (directory.log(topic.topicId, 0) !== undefined) faults.push(`topic ${topic.name} has logs and no definition`)
        continue
      }
      if (topic.existence === 'no') faults.push(`topic ${topic.name} has come back`)
      const { partitions } = definition
      if (partitions < topic.partitionsAcknowledged || partitions > topic.partitionsRequested) {
        faults.push(`topic ${topic.name} has ${partitions} partitions`)
      }
      const assigned = JSON.stringify(definition.assignment)
      const { assignmentAcknowledged, assignmentRequested } = topic
      const expected = [assignmentAcknowledged, assignmentRequested].map((rows) => rows?.slice(0, partitions))
      if (!expected.some((rows) => assigned === JSON.stringify(rows))) {
        faults.push(`topic ${topic.name} has the assignment ${assigned}`)
      }
      found.push(`${topic.name}:`)
      for (let partition = 0; partition < partitions; partition++) {
        const where = `${topic.name}-${partition}`
        const log = directory.log(topic.topicId, partition)
        const model = topic.logs[partition] ?? newLogModel()
        const isAssigned = isHosted(definition, partition, directory.identity.brokerId)
        if (log === undefined) {
          const failure = directory.failureOf(topic.topicId, partition)?.message
          const owedEnd = ending === 'power loss' ? model.durableEnd : model.writtenEnd
          // Nobody needs an empty one that was made for a replica that does not come here any more.
          const mayGo = model.isHosted !== true || (model.newcomer !== 'no' && owedEnd === 0)
          if (isAssigned || !mayGo) faults.push(`${where} has no log: ${failure}`)
          continue
        }
        if (!isAssigned && model.isHosted === false) faults.push(`${where} has a log, and is assigned to others`)
        const newcomer = directory.isNewcomer(topic.topicId, partition) ? 'yes' : 'no'
        if (model.newcomer !== 'maybe' && model.newcomer !== newcomer)
          faults.push(`${where} is a newcomer: ${newcomer}`)
        // One that turned out to be empty only now goes at the next start.
        const isGoing = newcomer === 'yes' && !isAssigned && log.logEndOffset === 0
        const what = await checkLog(log, model, ending, (fault) => faults.push(`${where}: ${fault}`))
        if (!isGoing) found.push(what)
      }
    }
    return { faults, found: found.join(' ') }
  }
}

async function checkLog(
  log: PartitionLog,
  model: LogModel,
  ending: Ending,
  fail: (fault: string) => void,
): Promise<string> {
  const { logStartOffset, logEndOffset } = log
  const owedEnd = Math.min(
    ending === 'power loss' ? model.durableEnd : model.writtenEnd,
    model.cutRequested ?? Infinity,
  )
  if (logStartOffset < model.startAcknowledged)
    fail(`starts at ${logStartOffset}, trimmed to ${model.startAcknowledged}`)
  if (logStartOffset > model.startRequested) fail(`starts at ${logStartOffset}, asked for ${model.startRequested}`)
  if (logEndOffset < owedEnd) fail(`ends at ${logEndOffset}, owed up to ${owedEnd}`)
  if (log.quarantined.length > 0) fail(`has quarantined ${JSON.stringify(log.quarantined)}`)
  let records: [number, string][] = []
  try {
    records = await readRecords(log)
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    fail(error.message)
    return `unreadable: ${error.message}`
  }
  let expected: number = logStartOffset
  for (const [offset, value] of records) {
    if (offset !== expected && !model.isCompacted) fail(`offset ${offset} follows ${expected - 1}`)
    expected = offset + 1
    if (offset < owedEnd && value !== model.values[offset])
      fail(`offset ${offset} is ${value}, not ${model.values[offset]}`)
    if (model.possible.get(offset)?.has(value) !== true)
      fail(`offset ${offset} is ${value}, which nobody appended there`)
  }
  if (model.isCompacted) checkCompacted(records, model.values, { logStartOffset, owedEnd }, fail)
  else if (expected !== logEndOffset) fail(`can be read up to ${expected}, and ends at ${logEndOffset}`)
  const { lastBatch } = model
  // Of batches that were trimmed away only a cache knows, which a power loss may take.
  const isRemembered = log.state.kind === 'online' && lastBatch !== undefined && lastBatch.endOffset <= owedEnd
  if (isRemembered && lastBatch.baseOffset >= logStartOffset) {
    const again = log.append(lastBatch.bytes, 0 as LeaderEpoch, 0 as TimestampMs)
    if (again.kind !== 'duplicate' || again.baseOffset !== lastBatch.baseOffset) {
      fail(`a batch sent again is ${JSON.stringify(again)}, not a duplicate of ${lastBatch.baseOffset}`)
    }
  }
  return `[${logStartOffset}, ${logEndOffset}) ${records.map(([offset, value]) => `${offset}=${value}`).join()}`
}

/** All records from the log start offset on. */
export async function readRecords(log: PartitionLog): Promise<[offset: number, value: string][]> {
  const records: [number, string][] = []
  let next = log.logStartOffset
  while (next < log.logEndOffset) {
    const slice = await log.read(next, 1_000_000, log.logEndOffset)
    try {
      for (let at = 0; at < slice.bytes.length; at += batchBytes(slice.bytes, at)) {
        forEachRecord(slice.bytes, at, (record) => {
          if (record.offset >= next) records.push([record.offset, textOf(record)])
        })
      }
      if (slice.endOffset <= next) throw new Error(`nothing can be read at ${next}`)
      next = slice.endOffset
    } finally {
      slice.release()
    }
  }
  return records
}

/** The value; with a key, both. */
export function textOf({ key, value }: { readonly key: Uint8Array | null; readonly value: Uint8Array | null }): string {
  if (key === null) return Buffer.from(must(value, 'values are set')).toString()
  return `${Buffer.from(key).toString()}=${value === null ? TOMBSTONE : Buffer.from(value).toString()}`
}
