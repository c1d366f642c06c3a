// Compares both sides of a partition after it was copied. Owns which part of them: what both had when the copy was complete, and
// still have. A side in use goes on dropping what is old, which is no difference.

import type { KafkaCluster, PartitionName } from './kafka-cluster.ts'
import type { ComparisonResult, Order, Side } from './comparison.ts'
import type { PartitionCopied } from './partition-copy.ts'
import { PartitionCompare, type Range } from './partition-compare.ts'
import { offsetAt } from './partition-offsets.ts'

export interface VerificationQuestion {
  readonly clusters: Readonly<Record<Side, KafkaCluster>>
  readonly name: PartitionName
  readonly copied: PartitionCopied
  /** Only what this run has copied. */
  readonly isNewOnly: boolean
  readonly mayLack: readonly Side[]
  /** Offsets of the source that are to be translated, rising. */
  readonly wanted: readonly number[]
  readonly onRecords: (count: number) => void
}

/** Times that a side may drop records while it is read. */
const ATTEMPTS_MAX = 3

/** @throws TidemarkError */
export async function verifyPartition(
  question: VerificationQuestion,
): Promise<ComparisonResult & { readonly order: Order }> {
  const { clusters, name, mayLack, wanted, onRecords } = question
  const compare = new PartitionCompare(clusters, name)
  let ranges = await rangesOf(question)
  for (let attempt = 1; ; attempt += 1) {
    const result = await compare.either({ ranges, mayLack, wanted, ...(attempt === 1 ? { onRecords } : {}) })
    if (result.difference === undefined || attempt === ATTEMPTS_MAX) return result
    const now = await rangesOf(question)
    if (now.source[0] === ranges.source[0] && now.target[0] === ranges.target[0]) return result
    ranges = now
  }
}

async function rangesOf(question: VerificationQuestion): Promise<Readonly<Record<Side, Range>>> {
  const { clusters, name, copied, isNewOnly } = question
  const starts = {
    source: await offsetAt(clusters.source, name, 'earliest'),
    target: await offsetAt(clusters.target, name, 'earliest'),
  }
  const from = (side: Side): number => Math.max(starts[side], isNewOnly ? copied.begun[side] : 0)
  return { source: [from('source'), copied.source[1]], target: [from('target'), copied.target[1]] }
}
