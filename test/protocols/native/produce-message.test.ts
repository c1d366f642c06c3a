// What is laid out by hand, held against the table that defines it.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readProduceRequest, writeProduceSuccess } from '../../../broker/protocols/native/produce-message.ts'
import type { ProduceOutcome, ProduceRequest } from '../../../broker/requests/requests.ts'
import { TidemarkError } from '../../../shared/errors.ts'
import { offset, timestampMs } from '../../../shared/ids.ts'
import { APIS, type RequestOf } from '../../../shared/protocol/api.ts'
import { decodeBody, encodeBody } from '../../../shared/protocol/codec.ts'
import { encodeFrameHead } from '../../../shared/protocol/frame.ts'
import { MessagePackReader } from '../../../shared/protocol/message-pack-reader.ts'

const reader = new MessagePackReader()

function readByHand(body: Uint8Array, tail: Uint8Array): ReturnType<typeof readProduceRequest> {
  reader.open(body, 0, body.length)
  return readProduceRequest(reader, tail)
}

/** The same by the table, with the rule of the tail beside it. */
function readByTable(body: Uint8Array, tail: Uint8Array): RequestOf<'produce'> {
  const request = APIS.produce.request.decode(decodeBody(body), 'produce')
  const bytes = request.partitions.reduce((sum, partition) => sum + partition.bytes, 0)
  if (bytes !== tail.length) throw new TidemarkError('MALFORMED_FRAME', 'the tail is not as long as was said')
  return request
}

function asTableReads({ acks, timeoutMs, partitions }: ProduceRequest): RequestOf<'produce'> {
  const asTable = partitions.map(({ topic, topicId, partition, leaderEpoch, records }) => {
    return { topic, topicId, partition, leaderEpoch, bytes: records.length }
  })
  return { acks, timeoutMs, partitions: asTable }
}

function recordsOf({ partitions }: ProduceRequest): readonly Uint8Array[] {
  return partitions.map(({ records }) => records)
}

function outcomeOf<T>(read: () => T): { value: T } | { code: string } {
  try {
    return { value: read() }
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return { code: error.code }
  }
}

const anyNumber = fc.oneof(
  fc.integer({ min: -3, max: 40 }),
  fc.constantFrom(2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 0.5, NaN),
)
const anyField = fc.oneof(
  { weight: 8, arbitrary: anyNumber },
  { weight: 8, arbitrary: fc.constantFrom('t', 'topic', '') },
  { weight: 2, arbitrary: fc.constantFrom(null, true, [], [1]) },
)
const anyPartition = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(
      fc.constantFrom('t', 'topic'),
      fc.constantFrom(null, 'id'),
      fc.nat({ max: 3 }),
      fc.constantFrom(null, 0, 5, -1),
      fc.nat({ max: 20 }),
    ),
  },
  { weight: 1, arbitrary: fc.array(anyField, { maxLength: 7 }) },
)
const anyBody = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(
      fc.integer({ min: -2, max: 2 }),
      anyNumber,
      fc.array(anyPartition, { maxLength: 3 }),
      fc.array(anyField, { maxLength: 1 }),
    ),
  },
  { weight: 1, arbitrary: fc.array(anyField, { maxLength: 4 }) },
)

describe('produce requests read by hand', () => {
  it('are what the table reads from the same bytes, or refused as the table refuses them', () => {
    let read = 0
    let refused = 0
    fc.assert(
      fc.property(anyBody, fc.nat({ max: 20 }), fc.boolean(), (body, spare, isExact) => {
        const bytes = Uint8Array.from(encodeBody(body))
        const said = outcomeOf(() => APIS.produce.request.decode(decodeBody(bytes), 'produce'))
        const sum = 'value' in said ? said.value.partitions.reduce((total, { bytes: count }) => total + count, 0) : 0
        const tail = new Uint8Array(isExact && sum < 1_000 ? sum : spare).map((_, index) => index)
        const byHand = outcomeOf(() => readByHand(bytes, tail))
        const byTable = outcomeOf(() => readByTable(bytes, tail))
        if ('code' in byTable) refused += 1
        else read += 1
        const asTable = 'value' in byHand ? { value: asTableReads(byHand.value) } : byHand
        expect(asTable).toEqual(byTable)
        expect('value' in byHand ? Buffer.concat(recordsOf(byHand.value)) : Buffer.from(tail)).toEqual(
          Buffer.from(tail),
        )
      }),
      { numRuns: 10_000 },
    )
    // Both sides of the comparison have been seen.
    expect(Math.min(read, refused)).toBeGreaterThan(500)
  })

  it('are refused with a typed error when they are arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 5 }), (body, tail) => {
        const byHand = outcomeOf(() => readByHand(body, tail))
        expect('code' in byHand).toBe('code' in outcomeOf(() => readByTable(body, tail)))
      }),
      { numRuns: 10_000 },
    )
  })
})

describe('the answer to a produce request laid out by hand', () => {
  it('is byte for byte what the table lays out', () => {
    const edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]
    const count = fc.oneof(fc.constantFrom(...edges), fc.maxSafeNat())
    fc.assert(
      fc.property(
        count,
        count,
        fc.option(count),
        fc.nat({ max: 0xffff_ffff }),
        (baseOffset, logStartOffset, logAppendTime, correlationId) => {
          const outcome: ProduceOutcome = {
            refusal: undefined,
            baseOffset: offset(baseOffset),
            logStartOffset: offset(logStartOffset),
            logAppendTime: logAppendTime === null ? undefined : timestampMs(logAppendTime),
          }
          const target = new Uint8Array(100)
          const bytes = writeProduceSuccess(target, 3, 2, { version: 0, correlationId }, outcome)
          const body = APIS.produce.response.encode({ partitions: [{ error: 0, message: undefined, ...outcome }] })
          const head = { kind: 'response', api: 2, version: 0, correlationId, body, tailBytes: 0 } as const
          expect(target.subarray(3, 3 + bytes)).toEqual(encodeFrameHead(head))
          expect(target.subarray(0, 3)).toEqual(new Uint8Array(3))
          expect(target.subarray(3 + bytes)).toEqual(new Uint8Array(97 - bytes))
        },
      ),
      { numRuns: 2_000 },
    )
  })
})
