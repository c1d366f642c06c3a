import { describe, expect, it } from 'vitest'
import type { File } from '../../broker/storage/disk.ts'
import { seededRandom } from '../../shared/random.ts'
import { systemClock } from '../../shared/time.ts'
import { describeDisk } from '../conformance/disk.ts'
import { SimDisk } from './sim-disk.ts'

function makeDisk(): SimDisk {
  const disk = new SimDisk({ clock: systemClock })
  disk.makeDirectory('/d')
  return disk
}

async function makeDurableDisk(): Promise<SimDisk> {
  const disk = makeDisk()
  await disk.syncDirectory('/')
  return disk
}

async function makeFile(disk: SimDisk, name: string, content: string): Promise<File> {
  const file = disk.open(`/d/${name}`, 'create')
  file.append([Buffer.from(content)])
  await file.sync()
  await disk.syncDirectory('/d')
  return file
}

const textOf = (disk: SimDisk, path: string): string => Buffer.from(disk.readFile(path)).toString()

describeDisk('SimDisk', () => ({ disk: makeDisk(), root: '/d', dispose: () => undefined }))

describe('SimDisk after a power loss', () => {
  it('has what was synced and nothing else, unless luck has it', async () => {
    const disk = await makeDurableDisk()
    const file = await makeFile(disk, 'a', 'synced')
    file.append([Buffer.from(' and not')])
    expect(textOf(disk.crash({ kind: 'none' }), '/d/a')).toBe('synced')
    expect(textOf(disk.crash({ kind: 'all' }), '/d/a')).toBe('synced and not')
    expect(textOf(disk.crash({ kind: 'prefix', effects: 0, bytes: 4 }), '/d/a')).toBe('synced and')
    expect(textOf(disk.crash({ kind: 'names', sizes: true }), '/d/a')).toBe(`synced${'\0'.repeat(8)}`)
    expect(textOf(disk, '/d/a')).toBe('synced and not')
  })

  it('loses a file whose name was not synced, even if its bytes were', async () => {
    const disk = await makeDurableDisk()
    const file = disk.open('/d/a', 'create')
    file.append([Buffer.from('abc')])
    await file.sync()
    expect(disk.crash({ kind: 'none' }).list('/d')).toEqual([])
    await disk.syncDirectory('/d')
    expect(textOf(disk.crash({ kind: 'none' }), '/d/a')).toBe('abc')
  })

  it('brings back what an unsynced truncate, rename or remove took away', async () => {
    const disk = await makeDurableDisk()
    const file = await makeFile(disk, 'a', 'abcdef')
    await makeFile(disk, 'b', 'b')
    file.truncate(2)
    disk.rename('/d/a', '/d/c')
    disk.remove('/d/b')
    const found = disk.crash({ kind: 'none' })
    expect(found.list('/d')).toEqual(['a', 'b'])
    expect(textOf(found, '/d/a')).toBe('abcdef')
    expect(disk.crash({ kind: 'all' }).list('/d')).toEqual(['c'])
    await file.sync()
    await disk.syncDirectory('/d')
    const later = disk.crash({ kind: 'none' })
    expect(later.list('/d')).toEqual(['c'])
    expect(textOf(later, '/d/c')).toBe('ab')
  })

  it('loses any sectors of an unsynced append, and any names, each on its own', async () => {
    const disk = await makeDurableDisk()
    const file = await makeFile(disk, 'a', 'x')
    file.append([Buffer.alloc(2047, 'y')])
    disk.writeFile('/d/b', Buffer.from('b'))
    disk.writeFile('/d/c', Buffer.from('c'))
    const contents = new Set<string>()
    const names = new Set<string>()
    for (let seed = 0; seed < 500; seed++) {
      const found = disk.crash({ kind: 'random', random: seededRandom(seed) })
      contents.add(textOf(found, '/d/a'))
      names.add(found.list('/d').join())
      expect(found.readFile('/d/a')[0]).toBe('x'.charCodeAt(0))
    }
    // Four sectors, the first with the synced byte, whose other 511 bytes may be missing like the others.
    const patterns = [/^x\0+$/, /^x\0{511}y{512}\0{512}y{512}$/, /^xy{511}\0{1536}$/, /^x$/, /^xy{2047}$/]
    const missing = patterns.filter((pattern) => ![...contents].some((content) => pattern.test(content)))
    expect(missing).toEqual([])
    expect(names).toEqual(new Set(['a', 'a,b', 'a,c', 'a,b,c']))
  })

  it('is the same for the same seed', async () => {
    const disk = await makeDurableDisk()
    const file = await makeFile(disk, 'a', '')
    file.append([Buffer.alloc(10_000, 'y')])
    for (let seed = 0; seed < 20; seed++) {
      const [one, two] = [1, 2].map(() => textOf(disk.crash({ kind: 'random', random: seededRandom(seed) }), '/d/a'))
      expect(one).toBe(two)
    }
  })

  it('never has the bytes of a failed sync promised to it by a later one', async () => {
    const disk = await makeDurableDisk()
    const file = await makeFile(disk, 'a', '')
    file.append([Buffer.from('lost')])
    disk.options = { clock: systemClock, fault: ({ kind }) => (kind === 'sync' ? { code: 'EIO' } : undefined) }
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
    disk.options = { clock: systemClock }
    await file.sync()
    expect(textOf(disk, '/d/a')).toBe('lost')
    expect(textOf(disk.crash({ kind: 'none' }), '/d/a')).toBe('')
    file.append([Buffer.from('kept')])
    await file.sync()
    expect(textOf(disk.crash({ kind: 'none' }), '/d/a')).toBe('\0\0\0\0kept')
  })

  it('has another boot id after a power loss and the same one after a kill', () => {
    const disk = makeDisk()
    disk.writeFile('/d/a', Buffer.from('a'))
    expect(disk.kill().bootId()).toBe(disk.bootId())
    expect(textOf(disk.kill(), '/d/a')).toBe('a')
    expect(disk.crash({ kind: 'all' }).bootId()).not.toBe(disk.bootId())
  })
})

describe('SimDisk with faults', () => {
  it('fails the operation that the test chooses, and writes a part of it', () => {
    const disk = makeDisk()
    const file = disk.open('/d/a', 'create')
    const at = disk.operations
    disk.options = {
      clock: systemClock,
      fault: ({ index }) => (index === at ? { code: 'EIO', bytesDone: 2 } : undefined),
    }
    expect(() => file.append([Buffer.from('abc')])).toThrow('EIO')
    expect(file.size).toBe(0)
    expect(disk.stat('/d/a')?.size).toBe(2)
    file.truncate(0)
    file.append([Buffer.from('abc')])
    expect(textOf(disk, '/d/a')).toBe('abc')
  })

  it('is full when it is, and has space again when something is removed', () => {
    const disk = makeDisk()
    disk.capacityBytes = 10
    disk.writeFile('/d/a', Buffer.alloc(6))
    const file = disk.open('/d/b', 'create')
    expect(() => file.append([Buffer.alloc(5)])).toThrow('ENOSPC')
    file.truncate(0)
    expect(disk.space('/d').freeBytes).toBe(4)
    disk.remove('/d/a')
    file.append([Buffer.alloc(10)])
    expect(disk.space('/d').freeBytes).toBe(0)
  })

  it('does nothing any more for a process that is dead', async () => {
    const disk = makeDisk()
    const file = disk.open('/d/a', 'create')
    file.append([Buffer.from('abc')])
    const sync = file.sync()
    disk.powerOff()
    await expect(sync).rejects.toThrow('EIO')
    expect(() => file.append([Buffer.from('d')])).toThrow('EIO')
    expect(textOf(disk.kill(), '/d/a')).toBe('abc')
  })
})
