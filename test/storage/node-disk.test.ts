import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DiskError } from '../../broker/storage/disk.ts'
import { NodeDisk } from '../../broker/storage/node-disk.ts'
import { describeDisk } from '../conformance/disk.ts'

function makeTemporaryDirectory(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-disk-'))
}

describeDisk('NodeDisk', () => {
  const root = makeTemporaryDirectory()
  return { disk: new NodeDisk(), root, dispose: () => fs.rmSync(root, { recursive: true }) }
})

describe('NodeDisk', () => {
  let root: string
  const disk = new NodeDisk()

  beforeEach(() => {
    root = makeTemporaryDirectory()
  })
  afterEach(() => fs.rmSync(root, { recursive: true }))

  /** A process number that belonged to somebody who is gone. */
  function deadPid(): number {
    return spawnSync(process.execPath, ['-e', '0']).pid
  }

  function writeLock(fields: object): void {
    const bootId = disk.bootId()
    const pidNamespace = fs.existsSync('/proc/self/ns/pid') ? fs.readlinkSync('/proc/self/ns/pid') : undefined
    fs.writeFileSync(`${root}/lock`, JSON.stringify({ nonce: 'abc', pid: 1, bootId, pidNamespace, ...fields }))
  }

  it('keeps the system error as the cause and names the path', () => {
    const missing = `${root}/none`
    const caught = ((): unknown => {
      try {
        return disk.open(missing, 'read')
      } catch (error) {
        return error
      }
    })()
    expect(caught).toBeInstanceOf(DiskError)
    expect(caught).toMatchObject({ code: 'ENOENT', path: missing, cause: { syscall: 'open' } })
  })

  it('makes a directory with its parents, also where a part of it is there', () => {
    disk.makeDirectory(`${root}/a/b/c/`)
    disk.makeDirectory(`${root}/a/b/d`)
    expect(fs.readdirSync(`${root}/a/b`)).toEqual(['c', 'd'])
  })

  it('makes no directory where a file is in the way', () => {
    fs.writeFileSync(`${root}/file`, '')
    expect(() => disk.makeDirectory(`${root}/file`)).toThrow('EEXIST')
    expect(() => disk.makeDirectory(`${root}/file/below`)).toThrow('ENOTDIR')
  })

  // The runtime's own way of making parents never returned here: a start with such a --data-dir took a whole processor and
  // did not even heed SIGTERM.
  it.runIf(fs.existsSync('/proc/self'))('says so where the system takes no new directory', () => {
    expect(() => disk.makeDirectory('/proc/tidemark')).toThrow('ENOENT')
    expect(() => disk.makeDirectory('/proc/tidemark/data')).toThrow('ENOENT')
  })

  it('closes as many files as it opens, also those with calls under way', async () => {
    const descriptors = (): number => fs.readdirSync('/proc/self/fd').length
    const before = descriptors()
    const syncs: Promise<void>[] = []
    for (let index = 0; index < 50; index++) {
      const file = disk.open(`${root}/${index}`, 'create')
      syncs.push(file.sync())
      file.close()
    }
    await Promise.all(syncs)
    expect(descriptors()).toBeLessThan(before + 10)
  })

  it('names the process that holds the lock', async () => {
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)'], { stdio: 'ignore' })
    await once(child, 'spawn')
    try {
      const stat = fs.readFileSync(`/proc/${child.pid}/stat`, 'utf8')
      writeLock({ pid: child.pid, startTime: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] })
      expect(() => disk.lock(root)).toThrow(`held by the process with pid ${child.pid}`)
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    disk.lock(root).release()
    expect(fs.readdirSync(root)).toEqual([])
  })

  it('takes over from a process that is gone', () => {
    writeLock({ pid: deadPid(), startTime: '12345' })
    const lock = disk.lock(root)
    expect(() => disk.lock(root)).toThrow(`held by the process with pid ${process.pid}`)
    lock.release()
    expect(fs.readdirSync(root)).toEqual([])
  })

  it('takes over from a process whose number now belongs to another', () => {
    writeLock({ pid: process.pid, startTime: '1' })
    disk.lock(root).release()
    expect(fs.readdirSync(root)).toEqual([])
  })

  it('takes over from a holder of before the machine was started anew', () => {
    writeLock({ pid: process.pid, bootId: 'another' })
    disk.lock(root).release()
    expect(fs.readdirSync(root)).toEqual([])
  })

  it('believes a holder in another container that was there a moment ago, and takes over when it has been silent', () => {
    writeLock({ pid: process.pid, pidNamespace: 'pid:[1]' })
    expect(() => disk.lock(root)).toThrow('in another container')
    const longAgo = new Date(fs.statSync(`${root}/lock`).mtimeMs - 60_000)
    fs.utimesSync(`${root}/lock`, longAgo, longAgo)
    disk.lock(root).release()
  })

  it('does not take over from a lock it cannot read before it has been silent for long', () => {
    fs.writeFileSync(`${root}/lock`, '')
    expect(() => disk.lock(root)).toThrow('cannot be read')
    const longAgo = new Date(fs.statSync(`${root}/lock`).mtimeMs - 60_000)
    fs.utimesSync(`${root}/lock`, longAgo, longAgo)
    disk.lock(root).release()
    expect(fs.readdirSync(root)).toEqual([])
  })

  it('finishes a takeover that another process began and died in', () => {
    const pid = deadPid()
    writeLock({ pid, startTime: '1', nonce: 'a1' })
    const lockOf = (nonce: string): string => fs.readFileSync(`${root}/lock`, 'utf8').replace('a1', nonce)
    fs.writeFileSync(`${root}/lock.after-a1`, lockOf('a2'))
    fs.writeFileSync(`${root}/lock.after-a2`, lockOf('a3'))
    const lock = disk.lock(root)
    expect(fs.readdirSync(root)).toEqual(['lock'])
    lock.release()
    expect(fs.readdirSync(root)).toEqual([])
  })

  it('leaves the lock to a process that is in the middle of taking over', () => {
    writeLock({ pid: deadPid(), startTime: '1', nonce: 'a1' })
    const mine = new NodeDisk()
    const elsewhere = makeTemporaryDirectory()
    const lock = mine.lock(elsewhere)
    fs.copyFileSync(`${elsewhere}/lock`, `${root}/lock.after-a1`)
    expect(() => disk.lock(root)).toThrow(`held by the process with pid ${process.pid}`)
    lock.release()
    fs.rmSync(elsewhere, { recursive: true })
  })

  it('lets one of many processes take over from a holder that is gone', async () => {
    const module = path.resolve('dist/broker/storage/node-disk.js')
    const script = `
      import { NodeDisk } from ${JSON.stringify(module)}
      process.stdin.once('data', () => {
        try { new NodeDisk().lock(${JSON.stringify(root)}); console.log('held') }
        catch (error) { console.log(error.code) }
        process.stdin.once('data', () => process.exit())
      })
      console.log('ready')`
    for (let round = 0; round < 3; round++) {
      fs.rmSync(`${root}/lock`, { force: true })
      writeLock({ pid: deadPid(), startTime: '1', nonce: `a${round}` })
      const children = Array.from({ length: 6 }, () =>
        spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
      )
      await Promise.all(children.map((child) => once(child.stdout, 'data')))
      const answers = children.map(async (child) => {
        const chunks: unknown[] = await once(child.stdout, 'data')
        return String(chunks[0]).trim()
      })
      for (const child of children) child.stdin.write('go')
      const told = await Promise.all(answers)
      const exits = children.map((child) => once(child, 'exit'))
      for (const child of children) child.stdin.write('stop')
      await Promise.all(exits)
      expect(told.toSorted()).toEqual([...Array.from({ length: 5 }, () => 'DIRECTORY_LOCKED'), 'held'])
    }
  })
})
