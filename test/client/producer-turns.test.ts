// Who waits for room in the producer's buffer keeps its place.

import { expect, it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'

it('a send that waits for room is not overtaken by those that come after it', async () => {
  await using broker = await startBroker({ dataDir: 'memory' })
  const client = broker.client()
  await client.admin().createTopics({ topics: [{ topic: 't', numPartitions: 1 }] })
  const producer = client.producer({ bufferBytes: 20_000 })
  const sizes = [15_000, 15_000, 10, 12_000, 10]
  const sends = sizes.map((size) => producer.send({ topic: 't', messages: [{ value: new Uint8Array(size) }] }))
  await expect(producer.enqueue('t', { value: new Uint8Array(1) })).rejects.toMatchObject({ code: 'BUFFER_FULL' })
  const offsets = (await Promise.all(sends)).map(([sent]) => sent?.offset)
  expect(offsets).toEqual([0, 1, 2, 3, 4])
  await producer.enqueue('t', { value: new Uint8Array(1) })
})
