// A Kafka client that has not heard what became of a batch, and sends it again.

import { expect, it } from 'vitest'
import { produce } from '../../broker/protocols/kafka/00-produce.ts'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { batch } from '../storage/log-fixture.ts'
import { KafkaSocket } from './kafka-socket.ts'

/** Sends batches of one idempotent producer to a topic of their own. */
async function aProducer(broker: TestBroker) {
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 'a', numPartitions: 1 }] })
  const client = await KafkaSocket.connect(broker.port)
  return async (value: string, baseSequence: number, timestamp: number) => {
    const records = batch([value], { producerId: 7, producerEpoch: 0, baseSequence, timestamp })
    const topicData = [{ name: 'a', partitionData: [{ index: 0, records }] }]
    const common = { transactionalId: undefined, acks: -1, timeoutMs: 10_000, keepsOffsets: false }
    const { responses } = await client.ask(produce, 9, { ...common, topicData })
    return responses[0]?.partitionResponses[0]
  }
}

it('a batch that comes again with another time in it is stored once', async () => {
  await using broker = await startBroker({ dataDir: 'memory' })
  const send = await aProducer(broker)
  expect(await send('first', 0, 1_000)).toMatchObject({ errorCode: 0, baseOffset: 0 })
  expect(await send('first', 0, 2_000)).toMatchObject({ errorCode: 0, baseOffset: 0 })
  expect(await send('second', 1, 3_000)).toMatchObject({ errorCode: 0, baseOffset: 1 })
  const [end] = await broker.client().admin().offsets('a', { at: 'end' })
  expect(end?.offset).toBe(2)
})

it('a batch that is older than all that is remembered is not called a duplicate, which clients take for stored', async () => {
  await using broker = await startBroker({ dataDir: 'memory' })
  const send = await aProducer(broker)
  // As if the first had been refused by a leader that was about to lead.
  expect(await send('second', 1, 1_000)).toMatchObject({ errorCode: 0, baseOffset: 0 })
  expect(await send('first', 0, 1_000)).toMatchObject({ errorCode: 45 })
})
