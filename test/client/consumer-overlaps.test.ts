// What a consumer makes of things that fall together: answers that arrive in one piece, handlers that outlive what they were
// called for, shares that are newer than what it knows. Against a broker that does what a test says.

import { describe, expect, it } from 'vitest'
import { type Client, connect } from '../../client/client.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { string } from '../../client/serializers.ts'
import { systemTransport, type Transport } from '../../client/transport.ts'
import { systemTimers, type Timer, type Timers } from '../../shared/time.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { eventOf, FAST, gate, type TextConsumer } from './consumer-stage.ts'
import { FakeBroker, FakeCluster } from './fake-broker.ts'
import { ModelLog } from './model-log.ts'

function append(cluster: FakeCluster, value: string, partition = 0): void {
  const batch = encodeBatch([{ key: null, value: Buffer.from(value), timestamp: 1 }])
  cluster.topics.get('t')?.logs[partition]?.append(batch)
}

function consumerOf(client: Client): TextConsumer {
  const options = { groupId: 'g', topics: 't', fromBeginning: true, autoCommit: false, sessionTimeoutMs: 300 } as const
  return client.consumer({ ...options, deserializers: { value: string } })
}

/** What arrives is held back until so many bytes are there, and given in one piece then. */
function gathering(): { readonly transport: Transport; hold: (bytes: number) => void } {
  let wanted = 0
  let held: Buffer[] = []
  const transport: Transport = {
    open: (address, events) =>
      systemTransport.open(address, {
        onConnect: () => events.onConnect(),
        onDrain: () => events.onDrain(),
        onClose: (cause) => events.onClose(cause),
        onData: (chunk) => {
          held.push(Buffer.from(chunk))
          const all = Buffer.concat(held)
          if (all.length < wanted) return
          held = []
          wanted = 0
          events.onData(all)
        },
      }),
  }
  return { transport, hold: (bytes) => void (wanted = bytes) }
}

describe('two answers to fetches that arrive in one piece', () => {
  it('are read as they are: no record is asked for twice', async () => {
    const cluster = new FakeCluster()
    const broker = await FakeBroker.start(cluster, 0)
    cluster.addTopic('t', 2)
    const { transport, hold } = gathering()
    const client = connect({ brokers: [broker.address], ...FAST }, { ...systemEnvironment, transport })
    const consumer = consumerOf(client)
    const seen: (string | null)[] = []
    const told: string[] = []
    const { promise: done, open } = gate()
    consumer.on('error', ({ code }) => told.push(code))
    await consumer.run({
      eachMessage: ({ message }) => {
        seen.push(message.value)
        if (seen.length === 4) open()
      },
    })
    // Each partition has a fetch of its own on its way.
    while (broker.countOf('fetch') < 1) await new Promise(setImmediate)
    consumer.pause([{ topic: 't', partitions: [1] }])
    append(cluster, 'a')
    cluster.notify()
    while (seen.length < 1 || broker.countOf('fetch') < 2) await new Promise(setImmediate)
    consumer.resume([{ topic: 't', partitions: [1] }])
    while (broker.countOf('fetch') < 3) await new Promise(setImmediate)
    hold(2 * 90)
    append(cluster, 'b', 0)
    append(cluster, 'b', 1)
    cluster.notify()
    while (seen.length < 3) await new Promise(setImmediate)
    append(cluster, 'c')
    cluster.notify()
    await done
    expect(seen).toEqual(['a', 'b', 'b', 'c'])
    expect(told).toEqual([])
    await client.close()
    await broker.stop()
  })
})

describe('a handler whose partition was lost and has come back', () => {
  it('cannot commit for it: others may have been further since', async () => {
    const cluster = new FakeCluster()
    const broker = await FakeBroker.start(cluster, 0)
    cluster.addTopic('t', 1)
    append(cluster, 'a')
    const client = connect({ brokers: [broker.address], ...FAST })
    const consumer = consumerOf(client)
    const { promise: begun, open: begin } = gate()
    const { promise: hold, open: release } = gate()
    const outcomes: unknown[] = []
    const lost = eventOf(consumer, 'revoked')
    await consumer.run({
      eachMessage: async ({ topic, partition, message }) => {
        begin()
        await hold
        await consumer.commit({ topic, partition, offset: message.offset + 1 }).then(
          () => outcomes.push('committed'),
          (error: unknown) => outcomes.push(error),
        )
      },
    })
    await begun
    const state = cluster.groups.stateOf('g')
    const [former] = [...state.members()].map(({ id }) => id)
    const leaving = { member: former ?? '', instance: undefined }
    state.step({ kind: 'leave', now: performance.now(), request: -1, members: [leaving] }, [])
    expect(await lost).toMatchObject({ isLost: true })
    // The same partition is its own again, and waits for the handler.
    while (consumer.why()[0]?.state !== 'starting') await new Promise(setImmediate)
    const again = eventOf(consumer, 'assigned')
    release()
    await again
    expect(outcomes[0]).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(cluster.groups.commits).toEqual([])
    while (outcomes.length < 2) await new Promise(setImmediate)
    expect(outcomes[1]).toBe('committed')
    await client.close()
    await broker.stop()
  })
})

describe('a member that is given a partition which it has not heard of', () => {
  it('looks it up, and begins', async () => {
    const cluster = new FakeCluster()
    const broker = await FakeBroker.start(cluster, 0)
    const topic = cluster.addTopic('t', 1)
    const clients = [connect({ brokers: [broker.address], ...FAST }), connect({ brokers: [broker.address], ...FAST })]
    const options = { groupId: 'g', topics: 't', fromBeginning: true, sessionTimeoutMs: 300 } as const
    const [leader, other] = clients.map((client, index) => {
      return client.consumer({
        ...options,
        deserializers: { value: string },
        topicsRefreshMs: index === 0 ? 20 : 600_000,
      })
    })
    if (leader === undefined || other === undefined) throw new Error('there are two')
    await leader.run({ eachMessage: () => undefined })
    await other.run({ eachMessage: () => undefined })
    const assigned = eventOf(other, 'assigned')
    // Only who leads the group looks for new partitions.
    topic.logs.push(new ModelLog())
    topic.leaders.push(0)
    topic.leaderEpochs.push(undefined)
    expect(await assigned).toMatchObject({ partitions: [{ topic: 't', offset: 0 }] })
    await Promise.all(clients.map((client) => client.close()))
    await broker.stop()
  })
})

describe('a static member that closes while the group rebalances', () => {
  it('leaves no timer behind', async () => {
    const cluster = new FakeCluster()
    const broker = await FakeBroker.start(cluster, 0)
    cluster.addTopic('t', 1)
    append(cluster, 'a')
    const pending = new Set<Timer>()
    const timers: Timers = {
      ...systemTimers,
      after: (delayMs, callback, options) => {
        const run = (): void => {
          pending.delete(timer)
          callback()
        }
        const own = systemTimers.after(delayMs, run, options)
        const timer: Timer = {
          cancel: () => {
            pending.delete(timer)
            own.cancel()
          },
        }
        pending.add(timer)
        return timer
      },
    }
    const client = connect({ brokers: [broker.address], ...FAST }, { ...systemEnvironment, timers })
    const others = connect({ brokers: [broker.address], ...FAST })
    const options = {
      groupId: 'g',
      topics: 't',
      fromBeginning: true,
      assignors: 'range',
      sessionTimeoutMs: 300,
    } as const
    const consumer = client.consumer({ ...options, instanceId: 'a' })
    const { promise: begun, open: begin } = gate()
    const { promise: hold, open: release } = gate()
    await consumer.run({
      eachMessage: async () => {
        begin()
        await hold
      },
    })
    await begun
    const closed = consumer.close()
    others
      .consumer(options)
      .run({ eachMessage: () => undefined })
      .catch(() => undefined)
    // The member that closes hears of the round, and is to give up what its handler is at.
    while (cluster.groups.stateOf('g').phase !== 'PreparingRebalance') await new Promise(setImmediate)
    const beats = broker.countOf('heartbeat')
    while (broker.countOf('heartbeat') < beats + 2) await new Promise(setImmediate)
    release()
    await closed
    await client.close()
    await new Promise(setImmediate)
    expect(pending.size).toBe(0)
    await others.close()
    await broker.stop()
  })
})
