// The partition that a request asks about, or why it is not answered here. Nothing is thrown: a request may name a hundred
// thousand that there are not.

import type { Partition } from '../replication/partition.ts'
import type { PartitionRefusal } from '../replication/pending-produce.ts'
import type { RequestServices } from './request-services.ts'

export type ServedPartition =
  | { readonly partition: Partition; readonly refusal?: undefined }
  | { readonly partition?: undefined; readonly refusal: PartitionRefusal }

/** `whyNot` says why one that is here is not to be asked; undefined where it may be. */
export function servedPartition(
  { partitions }: Pick<RequestServices, 'partitions'>,
  topic: string,
  number: number,
  whyNot: (partition: Partition) => PartitionRefusal | undefined,
): ServedPartition {
  const partition = partitions.find(topic, undefined, number)
  if (partition === undefined) return { refusal: partitions.whyNotFound(topic, undefined, number) }
  const refusal = whyNot(partition)
  return refusal === undefined ? { partition } : { refusal }
}
