// What becomes of a campaign whose letters do not arrive: real replicas over real logs, and the mail that carries fences.

import { describe, expect, it } from 'vitest'
import type { BrokerId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { leaderEpoch } from '../../shared/ids.ts'
import { FENCE_ANSWERS } from '../../shared/protocol/peers.ts'
import { FenceMail } from '../../broker/replication/fence-mail.ts'
import { Brokers, ONE, settle, THREE, TWO } from './replica-brokers.ts'

/** Broker 1 is a candidate who has written to both others; those that are cut off cannot be reached. */
async function campaignOfOne(cutOff: readonly BrokerId[]): Promise<Brokers> {
  const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
  const { carrier } = brokers.of(ONE)
  // Nobody hears of the campaign but by the mail.
  for (const to of [TWO, THREE]) carrier.cut(to)
  const replica = brokers.of(ONE).replica()
  replica.campaign(undefined)
  await settle()
  for (const to of [TWO, THREE]) if (!cutOff.includes(to)) carrier.connect(to)
  const mail = new FenceMail({ brokerId: ONE, peers: carrier, timers: brokers.time, logger: silentLogger })
  const epoch = replica.state.promise?.epoch
  if (epoch === undefined) throw new Error('a candidate has promised itself')
  for (const to of [TWO, THREE]) mail.fence(replica, to, epoch)
  brokers.time.advance(10)
  await settle()
  return brokers
}

describe('a campaign', () => {
  it('is over at once when too few voters can be reached to win it', async () => {
    const brokers = await campaignOfOne([TWO, THREE])
    expect(brokers.of(ONE).replica().role).toBe('follower')
    brokers.close()
  })

  it('goes on when one voter cannot be reached and the other may still answer', async () => {
    const brokers = await campaignOfOne([THREE])
    expect(brokers.of(ONE).replica().role).toBe('candidate')
    brokers.close()
  })
})

describe('the answer to several fences', () => {
  it('is taken in but for what cannot be', async () => {
    const brokers = await Brokers.start({ brokers: 3, partitions: 3, minInSyncReplicas: 2 })
    const { carrier, replicas } = brokers.of(ONE)
    for (const to of [TWO, THREE]) carrier.cut(to)
    for (const replica of replicas) replica.campaign(undefined)
    await settle()
    const none = { isSuspect: false, latestEpoch: undefined, promisedEpoch: undefined, leader: undefined }
    const granted = { ...none, answer: FENCE_ANSWERS.granted, directoryId: 'disk-2', logEndOffset: 0 }
    const refused = { ...granted, answer: FENCE_ANSWERS.refused, promisedEpoch: -7 }
    const answer = { body: { partitions: [{ ...granted, logEndOffset: -1 }, refused, granted] } }
    const peers = Object.assign(carrier, { ask: () => Promise.resolve({ ...answer, tail: new Uint8Array(0) }) })
    const mail = new FenceMail({ brokerId: ONE, peers, timers: brokers.time, logger: silentLogger })
    for (const replica of replicas) mail.fence(replica, TWO, leaderEpoch(0))
    brokers.time.advance(10)
    await settle()
    expect(replicas.map(({ role }) => role)).toEqual(['candidate', 'candidate', 'leader'])
    brokers.close()
  })

  it('is not asked for again when the broker has stopped', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const { carrier } = brokers.of(ONE)
    for (const to of [TWO, THREE]) carrier.cut(to)
    const replica = brokers.of(ONE).replica()
    replica.campaign(undefined)
    await settle()
    const nothing = { answer: FENCE_ANSWERS.none, directoryId: undefined, latestEpoch: undefined, leader: undefined }
    const partitions = [{ ...nothing, isSuspect: false, logEndOffset: 0, promisedEpoch: undefined }]
    let asked = 0
    const ask = () => {
      asked += 1
      return Promise.resolve({ body: { partitions }, tail: new Uint8Array(0) })
    }
    const peers = Object.assign(carrier, { ask })
    const mail = new FenceMail({ brokerId: ONE, peers, timers: brokers.time, logger: silentLogger })
    mail.fence(replica, TWO, leaderEpoch(0))
    for (let times = 0; times < 3; times += 1) {
      brokers.time.advance(60)
      await settle()
    }
    expect(asked).toBeGreaterThan(1)
    mail.stop()
    brokers.close()
    expect(brokers.time.pendingTimers).toBe(0)
  })
})
