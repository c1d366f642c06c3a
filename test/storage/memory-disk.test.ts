import { describe, expect, it } from 'vitest'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { systemClock } from '../../shared/time.ts'
import { describeDisk } from '../conformance/disk.ts'

describeDisk('MemoryDisk', () => {
  const disk = new MemoryDisk(systemClock)
  disk.makeDirectory('/data')
  return { disk, root: '/data', dispose: () => undefined }
})

describe('MemoryDisk', () => {
  it('shares nothing with another memory disk', () => {
    const first = new MemoryDisk(systemClock)
    first.makeDirectory('data')
    expect(new MemoryDisk(systemClock).stat('data')).toBeUndefined()
  })

  it('keeps its own copy of what is appended', () => {
    const disk = new MemoryDisk(systemClock)
    const file = disk.open('/a', 'create')
    const bytes = Buffer.from('abc')
    file.append([bytes])
    bytes.fill(0)
    expect(Buffer.from(disk.readFile('/a')).toString()).toBe('abc')
  })
})
