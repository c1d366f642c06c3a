// Everything a peer can do wrong, on real sockets, each beside a connection that does nothing wrong and must not notice.

import { describe, expect, it } from 'vitest'
import type { ConnectionLimits } from '../../broker/network/connection-limits.ts'
import { nativePreface } from '../../shared/protocol/frame.ts'
import { type NativeServer, startNativeServer } from './native-server.ts'
import { errorOf, eventually, produceOf, RawClient, rawFrame } from './raw-client.ts'
import type { StubRequests } from './stub-requests.ts'

const MIB = 1024 * 1024
const RECORDS = Buffer.from('a batch')

/** Runs the misdeed while another client works before, during and after it. */
async function besideAnother(
  misdeed: (server: NativeServer<StubRequests>) => Promise<void>,
  options: { readonly limits?: Partial<ConnectionLimits> } = {},
): Promise<void> {
  await using server = await startNativeServer(options)
  const control = await RawClient.greet(server.port)
  await control.ask('produce', produceOf('control', RECORDS), RECORDS)
  const before = process.memoryUsage()
  await misdeed(server)
  const { partitions } = await control.ask('produce', produceOf('control', RECORDS), RECORDS)
  expect(partitions[0]).toMatchObject({ error: 0, baseOffset: 1 })
  expect(process.memoryUsage().rss - before.rss).toBeLessThan(200 * MIB)
  control.close()
  await eventually(() => server.listener.connections === 0)
  expect(server.listener.requestBytes).toBe(0)
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

/** A frame with this body, as bytes, whatever they are. */
function frameAround(body: Uint8Array, api = 2): Buffer {
  const header = Buffer.from([1, api, 0, 0, 0, 0, 0, 77])
  return Buffer.concat([uint32(12 + body.length), header, uint32(body.length), body])
}

describe('a connection whose first bytes are of no protocol', () => {
  it('is closed with a line in the log that shows them', async () => {
    await besideAnother(async (server) => {
      const client = await RawClient.connect(server.port)
      client.send(Buffer.from('\u0001\u0002garbage that is long enough to be looked at'))
      await client.closed()
      expect(server.log.at(-1)).toMatchObject({ level: 'warn', fields: { looksLike: 'unknown' } })
      expect(String(server.log.at(-1)?.fields['firstBytes'])).toMatch(/^01026761/)
      expect(server.rejected('not-served')).toBe(1)
    })
  })

  it.each([
    ['http', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['tls', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01])],
  ])('is told apart as %s', async (name, bytes) => {
    await besideAnother(async (server) => {
      const client = await RawClient.connect(server.port)
      client.send(bytes)
      await client.closed()
      expect(server.log.at(-1)?.fields['looksLike']).toBe(name)
    })
  })

  it('is recognised when its first bytes come one by one', async () => {
    await besideAnother(async (server) => {
      const client = await RawClient.connect(server.port)
      const hello = rawFrame({ api: 0, correlationId: 1, body: ['c', 's'] })
      for (const byte of Buffer.concat([nativePreface(), hello])) {
        client.send(Uint8Array.of(byte))
        await new Promise(setImmediate)
      }
      expect((await client.answer(1)).kind).toBe('response')
      client.close()
    })
  })

  it('costs one line of the log each only up to a point', async () => {
    await using server = await startNativeServer()
    for (let index = 0; index < 50; index += 1) {
      const client = await RawClient.connect(server.port)
      client.send(Buffer.from('\u0001\u0002\u0003\u0004'))
      await client.closed()
    }
    expect(server.rejected('not-served')).toBe(50)
    expect(server.log).toHaveLength(20)
  })
})

describe('a frame that cannot be read', () => {
  it.each([
    ['2^31', 0x8000_0000],
    ['2^32 - 1', 0xffff_ffff],
    ['one more than may be', 64 * MIB + 1],
  ])('of a length of %s is refused before anything is opened for it', async (_name, length) => {
    await besideAnother(async (server) => {
      const client = await RawClient.greet(server.port)
      client.send(uint32(length), Buffer.alloc(100))
      expect(errorOf(await client.answer(0)).code).toBe('FRAME_TOO_LARGE')
      await client.closed()
      expect(server.rejected('malformed')).toBe(1)
    })
  })

  it('is answered although much more has been sent behind it, which nobody reads', async () => {
    await besideAnother(async (server) => {
      const client = await RawClient.greet(server.port)
      client.send(uint32(0xffff_ffff), Buffer.alloc(8 * MIB))
      expect(errorOf(await client.answer(0)).code).toBe('FRAME_TOO_LARGE')
      await client.closed()
    })
  })

  it('may have 16 KiB before hello and no more', async () => {
    await besideAnother(async (server) => {
      const client = await RawClient.connect(server.port)
      client.send(nativePreface(), uint32(16 * 1024 + 1))
      expect(errorOf(await client.answer(0)).code).toBe('FRAME_TOO_LARGE')
      await client.closed()
    })
  })

  it.each([
    ['is shorter than its header', Buffer.concat([uint32(11), Buffer.alloc(11, 1)])],
    ['is empty', uint32(0)],
    [
      'has a body that is longer than the frame',
      Buffer.concat([uint32(12), Buffer.from([1, 2, 0, 0, 0, 0, 0, 1]), uint32(1)]),
    ],
    ['is a response', rawFrame({ api: 2, correlationId: 1, body: [], kind: 'response' })],
    ['is an error', rawFrame({ api: 2, correlationId: 1, body: [], kind: 'error' })],
    ['is of no kind', Buffer.concat([uint32(12), Buffer.from([9, 2, 0, 0, 0, 0, 0, 1]), uint32(0)])],
  ])('because it %s closes the connection after an error', async (_name, bytes) => {
    await besideAnother(async (server) => {
      const client = await RawClient.greet(server.port)
      client.send(bytes)
      expect(errorOf(await client.answer(0)).code).toBe('MALFORMED_FRAME')
      await client.closed()
      expect(server.log.some(({ fields }) => fields['reason'] === 'malformed')).toBe(true)
    })
  })

  it('because it never ends is given up after its time, and its memory comes back', async () => {
    await besideAnother(
      async (server) => {
        const client = await RawClient.greet(server.port)
        client.send(uint32(60 * MIB), Buffer.alloc(1_000))
        await eventually(() => server.listener.requestBytes === 60 * MIB)
        await client.closed()
        expect(server.rejected('frame-timeout')).toBe(1)
        await eventually(() => server.listener.requestBytes === 0)
      },
      { limits: { frameMs: 1_000 } },
    )
  })

  it('leaves everybody else their memory, though a dozen of the largest never end', async () => {
    await besideAnother(
      async (server) => {
        const clients = await Promise.all(Array.from({ length: 12 }, () => RawClient.greet(server.port)))
        for (const client of clients) client.send(uint32(60 * MIB), Buffer.alloc(1_000))
        await eventually(() => server.listener.requestBytes === 60 * MIB)
        const other = await RawClient.greet(server.port)
        const batch = Buffer.alloc(MIB)
        for (let index = 0; index < 5; index += 1) await other.ask('produce', produceOf('t', batch), batch)
        expect(server.rejected('frame-timeout')).toBe(0)
        for (const client of [...clients, other]) client.close()
      },
      { limits: { requestBytesMax: 256 * MIB } },
    )
  })

  it('does not time out while every frame is finished in its time', async () => {
    await using server = await startNativeServer({ limits: { frameMs: 1_500 } })
    const client = await RawClient.greet(server.port)
    const frame = rawFrame({ api: 2, correlationId: 5, body: [1, 1, []] })
    // Always in the middle of a frame when the sweep looks, but never in the same one.
    client.send(frame.subarray(0, 10))
    for (let index = 0; index < 12; index += 1) {
      await new Promise((resolve) => setTimeout(resolve, 250))
      client.send(frame.subarray(10), frame.subarray(0, 10))
    }
    await eventually(() => client.frames.length === 13)
    expect(client.isClosed).toBe(false)
  })
})

describe('a message that cannot be read', () => {
  const nested = (depth: number): Buffer => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0xc0])])
  const declaring = (levels: number): Buffer =>
    Buffer.concat(Array.from({ length: levels }, () => Buffer.from([0xdc, 0x27, 0x10])))

  it.each([
    ['is nested 17 deep', nested(17)],
    ['is nested 5,000 deep', nested(5_000)],
    ['is nested 10 million deep', nested(10_000_000)],
    ['declares arrays of 10,000 within each other', declaring(4_000)],
    ['declares an array of 2^32 - 1', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ['declares a string of 2^32 - 1', Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff])],
    ['declares bytes of 2^32 - 1', Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff])],
    ['declares an extension of 2^32 - 1', Buffer.from([0xc9, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ['holds the extension that records are made of', Buffer.from([0xd4, 0x72, 0x40])],
    ['holds a map', Buffer.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x80])],
    ['holds a timestamp', Buffer.from([0xd6, 0xff, 0, 0, 0, 1])],
    ['is the byte that MessagePack never uses', Buffer.from([0xc1])],
    ['is empty', Buffer.alloc(0)],
    ['is two values', Buffer.from([0x90, 0x90])],
    ['is an integer of 2^63', Buffer.from([0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0])],
    [
      'has too many values',
      Buffer.concat([
        Buffer.from([0xdc, 0x00, 0x20]),
        ...Array.from({ length: 32 }, () => Buffer.concat([Buffer.from([0xdc, 0x27, 0x10]), Buffer.alloc(10_000)])),
      ]),
    ],
  ])('because it %s is refused, for a request by table and one by hand', async (_name, body) => {
    await besideAnother(async (server) => {
      for (const api of [2, 3]) {
        const client = await RawClient.greet(server.port)
        client.send(frameAround(body, api))
        expect(errorOf(await client.answer(77)).code).toBe('MALFORMED_FRAME')
        // The frames around it are sound, so that the connection goes on.
        await client.ask('initProducerId', {})
        client.close()
      }
      expect(server.requests.fetches).toBe(0)
    })
  })

  it.each([
    [4, 'fewer'],
    [1, 'fewer'],
    [0, 'fewer'],
    [6, 'more'],
    [7_000, 'more'],
  ])('because %i bytes of records follow, %s than the 5 that were said', async (bytes) => {
    await besideAnother(async (server) => {
      const client = await RawClient.greet(server.port)
      const id = client.request('produce', produceOf('t', Buffer.alloc(5)), Buffer.alloc(bytes))
      expect(errorOf(await client.answer(id)).code).toBe('MALFORMED_FRAME')
      expect(server.requests.logs.has('t/0')).toBe(false)
      client.close()
    })
  })

  it('because a request without records has some is refused', async () => {
    await besideAnother(async (server) => {
      const client = await RawClient.greet(server.port)
      const id = client.request('initProducerId', {}, Buffer.alloc(3))
      expect(errorOf(await client.answer(id)).code).toBe('MALFORMED_FRAME')
      expect(server.requests.askedFor).toEqual([])
      client.close()
    })
  })
})

describe('numbers at and beyond their bounds', () => {
  // Where a number stands, what may not stand there, and what may.
  const produce = (acks: unknown, timeoutMs: unknown, partition: unknown, leaderEpoch: unknown, bytes: unknown) => [
    2,
    [acks, timeoutMs, [['t', null, partition, leaderEpoch, bytes]]],
  ]
  const fetch = (maxWaitMs: unknown, minBytes: unknown, maxBytes: unknown, fetchOffset: unknown) => [
    3,
    [maxWaitMs, minBytes, maxBytes, [['t', null, 0, null, fetchOffset, 1]]],
  ]
  const fields: readonly (readonly [name: string, of: (value: unknown) => unknown, refused: readonly number[]])[] = [
    ['acks', (value) => produce(value, 1, 0, null, 0), [-2, 2, 2 ** 31, 2 ** 53]],
    ['timeoutMs', (value) => produce(1, value, 0, null, 0), [-1, 2 ** 32, 2 ** 53]],
    ['partition', (value) => produce(1, 1, value, null, 0), [-1, 2 ** 31, 2 ** 53]],
    ['leaderEpoch', (value) => produce(1, 1, 0, value, 0), [-(2 ** 31) - 1, 2 ** 31, 2 ** 53]],
    ['bytes', (value) => produce(1, 1, 0, null, value), [-1, 1, 2 ** 31, 2 ** 32, 2 ** 53]],
    ['maxWaitMs', (value) => fetch(value, 1, 1, 0), [-1, 2 ** 32, 2 ** 53]],
    ['minBytes', (value) => fetch(0, value, 1, 0), [-1, 2 ** 32, 2 ** 53]],
    ['maxBytes', (value) => fetch(0, 1, value, 0), [-1, 2 ** 32, 2 ** 53]],
    ['fetchOffset', (value) => fetch(0, 1, 1, value), [-1, 2 ** 53, 2 ** 63]],
    ['at', (value) => [4, [[['t', 0, null, value]]]], [-4, 2 ** 53, -(2 ** 53)]],
    ['partitions', (value) => [6, [[['t', value, 1, []]], true, 1]], [-(2 ** 31) - 1, 2 ** 31, 2 ** 53]],
    ['beforeOffset', (value) => [10, [[['t', 0, value]]]], [-2, 2 ** 53]],
  ]
  const others: readonly unknown[] = [0.5, NaN, Infinity, '1', true, [], new Uint8Array(2)]

  it.each(fields)('refuses %s without harm', async (_name, of, refused) => {
    await besideAnother(async (server) => {
      const client = await RawClient.greet(server.port)
      let correlationId = 100
      for (const value of [...refused, ...others]) {
        const [api, body] = of(value) as [number, unknown]
        correlationId += 1
        client.send(rawFrame({ api, correlationId, body }))
        const { code, message } = errorOf(await client.answer(correlationId))
        expect(code).toBe('MALFORMED_FRAME')
        expect(message).toMatch(/^(field |the message cannot be read|partition 0 names)/)
      }
      expect(server.requests.produced).toHaveLength(1)
      expect(server.requests.askedFor).toEqual([])
      client.close()
    })
  })
})

describe('too many connections', () => {
  it('are refused one by one, and room comes back when one goes', async () => {
    await using server = await startNativeServer({ limits: { connectionsMax: 3 } })
    const clients = await Promise.all([1, 2, 3].map(() => RawClient.greet(server.port)))
    const refused = await RawClient.connect(server.port)
    await refused.closed()
    expect(server.rejected('connections-max')).toBe(1)
    clients[0]?.close()
    await eventually(() => server.listener.connections === 2)
    await RawClient.greet(server.port)
  })

  it('from one address are refused as well', async () => {
    await using server = await startNativeServer({ limits: { connectionsPerAddressMax: 1 } })
    await RawClient.greet(server.port)
    const refused = await RawClient.connect(server.port)
    await refused.closed()
    expect(server.rejected('connections-per-address-max')).toBe(1)
  })

  it('that stay half open, a thousand of them, are all gone when their time is over', async () => {
    await besideAnother(
      async (server) => {
        const clients: RawClient[] = []
        for (let index = 0; index < 1_000; index += 1) {
          const client = await RawClient.connect(server.port)
          // Nothing at all, half a preface, or half a hello.
          client.send(
            Buffer.concat([nativePreface(), uint32(15_000), Buffer.alloc(500)]).subarray(0, (index % 3) * 250),
          )
          clients.push(client)
        }
        await eventually(() => server.listener.connections >= 900)
        await Promise.all(clients.map((client) => client.closed()))
        expect(server.rejected('handshake-timeout')).toBe(1_000)
      },
      { limits: { handshakeMs: 1_500 } },
    )
  })
})
