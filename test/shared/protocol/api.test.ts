// Every message of the table, read from whatever a peer may send: a typed error that names the field, or a value that
// reads the same after being written.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TidemarkError } from '../../../shared/errors.ts'
import { APIS, apiNameOf } from '../../../shared/protocol/api.ts'
import { decodeBody, encodeBody } from '../../../shared/protocol/codec.ts'
import type { AnyField } from '../../../shared/protocol/schema.ts'

const MESSAGES = Object.entries(APIS).flatMap(([name, row]): (readonly [string, AnyField])[] => [
  [`${name} request`, row.request],
  [`${name} response`, row.response],
])

/** Values that are often of the right shape: what decides is then in the depth. */
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'medium' },
    fc.constantFrom(-1, 0, 1, 2, 2 ** 31, -(2 ** 31), 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
    fc.constantFrom('', 't', 'topic', '__proto__', 'constructor'),
    fc.boolean(),
    fc.constant(null),
    fc.constant(undefined),
    fc.double(),
    fc.uint8Array({ maxLength: 3 }),
    fc.array(tie('value'), { maxLength: 8 }),
    fc.array(fc.array(tie('value'), { maxLength: 8 }), { maxLength: 3 }),
  ),
}))

/** The value, or undefined after a typed error; anything else that is thrown fails the test. */
function valueUnlessMalformed(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'MALFORMED_FRAME') return undefined
    throw error
  }
}

describe('the table of messages', () => {
  it.each(MESSAGES)('reads %s from anything, or refuses it with a typed error', (name, field) => {
    fc.assert(
      fc.property(value, (raw) => {
        const read = valueUnlessMalformed(() => field.decode(raw, name))
        if (read === undefined) return
        const again = decodeBody(Uint8Array.from(encodeBody(field.encode(read as never))))
        expect(field.decode(again, name)).toEqual(read)
      }),
      { numRuns: 2_000 },
    )
  })

  it('numbers every request once: those of clients from 0 on, those between brokers from 32 on, without a gap', () => {
    const numbers = Object.values(APIS).map(({ number }) => number)
    const ofClients = numbers.filter((number) => number < 32)
    const ofPeers = numbers.filter((number) => number >= 32)
    expect(ofClients).toEqual([...ofClients.keys()])
    expect(ofPeers).toEqual([...ofPeers.keys()].map((index) => 32 + index))
    expect(numbers.map(apiNameOf)).toEqual(Object.keys(APIS))
    for (const unknown of [ofClients.length, 31, 32 + ofPeers.length]) expect(apiNameOf(unknown)).toBeUndefined()
  })

  it('ignores fields of a later version and takes the default of those of an earlier one', () => {
    const { request } = APIS.metadata
    expect(request.decode([['t'], true, 'from', 'later'], 'metadata')).toEqual({ topics: ['t'], createMissing: true })
    expect(APIS.describeTopics.request.decode([], 'describeTopics')).toEqual({ topics: undefined })
    expect(() => request.decode([null], 'metadata')).toThrow('field createMissing')
  })

  it('gives objects whose fields are those of the message, whatever names a peer sends', () => {
    const read = APIS.createTopics.request.decode(
      [[['__proto__', null, null, [['__proto__', 'x']]]], true, 1],
      'createTopics',
    )
    expect(Object.keys(read.topics[0] ?? {})).toEqual(['topic', 'partitions', 'replicationFactor', 'config'])
    expect(Object.getPrototypeOf(read.topics[0])).toBe(Object.prototype)
  })
})
