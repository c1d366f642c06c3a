// Both ways of reading a real socket keep the same promises.

import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { NodeTransport } from '../../broker/network/node-transport.ts'
import type { SocketHandlers, TransportServer, TransportSocket } from '../../broker/network/transport.ts'
import { eventually } from './raw-client.ts'

const MIB = 1024 * 1024

interface Pair extends AsyncDisposable {
  readonly server: TransportServer
  readonly accepted: TransportSocket
  readonly client: Socket
  readonly received: Buffer[]
  readonly events: string[]
}

async function pairOf(
  transport: NodeTransport,
  onData?: (socket: TransportSocket, chunk: Uint8Array) => void,
): Promise<Pair> {
  const received: Buffer[] = []
  const events: string[] = []
  const sockets: TransportSocket[] = []
  const server = await transport.listen({ host: '127.0.0.1', port: 0 }, (socket) => {
    const handlers: SocketHandlers = {
      onData: (chunk) => {
        received.push(Buffer.from(chunk))
        onData?.(socket, chunk)
      },
      onDrain: () => events.push('drain'),
      onClose: (error) => events.push(error === undefined ? 'close' : `close after ${error.message}`),
    }
    sockets.push(socket)
    socket.start(handlers)
  })
  const client = connect({ port: server.port, host: '127.0.0.1' })
  client.on('error', () => undefined)
  await once(client, 'connect')
  await eventually(() => sockets.length === 1)
  const [accepted] = sockets
  if (accepted === undefined) throw new Error('nothing was accepted')
  const end = async (): Promise<void> => {
    client.destroy()
    accepted.destroy()
    await server.close()
  }
  return { server, accepted, client, received, events, [Symbol.asyncDispose]: end }
}

describe.each([
  ['one buffer for all sockets', { sharedBuffer: true }],
  ['a buffer for each read', { sharedBuffer: false }],
])('a transport with %s', (_name, options) => {
  const transport = new NodeTransport(options)

  it('receives what was sent, in order and to the last byte', async () => {
    await using pair = await pairOf(transport)
    const sent = Buffer.alloc(3 * MIB).map((_, index) => index & 0xff)
    pair.client.write(sent)
    await eventually(() => pair.received.reduce((sum, chunk) => sum + chunk.length, 0) === sent.length)
    expect(Buffer.compare(Buffer.concat(pair.received), sent)).toBe(0)
    expect(pair.accepted.remote).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(pair.accepted.remoteAddress).toBe('127.0.0.1')
  })

  it('reads nothing while it is paused, even in the middle of much, and loses nothing', async () => {
    await using pair = await pairOf(transport, (socket) => socket.pause())
    const sent = Buffer.alloc(MIB).map((_, index) => (index * 7) & 0xff)
    pair.client.write(sent)
    let chunks = 0
    while (pair.received.reduce((sum, chunk) => sum + chunk.length, 0) < sent.length) {
      chunks += 1
      await eventually(() => pair.received.length === chunks)
      for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate)
      expect(pair.received).toHaveLength(chunks)
      pair.accepted.resume()
    }
    expect(Buffer.compare(Buffer.concat(pair.received), sent)).toBe(0)
  })

  it('sends several buffers as one stream and says when each write has been taken', async () => {
    await using pair = await pairOf(transport)
    const got: Buffer[] = []
    pair.client.on('data', (chunk) => got.push(chunk))
    const order: string[] = []
    pair.accepted.write([Buffer.from('one '), Buffer.from('two '), Buffer.from('three ')], () => order.push('first'))
    pair.accepted.write([Buffer.from('four')], () => order.push('second'))
    await eventually(() => Buffer.concat(got).toString() === 'one two three four' && order.length === 2)
    expect(order).toEqual(['first', 'second'])
    expect(pair.accepted.bufferedBytes).toBe(0)
  })

  it('tells how much waits for a peer that does not read, and when it has gone', async () => {
    await using pair = await pairOf(transport)
    pair.client.pause()
    expect(pair.accepted.write([Buffer.alloc(20 * MIB)])).toBe(false)
    expect(pair.accepted.bufferedBytes).toBeGreaterThan(MIB)
    expect(pair.events).toEqual([])
    pair.client.resume()
    await eventually(() => pair.events.includes('drain'))
    expect(pair.accepted.bufferedBytes).toBe(0)
  })

  it('tells once that the peer has gone, whichever way it went', async () => {
    for (const go of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      await using pair = await pairOf(transport)
      go(pair.client)
      await eventually(() => pair.events.length > 0)
      for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate)
      expect(pair.events).toHaveLength(1)
      expect(pair.events[0]).toMatch(/^close/)
    }
  })

  it('ends its side and goes on reading the other', async () => {
    await using pair = await pairOf(transport)
    pair.client.resume()
    pair.client.allowHalfOpen = true
    pair.accepted.write([Buffer.from('last words')])
    pair.accepted.end()
    await once(pair.client, 'end')
    pair.client.write('an afterthought')
    await eventually(() => Buffer.concat(pair.received).toString() === 'an afterthought')
    pair.client.end()
    await eventually(() => pair.events.length > 0)
    expect(pair.events).toEqual(['close'])
  })

  it('accepts no more when it is closed, and leaves open sockets alone', async () => {
    await using pair = await pairOf(transport)
    await pair.server.close()
    await pair.server.close()
    const late = connect({ port: pair.server.port, host: '127.0.0.1' })
    const [error] = (await once(late, 'error')) as [Error]
    expect(error.message).toContain('ECONNREFUSED')
    pair.client.write('still here')
    await eventually(() => Buffer.concat(pair.received).toString() === 'still here')
  })

  it('says which address is taken and what to try', async () => {
    await using pair = await pairOf(transport)
    const { port } = pair.server
    await expect(transport.listen({ host: '127.0.0.1', port }, () => undefined)).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: `cannot listen on 127.0.0.1:${port}: another process listens there; stop it, choose another port, or port 0 for a free one`,
    })
  })

  it('refuses an address that is not of this machine', async () => {
    await expect(transport.listen({ host: '192.0.2.1', port: 0 }, () => undefined)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    })
  })
})
