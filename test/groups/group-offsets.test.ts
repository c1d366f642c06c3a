// How far a group has come: what is committed and on its way, what has expired, and which partition a group is in.

import { describe, expect, it } from 'vitest'
import { GroupOffsets } from '../../broker/groups/group-offsets.ts'
import { offsetsReplicas, offsetsTopicConfig, partitionOfGroup } from '../../broker/groups/offsets-topic.ts'
import { groupNameFault } from '../../broker/groups/group-coordinator.ts'

const T0 = { topic: 't', partition: 0 }
const DAY = 86_400_000
const CONSUMERS = { phase: 'Stable', protocolType: 'consumer', stateSince: 0, subscribed: new Set(['t']) } as const

function at(offset: number, committedAt = 0, expiresAt?: number) {
  return { offset, leaderEpoch: undefined, metadata: '', committedAt, expiresAt }
}

function offsetsOf(committedAt: number): GroupOffsets {
  const offsets = new GroupOffsets()
  offsets.put(T0, at(1, committedAt))
  return offsets
}

describe('offsets', () => {
  it('are committed when they are in the log, and not when they are not', () => {
    const offsets = new GroupOffsets()
    offsets.begin(T0)
    offsets.begin(T0)
    expect(offsets.get('t', 0)).toBeUndefined()
    expect(offsets.keys()).toEqual([T0])
    offsets.settle(T0, at(5), true)
    offsets.settle(T0, at(6), false)
    expect(offsets.get('t', 0)?.offset).toBe(5)
    expect(offsets.count).toBe(1)
    offsets.begin(T0)
    offsets.settle(T0, undefined, true)
    expect(offsets.isEmpty).toBe(true)
  })

  it('of a group without members age from when it has none, or from a later commit', () => {
    const group = { ...CONSUMERS, phase: 'Empty', stateSince: 5 * DAY } as const
    const offsets = offsetsOf(0)
    expect(offsets.expired(12 * DAY - 1, 7 * DAY, group)).toEqual([])
    expect(offsets.expired(12 * DAY, 7 * DAY, group)).toEqual([T0])
    expect(offsetsOf(6 * DAY).expired(12 * DAY, 7 * DAY, group)).toEqual([])
  })

  it('of a group that consumes age only where no member is subscribed', () => {
    expect(offsetsOf(0).expired(100 * DAY, 7 * DAY, CONSUMERS)).toEqual([])
    const others = { ...CONSUMERS, subscribed: new Set(['other']) }
    expect(offsetsOf(0).expired(7 * DAY, 7 * DAY, others)).toEqual([T0])
    expect(offsetsOf(0).expired(100 * DAY, 7 * DAY, { ...others, phase: 'PreparingRebalance' })).toEqual([])
    expect(offsetsOf(0).expired(100 * DAY, 7 * DAY, { ...others, subscribed: undefined })).toEqual([])
    expect(offsetsOf(0).expired(100 * DAY, 7 * DAY, { ...others, protocolType: 'connect' })).toEqual([])
  })

  it('of nobody age from their commit', () => {
    const nobody = { ...CONSUMERS, phase: 'Empty', protocolType: undefined, stateSince: 50 * DAY } as const
    expect(offsetsOf(DAY).expired(8 * DAY, 7 * DAY, nobody)).toEqual([T0])
    expect(offsetsOf(DAY).expired(8 * DAY - 1, 7 * DAY, nobody)).toEqual([])
  })

  it('expire when they were asked to, and never while another commit is on its way', () => {
    const nobody = { ...CONSUMERS, phase: 'Empty', protocolType: undefined } as const
    const offsets = new GroupOffsets()
    offsets.put(T0, at(1, 0, 500))
    expect(offsets.expired(500, 7 * DAY, nobody)).toEqual([T0])
    offsets.begin(T0)
    expect(offsets.expired(500, 7 * DAY, nobody)).toEqual([])
  })
})

describe('the offsets topic', () => {
  // As String.hashCode in Java gives it: 97, 96354, 0x80000000, 2314539 with the sign bit taken off.
  it.each([
    ['', 16, 0],
    ['a', 16, 97 % 16],
    ['abc', 50, 96_354 % 50],
    ['polygenelubricants', 50, 0],
    ['Java', 50, 2_301_506 % 50],
    ['é', 50, 233 % 50],
  ])('has %j in the partition that Kafka has it in', (group, partitions, expected) => {
    expect(partitionOfGroup(group, partitions)).toBe(expected)
  })

  it('has as many replicas as are asked for and there are brokers for', () => {
    expect([offsetsReplicas(3, 1), offsetsReplicas(3, 2), offsetsReplicas(3, 5), offsetsReplicas(3, 0)]).toEqual([
      1, 2, 3, 1,
    ])
  })

  it('is compacted, or keeps everything where that cannot be', () => {
    expect(Object.fromEntries(offsetsTopicConfig(true))).toMatchObject({ 'cleanup.policy': 'compact' })
    expect(Object.fromEntries(offsetsTopicConfig(false))).toMatchObject({
      'cleanup.policy': 'delete',
      'retention.ms': '-1',
    })
  })
})

describe('the name of a group', () => {
  it('has 1 to 256 bytes that can be printed', () => {
    for (const name of ['a', 'x'.repeat(256), 'ä'.repeat(128), 'with blanks, and.dots'])
      expect(groupNameFault(name)).toBeUndefined()
    expect(groupNameFault('')).toContain('must have a name')
    expect(groupNameFault('x'.repeat(1_000))).toContain('1000')
    expect(groupNameFault('ä'.repeat(129))).toContain('258')
    expect(groupNameFault('a\nb')).toContain('control')
  })
})
