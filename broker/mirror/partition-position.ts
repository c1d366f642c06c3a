// Where copying a partition goes on. Owns the argument why no record is lost or doubled by an interruption:
//
// - The target itself says what it has: nothing else is kept anywhere. Copies are appended in the order of the source, one
//   request at a time, and a request is appended as a whole, so that the target is always the copy of a beginning of the
//   source.
// - Which beginning, is read off its last batch. A target that keeps offsets has a note in it of the offset at the source, and
//   is believed if the records there are the same. Otherwise the last records are compared at the same offsets, and if they
//   are others (the offsets went apart), both sides from their start on.
// - A request that was lost sight of may still arrive. Where offsets are kept it is refused then, since the log has passed
//   them. Elsewhere the producer goes on with the identity and the sequence number that it finds in the last batch, so that
//   of two requests for the same records the target takes one. If another producer wrote that batch, the identity is left to
//   that one: its next records would be taken for copies, and copies for its own.

import type { DataBatch } from './data-batches.ts'
import type { KafkaCluster, PartitionName } from './kafka-cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { baseSequenceAt, producerEpochAt, producerIdAt } from '../../shared/record-batch/header.ts'
import { MIRROR_EPOCH, type ProducerStamp, SEQUENCES } from './batch-copy.ts'
import { PartitionCompare, type Range } from './partition-compare.ts'
import { PartitionStream } from './partition-stream.ts'

export interface Position {
  /** The offset at the source from which on records are copied. */
  readonly source: number
  /** The end of the target. */
  readonly target: number
  /** Whether the target has no record yet. */
  readonly isEmpty: boolean
  /** How an idempotent producer goes on; undefined when no mirror has written the last batch as one. */
  readonly producer: ProducerStamp | undefined
}

export interface PositionQuestion {
  readonly clusters: { readonly source: KafkaCluster; readonly target: KafkaCluster }
  readonly name: PartitionName
  readonly source: Range
  readonly target: Range
  readonly keepsOffsets: boolean
  readonly mayBeCompacted: boolean
}

/** Offsets before the last batch that are compared as well where the batch says nothing of the source. */
const WINDOW_OFFSETS = 500
const BOTH = ['source', 'target'] as const

/** @throws MIRROR_DIVERGED, and as a fetch does */
export async function findPosition(question: PositionQuestion): Promise<Position> {
  const { clusters, name, source, target } = question
  const last = await lastBatch(clusters.target, name, target)
  if (last === undefined) return { source: source[0], target: target[1], isEmpty: true, producer: undefined }
  const found =
    (question.keepsOffsets ? await byNote(question, last) : undefined) ??
    (await byOffset(question, last)) ??
    (await byOrder(question))
  // What the source has dropped meanwhile is not there to be copied.
  const offset = Math.max(found, source[0])
  return { source: offset, target: target[1], isEmpty: false, producer: producerAfter(last) }
}

/** The last batch with records, looked for from the end on backwards, in steps that double. */
async function lastBatch(cluster: KafkaCluster, name: PartitionName, range: Range): Promise<DataBatch | undefined> {
  const [start] = range
  let [, end] = range
  for (let step = 1; end > start; step *= 2) {
    const from = Math.max(start, end - step)
    const stream = new PartitionStream(cluster, name, { from, end })
    let last: DataBatch | undefined
    for (let part = await stream.next(); part !== undefined; part = await stream.next()) {
      last = part.batches.at(-1) ?? last
    }
    if (last !== undefined) return { ...last, bytes: Uint8Array.from(last.bytes) }
    end = from
  }
  return undefined
}

/** The note says which offset the batch had; believed if the records there are the same, or gone. */
async function byNote(question: PositionQuestion, last: DataBatch): Promise<number | undefined> {
  const note = baseSequenceAt(last.bytes, 0)
  if (note < 0 || producerIdAt(last.bytes, 0) >= 0) return undefined
  // The target is never behind the source by more than it has records of its own.
  const shift = (((last.baseOffset - note) % SEQUENCES) + SEQUENCES) % SEQUENCES
  const from = last.baseOffset - shift
  const end = last.endOffset - shift
  const [start, sourceEnd] = question.source
  if (from < 0 || end > sourceEnd) return undefined
  if (end <= start) return end
  const ranges = { source: [Math.max(from, start), end], target: [last.baseOffset, last.endOffset] } as const
  const mayLack = shift === 0 && (question.mayBeCompacted || from < start) ? BOTH : []
  const compare = new PartitionCompare(question.clusters, question.name)
  const result = await compare.compare(shift === 0 ? 'by-offset' : 'in-order', { ranges, mayLack })
  return result.difference === undefined ? end : undefined
}

/** The last records are compared at the same offsets. Were they all alike, they would say nothing of where they belong. */
async function byOffset(question: PositionQuestion, last: DataBatch): Promise<number | undefined> {
  const { clusters, name, source, target, mayBeCompacted } = question
  const from = Math.max(source[0], target[0], last.baseOffset - WINDOW_OFFSETS)
  if (from >= last.endOffset || last.endOffset > source[1]) return undefined
  const range = [from, last.endOffset] as const
  const compare = new PartitionCompare(clusters, name)
  const mayLack = mayBeCompacted ? BOTH : []
  const result = await compare.compare('by-offset', { ranges: { source: range, target: range }, mayLack })
  const isTelling = result.distinctRecords > 1 || from === target[0]
  return result.difference === undefined && result.records > 0 && isTelling ? last.endOffset : undefined
}

/** Both from their start on. @throws MIRROR_DIVERGED */
async function byOrder({ clusters, name, source, target }: PositionQuestion): Promise<number> {
  const compare = new PartitionCompare(clusters, name)
  const ranges = { source, target }
  const result = await compare.compare('in-order', { ranges, mayLack: [], isPrefix: true, endsAtDifference: true })
  if (result.difference === undefined && result.sourceOffset !== undefined) return result.sourceOffset
  const { topic, partition } = name
  const where = result.difference === undefined ? '' : `, as from offset ${result.difference.offset} of the source on`
  const advice = 'empty it or delete the topic there to have it copied'
  const what = `${topic}-${partition} of ${clusters.target.name} has records that ${clusters.source.name} has not${where}`
  throw new TidemarkError('MIRROR_DIVERGED', `${what}; ${advice}`, { topic, partition })
}

function producerAfter({ bytes, recordCount }: DataBatch): ProducerStamp | undefined {
  const producerId = producerIdAt(bytes, 0)
  const producerEpoch = producerEpochAt(bytes, 0)
  if (producerId < 0 || producerEpoch !== MIRROR_EPOCH) return undefined
  const baseSequence = (baseSequenceAt(bytes, 0) + recordCount) % SEQUENCES
  return { producerId, producerEpoch, baseSequence }
}
