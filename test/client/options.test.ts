// What may be given to the client: a misspelt or illegal option is an error that helps, never silence.

import { describe, expect, it } from 'vitest'
import { type Client, connect } from '../../client/client.ts'
import { parseAddress, readConnectOptions } from '../../client/options.ts'
import { parsePosition } from '../../client/read-position.ts'
import { FakeBroker } from './fake-broker.ts'
import { bytes, json, number, string } from '../../client/serializers.ts'

const brokers = ['127.0.0.1:9']

describe('connect', () => {
  it.each<[object, string]>([
    [{}, "connect: brokers must be given: an array of 'host:port'"],
    [{ brokers: [] }, "connect: brokers must be 'host:port', or an array of one or more, not an array"],
    [{ brokers, broker: 1 }, 'connect: there is no option broker; did you mean brokers?'],
    [{ brokers, requestTimeout: 1 }, 'connect: there is no option requestTimeout; did you mean requestTimeoutMs?'],
    [{ brokers, colour: 1 }, 'connect: there is no option colour'],
    [{ brokers, tls: {} }, 'connect: tls must be left out: TLS is not available in this version, not an object'],
    [{ brokers, sasl: {} }, 'connect: sasl must be left out: SASL is not available in this version, not an object'],
    [{ brokers, clientId: '' }, 'connect: clientId must be text of 1 to 256 bytes, not ""'],
    [
      { brokers, logger: {} },
      'connect: logger must be an object with the functions debug, info, warn and error, not an object',
    ],
    [{ brokers, retry: { tries: 3 } }, 'connect: retry: there is no option tries; did you mean retries?'],
    [{ brokers, requestTimeoutMs: 0.5 }, 'connect: requestTimeoutMs must be an integer from 1 on, not 0.5'],
    [{ brokers: ['a b:1'] }, 'connect: a broker is written as host:port, not "a b:1"'],
    [{ brokers: ['host:99999'] }, 'connect: a broker is written as host:port, not "host:99999"'],
    [JSON.parse('{"brokers": ["a:1"], "__proto__": {}}') as object, 'connect: there is no option __proto__'],
  ])('refuses %j', (options, message) => {
    expect(() => connect(options as never)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', message }))
  })

  it('gives a client that a wrong option does not close by half', async () => {
    const client = connect({ brokers })
    await expect(client.close({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(client.producer().bufferedBytes).toBe(0)
    await client.close()
    expect(() => client.producer()).toThrow(expect.objectContaining({ code: 'CLIENT_CLOSED' }))
  })

  it('reads addresses with and without a port, of both families', () => {
    expect(parseAddress('localhost')).toEqual({ host: 'localhost', port: 9092 })
    expect(parseAddress('10.0.0.1:1')).toEqual({ host: '10.0.0.1', port: 1 })
    expect(parseAddress('[::1]:9093')).toEqual({ host: '::1', port: 9093 })
    expect(readConnectOptions({ brokers: 'a:1, b:2' }).bootstrap).toEqual([
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ])
  })

  it('makes no connection before something is asked', async () => {
    await using broker = await FakeBroker.start()
    const client = connect({ brokers: broker.address })
    client.producer()
    client.admin()
    await client.close()
    expect(broker.connections).toBe(0)
  })
})

describe('the calls of a client', () => {
  it.each<[string, (client: Client) => unknown, string]>([
    [
      'a producer',
      (client) => client.producer({ linger: 5 } as never),
      'producer: there is no option linger; did you mean lingerMs?',
    ],
    ['acks', (client) => client.producer({ acks: 2 as never }), 'producer: acks must be one of "all", 0, 1, -1, not 2'],
    [
      'idempotence',
      (client) => client.producer({ acks: 1, idempotent: true }),
      "producer: idempotent needs acks 'all', not 1",
    ],
    [
      'the window',
      (client) => client.producer({ maxInFlight: 6 }),
      'producer: idempotent allows a maxInFlight of 5 at most, not 6',
    ],
    [
      'serializers',
      (client) => client.producer({ serializers: { valeu: string } as never }),
      'producer: serializers must be an object with key and value, without valeu, not an object',
    ],
    [
      'read',
      (client) => client.read('t', { form: 'start' } as never),
      'read: there is no option form; did you mean from?',
    ],
    ['a topic', (client) => client.read(''), 'read: expects a topic name, a string that is not empty'],
    [
      'a position',
      (client) => client.read('t', { from: 'yesterday' }),
      "from must be 'start', 'end', an offset, a Date or a span like '-10m', not yesterday",
    ],
    [
      'partitions',
      (client) => client.read('t', { partitions: [-1] }),
      'read: partitions must be an array of partition numbers, not empty, not an array',
    ],
  ])('refuse an illegal option of %s', (_, call, message) => {
    expect(() => call(connect({ brokers }))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', message }))
  })

  it.each<[string, object, string]>([
    ['no value', { key: 'k' }, 'topic t: a record needs a value; null makes it a tombstone'],
    [
      'a number as its value',
      { value: 5 },
      'topic t: the value of a record: expected text or bytes, not a value of type number; give a serializer',
    ],
    ['a header that is no text', { value: '', headers: { a: 1 } }, 'topic t: header a must be text, bytes or null'],
    [
      'a timestamp that is none',
      { value: '', timestamp: -5 },
      'topic t: a timestamp is a Date or milliseconds since 1970, not -5',
    ],
  ])('refuse a record with %s', async (_, record, message) => {
    const producer = connect({ brokers }).producer()
    await expect(producer.enqueue('t', record as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message })
  })
})

describe('a position', () => {
  it.each<[Parameters<typeof parsePosition>[0], object]>([
    ['start', { kind: 'earliest' }],
    ['beginning', { kind: 'earliest' }],
    ['latest', { kind: 'latest' }],
    [17, { kind: 'offset', offset: 17 }],
    [-5, { kind: 'before-end', count: 5 }],
    ['-10m', { kind: 'time', timestamp: 1_000_000_000 - 600_000 }],
    ['-1.5h', { kind: 'time', timestamp: 1_000_000_000 - 5_400_000 }],
    ['-9w', { kind: 'time', timestamp: 0 }],
    [new Date(5), { kind: 'time', timestamp: 5 }],
    ['1970-01-02', { kind: 'time', timestamp: 86_400_000 }],
  ])('%s is read', (position, expected) => {
    expect(parsePosition(position, 'from', 1_000_000_000)).toEqual(expected)
  })

  it.each([Number.NaN, 1.5, '10m', '-10', '-10y', '', 'now', new Date(Number.NaN), '2020-99-99', {} as never])(
    '%s is refused',
    (position) => {
      expect(() => parsePosition(position, 'from', 0)).toThrow('from must be')
    },
  )
})

describe('a serializer', () => {
  it('gives back what it was given', () => {
    const text = 'grüße, 世界 \u0000'
    expect(string.deserialize(Buffer.from(string.serialize(text, 't')), 't')).toBe(text)
    expect(number.deserialize(Buffer.from(number.serialize(-0.1, 't')), 't')).toBe(-0.1)
    expect(json().deserialize(Buffer.from(json().serialize({ a: [1, null] }, 't')), 't')).toEqual({ a: [1, null] })
    expect(bytes.deserialize(Buffer.from([1, 2]), 't')).toEqual(Buffer.from([1, 2]))
  })

  it.each<[string, () => unknown]>([
    ['text that is none', () => string.serialize(5 as never, 't')],
    ['a number that is none', () => number.serialize('5' as never, 't')],
    ['bytes that are none', () => bytes.serialize('5' as never, 't')],
    ['what JSON cannot say', () => json().serialize(undefined, 't')],
    ['a number of three bytes', () => number.deserialize(Buffer.alloc(3), 't')],
  ])('refuses %s', (_, call) => {
    expect(call).toThrow(/expected|cannot|bytes/)
  })
})

describe('what an admin is asked for', () => {
  const client = connect({ brokers })
  const admin = client.admin()

  it.each<[string, () => Promise<unknown>, string]>([
    ['no moves', () => admin.movePartitions({ moves: [] }), 'movePartitions: moves must be an array that is not empty'],
    [
      'brokers by name',
      () => admin.movePartitions({ moves: [{ topic: 't', partition: 0, replicas: ['b1' as never] }] }),
      'movePartitions: a move: replicas must be an array of broker ids',
    ],
    [
      'a partition below 0',
      () => admin.movePartitions({ moves: [{ topic: 't', partition: -1, replicas: [1] }] }),
      'movePartitions: a move: partition must be an integer from 0 on, not -1',
    ],
    ['half a broker', () => admin.drainBroker(1.5), 'drainBroker: brokerId must be an integer from 0 on, not 1.5'],
    ['a broker below 0', () => admin.undrainBroker(-1), 'undrainBroker: brokerId must be an integer from 0 on, not -1'],
    [
      'no number',
      () => admin.decommissionBroker(Number.NaN),
      'decommissionBroker: brokerId must be an integer from 0 on, not NaN',
    ],
    [
      'a loss that is half accepted',
      () => admin.recoverPartition({ topic: 't', partition: 0, brokerId: 1, isLossAccepted: 'yes' as never }),
      'recoverPartition: isLossAccepted must be true or false, not "yes"',
    ],
  ])('is refused at the door: %s', async (_what, call, message) => {
    await expect(call()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message) as string,
    })
  })
})
