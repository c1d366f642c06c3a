import { beforeEach, describe, expect, it } from 'vitest'
import { InSyncReplicas } from '../../broker/replication/in-sync-replicas.ts'
import { brokerId, offset } from '../../shared/ids.ts'

let replicas: InSyncReplicas

beforeEach(() => {
  const ids = [1, 2, 3].map(brokerId)
  replicas = new InSyncReplicas({ self: brokerId(1), voters: ids, granted: [brokerId(2)], lagMsMax: 1_000, now: 0 })
})

interface Fetch {
  readonly from: number
  readonly to: number
  readonly now: number
  readonly end: number
  readonly held?: number
  readonly isSuspect?: boolean
}

function fetch({ from, to, now, end, held = to, isSuspect = false }: Fetch): void {
  const report = {
    from: brokerId(from),
    incarnation: 1,
    fetchOffset: offset(to),
    heldEndOffset: offset(held),
    isSuspect,
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
    expect(replicas.count).toBe(2)
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
    expect(change(5, 10, 5, 4)).toBe(false)
    fetch({ from: 3, to: 6, now: 20, end: 6 })
    expect(change(6, 20, 5, 7)).toBe(false)
    expect(change(6, 20, 5, 6)).toBe(true)
    expect(replicas.members).toEqual([1, 2, 3])
  })

  it('has no suspect replica', () => {
    fetch({ from: 3, to: 6, now: 20, end: 6, isSuspect: true })
    expect(change(6, 20)).toBe(false)
    fetch({ from: 3, to: 6, now: 30, end: 6 })
    expect(change(6, 30)).toBe(true)
  })
})

describe('what a follower holds', () => {
  it('grows only within one life, and begins anew with the next', () => {
    fetch({ from: 2, to: 8, now: 0, end: 9 })
    fetch({ from: 2, to: 5, now: 1, end: 9 })
    expect(replicas.heldEndOffsetOf(brokerId(2))).toBe(8)
    replicas.onNewIncarnation(brokerId(2), 2)
    expect(replicas.heldEndOffsetOf(brokerId(2))).toBe(0)
    expect(replicas.incarnationOf(brokerId(2))).toBe(2)
    expect(replicas.heldEndOffsets(offset(9))).toEqual([9, 0, 0])
  })

  it('is at most what it has fetched, whatever it says', () => {
    fetch({ from: 2, to: 5, now: 0, end: 9, held: 7 })
    expect(replicas.heldEndOffsetOf(brokerId(2))).toBe(5)
    fetch({ from: 2, to: 8, now: 0, end: 9, held: 6 })
    expect(replicas.heldEndOffsetOf(brokerId(2))).toBe(6)
  })

  it('is nothing for a broker that is no voter', () => {
    fetch({ from: 4, to: 5, now: 0, end: 9 })
    expect(replicas.heldEndOffsetOf(brokerId(4))).toBe(0)
    expect(replicas.heldEndOffsets(offset(9))).toEqual([9, 0, 0])
  })
})

describe('how many followers were heard of', () => {
  it('counts those that have fetched within the time', () => {
    fetch({ from: 2, to: 1, now: 500, end: 9 })
    fetch({ from: 3, to: 1, now: 900, end: 9 })
    expect(replicas.heardWithin(400, 1_000)).toBe(1)
    expect(replicas.heardWithin(500, 1_000)).toBe(2)
  })
})
