// The consumer and its coordinator: one that moves, hangs or is nowhere, and commits that are made meanwhile. Against brokers
// that do what a test says.

import { describe, expect, it } from 'vitest'
import { connect } from '../../client/client.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { eventOf, FAST, gate, partitionsOf } from './consumer-stage.ts'
import { FakeBroker, FakeCluster } from './fake-broker.ts'

const noWork = { eachMessage: () => undefined }

/** Two brokers that do what a test says, and a topic with a few records. */
async function fakeCluster(partitions = 1): Promise<{
  cluster: FakeCluster
  brokers: FakeBroker[]
  stop: () => Promise<void>
}> {
  const cluster = new FakeCluster()
  const brokers = [await FakeBroker.start(cluster, 0), await FakeBroker.start(cluster, 1)]
  cluster.addTopic('t', partitions)
  const stop = async (): Promise<void> => {
    cluster.groups.stop()
    await Promise.all(brokers.map((one) => one.stop()))
  }
  return { cluster, brokers, stop }
}

function append(cluster: FakeCluster, values: readonly string[], partition = 0): void {
  cluster.topics
    .get('t')
    ?.logs[partition]?.append(
      encodeBatch(values.map((value) => ({ key: null, value: Buffer.from(value), timestamp: 1 }))),
    )
  cluster.notify()
}

describe('a coordinator', () => {
  it('that has moved is found, with nothing given up', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    const client = connect({ brokers: brokers.map(({ address }) => address), ...FAST })
    const consumer = client.consumer({ groupId: 'g', topics: 't', fromBeginning: true, sessionTimeoutMs: 300 })
    const revoked: unknown[] = []
    consumer.on('revoked', (event) => revoked.push(event))
    await consumer.run(noWork)
    const beats = brokers[1]?.countOf('heartbeat')
    cluster.groups.coordinator = 1
    append(cluster, ['a'])
    await eventOf(consumer as never, 'committed', () => true).catch(() => undefined)
    expect(beats).toBe(0)
    expect(brokers[1]?.countOf('commitOffsets')).toBeGreaterThan(0)
    expect(revoked).toEqual([])
    await client.close()
    await stop()
  })

  it.each([['drop'], ['silence']] as const)('that answers a join with %s is asked again', async (kind) => {
    const { brokers, stop } = await fakeCluster()
    const [first] = brokers
    const client = connect({ brokers: brokers.map(({ address }) => address), ...FAST, requestTimeoutMs: 200 })
    if (first !== undefined)
      first.script = ({ api, index }) => (api === 'joinGroup' && index === 1 ? { kind } : undefined)
    // The probes that go with a waiting join are answered: what is lost is the join alone.
    const consumer = client.consumer({ groupId: 'g', topics: 't', sessionTimeoutMs: 300, maxPollIntervalMs: 300 })
    await consumer.run(noWork)
    expect(first?.countOf('joinGroup')).toBeGreaterThan(2)
    expect(partitionsOf(consumer as never)).toEqual([0])
    await client.close()
    await stop()
  })

  it('that hangs while a join waits is given up', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    const [first] = brokers
    const client = connect({ brokers: brokers.map(({ address }) => address), ...FAST, requestTimeoutMs: 150 })
    const { promise: asked, open } = gate()
    if (first !== undefined) {
      first.script = ({ api, index, connection }) => {
        if (api === 'joinGroup' && index === 1) open()
        // From then on nothing that comes to it on that connection is answered.
        const isHanging =
          first.countOf('joinGroup') >= 2 &&
          first.seen.some((one) => one.api === 'joinGroup' && one.connection === connection)
        return isHanging ? { kind: 'silence' } : undefined
      }
    }
    const consumer = client.consumer({ groupId: 'g', topics: 't', sessionTimeoutMs: 300, maxPollIntervalMs: 600_000 })
    const running = consumer.run(noWork)
    await asked
    cluster.groups.coordinator = 1
    await running
    expect(partitionsOf(consumer as never)).toEqual([0])
    expect(brokers[1]?.countOf('joinGroup')).toBeGreaterThan(0)
    await client.close()
    await stop()
  })

  it(
    'that takes connections and says nothing is given up long before connecting would be',
    { timeout: 7_000 },
    async () => {
      const { cluster, brokers, stop } = await fakeCluster()
      const [first, second] = brokers
      const client = connect({ brokers: [first?.address ?? ''], ...FAST, connectTimeoutMs: 30_000 })
      const consumer = client.consumer({ groupId: 'g', topics: 't', sessionTimeoutMs: 3_000 })
      cluster.groups.coordinator = 1
      if (second !== undefined) {
        second.script = ({ api }) => {
          if (api === 'hello') cluster.groups.coordinator = 0
          return { kind: 'silence' }
        }
      }
      await consumer.run(noWork)
      expect(second?.countOf('hello')).toBeGreaterThan(0)
      expect(partitionsOf(consumer as never)).toEqual([0])
      await client.close()
      await stop()
    },
  )

  it('that is nowhere to be found is waited for, and why() says so', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    cluster.groups.coordinator = undefined
    const client = connect({ brokers: brokers.map(({ address }) => address), ...FAST })
    const consumer = client.consumer({ groupId: 'g', topics: 't', sessionTimeoutMs: 300 })
    const running = consumer.run(noWork)
    while ((brokers[0]?.countOf('findCoordinator') ?? 0) + (brokers[1]?.countOf('findCoordinator') ?? 0) < 2) {
      await new Promise(setImmediate)
    }
    expect(consumer.why()).toMatchObject([
      { state: 'rebalancing', reason: expect.stringContaining('the coordinator of the group') as string },
    ])
    cluster.groups.coordinator = 0
    await running
    await client.close()
    await stop()
  })
})

describe('a consumer that gets nowhere', () => {
  it('says so after ten seconds, once', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    cluster.groups.coordinator = undefined
    // A clock that runs a hundred times as fast.
    const clock = { now: systemEnvironment.clock.now, monotonic: () => systemEnvironment.clock.monotonic() * 100 }
    const options = { brokers: brokers.map(({ address }) => address), ...FAST }
    const client = connect(options, { ...systemEnvironment, clock })
    const consumer = client.consumer({ groupId: 'g', topics: 't' })
    const told = eventOf(consumer as never, 'error')
    consumer.run(noWork).catch(() => undefined)
    expect(await told).toMatchObject({ code: 'TIMEOUT', fatal: false, cause: { code: 'COORDINATOR_NOT_AVAILABLE' } })
    expect((await told).message).toMatch(/^group g has waited for the coordinator of the group for \d+ ms: /)
    await client.close()
    await stop()
  })
})

describe('a commit', () => {
  it('is sent again while the group rebalances, with the generation that is then', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    const [first] = brokers
    const client = connect({ brokers: [first?.address ?? ''], ...FAST })
    const consumer = client.consumer({ groupId: 'g', topics: 't', fromBeginning: true, autoCommit: false })
    await consumer.run(noWork)
    if (first !== undefined) {
      const from = first.countOf('commitOffsets')
      first.script = ({ api, index }) =>
        api === 'commitOffsets' && index === from ? { kind: 'refuse', error: 'REBALANCE_IN_PROGRESS' } : undefined
    }
    await expect(consumer.commit({ topic: 't', partition: 0, offset: 0 })).rejects.toMatchObject({
      code: 'REBALANCE_IN_PROGRESS',
    })
    await consumer.commit({ topic: 't', partition: 0, offset: 0 })
    expect(cluster.groups.commits).toEqual(['t-0@0'])
    await client.close()
    await stop()
  })

  it('of a member that was taken out is refused, and never sent under another generation', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    const [first] = brokers
    append(cluster, ['a', 'b'])
    const client = connect({ brokers: [first?.address ?? ''], ...FAST })
    const consumer = client.consumer({ groupId: 'g', topics: 't', fromBeginning: true, autoCommit: false })
    await consumer.run(noWork)
    const lost = eventOf(consumer as never, 'revoked')
    const state = cluster.groups.stateOf('g')
    const [member] = [...state.members()].map(({ id }) => id)
    state.step(
      { kind: 'leave', now: performance.now(), request: -1, members: [{ member: member ?? '', instance: undefined }] },
      [],
    )
    await expect(consumer.commit({ topic: 't', partition: 0, offset: 1 })).rejects.toMatchObject({
      code: 'ILLEGAL_GENERATION',
    })
    expect(await lost).toMatchObject({ isLost: true })
    expect(cluster.groups.commits).toEqual([])
    await client.close()
    await stop()
  })

  it("of a partition that was given up meanwhile is not sent any more: it would count as the new owner's", async () => {
    const { cluster, brokers, stop } = await fakeCluster(2)
    const [first] = brokers
    const client = connect({ brokers: [first?.address ?? ''], ...FAST })
    const options = { groupId: 'g', topics: 't', fromBeginning: true, autoCommit: false } as const
    const consumer = client.consumer(options)
    const other = client.consumer(options)
    await consumer.run(noWork)
    let isRefusing = true
    if (first !== undefined) {
      first.script = ({ api }) =>
        api === 'commitOffsets' && isRefusing ? { kind: 'refuse', error: 'COORDINATOR_LOAD_IN_PROGRESS' } : undefined
    }
    const committed = consumer.commit({ topic: 't', partition: 1, offset: 0 })
    const refused = committed.catch((error: unknown) => error)
    const given = eventOf(other as never, 'assigned')
    await other.run(noWork)
    expect((await given).partitions).toMatchObject([{ partition: 1 }])
    isRefusing = false
    expect(await refused).toMatchObject({ code: 'ILLEGAL_GENERATION' })
    expect(cluster.groups.commits).toEqual([])
    await client.close()
    await stop()
  })

  it('of a consumer that closes, and is taken out meanwhile, is not sent under another generation', async () => {
    const { cluster, brokers, stop } = await fakeCluster()
    const [first] = brokers
    append(cluster, ['a', 'b'])
    const client = connect({ brokers: [first?.address ?? ''], ...FAST })
    const everyMs = 60_000
    const times = { sessionTimeoutMs: 300, heartbeatIntervalMs: 20 }
    const consumer = client.consumer({
      groupId: 'g',
      topics: 't',
      fromBeginning: true,
      autoCommit: { everyMs },
      ...times,
    })
    const { promise: handled, open } = gate()
    await consumer.run({ eachMessage: ({ message }) => (message.offset === 1 ? open() : undefined) })
    await handled
    const joins = first?.countOf('joinGroup') ?? 0
    if (first !== undefined) {
      first.script = ({ api }) =>
        api === 'commitOffsets' && first.countOf('joinGroup') === joins
          ? { kind: 'refuse', error: 'COORDINATOR_LOAD_IN_PROGRESS' }
          : undefined
    }
    const before = [...cluster.groups.commits]
    const closed = consumer.close({ timeoutMs: 2_000 })
    const state = cluster.groups.stateOf('g')
    const members = [...state.members()].map(({ id }) => ({ member: id, instance: undefined }))
    state.step({ kind: 'leave', now: performance.now(), request: -1, members }, [])
    await closed
    expect(cluster.groups.commits).toEqual(before)
    await client.close()
    await stop()
  })

  it('of a consumer that closes is made before anybody else has its partitions, also where all are given up', async () => {
    const { cluster, brokers, stop } = await fakeCluster(2)
    const [first] = brokers
    append(cluster, ['a', 'b'], 1)
    const client = connect({ brokers: [first?.address ?? ''], ...FAST })
    const times = { sessionTimeoutMs: 2_000, heartbeatIntervalMs: 20 }
    const options = { groupId: 'g', topics: 't', fromBeginning: true, assignors: 'range', ...times } as const
    const consumer = client.consumer({ ...options, autoCommit: { everyMs: 60_000 } })
    const other = client.consumer(options)
    const { promise: handled, open } = gate()
    await consumer.run({ eachMessage: ({ message }) => (message.offset === 1 ? open() : undefined) })
    await handled
    const given = eventOf(other as never, 'assigned')
    let isGiven = false
    given.then(
      () => (isGiven = true),
      () => undefined,
    )
    const running = other.run(noWork)
    const beats = first?.countOf('heartbeat') ?? 0
    if (first !== undefined) {
      first.script = ({ api }) =>
        api === 'commitOffsets' && !isGiven && first.countOf('heartbeat') < beats + 5
          ? { kind: 'refuse', error: 'COORDINATOR_LOAD_IN_PROGRESS' }
          : undefined
    }
    const closed = consumer.close()
    await Promise.all([closed, running])
    expect((await given).partitions.find(({ partition }) => partition === 1)).toMatchObject({ offset: 2 })
    await client.close()
    await stop()
  })
})
