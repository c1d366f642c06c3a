// Leader epochs as Kafka's consumers use them: to notice that they ask a leader of yesterday, and that a log is not the one any
// more that they have read.

import { expect, it, onTestFinished } from 'vitest'
import { fetch } from '../../broker/protocols/kafka/01-fetch.ts'
import { listOffsets } from '../../broker/protocols/kafka/02-list-offsets.ts'
import { offsetForLeaderEpoch } from '../../broker/protocols/kafka/23-offset-for-leader-epoch.ts'
import { NO_UUID } from '../../broker/protocols/kafka/primitives.ts'
import { startBroker } from '../../broker/testing.ts'
import { KafkaSocket } from './kafka-socket.ts'

/** A partition with two records of epoch 0, one of epoch 1, and none of epoch 2, which is the present one. */
async function threeEpochs(): Promise<KafkaSocket> {
  const broker = await startBroker({ dataDir: 'memory' })
  onTestFinished(() => broker.stop())
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 'a', numPartitions: 1 }] })
  const send = (...values: string[]) => {
    const messages = values.map((value) => ({ value, partition: 0 }))
    return broker.client().producer().send({ topic: 'a', messages })
  }
  await send('one', 'two')
  await broker.restart()
  await send('three')
  await broker.restart()
  return KafkaSocket.connect(broker.port)
}

async function endOf(client: KafkaSocket, leaderEpoch: number, currentLeaderEpoch = -1) {
  const partitions = [{ partition: 0, currentLeaderEpoch, leaderEpoch }]
  const { topics } = await client.ask(offsetForLeaderEpoch, 4, { replicaId: -1, topics: [{ topic: 'a', partitions }] })
  return topics[0]?.partitions[0]
}

it('say where each of them ends, and of the present one the end of the log though nothing is written in it', async () => {
  const client = await threeEpochs()
  expect(await endOf(client, 0)).toEqual({ errorCode: 0, partition: 0, leaderEpoch: 0, endOffset: 2 })
  expect(await endOf(client, 1)).toEqual({ errorCode: 0, partition: 0, leaderEpoch: 1, endOffset: 3 })
  expect(await endOf(client, 2)).toEqual({ errorCode: 0, partition: 0, leaderEpoch: 2, endOffset: 3 })
  expect(await endOf(client, 3)).toEqual({ errorCode: 0, partition: 0, leaderEpoch: -1, endOffset: -1 })
})

it('refuse who takes another one for the present, older or newer, whatever is asked', async () => {
  const client = await threeEpochs()
  for (const [epoch, errorCode] of [
    [1, 74],
    [2, 0],
    [3, 75],
    [-1, 0],
  ] as const) {
    expect((await endOf(client, 0, epoch))?.errorCode).toBe(errorCode)
    const part = { partitionIndex: 0, currentLeaderEpoch: epoch, timestamp: -1 }
    const request = { replicaId: -1, isolationLevel: 1, topics: [{ name: 'a', partitions: [part] }] }
    const listed = await client.ask(listOffsets, 7, request)
    expect(listed.topics[0]?.partitions[0]?.errorCode).toBe(errorCode)
    const fetched = await client.ask(fetch, 12, fetchIn(epoch))
    expect(fetched.responses[0]?.partitions[0]?.errorCode).toBe(errorCode)
  }
})

function fetchIn(currentLeaderEpoch: number) {
  const partition = {
    partition: 0,
    currentLeaderEpoch,
    fetchOffset: 0,
    lastFetchedEpoch: -1,
    logStartOffset: -1,
    partitionMaxBytes: 1_000,
    replicaDirectoryId: NO_UUID,
  }
  return {
    clusterId: undefined,
    replicaId: -1,
    replicaState: { replicaId: -1, replicaEpoch: -1 },
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: 1_000,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{ topic: 'a', topicId: NO_UUID, partitions: [partition] }],
    forgottenTopicsData: [],
    rackId: '',
  }
}
