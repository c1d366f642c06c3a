// The rules of changing who votes, and the history of it in one log.

import { describe, expect, it } from 'vitest'
import {
  setsInForce,
  setsSince,
  votersOf,
  whyNotChangeVoters,
  type VotersChangeFacts,
} from '../../broker/replication/voters.ts'
import { VotersHistory, type VotersRecord } from '../../broker/storage/voters-history.ts'
import { brokerId, offset } from '../../shared/ids.ts'
import { isSameSet, isValidSet, type VoterSet } from '../../shared/voters.ts'

function setOf(minInSyncReplicas: number, ...ids: readonly number[]): VoterSet {
  return { voters: ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` })), minInSyncReplicas }
}

function record(at: number, set: VoterSet, next?: VoterSet): VotersRecord {
  return { offset: offset(at), set, next }
}

const OLD = setOf(2, 1, 2, 3)
const NEW = setOf(2, 1, 4, 5)

describe('a set of voters', () => {
  it('has some, each broker once, and no more in sync than there are', () => {
    expect([OLD, setOf(1, 1), setOf(3, 1, 2, 3)].map(isValidSet)).toEqual([true, true, true])
    const broken = [setOf(1), setOf(0, 1), setOf(3, 1, 2), setOf(1, 1, 1), setOf(1.5, 1, 2)]
    expect(broken.map(isValidSet)).toEqual([false, false, false, false, false])
    expect(isValidSet(setOf(1, ...Array.from({ length: 33 }, (_, at) => at)))).toBe(false)
  })

  it('is the same in whatever order, and not on another disk or with another number in sync', () => {
    expect(isSameSet(OLD, setOf(2, 3, 1, 2))).toBe(true)
    expect(isSameSet(OLD, setOf(3, 1, 2, 3))).toBe(false)
    expect(isSameSet(OLD, setOf(2, 1, 2))).toBe(false)
    const [first, ...others] = OLD.voters
    const replaced = [...others, { brokerId: first?.brokerId ?? brokerId(1), directoryId: 'new' }]
    expect(isSameSet(OLD, { voters: replaced, minInSyncReplicas: 2 })).toBe(false)
  })
})

describe('a change of the voters', () => {
  const may: VotersChangeFacts = {
    record: record(3, OLD),
    current: OLD,
    wanted: NEW,
    highWatermark: offset(4),
    isEpochCommitted: true,
    behind: [],
  }

  it.each<[string, Partial<VotersChangeFacts>, string | undefined]>([
    ['may begin when nothing stands against it', {}, undefined],
    ['is refused for a set that cannot be', { wanted: setOf(4, 1, 2, 3) }, 'invalid'],
    ['is refused where nothing would change', { wanted: setOf(2, 3, 2, 1) }, 'unchanged'],
    ['is refused while another has not come to its second record', { record: record(3, OLD, NEW) }, 'change-under-way'],
    ['is refused while the last one is not committed', { highWatermark: offset(3) }, 'change-under-way'],
    ['is refused before a record of the epoch is committed', { isEpochCommitted: false }, 'epoch-not-committed'],
    ['is refused while a newcomer has not caught up', { behind: [brokerId(5)] }, 'newcomers-behind'],
    ['may change nothing but how many are in sync', { wanted: setOf(3, 1, 2, 3) }, undefined],
  ])('%s', (_, facts, expected) => {
    expect(whyNotChangeVoters({ ...may, ...facts })).toBe(expected)
  })

  it('has both sets agree until it ends', () => {
    expect(setsInForce(OLD, NEW)).toEqual([OLD, NEW])
    expect(setsInForce(NEW, undefined)).toEqual([NEW])
    expect(votersOf([OLD, NEW]).map(({ brokerId: id }) => id)).toEqual([1, 2, 3, 4, 5])
  })

  it('may be taken back as long as it is not committed: what was in force before then counts, too', () => {
    const records = [record(3, OLD, NEW), record(5, NEW)]
    expect(setsSince(records, offset(6), OLD)).toEqual([NEW])
    expect(setsSince(records, offset(5), OLD)).toEqual([NEW, OLD, NEW])
    expect(setsSince(records, offset(3), setOf(1, 9))).toEqual([NEW, OLD, NEW, setOf(1, 9)])
    expect(setsSince([], offset(3), OLD)).toEqual([OLD])
  })
})

describe('the voters records of a log', () => {
  const first = record(3, OLD, NEW)
  const second = record(5, NEW)

  it('are each in force from the record behind them on', () => {
    const history = new VotersHistory([first, second])
    expect(history.inForceAt(offset(3))).toBeUndefined()
    expect(history.inForceAt(offset(4))).toBe(first)
    expect(history.inForceAt(offset(9))).toBe(second)
    expect(history.newest).toBe(second)
  })

  it('go with a cut, and not with a trim as long as they count', () => {
    const history = new VotersHistory([first, second])
    const { records } = history
    history.truncateTo(offset(6))
    history.trimTo(offset(5))
    expect(history.records).toBe(records)
    history.trimTo(offset(6))
    expect(history.records).toEqual([second])
    history.truncateTo(offset(5))
    expect(history.records).toEqual([])
  })

  it('begin anew with the one that is in force where the log begins', () => {
    const history = new VotersHistory([first, second])
    history.restartWith(undefined)
    expect(history.newest).toBeUndefined()
    history.restartWith(second)
    history.append(record(9, OLD))
    expect(history.records.map(({ offset: at }) => at)).toEqual([5, 9])
    expect(() => history.append(first)).toThrow('order')
  })

  it('are held when they are synced, and all that is behind them with them', () => {
    const history = new VotersHistory([first, second])
    expect(history.heldEndOffset(offset(9), offset(6))).toBe(9)
    expect(history.heldEndOffset(offset(9), offset(5))).toBe(5)
    expect(history.heldEndOffset(offset(9), offset(2))).toBe(3)
    expect(history.heldEndOffset(offset(2), offset(0))).toBe(2)
    expect(new VotersHistory().heldEndOffset(offset(9), offset(0))).toBe(9)
  })
})
