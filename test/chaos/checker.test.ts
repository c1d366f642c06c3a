// The judge is judged: for every anomaly a made-up history that has it, and one next to it that has not.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AnomalyName } from './anomaly.ts'
import { check } from './checker.ts'
import { type Acks, type Happening, History, type HistoryEvent, type PolledRecord, readHistory } from './history.ts'

let nextId = 0

/** Events in the order of the list, a millisecond apart. */
function history(...happenings: readonly (Happening | readonly Happening[])[]): HistoryEvent[] {
  const events: HistoryEvent[] = []
  for (const happening of happenings.flat()) events.push({ at: events.length, ...happening })
  return events
}

function invoke(process: string, id: number, values: readonly string[], acks: Acks = -1, partition = 0): Happening {
  return { op: 'send', phase: 'invoke', process, id, acks, partition, values }
}

/** A send that was acknowledged at these offsets. */
function sent(process: string, placed: Readonly<Record<string, number>>, acks: Acks = -1, partition = 0): Happening[] {
  const id = (nextId += 1)
  const done = { op: 'send', phase: 'ok', process, id, offsets: Object.values(placed) } as const
  return [invoke(process, id, Object.keys(placed), acks, partition), done]
}

/** A send that was not. */
function refused(process: string, values: readonly string[], phase: 'fail' | 'info', acks: Acks = -1): Happening[] {
  const id = (nextId += 1)
  return [invoke(process, id, values, acks), { op: 'send', phase, process, id, error: 'TIMEOUT' }]
}

const assigned = (process: string, from = 0): Happening => ({ op: 'assign', process, from: { 0: from } })

function polled(process: string, placed: Readonly<Record<string, number>>): Happening {
  const records = Object.entries(placed).map(([value, offset]): PolledRecord => [0, offset, value])
  return { op: 'poll', process, records }
}

/** Everything, by a consumer that begins at the beginning. */
const readAll = (placed: Readonly<Record<string, number>>): Happening[] => [assigned('final'), polled('final', placed)]

const names = (events: readonly HistoryEvent[]): AnomalyName[] => check(events).anomalies.map(({ name }) => name)

describe('a history in which all is well', () => {
  it('has no anomaly, and is counted', () => {
    const events = history(
      assigned('c1'),
      sent('p1', { a: 0, b: 1 }),
      polled('c1', { a: 0 }),
      sent('p2', { c: 2 }),
      polled('c1', { b: 1, c: 2 }),
      readAll({ a: 0, b: 1, c: 2 }),
    )
    const { anomalies, acknowledged, failed, unknown, polled: given } = check(events)
    expect({ anomalies, acknowledged, failed, unknown, given }).toEqual({
      anomalies: [],
      acknowledged: 3,
      failed: 0,
      unknown: 0,
      given: 6,
    })
  })

  it('may have offsets without records, because the brokers write records of their own', () => {
    expect(names(history(sent('p', { a: 0 }), sent('p', { b: 7 }), readAll({ a: 0, b: 7 })))).toEqual([])
  })

  it('may or may not have a record of which nobody knows, and may not have one that was refused', () => {
    const events = history(
      sent('p', { a: 0 }),
      refused('p', ['read'], 'info'),
      refused('p', ['gone'], 'info'),
      refused('p', ['no'], 'fail'),
      readAll({ a: 0, read: 1 }),
    )
    expect(names(events)).toEqual([])
    expect(check(events)).toMatchObject({ acknowledged: 1, failed: 1, unknown: 2 })
  })

  it('may lose and repeat what was written with acks 1 or 0, and says how much', () => {
    const events = history(
      sent('q', { a: 0, b: 1 }, 1),
      sent('q', { c: -1 }, 0),
      sent('p', { d: 0 }),
      readAll({ d: 0, b: 1, B: 2 }),
    )
    const again = history(sent('q', { a: 0 }, 1), readAll({ a: 0 }), polled('c2', { a: 5 }))
    expect(check(events).anomalies.map(({ name }) => name)).toEqual(['phantom'])
    expect(check(events).relaxed).toEqual({ acknowledged: 3, lost: 2, repeated: 0 })
    expect(check(again).relaxed).toEqual({ acknowledged: 1, lost: 0, repeated: 1 })
    expect(names(again)).toEqual([])
  })
})

describe('an anomaly is named', () => {
  it('lost-write: acknowledged, and something behind it was read', () => {
    expect(names(history(sent('p', { a: 0, b: 1 }), readAll({ b: 1 })))).toContain('lost-write')
  })

  it('unseen: acknowledged, and nothing behind it was read', () => {
    expect(names(history(sent('p', { a: 0, b: 1 }), readAll({ a: 0 })))).toEqual(['unseen'])
  })

  it('duplicate: read at two offsets, or at another than it was acknowledged at', () => {
    expect(names(history(sent('p', { a: 0 }), readAll({ a: 0 }), polled('c', { a: 1 })))).toEqual(['duplicate'])
    expect(names(history(sent('p', { a: 0 }), polled('c', { a: 1 })))).toEqual(['duplicate'])
    expect(names(history(refused('p', ['a'], 'info'), polled('c', { a: 1 }), polled('d', { a: 2 })))).toEqual([
      'duplicate',
    ])
  })

  it('inconsistent-offsets: two values read at one offset, or another than was acknowledged there', () => {
    const read = history(refused('p', ['a', 'b'], 'info'), polled('c', { a: 0 }), polled('d', { b: 0 }))
    expect(names(read)).toContain('inconsistent-offsets')
    const acknowledged = history(sent('p', { a: 0 }), refused('q', ['b'], 'info'), polled('d', { b: 0 }))
    expect(names(acknowledged)).toContain('inconsistent-offsets')
    expect(names(history(sent('p', { a: 0 }), sent('q', { b: 0 })))).toContain('inconsistent-offsets')
  })

  it('inconsistent-offsets, too, where a record with acks 1 that was read gives way to another', () => {
    const events = history(
      sent('q', { a: 0 }, 1),
      sent('q', { b: 0 }, 1),
      assigned('c'),
      polled('c', { a: 0 }),
      readAll({ b: 0 }),
    )
    expect(names(events)).toEqual(['inconsistent-offsets'])
  })

  it('G1a: read, though refused for certain', () => {
    expect(names(history(refused('p', ['a'], 'fail'), readAll({ a: 0 })))).toEqual(['G1a'])
    expect(names(history(refused('q', ['a'], 'fail', 1), readAll({ a: 0 })))).toEqual(['G1a'])
  })

  it('phantom: read, though nobody sent it, or not there', () => {
    expect(names(history(readAll({ a: 0 })))).toEqual(['phantom'])
    const elsewhere = history(refused('p', ['a'], 'info'), { op: 'poll', process: 'c', records: [[1, 0, 'a']] })
    expect(names(elsewhere)).toEqual(['phantom'])
  })

  it('poll-skip: a consumer passes over what is there, from poll to poll, within one, and at its beginning', () => {
    const three = [...sent('p', { a: 0, b: 1, c: 2 }), ...readAll({ a: 0, b: 1, c: 2 })]
    expect(names(history(three, assigned('c1'), polled('c1', { a: 0 }), polled('c1', { c: 2 })))).toEqual(['poll-skip'])
    expect(names(history(three, assigned('c1'), polled('c1', { a: 0, c: 2 })))).toEqual(['int-poll-skip'])
    expect(names(history(three, assigned('c1'), polled('c1', { b: 1 })))).toEqual(['poll-skip'])
    expect(names(history(three, assigned('c1', 1), polled('c1', { b: 1 })))).toEqual([])
  })

  it('poll-skip, too, where what is passed over was read by another and has vanished', () => {
    const events = history(refused('p', ['a', 'b'], 'info'), polled('c', { a: 0 }), readAll({ b: 1 }))
    expect(names(events)).toEqual(['poll-skip'])
  })

  it('nonmonotonic-poll: a consumer goes back, but not if it is assigned anew', () => {
    const two = [...sent('p', { a: 0, b: 1 }), ...readAll({ a: 0, b: 1 }), assigned('c1'), polled('c1', { a: 0, b: 1 })]
    expect(names(history(two, polled('c1', { a: 0 })))).toEqual(['nonmonotonic-poll'])
    expect(names(history(two, assigned('c1'), polled('c1', { a: 0 })))).toEqual([])
    const within: Happening = {
      op: 'poll',
      process: 'c2',
      records: [
        [0, 1, 'b'],
        [0, 0, 'a'],
      ],
    }
    expect(names(history(two, assigned('c2', 1), within))).toEqual(['int-nonmonotonic-poll'])
  })

  it('nonmonotonic-send: what a producer sent later stands earlier', () => {
    const between = history(sent('p', { a: 1 }), sent('p', { b: 0 }), readAll({ b: 0, a: 1 }))
    expect(names(between)).toEqual(['nonmonotonic-send'])
    expect(names(history(sent('p', { a: 1, b: 0 }), readAll({ b: 0, a: 1 })))).toEqual(['int-nonmonotonic-send'])
    const unknown = history(refused('p', ['a'], 'info'), sent('p', { b: 0 }), readAll({ b: 0, a: 1 }))
    expect(names(unknown)).toEqual(['nonmonotonic-send'])
    expect(names(history(sent('p', { a: 1 }), sent('r', { b: 0 }), readAll({ b: 0, a: 1 })))).toEqual([])
  })

  it('nonmonotonic-end: one process is told that a partition has become shorter', () => {
    const seen = (process: string, end: number): Happening => ({ op: 'ends', process, ends: [[0, end]] })
    expect(names(history(seen('o', 5), seen('o', 4), seen('o', 6)))).toEqual(['nonmonotonic-end'])
    expect(names(history(seen('o', 5), seen('other', 4)))).toEqual([])
  })

  it('two-leaders: two brokers in one epoch; and changes of leaders are counted', () => {
    const leads = (broker: number, epoch: number): Happening => ({ op: 'leads', broker, partition: 0, epoch })
    expect(names(history(leads(1, 1), leads(2, 1)))).toEqual(['two-leaders'])
    const orderly = history(leads(2, 4), leads(1, 1), leads(1, 2), leads(3, 5))
    expect(names(orderly)).toEqual([])
    expect(check(orderly).leaderChanges).toBe(2)
  })

  it('replicas-differ: other bytes on another disk', () => {
    const holds = (broker: number, sum: string): Happening => {
      return { op: 'holds', broker, partition: 0, bytes: 10, sum }
    }
    expect(names(history(holds(1, 'x'), holds(2, 'x'), holds(3, 'y')))).toEqual(['replicas-differ'])
    expect(names(history(holds(1, 'x'), holds(2, 'x')))).toEqual([])
  })

  it('unreadable, and troubles of brokers, under their own names', () => {
    const events = history(
      { op: 'poll-failed', process: 'c', error: 'OFFSET_OUT_OF_RANGE' },
      { op: 'trouble', kind: 'broker-died', what: 'broker 1' },
      { op: 'trouble', kind: 'broker-failed', what: 'broker 2' },
      { op: 'trouble', kind: 'not-recovered', what: 'partition 0' },
    )
    expect(names(events)).toEqual(['unreadable', 'broker-died', 'broker-failed', 'not-recovered'])
  })
})

describe('the longest gap', () => {
  it('is between two acknowledgements of one partition, whoever got them', () => {
    const at = (time: number, process: string, partition: number): HistoryEvent[] => {
      const id = (nextId += 1)
      const value = `${process}-${id}`
      return [
        { op: 'send', phase: 'invoke', at: time, process, id, acks: -1, partition, values: [value] },
        { op: 'send', phase: 'ok', at: time + 1, process, id, offsets: [id] },
      ]
    }
    const events = [...at(0, 'p', 0), ...at(10, 'p', 1), ...at(40, 'r', 0), ...at(45, 'r', 1)]
    expect(check(events).longestGapMs).toBe(40)
  })
})

it('a history comes back from its file as it was', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-history-'))
  try {
    const kept = new History(join(directory, 'history.jsonl'))
    for (const happening of [assigned('c'), ...sent('p', { a: 0 }), polled('c', { a: 0 })]) kept.add(happening)
    await kept.close()
    expect(kept.events).toHaveLength(4)
    expect(await readHistory(join(directory, 'history.jsonl'))).toEqual(kept.events)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
