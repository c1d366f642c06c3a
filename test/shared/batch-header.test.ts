import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import {
  attributesAt,
  baseOffsetAt,
  baseSequenceAt,
  baseTimestampAt,
  batchBytes,
  checkBatch,
  codecAt,
  crcAt,
  endOffsetAt,
  lastOffsetDeltaAt,
  leaderEpochAt,
  magicAt,
  maxTimestampAt,
  producerEpochAt,
  producerIdAt,
  readHeader,
  recordCountAt,
  setBaseOffset,
  setLeaderEpoch,
  setLogAppendTime,
} from '../../shared/record-batch/header.ts'
import { batchOf, utf8, withRightCrc } from './record-batch-samples.ts'

/** The worked example of the format's page: the hex at the beginning of each line. */
function hexOfFormatPage(): string {
  const page = readFileSync(new URL('../../shared/record-batch/FORMAT.md', import.meta.url), 'utf8')
  const block = page.split('```hex\n')[1]?.split('```')[0] ?? ''
  return block.replaceAll(/^([0-9a-f]+).*\n/gm, '$1')
}

function example(): Uint8Array {
  return encodeBatch([
    { key: utf8('k'), value: utf8('hello'), timestamp: 1_700_000_000_000 },
    { key: null, value: null, timestamp: 1_700_000_000_005 },
  ])
}

function idempotent(): Uint8Array {
  return encodeBatch([{ key: null, value: utf8('v'), timestamp: 1_700_000_000_000 }], {
    producerId: Number.MAX_SAFE_INTEGER,
    producerEpoch: 32_767,
    baseSequence: 0x7fff_ffff,
    baseOffset: 5_000_000_000 as Offset,
    leaderEpoch: 7 as LeaderEpoch,
  })
}

describe('the header of a batch', () => {
  it('stands where the page of the format says, byte for byte', () => {
    expect(Buffer.from(example()).toString('hex')).toBe(hexOfFormatPage())
  })

  it('is read in place, at any position', () => {
    const batch = idempotent()
    const bytes = new Uint8Array(1_000).fill(0xee)
    const at = 333
    bytes.set(batch, at)
    expect(batchBytes(bytes, at)).toBe(batch.length)
    expect(baseOffsetAt(bytes, at)).toBe(5_000_000_000)
    expect(endOffsetAt(bytes, at)).toBe(5_000_000_001)
    expect(leaderEpochAt(bytes, at)).toBe(7)
    expect(magicAt(bytes, at)).toBe(2)
    expect(crcAt(bytes, at)).toBe(Buffer.from(batch).readUInt32BE(17))
    expect(attributesAt(bytes, at)).toBe(0)
    expect(codecAt(bytes, at)).toBe('none')
    expect(lastOffsetDeltaAt(bytes, at)).toBe(0)
    expect(recordCountAt(bytes, at)).toBe(1)
    expect(baseTimestampAt(bytes, at)).toBe(1_700_000_000_000)
    expect(maxTimestampAt(bytes, at)).toBe(1_700_000_000_000)
    expect(producerIdAt(bytes, at)).toBe(Number.MAX_SAFE_INTEGER)
    expect(producerEpochAt(bytes, at)).toBe(32_767)
    expect(baseSequenceAt(bytes, at)).toBe(0x7fff_ffff)
  })

  it('says -1 where the producer said nothing', () => {
    const header = readHeader(example(), 0)
    expect(header).toMatchObject({
      leaderEpoch: -1,
      producerId: -1,
      producerEpoch: -1,
      baseSequence: -1,
      baseOffset: 0,
    })
  })

  it('takes a base offset and a leader epoch without a new checksum', () => {
    const limits = fc.tuple(fc.maxSafeNat(), fc.nat(0x7fff_ffff))
    fc.assert(
      fc.property(limits, ([offset, epoch]) => {
        const batch = example()
        setBaseOffset(batch, 0, Math.min(offset, Number.MAX_SAFE_INTEGER - 2) as Offset)
        setLeaderEpoch(batch, 0, epoch as LeaderEpoch)
        expect(checkBatch(batch, 0, batch.length)).toBeUndefined()
        expect(baseOffsetAt(batch, 0)).toBe(Math.min(offset, Number.MAX_SAFE_INTEGER - 2))
        expect(leaderEpochAt(batch, 0)).toBe(epoch)
      }),
    )
  })

  it('takes the time of the append, with a new checksum', () => {
    const batch = example()
    setLogAppendTime(batch, 0, 1_800_000_000_000 as TimestampMs)
    expect(checkBatch(batch, 0, batch.length)).toBeUndefined()
    expect(readHeader(batch, 0)).toMatchObject({
      timestampType: 'LogAppendTime',
      baseTimestamp: 1_700_000_000_000,
      maxTimestamp: 1_800_000_000_000,
    })
  })

  it('refuses a 64-bit field that a number cannot hold, rather than rounding it', () => {
    const batch = example()
    batch.set([0x00, 0x20, 0, 0, 0, 0, 0, 1], 0)
    expect(() => baseOffsetAt(batch, 0)).toThrow(/out of range/)
    batch.set([0x80, 0, 0, 0, 0, 0, 0, 0], 43)
    expect(() => producerIdAt(batch, 0)).toThrow(/out of range/)
  })
})

describe('checkBatch', () => {
  const damaged = (edit: (batch: Uint8Array) => void): Uint8Array => {
    const batch = example()
    edit(batch)
    return withRightCrc(batch)
  }
  const codeOf = (batch: Uint8Array, options?: Parameters<typeof checkBatch>[3]): string | undefined =>
    checkBatch(batch, 0, batch.length, options)?.code

  it('finds nothing wrong with a batch among others', () => {
    const both = Buffer.concat([example(), idempotent()])
    expect(checkBatch(both, 0, both.length)).toBeUndefined()
    expect(checkBatch(both, batchBytes(both, 0), both.length)).toBeUndefined()
  })

  it('refuses a batch that is cut anywhere', () => {
    const batch = example()
    for (let end = 0; end < batch.length; end++) expect(checkBatch(batch, 0, end)?.code).toBe('CORRUPT_MESSAGE')
  })

  it('refuses every flipped bit under the checksum', () => {
    const batch = example()
    for (let bit = 17 * 8; bit < batch.length * 8; bit++) {
      const flipped = Uint8Array.from(batch)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(codeOf(flipped)).toBe('CORRUPT_MESSAGE')
    }
  })

  it('says where, and both checksums', () => {
    const batch = example()
    batch[70] = (batch[70] ?? 0) ^ 1
    expect(checkBatch(batch, 0, batch.length)?.message).toMatch(/at byte 0: its checksum is [0-9a-f]{8}, .* dcae14e8/)
  })

  it('compares no checksum when told that it has been compared', () => {
    const batch = example()
    batch[70] = (batch[70] ?? 0) ^ 1
    expect(codeOf(batch, { checkCrc: false })).toBeUndefined()
  })

  it('refuses lengths that are negative, too small, or past the end', () => {
    const lengths = ['80000000', 'ffffffff', '00000000', '00000030', '00000048', '7fffffff']
    const codes = lengths.map((hex) => codeOf(damaged((batch) => batch.set(Buffer.from(hex, 'hex'), 8))))
    const corrupt = 'CORRUPT_MESSAGE'
    expect(codes).toEqual([corrupt, corrupt, corrupt, corrupt, corrupt, 'MESSAGE_TOO_LARGE'])
  })

  it('refuses a batch beyond the limit it is given', () => {
    const batch = example()
    expect(codeOf(batch, { bytesMax: batch.length })).toBeUndefined()
    expect(codeOf(batch, { bytesMax: batch.length - 1 })).toBe('MESSAGE_TOO_LARGE')
  })

  it('tells an old format from a broken one', () => {
    expect(codeOf(damaged((batch) => (batch[16] = 1)))).toBe('UNSUPPORTED_FOR_MESSAGE_FORMAT')
    expect(codeOf(damaged((batch) => (batch[16] = 3)))).toBe('CORRUPT_MESSAGE')
  })

  it('refuses a codec that nobody has', () => {
    for (const number of [5, 6, 7]) {
      expect(codeOf(damaged((batch) => (batch[22] = number)))).toBe('UNSUPPORTED_COMPRESSION_TYPE')
    }
  })

  it('refuses a record count that is not what the offsets span, unless compaction may have been there', () => {
    const counted = (count: number, lastOffsetDelta: number): Uint8Array =>
      damaged((batch) => {
        Buffer.from(batch.buffer).writeInt32BE(lastOffsetDelta, 23)
        Buffer.from(batch.buffer).writeInt32BE(count, 57)
      })
    for (const [count, delta] of [
      [1, 1],
      [3, 1],
      [0, -1],
      [-1, 0],
      [2, 0],
    ] as const) {
      expect(codeOf(counted(count, delta))).toBe('INVALID_RECORD')
    }
    expect(codeOf(counted(2, 9), { mayBeCompacted: true })).toBeUndefined()
    expect(codeOf(counted(0, 9), { mayBeCompacted: true })).toBeUndefined()
    expect(codeOf(counted(3, 1), { mayBeCompacted: true })).toBe('INVALID_RECORD')
    expect(codeOf(counted(-1, 1), { mayBeCompacted: true })).toBe('INVALID_RECORD')
  })

  it('refuses more records than the bytes can hold', () => {
    expect(codeOf(batchOf(0, 14, new Uint8Array(100)))).toBeUndefined()
    expect(codeOf(batchOf(0, 15, new Uint8Array(100)))).toBe('INVALID_RECORD')
    expect(codeOf(batchOf(1, 1_000_000, new Uint8Array(100)))).toBeUndefined()
  })

  it('refuses timestamps, producer ids and offsets that a number cannot hold', () => {
    const huge = [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
    const minusTwo = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]
    for (const value of [huge, minusTwo]) {
      expect(codeOf(damaged((batch) => batch.set(value, 27)))).toBe('INVALID_TIMESTAMP')
      expect(codeOf(damaged((batch) => batch.set(value, 35)))).toBe('INVALID_TIMESTAMP')
      expect(codeOf(damaged((batch) => batch.set(value, 43)))).toBe('INVALID_RECORD')
      expect(codeOf(damaged((batch) => batch.set(value, 0)))).toBe('CORRUPT_MESSAGE')
    }
    expect(codeOf(damaged((batch) => batch.set([0x00, 0x1f, 255, 255, 255, 255, 255, 255], 0)))).toBe('CORRUPT_MESSAGE')
  })

  it('never throws and never lets pass what a reading function would refuse, whatever the bytes', () => {
    const start = example()
    const edit = fc.tuple(fc.nat(60), fc.nat(255))
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 12 }), (edits) => {
        const batch = Uint8Array.from(start)
        for (const [at, byte] of edits) batch[at] = byte
        const isFaulty = checkBatch(withRightCrc(batch), 0, batch.length) !== undefined
        return isFaulty || readHeader(batch, 0).batchBytes <= batch.length
      }),
      { numRuns: 10_000 },
    )
  })
})
