// Where leader epochs end: by this a consumer finds out whether what it has read is still what the log says. Every partition
// is answered for itself.

import type { Partition } from '../replication/partition.ts'
import type { EpochEnd, EpochEndsRequest } from './other-requests.ts'
import type { RequestServices } from './request-services.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { NO_ERROR, outcomeOf, refused } from './outcome.ts'
import { servedPartition } from './served-partition.ts'

const NOTHING = { leaderEpoch: undefined, endOffset: undefined }

export function epochEnds(services: RequestServices, request: EpochEndsRequest): readonly EpochEnd[] {
  return request.partitions.map((part) => {
    const { partition, refusal } = servedPartition(services, part.topic, part.partition, (found) => {
      return found.checkServing() ?? found.checkLeader(part.currentLeaderEpoch)
    })
    if (refusal !== undefined) return { ...refused(refusal.error, refusal.message), ...NOTHING }
    try {
      return { ...NO_ERROR, ...endOf(partition, part.leaderEpoch) }
    } catch (error) {
      return { ...outcomeOf(error, services.logger), ...NOTHING }
    }
  })
}

/** Of the greatest epoch that is not above the one asked for; nothing where the log begins above it. */
function endOf({ log, leaderEpoch: current }: Partition, epoch: number): Pick<EpochEnd, 'leaderEpoch' | 'endOffset'> {
  if (epoch < 0 || epoch > current) return NOTHING
  // Nothing may have been written in the current one yet; it ends where the log does all the same.
  if (epoch === current) return { leaderEpoch: current, endOffset: log.logEndOffset }
  const found = log.epochEndOffset(leaderEpoch(epoch))
  if (found === undefined) return NOTHING
  return { leaderEpoch: found.epoch, endOffset: offset(found.endOffset) }
}
