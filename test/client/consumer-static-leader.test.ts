// A static member that leads its group, goes away and comes back to lead it, without a round.

import { describe, expect, it } from 'vitest'
import { connect } from '../../client/client.ts'
import { startBroker } from '../../broker/testing.ts'
import { eventOf } from './consumer-stage.ts'
import { string } from '../../client/serializers.ts'

describe('a static member that comes back to lead', () => {
  it('sees that partitions have come while it was away, and has them shared out', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const admin = connect({ brokers: broker.brokers })
    await admin.admin().createTopics({ topics: [{ topic: 't', numPartitions: 1 }] })
    const options = { groupId: 'g', topics: 't', instanceId: 'a', topicsRefreshMs: 50 } as const
    const consumerOf = () => {
      const client = connect({ brokers: broker.brokers })
      return { client, consumer: client.consumer({ ...options, deserializers: { value: string } }) }
    }
    const first = consumerOf()
    await first.consumer.run({ eachMessage: () => undefined })
    await first.client.close()
    await admin.admin().addPartitions({ topic: 't', partitions: 2 })
    const second = consumerOf()
    const assigned = eventOf(second.consumer, 'assigned', ({ partitions }) => {
      return partitions.some(({ partition }) => partition === 1)
    })
    await second.consumer.run({ eachMessage: () => undefined })
    await assigned
    expect(second.consumer.assignment()).toHaveLength(2)
    await second.client.close()
    await admin.close()
  })
})
