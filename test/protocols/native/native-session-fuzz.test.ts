// Random frames in every state of a session, on real sockets: the broker answers each request that it can read at most
// once, never fails unexpectedly, holds nothing afterwards, and serves the next connection.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { APIS } from '../../../shared/protocol/api.ts'
import { nativePreface } from '../../../shared/protocol/frame.ts'
import { startNativeServer } from '../../network/native-server.ts'
import { eventually, followOf, produceOf, RawClient, rawFrame, requestFrame } from '../../network/raw-client.ts'

const RECORDS = Buffer.from('records')
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.maxSafeInteger(),
    fc.constantFrom('t', 'missing', 'throws', '', null, true, -1, 0, 1),
    fc.array(tie('value'), { maxLength: 6 }),
  ),
}))
const USUAL = [
  'hello',
  'produce',
  'produce to nobody',
  'fetch',
  'wait',
  'ask',
  'acks 0',
  'follow',
  'follow and wait',
  'follow nobody',
] as const
const anyFrame = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...USUAL) },
  {
    weight: 4,
    arbitrary: fc.record({
      api: fc.oneof(fc.nat({ max: 14 }), fc.integer({ min: 31, max: 38 })),
      version: fc.constantFrom(0, 0, 0, 1, 255),
      kind: fc.constantFrom('request', 'request', 'request', 'request', 'response', 'error'),
      body: value,
      tail: fc.uint8Array({ maxLength: 10 }),
    }),
  },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 30 }) },
)

function bytesOf(frame: typeof anyFrame extends fc.Arbitrary<infer T> ? T : never, correlationId: number): Uint8Array {
  if (frame instanceof Uint8Array) return frame
  if (typeof frame === 'object') return rawFrame({ ...frame, correlationId })
  const partition = { topic: 't', topicId: undefined, partition: 0, leaderEpoch: undefined }
  const fetched = { ...partition, fetchOffset: frame === 'wait' ? 1e9 : 0, maxBytes: 1_000 }
  switch (frame) {
    case 'hello':
      return requestFrame('hello', correlationId, { clientId: 'c', software: 's' })
    case 'produce':
      return requestFrame('produce', correlationId, produceOf('t', RECORDS), RECORDS)
    case 'produce to nobody':
      return requestFrame('produce', correlationId, produceOf('throws', RECORDS), RECORDS)
    case 'acks 0':
      return requestFrame('produce', correlationId, produceOf('t', RECORDS, 0), RECORDS)
    case 'ask':
      return rawFrame({ api: APIS.clusterInfo.number, correlationId, body: [] })
    case 'follow':
      return requestFrame('replicaFetch', correlationId, followOf({ t: 0 }))
    case 'follow and wait':
      return requestFrame('replicaFetch', correlationId, followOf({ t: 1e9 }, { maxWaitMs: 60_000 }))
    case 'follow nobody':
      return requestFrame('replicaFetch', correlationId, followOf({ alone: 0 }))
    default:
      return requestFrame('fetch', correlationId, {
        maxWaitMs: 60_000,
        minBytes: 1,
        maxBytes: 1_000,
        partitions: [fetched],
      })
  }
}

it('survives whatever is sent after the preface', async () => {
  await using server = await startNativeServer({ limits: { lingerMs: 0 } })
  let greeted = 0
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(anyFrame, { maxLength: 12 }), async (isGreeting, frames) => {
      const client = await RawClient.connect(server.port)
      const hello = isGreeting ? [requestFrame('hello', 1_000, { clientId: 'c', software: 's' })] : []
      client.send(nativePreface(), ...hello, ...frames.map((frame, index) => bytesOf(frame, 1 + index)))
      if (isGreeting) {
        await client.answer(1_000)
        greeted += 1
      }
      client.socket.end()
      await client.closed()
      const answered = client.frames.map((frame) => frame.correlationId).filter((id) => id > 0 && id <= frames.length)
      expect(new Set(answered).size).toBe(answered.length)
      await eventually(() => server.listener.connections === 0)
      expect(server.listener.requestBytes).toBe(0)
      expect(server.requests.waiting.size).toBe(0)
      expect(server.requests.released).toBe(server.requests.handedOut)
    }),
    { numRuns: 500 },
  )
  expect(greeted).toBeGreaterThan(100)
  // What was unexpected was so on purpose.
  const failures = server.log.filter(({ level }) => level === 'error').map(({ fields }) => String(fields['error']))
  expect(new Set(failures)).toEqual(new Set(['Error: a secret of the broker']))
  const after = await RawClient.greet(server.port)
  const { partitions } = await after.ask('produce', produceOf('last', RECORDS), RECORDS)
  expect(partitions[0]?.baseOffset).toBe(0)
})
