// What members tell each other, byte by byte as Kafka's schemas ConsumerProtocolSubscription and ConsumerProtocolAssignment
// have it.

import { AssignerProtocol } from 'kafkajs'
import { describe, expect, it } from 'vitest'
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../client/consumer-protocol.ts'

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

const SUBSCRIPTION = hex(`
  0003
  00000002 0001 61 0002 6262
  00000004 00000007
  00000001 0001 61 00000002 00000000 00000005
  00000007
  ffff`)

const ASSIGNMENT = hex(`
  0003
  00000002 0001 61 00000002 00000000 00000005 0002 6262 00000001 00000001
  00000000`)

describe('the subscription of a member', () => {
  const subscription = {
    topics: ['a', 'bb'],
    owned: [
      { topic: 'a', partition: 0 },
      { topic: 'a', partition: 5 },
    ],
    generation: 7,
  }

  it('is written as version 3, with the generation in the user data as well', () => {
    expect(Buffer.from(encodeSubscription(subscription)).toString('hex')).toBe(
      Buffer.from(SUBSCRIPTION).toString('hex'),
    )
  })

  it.each([
    ['version 3', SUBSCRIPTION, subscription],
    ['version 0', hex('0000 00000001 0001 61 ffffffff'), { topics: ['a'], owned: [], generation: -1 }],
    [
      'version 0 of a client that has no user data',
      hex('0000 00000000 00000000'),
      { topics: [], owned: [], generation: -1 },
    ],
    [
      'version 1 with the generation in the user data',
      hex('0001 00000001 0001 61 00000004 00000009 00000001 0001 61 00000001 00000002'),
      { topics: ['a'], owned: [{ topic: 'a', partition: 2 }], generation: 9 },
    ],
    ['version 2', hex('0002 00000001 0001 61 ffffffff 00000000 00000003'), { topics: ['a'], owned: [], generation: 3 }],
    [
      'a newer version, as far as it is known',
      hex('0009 00000001 0001 61 ffffffff 00000000 00000003 0001 72 cafe'),
      { topics: ['a'], owned: [], generation: 3 },
    ],
  ])('is read from %s', (_, bytes, expected) => {
    expect(decodeSubscription(bytes)).toEqual(expected)
  })

  it('is understood by a client that knows version 0 only', () => {
    const read = AssignerProtocol.MemberMetadata.decode(Buffer.from(SUBSCRIPTION))
    expect(read?.topics).toEqual(['a', 'bb'])
  })

  it('is refused wherever it breaks off, and when it promises more than there is', () => {
    for (let length = 0; length < SUBSCRIPTION.length - 2; length += 1) {
      expect(() => decodeSubscription(SUBSCRIPTION.subarray(0, length))).toThrow('cannot be read')
    }
    expect(() => decodeSubscription(hex('0000 7fffffff'))).toThrow('cannot be read')
    expect(() => decodeSubscription(hex('0000 ffffffff'))).toThrow('cannot be read')
    expect(() => decodeSubscription(hex('8000 00000000 ffffffff'))).toThrow('cannot be read')
  })
})

describe('an assignment', () => {
  const partitions = [
    { topic: 'a', partition: 0 },
    { topic: 'a', partition: 5 },
    { topic: 'bb', partition: 1 },
  ]

  it('is written and read, sorted by topic and number', () => {
    const written = encodeAssignment(partitions.toReversed())
    expect(Buffer.from(written).toString('hex')).toBe(Buffer.from(ASSIGNMENT).toString('hex'))
    expect(decodeAssignment(ASSIGNMENT)).toEqual(partitions)
  })

  it('is understood by a client that knows version 0 only, and the other way round', () => {
    const read = AssignerProtocol.MemberAssignment.decode(Buffer.from(ASSIGNMENT))
    expect(read?.assignment).toEqual({ a: [0, 5], bb: [1] })
    const theirs = AssignerProtocol.MemberAssignment.encode({
      version: 0,
      assignment: { a: [0, 5], bb: [1] },
      userData: Buffer.alloc(0),
    })
    expect(decodeAssignment(theirs)).toEqual(partitions)
  })

  it('is read as well where it has no user data, which is how Kafka writes it', () => {
    expect(decodeAssignment(hex('0000 00000001 0002 6262 00000001 00000001 ffffffff'))).toEqual(partitions.slice(2))
  })

  it('of no bytes is nothing', () => {
    expect(decodeAssignment(new Uint8Array(0))).toEqual([])
  })

  it('is refused when it breaks off', () => {
    expect(() => decodeAssignment(ASSIGNMENT.subarray(0, 20))).toThrow('the assignment cannot be read')
  })
})
