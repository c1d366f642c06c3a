// How what each broker says of its health becomes one account, and what of it whoever watches is shown again.

import { describe, expect, it } from 'vitest'
import { asOne, changes, type Check, healthFrom } from '../../broker/commands/cluster-health.ts'

const ok = (name: string, detail = 'ok'): Check => ({ name, isOk: true, detail })
const bad = (name: string, detail: string): Check => ({ name, isOk: false, detail })

describe('the health of a cluster', () => {
  const first = [ok('disk-space'), ok('connections'), ok('brokers', '3 there'), ok('leaders')]

  it('is bad where any broker finds something, of itself or of all', () => {
    const two = {
      broker: 2,
      checks: [bad('disk-space', 'full'), bad('connections', 'broker 2 has no connection'), bad('leaders', 'a-0')],
    }
    const three = { broker: 3, checks: [bad('disk-space', 'full'), bad('leaders', 'a-0, a-1')] }
    expect(asOne(first, [{ broker: 1, checks: first }, two, three], [])).toEqual([
      bad('disk-space', 'broker 2: full; broker 3: full'),
      bad('connections', 'broker 2 has no connection'),
      ok('brokers', '3 there'),
      bad('leaders', 'a-0; as broker 2 sees it'),
    ])
  })

  it('is what the first says where that is bad already', () => {
    const own = [bad('leaders', 'b-0')]
    expect(asOne(own, [{ broker: 2, checks: [bad('leaders', 'a-0')] }], [])).toEqual(own)
  })

  it('is bad while a member keeps silent', () => {
    expect(asOne(first, [], [2])[2]).toEqual(bad('brokers', '3 there; broker 2 does not answer'))
    expect(asOne(first, [], [1, 2])[2]).toEqual(bad('brokers', '3 there; brokers 1, 2 do not answer'))
  })
})

describe('whoever watches is shown', () => {
  const well = healthFrom([ok('coordinator'), ok('leaders'), ok('disks')])

  it('everything at first, and then what has changed and what is bad still', () => {
    expect(changes(undefined, well)).toEqual(well.checks)
    expect(changes(well, well)).toBeUndefined()
    const leaderless = healthFrom([ok('coordinator'), bad('leaders', 'a-0'), ok('disks')])
    expect(changes(well, leaderless)).toEqual([bad('leaders', 'a-0')])
    const worse = healthFrom([ok('coordinator'), bad('leaders', 'a-0'), bad('disks', 'x')])
    expect(changes(leaderless, worse)).toEqual([bad('leaders', 'a-0'), bad('disks', 'x')])
    expect(changes(worse, well)).toEqual([ok('leaders'), ok('disks')])
  })

  it('no other broker that is asked, as long as it is as well connected', () => {
    const asked = (broker: number) => healthFrom([ok('connections', `broker ${broker} is connected to all others`)])
    expect(changes(asked(1), asked(2))).toBeUndefined()
    expect(changes(asked(1), healthFrom([bad('connections', 'broker 2 has none')]))).toHaveLength(1)
  })

  it('no time that goes on, and not each way in which Redis does not answer', () => {
    const at = (seconds: number, why: string) =>
      healthFrom([bad('coordinator', `not answering for ${seconds} s, the session is over (redis: ${why})`)])
    expect(changes(at(4, 'timed out'), at(9, 'reset'))).toBeUndefined()
    const before = healthFrom([bad('coordinator', 'not answering for 1 s, the session lasts another 3 s (redis: x)')])
    expect(changes(before, at(4, 'x'))).toHaveLength(1)
  })

  it('everything when brokers answer again', () => {
    const nobody = healthFrom([bad('answer', 'nobody')])
    expect(changes(well, nobody)).toEqual(nobody.checks)
    expect(changes(nobody, well)).toEqual(well.checks)
  })
})
