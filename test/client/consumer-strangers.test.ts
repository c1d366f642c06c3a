// Members that talk nonsense in a group of ours: they get nothing, and keep nobody from working.

import { expect, it, onTestFinished } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import { WireMember } from '../groups/wire-member.ts'

it('gives nothing to a member whose subscription cannot be read, and works on as the leader of the group', async () => {
  const broker = await startBroker({ dataDir: 'memory' })
  onTestFinished(() => broker.stop())
  const client = broker.client()
  await client.admin().createTopics({ topics: [{ topic: 'a', numPartitions: 2 }] })
  const consumer = client.consumer({ groupId: 'g', topics: ['a'], fromBeginning: true })
  const seen: string[] = []
  let tell = (): void => undefined
  await consumer.run({
    eachMessage: ({ message }) => {
      seen.push(String(message.value))
      tell()
    },
  })
  const stranger = await WireMember.connect(broker.brokers, 'g')
  await stranger.findCoordinator()
  expect((await stranger.join({ protocols: { 'cooperative-sticky': 'nonsense' } })).error).toBe(0)
  expect(await stranger.sync()).toMatchObject({
    error: 0,
    share: '\u0000\u0003\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000',
  })
  const both = new Promise<void>((resolve) => {
    tell = () => {
      if (seen.length === 2) resolve()
    }
  })
  const messages = ['x', 'y'].map((value, partition) => ({ value, partition }))
  await client.producer().send({ topic: 'a', messages })
  await both
  await consumer.close()
})
