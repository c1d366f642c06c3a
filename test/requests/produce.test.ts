// What a producer is told and when: after the write, after the sync where the topic asks for it, and exactly what failed.

import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestBroker, TestBrokerOptions } from '../../broker/testing.ts'
import { startBroker } from '../../broker/testing.ts'
import { batch, numbered } from '../storage/log-fixture.ts'
import { Asker, from } from './asker.ts'
import { FaultyDisk } from './faulty-disk.ts'

const GOLDEN = new URL('../wire/golden/record-batches.json', import.meta.url)

let disk: FaultyDisk
let broker: TestBroker
let asker: Asker

async function start(options: TestBrokerOptions = {}): Promise<void> {
  disk = new FaultyDisk()
  broker = await startBroker({ dataDir: '/data', diskReserveBytes: 0, environment: { disk }, ...options })
  asker = new Asker(broker.broker.requests)
  await asker.createTopic('t', { partitions: 2 })
}

beforeEach(() => start())
afterEach(async () => {
  disk.letSyncs()
  await broker.stop()
})

const part = (topic: string, records: Uint8Array, partition = 0) => ({
  topic,
  topicId: undefined,
  partition,
  leaderEpoch: undefined,
  records,
})

describe('a produce request', () => {
  it('is answered with one outcome a partition, in its order', async () => {
    const outcomes = await asker.produceAll([
      part('t', batch(['a', 'b']), 1),
      part('nobody', batch(['c'])),
      part('t', batch(['d']), 0),
      part('t', batch(['e']), 1),
    ])
    expect(outcomes.map(({ refusal, baseOffset }) => refusal?.error ?? baseOffset)).toEqual([
      0,
      'UNKNOWN_TOPIC_OR_PARTITION',
      0,
      2,
    ])
  })

  it.each([0, 1, -1])('with acks %i is answered when it has been written', async (acks) => {
    expect(await asker.produce('t', ['a'], { acks })).toMatchObject({ refusal: undefined, baseOffset: 0 })
    expect((await asker.fetch([from('t', 0)]))[0]?.values).toEqual(['a'])
  })

  it('keeps the order of its arrival, however many come in one turn', async () => {
    const values = Array.from({ length: 200 }, (_, index) => String(index))
    const outcomes = await Promise.all(values.map((value) => asker.produce('t', [value])))
    expect(outcomes.map(({ baseOffset }) => baseOffset)).toEqual(values.map(Number))
    expect((await asker.fetch([from('t', 0)]))[0]?.values).toEqual(values)
  })

  it('is refused for acks, topics, epochs and bytes that are not legal', async () => {
    const errorOf = async (records: Uint8Array, options: Parameters<Asker['produceBytes']>[2] = {}) =>
      (await asker.produceBytes('t', records, options)).refusal?.error
    const good = batch(['a'])
    expect(await errorOf(good, { acks: 2 })).toBe('INVALID_REQUIRED_ACKS')
    expect(await errorOf(good, { partition: 2 })).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect(await errorOf(good, { leaderEpoch: 9 })).toBe('UNKNOWN_LEADER_EPOCH')
    expect(await errorOf(good.subarray(0, good.length - 1))).toBe('CORRUPT_MESSAGE')
    const damaged = Uint8Array.from(good)
    damaged[damaged.length - 1] = 0xff
    expect(await errorOf(damaged)).toBe('CORRUPT_MESSAGE')
    expect(await errorOf(new Uint8Array(0))).toBe('INVALID_RECORD')
    expect(await asker.offsetAt('t', -1)).toBe(0)
  })

  it('of an idempotent producer is appended once, and answered with its first offset again', async () => {
    const { producerId } = await asker.ask('initProducerId', {})
    const first = numbered(['a', 'b'], producerId, 0)
    expect(await asker.produceBytes('t', first)).toMatchObject({ refusal: undefined, baseOffset: 0 })
    // In one turn with what it repeats, and in a later one.
    const next = numbered(['c'], producerId, 2)
    const twice = await Promise.all([asker.produceBytes('t', next), asker.produceBytes('t', next)])
    expect(twice.map(({ baseOffset }) => baseOffset)).toEqual([2, 2])
    expect((await asker.produceBytes('t', first)).baseOffset).toBe(0)
    const ahead = await asker.produceBytes('t', numbered(['x'], producerId, 9))
    expect(ahead.refusal?.error).toBe('OUT_OF_ORDER_SEQUENCE_NUMBER')
    await broker.restart({ crash: true })
    asker = new Asker(broker.broker.requests)
    expect((await asker.produceBytes('t', next)).baseOffset).toBe(2)
    expect((await asker.fetch([from('t', 0)]))[0]?.values).toEqual(['a', 'b', 'c'])
  })

  it('gets producer ids that are never the same', async () => {
    const ids = await Promise.all(Array.from({ length: 100 }, () => asker.ask('initProducerId', {})))
    expect(new Set(ids.map(({ producerId }) => producerId)).size).toBe(100)
  })

  it('for a compacted topic is looked into whatever its codec, from the first one on', async () => {
    await asker.createTopic('compacted', { config: { 'cleanup.policy': 'compact' } })
    const { batches } = JSON.parse(readFileSync(GOLDEN, 'utf8')) as {
      readonly batches: readonly { readonly client: string; readonly asked: string; readonly batch: string }[]
    }
    const outcomes: unknown[] = []
    for (const { asked, batch: bytes, client } of batches) {
      if (client !== 'aiokafka' || asked !== 'zstd') continue
      const { refusal } = await asker.produceBytes('compacted', Buffer.from(bytes, 'base64'))
      outcomes.push(refusal?.error)
    }
    expect(outcomes.length).toBeGreaterThan(2)
    expect(new Set(outcomes)).toEqual(new Set([undefined, 'INVALID_RECORD']))
  })

  it('does not overtake one of the same producer that was refused', async () => {
    await asker.createTopic('later', { config: { 'min.insync.replicas': '2' } })
    const send = async (sequence: number, acks: number): Promise<unknown> => {
      const records = numbered([`${sequence}`], 7, sequence)
      const { refusal, baseOffset } = await asker.produceBytes('later', records, { acks })
      return refusal?.error ?? baseOffset
    }
    expect(await send(0, -1)).toBe('NOT_ENOUGH_REPLICAS')
    expect([await send(1, 1), await send(0, 1), await send(1, 1)]).toEqual(['OUT_OF_ORDER_SEQUENCE_NUMBER', 0, 1])
  })

  it('is refused with acks all while fewer replicas are in sync than the topic asks for', async () => {
    await asker.createTopic('two', { config: { 'min.insync.replicas': '2' } })
    expect((await asker.produce('two', ['a'])).refusal?.error).toBe('NOT_ENOUGH_REPLICAS')
    expect((await asker.produce('two', ['a'], { acks: 1 })).refusal).toBeUndefined()
  })
})

describe('a topic with durability fsync', () => {
  beforeEach(async () => {
    await asker.createTopic('safe', { config: { durability: 'fsync' } })
  })

  it('acknowledges, and shows its records, only when they are on stable storage', async () => {
    disk.holdSyncs()
    let answered = 0
    const produced = [1, 2, 3].map((number) =>
      asker.produce('safe', [String(number)]).then(() => {
        answered += 1
      }),
    )
    const reading = asker.beginFetch([from('safe', 0)], { maxWaitMs: 60_000 })
    // A topic beside it is not held up, and by its answer the turn is over.
    await asker.produce('t', ['beside'])
    expect([answered, reading.isAnswered, await asker.offsetAt('safe', -1)]).toEqual([0, false, 0])
    disk.letSyncs()
    await Promise.all(produced)
    expect((await reading.answer)[0]?.values).toEqual(['1', '2', '3'])
  })

  it('answers a produce whose time is up, and still keeps its records', async () => {
    disk.holdSyncs()
    const outcome = await asker.produceBytes('safe', batch(['late']), { timeoutMs: 20 })
    expect(outcome.refusal?.error).toBe('REQUEST_TIMED_OUT')
    disk.letSyncs()
    await asker.produce('safe', ['next'])
    expect((await asker.fetch([from('safe', 0)]))[0]?.values).toEqual(['late', 'next'])
  })

  it('refuses what would have to wait when too much waits already, before it appends anything', async () => {
    await broker.stop()
    await start({ delayedOperationsMax: 1 })
    await asker.createTopic('safe', { config: { durability: 'fsync' } })
    disk.holdSyncs()
    const waiting = asker.produce('safe', ['first'])
    expect((await asker.produce('safe', ['second'])).refusal?.error).toBe('BROKER_OVERLOADED')
    expect((await asker.produce('t', ['waits for no sync'])).refusal).toBeUndefined()
    disk.letSyncs()
    expect((await waiting).refusal).toBeUndefined()
    expect((await asker.produce('safe', ['third'])).baseOffset).toBe(1)
  })

  // It was refused as if it had not been appended: a plain producer sent it again, and it was there twice.
  it('does not call refused what is written and only lacks its sync when the topic goes', async () => {
    disk.holdSyncs()
    const first = asker.produce('safe', ['under way'])
    await asker.produce('t', ['by its answer the turn is over'])
    const second = asker.produce('safe', ['written'])
    await asker.produce('t', ['by its answer the turn is over'])
    const deleted = asker.ask('deleteTopics', { topics: ['safe'], timeoutMs: 10_000 })
    expect((await second).refusal?.error).toBe('REQUEST_TIMED_OUT')
    disk.letSyncs()
    await Promise.all([first, deleted])
  })

  // The bytes of the failed write and of the one that waited for its sync were forgotten together.
  it('shows what it keeps to who waits for it, whatever could not be written behind it', async () => {
    const { topicId } = await asker.createTopic('kept', { config: { durability: 'fsync' } })
    disk.holdSyncs()
    const first = asker.produce('kept', ['a'])
    await asker.produce('t', ['by its answer the turn is over'])
    const reading = asker.beginFetch([from('kept', 1)], { maxWaitMs: 60_000 })
    const second = asker.produce('kept', ['b'])
    await asker.produce('t', ['by its answer the turn is over'])
    disk.fullFor = `${topicId}-0`
    expect((await asker.produce('kept', ['c'])).refusal?.error).toBe('DISK_FULL')
    disk.letSyncs()
    expect([(await first).baseOffset, (await second).baseOffset]).toEqual([0, 1])
    expect((await reading.answer)[0]?.values).toEqual(['b'])
  })

  it('shows what a crash has left to who waits for it, when it is on stable storage', async () => {
    disk.holdSyncs()
    asker.produce('safe', ['written']).catch(() => undefined)
    await asker.produce('t', ['by its answer the turn is over'])
    await broker.restart({ crash: true })
    const reading = new Asker(broker.broker.requests).beginFetch([from('safe', 0)], { maxWaitMs: 60_000 })
    expect(reading.isAnswered).toBe(false)
    disk.letSyncs()
    expect((await reading.answer)[0]?.values).toEqual(['written'])
  })

  it('acknowledges nothing that a failed sync was to keep, and goes on serving what it had', async () => {
    await asker.produce('safe', ['kept'])
    disk.failsSyncs = true
    const outcomes = await Promise.all([asker.produce('safe', ['lost']), asker.produce('safe', ['lost too'])])
    expect(outcomes.map(({ refusal }) => refusal?.error)).toEqual(['STORAGE_ERROR', 'STORAGE_ERROR'])
    disk.failsSyncs = false
    expect((await asker.produce('safe', ['more'])).refusal?.error).toBe('STORAGE_ERROR')
    expect((await asker.fetch([from('safe', 0)]))[0]?.values).toEqual(['kept'])
    const { topics } = await asker.ask('describeTopics', { topics: ['safe'] })
    expect(topics[0]?.partitions[0]?.state).toBe('read-only')
    expect(broker.broker.checks().find(({ name }) => name === 'partitions')).toMatchObject({ isOk: false })
    expect(broker.broker.isReady).toBe(true)
  })

  it('is given its answer before a stop is over', async () => {
    disk.holdSyncs()
    const produced = asker.produce('safe', ['a'])
    const stopped = broker.stop()
    disk.letSyncs()
    expect((await produced).refusal).toBeUndefined()
    await stopped
  })
})

describe('a full disk', () => {
  it('is noticed before the reserve is used up, however fast the producers are', async () => {
    await broker.stop()
    const small = new FaultyDisk()
    small.freeBytes = 1_000_000
    await start({ diskReserveBytes: 400_000, environment: { disk: small } })
    const value = 'x'.repeat(100_000)
    const errors: (string | undefined)[] = []
    for (let count = 1; count <= 9; count += 1) {
      small.freeBytes = 1_000_000 - count * 101_000
      errors.push((await asker.produce('t', [value])).refusal?.error)
    }
    expect(errors.slice(0, 6)).toEqual(Array.from({ length: 6 }, () => undefined))
    expect(errors.slice(6)).toEqual(['DISK_FULL', 'DISK_FULL', 'DISK_FULL'])
  })

  it('refuses exactly the appends that it could not hold, and takes them again without a restart', async () => {
    const { topicId } = await asker.createTopic('big')
    await asker.produce('big', ['before'])
    disk.fullFor = `${topicId}-0`
    const [failed, other] = await Promise.all([asker.produce('big', ['x']), asker.produce('t', ['y'])])
    expect(failed.refusal?.error).toBe('DISK_FULL')
    expect(other.refusal).toBeUndefined()
    // What could not be written was never there.
    expect(await asker.offsetAt('big', -1)).toBe(1)
    expect((await asker.fetch([from('big', 0)]))[0]?.values).toEqual(['before'])
    expect((await asker.produce('t', ['refused beforehand'])).refusal?.error).toBe('DISK_FULL')
    expect(broker.broker.checks().find(({ name }) => name === 'disk-space')).toMatchObject({ isOk: false })
    // Reads go on, so that nobody should send them elsewhere.
    expect(broker.broker.isReady).toBe(true)
    expect(broker.broker.readiness()).toContainEqual({ name: 'disk-space', isOk: true, detail: 'full: reads only' })
    disk.fullFor = undefined
    // It looks again every second.
    while ((await asker.produce('big', ['after'])).refusal !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect((await asker.fetch([from('big', 0)]))[0]?.values).toEqual(['before', 'after'])
  })
})
