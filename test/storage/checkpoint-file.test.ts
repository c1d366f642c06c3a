import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  parentOf,
  readCheckpoint,
  writeCheckpoint,
  writeCheckpointCached,
} from '../../broker/storage/checkpoint-file.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { crc32c } from '../../shared/crc32c.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { systemClock } from '../../shared/time.ts'

function makeDisk(): MemoryDisk {
  const disk = new MemoryDisk(systemClock)
  disk.makeDirectory('/d')
  return disk
}

function failureOf(act: () => unknown): TidemarkError | undefined {
  try {
    act()
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
  return undefined
}

describe('a checkpoint file', () => {
  it('gives back any value that JSON can say', async () => {
    const disk = makeDisk()
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        await writeCheckpoint(disk, '/d/a', value)
        expect(readCheckpoint(disk, '/d/a')).toEqual(JSON.parse(JSON.stringify(value)))
        writeCheckpointCached(disk, '/d/b', value)
        expect(disk.readFile('/d/b')).toEqual(disk.readFile('/d/a'))
      }),
      { numRuns: 200 },
    )
    expect(disk.list('/d')).toEqual(['a', 'b'])
  })

  it('has the bytes that the format says', async () => {
    const disk = makeDisk()
    await writeCheckpoint(disk, '/d/a', { a: 1 })
    const payload = Buffer.from('{"a":1}')
    const middle = Buffer.from('0001000000000007', 'hex')
    const checksum = Buffer.alloc(4)
    checksum.writeUInt32BE(crc32c(Buffer.concat([middle, payload])))
    expect(disk.readFile('/d/a')).toEqual(
      new Uint8Array(Buffer.concat([Buffer.from('TMCP'), middle, checksum, payload])),
    )
  })

  it('is undefined when there is no file, also when only a temporary one is left', () => {
    const disk = makeDisk()
    disk.writeFile('/d/a.tmp', Buffer.from('half of'))
    expect(readCheckpoint(disk, '/d/a')).toBeUndefined()
    expect(readCheckpoint(disk, '/none/a')).toBeUndefined()
  })

  it('says of every flipped bit and every cut that the file is damaged, and where it is', async () => {
    const disk = makeDisk()
    await writeCheckpoint(disk, '/d/a', { epoch: 7, name: 'orders' })
    const good = disk.readFile('/d/a')
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Uint8Array.from(good)
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      disk.writeFile('/d/a', bad)
      const failure = failureOf(() => readCheckpoint(disk, '/d/a'))
      expect(failure?.code, `bit ${bit}`).toBe('FILE_CORRUPT')
      expect(failure?.message).toContain('/d/a is damaged: ')
    }
    for (let length = 0; length < good.length; length++) {
      disk.writeFile('/d/a', good.subarray(0, length))
      expect(failureOf(() => readCheckpoint(disk, '/d/a'))?.code, `${length} bytes`).toBe('FILE_CORRUPT')
    }
    disk.writeFile('/d/a', new Uint8Array(4096))
    expect(failureOf(() => readCheckpoint(disk, '/d/a'))?.code).toBe('FILE_CORRUPT')
  })

  it('refuses a file of a newer version as such', () => {
    const disk = makeDisk()
    const payload = Buffer.from('{}')
    const bytes = Buffer.concat([Buffer.from('TMCP'), Buffer.from('000200000000000200000000', 'hex'), payload])
    bytes.writeUInt32BE(crc32c(Buffer.concat([bytes.subarray(4, 12), payload])), 12)
    disk.writeFile('/d/a', bytes)
    const failure = failureOf(() => readCheckpoint(disk, '/d/a'))
    expect(failure?.code).toBe('DIRECTORY_FORMAT_UNKNOWN')
    expect(failure?.message).toContain('/d/a was written in format 2')
  })

  it('knows the directory that holds a path', () => {
    expect([parentOf('/a/b'), parentOf('/a'), parentOf('a'), parentOf('a/b')]).toEqual(['/a', '/', '.', 'a'])
  })
})
