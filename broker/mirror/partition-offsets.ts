// Where a partition begins and ends, for who may read only what is certain: behind the end no transaction is open.

import type { KafkaCluster, PartitionName } from './kafka-cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { listOffsets } from '../protocols/kafka/02-list-offsets.ts'
import { checkCode } from './kafka-cluster.ts'

const TIMES = { earliest: -2, latest: -1 }
const VERSION_MAX = 6
const CONSUMER = -1
const READ_COMMITTED = 1

/** @throws TidemarkError */
export async function offsetAt(
  cluster: KafkaCluster,
  name: PartitionName,
  place: 'earliest' | 'latest',
): Promise<number> {
  const { topic, partition } = name
  const what = `${topic}-${partition}, its ${place} offset`
  return await cluster.persist(what, async () => {
    const asked = { partitionIndex: partition, timestamp: TIMES[place] }
    const question = {
      replicaId: CONSUMER,
      isolationLevel: READ_COMMITTED,
      topics: [{ name: topic, partitions: [asked] }],
    }
    const answer = await cluster.askOnce(name, listOffsets, question, VERSION_MAX)
    const found = answer.topics[0]?.partitions[0]
    if (found === undefined) throw new TidemarkError('MALFORMED_FRAME', `${what}: the answer tells of other partitions`)
    checkCode(found.errorCode, what)
    return found.offset
  })
}
