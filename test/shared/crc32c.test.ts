import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32c, crc32cByTable, crc32cRange, isCrc32cNative, NATIVE_BYTES_MIN } from '../../shared/crc32c.ts'

const byTable = (bytes: Uint8Array, seed = 0): number => crc32cByTable(bytes, 0, bytes.length, seed)

describe('crc32c', () => {
  it('gives the check values that are published for the polynomial', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe306_9283)
    expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa)
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8_ab43)
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd_794e)
    expect(crc32c(new Uint8Array(0))).toBe(0)
  })

  it('uses the native module in this checkout, so that the comparison below means something', () => {
    expect(isCrc32cNative()).toBe(true)
  })

  it('gives the same value natively and by table, for every length around the threshold', () => {
    const bytes = Uint8Array.from({ length: 4 * NATIVE_BYTES_MIN }, (_, index) => (index * 167 + 13) & 0xff)
    for (let length = 0; length <= bytes.length; length++) {
      const part = bytes.subarray(0, length)
      expect(crc32c(part)).toBe(byTable(part))
    }
  })

  it('gives the same value natively and by table, for arbitrary bytes and seeds', () => {
    const bytes = fc.uint8Array({ minLength: 0, maxLength: 2_000, size: 'max' })
    fc.assert(
      fc.property(bytes, fc.nat({ max: 0xffff_ffff }), (part, seed) => crc32c(part, seed) === byTable(part, seed)),
      { numRuns: 500 },
    )
  })

  it('continues from the value of what came before', () => {
    const bytes = fc.uint8Array({ maxLength: 1_000, size: 'max' })
    fc.assert(
      fc.property(bytes, bytes, (head, tail) => crc32c(Buffer.concat([head, tail])) === crc32c(tail, crc32c(head))),
      { numRuns: 500 },
    )
  })

  it('covers just the range that is asked for', () => {
    const bytes = Uint8Array.from({ length: 1_000 }, (_, index) => index & 0xff)
    expect(crc32cRange(bytes, 10, 20)).toBe(byTable(bytes.subarray(10, 20)))
    expect(crc32cRange(bytes, 10, 990)).toBe(byTable(bytes.subarray(10, 990)))
  })
})
