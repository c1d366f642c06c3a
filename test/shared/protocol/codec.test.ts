import { Decoder, Encoder } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TidemarkError } from '../../../shared/errors.ts'
import { decodeBody, encodeBody } from '../../../shared/protocol/codec.ts'

// The library reads and writes the same format by code of its own.
const encoder = new Encoder()
const decoder = new Decoder()

/** What a message may be made of. */
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, depthSize: 'small' },
    fc.maxSafeInteger(),
    fc.integer(),
    fc.constantFrom(-129, -128, -33, -32, -1, 0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
    fc.constantFrom(-(2 ** 15), -(2 ** 15) - 1, -(2 ** 31), -(2 ** 31) - 1, 1 - 2 ** 53),
    fc.string({ unit: 'binary', maxLength: 100 }),
    fc.constantFrom('\ufeffwith a mark', 'ä'.repeat(40), 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(300)),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    fc.double({ noNaN: true, noInteger: true }),
    fc.array(tie('value'), { maxLength: 40 }),
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

describe('the codec of frame bodies', () => {
  it('reads what it wrote', () => {
    fc.assert(
      fc.property(value, (written) => {
        expect(decodeBody(Uint8Array.from(encodeBody(written)))).toEqual(written)
      }),
      { numRuns: 3_000 },
    )
  })

  it('reads what the library wrote, and the library what it wrote', () => {
    fc.assert(
      fc.property(value, (written) => {
        expect(decodeBody(encoder.encode(written))).toEqual(written)
        expect(decoder.decode(encodeBody(written))).toEqual(written)
      }),
      { numRuns: 1_000 },
    )
  })

  it('refuses arbitrary bytes with a typed error, or reads what the library reads', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const read = valueUnlessMalformed(() => decodeBody(bytes))
        expect(read).toEqual(read === undefined ? undefined : decoder.decode(bytes))
      }),
      { numRuns: 20_000 },
    )
  })

  it('refuses every message that is cut short or goes on', () => {
    fc.assert(
      fc.property(value, (written) => {
        const bytes = Uint8Array.from(encodeBody(written))
        for (let length = 0; length < Math.min(bytes.length, 100); length += 1) {
          expect(() => decodeBody(bytes.subarray(0, length))).toThrow(TidemarkError)
        }
        expect(() => decodeBody(Buffer.concat([bytes, Buffer.of(0)]))).toThrow('1 bytes stand behind its end')
      }),
      { numRuns: 300 },
    )
  })

  it('takes as many values as it is told and not one more', () => {
    const bytes = encoder.encode([1, [2, 3], 'x'])
    expect(decodeBody(bytes, 6)).toEqual([1, [2, 3], 'x'])
    expect(() => decodeBody(bytes, 5)).toThrow('it has too many values')
  })

  it('takes arrays as deep as 16 and as long as 10,000', () => {
    const nested = (depth: number): Buffer => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.of(1)])
    expect(() => decodeBody(nested(16))).not.toThrow()
    expect(() => decodeBody(nested(17))).toThrow('nested deeper than 16')
    expect(decodeBody(encoder.encode(Array.from({ length: 10_000 }, () => 0)))).toHaveLength(10_000)
    expect(() => decodeBody(encoder.encode(Array.from({ length: 10_001 }, () => 0)))).toThrow('an array of 10001')
  })

  it('refuses text that is not UTF-8 and integers that a number cannot hold', () => {
    expect(() => decodeBody(Buffer.of(0xa2, 0xc3, 0x28))).toThrow('a string is not UTF-8')
    expect(() => decodeBody(Buffer.of(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0))).toThrow('beyond 2^53 - 1')
    expect(() => decodeBody(Buffer.of(0xd3, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))).toThrow('beyond 2^53 - 1')
  })

  it('keeps nothing of the bytes that it read', () => {
    const bytes = encoder.encode(['topic', new Uint8Array([1, 2, 3])])
    const read = decodeBody(bytes)
    bytes.fill(0)
    expect(read).toEqual(['topic', new Uint8Array([1, 2, 3])])
    // The next one of the same shape is not taken for the one that was known.
    expect(decodeBody(encoder.encode(['topid']))).toEqual(['topid'])
    expect(decodeBody(encoder.encode(['topic']))).toEqual(['topic'])
  })
})
