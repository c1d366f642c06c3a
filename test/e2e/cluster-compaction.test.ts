// Three brokers in processes of their own, a real Redis, and a compacted topic, of which one of them misses deletions. Needs
// the built command.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Client } from '../../client/client.ts'
import { string } from '../../client/serializers.ts'
import { makeTopic, onStage } from '../setup/cluster-stage.ts'
import { inSync, leaderOf } from '../setup/cluster-state.ts'
import { describeWithRedis } from '../setup/redis.ts'

const topic = 't'
const CONFIG = {
  'cleanup.policy': 'compact',
  'segment.bytes': '2048',
  'min.cleanable.dirty.ratio': '0',
  'delete.retention.ms': '0',
}

/** All records that a reader from the beginning finds, the last one of each key. */
async function tableOf(client: Client): Promise<Map<string | null, string | null>> {
  const table = new Map<string | null, string | null>()
  const deserializers = { key: string, value: string }
  for await (const { key, value } of client.read(topic, { from: 'start', to: 'end', deserializers })) {
    table.set(key, value)
  }
  return table
}

describeWithRedis('a compacted topic in a cluster', () => {
  it('has no deleted key again when a replica leads that was away while the deletion came and went', () =>
    onStage(
      async (stage) => {
        const { client, cluster } = stage
        const topicId = await makeTopic(stage, 1, CONFIG)
        const producer = client.producer({ serializers: { key: string, value: string } })
        const put = (key: string, value: string | null): Promise<unknown> =>
          producer.send({ topic, messages: [{ key, value }] })
        // What is in the segment that is written to is not compacted.
        const fill = async (): Promise<void> => {
          for (let number = 0; number < 4; number += 1) await put(`filler ${number}`, 'x'.repeat(1_000))
        }
        await put('kept', '1')
        await put('deleted', '1')
        await fill()
        await inSync(client.admin(), topic, 3)
        const away = await leaderOf(client.admin(), topic)
        await cluster.kill(away)
        await put('kept', '2')
        await put('deleted', null)
        const isGone = async (): Promise<boolean> => {
          await fill()
          return !(await tableOf(client)).has('deleted')
        }
        await expect.poll(isGone, { timeout: 20_000, interval: 100 }).toBe(true)
        await cluster.restart(away)
        await inSync(client.admin(), topic, 3)
        // Whoever stops hands over to the first of the replicas.
        await cluster.stop(await leaderOf(client.admin(), topic))
        await expect.poll(() => leaderOf(client.admin(), topic), { timeout: 10_000 }).toBe(away)
        const table = await tableOf(client)
        expect(table.has('deleted')).toBe(false)
        expect(table.get('kept')).toBe('2')
        const mark = readFileSync(join(cluster.dataDir(away), 'logs', `${topicId}-0`, 'compacted')).subarray(16)
        expect(JSON.parse(mark.toString())).toMatchObject({ floor: { latestEpoch: 0 } })
      },
      {},
      ['--compaction-interval-ms', '50', '--flush-interval-ms', '50'],
    ))
})
