// @platformatic/kafka.

import zlib from 'node:zlib'
import { compressionsAlgorithms } from '@platformatic/kafka'
import { describe, expect, it } from 'vitest'
import { compress } from '../../shared/compression/codec.ts'
import { groupsSuite } from './groups-suite.ts'
import { startPlatformatic } from './platformatic-driver.ts'
import { recordsSuite } from './records-suite.ts'
import { stageFor } from './stage.ts'
import { LACKS } from './abilities.ts'
import { adminSuite } from './admin-suite.ts'

/** Only where Node has it. */
const zstd = 'zstdCompressSync' in zlib ? (['zstd'] as const) : []

describe('@platformatic/kafka', () => {
  const stage = stageFor(startPlatformatic)
  recordsSuite(stage, {
    hasNoNullHeaders: true,
    writes: ['none', 'gzip', 'snappy', 'lz4', ...zstd],
    reads: ['none', 'gzip', 'snappy', 'lz4', ...zstd],
  })
  groupsSuite(stage)
  adminSuite(stage, { lacks: LACKS['@platformatic/kafka'] })

  it('reads Snappy only as bare blocks, as our client writes it, not in the framing that Java writes', () => {
    const { snappy } = compressionsAlgorithms
    const bytes = Buffer.from('again and again and again')
    const block = Buffer.from(compress('snappy', bytes))
    expect(Buffer.from(snappy.decompressSync(block))).toEqual(bytes)
    const framing = Buffer.from('82534e4150505900' + '00000001' + '00000001' + '00000000', 'hex')
    framing.writeUInt32BE(block.length, 16)
    expect(() => snappy.decompressSync(Buffer.concat([framing, block]))).toThrow('unreachable')
  })

  it('has Zstandard only where Node has', () => {
    expect(compressionsAlgorithms.zstd.available).toBe('zstdCompressSync' in zlib)
  })
})
