// The ids of static members: which of two came in later, and what a coordinator that knows only the former one makes of it.

import { describe, expect, it } from 'vitest'
import { isLaterId, staticMemberId } from '../../broker/groups/member-id.ts'
import { GroupState } from '../../broker/groups/group-state.ts'
import { fateOf, GroupPlay } from './group-play.ts'

const UUIDS = ['6f1ed002-ab59-4f54-a3a0-b4e0f0c3e8a1', '0d3c1b61-9d3b-4f0a-8d5b-1c2d3e4f5a6b'] as const

function idOf(leaderEpoch: number, number: number, uuid: string = UUIDS[0]): string {
  return staticMemberId('a-1', { leaderEpoch, number }, uuid)
}

describe('of two ids of a static name', () => {
  it.each([
    ['of a later epoch', idOf(4, 1), idOf(3, 9)],
    ['of a higher number, whatever its length', idOf(3, 10), idOf(3, 9, UUIDS[1])],
  ])('the one %s was given out later', (_, later, earlier) => {
    expect(isLaterId(later, earlier)).toBe(true)
    expect(isLaterId(earlier, later)).toBe(false)
  })

  it('none was where nobody can say', () => {
    expect(isLaterId(idOf(3, 1), idOf(3, 1))).toBe(false)
    expect(isLaterId(idOf(3, 1), `a-1-${UUIDS[0]}`)).toBe(false)
    expect(isLaterId('a-1', idOf(3, 1))).toBe(false)
  })
})

describe('a coordinator that has read of a static member', () => {
  const known = idOf(3, 5)
  const member = {
    instance: 'a-1',
    clientId: 'client',
    host: 'host',
    rebalanceTimeoutMs: 3_000,
    sessionTimeoutMs: 1_000,
  }
  const bytes = new Uint8Array(0)
  const members = [{ ...member, member: known, subscription: bytes, assignment: bytes }]
  const snapshot = { protocolType: 'consumer', generation: 7, protocol: 'range', leader: known, members }

  function asked(by: string): string[] {
    const play = new GroupPlay()
    play.state = GroupState.restore(play.options, snapshot, 0)
    const voice = { member: by, instance: 'a-1' }
    return [play.join(voice), play.sync(voice), play.heartbeat(voice), play.commit(voice)].map(
      (one) => fateOf(one) ?? '',
    )
  }

  it('fences whoever had the name before', () => {
    expect(new Set(asked(idOf(3, 4)))).toEqual(new Set(['FENCED_INSTANCE_ID']))
  })

  it('lets come in again who has come in since, by a coordinator that had not written it down', () => {
    expect(new Set(asked(idOf(4, 1)))).toEqual(new Set(['UNKNOWN_MEMBER_ID']))
  })
})
