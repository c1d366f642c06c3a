// What a broker without others says to those who take it for one of theirs.

import { describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import { errorOf, followOf, RawClient } from '../network/raw-client.ts'

const ID = '5f1c5d6e-0000-4000-a000-000000000001'

describe('a broker that is alone', () => {
  it('refuses what only other brokers ask, and goes on', async () => {
    await using broker = await startBroker({ dataDir: 'memory' })
    const client = await RawClient.greet(broker.port)
    const partitions = [{ topicId: ID, partition: 0, epoch: 1 }]
    const ids = [
      client.request('fence', { brokerId: 2, partitions }),
      client.request('announceLeaders', { brokerId: 2, partitions }),
      client.request('suggestLeader', { brokerId: 2, partitions: [{ topicId: ID, partition: 0, epochSeen: 1 }] }),
      client.request('probeBroker', { brokerId: 2, incarnation: ID }),
      client.request('dismissReplicas', { brokerId: 2, directoryId: ID, partitions: [] }),
      client.request('replicaFetch', followOf({ [ID]: 0 })),
      client.request('drainBroker', { broker: 1, isDraining: true }),
    ]
    for (const id of ids) {
      const { code, message } = errorOf(await client.answer(id))
      expect([code, message]).toEqual(['INVALID_REQUEST', expect.stringContaining('alone')])
    }
    await client.ask('clusterInfo', {})
    client.close()
  })
})
