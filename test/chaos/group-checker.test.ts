// The judge of groups is judged: for every anomaly a made-up history that has it, and one next to it that has not.

import { describe, expect, it } from 'vitest'
import type { AnomalyName } from './anomaly.ts'
import { check } from './checker.ts'
import { isAllHandled } from './group-checker.ts'
import type { Happening, HistoryEvent, PolledRecord } from './history.ts'

const group = 'g'

/** Events in the order of the list, a millisecond apart. */
function history(...happenings: readonly Happening[]): HistoryEvent[] {
  const events: HistoryEvent[] = []
  for (const happening of happenings) events.push({ at: events.length, ...happening })
  return events
}

/** Records 0, 1, 2 and so on of partition 0, which somebody else has read. */
function written(count: number): Happening[] {
  const values = Array.from({ length: count }, (_, number) => `p-${number}`)
  const offsets = values.map((_, offset) => offset)
  const records = values.map((value, offset): PolledRecord => [0, offset, value])
  return [
    { op: 'send', phase: 'invoke', process: 'p', id: 1, acks: -1, partition: 0, values },
    { op: 'send', phase: 'ok', process: 'p', id: 1, offsets },
    { op: 'poll', process: 'final', records },
  ]
}

const up = (process: string, instance?: string): Happening => ({
  op: 'member-up',
  group,
  process,
  ...(instance !== undefined && { instance }),
})
const gone = (process: string): Happening => ({ op: 'member-gone', group, process })
const owns = (process: string, generation: number, from = 0): Happening => ({
  op: 'owns',
  group,
  process,
  member: `id of ${process}`,
  generation,
  from: { 0: from },
})
const gaveUp = (process: string, generation: number, isLost = false): Happening => ({
  op: 'gave-up',
  group,
  process,
  generation,
  partitions: [0],
  isLost,
})

/** It began with them at that time, or just now. */
function handled(process: string, generation: number, offsets: readonly number[], began = 1_000): Happening {
  const records = offsets.map((offset): PolledRecord => [0, offset, `p-${offset}`])
  return { op: 'handle', group, process, generation, began, records }
}

const committed = (process: string, generation: number, offset: number): Happening => ({
  op: 'commit',
  group,
  process,
  generation,
  offsets: [[0, offset]],
})
const seen = (generation: number, offset: number, isEnd = false, isStable = true): Happening => ({
  op: 'group-seen',
  group,
  process: 'observer',
  generation,
  isStable,
  offsets: [[0, offset]],
  ...(isEnd && { isEnd }),
})
const zombie = (process: string, generation: number, error?: string): Happening => ({
  op: 'zombie',
  group,
  process,
  generation,
  ...(error !== undefined && { error }),
})

const coordinates = (broker: number, epoch: number): Happening => ({ op: 'coordinates', group, broker, epoch })

const names = (...happenings: readonly Happening[]): AnomalyName[] =>
  check(history(...happenings)).anomalies.map(({ name }) => name)

describe('a group with which all is well', () => {
  it('has no anomaly, and is counted', () => {
    const events = history(
      ...written(4),
      coordinates(1, 0),
      owns('a', 1),
      handled('a', 1, [0, 1]),
      committed('a', 1, 1),
      seen(1, 1),
      gaveUp('a', 1),
      committed('a', 1, 2),
      owns('b', 2, 2),
      seen(2, 2),
      handled('b', 2, [2]),
      coordinates(2, 1),
      coordinates(2, 2),
      handled('b', 3, [3]),
      committed('b', 3, 4),
      zombie('a', 1, 'UNKNOWN_MEMBER_ID'),
      seen(3, 4, true),
    )
    const { anomalies, groups } = check(events)
    expect(anomalies).toEqual([])
    expect(groups).toEqual({ g: { handled: 4, again: 0, rebalances: 2, coordinatorChanges: 1, zombiesRefused: 1 } })
    expect(isAllHandled(group, events)).toBe(true)
    expect(isAllHandled('another', events)).toBe(false)
  })

  it('handles again what was not committed by one that was killed', () => {
    const happenings = [
      ...written(3),
      owns('a', 1),
      handled('a', 1, [0, 1]),
      committed('a', 1, 1),
      gone('a'),
      owns('b', 2, 1),
      handled('b', 2, [1, 2]),
    ]
    expect(names(...happenings)).toEqual([])
    expect(check(history(...happenings)).groups['g']).toMatchObject({ handled: 4, again: 1 })
  })

  it('has partitions that one that hangs works on while they are lost, as long as it knows nothing of it', () => {
    const happenings = [
      ...written(3),
      owns('a', 1),
      handled('a', 1, [0]),
      owns('b', 2),
      handled('b', 2, [0, 1, 2]),
      handled('a', 1, [1], 6),
      gaveUp('a', 1, true),
    ]
    expect(names(...happenings, handled('a', 1, [2], 6))).toEqual([])
    expect(names(...happenings, handled('a', 1, [2], 999))).toEqual(['not-owned'])
  })

  it('has static members, which go on in another process within a generation', () => {
    const happenings = [
      up('a.1', 'a'),
      ...written(2),
      owns('a.1', 1),
      handled('a.1', 1, [0]),
      gone('a.1'),
      up('a.2', 'a'),
      owns('a.2', 1),
      handled('a.2', 1, [0, 1]),
    ]
    expect(names(...happenings)).toEqual([])
  })

  it('may be told of late: what counts is when it was', () => {
    const events = history(...written(1), owns('a', 1), handled('a', 1, [0]), committed('a', 1, 1))
    const late = [...events.slice(0, 3), ...events.slice(3).toReversed()]
    expect(check(late).anomalies).toEqual([])
    expect(check(late).groups['g']).toMatchObject({ handled: 1 })
  })
})

describe('an anomaly of a group is named', () => {
  it('two-owners: a partition in one generation, or before it was given up', () => {
    const first = [...written(2), owns('a', 1), handled('a', 1, [0, 1])]
    expect(names(...first, gone('a'), owns('b', 1))).toEqual(['two-owners'])
    expect(names(...first, gone('a'), owns('b', 2))).toEqual([])
    expect(names(...first, owns('b', 2), handled('b', 1, [0, 1]))).toEqual(['two-owners'])
    expect(names(...first, owns('b', 2), gaveUp('a', 1))).toEqual(['two-owners'])
    expect(names(...first, owns('b', 2), gaveUp('a', 1, true))).toEqual([])
    expect(names(...first, gaveUp('a', 1), owns('b', 2))).toEqual([])
    expect(names(...first, owns('a', 2))).toEqual(['two-owners'])
  })

  it('not-owned: handled by one that never had it, or has it no more', () => {
    expect(names(...written(1), handled('a', 1, [0]))).toEqual(['not-owned'])
    expect(names(...written(1), owns('a', 1), gaveUp('a', 1), handled('a', 1, [0]))).toEqual(['not-owned'])
  })

  it('group-skip: passed over by a member, by the next one, or for ever', () => {
    expect(names(...written(3), owns('a', 1), handled('a', 1, [0, 2]))).toEqual(['group-skip', 'group-skip'])
    expect(names(...written(2), owns('a', 1, 1), handled('a', 1, [1]))).toEqual(['group-skip', 'group-skip'])
    expect(names(...written(2), owns('a', 1), handled('a', 1, [0]))).toEqual(['group-skip'])
    const later = [owns('b', 2), handled('b', 2, [0, 1, 2])]
    expect(names(...written(3), owns('a', 1), handled('a', 1, [0, 2]), gone('a'), ...later)).toEqual(['group-skip'])
  })

  it('redelivered: a step back, or a beginning before what is committed', () => {
    const first = [...written(2), owns('a', 1), handled('a', 1, [0, 1])]
    expect(names(...first, handled('a', 1, [1]))).toEqual(['redelivered'])
    expect(names(...first, committed('a', 1, 2), gone('a'), owns('b', 2, 1))).toEqual(['redelivered'])
    expect(names(...first, committed('a', 1, 2), gone('a'), owns('b', 2, 2))).toEqual([])
    expect(names(...first, gone('a'), owns('b', 2, 1), committed('a', 1, 2))).toEqual([])
  })

  it('commit-ahead: committed before it was handled, as told by who committed or as seen', () => {
    const first = [...written(2), owns('a', 1), handled('a', 1, [0])]
    expect(names(...first, committed('a', 1, 1), handled('a', 1, [1]))).toEqual([])
    expect(names(...first, committed('a', 1, 2), handled('a', 1, [1]))).toEqual(['commit-ahead'])
    expect(names(...first, seen(1, 2), handled('a', 1, [1]))).toEqual(['commit-ahead'])
  })

  it('commit-back: within a generation, as told or as seen', () => {
    const first = [...written(2), owns('a', 1), handled('a', 1, [0, 1])]
    expect(names(...first, committed('a', 1, 2), committed('a', 1, 1))).toEqual(['commit-back'])
    expect(names(...first, seen(1, 2), seen(1, 1), seen(1, 1))).toEqual(['commit-back'])
    expect(names(...first, seen(1, 2), seen(2, 1), seen(2, 1))).toEqual([])
    // The last look may have been into the next generation.
    expect(names(...first, seen(1, 2), seen(1, 1), seen(2, 1))).toEqual([])
  })

  it('commit-behind: all have gone in order, and not all is committed', () => {
    const first = [...written(2), owns('a', 1), handled('a', 1, [0, 1])]
    expect(names(...first, seen(1, 1, true))).toEqual(['commit-behind'])
    expect(names(...first, seen(1, 1))).toEqual([])
  })

  it('zombie-commit: taken from a member that was out', () => {
    expect(names(zombie('a', 1))).toEqual(['zombie-commit'])
    expect(names(zombie('a', 1, 'ILLEGAL_GENERATION'))).toEqual([])
  })

  it('generation-back: of a member, or of a group as it was seen', () => {
    expect(names(owns('a', 2), gone('a'), owns('b', 1), gone('b'), owns('c', 3))).toEqual([])
    expect(names(owns('a', 2), gaveUp('a', 2), owns('a', 1))).toEqual(['generation-back'])
    expect(names(seen(2, 0), seen(1, 0))).toEqual(['generation-back'])
    // Nobody had a share in it yet when its coordinator went.
    expect(names(seen(2, 0, false, false), seen(1, 0))).toEqual([])
  })

  it('two-leaders: two brokers coordinated in one epoch', () => {
    expect(names(coordinates(1, 3), coordinates(2, 3))).toEqual(['two-leaders'])
    expect(names(coordinates(1, 3), coordinates(1, 3), coordinates(2, 4))).toEqual([])
  })

  it('member-failed: it was refused for good', () => {
    const trouble: Happening = { op: 'member-trouble', group, process: 'a', generation: 1, what: 'it ended with 3' }
    expect(names(trouble)).toEqual(['member-failed'])
  })
})
