// Throws damaged batches at the decoder: it must answer with a typed error or with records that the bytes justify.

import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { CODECS } from '../../shared/record-batch/format.ts'
import { checkBatch } from '../../shared/record-batch/header.ts'
import { utf8, withRightCrc } from './record-batch-samples.ts'

const UNCOMPRESSED_BYTES_MAX = 100_000
const CODES = ['CORRUPT_MESSAGE', 'UNSUPPORTED_FOR_MESSAGE_FORMAT', 'UNSUPPORTED_COMPRESSION_TYPE']

const records = Array.from({ length: 12 }, (_, index) => ({
  key: index % 3 === 0 ? null : utf8(`key-${index}`),
  value: index % 5 === 0 ? null : utf8(`a value that repeats itself, ${index} `.repeat(1 + (index % 4))),
  timestamp: 1_700_000_000_000 + index * 1_000,
  headers:
    index % 2 === 0
      ? []
      : ([
          ['name', utf8('text')],
          ['grün', null],
        ] as const),
}))

beforeAll(async () => {
  for (const codec of CODECS) await prepareCodec(codec)
})

/** What came out, in bytes of keys, values and headers; -1 for a typed error. Anything else thrown fails the test. */
function decodedBytes(bytes: Uint8Array, checkCrc: boolean): number {
  try {
    const batch = decodeBatch(bytes, 0, { checkCrc, uncompressedBytesMax: UNCOMPRESSED_BYTES_MAX })
    let total = 0
    batch.forEach((record) => {
      total += (record.key?.length ?? 0) + (record.value?.length ?? 0)
      for (const [, value] of record.headers) total += 1 + (value?.length ?? 0)
    })
    if (total > batch.uncompressedBytes) throw new Error('more came out than was there')
    return total
  } catch (error) {
    if (error instanceof TidemarkError && CODES.includes(error.code)) return -1
    throw error
  }
}

describe.each(CODECS)('a damaged batch, %s', (codec) => {
  it('that has been cut is always refused', () => {
    const batch = encodeBatch(records, { codec })
    for (let length = 0; length < batch.length; length++) {
      expect(decodedBytes(batch.subarray(0, length), false)).toBe(-1)
    }
  })

  it('gives a typed error or records within its bytes, even behind a right checksum', () => {
    const batch = encodeBatch(records, { codec })
    const edit = fc.tuple(fc.nat(batch.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)))
    let refused = 0
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), fc.boolean(), (edits, isFixed) => {
        const damaged = Uint8Array.from(batch)
        for (const [at, byte] of edits) damaged[at] = byte
        checkBatch(damaged, 0, damaged.length)
        if (isFixed) withRightCrc(damaged)
        const bytes = decodedBytes(damaged, !isFixed)
        if (bytes === -1) refused++
        expect(bytes).toBeLessThanOrEqual(UNCOMPRESSED_BYTES_MAX)
      }),
      { numRuns: 2_500 },
    )
    expect(refused).toBeGreaterThan(500)
  })

  it('made of random bytes behind a header that looks right is survived', () => {
    const header = encodeBatch(records, { codec }).subarray(0, 61)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300, size: 'max' }), (payload) => {
        const batch = Buffer.concat([header, payload])
        batch.writeInt32BE(batch.length - 12, 8)
        expect(decodedBytes(batch, false)).toBeLessThanOrEqual(UNCOMPRESSED_BYTES_MAX)
      }),
      { numRuns: 500 },
    )
  })
})
