// The records of compacted logs as they stand on simulated disks, and what was committed of them: by key. Owns the checks that
// replace equality byte for byte: a record is the same wherever it stands, and of each key the newest committed one is
// there, or has been deleted with all that was before it.

import { crc32c } from '../../shared/crc32c.ts'
import { CONTROL_BIT } from '../../shared/record-batch/format.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { attributesAt, baseOffsetAt, batchBytes, endOffsetAt, leaderEpochAt } from '../../shared/record-batch/header.ts'
import type { SimDisk } from './sim-disk.ts'

export interface KeyedRecord {
  readonly offset: number
  readonly epoch: number
  readonly key: string
  readonly isTombstone: boolean
  /** Of what it says, however its batch is written. */
  readonly crc: number
}

export interface FoundBatch {
  readonly base: number
  readonly end: number
  readonly epoch: number
  readonly records: readonly KeyedRecord[]
}

/** Magic, version, flags, length and checksum stand before the value of a checkpoint. */
const CHECKPOINT_HEADER_BYTES = 16
const SWAP_NAME = /^(\d+)-(\d+)\.swap$/

/** All whole batches of a log; a compacted segment that waits for its place stands for those that it replaces. */
export function* compactedBatches(disk: SimDisk, directory: string, from = 0): IterableIterator<FoundBatch> {
  const names = disk.peekNames(directory)
  const swaps = names.flatMap((name) => {
    const [, base, end] = SWAP_NAME.exec(name) ?? []
    return base === undefined ? [] : [{ name, base: Number(base), end: Number(end) }]
  })
  const logs = names
    .filter((name) => name.endsWith('.log'))
    .map((name) => ({ name, base: Number.parseInt(name, 10) }))
    .filter(({ base }) => !swaps.some((swap) => base >= swap.base && base < swap.end))
  for (const { name } of [...swaps, ...logs].toSorted((one, other) => one.base - other.base)) {
    const bytes = disk.peekFile(`${directory}/${name}`) ?? new Uint8Array(0)
    for (let at = 0; at < bytes.length;) {
      const size = batchBytes(bytes, at)
      if (size <= 0 || at + size > bytes.length) break
      const end = endOffsetAt(bytes, at)
      if (end > from)
        yield { base: baseOffsetAt(bytes, at), end, epoch: leaderEpochAt(bytes, at), records: recordsAt(bytes, at) }
      at += size
    }
  }
}

/** Those with keys, of a whole batch. */
function recordsAt(bytes: Uint8Array, at: number): KeyedRecord[] {
  const records: KeyedRecord[] = []
  if ((attributesAt(bytes, at) & CONTROL_BIT) !== 0) return records
  const epoch = leaderEpochAt(bytes, at)
  forEachRecord(bytes, at, ({ offset, key, value, timestamp }) => {
    if (key === null) return
    const text = Buffer.concat([key, Buffer.from(`:${timestamp}:`), value ?? Buffer.from('none')])
    records.push({ offset, epoch, key: Buffer.from(key).toString(), isTombstone: value === null, crc: crc32c(text) })
  })
  return records
}

/** What a log remembers of its compaction; undefined where nothing was compacted. */
export function compactionMark(
  disk: SimDisk,
  directory: string,
): { readonly touchedTo: number; readonly floorEnd: number | undefined } | undefined {
  const bytes = disk.peekFile(`${directory}/compacted`)
  if (bytes === undefined) return undefined
  const value = JSON.parse(Buffer.from(bytes.subarray(CHECKPOINT_HEADER_BYTES)).toString()) as {
    touchedTo?: number
    floor?: { logEndOffset?: number }
  }
  return { touchedTo: value.touchedTo ?? 0, floorEnd: value.floor?.logEndOffset }
}

/** What is committed of one partition, by key. */
export class CommittedKeys {
  readonly #byOffset = new Map<number, KeyedRecord>()
  readonly #newest = new Map<string, KeyedRecord>()

  /** Below the high watermark of some replica. Answers what is wrong with that. */
  add(record: KeyedRecord): string | undefined {
    const known = this.#byOffset.get(record.offset)
    if (known !== undefined) {
      const isSame = known.epoch === record.epoch && known.crc === record.crc
      return isSame ? undefined : `offset ${record.offset} is another record than the one that was committed`
    }
    this.#byOffset.set(record.offset, record)
    const newest = this.#newest.get(record.key)
    if (newest === undefined || newest.offset < record.offset) this.#newest.set(record.key, record)
    return undefined
  }

  /** What is wrong with a log that has come past all of them, for whoever reads it from its start; undefined if nothing is. */
  faultOf(batches: Iterable<FoundBatch>, startOffset: number): string | undefined {
    const last = new Map<string, number>()
    for (const { records } of batches) {
      for (const { key, offset } of records) if (offset >= startOffset) last.set(key, offset)
    }
    for (const [key, { offset, isTombstone }] of this.#newest) {
      const found = last.get(key)
      if (offset < startOffset || (found ?? -1) >= offset) continue
      const what = `${isTombstone ? 'a tombstone' : 'a record'} of ${key} was committed at ${offset}`
      if (found !== undefined) return `${what}, and the one at ${found} is the last`
      if (!isTombstone) return `${what}, and nothing is there`
    }
    return undefined
  }
}

/** How two compacted logs differ where both have records; undefined if they do not. */
export function differenceOfRecords(
  one: readonly FoundBatch[],
  other: readonly FoundBatch[],
  from: number,
): string | undefined {
  const [end, otherEnd] = [one.at(-1)?.end ?? 0, other.at(-1)?.end ?? 0]
  if (end !== otherEnd) return `one ends at ${end}, the other at ${otherEnd}`
  const records = new Map(one.flatMap((batch) => batch.records.map((record) => [record.offset, record] as const)))
  for (const { offset, epoch, crc } of other.flatMap((batch) => batch.records)) {
    const same = records.get(offset)
    if (offset < from || same === undefined) continue
    if (same.epoch !== epoch || same.crc !== crc) return `the records at ${offset} differ`
  }
  return undefined
}
