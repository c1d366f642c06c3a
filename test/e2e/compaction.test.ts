// Compacted topics through a broker and its clients: what a reader finds is the last record of every key.

import { describe, expect, it, vi } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import { connect } from '../../client/client.ts'
import { string } from '../../client/serializers.ts'

describe('a compacted topic', () => {
  it('is read by its last values, whole or from inside a gap, and takes no records without keys', async () => {
    await using broker = await startBroker({ compactionIntervalMs: 20, flushIntervalMs: 20 })
    await using client = connect({ brokers: [broker.brokers] })
    const config = {
      'cleanup.policy': 'compact',
      'segment.bytes': '20000',
      'min.cleanable.dirty.ratio': '0.1',
    }
    await client.admin().createTopics({ topics: [{ topic: 'state', numPartitions: 1, config }] })
    const producer = client.producer({ serializers: { key: string, value: string }, compression: 'gzip' })
    for (let round = 0; round < 60; round++) {
      const messages = Array.from({ length: 50 }, (_, key) => ({
        key: `key ${key}`,
        value: key === 7 && round === 59 ? null : `${round}`.padEnd(200, String(Math.random())),
      }))
      await producer.send({ topic: 'state', messages })
    }
    const read = async (from: number): Promise<{ count: number; table: Map<string | null, string | null> }> => {
      const table = new Map<string | null, string | null>()
      let count = 0
      const deserializers = { key: string, value: string }
      for await (const { key, value } of client.read('state', { from: { 0: from }, to: 'end', deserializers })) {
        table.set(key, value === null ? null : value.slice(0, 2))
        count++
      }
      return { count, table }
    }
    await vi.waitFor(async () => expect((await read(0)).count).toBeLessThan(1_000), 20_000)
    for (const from of [0, 1, 777, 1_500]) {
      const { table } = await read(from)
      expect([...table].every(([key, value]) => value === (key === 'key 7' ? null : '59'))).toBe(true)
      expect(table.size).toBe(50)
    }
    await expect(producer.send({ topic: 'state', messages: [{ key: null, value: 'x' }] })).rejects.toMatchObject({
      code: 'INVALID_RECORD',
    })
    expect(broker.broker.checks().find(({ name }) => name === 'compaction')).toMatchObject({ isOk: true, detail: 'ok' })
  })
})
