import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VarintCursor, varintBytes, varlongBytes, writeVarint, writeVarlong } from '../../shared/record-batch/varint.ts'

const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff })
const safe = fc.oneof(fc.maxSafeInteger(), int32, fc.integer({ min: -300, max: 300 }))

function written(write: typeof writeVarint, value: number): Uint8Array {
  const bytes = new Uint8Array(10)
  return bytes.subarray(0, write(bytes, 0, value))
}

function cursorOver(hex: string): VarintCursor {
  const bytes = Buffer.from(hex, 'hex')
  return new VarintCursor(bytes, 0, bytes.length)
}

/** The same by 64-bit arithmetic, as the format defines it. */
function byDefinition(value: number): string {
  const wide = BigInt(value)
  let zigzag = BigInt.asUintN(64, (wide << 1n) ^ (wide >> 63n))
  const bytes: number[] = []
  for (; zigzag > 0x7fn; zigzag >>= 7n) bytes.push(Number(zigzag & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(zigzag)]).toString('hex')
}

const EDGES = [0, -1, 1, -64, 63, 64, -65, 8_191, 8_192, -8_193, 0x7fff_ffff, -0x8000_0000, 0x8000_0000, -0x8000_0001]
const SAFE_EDGES = [
  ...EDGES,
  2 ** 48,
  2 ** 48 - 1,
  -(2 ** 48),
  2 ** 52,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
]

describe('varints', () => {
  it('are zig-zag, seven bits a byte, lowest first', () => {
    expect(
      [0, -1, 1, -2, 63, 64, 150].map((value) => Buffer.from(written(writeVarint, value)).toString('hex')),
    ).toEqual(['00', '01', '02', '03', '7e', '8001', 'ac02'])
  })

  it('are written as the format defines it, in as many bytes as was predicted, and read back', () => {
    const holds = (value: number): void => {
      const bytes = written(writeVarlong, value)
      expect(Buffer.from(bytes).toString('hex')).toBe(byDefinition(value))
      expect(varlongBytes(value)).toBe(bytes.length)
      expect(new VarintCursor(bytes, 0, bytes.length).readVarlong()).toBe(value)
    }
    SAFE_EDGES.forEach(holds)
    fc.assert(fc.property(safe, holds), { numRuns: 5_000 })
  })

  it('of 32 bits agree with those of 64', () => {
    const holds = (value: number): void => {
      const bytes = written(writeVarint, value)
      expect(bytes).toEqual(written(writeVarlong, value))
      expect(varintBytes(value)).toBe(bytes.length)
      expect(new VarintCursor(bytes, 0, bytes.length).readVarint()).toBe(value)
    }
    EDGES.filter((value) => value === (value | 0)).forEach(holds)
    fc.assert(fc.property(int32, holds), { numRuns: 2_000 })
  })

  it('are refused when they are cut, too long, or beyond what a number holds', () => {
    for (const hex of ['', '80', 'ffffffff']) {
      expect(() => cursorOver(hex).readVarint()).toThrow(/is cut/)
      expect(() => cursorOver(hex).readVarlong()).toThrow(/is cut/)
    }
    expect(() => cursorOver('ffffffff1f').readVarint()).toThrow(/more than 32 bits/)
    expect(() => cursorOver('8080808080').readVarint()).toThrow(/more than 32 bits/)
    expect(() => cursorOver('ffffffffffffffffff03').readVarlong()).toThrow(/more than 64 bits/)
    expect(() => cursorOver('ffffffffffffffffff01').readVarlong()).toThrow(/out of range/)
    expect(() => cursorOver('80808080808080808080').readVarlong()).toThrow(/more than 64 bits/)
  })

  it('leaves the cursor behind the number', () => {
    const cursor = cursorOver('ac020105')
    expect([cursor.readVarint(), cursor.readVarlong(), cursor.at]).toEqual([150, -1, 3])
  })
})
