// Which partition a record goes to: by the hash of its key, as Kafka's own producers do; without a key, to one partition
// until a batch is full and then to another, so that batches are large and partitions even.

import type { Random } from '../shared/random.ts'

export interface PartitionerInput {
  readonly topic: string
  /** As serialized; null for none. */
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  /** Partitions are numbered from 0 to partitionCount - 1. */
  readonly partitionCount: number
}

/** The application's own choice; undefined leaves it to the default. */
export type Partitioner = (input: PartitionerInput) => number | undefined

/** Another partition than the current one, by chance. */
export function nextStickyPartition(current: number, partitionCount: number, random: Random): number {
  if (partitionCount < 2) return 0
  const next = random.integer(partitionCount - 1)
  return next >= current ? next + 1 : next
}
