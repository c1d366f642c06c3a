import { describe, expect, it } from 'vitest'
import { DrainMark } from '../../broker/storage/drain-mark.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { systemClock } from '../../shared/time.ts'
import { SimDisk } from '../simulation/sim-disk.ts'

function diskWith(): MemoryDisk {
  const disk = new MemoryDisk(systemClock)
  disk.makeDirectory('/d')
  return disk
}

describe('the mark of a broker that is drained', () => {
  it('is there after a restart, until it is taken back', async () => {
    const disk = diskWith()
    const mark = new DrainMark(disk, '/d')
    expect(mark.isDraining).toBe(false)
    await mark.set(true)
    expect(new DrainMark(disk, '/d').isDraining).toBe(true)
    await Promise.all([mark.set(false), mark.set(true), mark.set(false)])
    expect(mark.isDraining).toBe(false)
    expect(new DrainMark(disk, '/d').isDraining).toBe(false)
  })

  it('that cannot be read is no mark and not none', () => {
    const disk = diskWith()
    disk.writeFile('/d/draining', Buffer.from('yes, please do'))
    expect(() => new DrainMark(disk, '/d')).toThrow('/d/draining is damaged')
  })

  it.each([
    ['EIO', 'DISK_FAILED'],
    ['ENOSPC', 'DISK_FULL'],
  ])('that meets %s stays what it was, and says why', async (code, expected) => {
    const disk = new SimDisk({ clock: systemClock })
    disk.makeDirectory('/d')
    const mark = new DrainMark(disk, '/d')
    disk.options = { clock: systemClock, fault: ({ kind }) => (kind === 'sync' ? { code } : undefined) }
    await expect(mark.set(true)).rejects.toMatchObject({ code: expected })
    expect(mark.isDraining).toBe(false)
    disk.options = { clock: systemClock }
    await mark.set(true)
    expect(mark.isDraining).toBe(true)
  })
})
