import { describe, expect, it } from 'vitest'
import { writeCheckpoint } from '../../broker/storage/checkpoint-file.ts'
import type { DirectoryIdentity } from '../../broker/storage/directory-identity.ts'
import { claimDirectory } from '../../broker/storage/directory-identity.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { brokerId } from '../../shared/ids.ts'
import { seededRandom } from '../../shared/random.ts'
import { systemClock } from '../../shared/time.ts'

function makeDisk(): MemoryDisk {
  const disk = new MemoryDisk(systemClock)
  disk.makeDirectory('/d')
  return disk
}

function claim(disk: MemoryDisk, cluster: string, broker: number): Promise<DirectoryIdentity> {
  const sources = { clock: systemClock, random: seededRandom(1) }
  return claimDirectory(disk, '/d', { cluster, brokerId: brokerId(broker) }, sources)
}

describe('the identity of a data directory', () => {
  it('is given once and found again', async () => {
    const disk = makeDisk()
    const identity = await claim(disk, 'shop', 1)
    expect(identity).toMatchObject({ formatVersion: 1, cluster: 'shop', brokerId: 1 })
    expect(identity.directoryId).toMatch(/^[0-9a-f-]{36}$/)
    expect(await claim(disk, 'shop', 1)).toEqual(identity)
  })

  it('refuses the directory of another cluster and of another broker, and says whose it is', async () => {
    const disk = makeDisk()
    await claim(disk, 'shop', 1)
    await expect(claim(disk, 'bank', 1)).rejects.toMatchObject({
      code: 'DIRECTORY_NOT_USABLE',
      message:
        '/d belongs to cluster shop, and this broker to cluster bank; correct cluster, or start on another data-dir',
    })
    await expect(claim(disk, 'shop', 2)).rejects.toMatchObject({
      code: 'DIRECTORY_NOT_USABLE',
      message: '/d belongs to broker 1, and this is broker 2; correct broker-id, or start on another data-dir',
    })
  })

  it('leaves a directory of a newer format as it is', async () => {
    const disk = makeDisk()
    await writeCheckpoint(disk, '/d/identity', { formatVersion: 2, owner: { something: 'else' } })
    const before = disk.readFile('/d/identity')
    await expect(claim(disk, 'shop', 1)).rejects.toMatchObject({ code: 'DIRECTORY_FORMAT_UNKNOWN' })
    expect(disk.readFile('/d/identity')).toEqual(before)
    expect(disk.list('/d')).toEqual(['identity'])
  })

  it('does not take over data that has lost its identity, nor guess at a damaged one', async () => {
    const disk = makeDisk()
    disk.makeDirectory('/d/logs')
    await expect(claim(disk, 'shop', 1)).rejects.toThrow('/d holds logs but no identity')
    disk.writeFile('/d/identity', Buffer.from('rubbish that is long enough'))
    await expect(claim(disk, 'shop', 1)).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
    await writeCheckpoint(disk, '/d/identity', { formatVersion: 1, cluster: 'shop' })
    await expect(claim(disk, 'shop', 1)).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
  })
})
