// The records of the offsets topic, byte by byte: Kafka's tools read them, and its older ones are read here.

import { describe, expect, it } from 'vitest'
import {
  groupKey,
  groupValue,
  offsetKey,
  offsetValue,
  readGroupValue,
  readKey,
  readOffsetValue,
  subscribedTopics,
} from '../../broker/groups/group-records.ts'
import { GroupLoad } from '../../broker/groups/group-load.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function bytes(...parts: readonly string[]): Uint8Array {
  return Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
}

const MEMBER = {
  member: 'm-1',
  instance: undefined,
  clientId: 'c',
  host: '/h',
  rebalanceTimeoutMs: 300_000,
  sessionTimeoutMs: 45_000,
  subscription: bytes('0001'),
  assignment: bytes('ff'),
}

describe('the records of groups', () => {
  it('have the key of an offset: version 1, group, topic, partition', () => {
    expect(hex(offsetKey('g', 'to', 258))).toBe('0001 0001 67 0002 746f 00000102'.replaceAll(' ', ''))
  })

  it('have the value of an offset: version 3, offset, leader epoch, text, time', () => {
    const value = { offset: 0x1_0000_0002, leaderEpoch: 5, metadata: 'ä', committedAt: 1, expiresAt: undefined }
    const golden = '0003 0000000100000002 00000005 0002c3a4 0000000000000001'.replaceAll(' ', '')
    expect(hex(offsetValue(value))).toBe(golden)
    expect(hex(offsetValue({ ...value, leaderEpoch: undefined }))).toContain('ffffffff')
    expect(readOffsetValue(bytes(golden))).toEqual(value)
  })

  it('have the key of a group: version 2 and its name', () => {
    expect(hex(groupKey('billing'))).toBe('0002 0007 62696c6c696e67'.replaceAll(' ', ''))
  })

  it('have the value of a group: version 3 with its members', () => {
    const stored = {
      protocolType: 'consumer',
      generation: 7,
      protocol: 'range',
      leader: 'm-1',
      stateSince: 2,
      members: [MEMBER],
    }
    const golden = [
      '0003 0008 636f6e73756d6572 00000007 0005 72616e6765 0003 6d2d31 0000000000000002 00000001',
      '0003 6d2d31 ffff 0001 63 0002 2f68 000493e0 0000afc8 00000002 0001 00000001 ff',
    ]
    expect(hex(groupValue(stored))).toBe(golden.join('').replaceAll(' ', ''))
    expect(readGroupValue(bytes(...golden))).toEqual(stored)
  })

  it('have nulls where an empty group has no protocol and no leader', () => {
    const empty = { protocolType: 'consumer', generation: 8, protocol: undefined, leader: undefined, stateSince: 0 }
    const golden = '0003 0008 636f6e73756d6572 00000008 ffff ffff 0000000000000000 00000000'.replaceAll(' ', '')
    expect(hex(groupValue({ ...empty, members: [] }))).toBe(golden)
    expect(readGroupValue(bytes(golden))).toEqual({ ...empty, members: [] })
  })

  it('are read in the older versions of Kafka, and in its newest of an offset', () => {
    const offset = { offset: 9, leaderEpoch: undefined, metadata: 'x', committedAt: 1, expiresAt: undefined }
    expect(readOffsetValue(bytes('0000 0000000000000009 0001 78 0000000000000001'))).toEqual(offset)
    const v1 = bytes('0001 0000000000000009 0001 78 0000000000000001 0000000000000002')
    expect(readOffsetValue(v1)).toEqual({ ...offset, expiresAt: 2 })
    expect(readOffsetValue(bytes('0002 0000000000000009 0001 78 0000000000000001'))).toEqual(offset)
    const v4 = bytes('0004 0000000000000009 ffffffff 02 78 0000000000000001 00')
    expect(readOffsetValue(v4)).toEqual(offset)
    const v0 = '0000 0008 636f6e73756d6572 00000007 ffff ffff 00000001'
    const member = '0003 6d2d31 0001 63 0002 2f68 0000afc8 00000002 0001 00000001 ff'
    const { members } = readGroupValue(bytes(v0, member))
    expect(members).toEqual([{ ...MEMBER, rebalanceTimeoutMs: 45_000 }])
  })

  it('are told from what is none of ours, and from what is damaged', () => {
    expect(readKey(bytes('0003 00'))).toEqual({ kind: 'unknown', version: 3 })
    expect(() => readKey(bytes('0001 0005 67'))).toThrow(/cannot be read/)
    expect(() => readKey(bytes('0001 ffff'))).toThrow(/null/)
    expect(() => readOffsetValue(bytes('0005'))).toThrow(/version 5/)
    expect(() => readGroupValue(bytes('0009'))).toThrow(/version 9/)
    expect(() => readGroupValue(bytes('0003 0000 00000001 ffff ffff 0000000000000000 7fffffff'))).toThrow(/members/)
  })

  it('say which topics a consumer wants, if that can be read', () => {
    expect(subscribedTopics(bytes('0001 00000002 0001 61 0001 62 ffffffff'))).toEqual(['a', 'b'])
    expect(subscribedTopics(bytes('0001 7fffffff 0001 61'))).toBeUndefined()
    expect(subscribedTopics(Buffer.from('what I want'))).toBeUndefined()
  })
})

describe('what is read of groups', () => {
  const offsetOf = (offset: number) => {
    return offsetValue({ offset, leaderEpoch: undefined, metadata: '', committedAt: 1, expiresAt: undefined })
  }

  it('is the newest of each key; what was deleted is not there, and what cannot be read is passed over', () => {
    const load = new GroupLoad()
    const none = { protocolType: undefined, protocol: undefined, leader: undefined, members: [], stateSince: 1 }
    const records = [
      { key: offsetKey('g', 't', 0), value: offsetOf(1) },
      { key: offsetKey('g', 't', 1), value: offsetOf(2) },
      { key: offsetKey('g', 't', 0), value: offsetOf(3) },
      { key: offsetKey('gone', 't', 0), value: offsetOf(3) },
      { key: offsetKey('g', 't', 1), value: null },
      { key: offsetKey('gone', 't', 0), value: null },
      { key: bytes('0003 00'), value: null },
      { key: null, value: offsetOf(1) },
      { key: offsetKey('g', 't', 2), value: bytes('0009') },
      { key: groupKey('left'), value: groupValue({ ...none, generation: 77 }) },
      { key: groupKey('h'), value: groupValue({ ...none, protocolType: 'consumer', generation: 5 }) },
    ]
    load.addBatch(encodeBatch(records.map(({ key, value }) => ({ key, value, timestamp: 1 }))), 0, 0)
    const groups = [...load.groups()]
    expect(groups.map(({ name }) => name)).toEqual(['g', 'h'])
    expect(groups[0]?.offsets.map(([{ topic, partition }, { offset }]) => ({ topic, partition, offset }))).toEqual([
      { topic: 't', partition: 0, offset: 3 },
    ])
    expect(load).toMatchObject({ records: 11, skipped: 3, generationMax: 77 })
  })
})
