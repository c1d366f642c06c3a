// Replicas of a compacted topic, each of which compacts its own log: real logs, connected in memory.

import { describe, expect, it } from 'vitest'
import { must } from '../../shared/assert.ts'
import type { KeyValue } from '../storage/compaction-fixture.ts'
import { COMPACT, keyed, meansOf, recordsOf, tableOf } from '../storage/compaction-fixture.ts'
import { type Broker, Brokers, ONE, THREE, TWO } from './replica-brokers.ts'

async function begun(entries: Record<string, string> = {}): Promise<Brokers> {
  const brokers = await Brokers.start({
    brokers: 3,
    minInSyncReplicas: 2,
    entries: { ...COMPACT, 'delete.retention.ms': '0', ...entries },
    storage: { hotTailBytes: 0 },
  })
  await brokers.elect(ONE)
  return brokers
}

/** Written by the leader and held by as many as must; what goes before is in a sealed segment then. */
async function write(broker: Broker, records: readonly KeyValue[]): Promise<void> {
  for (const record of records) broker.appendBatch(keyed([record]))
  for (let count = 0; count < 2; count += 1) {
    broker.appendBatch(keyed([[`filler ${count}`, 'x'.repeat(900)]]))
  }
  await broker.log().sync()
}

/** As a cleaner does it, in two passes, of which the first takes what tombstones delete and the second the tombstones. */
async function compact(brokers: Brokers, broker: Broker): Promise<void> {
  const log = broker.log()
  for (let pass = 0; pass < 2; pass += 1) {
    broker.appendBatch(keyed([['filler 2', 'x'.repeat(900)]]))
    broker.appendBatch(keyed([['filler 3', 'x'.repeat(900)]]))
    const { logEndOffset } = log
    await brokers.until(() => broker.replica().partition.highWatermark === logEndOffset)
    await log.sync()
    const readAlong = broker.replica().state.readAlongEnd(broker.monotonic())
    const means = meansOf({ now: broker.now(), droppableEnd: readAlong })
    const plan = must(await log.compaction.plan(means.now, broker.replica().partition.highWatermark), 'a plan')
    await log.compaction.run(plan, means)
  }
}

function areEqual(brokers: Brokers): boolean {
  const ends = brokers.list.map((one) => one.log().writtenEndOffset)
  return ends.every((end) => end === ends[0])
}

async function cutOff(brokers: Brokers, broker: Broker, msAway: number): Promise<void> {
  for (const other of brokers.list) {
    if (other === broker) continue
    broker.carrier.cut(other.id)
    other.carrier.cut(broker.id)
  }
  for (let ms = 0; ms < msAway; ms += 500) {
    brokers.time.advance(500)
    await brokers.until(() => true)
  }
}

function letBack(brokers: Brokers, broker: Broker): void {
  for (const other of brokers.list) {
    if (other === broker) continue
    broker.carrier.connect(other.id)
    other.carrier.connect(broker.id)
  }
}

const OLD: readonly KeyValue[] = [
  ['kept', '1'],
  ['deleted', '1'],
]
const NEW: readonly KeyValue[] = [['deleted', null]]

describe('a follower that was away for longer than its leader keeps tombstones', () => {
  it('copies the log anew, and brings no deleted key back when it leads', async () => {
    const brokers = await begun()
    const [one, three] = [brokers.of(ONE), brokers.of(THREE)]
    await write(one, OLD)
    await brokers.until(() => areEqual(brokers))
    await cutOff(brokers, three, 15_000)
    await write(one, NEW)
    await compact(brokers, one)
    expect(one.log().compaction.compacted.droppedTo).toBeGreaterThan(three.log().writtenEndOffset)
    expect(await recordsOf(one.log())).not.toContainEqual(expect.stringContaining('deleted='))
    letBack(brokers, three)
    await brokers.until(() => areEqual(brokers))
    expect(await tableOf(three.log())).toEqual(await tableOf(one.log()))
    await brokers.elect(THREE)
    expect(three.replica().role).toBe('leader')
    expect((await tableOf(three.log())).has('deleted')).toBe(false)
    expect((await tableOf(three.log())).get('kept')).toBe('1')
    brokers.close()
  })

  it('knows of the dropped tombstones then, for whoever follows it and has not seen them', async () => {
    const brokers = await begun()
    const [one, two, three] = [brokers.of(ONE), brokers.of(TWO), brokers.of(THREE)]
    await write(one, OLD)
    await brokers.until(() => areEqual(brokers))
    await cutOff(brokers, three, 15_000)
    await write(one, NEW)
    await compact(brokers, one)
    const { droppedTo } = one.log().compaction.compacted
    letBack(brokers, three)
    await brokers.until(() => areEqual(brokers))
    expect(three.log().compaction.compacted.droppedTo).toBe(droppedTo)
    expect(two.log().compaction.compacted.droppedTo).toBe(0)
    await three.restart()
    expect(three.log().compaction.compacted.droppedTo).toBe(droppedTo)
    brokers.close()
  })

  it('speaks of what it had until it has it again, also after a restart', async () => {
    const brokers = await begun()
    const [one, three] = [brokers.of(ONE), brokers.of(THREE)]
    await write(one, OLD)
    await brokers.until(() => areEqual(brokers))
    const had = three.log().writtenEndOffset
    await cutOff(brokers, three, 15_000)
    await write(one, NEW)
    await compact(brokers, one)
    // The answer that tells it to begin anew still comes; then nothing does.
    three.carrier.spoil = (answer) => {
      three.carrier.cut(ONE)
      return answer
    }
    letBack(brokers, three)
    await brokers.until(() => three.log().writtenEndOffset === 0)
    expect(three.log().compaction.floor).toEqual({ latestEpoch: 0, logEndOffset: had })
    await three.restart()
    expect(three.log().compaction.floor).toEqual({ latestEpoch: 0, logEndOffset: had })
    three.replica().campaign(undefined)
    expect(three.replica().role).toBe('follower')
    three.carrier.spoil = (answer) => answer
    three.carrier.connect(ONE)
    await brokers.elect(TWO)
    await brokers.until(() => areEqual(brokers))
    await brokers.elect(THREE)
    expect(three.replica().role).toBe('leader')
    brokers.close()
  })
})

describe('a leader of a compacted log', () => {
  it('keeps tombstones that a follower who reads along has not come to', async () => {
    const brokers = await begun()
    const [one, three] = [brokers.of(ONE), brokers.of(THREE)]
    await write(one, OLD)
    await brokers.until(() => areEqual(brokers))
    await cutOff(brokers, three, 0)
    await write(one, NEW)
    await compact(brokers, one)
    expect(one.log().compaction.compacted.droppedTo).toBe(0)
    expect(await recordsOf(one.log())).toContainEqual(expect.stringContaining('deleted=null'))
    letBack(brokers, three)
    await brokers.until(() => areEqual(brokers))
    expect((await tableOf(three.log())).has('deleted')).toBe(false)
    brokers.close()
  })
})
