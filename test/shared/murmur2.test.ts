import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { murmur2, partitionForKey } from '../../shared/murmur2.ts'

const require = createRequire(import.meta.url)
const foreign = require('kafkajs/src/producer/partitioners/default/murmur2') as (key: Buffer) => number

describe('murmur2', () => {
  it('gives the values of the tests of Kafka itself', () => {
    const known: readonly (readonly [string, number])[] = [
      ['21', -973932308],
      ['foobar', -790332482],
      ['a-little-bit-long-string', -985981536],
      ['a-little-bit-longer-string', -1486304829],
      ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
      ['abc', 479470107],
    ]
    for (const [key, hash] of known) expect(murmur2(Buffer.from(key))).toBe(hash)
  })

  it('agrees with a foreign client on arbitrary keys', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (key) => murmur2(key) === foreign(Buffer.from(key))),
      { numRuns: 2_000 },
    )
  })

  it('never chooses a partition outside the topic', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 10_000 }), (key, partitionCount) => {
        const partition = partitionForKey(key, partitionCount)
        return Number.isInteger(partition) && partition >= 0 && partition < partitionCount
      }),
    )
    expect(partitionForKey(Buffer.from('21'), 7)).toBe((-973932308 & 0x7fff_ffff) % 7)
  })
})
