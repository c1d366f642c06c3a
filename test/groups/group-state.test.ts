// The membership of one group: every rule of it, one by one, without a clock, a log or a wire.

import { describe, expect, it } from 'vitest'
import { encodeSubscription } from '../../client/consumer-protocol.ts'
import { fateOf, GroupPlay, joinOf, settled, syncOf } from './group-play.ts'
import { GroupState } from '../../broker/groups/group-state.ts'

describe('coming in', () => {
  it('is refused to who has no id, with the id to come back with', () => {
    const play = new GroupPlay()
    const asked = play.join()
    expect(fateOf(asked)).toBe('MEMBER_ID_REQUIRED')
    expect(joinOf(asked).member).toBe('m1')
    expect(play.state.phase).toBe('Empty')
    expect(play.state.memberCount).toBe(0)
  })

  it('is open to who comes with that id, and leads', () => {
    const play = new GroupPlay()
    const { joining } = play.enter({ protocols: { range: 'mine' } })
    expect(joinOf(joining)).toMatchObject({ generation: 1, leader: 'm1', member: 'm1', protocol: 'range' })
    expect(joinOf(joining).members).toEqual([{ member: 'm1', instance: undefined, metadata: Buffer.from('mine') }])
    expect(play.state.phase).toBe('CompletingRebalance')
  })

  it('is refused with an id that was given to nobody', () => {
    expect(fateOf(new GroupPlay().join({ member: 'stranger' }))).toBe('UNKNOWN_MEMBER_ID')
  })

  it('is refused with an id that was given out longer ago than a session', () => {
    const play = new GroupPlay()
    play.join({ sessionTimeoutMs: 1_000 })
    play.pass(1_000)
    expect(fateOf(play.join({ member: 'm1' }))).toBe('UNKNOWN_MEMBER_ID')
    expect(play.state.isBlank).toBe(true)
  })

  it('is refused with an id whose connection has closed, after a moment', () => {
    const play = new GroupPlay()
    play.join({ connection: 7, sessionTimeoutMs: 60_000 })
    play.disconnect(7)
    play.pass(499)
    expect(play.state.isBlank).toBe(false)
    play.pass(1)
    expect(play.state.isBlank).toBe(true)
  })

  it('needs no id first for old clients and for static members', () => {
    for (const wish of [{ needsNoId: true }, { instance: 'one' }]) {
      expect(joinOf(new GroupPlay().join(wish))).toMatchObject({ refusal: undefined, generation: 1, member: 'm1' })
    }
  })

  it.each([99, 60_001, 0, -1])('is refused with a session timeout of %d ms, outside the bounds', (sessionTimeoutMs) => {
    const play = new GroupPlay()
    expect(fateOf(play.join({ sessionTimeoutMs }))).toBe('INVALID_SESSION_TIMEOUT')
    expect(joinOf(play.join({ sessionTimeoutMs })).refusal?.message).toContain('from 100 to 60000 ms')
    expect(play.state.isBlank).toBe(true)
  })

  it('is refused to more members than a group may have, pending ones included', () => {
    const { play } = settled(2, { membersMax: 3 })
    expect(fateOf(play.join())).toBe('MEMBER_ID_REQUIRED')
    expect(fateOf(play.join())).toBe('GROUP_MAX_SIZE_REACHED')
    expect(fateOf(play.join({ instance: 'static' }))).toBe('GROUP_MAX_SIZE_REACHED')
  })

  it('is refused to who would say more than a group may', () => {
    const { play } = settled(1, { bytesMax: 1_000 })
    const asked = play.join({ protocols: { range: 'x'.repeat(950) } })
    expect(fateOf(asked)).toBe('GROUP_MAX_SIZE_REACHED')
    expect(joinOf(asked).refusal?.message).toContain('1000')
  })

  it('is refused with a name of its own that is too long to be kept', () => {
    expect(fateOf(new GroupPlay().join({ instance: 'x'.repeat(257) }))).toBe('INVALID_REQUEST')
    expect(fateOf(new GroupPlay().join({ protocolType: 'x'.repeat(257) }))).toBe('INVALID_REQUEST')
    expect(fateOf(new GroupPlay().join({ instance: 'x'.repeat(256) }))).toBe('ok')
  })

  it('begins a round, which ends when all have joined again', () => {
    const { play, members } = settled(2)
    const { joining } = play.enter()
    expect(play.state.phase).toBe('PreparingRebalance')
    const again = members.map((member) => play.join({ member }))
    for (const asked of [...again, joining]) expect(joinOf(asked)).toMatchObject({ refusal: undefined, generation: 3 })
    expect(again.map((asked) => joinOf(asked).members.length)).toEqual([3, 0])
    expect(joinOf(joining).members).toEqual([])
  })

  it('is waited for, with an id that was given out while a round is under way', () => {
    const { play, members } = settled(1)
    const { joining } = play.enter()
    const pending = joinOf(play.join()).member
    const again = play.join({ member: members[0] ?? '' })
    expect([joining, again].map(fateOf)).toEqual(['waits', 'waits'])
    play.join({ member: pending })
    expect([joining, again].map(fateOf)).toEqual(['ok', 'ok'])
  })

  it('is answered with the same again where the answer was lost', () => {
    const play = new GroupPlay()
    const { member } = play.enter()
    const again = play.join({ member })
    expect(joinOf(again)).toMatchObject({ refusal: undefined, generation: 1, leader: member })
    expect(joinOf(again).members).toHaveLength(1)
    expect(play.state.phase).toBe('CompletingRebalance')
  })
})

describe('the ways to share out', () => {
  it('must be of the type of the group, and one of them known to all', () => {
    const { play } = settled(1, {}, { protocols: { range: '', sticky: '' } })
    expect(fateOf(play.join({ protocolType: 'connect' }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(fateOf(play.join({ protocols: { mine: '' } }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(fateOf(play.join({ protocols: {} }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(fateOf(play.join({ protocolType: '' }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(fateOf(play.join({ protocols: { mine: '', sticky: '' } }))).toBe('MEMBER_ID_REQUIRED')
  })

  it('are voted for: what most prefer of what all know', () => {
    const play = new GroupPlay()
    const a = play.enter({ protocols: { range: '', sticky: '', own: '' } })
    const b = play.enter({ protocols: { own2: '', sticky: '', range: '' } })
    play.join({ member: a.member, protocols: { range: '', sticky: '', own: '' } })
    const c = play.enter({ protocols: { sticky: '', range: '' } })
    play.join({ member: a.member, protocols: { range: '', sticky: '', own: '' } })
    play.join({ member: b.member, protocols: { own2: '', sticky: '', range: '' } })
    expect(joinOf(c.joining).protocol).toBe('sticky')
  })

  it('are those of the leader where as many prefer others', () => {
    const play = new GroupPlay()
    const a = play.enter({ protocols: { range: '', sticky: '' } })
    const b = play.enter({ protocols: { sticky: '', range: '' } })
    play.join({ member: a.member, protocols: { range: '', sticky: '' } })
    expect(joinOf(b.joining).protocol).toBe('range')
  })

  it('may be changed wholly by a member that is alone', () => {
    const { play, leader } = settled(1)
    expect(joinOf(play.join({ member: leader, protocols: { other: '' }, protocolType: 'connect' }))).toMatchObject({
      refusal: undefined,
      protocol: 'other',
      protocolType: 'connect',
    })
  })
})

describe('a round', () => {
  it('ends without who has not come within the longest rebalance timeout', () => {
    const { play, members } = settled(2, {}, { sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 3_000 })
    const [one = '', two = ''] = members
    const { joining } = play.enter({ sessionTimeoutMs: 60_000, connection: 9 })
    play.join({ member: one, sessionTimeoutMs: 60_000 })
    play.pass(2_999)
    expect(fateOf(joining)).toBe('waits')
    play.pass(1)
    expect(joinOf(joining)).toMatchObject({ refusal: undefined, generation: 3 })
    expect(play.state.memberCount).toBe(2)
    expect(fateOf(play.heartbeat({ member: two }))).toBe('UNKNOWN_MEMBER_ID')
  })

  it('ends without who has an id and does not come with it', () => {
    const { play, members } = settled(1, {}, { sessionTimeoutMs: 60_000 })
    play.join({ sessionTimeoutMs: 60_000 })
    const { joining } = play.enter({ sessionTimeoutMs: 60_000, connection: 3 })
    play.join({ member: members[0] ?? '', sessionTimeoutMs: 60_000 })
    play.pass(3_000)
    expect(fateOf(joining)).toBe('ok')
  })

  it('keeps a static member that has not come until its session is over', () => {
    const play = new GroupPlay()
    const a = play.enter({ instance: 'a', sessionTimeoutMs: 10_000 })
    const b = play.enter({ connection: 1, sessionTimeoutMs: 10_000 })
    play.pass(3_000)
    expect(joinOf(b.joining)).toMatchObject({ refusal: undefined, generation: 2, leader: b.member })
    expect(joinOf(b.joining).members.map(({ member }) => member)).toEqual([a.member, b.member])
    play.sync({ member: b.member, shares: { [a.member]: 'kept', [b.member]: 'mine' } })
    expect(play.state.phase).toBe('Stable')
    play.pass(6_999)
    expect(play.state.memberCount).toBe(2)
    play.pass(1)
    expect(play.state.memberCount).toBe(1)
  })

  it('takes out a member whose connection has closed after a moment, one that is heard by its beats only after the next of them', () => {
    for (const [isHeardByBeats, graceMs] of [
      [false, 500],
      [true, 11_000],
    ] as const) {
      const play = new GroupPlay()
      const { member } = play.enter({ connection: 1, sessionTimeoutMs: 30_000, isHeardByBeats })
      play.sync({ member, connection: 1, shares: { [member]: 'all' } })
      play.disconnect(1)
      play.pass(graceMs - 1)
      expect(play.state.memberCount).toBe(1)
      play.pass(1)
      expect(play.state.memberCount).toBe(0)
    }
  })

  it('goes on for as long again where only static members are left and none has come', () => {
    const play = new GroupPlay()
    const a = play.enter({ instance: 'a', sessionTimeoutMs: 60_000 })
    const b = play.enter({ connection: 1, sessionTimeoutMs: 60_000 })
    play.leave({ member: b.member })
    play.pass(10_000)
    expect(play.state.phase).toBe('PreparingRebalance')
    expect(joinOf(play.join({ instance: 'a', member: a.member })).generation).toBe(2)
  })

  it('is empty when its last member goes, and that is written down', () => {
    const { play, leader } = settled(1)
    play.leave({ member: leader })
    expect(play.state.phase).toBe('Empty')
    expect(play.stored.at(-1)).toEqual({
      protocolType: 'consumer',
      generation: 2,
      protocol: undefined,
      leader: undefined,
      members: [],
    })
  })

  it('keeps its leader as long as that one is in, and takes one that has come if not', () => {
    const { play, members, leader } = settled(3)
    const fourth = play.enter()
    for (const member of members) play.join({ member })
    expect(play.state.leader).toBe(leader)
    play.leave({ member: leader })
    const again = play.join({ member: members[2] ?? '' })
    play.leave({ member: fourth.member })
    play.pass(1_000)
    expect(joinOf(again)).toMatchObject({ refusal: undefined, leader: members[2] })
  })

  it('of an empty group waits for more, for as long as some come', () => {
    const play = new GroupPlay({ initialRebalanceDelayMs: 1_000 })
    const a = play.enter({ connection: 1 })
    play.pass(900)
    const b = play.enter({ connection: 2 })
    play.pass(999)
    expect([fateOf(a.joining), fateOf(b.joining)]).toEqual(['waits', 'waits'])
    play.pass(101)
    expect(joinOf(a.joining)).toMatchObject({ generation: 1, leader: a.member })
    expect(joinOf(b.joining).generation).toBe(1)
  })

  it('of an empty group waits no longer than the rebalance timeout', () => {
    const play = new GroupPlay({ initialRebalanceDelayMs: 1_000, membersMax: 100 })
    const first = play.enter({ connection: 1 })
    for (let seconds = 0; seconds < 6; seconds += 1) {
      play.pass(500)
      play.enter({ connection: 2 + seconds })
    }
    expect(play.now).toBe(3_000)
    expect(fateOf(first.joining)).toBe('ok')
  })

  it('is told to whoever shares out and whoever waits for a share', () => {
    const { play, members } = settled(2)
    const [one = '', two = ''] = members
    play.join({ member: one })
    play.join({ member: two })
    const waiting = play.sync({ member: two })
    play.enter()
    expect(fateOf(waiting)).toBe('REBALANCE_IN_PROGRESS')
    expect(fateOf(play.sync({ member: one }))).toBe('REBALANCE_IN_PROGRESS')
  })

  it('begins when the leader joins again, or a member that has something else to say; not for one that says the same', () => {
    const { play, members, leader } = settled(2)
    const [, follower = ''] = members
    expect(joinOf(play.join({ member: follower }))).toMatchObject({ refusal: undefined, generation: 2, members: [] })
    expect(play.state.phase).toBe('Stable')
    expect(fateOf(play.join({ member: follower, protocols: { range: 'else' } }))).toBe('waits')
    expect(play.state.phase).toBe('PreparingRebalance')
    expect(fateOf(play.join({ member: leader }))).toBe('ok')
  })
})

describe('sharing out', () => {
  it("is the leader's: the others wait for it, and get what it says when it is written down", () => {
    const play = new GroupPlay()
    const a = play.enter()
    const b = play.enter()
    play.join({ member: a.member })
    const follower = play.sync({ member: b.member, shares: { [b.member]: 'nothing that is read' } })
    expect(fateOf(follower)).toBe('waits')
    play.isStoring = false
    const leader = play.sync({ member: a.member, shares: { [a.member]: 'A', [b.member]: 'B', stranger: 'C' } })
    expect([fateOf(follower), fateOf(leader)]).toEqual(['waits', 'waits'])
    play.settle()
    expect([syncOf(follower).share, syncOf(leader).share]).toEqual(['B', 'A'])
    expect(play.stored.at(-1)?.members.map(({ member }) => member)).toEqual([a.member, b.member])
    expect(play.state.phase).toBe('Stable')
    expect(syncOf(play.sync({ member: b.member })).share).toBe('B')
  })

  it('gives nothing to whom the leader has not named', () => {
    const { play, members } = settled(2)
    for (const member of members) play.join({ member })
    play.join({ member: members[1] ?? '' })
    play.sync({ member: members[0] ?? '', shares: {} })
    expect(syncOf(play.sync({ member: members[1] ?? '' })).share).toBe('')
  })

  it('is refused by another protocol, in another generation, and to strangers', () => {
    const { play, leader } = settled(1)
    expect(fateOf(play.sync({ member: leader, protocol: 'other' }))).toBe('INCONSISTENT_GROUP_PROTOCOL')
    expect(fateOf(play.sync({ member: leader, generation: 0 }))).toBe('ILLEGAL_GENERATION')
    expect(fateOf(play.sync({ member: leader, generation: 2 }))).toBe('ILLEGAL_GENERATION')
    expect(fateOf(play.sync({ member: 'stranger' }))).toBe('UNKNOWN_MEMBER_ID')
    expect(fateOf(new GroupPlay().sync({ member: 'm' }))).toBe('UNKNOWN_MEMBER_ID')
  })

  it('is begun anew where it could not be written down', () => {
    const { play, members, leader } = settled(2)
    play.join({ member: leader })
    play.join({ member: members[1] ?? '' })
    play.isStoring = false
    const follower = play.sync({ member: members[1] ?? '' })
    const sharing = play.sync({ member: leader, shares: {} })
    play.settle('COORDINATOR_NOT_AVAILABLE')
    expect([fateOf(follower), fateOf(sharing)]).toEqual(['COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_NOT_AVAILABLE'])
    expect(play.state.phase).toBe('PreparingRebalance')
  })

  it('is not settled by what was written down for a round before', () => {
    const { play, members, leader } = settled(2)
    const [, two = ''] = members
    play.join({ member: leader })
    play.join({ member: two })
    play.isStoring = false
    play.sync({ member: leader, shares: { [leader]: 'old' } })
    play.leave({ member: two })
    play.join({ member: leader })
    const sharing = play.sync({ member: leader, shares: { [leader]: 'new' } })
    play.settle()
    expect(fateOf(sharing)).toBe('waits')
    play.settle()
    expect(syncOf(sharing).share).toBe('new')
  })

  it('is refused where it would be more than a group may say', () => {
    const { play, leader } = settled(1, { bytesMax: 1_000 })
    play.join({ member: leader })
    const asked = play.sync({ member: leader, shares: { [leader]: 'x'.repeat(1_000) } })
    expect(fateOf(asked)).toBe('INVALID_REQUEST')
    expect(syncOf(play.sync({ member: leader, shares: { [leader]: 'less' } })).share).toBe('less')
  })

  it('goes on without who does not ask for its share within the rebalance timeout, be it the leader', () => {
    const { play, members, leader } = settled(2, {}, { sessionTimeoutMs: 60_000 })
    const [, two = ''] = members
    play.join({ member: leader, sessionTimeoutMs: 60_000 })
    play.join({ member: two, sessionTimeoutMs: 60_000 })
    const waiting = play.sync({ member: two })
    play.pass(3_000)
    expect(fateOf(waiting)).toBe('REBALANCE_IN_PROGRESS')
    expect(fateOf(play.heartbeat({ member: leader }))).toBe('UNKNOWN_MEMBER_ID')
    expect(joinOf(play.join({ member: two }))).toMatchObject({ refusal: undefined, leader: two })
  })
})

describe('a member', () => {
  it('is out when its session is over, and the others hear of it', () => {
    const { play, members, leader } = settled(2)
    play.pass(999)
    const waiting = play.heartbeat({ member: leader, maxWaitMs: 10_000 })
    play.pass(1)
    expect(fateOf(waiting)).toBe('REBALANCE_IN_PROGRESS')
    expect(play.state.memberCount).toBe(1)
    expect(fateOf(play.heartbeat({ member: members[1] ?? '' }))).toBe('UNKNOWN_MEMBER_ID')
  })

  it.each(['heartbeat', 'sync', 'commit', 'join'] as const)('lives on by its %s', (what) => {
    const { play, members, leader } = settled(2)
    const [, follower = ''] = members
    for (let turn = 0; turn < 5; turn += 1) {
      play.pass(900)
      play.heartbeat({ member: leader })
      expect(fateOf(play[what]({ member: follower }))).toBe('ok')
    }
    expect(play.state.phase).toBe('Stable')
  })

  it('lives as long as its connection while its join waits', () => {
    const { play, members, leader } = settled(2, {}, { rebalanceTimeoutMs: 50_000 })
    const { joining } = play.enter({ connection: 9, sessionTimeoutMs: 1_000 })
    for (let seconds = 0; seconds < 10; seconds += 1) {
      for (const member of members) play.heartbeat({ member })
      play.pass(900)
    }
    expect(fateOf(joining)).toBe('waits')
    play.join({ member: leader })
    play.join({ member: members[1] ?? '' })
    expect(fateOf(joining)).toBe('ok')
  })

  it('has a moment to be heard elsewhere when its connection closes', () => {
    const { play, members } = settled(2, {}, { sessionTimeoutMs: 60_000 })
    const [, two = ''] = members
    play.disconnect(2)
    play.pass(499)
    play.heartbeat({ member: two, connection: 5 })
    play.pass(100)
    expect(play.state.memberCount).toBe(2)
    play.disconnect(5)
    play.pass(500)
    expect(play.state.memberCount).toBe(1)
    expect(play.state.phase).toBe('PreparingRebalance')
  })

  it('is not out by the closing of a connection while it waits on another', () => {
    const { play, members } = settled(2)
    const [, two = ''] = members
    const { joining } = play.enter({ connection: 9 })
    const again = play.join({ member: two, connection: 4 })
    play.heartbeat({ member: two, connection: 2 })
    play.disconnect(2)
    play.pass(600)
    play.join({ member: members[0] ?? '' })
    expect([fateOf(again), fateOf(joining)]).toEqual(['ok', 'ok'])
  })

  it('counts as one that has joined no more when the connection closes that it joined on', () => {
    const { play, members, leader } = settled(2)
    const { joining } = play.enter({ connection: 9 })
    const again = play.join({ member: members[1] ?? '', connection: 2 })
    play.disconnect(2)
    expect(fateOf(again)).not.toBe('waits')
    play.join({ member: leader, connection: 1 })
    expect(fateOf(joining)).toBe('waits')
    play.pass(500)
    expect(joinOf(joining)).toMatchObject({ refusal: undefined, generation: 3 })
    expect(play.state.memberCount).toBe(2)
  })

  it('hears of a round by a heartbeat that waits, and of nothing when its time is up', () => {
    const { play, leader } = settled(1)
    const waiting = play.heartbeat({ member: leader, maxWaitMs: 400 })
    play.pass(399)
    expect(fateOf(waiting)).toBe('waits')
    play.pass(1)
    expect(fateOf(waiting)).toBe('ok')
    const second = play.heartbeat({ member: leader, maxWaitMs: 400 })
    play.enter()
    expect(fateOf(second)).toBe('REBALANCE_IN_PROGRESS')
  })

  it('has long waits end together with those of others, a little early', () => {
    const { play, members, leader } = settled(2, {}, { sessionTimeoutMs: 60_000 })
    const one = play.heartbeat({ member: leader, maxWaitMs: 10_000 })
    play.pass(130)
    const two = play.heartbeat({ member: members[1] ?? '', maxWaitMs: 10_000 })
    play.pass(9_869)
    expect([fateOf(one), fateOf(two)]).toEqual(['waits', 'waits'])
    play.pass(1)
    expect([fateOf(one), fateOf(two)]).toEqual(['ok', 'ok'])
  })

  it('has no heartbeat wait for longer than half its session, and only one at a time', () => {
    const { play, leader } = settled(1)
    const first = play.heartbeat({ member: leader, maxWaitMs: 100_000 })
    const second = play.heartbeat({ member: leader, maxWaitMs: 100_000 })
    expect([fateOf(first), fateOf(second)]).toEqual(['ok', 'waits'])
    play.pass(500)
    expect(fateOf(second)).toBe('ok')
    expect(play.state.memberCount).toBe(1)
  })

  it('hears that it is behind, or unknown', () => {
    const { play, leader } = settled(1)
    expect(fateOf(play.heartbeat({ member: leader, generation: 7 }))).toBe('ILLEGAL_GENERATION')
    expect(fateOf(play.heartbeat({ member: 'stranger' }))).toBe('UNKNOWN_MEMBER_ID')
    play.enter()
    expect(fateOf(play.heartbeat({ member: leader }))).toBe('REBALANCE_IN_PROGRESS')
  })

  it('may say that it lives while the leader shares out', () => {
    const play = new GroupPlay()
    const { member } = play.enter()
    expect(fateOf(play.heartbeat({ member }))).toBe('ok')
  })

  it('that leaves takes what waits for it along', () => {
    const { play, members, leader } = settled(2)
    const waiting = play.heartbeat({ member: members[1] ?? '', maxWaitMs: 400 })
    const asked = play.leave({ member: members[1] ?? '' }, { member: 'stranger' }, {})
    expect(asked.answer).toMatchObject({ errors: [undefined, 'UNKNOWN_MEMBER_ID', 'UNKNOWN_MEMBER_ID'] })
    expect(fateOf(waiting)).toBe('UNKNOWN_MEMBER_ID')
    expect(joinOf(play.join({ member: leader })).members).toHaveLength(1)
  })

  it('that leaves before it has come in is not waited for', () => {
    const { play, leader } = settled(1)
    play.join({ member: leader })
    const pending = joinOf(play.join()).member
    const again = play.join({ member: leader, protocols: { range: 'else' } })
    expect(fateOf(again)).toBe('waits')
    expect(play.leave({ member: pending }).answer).toMatchObject({ errors: [undefined] })
    expect(fateOf(again)).toBe('ok')
  })
})

describe('a static member', () => {
  const wish = { instance: 'a', connection: 1 }

  it('takes the place of the one of its name without a round, if it says the same, and the old one is fenced', () => {
    const { play, members } = settled(1, {}, wish)
    const [old = ''] = members
    const waiting = play.heartbeat({ member: old, instance: 'a', maxWaitMs: 400 })
    const back = play.join(wish)
    expect(joinOf(back)).toMatchObject({ refusal: undefined, generation: 1, skipAssignment: true })
    expect(joinOf(back).members).toHaveLength(1)
    expect(joinOf(back).leader).toBe(joinOf(back).member)
    expect(play.state.phase).toBe('Stable')
    expect(fateOf(waiting)).toBe('FENCED_INSTANCE_ID')
    for (const asked of [
      play.heartbeat({ member: old, instance: 'a' }),
      play.commit({ member: old, instance: 'a' }),
      play.sync({ member: old, instance: 'a' }),
      play.join({ member: old, instance: 'a' }),
    ]) {
      expect(fateOf(asked)).toBe('FENCED_INSTANCE_ID')
    }
    expect(syncOf(play.sync({ member: joinOf(back).member, instance: 'a' })).share).toBe(`of ${old}`)
    expect(play.stored.at(-1)?.members[0]?.member).toBe(joinOf(back).member)
  })

  it('begins a round if it says something else, or comes back in the middle of one', () => {
    const { play } = settled(1, {}, wish)
    expect(joinOf(play.join({ ...wish, protocols: { range: 'else' } }))).toMatchObject({ generation: 2 })
    expect(joinOf(play.join({ ...wish, protocols: { range: 'else' } }))).toMatchObject({ generation: 3 })
  })

  it.each([
    ['what it had, and in which generation, is nothing that it wants', ['t', 'u'], true],
    ['in another order', ['u', 't'], true],
    ['less', ['t'], false],
    ['something else', ['t', 'v'], false],
  ])('comes back without a round if it wants the same topics: %s', (_, topics, isSame) => {
    const owned = [{ topic: 't', partition: 0 }]
    const before = encodeSubscription({ topics: ['t', 'u'], owned, generation: 7 })
    const now = encodeSubscription({ topics, owned: [], generation: -1 })
    const { play } = settled(1, {}, { ...wish, protocols: { range: before } })
    const back = joinOf(play.join({ ...wish, protocols: { range: now } }))
    expect(back).toMatchObject({ refusal: undefined, generation: isSame ? 1 : 2, skipAssignment: isSame })
    // Of what is no consumer, nobody knows what it wants.
    const others = settled(1, {}, { ...wish, protocolType: 'connect', protocols: { range: before } })
    const other = others.play.join({ ...wish, protocolType: 'connect', protocols: { range: now } })
    expect(joinOf(other)).toMatchObject({ generation: 2 })
  })

  it('is answered what has happened to what was to be written down', () => {
    const { play } = settled(1, {}, wish)
    play.isStoring = false
    const back = play.join(wish)
    expect(fateOf(back)).toBe('waits')
    play.settle('COORDINATOR_NOT_AVAILABLE')
    expect(fateOf(back)).toBe('COORDINATOR_NOT_AVAILABLE')
    expect(play.state.phase).toBe('Stable')
    const again = play.join(wish)
    play.settle()
    expect(fateOf(again)).toBe('ok')
  })

  it('that comes back while a round begins has joined it', () => {
    const { play } = settled(1, {}, wish)
    play.isStoring = false
    const back = play.join(wish)
    const { joining } = play.enter({ connection: 2 })
    expect([fateOf(back), fateOf(joining)]).toEqual(['ok', 'ok'])
    expect(joinOf(back).generation).toBe(2)
    play.settle()
    expect(play.state.phase).toBe('CompletingRebalance')
  })

  it('keeps its session when its connection closes: it is meant to come back', () => {
    const { play } = settled(1, {}, { ...wish, sessionTimeoutMs: 5_000 })
    play.disconnect(1)
    play.pass(4_999)
    expect(play.state.memberCount).toBe(1)
    play.pass(1)
    expect(play.state.memberCount).toBe(0)
  })

  it('can be taken out by its name alone', () => {
    const { play } = settled(1, {}, wish)
    expect(play.leave({ instance: 'b' }).answer).toMatchObject({ errors: ['UNKNOWN_MEMBER_ID'] })
    expect(play.leave({ instance: 'a', member: 'other' }).answer).toMatchObject({ errors: ['FENCED_INSTANCE_ID'] })
    expect(play.leave({ instance: 'a' }).answer).toMatchObject({ errors: [undefined] })
    expect(play.state.phase).toBe('Empty')
  })
})

describe('a commit', () => {
  it('of a member is taken while its generation stands, and while the next is prepared', () => {
    const { play, leader } = settled(1)
    expect(fateOf(play.commit({ member: leader }))).toBe('ok')
    play.enter()
    expect(play.state.phase).toBe('PreparingRebalance')
    expect(fateOf(play.commit({ member: leader }))).toBe('ok')
    play.join({ member: leader })
    expect(play.state.phase).toBe('CompletingRebalance')
    expect(fateOf(play.commit({ member: leader }))).toBe('REBALANCE_IN_PROGRESS')
    expect(fateOf(play.commit({ member: leader, generation: 1 }))).toBe('ILLEGAL_GENERATION')
  })

  it('of nobody is taken while nobody is in', () => {
    const nobody = { generation: -1 }
    const { play, leader } = settled(1)
    expect(fateOf(play.commit(nobody))).toBe('UNKNOWN_MEMBER_ID')
    play.leave({ member: leader })
    expect(fateOf(play.commit(nobody))).toBe('ok')
    expect(fateOf(new GroupPlay().commit(nobody))).toBe('ok')
    expect(fateOf(play.commit({ member: leader }))).toBe('UNKNOWN_MEMBER_ID')
  })
})

describe('a generation', () => {
  it('never goes back: each leader epoch has a range above those before it', () => {
    const play = new GroupPlay({ leaderEpoch: 3 })
    expect(joinOf(play.enter().joining).generation).toBe(1)
    const later = new GroupPlay({ leaderEpoch: 3, generationBase: 3 * 4_096 })
    expect(joinOf(later.enter().joining).generation).toBe(3 * 4_096 + 1)
  })

  it('is written down before it is told where the next leader epoch could give it out, too', () => {
    const play = new GroupPlay({ leaderEpoch: 0, generationBase: 4_095 })
    play.isStoring = false
    const { joining } = play.enter()
    expect(fateOf(joining)).toBe('waits')
    expect(play.unsettled[0]?.snapshot).toMatchObject({ generation: 4_096, members: [] })
    play.settle()
    expect(joinOf(joining).generation).toBe(4_096)
  })

  it('is written down before it is told while the log has nothing of the leader epoch', () => {
    let isEpochKept = false
    const play = new GroupPlay({ isEpochKept: () => isEpochKept })
    play.isStoring = false
    const { joining } = play.enter()
    expect(fateOf(joining)).toBe('waits')
    isEpochKept = true
    play.settle()
    expect(joinOf(joining).generation).toBe(1)
    expect(joinOf(play.join({ member: joinOf(joining).member, protocols: { range: 'else' } })).generation).toBe(2)
  })

  it('that could not be written down is tried again', () => {
    const play = new GroupPlay({ leaderEpoch: 0, generationBase: 4_095 })
    play.isStoring = false
    const { joining } = play.enter({ connection: 1 })
    play.settle('REQUEST_TIMED_OUT')
    play.pass(499)
    expect(play.unsettled).toEqual([])
    play.pass(1)
    play.settle()
    expect(fateOf(joining)).toBe('ok')
  })

  it('that is being written down waits for nobody who has not come in time', () => {
    const { play, leader } = settled(2, { generationBase: 4_093 }, { sessionTimeoutMs: 60_000 })
    play.isStoring = false
    const again = play.join({ member: leader, sessionTimeoutMs: 60_000 })
    play.pass(3_000)
    expect(fateOf(again)).toBe('waits')
    play.settle()
    expect(joinOf(again)).toMatchObject({ generation: 4_096 })
    expect(joinOf(again).members).toHaveLength(1)
  })
})

describe('a group', () => {
  it('is deleted only when nobody is in it', () => {
    const { play, leader } = settled(1)
    expect(fateOf(play.delete())).toBe('NON_EMPTY_GROUP')
    play.leave({ member: leader })
    expect(fateOf(play.delete())).toBe('ok')
    expect(play.effects.at(-1)).toEqual({ kind: 'forget', wasStored: true, generation: undefined })
    for (const asked of [play.join(), play.sync({ member: 'm' }), play.heartbeat({ member: 'm' }), play.delete()]) {
      expect(fateOf(asked)).toBe('COORDINATOR_NOT_AVAILABLE')
    }
    expect(fateOf(play.leave({ member: 'm' }))).toBe('COORDINATOR_NOT_AVAILABLE')
    expect(fateOf(play.commit({ generation: -1 }))).toBe('COORDINATOR_NOT_AVAILABLE')
  })

  it('goes with its last offset, unless somebody is about to come', () => {
    const play = new GroupPlay()
    play.join()
    play.expire()
    expect(play.state.phase).toBe('Empty')
    play.pass(1_000)
    play.expire()
    expect(play.state.phase).toBe('Dead')
  })

  it('answers whoever waits when its coordinator leads no more', () => {
    const { play, members, leader } = settled(2)
    const heartbeat = play.heartbeat({ member: leader, maxWaitMs: 400 })
    play.lose()
    expect(fateOf(heartbeat)).toBe('NOT_COORDINATOR')
    const other = settled(2)
    other.play.isStoring = false
    for (const member of members) other.play.join({ member })
    const syncs = other.members.map((member) => other.play.sync({ member }))
    const { joining } = settled(2).play.enter()
    expect(fateOf(joining)).toBe('waits')
    other.play.lose()
    expect(syncs.map(fateOf)).toEqual(['NOT_COORDINATOR', 'NOT_COORDINATOR'])
    expect(other.play.unanswered).toEqual([])
    expect(other.play.state.nextDeadline).toBe(Infinity)
  })

  it('goes on elsewhere as it was written down: its members have a session to be heard in', () => {
    const { play, members, leader } = settled(2)
    const snapshot = play.stored.at(-1)
    if (snapshot === undefined) throw new Error('nothing was stored')
    const next = new GroupPlay({ leaderEpoch: 1, generationBase: 4_096 })
    next.state = GroupState.restore(next.options, snapshot, next.now)
    expect(next.state).toMatchObject({ phase: 'Stable', generation: 2, leader, memberCount: 2, protocol: 'range' })
    expect(fateOf(next.heartbeat({ member: leader }))).toBe('ok')
    expect(syncOf(next.sync({ member: members[1] ?? '' })).share).toBe(`of ${members[1] ?? ''}`)
    expect(fateOf(next.commit({ member: leader, generation: 1 }))).toBe('ILLEGAL_GENERATION')
    next.pass(999)
    next.heartbeat({ member: leader })
    next.pass(1)
    expect(next.state.memberCount).toBe(1)
    expect(joinOf(next.join({ member: leader })).generation).toBe(4_097)
  })
})
