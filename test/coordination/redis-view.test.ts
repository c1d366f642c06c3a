// The local copy under any order of records: nothing in it goes back.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  leadershipFrom,
  leadershipText,
  memberFrom,
  topicFrom,
  topicText,
} from '../../broker/coordination/redis-records.ts'
import { ClusterView } from '../../broker/coordination/redis-view.ts'
import { brokerId } from '../../shared/ids.ts'
import { epoch, topicOf } from './redis-lives.ts'

const ONE = brokerId(1)
const TOPIC = topicOf('orders', 3)
const KEY = `${TOPIC.topicId}:1`

describe('the view of a cluster', () => {
  it('ends with the newest of all leaderships, whatever order they come in', () => {
    const record = fc.record({ leaderEpoch: fc.nat(5), version: fc.nat(5) })
    fc.assert(
      fc.property(fc.array(record, { minLength: 1 }), (records) => {
        const view = new ClusterView()
        view.keepTopic(TOPIC)
        for (const { leaderEpoch, version } of records) {
          view.keepLeadership(KEY, { leaderEpoch: epoch(leaderEpoch), version, leader: ONE, inSyncReplicas: [] })
        }
        const newest = Math.max(...records.map(({ leaderEpoch, version }) => leaderEpoch * 10 + version))
        const kept = view.leadershipOf(TOPIC.topicId, 1)
        expect((kept?.leaderEpoch ?? 0) * 10 + (kept?.version ?? 0)).toBe(newest)
      }),
    )
  })

  it('never brings a deleted topic back, nor an older version of a live one', () => {
    const view = new ClusterView()
    const newer = { ...TOPIC, version: 2, partitions: 5 }
    view.keepTopic(newer)
    view.keepTopic(TOPIC)
    expect(view.byName('orders')).toEqual(newer)
    view.keepLeadership(KEY, { leaderEpoch: epoch(1), version: 1, leader: ONE, inSyncReplicas: [ONE] })
    expect(view.deleteTopic(TOPIC.topicId)).toEqual(newer)
    view.keepTopic({ ...newer, version: 9 })
    expect(view.topics.size + view.leaderships.size).toBe(0)
    expect(view.byName('orders')).toBeUndefined()
  })

  it('keeps sessions that may only be late, and lets go of those that are over', () => {
    const view = new ClusterView()
    expect(view.keepSessions(new Map([[ONE, 'a/1']]), false)).toBe(true)
    expect(view.keepSessions(new Map([[ONE, '']]), true)).toBe(false)
    expect(view.sessionOf(ONE)).toBe('a/1')
    expect(view.keepSessions(new Map([[ONE, 'a/2']]), true)).toBe(true)
    expect(view.keepSessions(new Map([[ONE, '']]), false)).toBe(true)
    expect(view.sessionOf(ONE)).toBeUndefined()
  })

  it('waits for the word of those that have a session or replicas, and of nobody who has gone for good', () => {
    const view = new ClusterView()
    view.keepSessions(
      new Map([
        [brokerId(3), 'session'],
        [brokerId(5), ''],
      ]),
      false,
    )
    view.keepTopic(topicOf('wide', 2, [[ONE, brokerId(4)], [brokerId(7)]]))
    expect([...view.expectedBrokers()].toSorted((a, b) => a - b)).toEqual([1, 3, 4, 7])
  })
})

describe('a record in Redis', () => {
  it('is read as it was written', () => {
    const topic = { ...topicOf('é"\\', 2, [[ONE], [brokerId(2), ONE]]), config: { 'retention.ms': '1' } }
    expect(topicFrom(topicText(topic))).toEqual(topic)
    const led = { leaderEpoch: epoch(3), version: 8, leader: ONE, inSyncReplicas: [ONE, brokerId(2)] }
    const given = { leaderEpoch: epoch(0), version: 1, leader: undefined, inSyncReplicas: [] }
    expect([led, given].map((one) => leadershipFrom(leadershipText(one)))).toEqual([led, given])
  })

  it.each([
    ['a topic', () => topicFrom('{"topicId":"x"}')],
    ['a topic', () => topicFrom('[')],
    ['a topic', () => topicFrom(topicText({ ...TOPIC, version: 1.5 }))],
    ['a leadership', () => leadershipFrom('1|2|x||')],
    ['a leadership', () => leadershipFrom('9999999999|1|1||')],
    ['a broker', () => memberFrom('{"session":"a/1"}')],
  ])('that is %s in name only is an error that shows it', (what, read) => {
    expect(read).toThrow(new RegExp(`Redis holds ${what} that cannot be read: .`))
  })
})
