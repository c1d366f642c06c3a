// What a fetch answers and when: at once, when enough has come, or when the wait is over; never more than was asked for.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestBroker } from '../../broker/testing.ts'
import { startBroker } from '../../broker/testing.ts'
import { batch } from '../storage/log-fixture.ts'
import { Asker, from } from './asker.ts'

let broker: TestBroker
let asker: Asker

async function start(settings: Parameters<typeof startBroker>[0] = {}): Promise<void> {
  broker = await startBroker({ dataDir: 'memory', ...settings })
  asker = new Asker(broker.broker.requests)
  await asker.createTopic('t', { partitions: 3 })
}

beforeEach(() => start())
afterEach(() => broker.stop())

describe('a fetch', () => {
  it('gives whole batches from the offset on, with the state of the partition', async () => {
    await asker.produce('t', ['a', 'b'])
    await asker.produce('t', ['c'])
    expect(await asker.fetch([from('t', 2)])).toEqual([
      { index: 0, refusal: undefined, highWatermark: 3, logStartOffset: 0, values: ['c'], offsets: [2] },
    ])
    // A batch is sent whole, also when it begins below the offset.
    expect((await asker.fetch([from('t', 1)]))[0]?.values).toEqual(['a', 'b', 'c'])
  })

  it('says nothing of partitions that have nothing to say', async () => {
    await asker.produce('t', ['a'], { partition: 2 })
    const read = await asker.fetch([from('t', 0), from('t', 0, { partition: 1 }), from('t', 0, { partition: 2 })])
    expect(read.map(({ index, values }) => [index, values])).toEqual([[2, ['a']]])
  })

  it('waits for the first record, and is answered in the turn of its append', async () => {
    const waiting = asker.beginFetch([from('t', 0), from('t', 0, { partition: 1 })], { maxWaitMs: 60_000 })
    let isAnsweredWithProduce = false
    await asker.produce('t', ['a'], { partition: 1 }).then(() => {
      isAnsweredWithProduce = waiting.isAnswered
    })
    expect(isAnsweredWithProduce).toBe(true)
    expect((await waiting.answer).map(({ index, values }) => [index, values])).toEqual([[1, ['a']]])
  })

  it('waits until there are as many bytes as it wants, from all of its partitions', async () => {
    const bytes = batch(['a']).byteLength
    const partitions = [from('t', 0), from('t', 0, { partition: 1 })]
    const waiting = asker.beginFetch(partitions, { maxWaitMs: 60_000, minBytes: 2 * bytes })
    await asker.produce('t', ['a'])
    expect(waiting.isAnswered).toBe(false)
    await asker.produce('t', ['b'], { partition: 1 })
    expect((await waiting.answer).flatMap(({ values }) => values)).toHaveLength(2)
  })

  it('gives what there is when the wait is over, be it nothing', async () => {
    expect(await asker.fetch([from('t', 0)], { maxWaitMs: 20 })).toEqual([])
    await asker.produce('t', ['a'])
    const read = await asker.fetch([from('t', 0)], { maxWaitMs: 20, minBytes: 100_000 })
    expect(read.map(({ values }) => values)).toEqual([['a']])
  })

  it('says that it is reading while it waits for the disk, and not while it waits for appends', async () => {
    await broker.stop()
    await start({ hotTailBytes: 0 })
    await asker.produce('t', ['a'])
    const reading = asker.beginFetch([from('t', 0)])
    expect(reading.readings).toEqual([true])
    await reading.answer
    expect(reading.readings).toEqual([true, false])
    const waiting = asker.beginFetch([from('t', 0)], { maxWaitMs: 60_000, minBytes: 100_000 })
    await asker.fetch([from('t', 0)])
    expect(waiting.isAnswered).toBe(false)
    expect(waiting.readings).toEqual([true, false])
    waiting.pending.cancel()
    const cancelled = asker.beginFetch([from('t', 0)])
    cancelled.pending.cancel()
    expect(cancelled.readings).toEqual([true, false])
  })

  it('is not answered once it has been cancelled', async () => {
    const waiting = asker.beginFetch([from('t', 0)], { maxWaitMs: 60_000 })
    waiting.pending.cancel()
    waiting.pending.cancel()
    await asker.produce('t', ['a'])
    expect(waiting.isAnswered).toBe(false)
  })

  it('keeps to its bytes, and sends one batch even if that is longer', async () => {
    const bytes = batch(['a']).byteLength
    for (const value of ['a', 'b', 'c']) await asker.produce('t', [value])
    const valuesOf = async (maxBytes: number, partMaxBytes = 1_000_000): Promise<string[] | undefined> =>
      (await asker.fetch([from('t', 0, { maxBytes: partMaxBytes })], { maxBytes }))[0]?.values
    expect(await valuesOf(2 * bytes)).toEqual(['a', 'b'])
    expect(await valuesOf(1_000_000, 2 * bytes + 1)).toEqual(['a', 'b'])
    expect(await valuesOf(1)).toEqual(['a'])
    expect(await valuesOf(0)).toEqual(['a'])
  })

  it('lets no partition starve behind others that always fill the answer', async () => {
    for (const partition of [0, 1, 2]) await asker.produce('t', ['x'.repeat(1_000)], { partition })
    const seen = new Set<number>()
    const partitions = [0, 1, 2].map((partition) => from('t', 0, { partition }))
    for (let times = 0; times < 200 && seen.size < 3; times += 1) {
      const read = await asker.fetch(partitions, { maxBytes: 1_200 })
      expect(read).toHaveLength(1)
      for (const { index } of read) seen.add(index)
    }
    expect(seen).toEqual(new Set([0, 1, 2]))
  })

  it('reads from the disk what memory has given up', async () => {
    await broker.stop()
    await start({ hotTailBytes: 16 * 1024 })
    const values = Array.from({ length: 100 }, (_, index) => `${index}:`.padEnd(1_000, 'x'))
    for (const value of values) await asker.produce('t', [value])
    for (const value of values) await asker.produce('t', [value], { partition: 1 })
    const read = await asker.fetch([from('t', 0), from('t', 99), from('t', 50, { partition: 1 })])
    expect(read.toSorted((a, b) => a.index - b.index).map((part) => part.values)).toEqual([
      values,
      values.slice(99),
      values.slice(50),
    ])
  })

  it('refuses offsets out of range, and says what the range is', async () => {
    await asker.produce('t', ['a', 'b'])
    await asker.ask('trim', { partitions: [{ topic: 't', partition: 0, beforeOffset: 1 }] })
    for (const wrong of [0, 3]) {
      const [part] = await asker.fetch([from('t', wrong)], { maxWaitMs: 60_000 })
      expect(part?.refusal?.error).toBe('OFFSET_OUT_OF_RANGE')
      expect(part?.refusal?.message).toBe(`offset ${wrong} is out of range: partition 0 of t begins at 1 and ends at 2`)
      expect(part).toMatchObject({ logStartOffset: 1, highWatermark: 2 })
    }
    expect(await asker.fetch([from('t', 2)])).toEqual([])
  })

  it('refuses leader epochs that are not the present one', async () => {
    const { partitions } = await asker.ask('listOffsets', {
      partitions: [{ topic: 't', partition: 0, leaderEpoch: undefined, at: -1 }],
    })
    const now = partitions[0]?.leaderEpoch ?? 0
    await broker.restart()
    asker = new Asker(broker.broker.requests)
    await asker.produce('t', ['a'])
    await broker.restart()
    asker = new Asker(broker.broker.requests)
    const errorOf = async (leaderEpoch: number): Promise<string | undefined> =>
      (await asker.fetch([from('t', 0, { leaderEpoch })]))[0]?.refusal?.error
    expect(await errorOf(now)).toBe('FENCED_LEADER_EPOCH')
    expect(await errorOf(now + 2)).toBe('UNKNOWN_LEADER_EPOCH')
    expect(await errorOf(now + 1)).toBeUndefined()
  })

  it('refuses topics and partitions that are not there, and a topic that was made anew', async () => {
    const { topicId } = await asker.createTopic('u')
    await asker.produce('u', ['a'])
    const [missing, beyond] = await asker.fetch([from('nobody', 0), from('u', 0, { partition: 7 })])
    expect(new Set([missing, beyond].map((part) => part?.refusal?.message))).toEqual(
      new Set(['there is no topic nobody', 'topic u has 1 partitions, and partition 7 is none of them']),
    )
    await asker.ask('deleteTopics', { topics: ['u'], timeoutMs: 1_000 })
    await asker.createTopic('u')
    const [stale] = await asker.fetch([from('u', 0, { topicId: topicId as never })])
    expect(stale?.refusal?.error).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect(stale?.refusal?.message).toContain('has been made anew')
  })

  it('that waits is answered when its topic is deleted', async () => {
    const waiting = asker.beginFetch([from('t', 0)], { maxWaitMs: 60_000 })
    await asker.ask('deleteTopics', { topics: ['t'], timeoutMs: 1_000 })
    expect((await waiting.answer)[0]?.refusal?.error).toBe('UNKNOWN_TOPIC_OR_PARTITION')
  })

  it('is refused when too many wait already, and taken again when one has gone', async () => {
    await broker.stop()
    await start({ delayedOperationsMax: 2 })
    const waiting = [1, 2].map(() => asker.beginFetch([from('t', 0)], { maxWaitMs: 60_000 }))
    expect((await asker.fetch([from('t', 0)], { maxWaitMs: 60_000 }))[0]?.refusal?.error).toBe('BROKER_OVERLOADED')
    waiting[0]?.pending.cancel()
    const next = asker.beginFetch([from('t', 0)], { maxWaitMs: 60_000 })
    await asker.produce('t', ['a'])
    expect((await next.answer)[0]?.values).toEqual(['a'])
  })

  it('that waits is answered when the broker stops, with nothing', async () => {
    const waiting = asker.beginFetch([from('t', 0)], { maxWaitMs: 60_000 })
    await broker.stop()
    expect(await waiting.answer).toEqual([])
    expect((await asker.fetch([from('t', 0)]))[0]?.refusal?.error).toBe('SHUTTING_DOWN')
  })
})
