// The consumer against a real broker in this process: what it hands out, in which order, what it commits, and how partitions
// move between members.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { connect } from '../../client/client.ts'
import type { EachMessagePayload } from '../../client/consumer-options.ts'
import { ConsumerStage, eventOf, FAST, gate } from './consumer-stage.ts'

let broker: TestBroker
let stage: ConsumerStage

beforeAll(async () => {
  broker = await startBroker({ dataDir: 'memory', groupMinSessionTimeoutMs: 50 })
  stage = new ConsumerStage(connect({ brokers: broker.brokers, ...FAST }))
})

afterAll(async () => {
  await stage.client.close()
  await broker.stop()
})

/** A handler that gathers what it is given, and resolves when there is enough. */
function gather(count: number): {
  seen: string[]
  done: Promise<void>
  eachMessage: (payload: EachMessagePayload<Buffer, string>) => Promise<void>
} {
  const seen: string[] = []
  const { promise: done, open } = gate()
  return {
    seen,
    done,
    eachMessage: async ({ topic, partition, message }) => {
      seen.push(`${topic === '' ? '' : partition}:${message.value ?? ''}`)
      if (seen.length === count) open()
    },
  }
}

describe('a consumer', () => {
  it('hands every record of its topics to eachMessage, in the order of each partition, and commits on close', async () => {
    const topic = await stage.topicWith(3, 50)
    const consumer = stage.consumerOf(topic)
    const { seen, done, eachMessage } = gather(150)
    await consumer.run({ eachMessage })
    await done
    for (const partition of [0, 1, 2]) {
      const own = seen.filter((one) => one.startsWith(`${partition}:`))
      expect(own).toEqual(Array.from({ length: 50 }, (_, index) => `${partition}:${index}`))
    }
    await consumer.close()
    const again = stage.consumerOf(topic, { groupId: consumer.groupId })
    const later = gather(3)
    await again.run({ eachMessage: later.eachMessage })
    await stage.produce(topic, 3, 50, 51)
    await later.done
    expect(later.seen.toSorted()).toEqual(['0:50', '1:50', '2:50'])
    await again.close()
  })

  it('hands batches to eachBatch, of which what was resolved is not given again', async () => {
    const topic = await stage.topicWith(1, 100)
    const consumer = stage.consumerOf(topic)
    const given: [number, number][] = []
    const { promise, open } = gate()
    await consumer.run({
      onError: { action: 'retry', minMs: 1 },
      eachBatch: ({ batch, resolve, isStale }) => {
        given.push([batch.firstOffset, batch.lastOffset])
        expect(isStale()).toBe(false)
        if (given.length === 1) {
          resolve(41)
          throw new Error('the rest another time')
        }
        if (batch.lastOffset === 99) open()
      },
    })
    await promise
    expect(given[0]).toEqual([0, 99])
    expect(given[1]).toEqual([42, 99])
    await consumer.close()
  })

  // All of the batch was taken for done when its handler returned, and what it had left off was skipped.
  it('takes for done only what was resolved of a batch that is left off because the partition goes', async () => {
    const topic = await stage.topicWith(1, 100)
    const consumer = stage.consumerOf(topic)
    const begun = gate()
    await consumer.run({
      eachBatch: async ({ batch, resolve, isStale }) => {
        resolve(batch.firstOffset + 41)
        begun.open()
        while (!isStale()) await new Promise((done) => setImmediate(done))
      },
    })
    await begun.promise
    await consumer.close()
    const again = stage.consumerOf(topic, { groupId: consumer.groupId })
    const { value: first } = await again.stream().next()
    expect(first?.offset).toBe(42)
    await again.close()
  })

  it('tells of its lag also where nothing has come since it began', async () => {
    const topic = await stage.topicWith(2, 0)
    const consumer = stage.consumerOf(topic, { lagEveryMs: 20, maxWaitMs: 20 })
    const lag = eventOf(consumer, 'lag')
    await consumer.run({ eachMessage: () => undefined })
    expect((await lag).total).toBe(0)
    await consumer.close()
  })

  it('is an async iterator whose messages are done when the next one is asked for, or when they say so', async () => {
    const topic = await stage.topicWith(1, 10)
    const consumer = stage.consumerOf(topic, { autoCommit: false })
    const values: (string | null)[] = []
    for await (const message of consumer.stream()) {
      values.push(message.value)
      if (values.length === 4) await message.commit()
      if (values.length === 6) break
    }
    expect(values).toEqual(['0', '1', '2', '3', '4', '5'])
    await consumer.close()
    const again = stage.consumerOf(topic, { groupId: consumer.groupId, autoCommit: false })
    const { value: first } = await again.stream().next()
    expect(first?.offset).toBe(4)
    await again.close()
  })

  it('gives the message of a loop that was left again to the next loop, unless it was committed', async () => {
    const topic = await stage.topicWith(1, 5)
    const consumer = stage.consumerOf(topic)
    const offsets: number[] = []
    for await (const { offset } of consumer.stream()) {
      offsets.push(offset)
      if (offset === 1) break
    }
    for await (const message of consumer.stream()) {
      offsets.push(message.offset)
      if (message.offset < 2) continue
      await message.commit()
      break
    }
    for await (const { offset } of consumer.stream()) {
      offsets.push(offset)
      break
    }
    expect(offsets).toEqual([0, 1, 1, 2, 3])
    await consumer.close()
  })

  it('passes over nothing when a stream is ended while it lets others have their turn', async () => {
    const topic = await stage.topicWith(1, 4)
    const consumer = stage.consumerOf(topic)
    const controller = new AbortController()
    const stream = consumer.stream({ signal: controller.signal })
    expect((await stream.next()).value?.offset).toBe(0)
    // Whoever has had the event loop for so long is not handed the next message before others have had it.
    const until = performance.now() + 20
    while (performance.now() < until);
    const next = stream.next()
    controller.abort()
    expect(await next).toEqual({ done: true, value: undefined })
    expect((await consumer.stream().next()).value?.offset).toBe(1)
    await consumer.close({ timeoutMs: 1_000 })
  })

  it('goes on where it is sent, though a stream lets others have their turn just then', async () => {
    const topic = await stage.topicWith(1, 8)
    const consumer = stage.consumerOf(topic)
    const stream = consumer.stream()
    const busyTurn = async (act: () => Promise<unknown>): Promise<number | undefined> => {
      const until = performance.now() + 20
      while (performance.now() < until);
      const next = stream.next()
      await act()
      return (await next).value?.offset
    }
    expect((await stream.next()).value?.offset).toBe(0)
    expect(await busyTurn(() => consumer.seek({ topic, partition: 0, offset: 5 }))).toBe(5)
    expect((await stream.next()).value?.offset).toBe(6)
    expect(await busyTurn(() => consumer.seek({ topic, partition: 0, offset: 2 }))).toBe(2)
    expect(consumer.assignment()).toMatchObject([{ position: 2 }])
    await stream.return()
    await consumer.close()
  })

  it('ends a stream quietly when its signal fires', async () => {
    const topic = await stage.topicWith(1, 3)
    const consumer = stage.consumerOf(topic)
    const controller = new AbortController()
    const offsets: number[] = []
    for await (const { offset } of consumer.stream({ signal: controller.signal })) {
      offsets.push(offset)
      if (offset === 2) controller.abort()
    }
    expect(offsets).toEqual([0, 1, 2])
    await consumer.close()
  })

  it('begins at the end without fromBeginning, and with new partitions at their first record', async () => {
    const topic = await stage.topicWith(1, 5)
    const consumer = stage.consumerOf(topic, { fromBeginning: false, topicsRefreshMs: 20 })
    const { seen, done, eachMessage } = gather(2)
    await consumer.run({ eachMessage })
    await stage.client.admin().addPartitions({ topic, partitions: 2 })
    await stage.produce(topic, 2, 100, 101)
    await done
    expect(seen.toSorted()).toEqual(['0:100', '1:100'])
    await consumer.close()
  })

  it('waits for a topic that does not exist yet, and says so', async () => {
    const topic = stage.name('later')
    const consumer = stage.consumerOf(topic)
    const errors: unknown[] = []
    consumer.on('error', (error) => errors.push(error))
    const { seen, done, eachMessage } = gather(1)
    await consumer.run({ eachMessage })
    expect(errors).toMatchObject([{ code: 'UNKNOWN_TOPIC_OR_PARTITION', topic, fatal: false }])
    expect(consumer.why()).toMatchObject([{ state: 'idle', topic: undefined }])
    await stage.client.admin().createTopics({ topics: [{ topic, numPartitions: 1 }] })
    await stage.produce(topic, 1, 0, 1)
    await done
    expect(seen).toEqual(['0:0'])
    await consumer.close()
  })

  it('keeps the order of keys, and runs different keys at once', async () => {
    const topic = await stage.topicWith(1, 0)
    const producer = stage.client.producer()
    const messages = Array.from({ length: 40 }, (_, index) => ({
      key: `k${index % 4}`,
      value: String(index),
      partition: 0,
    }))
    await producer.send({ topic, messages })
    await producer.close()
    const consumer = stage.consumerOf(topic)
    const seen = new Map<string, number[]>()
    let atOnce = 0
    let atOnceMax = 0
    let count = 0
    const { promise, open } = gate()
    await consumer.run({
      concurrency: 8,
      order: 'key',
      eachMessage: async ({ message }) => {
        atOnce += 1
        atOnceMax = Math.max(atOnceMax, atOnce)
        await new Promise(setImmediate)
        atOnce -= 1
        const key = String(message.key)
        seen.set(key, [...(seen.get(key) ?? []), Number(message.value)])
        count += 1
        if (count === 40) open()
      },
    })
    await promise
    for (const [key, values] of seen) {
      expect(values).toEqual(Array.from({ length: 10 }, (_, index) => index * 4 + Number(key.slice(1))))
    }
    expect(atOnceMax).toBe(4)
    await consumer.close()
  })

  it('runs so many partitions at once as concurrency says, and no more', async () => {
    const topic = await stage.topicWith(6, 4)
    const consumer = stage.consumerOf(topic)
    let atOnce = 0
    let atOnceMax = 0
    let count = 0
    const { promise, open } = gate()
    await consumer.run({
      concurrency: 3,
      eachMessage: async () => {
        atOnce += 1
        atOnceMax = Math.max(atOnceMax, atOnce)
        await new Promise(setImmediate)
        atOnce -= 1
        count += 1
        if (count === 24) open()
      },
    })
    await promise
    expect(atOnceMax).toBe(3)
    await consumer.close()
  })

  it('hands out nothing of what is paused until it is resumed', async () => {
    const topic = await stage.topicWith(2, 3)
    const consumer = stage.consumerOf(topic)
    consumer.pause({ topic, partition: 0 })
    const first = gather(3)
    let handler = first.eachMessage
    await consumer.run({ eachMessage: (payload) => handler(payload) })
    await first.done
    expect(first.seen).toEqual(['1:0', '1:1', '1:2'])
    expect(consumer.why().find(({ partition }) => partition === 0)).toMatchObject({ state: 'paused' })
    const second = gather(3)
    handler = second.eachMessage
    consumer.resume([{ topic }])
    await second.done
    expect(second.seen).toEqual(['0:0', '0:1', '0:2'])
    await consumer.close()
  })

  it('goes on where it is sent, back and forth', async () => {
    const topic = await stage.topicWith(1, 20)
    const consumer = stage.consumerOf(topic)
    const first = gather(20)
    let handler = first.eachMessage
    await consumer.run({ eachMessage: (payload) => handler(payload) })
    await first.done
    const second = gather(5)
    handler = second.eachMessage
    await consumer.seek({ topic, partition: 0, offset: 15 })
    await second.done
    expect(second.seen).toEqual(['0:15', '0:16', '0:17', '0:18', '0:19'])
    await consumer.seek({ topic, partition: 0, offset: 'start' })
    await consumer.commit()
    await expect(consumer.seek({ topic, partition: 7, offset: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await consumer.close()
  })

  it('tells how far it is behind', async () => {
    const topic = await stage.topicWith(1, 10)
    const consumer = stage.consumerOf(topic, { lagEveryMs: 10 })
    const { promise: hold, open: release } = gate()
    const { promise: begun, open: begin } = gate()
    // The first ones may come before the first record is in its handler.
    const told = eventOf(consumer, 'lag', ({ total }) => total === 9)
    const eachMessage = (): Promise<void> => {
      begin()
      return hold
    }
    await consumer.run({ eachMessage })
    expect(await told).toMatchObject({ partitions: [{ topic, partition: 0, highWatermark: 10, lag: 9 }], total: 9 })
    await begun
    const [row] = consumer.why()
    expect(row).toMatchObject({ state: 'handling', lag: 9, position: 0 })
    expect(row?.reason).toMatch(/^waiting for the handler of offset 0 for \d+ ms$/)
    release()
    await consumer.close()
  })

  it('lets a handler of assigned say where to begin, before anything is handed out', async () => {
    const topic = await stage.topicWith(1, 10)
    const consumer = stage.consumerOf(topic)
    consumer.on('assigned', async ({ partitions }) => {
      expect(partitions).toEqual([{ topic, partition: 0, offset: 0 }])
      await new Promise(setImmediate)
      await consumer.seek({ topic, partition: 0, offset: 8 })
    })
    const { seen, done, eachMessage } = gather(2)
    await consumer.run({ eachMessage })
    await done
    expect(seen).toEqual(['0:8', '0:9'])
    await consumer.close()
  })

  it('lets a handler of revoked commit what is done, also when it closes', async () => {
    const topic = await stage.topicWith(1, 5)
    const consumer = stage.consumerOf(topic, { autoCommit: false })
    consumer.on('revoked', async () => consumer.commit())
    const { done, eachMessage } = gather(5)
    await consumer.run({ eachMessage })
    await done
    await consumer.close()
    const { groupId } = consumer
    expect(await stage.client.admin().fetchOffsets({ groupId })).toMatchObject([{ topic, offset: 5 }])
  })

  it('hands small batches out together', async () => {
    const topic = await stage.topicWith(1, 0)
    const producer = stage.client.producer()
    for (let index = 0; index < 20; index += 1) await producer.send({ topic, messages: [{ value: String(index) }] })
    await producer.close()
    const consumer = stage.consumerOf(topic)
    const sizes: number[] = []
    const { promise, open } = gate()
    await consumer.run({
      eachBatch: ({ batch }) => {
        sizes.push(batch.messages.length)
        if (batch.lastOffset === 19) open()
      },
    })
    await promise
    expect(sizes).toEqual([20])
    await consumer.close()
  })

  it('commits every so often, and tells of it', async () => {
    const topic = await stage.topicWith(1, 3)
    const consumer = stage.consumerOf(topic, { autoCommit: { everyMs: 5 } })
    const offsets: number[] = []
    const generations = new Set<number>()
    const { promise, open } = gate()
    consumer.on('committed', ({ partitions, generation }) => {
      for (const { offset } of partitions) offsets.push(offset)
      generations.add(generation)
      if (offsets.at(-1) === 3) open()
    })
    expect(consumer.membership()).toEqual({ memberId: '', generation: -1 })
    await consumer.run({ eachMessage: () => undefined })
    await promise
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b))
    const { members, generation } = await stage.client.admin().describeGroup(consumer.groupId)
    expect(consumer.membership()).toEqual({ memberId: members[0]?.memberId, generation })
    expect([...generations]).toEqual([generation])
    await consumer.close()
  })
})
