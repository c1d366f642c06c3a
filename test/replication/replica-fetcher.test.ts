// Replicas that follow: two or three brokers with real logs, connected in memory.

import { describe, expect, it } from 'vitest'
import { Brokers, ONE, settle, THREE, TWO } from './replica-brokers.ts'

describe('a follower', () => {
  it('gets the records of its leader byte for byte', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    await brokers.elect(ONE)
    const leader = brokers.of(ONE)
    for (let index = 0; index < 50; index += 1) {
      const append = await leader.produce([`record ${index}`, 'x'.repeat(1_000)])
      expect(append.refusal).toBeUndefined()
    }
    await settle()
    expect(leader.log().writtenEndOffset).toBe(101)
    for (const id of [TWO, THREE]) expect(await brokers.of(id).bytes()).toEqual(await leader.bytes())
    brokers.close()
  })
})
