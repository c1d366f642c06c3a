// Where a partition stands, as its leader says it: over real logs of brokers in one process.

import { describe, expect, it } from 'vitest'
import type { PendingAppend } from '../../broker/replication/pending-produce.ts'
import { PendingProduce } from '../../broker/replication/pending-produce.ts'
import { findOffset } from '../../broker/requests/list-offsets.ts'
import { OFFSET_AT } from '../../shared/protocol/offsets.ts'
import { type Broker, Brokers, ONE, settle, THREE, TWO } from '../replication/replica-brokers.ts'
import { batch, NOW } from '../storage/log-fixture.ts'

const YOUNG = NOW + 1_000

function produce(broker: Broker, timestamp: number): Promise<PendingAppend> {
  return new Promise((resolve) => {
    const request = new PendingProduce(
      (appends) => appends[0] !== undefined && resolve(appends[0]),
      () => undefined,
    )
    const append = request.add()
    const records = batch(['record'], { timestamp })
    broker.replica().partition.append({ records, leaderEpoch: undefined, acks: -1, now: broker.now() }, append)
    request.close()
  })
}

/** Broker 1 has led, and acknowledged an old record and a young one; broker 2 leads, and nobody follows it yet. */
async function startSuccessor(): Promise<{ brokers: Brokers; two: Broker }> {
  const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
  const [one, two, three] = [brokers.of(ONE), brokers.of(TWO), brokers.of(THREE)]
  await brokers.elect(ONE)
  await produce(one, NOW)
  await brokers.until(() => two.replica().partition.highWatermark === 2)
  expect((await produce(one, YOUNG)).refusal).toBeUndefined()
  await settle()
  for (const id of [TWO, THREE]) {
    one.carrier.cut(id)
    brokers.of(id).carrier.cut(ONE)
  }
  three.fetcher.close()
  await brokers.elect(TWO)
  expect([two.replica().role, two.replica().partition.highWatermark]).toEqual(['leader', 2])
  return { brokers, two }
}

describe('a leader that does not know yet how far its predecessor had come', () => {
  it.each([
    ['the end', OFFSET_AT.latest],
    ['the youngest record', OFFSET_AT.maxTimestamp],
    ['a time that it knows no record of', YOUNG],
  ])('asks for patience when asked for %s', async (_, at) => {
    const { brokers, two } = await startSuccessor()
    await expect(findOffset(two.replica().partition, at)).rejects.toMatchObject({ code: 'OFFSET_NOT_AVAILABLE' })
    brokers.close()
  })

  it('answers what it can', async () => {
    const { brokers, two } = await startSuccessor()
    const { partition } = two.replica()
    expect((await findOffset(partition, OFFSET_AT.earliest)).offset).toBe(0)
    expect((await findOffset(partition, NOW)).offset).toBeLessThan(2)
    brokers.close()
  })
})

describe('a leader that knows its end', () => {
  it('says nothing of records that are not held by enough replicas', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const one = brokers.of(ONE)
    await brokers.elect(ONE)
    await produce(one, NOW)
    for (const id of [TWO, THREE]) brokers.of(id).carrier.cut(ONE)
    produce(one, YOUNG).catch(() => undefined)
    await settle()
    const { partition } = one.replica()
    expect(one.log().writtenEndOffset).toBeGreaterThan(partition.highWatermark)
    for (const at of [OFFSET_AT.maxTimestamp, YOUNG]) {
      expect(await findOffset(partition, at)).toEqual({ offset: undefined, timestamp: undefined })
    }
    brokers.close()
  })
})
