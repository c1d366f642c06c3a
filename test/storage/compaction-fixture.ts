// Builds what the tests of compaction need: batches with keys, a pass over a log, what a reader finds. Judges nothing.

import { must } from '../../shared/assert.ts'
import type { TimestampMs } from '../../shared/ids.ts'
import { seededRandom } from '../../shared/random.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import type { EncodeBatchOptions } from '../../shared/record-batch/encode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { batchBytes, readHeader } from '../../shared/record-batch/header.ts'
import type { BatchHeader } from '../../shared/record-batch/header.ts'
import type { CompactionMeans, CompactionResult } from '../../broker/storage/log-compaction.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { at, NOW } from './log-fixture.ts'

/** Small segments, compacted whenever there is anything new. */
export const COMPACT = {
  'cleanup.policy': 'compact',
  'segment.bytes': '1024',
  'index.interval.bytes': '100',
  'min.cleanable.dirty.ratio': '0',
}

/** `[key, value]`; a value of null is a tombstone, a key of null is none. */
export type KeyValue = readonly [key: string | null, value: string | null]

export function keyed(
  records: readonly KeyValue[],
  options: EncodeBatchOptions & { timestamp?: number } = {},
): Uint8Array {
  const { timestamp = NOW, ...rest } = options
  return encodeBatch(
    records.map(([key, value]) => ({
      key: key === null ? null : Buffer.from(key),
      value: value === null ? null : Buffer.from(value),
      timestamp,
    })),
    rest,
  )
}

export interface FoundRecord {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
  readonly timestamp: number
}

export interface FoundBatch extends BatchHeader {
  readonly records: readonly FoundRecord[]
}

/** All batches from the offset on, as a reader gets them. */
export async function batchesOf(
  log: PartitionLog,
  from: number = log.logStartOffset,
  maxBytes = 500,
): Promise<FoundBatch[]> {
  const found: FoundBatch[] = []
  let next = at(from)
  while (next < log.writtenEndOffset) {
    const slice = await log.read(next, maxBytes, log.writtenEndOffset)
    try {
      for (let position = 0; position < slice.bytes.length; position += batchBytes(slice.bytes, position)) {
        const records: FoundRecord[] = []
        forEachRecord(slice.bytes, position, ({ offset, key, value, timestamp }) => {
          records.push({ offset, key: textOf(key), value: textOf(value), timestamp })
        })
        found.push({ ...readHeader(slice.bytes, position), records })
      }
      if (slice.endOffset <= next) throw new Error(`a read at ${next} did not get on`)
      next = slice.endOffset
    } finally {
      slice.release()
    }
  }
  return found
}

/** Offset, key and value of every record that a reader from the offset on is shown, short ones as a text. */
export async function recordsOf(log: PartitionLog, from: number = log.logStartOffset): Promise<string[]> {
  const batches = await batchesOf(log, from)
  return batches
    .flatMap(({ records }) => records)
    .filter(({ offset }) => offset >= from)
    .map(({ offset, key, value }) => `${offset} ${key}=${value}`)
}

/** The last value of each key; a tombstone is none. */
export async function tableOf(log: PartitionLog): Promise<Map<string | null, string>> {
  const table = new Map<string | null, string>()
  for (const { records } of await batchesOf(log)) {
    for (const { key, value } of records) {
      if (value === null) table.delete(key)
      else table.set(key, value)
    }
  }
  return table
}

export function meansOf(options: Partial<CompactionMeans> = {}): CompactionMeans {
  return {
    now: NOW,
    random: seededRandom(7),
    keyBytesMax: 1024 * 1024,
    save: () => Promise.resolve(),
    isSliceOver: () => false,
    pause: () => Promise.resolve(true),
    ...options,
  }
}

/** Syncs, so that all but the active segment may be cleaned, and makes one pass. */
export async function compact(log: PartitionLog, options: Partial<CompactionMeans> = {}): Promise<CompactionResult> {
  await log.sync()
  const means = meansOf(options)
  const plan = must(await log.compaction.plan(means.now), 'there is something to compact')
  return log.compaction.run(plan, means)
}

export function later(ms: number): TimestampMs {
  return (NOW + ms) as TimestampMs
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString()
}
