// The logs of replicas as they stand on simulated disks, read past their brokers: to hold them against each other.

import { baseOffsetAt, batchBytes, lastOffsetDeltaAt } from '../../shared/record-batch/header.ts'
import type { SimDisk } from './sim-disk.ts'

export interface LogOnDisk {
  readonly startOffset: number
  readonly endOffset: number
  /** Each batch by its base offset. */
  readonly batches: ReadonlyMap<number, Uint8Array>
}

/** Of which partitions there is anything on a disk. */
export function logsOnDisk(disk: SimDisk, dataDirectory: string): { topicId: string; partition: number }[] {
  return disk.peekNames(`${dataDirectory}/logs`).map((name) => {
    const at = name.lastIndexOf('-')
    return { topicId: name.slice(0, at), partition: Number(name.slice(at + 1)) }
  })
}

/** undefined where there is none. */
export function readLog(
  disk: SimDisk,
  dataDirectory: string,
  topicId: string,
  partition: number,
): LogOnDisk | undefined {
  const directory = `${dataDirectory}/logs/${topicId}-${partition}`
  const names = disk
    .peekNames(directory)
    .filter((name) => name.endsWith('.log'))
    .toSorted()
  if (names.length === 0) return undefined
  const batches = new Map<number, Uint8Array>()
  let startOffset: number | undefined
  let endOffset = 0
  for (const name of names) {
    const bytes = disk.peekFile(`${directory}/${name}`) ?? new Uint8Array(0)
    const base = Number.parseInt(name, 10)
    startOffset ??= base
    endOffset = Math.max(endOffset, base)
    for (let at = 0; at < bytes.length;) {
      const size = batchBytes(bytes, at)
      if (size <= 0 || at + size > bytes.length) break
      const baseOffset = baseOffsetAt(bytes, at)
      batches.set(baseOffset, bytes.subarray(at, at + size))
      endOffset = baseOffset + lastOffsetDeltaAt(bytes, at) + 1
      at += size
    }
  }
  // What lies below the log start is nobody's any more: what another leader had written there may be there still.
  const startsAt = Math.max(startOffset ?? 0, logStartIn(disk.peekFile(`${directory}/log-start`)))
  return { startOffset: startsAt, endOffset, batches }
}

/** Magic, version, flags, length and checksum stand before the value. */
const CHECKPOINT_HEADER_BYTES = 16

function logStartIn(checkpoint: Uint8Array | undefined): number {
  if (checkpoint === undefined) return 0
  return Number(JSON.parse(Buffer.from(checkpoint.subarray(CHECKPOINT_HEADER_BYTES)).toString()))
}

/** How two logs differ where both have records; undefined if they do not. */
export function differenceOf(one: LogOnDisk, other: LogOnDisk): string | undefined {
  if (one.endOffset !== other.endOffset) return `one ends at ${one.endOffset}, the other at ${other.endOffset}`
  const start = Math.max(one.startOffset, other.startOffset)
  for (const [first, second] of [
    [one, other],
    [other, one],
  ] as const) {
    for (const [offset, bytes] of first.batches) {
      if (offset < start) continue
      const same = second.batches.get(offset)
      if (same === undefined) return `only one has a batch at ${offset}`
      if (Buffer.compare(bytes, same) !== 0) return `the batches at ${offset} differ`
    }
  }
  return undefined
}
