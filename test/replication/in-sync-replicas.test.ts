import { beforeEach, describe, expect, it } from 'vitest'
import { InSyncReplicas } from '../../broker/replication/in-sync-replicas.ts'
import { brokerId, offset } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'

let replicas: InSyncReplicas

function voter(id: number, directoryId = `disk-${id}`): Voter {
  return { brokerId: brokerId(id), directoryId }
}

function setOf(minInSyncReplicas: number, ...ids: readonly number[]): VoterSet {
  return { voters: ids.map((id) => voter(id)), minInSyncReplicas }
}

beforeEach(() => {
  const sets = [setOf(2, 1, 2, 3)]
  replicas = new InSyncReplicas({ self: voter(1), sets, granted: [brokerId(2)], lagMsMax: 1_000, now: 0 })
})

function held(id: number): number {
  return replicas.heldEndOffsetOf(brokerId(id), `disk-${id}`)
}

function heldBySets(own: number): readonly (readonly number[])[] {
  return replicas.heldBySets(offset(own)).map(({ heldEndOffsets }) => heldEndOffsets)
}

interface Fetch {
  readonly from: number
  readonly to: number
  readonly now: number
  readonly end: number
  readonly held?: number
  readonly isSuspect?: boolean
  readonly hasHoles?: boolean
  readonly directoryId?: string
}

function fetch({ from, to, now, end, held = to, isSuspect = false, hasHoles = false, directoryId }: Fetch): void {
  const report = {
    from: brokerId(from),
    directoryId: directoryId ?? `disk-${from}`,
    incarnation: 1,
    fetchOffset: offset(to),
    heldEndOffset: offset(held),
    isSuspect,
    hasHoles,
  }
  replicas.onFetch(report, offset(end), now)
}

function change(end: number, now: number, epochStart = 0, highWatermark = 0): boolean {
  return replicas.maybeChange({
    leaderEndOffset: offset(end),
    highWatermark: offset(highWatermark),
    epochStartOffset: offset(epochStart),
    now,
  })
}

describe('the in-sync set', () => {
  it('begins with the leader and with those that have granted the election', () => {
    expect(replicas.members).toEqual([1, 2])
    expect(replicas.hasEnough).toBe(true)
  })

  it('loses a replica that has not caught up for too long', () => {
    expect(change(9, 1_000)).toBe(false)
    expect(change(9, 1_001)).toBe(true)
    expect(replicas.members).toEqual([1])
  })

  it('keeps one that reaches what the leader had at its fetch before, under a load that never pauses', () => {
    for (let now = 0; now <= 5_000; now += 500) fetch({ from: 2, to: now / 10, now, end: now / 10 + 50 })
    expect(change(600, 5_400)).toBe(false)
    expect(replicas.members).toEqual([1, 2])
  })

  it('keeps one that has all there is and says so, however long nothing was written', () => {
    fetch({ from: 2, to: 9, now: 0, end: 9 })
    fetch({ from: 2, to: 9, now: 999_500, end: 9 })
    expect(change(9, 1_000_000)).toBe(false)
    expect(replicas.members).toEqual([1, 2])
  })

  it('drops one that is silent, although it had all there was', () => {
    fetch({ from: 2, to: 9, now: 0, end: 9 })
    expect(change(9, 1_000_000)).toBe(true)
    expect(replicas.members).toEqual([1])
  })

  it('takes one in that has reached the high watermark and a record of this epoch', () => {
    fetch({ from: 3, to: 5, now: 10, end: 5 })
    expect(change(6, 10, 5, 4)).toBe(false)
    fetch({ from: 3, to: 6, now: 20, end: 6 })
    expect(change(6, 20, 5, 7)).toBe(false)
    expect(change(6, 20, 5, 6)).toBe(true)
    expect(replicas.members).toEqual([1, 2, 3])
  })

  it('takes a voter in that has all there is where the epoch has no record yet, but no newcomer', () => {
    fetch({ from: 3, to: 0, now: 10, end: 0 })
    fetch({ from: 4, to: 0, now: 10, end: 0 })
    expect(change(0, 10)).toBe(true)
    expect(replicas.members).toEqual([1, 2, 3])
    expect(replicas.behind([{ brokerId: brokerId(4), directoryId: 'disk-4' }])).toEqual([4])
  })

  it('drops one whose process is gone without waiting, and has it again when it fetches again', () => {
    fetch({ from: 2, to: 9, now: 0, end: 9 })
    replicas.onKnownDead(brokerId(2))
    expect(change(9, 1)).toBe(true)
    expect(replicas.members).toEqual([1])
    expect(replicas.hasEnough).toBe(false)
    expect(change(9, 2)).toBe(false)
    fetch({ from: 2, to: 9, now: 3, end: 9 })
    expect(change(9, 3)).toBe(true)
    expect(replicas.members).toEqual([1, 2])
  })

  it('has no suspect replica', () => {
    fetch({ from: 3, to: 6, now: 20, end: 6, isSuspect: true })
    expect(change(6, 20)).toBe(false)
    fetch({ from: 3, to: 6, now: 30, end: 6 })
    expect(change(6, 30)).toBe(true)
  })
})

describe('a replica with holes', () => {
  it('is in sync like others, and is not among those that have everything', () => {
    expect(replicas.whole).toEqual([])
    fetch({ from: 2, to: 9, now: 1, end: 9, hasHoles: true })
    fetch({ from: 3, to: 9, now: 1, end: 9 })
    change(9, 1)
    expect(replicas.members).toEqual([1, 2, 3])
    expect(replicas.whole).toEqual([3])
    fetch({ from: 2, to: 9, now: 2, end: 9 })
    expect(replicas.whole).toEqual([2, 3])
    replicas.onNewIncarnation(voter(3), 2, 3)
    expect(replicas.whole).toEqual([2])
  })
})

describe('what a follower holds', () => {
  it('grows only within one life, and begins anew with the next', () => {
    fetch({ from: 2, to: 8, now: 0, end: 9 })
    fetch({ from: 2, to: 5, now: 1, end: 9 })
    expect(held(2)).toBe(8)
    replicas.onNewIncarnation(voter(2), 2, 2)
    expect(held(2)).toBe(0)
    expect(replicas.incarnationOf(brokerId(2), 'disk-2')).toBe(2)
    expect(heldBySets(9)).toEqual([[9, 0, 0]])
  })

  it('is at most what it has fetched, whatever it says', () => {
    fetch({ from: 2, to: 5, now: 0, end: 9, held: 7 })
    expect(held(2)).toBe(5)
    fetch({ from: 2, to: 8, now: 0, end: 9, held: 6 })
    expect(held(2)).toBe(6)
  })

  it('is nothing for a broker that is no voter', () => {
    fetch({ from: 4, to: 5, now: 0, end: 9 })
    expect(held(4)).toBe(0)
    expect(heldBySets(9)).toEqual([[9, 0, 0]])
  })
})

describe('how many followers were heard of', () => {
  it('counts those that have fetched within the time', () => {
    fetch({ from: 2, to: 1, now: 500, end: 9 })
    fetch({ from: 3, to: 1, now: 900, end: 9 })
    expect(replicas.heardWithin(400, 1_000)).toEqual([2])
    expect(replicas.heardWithin(500, 1_000)).toEqual([3])
  })
})

describe('while the voters change', () => {
  beforeEach(() => {
    for (const from of [4, 5]) {
      replicas.onNewIncarnation(voter(from), 1, 0)
      fetch({ from, to: 9, now: 0, end: 9 })
    }
    change(9, 0)
  })

  it('one that is no voter is served, is shown nowhere, and is known to be behind or not', () => {
    expect(replicas.members).toEqual([1, 2])
    expect(replicas.behind([voter(1), voter(4), voter(6)])).toEqual([6])
    replicas.onNewIncarnation(voter(4), 2, 1)
    expect(replicas.behind([voter(4)])).toEqual([4])
  })

  it('each set is counted for itself', () => {
    replicas.setVoters([setOf(2, 1, 2, 3), setOf(3, 1, 4, 5)])
    expect(heldBySets(9)).toEqual([
      [9, 0, 0],
      [9, 9, 9],
    ])
    expect(replicas.members).toEqual([1, 2, 4, 5])
    expect(replicas.hasEnough).toBe(true)
    fetch({ from: 2, to: 9, now: 500, end: 9 })
    expect(replicas.heardWithin(400, 600)).toEqual([2, 1])
  })

  it('a leader that is no voter any more counts for nothing itself', () => {
    replicas.setVoters([setOf(2, 2, 4)])
    expect(heldBySets(9)).toEqual([[0, 9]])
    expect(replicas.heardWithin(400, 100)).toEqual([2])
  })

  it('what is known of a voter stays known when it is none any more', () => {
    replicas.setVoters([setOf(2, 1, 4)])
    fetch({ from: 2, to: 8, now: 10, end: 9 })
    expect(held(2)).toBe(8)
    expect(replicas.members).toEqual([1, 4])
  })

  it('the disks of one broker are two replicas', () => {
    const other = voter(4, 'new')
    replicas.setVoters([setOf(2, 1, 2, 4), { voters: [voter(1), voter(2), other], minInSyncReplicas: 2 }])
    replicas.onNewIncarnation(other, 1, 0)
    fetch({ from: 4, to: 5, now: 20, end: 9, directoryId: 'new' })
    expect(heldBySets(9)).toEqual([
      [9, 0, 9],
      [9, 0, 5],
    ])
    expect(replicas.heldEndOffsetOfBroker(brokerId(4))).toBe(5)
  })

  it('the best that is in sync is to lead when the leader goes', () => {
    expect(replicas.successor()).toBe(2)
    replicas.setVoters([setOf(2, 4, 5)])
    expect(replicas.successor()).toBe(4)
  })

  it('of those that are no voters only a few are remembered, the last that were heard of', () => {
    for (let from = 10; from < 20; from += 1) {
      replicas.onNewIncarnation(voter(from), 1, from)
      fetch({ from, to: 9, now: from, end: 9 })
    }
    expect([held(4), held(11), held(12), held(19)]).toEqual([0, 0, 9, 9])
    expect(heldBySets(9)).toEqual([[9, 0, 0]])
  })
})
