// Topics copied into a cluster of three brokers with replicas, which keep the offsets that they have. Needs the built command.

import { expect, it } from 'vitest'
import { makeTopic as makeReplicated, onStage } from '../setup/cluster-stage.ts'
import { leaderOf } from '../setup/cluster-state.ts'
import { describeWithRedis } from '../setup/redis.ts'
import { fill, makeTopic, memoryBroker, recordsOf, runMirror } from './mirror-fixture.ts'

describeWithRedis('a mirror into a cluster', () => {
  it('keeps the offsets of records and groups, in a topic that it makes and in an empty one that had other leaders', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await using source = await memoryBroker()
      await makeTopic(source, 'orders', {}, 2)
      await makeTopic(source, 't')
      await fill(source.client(), 'orders', 10, 20, 2)
      await fill(source.client(), 't', 5)
      await source.client().admin().resetOffsets({ groupId: 'billing', topic: 'orders', to: 33 })
      await makeReplicated(stage)
      const first = await leaderOf(client.admin(), 't')
      await cluster.kill(first)
      await leaderOf(client.admin(), 't', { besides: first })
      await cluster.restart(first)

      const { report } = await runMirror(source.brokers, cluster.address(first), { copiesGroups: true })
      expect(report).toMatchObject({ isComplete: true, groups: [{ group: 'billing', committed: 2 }] })
      for (const { topic, outcome, partitions } of report.topics) {
        expect({ topic, outcome }).toEqual({ topic, outcome: 'verified' })
        for (const { offsets, source: from, target: to } of partitions) {
          expect({ offsets, to }).toEqual({ offsets: 'equal', to: from })
        }
      }
      for (const topic of ['orders', 't']) {
        expect(await recordsOf(client, topic)).toEqual(await recordsOf(source.client(), topic))
      }
      const committed = await client.admin().fetchOffsets({ groupId: 'billing' })
      expect(committed).toMatchObject([{ offset: 33 }, { offset: 33 }])

      await fill(source.client(), 'orders', 2, 20, 2)
      const more = await runMirror(source.brokers, cluster.address(first), { topics: ['orders'] })
      expect(more.report.topics[0]?.partitions).toMatchObject([
        { records: 20, offsets: 'equal' },
        { records: 20, offsets: 'equal' },
      ])
    }))
})
