// What happens when a peer is faster than the broker, or slower: sockets are paused, nothing is dropped, memory stays
// within its bounds.

import { describe, expect, it } from 'vitest'
import { APIS, type RequestOf, type ResponseOf } from '../../shared/protocol/api.ts'
import type { PlainRequest } from '../../broker/requests/requests.ts'
import { startNativeServer } from './native-server.ts'
import { eventually, fetchOf, produceOf, RawClient, requestFrame } from './raw-client.ts'
import { StubRequests } from './stub-requests.ts'

const MIB = 1024 * 1024

/** The number of a batch stands in its first four bytes. */
function numbered(index: number, bytes: number): Buffer {
  const batch = Buffer.alloc(bytes, index & 0xff)
  batch.writeUInt32BE(index)
  return batch
}

describe('producers', () => {
  it('beyond the memory for requests are paused, and everything arrives once and in order', async () => {
    const limits = { requestBytesMax: 2 * MIB, inFlightMax: 1_000, inFlightBytesMax: 64 * MIB }
    await using server = await startNativeServer({ limits })
    server.requests.isHoldingProduces = true
    const clients = await Promise.all([0, 1, 2, 3].map(() => RawClient.greet(server.port)))
    const requests = 40
    const sent = clients.map((client, at) =>
      Array.from({ length: requests }, (_, index) => {
        const batch = numbered(index, 200_000)
        return client.request('produce', produceOf(`t${at}`, batch), batch)
      }),
    )
    let peak = 0
    let answered = 0
    while (answered < requests * clients.length) {
      await eventually(() => server.requests.held.length > 0)
      // Give everything a chance to arrive that can: what is held must stay bounded while nothing is answered.
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
      peak = Math.max(peak, server.listener.requestBytes)
      answered += server.requests.held.length
      for (const respond of server.requests.held.splice(0)) respond()
    }
    for (const [at, client] of clients.entries()) await client.answer(sent[at]?.at(-1) ?? 0)
    // One frame beyond the budget for each connection whose chunk held a whole one.
    expect(peak).toBeLessThanOrEqual(1.5 * MIB + 4 * 200_100)
    expect(peak).toBeGreaterThan(MIB)
    for (const at of clients.keys()) {
      const batches = server.requests.logs.get(`t${at}/0`) ?? []
      expect(batches.map((batch) => Buffer.from(batch).readUInt32BE())).toEqual([...Array(requests).keys()])
    }
    const waited = server.meter.seriesOf('tidemark_throttle_seconds_total')
    expect(waited.find(({ labels }) => labels['reason'] === 'memory')?.value()).toBeGreaterThan(0)
    expect(server.listener.requestBytes).toBe(0)
  })

  it('of many small requests beyond the memory for requests are paused as well', async () => {
    const limits = { requestBytesMax: MIB, inFlightMax: 10_000, inFlightBytesMax: 64 * MIB }
    await using server = await startNativeServer({ limits })
    server.requests.isHoldingProduces = true
    const client = await RawClient.greet(server.port)
    const batch = numbered(0, 1_000)
    const frame = requestFrame('produce', 5, produceOf('t', batch), batch)
    const requests = 5_000
    client.send(...Array.from({ length: requests }, () => frame))
    let answered = 0
    while (answered < requests) {
      await eventually(() => server.requests.held.length > 0)
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
      expect(server.listener.requestBytes).toBeLessThanOrEqual(0.75 * MIB + frame.length)
      answered += server.requests.held.length
      for (const respond of server.requests.held.splice(0)) respond()
    }
    await client.until(() => client.frames.length === 1 + requests)
    expect(server.requests.logs.get('t/0')).toHaveLength(requests)
  })

  it('are let go on when a frame is as large as the whole memory for requests', async () => {
    await using server = await startNativeServer({ limits: { requestBytesMax: MIB } })
    const client = await RawClient.greet(server.port)
    for (let index = 0; index < 3; index += 1) {
      const batch = numbered(index, 5 * MIB)
      const { partitions } = await client.ask('produce', produceOf('t', batch), batch)
      expect(partitions[0]?.baseOffset).toBe(index)
    }
    expect(server.listener.requestBytes).toBe(0)
  })

  it('with more requests than may wait are not read until there is room', async () => {
    await using server = await startNativeServer({ limits: { inFlightMax: 10 } })
    server.requests.isHoldingProduces = true
    const client = await RawClient.greet(server.port)
    const batch = Buffer.from('small')
    const ids = Array.from({ length: 105 }, () => client.request('produce', produceOf('t', batch), batch))
    let answered = 0
    const steps: number[] = []
    while (answered < ids.length) {
      await eventually(() => server.requests.held.length >= Math.min(10, ids.length - answered))
      for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate)
      steps.push(server.requests.held.length)
      answered += server.requests.held.length
      for (const respond of server.requests.held.splice(0)) respond()
    }
    await client.answer(ids.at(-1) ?? 0)
    expect(steps).toEqual([10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 5])
    expect(client.frames.slice(1).map(({ correlationId }) => correlationId)).toEqual(ids)
  })

  it('that go away while they are paused leave nothing behind, and those who wait get their memory', async () => {
    await using server = await startNativeServer({ limits: { requestBytesMax: MIB, inFlightBytesMax: 64 * MIB } })
    server.requests.isHoldingProduces = true
    const batch = numbered(0, 400_000)
    const clients = await Promise.all([0, 1, 2, 3, 4, 5].map(() => RawClient.greet(server.port)))
    for (const client of clients) for (let n = 0; n < 8; n += 1) client.request('produce', produceOf('t', batch), batch)
    await eventually(() => server.requests.held.length >= 2)
    for (const client of clients.slice(0, 5)) client.close()
    const [last] = clients.slice(5)
    while ((last?.frames.length ?? 0) < 9) {
      for (const respond of server.requests.held.splice(0)) respond()
      await new Promise(setImmediate)
    }
    last?.close()
    // Those that were paused are noticed when they are read again or their time is over.
    await eventually(() => {
      for (const respond of server.requests.held.splice(0)) respond()
      return server.listener.connections === 0
    })
    expect(server.listener.requestBytes).toBe(0)
  })
})

/** Whoever asks for metadata waits until it is let go. */
class SlowRequests extends StubRequests {
  readonly asking: (() => void)[] = []

  override async ask<Name extends PlainRequest>(name: Name, request: RequestOf<Name>): Promise<ResponseOf<Name>> {
    await new Promise<void>((resolve) => {
      this.asking.push(resolve)
    })
    return super.ask(name, request)
  }
}

describe('questions', () => {
  it('whose answers may be of any length are begun a few at a time, however many come at once', async () => {
    const limits = { inFlightMax: 1_000, inFlightBytesMax: 16 * MIB }
    await using server = await startNativeServer({ limits, requests: new SlowRequests() })
    const client = await RawClient.greet(server.port)
    const all = { topics: undefined, createMissing: false }
    client.send(Buffer.concat(Array.from({ length: 100 }, (_, at) => requestFrame('metadata', 100 + at, all))))
    const { asking } = server.requests
    for (let begun = 0; begun < 100; begun += 4) {
      await eventually(() => asking.length === 4)
      expect(server.listener.requestBytes).toBeLessThan(10_000)
      for (const resolve of asking.splice(0)) resolve()
    }
    for (let at = 0; at < 100; at += 1) expect((await client.answer(100 + at)).kind).toBe('error')
    expect(server.listener.requestBytes).toBe(0)
  })

  it('that somebody asks many of at once are not all answered before anybody else is heard', async () => {
    await using server = await startNativeServer()
    const [many, other] = [await RawClient.greet(server.port), await RawClient.greet(server.port)]
    const all = { topics: undefined, createMissing: false }
    many.send(Buffer.concat(Array.from({ length: 900 }, (_, at) => requestFrame('metadata', 100 + at, all))))
    await eventually(() => server.requests.askedFor.length > 0)
    await other.ask('initProducerId', {})
    expect(server.requests.askedFor.length).toBeLessThan(900)
    for (let at = 0; at < 900; at += 1) expect((await many.answer(100 + at)).kind).toBe('error')
  })
})

describe('a consumer that does not read', () => {
  it('costs a bounded number of bytes, and gets everything once it reads', async () => {
    const cap = 4 * MIB
    await using server = await startNativeServer({ limits: { outputBytesMax: cap, inFlightMax: 1_000 } })
    const control = await RawClient.greet(server.port)
    const batch = numbered(1, MIB)
    await control.ask('produce', produceOf('t', batch), batch)
    const slow = await RawClient.greet(server.port)
    slow.socket.pause()
    const fetches = 200
    for (let index = 0; index < fetches; index += 1) slow.send(requestFrame('fetch', 1_000 + index, fetchOf('t', 0)))
    await eventually(() => server.requests.handedOut > 0)
    for (let turn = 0; turn < 20; turn += 1) {
      await control.ask('produce', produceOf('control', Buffer.from('x')), Buffer.from('x'))
      expect(server.listener.heldBytes()).toBeLessThanOrEqual(cap + 2 * MIB)
    }
    // What the system's buffers take on both sides is not ours.
    expect(server.requests.handedOut).toBeLessThan(50)
    slow.socket.resume()
    await slow.answer(1_000 + fetches - 1)
    expect(slow.frames).toHaveLength(1 + fetches)
    expect(slow.frames.slice(1).every(({ tail }) => tail.length === MIB)).toBe(true)
    await eventually(() => server.requests.released === fetches)
    expect(server.listener.heldBytes()).toBe(0)
  })

  // Fifty of them held their 8 MiB each, and a bit more: 613 MiB, and every further one as much again.
  it('leaves the memory to the others, however many like it there are', async () => {
    const limits = { outputBytesMax: 4 * MIB, outputBytesTotalMax: 16 * MIB, inFlightMax: 1_000 }
    await using server = await startNativeServer({ limits })
    const control = await RawClient.greet(server.port)
    const batch = numbered(1, 64 * 1024)
    await control.ask('produce', produceOf('t', batch), batch)
    const slow = await Promise.all(Array.from({ length: 30 }, () => RawClient.greet(server.port)))
    for (const client of slow) {
      client.socket.pause()
      for (let index = 0; index < 400; index += 1) client.send(requestFrame('fetch', 1_000 + index, fetchOf('t', 0)))
    }
    await eventually(() => server.requests.handedOut > 100)
    for (let turn = 0; turn < 20; turn += 1) {
      await control.ask('produce', produceOf('control', Buffer.from('x')), Buffer.from('x'))
      expect((await control.ask('fetch', fetchOf('t', 0))).partitions[0]?.bytes).toBe(batch.length)
      // Half of what is left for each, and for each at least the smallest share and the answer that went beyond it.
      expect(server.listener.heldBytes()).toBeLessThanOrEqual(16 * MIB + slow.length * 192 * 1024)
    }
    for (const client of slow) client.socket.resume()
    await Promise.all(slow.map((client) => client.answer(1_399)))
    await eventually(() => server.listener.heldBytes() === 0)
  })

  it('is read no further while answers from the disk are on their way that it would have to read first', async () => {
    await using server = await startNativeServer({ limits: { outputBytesMax: 4 * MIB, inFlightMax: 1_000 } })
    const { requests } = server
    const fetch = requests.fetch.bind(requests)
    const reads: (() => void)[] = []
    let begun = 0
    let isFromDisk = true
    requests.fetch = (request, context, respond, onReading) => {
      begun += 1
      if (!isFromDisk) return fetch(request, context, respond)
      onReading?.(true)
      reads.push(() => {
        onReading?.(false)
        fetch(request, context, respond)
      })
      return { cancel: () => undefined }
    }
    const client = await RawClient.greet(server.port)
    const batch = numbered(1, MIB)
    await client.ask('produce', produceOf('t', batch), batch)
    const fetches = 100
    for (let index = 0; index < fetches; index += 1) client.send(requestFrame('fetch', 1_000 + index, fetchOf('t', 0)))
    await eventually(() => begun > 0)
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
    // Two of 2 and 1 MiB, and then a MiB for each that is promised less: a batch comes whole.
    expect(begun).toBeLessThanOrEqual(5)
    isFromDisk = false
    for (const read of reads.splice(0)) read()
    await client.answer(1_000 + fetches - 1)
    expect(begun).toBe(fetches)
  })

  it('gives its records back when it goes', async () => {
    await using server = await startNativeServer({ limits: { outputBytesMax: MIB } })
    const client = await RawClient.greet(server.port)
    const batch = numbered(1, 8 * MIB)
    await client.ask('produce', produceOf('t', batch), batch)
    client.socket.pause()
    for (let index = 0; index < 20; index += 1) client.request('fetch', fetchOf('t', 0))
    await eventually(() => server.requests.handedOut > 0)
    client.close()
    await eventually(() => server.listener.connections === 0)
    expect(server.requests.released).toBe(server.requests.handedOut)
  })

  it('is promised less the more answers it has outstanding', async () => {
    const granted: number[] = []
    const limits = { outputBytesMax: 8 * MIB }
    await using server = await startNativeServer({ limits })
    const { requests } = server
    const fetch = requests.fetch.bind(requests)
    requests.fetch = (request, context, respond) => {
      granted.push(request.maxBytes)
      return fetch(request, context, respond)
    }
    const client = await RawClient.greet(server.port)
    for (let index = 0; index < 8; index += 1) client.request('fetch', fetchOf('t', 0, 60_000))
    await eventually(() => granted.length === 8)
    expect(granted.map((bytes) => bytes / 1024)).toEqual([4096, 2048, 1024, 512, 256, 128, 64, 64])
  })
})

describe('time', () => {
  it('closes a connection on which nothing is asked, and not one whose fetch waits', async () => {
    await using server = await startNativeServer({ limits: { idleMs: 1_500 } })
    const [idle, waiting] = [await RawClient.greet(server.port), await RawClient.greet(server.port)]
    waiting.request('fetch', fetchOf('t', 0, 60_000))
    await idle.closed()
    expect(server.rejected('idle')).toBe(1)
    expect(waiting.isClosed).toBe(false)
    await waiting.ask('initProducerId', {})
  })

  it('closes a connection that has stopped reading its answers', async () => {
    await using server = await startNativeServer({ limits: { idleMs: 1_500, outputBytesMax: MIB } })
    const client = await RawClient.greet(server.port)
    const batch = numbered(1, 8 * MIB)
    await client.ask('produce', produceOf('t', batch), batch)
    client.socket.pause()
    for (let index = 0; index < 20; index += 1) client.request('fetch', fetchOf('t', 0))
    await eventually(() => server.rejected('stalled') === 1)
    await eventually(() => server.listener.connections === 0)
    expect(server.requests.released).toBe(server.requests.handedOut)
  })
})

describe('stopping', () => {
  it('answers what is under way and what waits, then closes', async () => {
    await using server = await startNativeServer()
    server.requests.isHoldingProduces = true
    const client = await RawClient.greet(server.port)
    const batch = Buffer.from('batch')
    const produced = client.request('produce', produceOf('t', batch), batch)
    const fetched = client.request('fetch', fetchOf('u', 0, 60_000))
    await eventually(() => server.requests.held.length === 1 && server.requests.waiting.size === 1)
    const stopped = server.listener.stop({ drainMs: 10_000 })
    const answer = await client.answer(fetched)
    expect(APIS.fetch.response.decode(answer.body, 'fetch')).toEqual({ partitions: [] })
    for (const respond of server.requests.held.splice(0)) respond()
    expect((await client.answer(produced)).kind).toBe('response')
    await client.closed()
    await stopped
    expect(server.listener.connections).toBe(0)
    await expect(RawClient.connect(server.port)).rejects.toThrow('ECONNREFUSED')
  })

  it('does not wait longer than it was told for an answer that does not come', async () => {
    await using server = await startNativeServer()
    server.requests.isHoldingProduces = true
    const client = await RawClient.greet(server.port)
    client.request('produce', produceOf('t', Buffer.from('b')), Buffer.from('b'))
    await eventually(() => server.requests.held.length === 1)
    await server.listener.stop({ drainMs: 50 })
    await client.closed()
    // The answer comes after all, to nobody.
    for (const respond of server.requests.held.splice(0)) respond()
    expect(server.listener.requestBytes).toBe(0)
  })

  it('closes a connection that has nothing under way at once', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    await server.listener.stop({ drainMs: 60_000 })
    await client.closed()
    expect(server.listener.connections).toBe(0)
  })
})
