import { describe, expect, it } from 'vitest'
import { APIS } from '../../../shared/protocol/api.ts'
import { nativePreface } from '../../../shared/protocol/frame.ts'
import { startNativeServer } from '../../network/native-server.ts'
import {
  errorOf,
  eventually,
  fetchOf,
  followOf,
  produceOf,
  RawClient,
  rawFrame,
  requestFrame,
} from '../../network/raw-client.ts'

const RECORDS = Buffer.from('sixty-eight bytes of a batch, as far as this room is concerned')

describe('a native session', () => {
  it('answers hello with what the broker is and takes', async () => {
    await using server = await startNativeServer({ limits: { inFlightMax: 12 } })
    const client = await RawClient.connect(server.port)
    client.send(nativePreface())
    const hello = await client.ask('hello', { clientId: 'c', software: 's/1' })
    expect(hello).toMatchObject({ brokerId: 1, cluster: 'test', inFlightMax: 12, frameBytesMax: 64 * 1024 * 1024 })
    expect(hello.apis.map(({ api }) => api)).toEqual(Object.values(APIS).map(({ number }) => number))
  })

  it('appends what is produced, byte for byte, and says where', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    for (let index = 0; index < 3; index += 1) {
      const { partitions } = await client.ask('produce', produceOf('t', RECORDS), RECORDS)
      expect(partitions).toEqual([
        { error: 0, message: undefined, baseOffset: index, logStartOffset: 0, logAppendTime: undefined },
      ])
    }
    expect(server.requests.logs.get('t/0')?.map((batch) => Buffer.from(batch))).toEqual([RECORDS, RECORDS, RECORDS])
    expect(server.requests.contexts[0]).toMatchObject({ clientId: 'raw', software: 'raw/1', protocol: 'native' })
  })

  it('gives each partition its part of the tail and answers each for itself', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    const partition = (topic: string, bytes: number) => ({
      topic,
      topicId: undefined,
      partition: 0,
      leaderEpoch: undefined,
      bytes,
    })
    const partitions = [partition('a', 3), partition('missing', 2), partition('b', 0), partition('a', 1)]
    const answer = await client.ask('produce', { acks: 1, timeoutMs: 1, partitions }, Buffer.from('123456'))
    expect(answer.partitions.map(({ error, baseOffset }) => [error, baseOffset])).toEqual([
      [0, 0],
      [3, undefined],
      [0, 0],
      [0, 1],
    ])
    expect(server.requests.logs.get('a/0')?.map((batch) => Buffer.from(batch).toString())).toEqual(['123', '6'])
  })

  it('answers produce requests in their order, whichever is ready first', async () => {
    await using server = await startNativeServer()
    server.requests.isHoldingProduces = true
    const client = await RawClient.greet(server.port)
    const ids = [0, 1, 2, 3].map(() => client.request('produce', produceOf('t', RECORDS), RECORDS))
    await eventually(() => server.requests.held.length === 4)
    for (const index of [2, 1, 3]) server.requests.held[index]?.()
    await client.ask('initProducerId', {})
    expect(client.frames).toHaveLength(2)
    server.requests.held[0]?.()
    await client.answer(ids[3] ?? 0)
    expect(client.frames.slice(2).map((frame) => frame.correlationId)).toEqual(ids)
  })

  it('says nothing to a produce with acks 0 that it has taken', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    client.request('produce', produceOf('t', RECORDS, 0), RECORDS)
    await client.ask('produce', produceOf('t', RECORDS), RECORDS)
    expect(client.frames).toHaveLength(2)
    expect(server.requests.logs.get('t/0')).toHaveLength(2)
    expect(server.listener.requestBytes).toBe(0)
  })

  it.each([
    'UNKNOWN_TOPIC_OR_PARTITION',
    'NOT_LEADER_OR_FOLLOWER',
    'FENCED_LEADER_EPOCH',
    'UNKNOWN_LEADER_EPOCH',
    'LEADER_NOT_AVAILABLE',
    'STORAGE_ERROR',
    'SHUTTING_DOWN',
  ] as const)('answers a produce with acks 0 that it has refused with %s with an error frame', async (code) => {
    await using server = await startNativeServer()
    server.requests.refusal = { error: code, message: 'look elsewhere' }
    const client = await RawClient.greet(server.port)
    const frame = await client.answer(client.request('produce', produceOf('refused', RECORDS, 0), RECORDS))
    expect(errorOf(frame)).toMatchObject({ code, message: 'look elsewhere' })
    expect(server.listener.requestBytes).toBe(0)
  })

  it('says nothing to a produce with acks 0 whose records are at fault, which would be so anywhere', async () => {
    await using server = await startNativeServer()
    server.requests.refusal = { error: 'CORRUPT_MESSAGE', message: 'a bad batch' }
    const client = await RawClient.greet(server.port)
    client.request('produce', produceOf('refused', RECORDS, 0), RECORDS)
    await client.ask('produce', produceOf('t', RECORDS), RECORDS)
    expect(client.frames).toHaveLength(2)
  })

  it('sends fetched records untouched and releases them when they are gone', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    const large = Buffer.alloc(3 * 1024 * 1024, 7)
    await client.ask('produce', produceOf('t', large), large)
    const frame = await client.answer(client.request('fetch', fetchOf('t', 0)))
    expect(APIS.fetch.response.decode(frame.body, 'fetch').partitions).toEqual([
      { index: 0, error: 0, message: undefined, highWatermark: 1, logStartOffset: 0, bytes: large.length },
    ])
    expect(Buffer.compare(frame.tail, large)).toBe(0)
    await eventually(() => server.requests.released === 1)
  })

  it('lets a fetch wait while other requests are answered, and cancels it when the client goes', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    client.request('fetch', fetchOf('t', 0, 60_000))
    await client.ask('produce', produceOf('other', RECORDS), RECORDS)
    await client.ask('initProducerId', {})
    expect(server.requests.waiting.size).toBe(1)
    client.close()
    await eventually(() => server.requests.cancelled === 1)
    await eventually(() => server.listener.connections === 0)
    expect(server.listener.requestBytes).toBe(0)
  })

  it('answers a refusal with its code and text, and keeps the secrets of an unexpected failure for the log', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    const refused = errorOf(await client.answer(client.request('clusterInfo', {})))
    expect(refused.code).toBe('NOT_CONTROLLER')
    const unexpected = [
      client.request('createTopics', { topics: [], validateOnly: false, timeoutMs: 1 }),
      client.request('produce', produceOf('throws', RECORDS), RECORDS),
    ]
    for (const id of unexpected) {
      const { code, message } = errorOf(await client.answer(id))
      expect(code).toBe('UNKNOWN_SERVER_ERROR')
      expect(message).not.toContain('secret')
    }
    const logged = server.log.filter(({ level }) => level === 'error').map(({ fields }) => String(fields['error']))
    expect(logged).toEqual(['Error: a secret of the broker', 'Error: a secret of the broker'])
    await client.ask('initProducerId', {})
  })

  it('refuses unknown requests and versions one by one and stays open', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    client.send(
      rawFrame({ api: 200, correlationId: 50, body: [] }),
      rawFrame({ api: 2, version: 9, correlationId: 51, body: [] }),
      rawFrame({ api: 3, version: 1, correlationId: 52, body: [] }),
    )
    expect(errorOf(await client.answer(50)).code).toBe('UNKNOWN_API')
    expect(errorOf(await client.answer(51)).code).toBe('UNSUPPORTED_VERSION')
    expect(errorOf(await client.answer(52)).code).toBe('UNSUPPORTED_VERSION')
    await client.ask('initProducerId', {})
  })

  it.each(Object.keys(APIS).filter((name) => name !== 'hello'))('refuses %s before hello and closes', async (name) => {
    await using server = await startNativeServer()
    const client = await RawClient.connect(server.port)
    client.send(nativePreface(), rawFrame({ api: APIS[name as 'fetch'].number, correlationId: 3, body: [] }))
    expect(errorOf(await client.answer(3)).code).toBe('HELLO_EXPECTED')
    await client.closed()
    expect(server.requests.askedFor).toEqual([])
    expect(server.requests.produced).toEqual([])
  })

  it('refuses a second hello and closes', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    client.send(requestFrame('hello', 9, { clientId: 'again', software: 's' }))
    expect(errorOf(await client.answer(9)).code).toBe('INVALID_REQUEST')
    await client.closed()
  })
})

describe('a native session with another broker', () => {
  it('sends the records of each partition untouched, in order behind the message, and releases them', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    const batches = { a: Buffer.alloc(700_000, 1), b: RECORDS, c: Buffer.alloc(3 * 1024 * 1024, 3) }
    for (const [topic, batch] of Object.entries(batches)) await client.ask('produce', produceOf(topic, batch), batch)
    const asked = followOf({ a: 0, none: 0, b: 0, c: 0 })
    const frame = await client.answer(client.request('replicaFetch', asked))
    const { partitions } = APIS.replicaFetch.response.decode(frame.body, 'replicaFetch')
    expect(partitions.map(({ index, bytes, highWatermark }) => [index, bytes, highWatermark])).toEqual([
      [0, batches.a.length, 1],
      [2, RECORDS.length, 1],
      [3, batches.c.length, 1],
    ])
    expect(Buffer.compare(frame.tail, Buffer.concat(Object.values(batches)))).toBe(0)
    await eventually(() => server.requests.released === 3)
  })

  it('grants no more bytes than the connection may hold', async () => {
    await using server = await startNativeServer({ limits: { outputBytesMax: 1024 * 1024 } })
    const client = await RawClient.greet(server.port)
    await client.ask('replicaFetch', followOf({ a: 0 }, { maxBytes: 0xffff_ffff }))
    expect(server.requests.maxBytesAsked).toEqual([512 * 1024])
  })

  it('lets its fetch wait, cancels it when the broker goes, and answers it with nothing when this one stops', async () => {
    await using server = await startNativeServer()
    const gone = await RawClient.greet(server.port)
    const stays = await RawClient.greet(server.port)
    for (const client of [gone, stays]) {
      client.request('replicaFetch', followOf({ t: 0 }, { maxWaitMs: 60_000 }))
      await client.ask('initProducerId', {})
    }
    expect(server.requests.waiting.size).toBe(2)
    gone.close()
    await eventually(() => server.requests.cancelled === 1)
    const stopped = server.listener.stop({ drainMs: 5_000 })
    const frame = await stays.answer(2)
    expect(APIS.replicaFetch.response.decode(frame.body, 'replicaFetch')).toEqual({ partitions: [] })
    await stopped
    expect(server.requests.cancelled).toBe(2)
    expect(server.listener.requestBytes).toBe(0)
  })

  it('is told when there are no replicas here, and goes on', async () => {
    await using server = await startNativeServer()
    const client = await RawClient.greet(server.port)
    const refused = errorOf(await client.answer(client.request('replicaFetch', followOf({ alone: 0 }))))
    expect(refused).toEqual({ code: 'INVALID_REQUEST', message: 'this broker is alone' })
    await client.ask('replicaFetch', followOf({ t: 0 }))
    expect(server.listener.requestBytes).toBe(0)
  })

  it.each(['replicaFetch', 'fence', 'announceLeaders', 'suggestLeader', 'probeBroker'] as const)(
    'refuses %s whose message cannot be read, with the name of the field, and goes on',
    async (name) => {
      await using server = await startNativeServer()
      const client = await RawClient.greet(server.port)
      const bodies = [[], ['two'], [-1.5, 'd', 1, 1, 1, [['t', -1, 0, 0, null, 0, 0, false]]], 'text']
      for (const [index, body] of bodies.entries()) {
        client.send(rawFrame({ api: APIS[name].number, correlationId: 100 + index, body }))
        const { code, message } = errorOf(await client.answer(100 + index))
        expect(code).toBe('MALFORMED_FRAME')
        expect(message).toMatch(/^field \S+: expected /)
      }
      client.send(rawFrame({ api: APIS[name].number, correlationId: 200, body: [], tail: Buffer.from('more') }))
      expect(errorOf(await client.answer(200)).message).toBe(`4 bytes stand behind the message of ${name}`)
      await client.ask('initProducerId', {})
      expect(server.requests.askedFor).toEqual(['initProducerId'])
      expect(server.requests.fetches).toBe(0)
    },
  )
})
