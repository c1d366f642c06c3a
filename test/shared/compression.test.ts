import { createRequire } from 'node:module'
import * as zlib from 'node:zlib'
import fc from 'fast-check'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { SnappyBlocks } from '../../shared/compression/snappy.ts'
import type { Codec } from '../../shared/record-batch/format.ts'
import { compress, decompress, prepareCodec } from '../../shared/compression/codec.ts'
import { decodeLz4Frame, encodeLz4FrameStored } from '../../shared/compression/lz4-frame.ts'
import { decodeSnappy, javascriptSnappy, nativeSnappy } from '../../shared/compression/snappy.ts'
import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { CODECS } from '../../shared/record-batch/format.ts'

const MEBIBYTE = 1024 * 1024
const PACKED = CODECS.filter((codec) => codec !== 'none')

const someBytes = fc.oneof(
  fc.uint8Array({ maxLength: 2_000, size: 'max' }),
  fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 10_000 })).map(repeated),
)

function repeated([pattern, count]: [Uint8Array, number]): Uint8Array {
  return Uint8Array.from({ length: pattern.length * count }, (_, index) => pattern[index % pattern.length] ?? 0)
}

function same(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0
}

/** Blocks of 32 KiB in xerial's framing, as Kafka's own client writes them. */
function framedSnappy(bytes: Uint8Array, pack = (part: Uint8Array) => compress('snappy', part)): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from('82534e41505059000000000100000001', 'hex')]
  for (let at = 0; at < bytes.length; at += 32_768) {
    const block = pack(bytes.subarray(at, at + 32_768))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    if (error instanceof TidemarkError) return error.code
    throw error
  }
  return undefined
}

beforeAll(async () => {
  for (const codec of CODECS) await prepareCodec(codec)
})

describe.each(PACKED)('%s', (codec: Codec) => {
  it('gives back what it was given', () => {
    fc.assert(
      fc.property(someBytes, (bytes) => same(decompress(codec, compress(codec, bytes), bytes.length), bytes)),
      { numRuns: 100 },
    )
  })

  it('gives back a megabyte and more, over many blocks', () => {
    const bytes = Uint8Array.from({ length: 3 * MEBIBYTE + 17 }, (_, index) => (index * index) >> 7)
    expect(same(decompress(codec, compress(codec, bytes), bytes.length), bytes)).toBe(true)
  })

  it('refuses a bomb: a small input that would become 64 MiB where 1 MiB is allowed', () => {
    const bomb = compress(codec, new Uint8Array(64 * MEBIBYTE))
    expect(codeOf(() => decompress(codec, bomb, MEBIBYTE))).toBe('CORRUPT_MESSAGE')
  })

  it('allows as many bytes as it is told to, and not one more', () => {
    const packed = compress(codec, new Uint8Array(100_000))
    expect(decompress(codec, packed, 100_000).length).toBe(100_000)
    expect(codeOf(() => decompress(codec, packed, 99_999))).toBe('CORRUPT_MESSAGE')
  })

  it('refuses what is no stream of its kind', () => {
    for (const bytes of [Buffer.from('no such stream at all'), new Uint8Array(100).fill(0xff), Uint8Array.of(1)]) {
      expect(codeOf(() => decompress(codec, bytes, MEBIBYTE))).toBe('CORRUPT_MESSAGE')
    }
  })

  it('refuses every truncation of a stream or gives a prefix, and takes no longer for it', () => {
    const bytes = Buffer.from('a line of text, '.repeat(40))
    const packed = compress(codec, bytes)
    const isRefusedOrPrefix = (part: Uint8Array): boolean => {
      try {
        const result = decompress(codec, part, MEBIBYTE)
        return same(result, bytes.subarray(0, result.length))
      } catch (error) {
        return error instanceof TidemarkError && error.code === 'CORRUPT_MESSAGE'
      }
    }
    for (let length = 0; length < packed.length; length++) {
      expect(isRefusedOrPrefix(packed.subarray(0, length))).toBe(true)
    }
  })

  it('answers damaged streams with a typed error or with bytes within the limit', () => {
    const packed = compress(codec, Buffer.from('one, two, three, four, '.repeat(100)))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(packed.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (edits) => {
          const damaged = Uint8Array.from(packed)
          for (const [at, byte] of edits) damaged[at] = byte
          let result: Uint8Array | undefined
          const code = codeOf(() => (result = decompress(codec, damaged, 10_000)))
          return code === undefined ? must(result, 'a result').length <= 10_000 : code === 'CORRUPT_MESSAGE'
        },
      ),
      { numRuns: 1_000 },
    )
  })
})

describe('a bomb of a gigabyte', () => {
  const parts = (count: number, part: Uint8Array): Uint8Array[] => Array.from({ length: count }, () => part)
  const zeros = new Uint8Array(4 * MEBIBYTE)
  /** Made of equal pieces, so that making them takes no gigabyte either. */
  const bombs: Readonly<Record<Exclude<Codec, 'none'>, () => Uint8Array>> = {
    gzip: () => Buffer.concat(parts(256, compress('gzip', zeros))),
    snappy: () => Buffer.concat([framedSnappy(zeros), ...parts(255, framedSnappy(zeros).subarray(16))]),
    lz4: () => {
      const frame = compress('lz4', zeros)
      return Buffer.concat([frame.subarray(0, 7), ...parts(256, frame.subarray(7, -4)), new Uint8Array(4)])
    },
    // Blocks of 128 KiB that repeat one byte, in a frame that says nothing of its size.
    zstd: () =>
      Buffer.concat([
        Buffer.from('28b52ffd0058', 'hex'),
        ...parts(8_191, Buffer.from('02001000', 'hex')),
        Buffer.from('03001000', 'hex'),
      ]),
  }
  for (const codec of PACKED) {
    it(`is refused without a gigabyte ever being there: ${codec}`, () => {
      const bomb = bombs[codec]()
      const peakBefore = process.resourceUsage().maxRSS
      expect(() => decompress(codec, bomb, MEBIBYTE)).toThrow(/more than 1048576 bytes come out/)
      expect(process.resourceUsage().maxRSS - peakBefore).toBeLessThan(200 * 1024)
    })
  }
})

describe('gzip', () => {
  it('reads members that stand one behind the other, as writers that flush leave them', () => {
    const members = Buffer.concat([zlib.gzipSync('one '), zlib.gzipSync('two')])
    expect(Buffer.from(decompress('gzip', members, 100)).toString()).toBe('one two')
  })

  it('does not take a bare zlib stream for gzip', () => {
    expect(codeOf(() => decompress('gzip', zlib.deflateSync('text'), 100))).toBe('CORRUPT_MESSAGE')
  })
})

describe('snappy', () => {
  const blocks: Readonly<Record<string, SnappyBlocks>> = {
    native: must(nativeSnappy(), 'the native package is installed here'),
    javascript: must(javascriptSnappy(), 'the package in JavaScript is installed here'),
  }

  it('reads natively what JavaScript wrote, and the other way round', () => {
    fc.assert(
      fc.property(someBytes, fc.constantFrom('native', 'javascript'), fc.boolean(), (bytes, writer, isFramed) => {
        const reader = must(blocks[writer === 'native' ? 'javascript' : 'native'], 'known')
        const { compress: pack } = must(blocks[writer], 'known')
        const packed = isFramed ? framedSnappy(bytes, pack) : pack(bytes)
        return same(decodeSnappy(packed, bytes.length, reader), bytes)
      }),
      { numRuns: 100 },
    )
  })

  it('writes one bare block, which clients read that do not know the framing of Java', () => {
    for (const bytes of [new Uint8Array(0), Uint8Array.of(7), new Uint8Array(100_000).fill(7)]) {
      const packed = compress('snappy', bytes)
      for (const block of Object.values(blocks)) {
        expect(same(block.decompress(packed, bytes.length), bytes)).toBe(true)
      }
    }
  })

  it('reads the framing of Java, also with its versions in the wrong byte order', () => {
    const bytes = Buffer.from('framed and plain '.repeat(10_000))
    const framed = Uint8Array.from(framedSnappy(bytes))
    expect(same(decompress('snappy', framed, bytes.length), bytes)).toBe(true)
    framed.set([1, 0, 0, 0, 1, 0, 0, 0], 8)
    expect(same(decompress('snappy', framed, bytes.length), bytes)).toBe(true)
    expect(codeOf(() => decompress('snappy', framed, bytes.length - 1))).toBe('CORRUPT_MESSAGE')
  })

  it('refuses the framing wherever it breaks off within a block', () => {
    const framed = framedSnappy(Buffer.from('framed and plain '.repeat(10)))
    for (let length = 17; length < framed.length; length += 1) {
      expect(codeOf(() => decompress('snappy', framed.subarray(0, length), 1_000))).toBe('CORRUPT_MESSAGE')
    }
  })

  it('refuses a length that its few bytes cannot become, before it allocates', () => {
    for (const block of Object.values(blocks)) {
      const liar = Uint8Array.of(0x80, 0x80, 0x80, 0x20, 0x00, 0x41)
      expect(codeOf(() => decodeSnappy(liar, 128 * MEBIBYTE, block))).toBe('CORRUPT_MESSAGE')
    }
  })
})

describe('lz4', () => {
  it('is read by the decoder in JavaScript as by the native one', () => {
    fc.assert(
      fc.property(someBytes, (bytes) => same(decodeLz4Frame(compress('lz4', bytes), bytes.length), bytes)),
      { numRuns: 200 },
    )
  })

  it('is legal when stored without compression: the native decoder reads it', () => {
    fc.assert(
      fc.property(someBytes, (bytes) => {
        const frame = encodeLz4FrameStored(bytes)
        return same(decompress('lz4', frame, bytes.length), bytes) && same(decodeLz4Frame(frame, bytes.length), bytes)
      }),
      { numRuns: 100 },
    )
  })

  it('writes frames that Kafka reads: independent blocks, no checksums, no content size', () => {
    expect(Buffer.from(compress('lz4', new Uint8Array(1_000)).subarray(0, 5)).toString('hex')).toBe('04224d1860')
  })

  it('reads frames with checksums, blocks that refer to each other, and skippable frames in between', () => {
    const lz4 = createRequire(import.meta.url)('lz4-napi') as {
      compressFrameSync(bytes: Buffer, options: { contentChecksum: boolean; blockChecksums: boolean }): Buffer
    }
    const bytes = Buffer.from('again and again '.repeat(10_000))
    const frame = lz4.compressFrameSync(bytes, { contentChecksum: true, blockChecksums: true })
    const skippable = Buffer.from('502a4d1803000000aabbcc', 'hex')
    const both = Buffer.concat([frame, skippable, frame])
    expect(same(decodeLz4Frame(both, MEBIBYTE), Buffer.concat([bytes, bytes]))).toBe(true)
    // One frame of two linked blocks, by hand: "abcd" stored, then a copy of 8 bytes from 4 back, then "e".
    const linked = Buffer.from(
      '04224d184040c0' + '04000080' + '61626364' + '05000000' + '0404001065' + '00000000',
      'hex',
    )
    expect(Buffer.from(decodeLz4Frame(linked, 100)).toString()).toBe('abcdabcdabcde')
  })

  it('counts every byte where the headers of the blocks allow more than the limit', () => {
    // Forty blocks of ten bytes each: by their headers they might hold 100 KB.
    const block = Buffer.from('0a000000' + '90' + '313233343536373839', 'hex')
    const frame = Buffer.concat([
      Buffer.from('04224d18604082', 'hex'),
      ...Array.from({ length: 40 }, () => block),
      Buffer.alloc(4),
    ])
    expect(Buffer.from(decompress('lz4', frame, 360)).toString()).toBe('123456789'.repeat(40))
    expect(codeOf(() => decompress('lz4', frame, 359))).toBe('CORRUPT_MESSAGE')
  })

  it('refuses damaged frames in JavaScript with a typed error', () => {
    const packed = compress('lz4', Buffer.from('one, two, three, four, '.repeat(100)))
    fc.assert(
      fc.property(fc.nat(packed.length - 1), fc.nat(255), fc.nat(packed.length), (at, byte, length) => {
        const damaged = Uint8Array.from(packed.subarray(0, length))
        damaged[at] = byte
        return [undefined, 'CORRUPT_MESSAGE'].includes(codeOf(() => decodeLz4Frame(damaged, 10_000)))
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('zstd', () => {
  it('reads a frame that does not say how much it holds, as streaming writers leave it', () => {
    // A frame of one stored block "hello" and one of 100,000 times "x", without a content size.
    const frame = Buffer.from('28b52ffd' + '00' + '58' + '280000' + '68656c6c6f' + '03350c' + '78', 'hex')
    expect(Buffer.from(decompress('zstd', frame, MEBIBYTE)).toString()).toBe('hello' + 'x'.repeat(100_000))
    expect(codeOf(() => decompress('zstd', frame, 100_004))).toBe('CORRUPT_MESSAGE')
  })

  it('reads frames that stand one behind the other', () => {
    const bytes = Buffer.from('frame '.repeat(100))
    const skippable = Buffer.from('502a4d1803000000aabbcc', 'hex')
    const frames = Buffer.concat([compress('zstd', bytes), skippable, compress('zstd', bytes)])
    expect(same(decompress('zstd', frames, 2_000), Buffer.concat([bytes, bytes]))).toBe(true)
  })

  it('refuses a frame that claims more than its blocks can hold, before it allocates', () => {
    // One segment of 100 MB by its own word, with a single stored byte in it.
    const liar = Buffer.from('28b52ffd' + 'a0' + '00e1f505' + '090000' + '41', 'hex')
    expect(() => decompress('zstd', liar, 128 * MEBIBYTE)).toThrow(/claims 100000000 bytes, its blocks hold at most 1$/)
  })
})

describe('a codec that must be prepared', () => {
  it.skipIf('zstdCompressSync' in zlib)('says so clearly when it is used before', async () => {
    // A fresh copy of the module, which nobody has prepared.
    vi.resetModules()
    const fresh = await import('../../shared/compression/zstd.ts')
    expect(() => fresh.compressZstd(new Uint8Array(1))).toThrow(/prepareCodec\('zstd'\)/)
    await fresh.prepareZstd()
    expect(fresh.compressZstd(new Uint8Array(1)).length).toBeGreaterThan(0)
  })
})
