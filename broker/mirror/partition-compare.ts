// Reads both sides of a partition and has them compared. Owns which side is read next, so that no more than one fetch of each
// is held; what counts as equal is comparison.ts.

import type { KafkaCluster, PartitionName } from './kafka-cluster.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { Comparison, type ComparisonResult, type Order, type Side } from './comparison.ts'
import { PartitionStream } from './partition-stream.ts'
import { digestOf } from './record-digest.ts'

/** From the first, inclusive, to the second, exclusive. */
export type Range = readonly [from: number, end: number]

export interface CompareOptions {
  readonly ranges: Readonly<Record<Side, Range>>
  /** Sides that may have lost records to compaction since they were copied. */
  readonly mayLack: readonly Side[]
  readonly wanted?: readonly number[]
  /** Whether it ends as soon as the target has no more. */
  readonly isPrefix?: boolean
  /** Whether it ends at the first difference, with nothing counted behind it. */
  readonly endsAtDifference?: boolean
  readonly onRecords?: (count: number) => void
}

export class PartitionCompare {
  readonly #clusters: Readonly<Record<Side, KafkaCluster>>
  readonly #name: PartitionName

  constructor(clusters: Readonly<Record<Side, KafkaCluster>>, name: PartitionName) {
    this.#clusters = clusters
    this.#name = name
  }

  /**
   * By offset if that finds no difference, else in order: offsets that went apart half way are no difference of the
   * records. @throws TidemarkError
   */
  async either(options: CompareOptions): Promise<ComparisonResult & { readonly order: Order }> {
    const { source, target } = options.ranges
    // What one side has dropped at its start is no difference.
    const start = Math.max(source[0], target[0])
    const ranges = { source: [start, source[1]], target: [start, target[1]] } as const
    const byOffset = await this.compare('by-offset', { ...options, ranges, endsAtDifference: true })
    // Where both have lost what the other has, nothing would be compared.
    if (byOffset.difference === undefined && !hasNothingIn(byOffset)) return { ...byOffset, order: 'by-offset' }
    const inOrder = await this.compare('in-order', options)
    const difference = byOffset.records > inOrder.records ? byOffset.difference : inOrder.difference
    return { ...inOrder, order: 'in-order', difference: inOrder.difference && (difference ?? inOrder.difference) }
  }

  /** @throws TidemarkError */
  async compare(order: Order, options: CompareOptions): Promise<ComparisonResult> {
    const { ranges, mayLack, wanted = [], isPrefix = false, endsAtDifference = false } = options
    const comparison = new Comparison({ order, mayLack, wanted })
    const streams = { source: this.#stream('source', ranges.source), target: this.#stream('target', ranges.target) }
    for (let side = comparison.hungry; side !== undefined; side = comparison.hungry) {
      const part = await streams[side].next()
      if (part === undefined) {
        comparison.end(side)
        if (isPrefix && side === 'target') break
        comparison.settle()
        continue
      }
      let count = 0
      for (const batch of part.batches) {
        for (const record of decodeBatch(batch.bytes, 0, { checkCrc: false })) {
          const [from, end] = ranges[side]
          if (record.offset < from || record.offset >= end) continue
          comparison.add(side, record.offset, digestOf(record))
          count += 1
        }
      }
      comparison.settle()
      if (endsAtDifference && comparison.hasDifference) break
      if (side === 'source') options.onRecords?.(count)
    }
    return comparison.finish(ranges.target[1])
  }

  #stream(side: Side, [from, end]: Range): PartitionStream {
    return new PartitionStream(this.#clusters[side], this.#name, { from, end })
  }
}

function hasNothingIn({ records, skippedRecords }: ComparisonResult): boolean {
  return records === 0 && skippedRecords > 0
}
