// What a record is, as one number: a checksum over its time, key, value and headers. Owns the form that is summed up, which
// has no offset in it and nothing of the batch that the record is in.

import type { DecodedRecord } from '../../shared/record-batch/decode.ts'
import { crc32c } from '../../shared/crc32c.ts'

const FIXED = Buffer.alloc(20)
const LENGTH = Buffer.alloc(4)
const NONE = -1

export function digestOf(record: DecodedRecord): number {
  const { timestamp, key, value, headers } = record
  FIXED.writeDoubleBE(timestamp, 0)
  FIXED.writeInt32BE(key?.length ?? NONE, 8)
  FIXED.writeInt32BE(value?.length ?? NONE, 12)
  FIXED.writeInt32BE(headers.length, 16)
  let sum = crc32c(FIXED)
  if (key !== null) sum = crc32c(key, sum)
  if (value !== null) sum = crc32c(value, sum)
  for (const [name, content] of headers) {
    sum = withLength(Buffer.from(name), sum)
    sum = content === null ? crc32c(Buffer.from([0]), sum) : withLength(content, sum)
  }
  return sum
}

/** The checksum of a sequence of records, with one more behind it. */
export function digestWith(sum: number, digest: number): number {
  LENGTH.writeUInt32BE(digest, 0)
  return crc32c(LENGTH, sum)
}

function withLength(bytes: Uint8Array, sum: number): number {
  LENGTH.writeInt32BE(bytes.length, 0)
  return crc32c(bytes, crc32c(LENGTH, sum))
}
