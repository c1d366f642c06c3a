// Builds records and batches for the tests of the format; judges nothing.

import fc from 'fast-check'
import type { DecodedRecord } from '../../shared/record-batch/decode.ts'
import type { RecordToEncode } from '../../shared/record-batch/encode.ts'
import { computeCrc, writeInt32 } from '../../shared/record-batch/header.ts'

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** A record in a form that can be compared, whatever kind of array its bytes are. */
export function plain(record: RecordToEncode | DecodedRecord): unknown {
  const hex = (bytes: Uint8Array | null): string | null => (bytes === null ? null : Buffer.from(bytes).toString('hex'))
  return {
    key: hex(record.key),
    value: hex(record.value),
    timestamp: record.timestamp,
    headers: (record.headers ?? []).map(([name, value]) => [name, hex(value)]),
  }
}

/** Sets the checksum to what the bytes ask for, so that a test reaches what lies behind it. */
export function withRightCrc(batch: Uint8Array): Uint8Array {
  writeInt32(batch, 17, computeCrc(batch, 0, batch.length))
  return batch
}

/** A batch of any payload behind a header that claims `recordCount` records. */
export function batchOf(attributes: number, recordCount: number, payload: Uint8Array): Uint8Array {
  const batch = new Uint8Array(61 + payload.length)
  writeInt32(batch, 8, batch.length - 12)
  batch[16] = 2
  batch[22] = attributes
  writeInt32(batch, 23, recordCount - 1)
  batch.fill(0xff, 43, 57)
  writeInt32(batch, 57, recordCount)
  batch.set(payload, 61)
  return withRightCrc(batch)
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.uint8Array({ maxLength: 300, size: 'max' }),
  fc.tuple(fc.nat(255), fc.nat(3_000)).map(([byte, length]) => new Uint8Array(length).fill(byte)),
)
const nullable = fc.option(bytes, { nil: null, freq: 5 })
const timestamp = fc.oneof(
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
  fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }),
)
// Well-formed text only: a lone surrogate has no UTF-8.
const headerName = fc.oneof(fc.string({ maxLength: 50 }), fc.string({ unit: 'grapheme', maxLength: 20 }))
const header = fc.tuple(headerName, nullable)

export const arbitraryRecord: fc.Arbitrary<RecordToEncode> = fc.record({
  key: nullable,
  value: nullable,
  timestamp,
  headers: fc.oneof(fc.constant([]), fc.array(header, { maxLength: 6 })),
})

export const arbitraryRecords = fc.array(arbitraryRecord, { minLength: 1, maxLength: 40 })
