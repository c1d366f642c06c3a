import { describe, expect, it } from 'vitest'
import { type Campaign, comparePositions, fenceQuorum, judgeCampaign } from '../../broker/replication/fence-quorum.ts'
import type { FenceGrant } from '../../broker/replication/replication-events.ts'
import { brokerId, leaderEpoch, offset } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'

describe('the fence quorum', () => {
  it.each([
    [1, 1, 1],
    [2, 1, 2],
    [2, 2, 2],
    [3, 1, 3],
    [3, 2, 2],
    [3, 3, 2],
    [4, 2, 3],
    [5, 3, 3],
    [5, 1, 5],
  ])('of %i replicas with %i in sync at least is %i', (replicas, minInSyncReplicas, expected) => {
    expect(fenceQuorum(replicas, minInSyncReplicas)).toBe(expected)
  })

  it('meets every set that can acknowledge, and every other quorum', () => {
    for (let replicas = 1; replicas <= 9; replicas += 1) {
      for (let minInSync = 1; minInSync <= replicas; minInSync += 1) {
        const quorum = fenceQuorum(replicas, minInSync)
        expect(quorum + minInSync).toBeGreaterThan(replicas)
        expect(2 * quorum).toBeGreaterThan(replicas)
        expect(quorum).toBeLessThanOrEqual(replicas)
      }
    }
  })
})

function position(latestEpoch: number | undefined, logEndOffset: number): FenceGrant['position'] {
  const epoch = latestEpoch === undefined ? undefined : leaderEpoch(latestEpoch)
  return { latestEpoch: epoch, logEndOffset: offset(logEndOffset) }
}

interface GrantFacts {
  readonly epoch?: number | undefined
  readonly end?: number
  readonly isSuspect?: boolean
  readonly directoryId?: string
}

function grant(from: number, { epoch = 1, end = 5, isSuspect = false, directoryId }: GrantFacts = {}): FenceGrant {
  return {
    from: brokerId(from),
    epoch: leaderEpoch(9),
    directoryId: directoryId ?? `disk-${from}`,
    isSuspect,
    position: position(epoch, end),
  }
}

function votersOf(...ids: readonly number[]): Voter[] {
  return ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` }))
}

function judge(grants: readonly FenceGrant[], changes: Partial<Campaign> = {}) {
  const sets = [{ voters: votersOf(1, 2, 3), quorum: 2 }]
  return judgeCampaign({ candidate: brokerId(1), sets, policy: 'balanced', grants, ...changes })
}

describe('two logs', () => {
  it('are compared by the epoch of their last record first, and by their ends then', () => {
    expect(comparePositions(position(2, 3), position(1, 9))).toBeGreaterThan(0)
    expect(comparePositions(position(2, 3), position(2, 4))).toBeLessThan(0)
    expect(comparePositions(position(0, 1), position(undefined, 0))).toBeGreaterThan(0)
    expect(comparePositions(position(2, 3), position(2, 3))).toBe(0)
  })
})

describe('a candidate', () => {
  it('wins with a quorum of promises, its own included', () => {
    expect(judge([grant(1)])).toEqual({ kind: 'open' })
    expect(judge([grant(1), grant(3)])).toEqual({ kind: 'won', isLossPossible: false })
  })

  it('waits for its own promise to be durable, however many others there are', () => {
    expect(judge([grant(2), grant(3)])).toEqual({ kind: 'open' })
  })

  it('gives way to the best log it sees, even before the quorum is there', () => {
    expect(judge([grant(1), grant(2, { end: 6 })], { sets: [{ voters: votersOf(1, 2, 3), quorum: 3 }] })).toEqual({
      kind: 'lost',
      to: 2,
    })
    expect(judge([grant(1), grant(2, { end: 6 }), grant(3, { epoch: 2, end: 4 })])).toEqual({ kind: 'lost', to: 3 })
  })

  it('does not count a replica whose disk is not the registered one, nor one that is none', () => {
    expect(judge([grant(1), grant(2, { directoryId: 'new' })])).toEqual({ kind: 'open' })
    expect(judge([grant(1), grant(4)])).toEqual({ kind: 'open' })
  })

  it('does not count a suspect replica, whatever its log', () => {
    expect(judge([grant(1), grant(2, { isSuspect: true, end: 9 })])).toEqual({ kind: 'open' })
    expect(judge([grant(1), grant(2, { isSuspect: true, end: 9 }), grant(3)])).toEqual({
      kind: 'won',
      isLossPossible: false,
    })
  })

  it('may be suspect itself, when enough others vouch for its log', () => {
    const grants = [grant(1, { isSuspect: true }), grant(2), grant(3)]
    expect(judge(grants)).toEqual({ kind: 'won', isLossPossible: false })
  })

  it('wins among suspects only when all have answered, only with the best log, and says that something may be lost', () => {
    const suspect = { isSuspect: true }
    expect(judge([grant(1, suspect), grant(2, suspect)])).toEqual({ kind: 'open' })
    const all = [grant(1, suspect), grant(2, suspect), grant(3)]
    expect(judge(all)).toEqual({ kind: 'won', isLossPossible: true })
    expect(judge(all, { policy: 'wait' })).toEqual({ kind: 'open' })
    const better = [grant(1, suspect), grant(2, { isSuspect: true, end: 9 }), grant(3)]
    expect(judge(better)).toEqual({ kind: 'lost', to: 2 })
  })
})

describe('a candidate while the voters change', () => {
  const sets = [
    { voters: votersOf(1, 2, 3), quorum: 2 },
    { voters: votersOf(3, 4, 5), quorum: 2 },
  ]

  it('needs the quorum of the old voters and that of the new ones', () => {
    expect(judge([grant(1), grant(2), grant(3)], { sets })).toEqual({ kind: 'open' })
    expect(judge([grant(1), grant(4), grant(5)], { sets })).toEqual({ kind: 'open' })
    expect(judge([grant(1), grant(3), grant(4)], { sets })).toEqual({ kind: 'won', isLossPossible: false })
  })

  it('may be one that is no voter any more, and counts for no set then', () => {
    const changed = [{ voters: votersOf(2, 3, 4), quorum: 2 }]
    expect(judge([grant(1), grant(2)], { sets: changed })).toEqual({ kind: 'open' })
    expect(judge([grant(1), grant(2), grant(3)], { sets: changed })).toEqual({ kind: 'won', isLossPossible: false })
  })

  it('gives way to a better log of an old voter, or to one that goes on from its own', () => {
    expect(judge([grant(1), grant(2, { epoch: 2 })], { sets })).toEqual({ kind: 'lost', to: 2 })
    expect(judge([grant(1), grant(4, { end: 6 })], { sets })).toEqual({ kind: 'lost', to: 4 })
  })

  it('does not give way to a newcomer whose log has parted from its own: it need not know of the change', () => {
    expect(judge([grant(1), grant(4, { epoch: 2 })], { sets })).toEqual({ kind: 'open' })
  })

  it('wins among suspects only when all of both sets have answered', () => {
    const suspect = { isSuspect: true }
    const old = [grant(1, suspect), grant(2, suspect), grant(3)]
    expect(judge([...old, grant(4)], { sets })).toEqual({ kind: 'open' })
    expect(judge([...old, grant(4, suspect), grant(5, suspect)], { sets })).toEqual({
      kind: 'won',
      isLossPossible: true,
    })
  })
})
