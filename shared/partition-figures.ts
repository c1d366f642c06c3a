// What is told of a partition's log, as it is shown: offsets, segments and bytes are somebody's, the leader's at best, and
// where they are nobody's they are not 0 but unknown. Knows no form of output.

import type { ResponseOf } from './protocol/api.ts'

type Partition = ResponseOf<'describeTopics'>['topics'][number]['partitions'][number]

/** For programs: as it was told, with null for what is not known. */
export function withKnownFigures(partition: Partition): object {
  if (partition.figuresOf !== undefined) return partition
  const unknown = { logStartOffset: null, highWatermark: null, logEndOffset: null, recoveryPoint: null }
  return { ...partition, ...unknown, segments: null, bytes: null }
}

/**
 * The offsets that can be read, end less start, and the bytes of one replica of each; undefined unless all are known.
 * Fewer are records: each leader begins with an offset of its own, and so does each change of replicas.
 */
export function totalsOf(partitions: readonly Partition[]): {
  readonly offsets: number | undefined
  readonly bytes: number | undefined
} {
  let offsets = 0
  let bytes = 0
  for (const { figuresOf, highWatermark, logStartOffset, bytes: held } of partitions) {
    if (figuresOf === undefined) return { offsets: undefined, bytes: undefined }
    offsets += highWatermark - logStartOffset
    bytes += held
  }
  return { offsets, bytes }
}
