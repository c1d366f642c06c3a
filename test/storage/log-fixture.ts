// Builds what the tests of the partition log need: batches, logs on a disk in memory, readers. Judges nothing.

import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import type { Clock } from '../../shared/time.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { Disk } from '../../broker/storage/disk.ts'
import type { ConfigEntries } from '../../broker/storage/log-config.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { StorageContext, StorageContextOptions } from '../../broker/storage/storage-context.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import type { EncodeBatchOptions } from '../../shared/record-batch/encode.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'

export const NOW = 1_700_000_000_000 as TimestampMs
export const EPOCH = 0 as LeaderEpoch
export const DIRECTORY = 'data/log'

export function at(offset: number): Offset {
  return offset as Offset
}

export function time(ms: number): TimestampMs {
  return ms as TimestampMs
}

export function epoch(number: number): LeaderEpoch {
  return number as LeaderEpoch
}

/** A clock that stands still until it is set. */
export class SetClock implements Clock {
  ms = NOW as number
  now(): TimestampMs {
    return time(this.ms)
  }
  monotonic(): number {
    return this.ms
  }
}

/** A batch with one record a value; each has the timestamp. */
export function batch(
  values: readonly string[],
  options: EncodeBatchOptions & { timestamp?: number } = {},
): Uint8Array {
  const { timestamp = NOW, ...rest } = options
  return encodeBatch(
    values.map((value) => ({ key: null, value: Buffer.from(value), timestamp })),
    rest,
  )
}

/** A batch of an idempotent producer. */
export function numbered(
  values: readonly string[],
  producerId: number,
  baseSequence: number,
  producerEpoch = 0,
): Uint8Array {
  return batch(values, { producerId, producerEpoch, baseSequence })
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

export interface Bench {
  readonly disk: Disk
  readonly context: StorageContext
  readonly log: PartitionLog
}

export function newLog(
  entries: ConfigEntries = {},
  options: StorageContextOptions & { disk?: Disk; directory?: string } = {},
): Bench {
  const disk = options.disk ?? new MemoryDisk(new SetClock())
  const context = createStorageContext(disk, options)
  const log = createLog(context, options.directory ?? DIRECTORY, parseTopicConfig(entries))
  return { disk, context, log }
}

/** Appends and writes; answers the base offset. @throws when it was not appended. */
export function put(log: PartitionLog, records: Uint8Array, leaderEpoch = EPOCH, now = NOW): number {
  const result = log.append(records, leaderEpoch, now)
  if (result.kind !== 'appended') throw new Error(`not appended: ${JSON.stringify(result)}`)
  const failure = log.write()
  if (failure !== undefined) throw failure
  return result.baseOffset
}

/** Offset and value of every record in the bytes. */
export function recordsIn(bytes: Uint8Array): [number, string][] {
  const records: [number, string][] = []
  for (let position = 0; position < bytes.length; position += batchBytes(bytes, position)) {
    forEachRecord(bytes, position, (record) => {
      records.push([record.offset, Buffer.from(record.value ?? []).toString()])
    })
  }
  return records
}

/** All records from the offset on, in reads of so many bytes. */
export async function readAll(log: PartitionLog, from = 0, maxBytes = 1_000): Promise<[number, string][]> {
  const records: [number, string][] = []
  let next = at(from)
  while (next < log.writtenEndOffset) {
    const slice = await log.read(next, maxBytes, log.writtenEndOffset)
    for (const [offset, value] of recordsIn(slice.bytes)) if (offset >= from) records.push([offset, value])
    if (slice.endOffset <= next) throw new Error(`a read at ${next} did not get on`)
    next = slice.endOffset
    slice.release()
  }
  return records
}
