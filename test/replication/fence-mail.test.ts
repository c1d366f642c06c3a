// What becomes of a campaign whose letters do not arrive: real replicas over real logs, and the mail that carries fences.

import { describe, expect, it } from 'vitest'
import type { BrokerId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
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
