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
    reads: ['none', 'gzip', 'lz4', ...zstd],
  })
  groupsSuite(stage)
  adminSuite(stage, {
    lacks: LACKS['@platformatic/kafka'],
    // It stumbles over shares without user data, which is how all others write them.
    describesOurs: false,
  })

  it('reads Snappy only as bare blocks, not in the framing that Kafka and our client write', () => {
    const { snappy } = compressionsAlgorithms
    const bytes = Buffer.from('again and again and again')
    expect(Buffer.from(snappy.decompressSync(snappy.compressSync(bytes)))).toEqual(bytes)
    expect(() => snappy.decompressSync(Buffer.from(compress('snappy', bytes)))).toThrow('unreachable')
  })

  it('has Zstandard only where Node has', () => {
    expect(compressionsAlgorithms.zstd.available).toBe('zstdCompressSync' in zlib)
  })
})
