// Several consumers in one group, on a real broker: how partitions move, and what is not touched by that.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { connect } from '../../client/client.ts'
import {
  ConsumerStage,
  eventOf,
  FAST,
  frailClient,
  gate,
  partitionsOf,
  type TextConsumer,
  until,
} from './consumer-stage.ts'

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

/** Whether each of the partitions is with one of them. */
function areShared(consumers: readonly TextConsumer[], count: number): boolean {
  const all = consumers.flatMap(partitionsOf).toSorted((a, b) => a - b)
  return all.length === count && all.every((partition, index) => partition === index)
}

describe('members of a group', () => {
  it('share the partitions; those that stay are not taken away for a moment', async () => {
    const topic = await stage.topicWith(6, 1)
    const groupId = stage.name('group')
    const first = stage.consumerOf(topic, { groupId })
    const revoked: number[][] = []
    first.on('revoked', ({ partitions }) => revoked.push(partitions.map(({ partition }) => partition)))
    await first.run(noWork)
    expect(partitionsOf(first)).toEqual([0, 1, 2, 3, 4, 5])
    const second = stage.consumerOf(topic, { groupId })
    const both = [first, second]
    await second.run(noWork)
    await until(both, () => areShared(both, 6) && partitionsOf(second).length === 3)
    expect(revoked).toEqual([partitionsOf(second)])
    await second.close()
    await until(both, () => partitionsOf(first).length === 6)
    expect(revoked).toHaveLength(1)
    await first.close()
  })

  it('handle every record once when partitions move between them in peace', async () => {
    const topic = await stage.topicWith(4, 30)
    const groupId = stage.name('group')
    const counts = new Map<string, number>()
    const { promise: done, open } = gate()
    const eachMessage = async ({
      partition,
      message,
    }: {
      partition: number
      message: { value: string | null }
    }): Promise<void> => {
      await new Promise(setImmediate)
      const id = `${partition}:${message.value ?? ''}`
      counts.set(id, (counts.get(id) ?? 0) + 1)
      if (counts.size === 4 * 60) open()
    }
    const consumers = [stage.consumerOf(topic, { groupId })]
    await consumers[0]?.run({ eachMessage })
    for (const assignors of [undefined, undefined, undefined]) {
      const one = stage.consumerOf(topic, { groupId, assignors })
      consumers.push(one)
      await one.run({ eachMessage })
    }
    await stage.produce(topic, 4, 30, 60)
    await consumers.shift()?.close()
    await consumers.shift()?.close()
    await done
    expect([...counts.values()].filter((count) => count !== 1)).toEqual([])
    await Promise.all(consumers.map((one) => one.close()))
  })

  it.each([['range'], ['round-robin']] as const)(
    'share by %s too, giving everything up in between',
    async (assignor) => {
      const topic = await stage.topicWith(4, 1)
      const groupId = stage.name('group')
      const first = stage.consumerOf(topic, { groupId, assignors: assignor })
      const revoked: number[] = []
      first.on('revoked', ({ partitions }) => revoked.push(partitions.length))
      await first.run(noWork)
      const second = stage.consumerOf(topic, { groupId, assignors: [assignor] })
      await second.run(noWork)
      await until([first, second], () => areShared([first, second], 4) && partitionsOf(second).length === 2)
      expect(revoked).toEqual([4])
      expect(partitionsOf(first)).toEqual(
        assignor === 'range' ? partitionsOf(first) : [partitionsOf(first)[0], (partitionsOf(first)[0] ?? 0) + 2],
      )
      await Promise.all([first.close(), second.close()])
    },
  )

  it('wait with handing a partition over until its handler, and those of revoked, are done, and then go on behind it', async () => {
    const topic = await stage.topicWith(2, 3)
    const groupId = stage.name('group')
    const story: string[] = []
    const { promise: hold, open: release } = gate()
    const { promise: entered, open: enter } = gate()
    const first = stage.consumerOf(topic, { groupId })
    first.on('revoked', async ({ partitions, isLost }) => {
      await new Promise(setImmediate)
      story.push(`revoked ${partitions.map(({ partition }) => partition).join()} ${isLost}`)
    })
    await first.run({
      concurrency: 2,
      eachMessage: async ({ partition, message, signal }) => {
        if (partition !== 1) return
        enter()
        await hold
        story.push(`first has done ${message.value ?? ''}, ${signal.aborted}`)
      },
    })
    await entered
    const second = stage.consumerOf(topic, { groupId })
    const { promise: moved, open: move } = gate()
    await second.run({
      eachMessage: ({ partition, message }) => {
        story.push(`second has ${partition}:${message.value ?? ''}`)
        if (message.value === '2') move()
      },
    })
    expect(partitionsOf(second)).toEqual([])
    expect(first.why().find(({ partition }) => partition === 1)).toMatchObject({ state: 'revoking' })
    release()
    await moved
    expect(story).toEqual(['first has done 0, false', 'revoked 1 false', 'second has 1:1', 'second has 1:2'])
    await Promise.all([first.close(), second.close()])
  })

  it('do not wait for a handler of another before they get what is free', async () => {
    const topic = await stage.topicWith(2, 3)
    const groupId = stage.name('group')
    const { promise: hold, open: release } = gate()
    const { promise: entered, open: enter } = gate()
    const first = stage.consumerOf(topic, { groupId, topicsRefreshMs: 20 })
    let handled = 0
    await first.run({
      concurrency: 4,
      eachMessage: async ({ partition }) => {
        if (partition !== 1) return
        handled += 1
        enter()
        await hold
      },
    })
    await entered
    const second = stage.consumerOf(topic, { groupId, topicsRefreshMs: 20 })
    await second.run(noWork)
    // Partition 1 is to go to the second, and waits for its handler; two more come meanwhile.
    await stage.client.admin().addPartitions({ topic, partitions: 4 })
    await until([first, second], () => partitionsOf(first).length + partitionsOf(second).length >= 3)
    expect(handled).toBe(1)
    release()
    await until([first, second], () => areShared([first, second], 4))
    await Promise.all([first.close(), second.close()])
  })

  it('take over from one that closes, with what it has done committed', async () => {
    const topic = await stage.topicWith(1, 5)
    const groupId = stage.name('group')
    const { promise: two, open: openTwo } = gate()
    const first = stage.consumerOf(topic, { groupId })
    const second = stage.consumerOf(topic, { groupId })
    await first.run({
      eachMessage: async ({ message, signal }) => {
        if (message.value !== '2') return
        openTwo()
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        throw new Error('given up')
      },
    })
    await two
    const seen: (string | null)[] = []
    const { promise: last, open } = gate()
    await second.run({
      eachMessage: ({ message }) => {
        seen.push(message.value)
        if (message.value === '4') open()
      },
    })
    await expect(first.close({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' })
    await last
    expect(seen).toEqual(['2', '3', '4'])
    await second.close()
  })

  it('take over from one whose connections break, long before its session ends', async () => {
    const topic = await stage.topicWith(2, 1)
    const groupId = stage.name('group')
    const { client, die } = frailClient(broker.brokers)
    const lost = stage.consumerOf(topic, { groupId, sessionTimeoutMs: 60_000 }, client)
    await lost.run(noWork)
    const other = stage.consumerOf(topic, { groupId })
    await other.run(noWork)
    await until([lost, other], () => areShared([lost, other], 2) && partitionsOf(other).length === 1)
    die()
    await until([other], () => partitionsOf(other).length === 2)
    expect(partitionsOf(other)).toEqual([0, 1])
    await Promise.allSettled([client.close({ timeoutMs: 1 }), other.close()])
  })

  it('keep what they have when their broker starts again', async () => {
    await using own = await startBroker({ dataDir: 'memory', groupMinSessionTimeoutMs: 50 })
    const client = connect({ brokers: own.brokers, ...FAST })
    const local = new ConsumerStage(client)
    const topic = await local.topicWith(2, 2)
    const consumer = local.consumerOf(topic)
    const seen: (string | null)[] = []
    let wake: () => void = () => undefined
    const revoked: unknown[] = []
    consumer.on('revoked', (event) => revoked.push(event))
    await consumer.run({
      eachMessage: ({ message }) => {
        seen.push(message.value)
        wake()
      },
    })
    while (seen.length < 4) await new Promise<void>((resolve) => (wake = resolve))
    await consumer.commit()
    await own.restart()
    await local.produce(topic, 2, 2, 3)
    while (seen.length < 6) await new Promise<void>((resolve) => (wake = resolve))
    await consumer.commit()
    expect(seen.map(Number).toSorted((a, b) => a - b)).toEqual([0, 0, 1, 1, 2, 2])
    expect(revoked).toEqual([])
    await client.close()
  })

  it('do not notice that a static member was away', async () => {
    const topic = await stage.topicWith(2, 1)
    const groupId = stage.name('group')
    const other = stage.consumerOf(topic, { groupId, instanceId: 'b' })
    const first = stage.consumerOf(topic, { groupId, instanceId: 'a' })
    await Promise.all([other.run(noWork), first.run(noWork)])
    await until([other, first], () => areShared([other, first], 2) && partitionsOf(other).length === 1)
    const own = partitionsOf(first)
    const { generation, memberId } = first.membership()
    await first.close()
    const again = stage.consumerOf(topic, { groupId, instanceId: 'a' })
    await again.run(noWork)
    await until([again], () => partitionsOf(again).length === 1)
    expect(partitionsOf(again)).toEqual(own)
    expect(partitionsOf(other)).toHaveLength(1)
    // No round was needed for that, though it cannot say what it had before.
    expect(again.membership()).toMatchObject({ generation, memberId: expect.not.stringContaining(memberId) as string })
    expect(other.membership()).toMatchObject({ generation })
    await Promise.all([again.close(), other.close()])
  })

  it('end with a clear error when another comes in under their name', async () => {
    const topic = await stage.topicWith(1, 1)
    const groupId = stage.name('group')
    const first = stage.consumerOf(topic, { groupId, instanceId: 'a' })
    await first.run(noWork)
    const told = eventOf(first, 'error', ({ fatal }) => fatal)
    const lost = eventOf(first, 'revoked')
    const second = stage.consumerOf(topic, { groupId, instanceId: 'a' })
    await second.run(noWork)
    expect(await told).toMatchObject({ name: 'FencedError', code: 'FENCED_INSTANCE_ID', fatal: true })
    expect(await lost).toMatchObject({ isLost: true })
    expect(partitionsOf(second)).toEqual([0])
    await expect(first.commit()).rejects.toMatchObject({ code: 'FENCED_INSTANCE_ID' })
    await second.close()
  })
})

describe('a handler', () => {
  it('that takes longer than the session keeps its partition', async () => {
    const topic = await stage.topicWith(1, 2)
    const groupId = stage.name('group')
    const first = stage.consumerOf(topic, { groupId, sessionTimeoutMs: 400 })
    const second = stage.consumerOf(topic, { groupId, sessionTimeoutMs: 400 })
    const seen: string[] = []
    const { promise: done, open } = gate()
    const heard: string[] = []
    first.on('revoked', ({ reason }) => heard.push(reason))
    await first.run({
      eachMessage: async ({ message, signal }) => {
        // Several sessions; what ends it is the clock that is being tested.
        if (message.value === '0') await new Promise((resolve) => setTimeout(resolve, 1_200))
        seen.push(`${message.value ?? ''} ${signal.aborted}`)
        if (message.value === '1') open()
      },
    })
    await second.run({
      eachMessage: ({ message }) => {
        seen.push(`second ${message.value ?? ''}`)
        open()
      },
    })
    await done
    expect(seen).toEqual(['0 false', '1 false'])
    expect(heard).toEqual([])
    await Promise.all([first.close(), second.close()])
  })

  it('that takes longer than maxPollIntervalMs is warned of, loses its partition with a clear reason, and its member comes back', async () => {
    const topic = await stage.topicWith(1, 2)
    const groupId = stage.name('group')
    const { promise: hold, open: release } = gate()
    const first = stage.consumerOf(topic, { groupId, maxPollIntervalMs: 150 })
    const second = stage.consumerOf(topic, { groupId })
    const slow = eventOf(first, 'slow')
    const told = eventOf(first, 'error')
    const revoked = eventOf(first, 'revoked')
    const { promise: aborted, open: abort } = gate<unknown>()
    await first.run({
      eachMessage: async ({ signal }) => {
        signal.addEventListener('abort', () => abort(signal.reason))
        await hold
      },
    })
    const seen: (string | null)[] = []
    const { promise: done, open } = gate()
    await second.run({
      eachMessage: ({ message }) => {
        seen.push(message.value)
        if (message.value === '1') open()
      },
    })
    expect(await slow).toMatchObject({ topic, partition: 0, offset: 0, maxPollIntervalMs: 150 })
    const error = await told
    expect(error).toMatchObject({ code: 'MAX_POLL_INTERVAL_EXCEEDED', topic, partition: 0, fatal: false })
    expect(error.message).toContain('longer than maxPollIntervalMs (150): the member leaves')
    expect(await revoked).toMatchObject({ isLost: true })
    expect(await aborted).toMatchObject({ code: 'ABORTED' })
    expect(first.why()[0]).toMatchObject({ state: 'out', topic: undefined })
    await done
    expect(seen).toEqual(['0', '1'])
    // What the late handler has done is not committed, and the group is not disturbed by it.
    await second.commit()
    release()
    const back = eventOf(first, 'assigned')
    await second.close()
    await back
    expect(partitionsOf(first)).toEqual([0])
    await first.close()
  })
})
