// A mirror that is interrupted: given up half way, killed as a process, and left by its target. Whatever happens, every record
// of the source is at the target once. Needs the built command.

import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { connect } from '../../client/client.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { seededRandom } from '../../shared/random.ts'
import { Tidemark } from '../cli/tidemark-process.ts'
import { leaderOf } from '../setup/cluster-state.ts'
import { onStage } from '../setup/cluster-stage.ts'
import { describeWithRedis } from '../setup/redis.ts'
import { flakyTransport } from './flaky-transport.ts'
import { endsBehind, fill, makeTopic, memoryBroker, recordsOf, runMirror } from './mirror-fixture.ts'

const RECORDS = 1_200
/** So slow that a run takes seconds. */
const RATE = 30_000

/** About 100 kB in 60 batches. */
async function fillSlowly(client: Parameters<typeof fill>[0]): Promise<void> {
  await fill(client, 'orders', RECORDS / 20)
}

describe.each([
  ['that keeps the offsets', true],
  ['that gives the offsets itself', false],
])('a mirror to a target %s', (_, keepsOffsets) => {
  it('goes on without loss and without doubles after it was given up, again and again', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fillSlowly(source.client())
    for (const end of [100, 400, 700]) {
      const interrupt = new AbortController()
      const options = { keepsOffsets, bytesPerSecond: RATE, signal: interrupt.signal }
      const run = runMirror(source.brokers, target.brokers, options)
      // It may be over before it is looked at.
      const outcome = run.then(
        () => 'done',
        () => 'given up',
      )
      await expect.poll(() => target.client().admin().listTopics(), { timeout: 10_000 }).toEqual(['orders'])
      await endsBehind(target.client(), 'orders', end)
      interrupt.abort(new Error('enough'))
      expect(await outcome).toBe('given up')
    }
    const { report } = await runMirror(source.brokers, target.brokers, { keepsOffsets })
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ offsets: 'equal' }] })
    expect(report.topics[0]?.partitions[0]?.records).toBeLessThanOrEqual(500)
    expect(await recordsOf(target.client(), 'orders')).toEqual(await recordsOf(source.client(), 'orders'))
  })

  it.each([1, 2])('copies every record once although answers are lost on the way (seed %i)', async (seed) => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders', {}, 2)
    await fill(source.client(), 'orders', 30, 20, 2)
    const transport = flakyTransport(seededRandom(seed), 0.06)
    const environment = { ...systemEnvironment, transport }
    const { report } = await runMirror(source.brokers, target.brokers, { keepsOffsets }, environment)
    expect(transport.broken).toBeGreaterThan(1)
    expect(report.topics[0]).toMatchObject({ outcome: 'verified' })
    for (const partition of [0, 1]) {
      const records = await recordsOf(source.client(), 'orders', partition)
      expect(await recordsOf(target.client(), 'orders', partition)).toEqual(records)
    }
  })

  it('waits for a target that crashes and comes back, and goes on by itself', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fillSlowly(source.client())
    const run = runMirror(source.brokers, target.brokers, { keepsOffsets, bytesPerSecond: RATE })
    await expect.poll(() => target.client().admin().listTopics(), { timeout: 10_000 }).toEqual(['orders'])
    for (const end of [150, 500]) {
      await endsBehind(target.client(), 'orders', end)
      await target.restart({ crash: true })
    }
    const { report } = await run
    expect(report.topics[0]).toMatchObject({ outcome: 'verified', partitions: [{ offsets: 'equal' }] })
    expect(await recordsOf(target.client(), 'orders')).toEqual(await recordsOf(source.client(), 'orders'))
  })
})

describe('the command', () => {
  it('goes on where it was killed with SIGKILL, and says what it did', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    await makeTopic(source, 'orders')
    await fillSlowly(source.client())
    const words = ['mirror', '--from', source.brokers, '--to', target.brokers]
    for (const end of [100, 500]) {
      const slow = new Tidemark([...words, '--rate', String(RATE)])
      await expect.poll(() => target.client().admin().listTopics(), { timeout: 20_000 }).toEqual(['orders'])
      await endsBehind(target.client(), 'orders', end)
      slow.child.kill('SIGKILL')
      await once(slow.child, 'close')
    }
    const last = await new Tidemark([...words, '--json']).finished()
    expect(last.code).toBe(0)
    const report: unknown = JSON.parse(last.stdout)
    expect(report).toMatchObject({
      isComplete: true,
      topics: [
        { topic: 'orders', outcome: 'verified', partitions: [{ offsets: 'equal', source: { records: RECORDS } }] },
      ],
    })
    expect(last.stderr).toContain('complete')
    expect(await recordsOf(target.client(), 'orders')).toEqual(await recordsOf(source.client(), 'orders'))
  })

  it('exits with 1 and says so when both sides are not the same', async () => {
    await using source = await memoryBroker()
    await using target = await memoryBroker()
    for (const broker of [source, target]) await makeTopic(broker, 'orders')
    await fill(source.client(), 'orders', 1)
    await fill(target.client(), 'orders', 2)
    const { code, stderr } = await new Tidemark(['mirror', '--from', source.brokers, '--to', target.brokers]).finished()
    expect(code).toBe(1)
    expect(stderr).toContain('NOT COMPLETE')
  })

  it('exits with 2 when it is not told where', async () => {
    const { code, stderr } = await new Tidemark(['mirror', '--from', '127.0.0.1:1']).finished()
    expect([code, stderr]).toEqual([2, 'tidemark: mirror: say where with --to HOST:PORT\n'])
  })
})

describeWithRedis('a mirror to a cluster', () => {
  it('loses and doubles nothing when the leader is killed half way, and takes groups to their records', () =>
    onStage(async ({ cluster }) => {
      await using source = await memoryBroker()
      await makeTopic(source, 'orders')
      await fillSlowly(source.client())
      await source.client().admin().resetOffsets({ groupId: 'billing', topic: 'orders', to: 500 })
      await using client = connect({ brokers: cluster.addresses })
      const [to] = cluster.addresses
      const run = runMirror(source.brokers, to ?? '', {
        bytesPerSecond: RATE,
        replicationFactor: 3,
        copiesGroups: true,
      })
      await expect.poll(() => client.admin().listTopics(), { timeout: 10_000 }).toEqual(['orders'])
      await endsBehind(client, 'orders', 300)
      await cluster.kill(await leaderOf(client.admin(), 'orders'))
      const { report } = await run
      expect(report.topics[0]).toMatchObject({ outcome: 'verified' })
      const records = await recordsOf(source.client(), 'orders')
      const copies = await recordsOf(client, 'orders')
      expect(copies.map(({ record }) => record)).toEqual(records.map(({ record }) => record))
      const [committed] = await client.admin().fetchOffsets({ groupId: 'billing' })
      expect(copies.find(({ offset }) => offset === committed?.offset)?.record).toBe(records[500]?.record)
    }))
})
