// Where partitions begin, end, or stood at a time. Every partition is answered for itself.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { OffsetAndTime, Partition } from '../replication/partition.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { RequestServices } from './request-services.ts'
import { timestampMs } from '../../shared/ids.ts'
import { OFFSET_AT } from '../../shared/protocol/offsets.ts'
import { NO_ERROR, outcomeOf, refused } from './outcome.ts'
import { servedPartition } from './served-partition.ts'

type PartitionRequest = RequestOf<'listOffsets'>['partitions'][number]
type PartitionResponse = ResponseOf<'listOffsets'>['partitions'][number]

const NOTHING = { offset: undefined, timestamp: undefined, leaderEpoch: undefined }

export async function listOffsets(
  services: RequestServices,
  request: RequestOf<'listOffsets'>,
): Promise<ResponseOf<'listOffsets'>> {
  const partitions: PartitionResponse[] = []
  for (const part of request.partitions) partitions.push(await listOne(services, part))
  return { partitions }
}

async function listOne(services: RequestServices, part: PartitionRequest): Promise<PartitionResponse> {
  const { partition, refusal } = servedPartition(services, part.topic, part.partition, (found) => {
    return found.checkServing() ?? found.checkLeader(part.leaderEpoch)
  })
  if (refusal !== undefined) return { ...refused(refusal.error, refusal.message), ...NOTHING }
  try {
    return { ...NO_ERROR, ...(await findOffset(partition, part.at)), leaderEpoch: partition.leaderEpoch }
  } catch (error) {
    return { ...outcomeOf(error, services.logger), ...NOTHING }
  }
}

interface Found {
  readonly offset: number | undefined
  readonly timestamp: number | undefined
}

/** Where the partition is at a time, or at one of OFFSET_AT. @throws OFFSET_NOT_AVAILABLE, STORAGE_ERROR */
export async function findOffset(partition: Partition, at: number): Promise<Found> {
  switch (at) {
    case OFFSET_AT.latest:
      checkLatest(partition)
      return { offset: partition.highWatermark, timestamp: undefined }
    case OFFSET_AT.earliest:
      return { offset: partition.logStartOffset, timestamp: undefined }
    case OFFSET_AT.maxTimestamp:
      return shown(partition, await partition.youngestRecord())
    default:
      return shown(partition, await partition.offsetForTimestamp(timestampMs(at)))
  }
}

/** What lies beyond the high watermark is nobody's to know yet, and whether anything does only a leader that knows its end. */
function shown(partition: Partition, found: OffsetAndTime | undefined): Found {
  if (found !== undefined && found.offset < partition.highWatermark) return found
  checkLatest(partition)
  return { offset: undefined, timestamp: undefined }
}

/** A leader that has just been elected may show less than its predecessor did. */
function checkLatest({ isLatestKnown, partition, topic }: Partition): void {
  if (isLatestKnown) return
  const text = `the leader of partition ${partition} of ${topic} is new; ask again in a moment`
  throw new TidemarkError('OFFSET_NOT_AVAILABLE', text)
}
