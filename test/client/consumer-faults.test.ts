// The consumer when things are wrong: what it is given, the handlers, the topics. Each is an error or an
// event that says what and where.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { connect } from '../../client/client.ts'
import type { ConsumerOptions, RunOptions } from '../../client/consumer-options.ts'
import { json, string } from '../../client/serializers.ts'
import type { TidemarkError } from '../../shared/errors.ts'
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

const noWork = { eachMessage: () => undefined }

describe('a consumer is refused', () => {
  it.each<[string, Partial<ConsumerOptions<Buffer, Buffer>>, string]>([
    ['an empty group id', { groupId: '' }, 'groupId must be the name of a group, 1 to 255 characters, not ""'],
    ['a group id of 1,000 characters', { groupId: 'g'.repeat(1_000) }, 'groupId must be the name of a group'],
    ['no group id', { groupId: undefined as never }, 'groupId must be given'],
    ['no topics', { topics: [] }, 'topics must be a topic name or an array of them, not empty'],
    ['a misspelt option', { sesionTimeoutMs: 1 } as never, 'did you mean sessionTimeoutMs?'],
    ['a session of no time', { sessionTimeoutMs: 0 }, 'sessionTimeoutMs must be an integer from 1 to 2147483647'],
    [
      'heartbeats rarer than two a session',
      { sessionTimeoutMs: 100, heartbeatIntervalMs: 60 },
      'at most half of sessionTimeoutMs (100), not 60',
    ],
    [
      'an unknown way to share out',
      { assignors: 'sticky' as never },
      'assignors must be one or more of cooperative-sticky',
    ],
    ['commits every no time', { autoCommit: { everyMs: 0 } }, 'autoCommit must be { everyMs }'],
  ])('%s', (_, options, text) => {
    expect(() => stage.client.consumer({ groupId: 'g', topics: ['t'], ...options })).toThrow(text)
  })

  it.each<[string, RunOptions<Buffer, Buffer>, string]>([
    ['no handler', {}, 'either eachMessage or eachBatch'],
    ['two handlers', { eachMessage: () => 0, eachBatch: () => 0 }, 'either eachMessage or eachBatch'],
    ['no concurrency', { eachMessage: () => 0, concurrency: 0 }, 'concurrency must be an integer from 1'],
    ['batches by key', { eachBatch: () => 0, order: 'key' }, "order 'key' is for eachMessage only"],
    ['an unknown action', { eachMessage: () => 0, onError: 'ignore' as never }, 'onError must be one of'],
  ])('to run with %s', async (_, options, text) => {
    const consumer = stage.client.consumer({ groupId: 'g', topics: ['t'] })
    await expect(consumer.run(options)).rejects.toThrow(text)
    await consumer.close()
  })

  it('a session timeout that the broker does not allow, with its bounds', async () => {
    const topic = await stage.topicWith(1, 0)
    const consumer = stage.consumerOf(topic, { sessionTimeoutMs: 20 })
    await expect(consumer.run(noWork)).rejects.toMatchObject({ code: 'INVALID_SESSION_TIMEOUT', fatal: true })
    await expect(consumer.run(noWork)).rejects.toMatchObject({
      message: expect.stringContaining('from 50 to') as string,
    })
    await consumer.close()
  })

  it('a second run or stream beside the first, and anything after close', async () => {
    const consumer = stage.consumerOf(await stage.topicWith(1, 0))
    await consumer.run(noWork)
    await expect(consumer.run(noWork)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(() => consumer.stream()).toThrow('one run or stream at a time')
    await consumer.close()
    await consumer.close()
    await expect(consumer.run(noWork)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    await expect(consumer.commit()).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })

  it('a way to share out that the others do not know', async () => {
    const topic = await stage.topicWith(1, 0)
    const first = stage.consumerOf(topic)
    await first.run(noWork)
    const second = stage.consumerOf(topic, { groupId: first.groupId, assignors: 'range' })
    await expect(second.run(noWork)).rejects.toMatchObject({ code: 'INCONSISTENT_GROUP_PROTOCOL', fatal: true })
    await first.close()
  })

  it('a commit for a partition that it does not have', async () => {
    const topic = await stage.topicWith(1, 0)
    const consumer = stage.consumerOf(topic)
    await consumer.run(noWork)
    const where = { topic, partition: 9, offset: 1 }
    await expect(consumer.commit(where)).rejects.toThrow(`${topic}-9 is not assigned to this consumer`)
    await expect(consumer.commit({ topic, partition: 0, offset: -1 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    await consumer.commit({ topic, partition: 0, offset: 0, metadata: 'mine' })
    await consumer.close()
  })
})

describe('a record whose handler fails', () => {
  it('is tried again for ever by default, each time with an error, and says so in why()', async () => {
    const topic = await stage.topicWith(1, 2)
    const consumer = stage.consumerOf(topic)
    const errors: TidemarkError[] = []
    const { promise: third, open } = gate()
    consumer.on('error', (error) => {
      errors.push(error)
      if (errors.length === 3) open()
    })
    const seen: (string | null)[] = []
    await consumer.run({
      onError: { action: 'retry', minMs: 1, maxMs: 2 },
      eachMessage: ({ message }) => {
        seen.push(message.value)
        throw new Error('not today')
      },
    })
    await third
    // The event comes before the pause.
    await new Promise<void>(queueMicrotask)
    expect(consumer.why()[0]?.reason).toMatch(/the handler has failed \d+ times at offset 0; next try .*not today/)
    expect(errors[0]).toMatchObject({
      code: 'HANDLER_FAILED',
      message: `${topic}-0, the record at offset 0: its handler failed: not today`,
      topic,
      partition: 0,
      cause: { message: 'not today' },
    })
    await consumer.close()
    expect(new Set(seen)).toEqual(new Set(['0']))
    expect(await stage.client.admin().offsets(topic)).toMatchObject([{ offset: 2 }])
  })

  it('ends the consumer when it was to be tried so often only', async () => {
    const topic = await stage.topicWith(1, 2)
    const consumer = stage.consumerOf(topic)
    const failed = eventOf(consumer, 'error', ({ fatal }) => fatal)
    let tries = 0
    await consumer.run({
      onError: { action: 'retry', retries: 2, minMs: 1 },
      eachMessage: () => {
        tries += 1
        throw new Error('never')
      },
    })
    expect(await failed).toMatchObject({ code: 'HANDLER_FAILED', fatal: true })
    expect(tries).toBe(3)
    await expect(consumer.commit()).rejects.toMatchObject({ code: 'HANDLER_FAILED' })
    await consumer.close().catch(() => undefined)
  })

  it('is passed over with an error when that is asked for', async () => {
    const topic = await stage.topicWith(1, 3)
    const consumer = stage.consumerOf(topic)
    const told = eventOf(consumer, 'error')
    const seen: (string | null)[] = []
    const { promise, open } = gate()
    await consumer.run({
      onError: 'skip',
      eachMessage: ({ message }) => {
        seen.push(message.value)
        if (message.value === '1') throw new Error('bad')
        if (message.value === '2') open()
      },
    })
    await promise
    expect(seen).toEqual(['0', '1', '2'])
    expect(await told).toMatchObject({ code: 'HANDLER_FAILED' })
    await consumer.close()
  })

  it('becomes a dead letter with its bytes, its headers, and where it comes from and why', async () => {
    const topic = stage.name('topic')
    const graveyard = stage.name('dead')
    const topics = [topic, graveyard].map((name) => ({ topic: name, numPartitions: 1 }))
    await stage.client.admin().createTopics({ topics })
    const producer = stage.client.producer()
    const headers = { trace: 'abc' }
    await producer.send({
      topic,
      messages: [{ value: '{"a":1}' }, { key: 'k', value: '{"a":', headers }, { value: '{"a":2}' }],
    })
    await producer.close()
    const deserializers = { key: string, value: json<{ a: number }>() }
    const consumer = stage.client.consumer({
      groupId: stage.name('group'),
      topics: topic,
      fromBeginning: true,
      deserializers,
    })
    const told = eventOf(consumer as never, 'error')
    const seen: unknown[] = []
    const { promise, open } = gate()
    await consumer.run({
      onError: { action: 'dead-letter', topic: graveyard, retries: 1, minMs: 1 },
      eachMessage: ({ message }) => {
        seen.push(message.value)
        if (message.offset === 2) open()
      },
    })
    await promise
    expect(seen).toEqual([{ a: 1 }, { a: 2 }])
    expect(await told).toMatchObject({ code: 'DESERIALIZATION_FAILED', topic, partition: 0 })
    const { groupId } = consumer
    await consumer.close()
    const letters = stage.client.read(graveyard, { to: 'end', deserializers: { key: string, value: string } })
    const { value: letter } = await letters.next()
    expect(letter).toMatchObject({ key: 'k', value: '{"a":' })
    const shown = Object.fromEntries(
      Object.entries(letter?.headers ?? {}).map(([name, value]) => [name, String(value)]),
    )
    expect(shown).toMatchObject({
      trace: 'abc',
      'dead-letter-topic': topic,
      'dead-letter-partition': '0',
      'dead-letter-offset': '1',
      'dead-letter-code': 'DESERIALIZATION_FAILED',
      'dead-letter-group': groupId,
      'dead-letter-tries': '2',
    })
    expect(shown['dead-letter-reason']).toContain(`${topic}-0, the record at offset 1: `)
    letters.close()
  })

  it('is not done while its dead letter cannot be written, and says why', async () => {
    const topic = await stage.topicWith(1, 2)
    const consumer = stage.consumerOf(topic)
    const told = eventOf(consumer, 'error', ({ message }) => message.includes('dead letter'))
    await consumer.run({
      onError: { action: 'dead-letter', topic: '__consumer_offsets', retries: 0, minMs: 1 },
      eachMessage: () => {
        throw new Error('bad')
      },
    })
    const error = await told
    expect(error.message).toContain(
      `${topic}-0, the record at offset 0: its dead letter could not be written to __consumer_offsets`,
    )
    expect(error).toMatchObject({ topic, partition: 0, fatal: false })
    await new Promise<void>(queueMicrotask)
    expect(consumer.why()[0]).toMatchObject({ state: 'retrying', position: 0 })
    await consumer.close()
  })

  it('holds up its own partition and nothing else, for longer than any interval, and is what the next member begins with', async () => {
    const topic = await stage.topicWith(2, 3)
    const times = { sessionTimeoutMs: 1_000, maxPollIntervalMs: 1_000 }
    const consumer = stage.consumerOf(topic, { ...times, autoCommit: { everyMs: 10 } })
    const revoked: unknown[] = []
    consumer.on('revoked', (event) => revoked.push(event))
    const seen: string[] = []
    const startedAt = performance.now()
    const { promise: long, open } = gate()
    await consumer.run({
      // One that waits to be tried again is still being worked on.
      concurrency: 2,
      onError: { action: 'retry', minMs: 10, maxMs: 40 },
      eachMessage: ({ partition, message }) => {
        if (partition === 0 && message.offset === 1) {
          // Several sessions, and longer than a handler may take.
          if (performance.now() - startedAt > 3_000 && seen.includes('1:2')) open()
          throw new Error('never')
        }
        seen.push(`${partition}:${message.value ?? ''}`)
      },
    })
    await long
    expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual(['0:0', '1:0', '1:1', '1:2'])
    expect(revoked).toEqual([])
    await consumer.close()
    const next = stage.consumerOf(topic, { groupId: consumer.groupId })
    const begun = eventOf(next, 'assigned')
    await next.run(noWork)
    expect((await begun).partitions.map(({ partition, offset }) => [partition, offset])).toEqual([
      [0, 1],
      [1, 3],
    ])
    await next.close()
  })

  it('becomes its dead letter once that can be written: a topic for it that is not there is waited for', async () => {
    const topic = await stage.topicWith(1, 2)
    const letters = stage.name('letters')
    const consumer = stage.consumerOf(topic)
    const told = eventOf(consumer, 'error', ({ message }) => message.includes('dead letter'))
    const { promise: last, open } = gate()
    await consumer.run({
      onError: { action: 'dead-letter', topic: letters, retries: 0, minMs: 1, maxMs: 10 },
      eachMessage: ({ message }) => {
        if (message.value === '0') throw new Error('bad')
        open()
      },
    })
    expect(await told).toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION', topic, partition: 0, fatal: false })
    expect((await told).message).toContain(`could not be written to ${letters}: there is no topic ${letters}`)
    await stage.client.admin().createTopics({ topics: [{ topic: letters, numPartitions: 1 }] })
    await last
    expect(await stage.client.admin().offsets(letters)).toMatchObject([{ offset: 1 }])
    await consumer.close()
  })

  it('of a batch leaves the rest to be tried again, and what cannot be read stands alone', async () => {
    const topic = stage.name('topic')
    await stage.client.admin().createTopics({ topics: [{ topic, numPartitions: 1 }] })
    const producer = stage.client.producer()
    await producer.send({ topic, messages: ['1', '2', '{', '3', '4'].map((value) => ({ value })) })
    await producer.close()
    const deserializers = { value: json<number>() }
    const consumer = stage.client.consumer({
      groupId: stage.name('group'),
      topics: topic,
      fromBeginning: true,
      deserializers,
    })
    const given: (number | null)[][] = []
    const { promise, open } = gate()
    await consumer.run({
      onError: 'skip',
      eachBatch: ({ batch }) => {
        given.push(batch.messages.map(({ value }) => value))
        if (batch.lastOffset === 4) open()
      },
    })
    await promise
    expect(given).toEqual([
      [1, 2],
      [3, 4],
    ])
    await consumer.close()
  })
})

describe('a topic', () => {
  it('that is deleted is given up with an error, and read from its start when it is made anew', async () => {
    const topic = await stage.topicWith(1, 2)
    const stays = await stage.topicWith(1, 1)
    const consumer = stage.consumerOf([topic, stays], { fromBeginning: false, topicsRefreshMs: 20, maxWaitMs: 50 })
    const told = eventOf(consumer, 'error', ({ code }) => code === 'UNKNOWN_TOPIC_OR_PARTITION')
    const seen: string[] = []
    const { promise, open } = gate()
    await consumer.run({
      eachMessage: ({ message }) => {
        seen.push(`${message.topic === topic ? 'anew' : 'stays'} ${message.value ?? ''}`)
        if (seen.length === 2) open()
      },
    })
    await stage.client.admin().deleteTopics([topic])
    expect(await told).toMatchObject({ topic })
    await stage.client.admin().createTopics({ topics: [{ topic, numPartitions: 1 }] })
    await stage.produce(topic, 1, 7, 8)
    await stage.produce(stays, 1, 8, 9)
    await promise
    expect(seen.toSorted((a, b) => a.localeCompare(b))).toEqual(['anew 7', 'stays 8'])
    await consumer.close()
  })

  it('that a group has committed past the end of is read on by onOutOfRange, and that is said', async () => {
    const topic = await stage.topicWith(1, 3)
    const groupId = stage.name('group')
    for (const [onOutOfRange, to] of [
      ['latest', 3],
      ['earliest', 0],
    ] as const) {
      const before = stage.consumerOf(topic, { groupId, autoCommit: false })
      await before.run(noWork)
      await before.commit({ topic, partition: 0, offset: 1_000 })
      await before.close()
      const consumer = stage.consumerOf(topic, { groupId, onOutOfRange })
      const moved = eventOf(consumer, 'moved')
      await consumer.run(noWork)
      expect(await moved).toMatchObject({ topic, partition: 0, from: 1_000, to, reason: 'the offset was out of range' })
      await consumer.close()
    }
    const before = stage.consumerOf(topic, { groupId, autoCommit: false })
    await before.run(noWork)
    await before.commit({ topic, partition: 0, offset: 1_000 })
    await before.close()
    const consumer = stage.consumerOf(topic, { groupId, onOutOfRange: 'error' })
    const told = eventOf(consumer, 'error')
    await consumer.run(noWork)
    expect(await told).toMatchObject({ code: 'OFFSET_OUT_OF_RANGE', topic, partition: 0 })
    await consumer.close()
  })

  it('whose records are gone from where the group stood is read on where there are some, and says so', async () => {
    const topic = await stage.topicWith(1, 10)
    const before = stage.consumerOf(topic)
    await before.run(noWork)
    await before.commit({ topic, partition: 0, offset: 2 })
    await before.close().catch(() => undefined)
    await stage.client.admin().trim({ topic, partitions: [{ partition: 0, beforeOffset: 10 }] })
    const consumer = stage.consumerOf(topic)
    const moved = eventOf(consumer, 'moved')
    await consumer.run(noWork)
    await consumer.seek({ topic, partition: 0, offset: 3 })
    expect(await moved).toMatchObject({ topic, partition: 0, from: 3, to: 10, reason: 'the offset was out of range' })
    await consumer.close()
  })
})
