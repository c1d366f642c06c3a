// What every disk must do, the real one, the one in memory and the simulated one: one suite, run against each.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Disk } from '../../broker/storage/disk.ts'
import { DiskError } from '../../broker/storage/disk.ts'
import { TidemarkError } from '../../shared/errors.ts'

export interface DiskUnderTest {
  readonly disk: Disk
  /** An empty directory. */
  readonly root: string
  dispose(): void
}

const bytes = (text: string): Uint8Array => Buffer.from(text)
const textOf = (content: Uint8Array): string => Buffer.from(content).toString()

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof DiskError || error instanceof TidemarkError) return error.code
    throw error
  }
  return 'no error'
}

async function rejectionOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof DiskError) return error.code
    throw error
  }
  return 'no error'
}

export function describeDisk(name: string, make: () => DiskUnderTest): void {
  describe(`${name} as a disk`, () => {
    let under: DiskUnderTest
    let disk: Disk
    let root: string

    beforeEach(() => {
      under = make()
      ;({ disk, root } = under)
    })
    afterEach(() => under.dispose())

    describe('files', () => {
      it('appends buffers one behind the other and reads them back anywhere', async () => {
        const file = disk.open(`${root}/a`, 'create')
        expect(file.size).toBe(0)
        file.append([bytes('abc')])
        file.append([bytes('de'), new Uint8Array(0), bytes('fgh')])
        expect(file.size).toBe(8)
        const target = new Uint8Array(4)
        expect(file.readAtSync(target, 2)).toBe(4)
        expect(textOf(target)).toBe('cdef')
        expect(await file.readAt(target, 4)).toBe(4)
        expect(textOf(target)).toBe('efgh')
        file.close()
        expect(textOf(disk.readFile(`${root}/a`))).toBe('abcdefgh')
      })

      it('reads fewer bytes only at the end of the file, and none behind it', async () => {
        const file = disk.open(`${root}/a`, 'create')
        file.append([bytes('abcde')])
        const target = new Uint8Array(4)
        expect(file.readAtSync(target, 3)).toBe(2)
        expect(textOf(target.subarray(0, 2))).toBe('de')
        expect(await file.readAt(target, 3)).toBe(2)
        expect(await file.readAt(target, 5)).toBe(0)
        expect(file.readAtSync(target, 99)).toBe(0)
        file.close()
      })

      it('keeps large and many small appends byte for byte', () => {
        const file = disk.open(`${root}/a`, 'create')
        const expected: Uint8Array[] = []
        for (let index = 0; index < 300; index++) {
          const chunk = Buffer.alloc(index % 50 === 0 ? 70_000 : index, index)
          expected.push(chunk)
          file.append([chunk])
        }
        const many = Array.from({ length: 3_000 }, (_, index) => Buffer.alloc(index % 7, index))
        file.append(many)
        file.close()
        const all = Buffer.concat([...expected, ...many])
        expect(file.size).toBe(all.length)
        expect(Buffer.compare(disk.readFile(`${root}/a`), all)).toBe(0)
      })

      it('goes on at the end of a file that is opened again', () => {
        const first = disk.open(`${root}/a`, 'create')
        first.append([bytes('one')])
        first.close()
        const second = disk.open(`${root}/a`, 'read-write')
        expect(second.size).toBe(3)
        second.append([bytes('two')])
        second.close()
        expect(textOf(disk.readFile(`${root}/a`))).toBe('onetwo')
      })

      it('truncates, appends behind the cut, and refuses to make a file longer', async () => {
        const file = disk.open(`${root}/a`, 'create')
        file.append([bytes('abcdefgh')])
        file.truncate(3)
        expect(file.size).toBe(3)
        file.append([bytes('X')])
        expect(textOf(disk.readFile(`${root}/a`))).toBe('abcX')
        expect(codeOf(() => file.truncate(100))).toBe('EINVAL')
        file.truncate(0)
        await file.sync()
        expect(disk.stat(`${root}/a`)?.size).toBe(0)
        file.append([bytes('new')])
        file.close()
        expect(textOf(disk.readFile(`${root}/a`))).toBe('new')
      })

      it('does not write through a file that is open for reading', () => {
        disk.writeFile(`${root}/a`, bytes('abc'))
        const file = disk.open(`${root}/a`, 'read')
        expect(codeOf(() => file.append([bytes('d')]))).not.toBe('no error')
        expect(codeOf(() => file.truncate(1))).not.toBe('no error')
        file.close()
        expect(textOf(disk.readFile(`${root}/a`))).toBe('abc')
      })

      it('refuses every use of a closed file, and closes twice without harm', async () => {
        const file = disk.open(`${root}/a`, 'create')
        file.append([bytes('abc')])
        file.close()
        file.close()
        expect(codeOf(() => file.append([bytes('d')]))).toBe('EBADF')
        expect(codeOf(() => file.readAtSync(new Uint8Array(1), 0))).toBe('EBADF')
        expect(await rejectionOf(file.readAt(new Uint8Array(1), 0))).toBe('EBADF')
        expect(await rejectionOf(file.sync())).toBe('EBADF')
      })

      it('finishes reads and syncs that were under way when the file was closed', async () => {
        const file = disk.open(`${root}/a`, 'create')
        file.append([bytes('abc')])
        const target = new Uint8Array(3)
        const work = Promise.all([file.readAt(target, 0), file.sync()])
        file.close()
        await work
        expect(textOf(target)).toBe('abc')
      })

      it('keeps a removed file readable for whoever holds it open', () => {
        const file = disk.open(`${root}/a`, 'create')
        file.append([bytes('abc')])
        disk.remove(`${root}/a`)
        expect(disk.stat(`${root}/a`)).toBeUndefined()
        const target = new Uint8Array(3)
        expect(file.readAtSync(target, 0)).toBe(3)
        expect(textOf(target)).toBe('abc')
        file.close()
      })

      it('follows a file through a rename', () => {
        const file = disk.open(`${root}/a`, 'create')
        disk.rename(`${root}/a`, `${root}/b`)
        file.append([bytes('abc')])
        file.close()
        expect(textOf(disk.readFile(`${root}/b`))).toBe('abc')
      })

      it('names what is missing or in the way', () => {
        disk.writeFile(`${root}/a`, bytes(''))
        expect(codeOf(() => disk.open(`${root}/a`, 'create'))).toBe('EEXIST')
        expect(codeOf(() => disk.open(`${root}/b`, 'read'))).toBe('ENOENT')
        expect(codeOf(() => disk.open(`${root}/b`, 'read-write'))).toBe('ENOENT')
        expect(codeOf(() => disk.open(`${root}/none/b`, 'create'))).toBe('ENOENT')
        expect(codeOf(() => disk.readFile(`${root}/b`))).toBe('ENOENT')
        expect(codeOf(() => disk.writeFile(`${root}/none/b`, bytes('')))).toBe('ENOENT')
        expect(codeOf(() => disk.open(`${root}/a/b`, 'create'))).toBe('ENOTDIR')
      })
    })

    describe('names', () => {
      it('replaces a whole file by writeFile', () => {
        disk.writeFile(`${root}/a`, bytes('a long content'))
        disk.writeFile(`${root}/a`, bytes('short'))
        expect(textOf(disk.readFile(`${root}/a`))).toBe('short')
        expect(disk.stat(`${root}/a`)).toMatchObject({ size: 5, isDirectory: false })
      })

      it('renames over a file that is there', () => {
        disk.writeFile(`${root}/a`, bytes('new'))
        disk.writeFile(`${root}/b`, bytes('old'))
        disk.rename(`${root}/a`, `${root}/b`)
        expect(disk.list(root)).toEqual(['b'])
        expect(textOf(disk.readFile(`${root}/b`))).toBe('new')
        expect(codeOf(() => disk.rename(`${root}/a`, `${root}/c`))).toBe('ENOENT')
        expect(codeOf(() => disk.rename(`${root}/b`, `${root}/none/c`))).toBe('ENOENT')
      })

      it('renames a directory with all that is in it, but not over one that is not empty', () => {
        disk.makeDirectory(`${root}/one/inner`)
        disk.makeDirectory(`${root}/two`)
        disk.writeFile(`${root}/one/inner/a`, bytes('a'))
        disk.writeFile(`${root}/two/b`, bytes('b'))
        expect(codeOf(() => disk.rename(`${root}/one`, `${root}/two`))).toBe('ENOTEMPTY')
        disk.rename(`${root}/one`, `${root}/three`)
        expect(disk.list(root)).toEqual(['three', 'two'])
        expect(textOf(disk.readFile(`${root}/three/inner/a`))).toBe('a')
      })

      it('removes a file once and minds no second time', () => {
        disk.writeFile(`${root}/a`, bytes(''))
        disk.remove(`${root}/a`)
        disk.remove(`${root}/a`)
        expect(disk.list(root)).toEqual([])
        disk.makeDirectory(`${root}/d`)
        expect(codeOf(() => disk.remove(`${root}/d`))).not.toBe('no error')
      })

      it('removes a single file where a tree may be, and nothing where nothing is', () => {
        disk.makeDirectory(`${root}/logs`)
        disk.writeFile(`${root}/logs/file`, Buffer.from('a'))
        disk.removeTree(`${root}/logs/file`)
        disk.removeTree(`${root}/logs/none`)
        disk.removeTree(`${root}/none/none`)
        expect(disk.list(`${root}/logs`)).toEqual([])
      })

      it('removes a tree once and minds no second time', () => {
        disk.makeDirectory(`${root}/d/e/f`)
        disk.writeFile(`${root}/d/e/a`, bytes('a'))
        disk.removeTree(`${root}/d`)
        disk.removeTree(`${root}/d`)
        expect(disk.list(root)).toEqual([])
      })

      it('makes directories with those above them, and minds none that is there', () => {
        disk.makeDirectory(`${root}/d/e/f`)
        disk.makeDirectory(`${root}/d/e`)
        expect(disk.list(`${root}/d/e`)).toEqual(['f'])
        expect(disk.stat(`${root}/d/e`)).toMatchObject({ isDirectory: true })
        disk.writeFile(`${root}/a`, bytes(''))
        expect(codeOf(() => disk.makeDirectory(`${root}/a/b`))).toBe('ENOTDIR')
      })

      it('lists names in order, and says so when there is no directory', () => {
        for (const name of ['b', 'a', '10', '9']) disk.writeFile(`${root}/${name}`, bytes(''))
        expect(disk.list(root)).toEqual(['10', '9', 'a', 'b'])
        expect(codeOf(() => disk.list(`${root}/none`))).toBe('ENOENT')
        expect(codeOf(() => disk.list(`${root}/a`))).toBe('ENOTDIR')
      })

      it('knows nothing of what is not there', () => {
        expect(disk.stat(`${root}/none`)).toBeUndefined()
        expect(disk.stat(`${root}/none/a`)).toBeUndefined()
        disk.writeFile(`${root}/a`, bytes(''))
        expect(disk.stat(`${root}/a/b`)).toBeUndefined()
      })
    })

    describe('syncs', () => {
      it('syncs files and directories by name, and says so when they are missing', async () => {
        disk.writeFile(`${root}/a`, bytes('a'))
        await disk.syncFile(`${root}/a`)
        await disk.syncDirectory(root)
        expect(await rejectionOf(disk.syncFile(`${root}/none`))).toBe('ENOENT')
        expect(await rejectionOf(disk.syncDirectory(`${root}/none`))).toBe('ENOENT')
      })
    })

    describe('the directory', () => {
      it('tells how much space there is', () => {
        const { freeBytes, totalBytes } = disk.space(root)
        expect(freeBytes).toBeGreaterThan(0)
        expect(totalBytes).toBeGreaterThanOrEqual(freeBytes)
        expect(codeOf(() => disk.space(`${root}/none`))).toBe('ENOENT')
      })

      it('lets one holder in at a time', () => {
        const lock = disk.lock(root)
        expect(codeOf(() => disk.lock(root))).toBe('DIRECTORY_LOCKED')
        expect(codeOf(() => disk.lock(`${root}/`))).toBe('DIRECTORY_LOCKED')
        lock.release()
        const next = disk.lock(root)
        lock.release()
        expect(codeOf(() => disk.lock(root))).toBe('DIRECTORY_LOCKED')
        next.release()
        expect(codeOf(() => disk.lock(`${root}/none`))).toBe('ENOENT')
      })

      it('has the same boot id as long as nothing is lost', () => {
        expect(disk.bootId()).toBe(disk.bootId())
      })
    })
  })
}
