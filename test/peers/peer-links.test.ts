// Links between brokers over real sockets: the listener, the session and the frames are the broker's; who is a member is
// what the test says.

import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type ClientEnvironment, systemEnvironment } from '../../client/environment.ts'
import type { Transport as ClientTransport } from '../../client/transport.ts'
import type { BrokerRecord, ClusterChange, Coordinator } from '../../broker/coordination/coordinator.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { PEER_REQUESTS_MAX } from '../../broker/peers/peer-link.ts'
import { PeerLinks } from '../../broker/peers/peer-links.ts'
import type { PlainRequest } from '../../broker/requests/requests.ts'
import type { Timers } from '../../shared/time.ts'
import { brokerId, timestampMs } from '../../shared/ids.ts'
import { APIS, type RequestOf, type ResponseOf } from '../../shared/protocol/api.ts'
import { FakeBroker } from '../client/fake-broker.ts'
import { type LogLine, type NativeServer, startNativeServer } from '../network/native-server.ts'
import { eventually, followOf, produceOf, RawClient } from '../network/raw-client.ts'
import { StubRequests } from '../network/stub-requests.ts'

const TWO = brokerId(2)
const EARLIER = '5f1c5d6e-0000-4000-a000-000000000001'
const LATER = '5f1c5d6e-0000-4000-a000-000000000002'

/** Who is a member, as the test says. */
class Members implements Pick<Coordinator, 'brokers' | 'subscribe'> {
  #records: readonly BrokerRecord[] = []
  readonly #listeners = new Set<(change: ClusterChange) => void>()

  brokers(): readonly BrokerRecord[] {
    return this.#records
  }

  subscribe(listener: (change: ClusterChange) => void): { remove(): void } {
    this.#listeners.add(listener)
    return { remove: () => void this.#listeners.delete(listener) }
  }

  set(...records: readonly BrokerRecord[]): void {
    this.#records = records
    for (const listener of this.#listeners) listener({ kind: 'brokers-changed' })
  }
}

/** Answers probes in the order in which they come, or keeps them. */
class PeerRequests extends StubRequests {
  readonly probed: number[] = []
  isSilent = false

  override ask<Name extends PlainRequest>(name: Name, request: RequestOf<Name>): Promise<ResponseOf<Name>> {
    if (name !== 'probeBroker') return super.ask(name, request)
    const { brokerId: asked } = request as RequestOf<'probeBroker'>
    this.probed.push(asked)
    if (this.isSilent) return new Promise(() => undefined)
    return Promise.resolve({ isGone: asked % 2 === 0 } as ResponseOf<Name>)
  }
}

interface Side extends AsyncDisposable {
  readonly links: PeerLinks
  readonly members: Members
  readonly log: readonly LogLine[]
  readonly meter: SlotMeter
  /** Such as `connected 2`. */
  readonly changes: readonly string[]
}

function recordOf(port: number, options: Partial<BrokerRecord> = {}): BrokerRecord {
  const life = { incarnation: EARLIER, rack: undefined, software: 'test', startedAt: timestampMs(0) }
  return { brokerId: TWO, host: '127.0.0.1', port, ...life, ...options }
}

/** Broker 1 of the cluster `test`, as far as it knows others. */
function startSide(...records: readonly BrokerRecord[]): Side {
  return startSideOn(systemEnvironment, ...records)
}

function startSideOn(environment: ClientEnvironment, ...records: readonly BrokerRecord[]): Side {
  const members = new Members()
  members.set(recordOf(1, { brokerId: brokerId(1) }), ...records)
  const log: LogLine[] = []
  const write = (level: string) => (fields: object, message: string) =>
    void log.push({ level, fields: fields as Record<string, unknown>, message })
  const logger = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  const meter = new SlotMeter()
  const links = new PeerLinks({
    brokerId: brokerId(1),
    cluster: 'test',
    coordinator: members,
    environment,
    logger,
    meter,
  })
  const changes: string[] = []
  links.subscribe(({ kind, peer }) => void changes.push(`${kind} ${peer}`))
  links.start()
  return {
    links,
    members,
    log,
    meter,
    changes,
    [Symbol.asyncDispose]: () => {
      links.stop()
      return Promise.resolve()
    },
  }
}

function startPeer(
  options: { readonly port?: number; readonly identity?: { brokerId?: number; cluster?: string } } = {},
): Promise<NativeServer<PeerRequests>> {
  return startNativeServer({ ...options, identity: { brokerId: 2, ...options.identity }, requests: new PeerRequests() })
}

function probe(of: number): RequestOf<'probeBroker'> {
  return { brokerId: of, incarnation: EARLIER }
}

const strangers: Server[] = []

/** Something that is no broker. */
async function startStranger(onSocket: (write: (bytes: string) => void) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    onSocket((bytes) => void socket.write(bytes))
  })
  strangers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** A port that nobody listens on. */
async function deadPort(): Promise<number> {
  await using server = await startPeer()
  return server.port
}

afterEach(() => {
  for (const server of strangers.splice(0)) server.close()
})

describe('links to other brokers', () => {
  it('ask the other broker, which is asked in order and answered each its own', async () => {
    await using peer = await startPeer()
    await using side = startSide(recordOf(peer.port))
    await eventually(() => side.links.isConnected(TWO))
    const asked = Array.from({ length: 100 }, (_, index) => index)
    const answers = await Promise.all(asked.map((of) => side.links.ask(TWO, 'probeBroker', probe(of))))
    expect(peer.requests.probed).toEqual(asked)
    expect(answers.map(({ body }) => body.isGone)).toEqual(asked.map((of) => of % 2 === 0))
    for (const of of [1, 2, 3]) await Promise.all(asked.map(() => side.links.ask(TWO, 'probeBroker', probe(of))))
    expect(side.changes).toEqual(['connected 2'])
  })

  it('bring the records of a fetch byte for byte, in memory that stays as it is', async () => {
    await using peer = await startPeer()
    await using side = startSide(recordOf(peer.port))
    const producer = await RawClient.greet(peer.port)
    const batches = [1, 2, 3].map((byte) => Buffer.alloc(byte * 300_000 - 17, byte))
    for (const batch of batches) await producer.ask('produce', produceOf('t', batch), batch)
    const small = Buffer.from('small')
    await producer.ask('produce', produceOf('s', small), small)
    await eventually(() => side.links.isConnected(TWO))
    const answers = await Promise.all([
      ...batches.map((_, at) => side.links.ask(TWO, 'replicaFetch', followOf({ t: at }))),
      side.links.ask(TWO, 'replicaFetch', followOf({ s: 0 })),
    ])
    // Whatever is read afterwards must not stand in the memory of what was handed out.
    await side.links.ask(TWO, 'replicaFetch', followOf({ t: 2 }))
    for (const [at, expected] of [...batches, small].entries()) {
      const answer = answers[at]
      expect(answer?.body.partitions[0]?.bytes).toBe(expected.length)
      expect(Buffer.compare(answer?.tail ?? small, expected)).toBe(0)
    }
    producer.close()
  })

  it('go to members only, and to this broker never', async () => {
    await using peer = await startPeer()
    await using side = startSide()
    const none = { code: 'CONNECTION_FAILED' }
    await expect(side.links.ask(TWO, 'probeBroker', probe(1))).rejects.toMatchObject(none)
    await expect(side.links.ask(brokerId(1), 'probeBroker', probe(1))).rejects.toMatchObject(none)
    side.members.set(recordOf(peer.port))
    expect(side.links.isConnected(TWO)).toBe(false)
    await expect(side.links.ask(TWO, 'probeBroker', probe(1))).rejects.toMatchObject(none)
    await eventually(() => side.links.isConnected(TWO))
    side.members.set()
    expect(side.changes).toEqual(['connected 2', 'lost 2'])
    expect(side.links.isConnected(TWO)).toBe(false)
    await eventually(() => peer.listener.connections === 0)
  })

  it('tell that a connection is lost, refuse what waits, and come back with the broker', async () => {
    const first = await startPeer()
    await using side = startSide(recordOf(first.port))
    await eventually(() => side.links.isConnected(TWO))
    first.requests.isSilent = true
    const waiting = side.links.ask(TWO, 'probeBroker', probe(1))
    waiting.catch(() => undefined)
    await eventually(() => first.requests.probed.length === 1)
    await first[Symbol.asyncDispose]()
    await expect(waiting).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
    expect(side.changes).toEqual(['connected 2', 'lost 2'])
    await expect(side.links.ask(TWO, 'probeBroker', probe(1))).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
    await using again = await startPeer({ port: first.port })
    await eventually(() => side.links.isConnected(TWO))
    await side.links.ask(TWO, 'probeBroker', probe(7))
    expect(again.requests.probed).toEqual([7])
    expect(side.changes).toEqual(['connected 2', 'lost 2', 'connected 2'])
  })

  it('name the same trouble again when there was a connection in between', async () => {
    const port = await deadPort()
    await using side = startSide(recordOf(port))
    const refused = (): number => side.log.filter(({ message }) => message.includes('ECONNREFUSED')).length
    await eventually(() => refused() === 1)
    const peer = await startPeer({ port })
    await eventually(() => side.links.isConnected(TWO))
    await peer[Symbol.asyncDispose]()
    await eventually(() => refused() === 2)
    expect(side.changes).toEqual(['connected 2', 'lost 2'])
  })

  it('give a broker that keeps silent up when a request has run out of time, and call it again', async () => {
    await using peer = await startPeer()
    await using side = startSide(recordOf(peer.port))
    await eventually(() => side.links.isConnected(TWO))
    peer.requests.isSilent = true
    const asked = side.links.ask(TWO, 'probeBroker', probe(1), { timeoutMs: 20 })
    await expect(asked).rejects.toMatchObject({ code: 'TIMEOUT' })
    peer.requests.isSilent = false
    await eventually(() => side.changes.length === 3)
    expect(side.changes).toEqual(['connected 2', 'lost 2', 'connected 2'])
    await side.links.ask(TWO, 'probeBroker', probe(3))
  })

  it('go to the next life of a broker, and to where it has moved', async () => {
    await using peer = await startPeer()
    await using elsewhere = await startPeer()
    await using side = startSide(recordOf(peer.port))
    await eventually(() => side.links.isConnected(TWO))
    side.members.set(recordOf(peer.port))
    expect(side.changes).toEqual(['connected 2'])
    side.members.set(recordOf(peer.port, { incarnation: LATER }))
    expect(side.changes).toEqual(['connected 2', 'lost 2'])
    await eventually(() => side.links.isConnected(TWO))
    side.members.set(recordOf(elsewhere.port, { incarnation: LATER }))
    await eventually(() => side.links.isConnected(TWO))
    await side.links.ask(TWO, 'probeBroker', probe(5))
    expect([peer.requests.probed, elsewhere.requests.probed]).toEqual([[], [5]])
  })

  it('bound what waits for one broker', async () => {
    await using peer = await startPeer()
    await using side = startSide(recordOf(peer.port))
    await eventually(() => side.links.isConnected(TWO))
    peer.requests.isSilent = true
    const waiting = Array.from({ length: PEER_REQUESTS_MAX }, () => side.links.ask(TWO, 'probeBroker', probe(1)))
    for (const one of waiting) one.catch(() => undefined)
    await expect(side.links.ask(TWO, 'probeBroker', probe(1))).rejects.toMatchObject({ code: 'BUFFER_FULL' })
    side.links.stop()
    const outcomes = await Promise.allSettled(waiting)
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true)
  })

  it('say nothing and connect no more once they are stopped', async () => {
    await using peer = await startPeer()
    await using side = startSide(recordOf(peer.port))
    await eventually(() => side.links.isConnected(TWO))
    side.links.stop()
    side.links.stop()
    side.members.set(recordOf(peer.port, { incarnation: LATER }))
    await eventually(() => peer.listener.connections === 0)
    expect(side.changes).toEqual(['connected 2', 'lost 2'])
    expect(side.log.filter(({ level }) => level === 'warn')).toEqual([])
    await expect(side.links.ask(TWO, 'probeBroker', probe(1))).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
  })

  it('leave no timer behind, whatever they were about to do', async () => {
    const running = new Set<object>()
    const timers: Timers = {
      ...systemEnvironment.timers,
      after(delayMs, callback, options) {
        const run = (): void => {
          running.delete(mark)
          callback()
        }
        const timer = systemEnvironment.timers.after(delayMs, run, options)
        const mark = { cancel: () => void (running.delete(mark) && timer.cancel()) }
        running.add(mark)
        return mark
      },
    }
    await using peer = await startPeer()
    const silent = recordOf(await startStranger(() => undefined), { brokerId: brokerId(3) })
    const dead = recordOf(await deadPort(), { brokerId: brokerId(4) })
    await using side = startSideOn({ ...systemEnvironment, timers }, recordOf(peer.port), silent, dead)
    await eventually(() => side.links.isConnected(TWO) && side.log.some(({ level }) => level === 'warn'))
    peer.requests.isSilent = true
    const asked = [side.links.ask(TWO, 'probeBroker', probe(1)), side.links.isRefusing(silent.brokerId)]
    const ends = Promise.allSettled(asked)
    // A request, a hello that does not come, a pause and a check.
    expect(running.size).toBeGreaterThanOrEqual(4)
    side.links.stop()
    expect(running.size).toBe(0)
    expect((await ends).map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  })

  it('are counted, as long as the broker is a member', async () => {
    await using peer = await startPeer()
    await using side = startSide(recordOf(peer.port), recordOf(await deadPort(), { brokerId: brokerId(3) }))
    const read = (): unknown[] =>
      side.meter.seriesOf('tidemark_peer_connected').map((one) => [one.labels['peer'], one.value()])
    await eventually(() => side.links.isConnected(TWO))
    expect(read()).toEqual([
      ['2', 1],
      ['3', 0],
    ])
    side.members.set(recordOf(peer.port, { incarnation: LATER }))
    expect(read()).toEqual([['2', 0]])
  })
})

describe('a broker that is not the one expected', () => {
  it.each([
    ['of another number', { brokerId: 3 }, 'broker 3 of cluster test'],
    ['of another cluster', { cluster: 'other' }, 'broker 2 of cluster other'],
  ])('because it is %s is not spoken to, which is said once', async (_name, identity, said) => {
    await using peer = await startPeer({ identity })
    await using side = startSide(recordOf(peer.port))
    // Each attempt is a connection of its own; one line for all of them.
    await eventually(() => opened(peer) >= 3)
    const warnings = side.log.filter(({ level }) => level === 'warn')
    expect(warnings).toHaveLength(1)
    expect(warnings[0]?.message).toContain(`127.0.0.1:${peer.port} says it is ${said}, expected broker 2 of test`)
    expect(side.links.isConnected(TWO)).toBe(false)
    expect(side.changes).toEqual([])
  })

  it('because it speaks an older version is not spoken to, and told with the request it lacks', async () => {
    await using older = await FakeBroker.start()
    const apis = Object.values(APIS).map(({ number: api }) => ({ api, versionMin: 0, versionMax: 0 }))
    older.helloAnswer = { cluster: 'test', brokerId: 2, apis: apis.filter(({ api }) => api !== APIS.fence.number) }
    await using side = startSide(recordOf(older.port))
    await eventually(() => older.connections >= 2)
    expect(side.log).toHaveLength(1)
    expect(side.log[0]?.message).toMatch(/fence in version 0: 127\.0\.0\.1:\d+ with .* does not know it/)
    expect(side.changes).toEqual([])
  })

  it('because it is none at all is named once, and again when the trouble is another one', async () => {
    let calls = 0
    const port = await startStranger((write) => {
      calls += 1
      write(`${calls}HTTP/1.1 400 Bad Request\r\n\r\n`)
    })
    await using side = startSide(recordOf(port))
    await eventually(() => calls >= 3)
    expect(side.log).toHaveLength(1)
    expect(side.log[0]?.message).toMatch(/no connection to broker 2, trying again: .* cannot be read/)
    strangers.pop()?.close()
    await eventually(() => side.log.at(-1)?.message.includes('ECONNREFUSED') === true)
    expect(side.log.filter(({ message }) => message.includes('cannot be read'))).toHaveLength(1)
    expect(side.changes).toEqual([])
  })

  it('is called without a pause as soon as something is known of the members', async () => {
    const dead = await deadPort()
    await using side = startSide(recordOf(dead))
    await eventually(() => side.log.length === 1)
    expect(side.log[0]?.message).toContain('ECONNREFUSED')
    await using peer = await startPeer({ port: dead })
    side.members.set(recordOf(dead))
    await eventually(() => side.links.isConnected(TWO))
    expect(opened(peer)).toBe(1)
  })
})

describe('asking whether a process is gone', () => {
  it('tells a port that refuses from one that answers, one that is silent, and a broker that is not known', async () => {
    await using peer = await startPeer()
    const silent = await startStranger(() => undefined)
    const ids = [2, 3, 4].map(brokerId)
    const ports = [peer.port, silent, await deadPort()]
    await using side = startSide(...ids.map((id, at) => recordOf(ports[at] ?? 0, { brokerId: id })))
    const asked = [...ids, ...ids, brokerId(9)].map((id) => side.links.isRefusing(id))
    expect(await Promise.all(asked)).toEqual([false, false, true, false, false, true, false])
    side.links.stop()
    expect(await side.links.isRefusing(brokerId(4))).toBe(false)
  })

  it('takes a way on which nothing comes back for no answer, and does not wait long for it', async () => {
    let isDestroyed = false
    const transport = { open: () => ({ write: () => true, destroy: () => void (isDestroyed = true) }) }
    await using side = startSideOn({ ...systemEnvironment, transport }, recordOf(1))
    expect(await side.links.isRefusing(TWO)).toBe(false)
    expect(isDestroyed).toBe(true)
  })

  it.each([
    ['all', ['ECONNREFUSED', 'ECONNREFUSED'], true],
    ['one', ['ECONNREFUSED', 'ETIMEDOUT'], false],
  ])('counts a name as refusing when %s of its addresses refuse: %j', async (_which, codes, isRefused) => {
    const errors = codes.map((code, at) => Object.assign(new Error(`connect ${code} address ${at}`), { code }))
    const cause = Object.assign(new AggregateError(errors), { code: 'ECONNREFUSED' })
    await using side = startSideOn({ ...systemEnvironment, transport: failingWith(cause) }, recordOf(1))
    expect(await side.links.isRefusing(TWO)).toBe(isRefused)
    expect(side.log[0]?.message).toContain(`connect ECONNREFUSED address 0; connect ${codes[1]} address 1`)
  })
})

/** A network on which nothing can be connected to. */
function failingWith(cause: Error): ClientTransport {
  return {
    open(_address, events) {
      systemEnvironment.timers.atEndOfTurn(() => events.onClose(cause))
      return { write: () => true, destroy: () => undefined }
    },
  }
}

/** How many connections the broker has been offered. */
function opened(server: NativeServer<StubRequests>): number {
  return server.meter.seriesOf('tidemark_connections_opened_total').reduce((sum, one) => sum + one.value(), 0)
}
