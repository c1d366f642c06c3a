// The real disk: the only place of the broker that calls the operating system's file functions. Owns short writes, error
// codes, and the lock that keeps a second broker out of a directory. Knows nothing of what the files mean.
//
// Invariants: files are opened without the append flag and written at the position that this process keeps, because a
// positional write to an append-only descriptor goes elsewhere. A descriptor is closed only when no call on it is under
// way: the kernel gives the number out again at once, and a late read would read a stranger's file.

import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { TidemarkError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import { systemRandom } from '../../shared/random.ts'
import type { Timers } from '../../shared/time.ts'
import { systemTimers } from '../../shared/time.ts'
import type { DirectoryLock, Disk, File, FileStat, OpenMode } from './disk.ts'
import { DiskError } from './disk.ts'

/** Buffers that one writev takes: the least that every system allows (IOV_MAX). */
const BUFFERS_PER_WRITE_MAX = 1024

const OPEN_FLAGS: Record<OpenMode, number> = {
  read: fs.constants.O_RDONLY,
  'read-write': fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
}

export class NodeDisk implements Disk {
  readonly #timers: Timers
  readonly #random: Random
  /** How many syncs of a directory have failed, by its path. */
  readonly #failedSyncs = new Map<string, number>()

  constructor(timers: Timers = systemTimers, random: Random = systemRandom) {
    this.#timers = timers
    this.#random = random
  }

  open(path: string, mode: OpenMode): File {
    return attempt('open', path, () => {
      const fd = fs.openSync(path, OPEN_FLAGS[mode], 0o644)
      try {
        const size = mode === 'create' ? 0 : fs.fstatSync(fd).size
        return new NodeFile(path, fd, size)
      } catch (error) {
        fs.closeSync(fd)
        throw error
      }
    })
  }

  readFile(path: string): Uint8Array {
    return attempt('read', path, () => fs.readFileSync(path))
  }

  writeFile(path: string, bytes: Uint8Array): void {
    attempt('write', path, () => fs.writeFileSync(path, bytes))
  }

  syncFile(path: string): Promise<void> {
    return syncByName(path, 'r+', fs.fdatasync)
  }

  async syncDirectory(path: string): Promise<void> {
    const failedBefore = this.#failedSyncs.get(path)
    try {
      await syncByName(path, 'r', fs.fsync)
    } catch (error) {
      this.#failedSyncs.set(path, (this.#failedSyncs.get(path) ?? 0) + 1)
      throw error
    }
    if (this.#failedSyncs.get(path) !== failedBefore) throw new DiskError('EIO', 'sync', path)
  }

  rename(from: string, to: string): void {
    attempt('rename', from, () => freeingLater(to, () => fs.renameSync(from, to)))
  }

  remove(path: string): void {
    attempt('remove', path, () => {
      // Removing a directory this way is EISDIR on Linux and EPERM elsewhere; both are failures, as they should be.
      ignoring('ENOENT', () => unlink(path))
    })
  }

  removeTree(path: string): void {
    attempt('remove', path, () => {
      // What is asked for one by one is a single file.
      if (fs.lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
        return ignoring('ENOENT', () => unlink(path))
      }
      for (const entry of fs.readdirSync(path, { withFileTypes: true, recursive: true })) {
        if (entry.isFile()) unlink(join(entry.parentPath, entry.name))
      }
      fs.rmSync(path, { recursive: true, force: true })
    })
  }

  makeDirectory(path: string): void {
    attempt('make directory', path, () => makeDirectories(path))
  }

  list(path: string): string[] {
    return attempt('list', path, () => fs.readdirSync(path).sort())
  }

  stat(path: string): FileStat | undefined {
    return attempt('stat', path, () => {
      try {
        const found = fs.statSync(path)
        return { size: found.size, isDirectory: found.isDirectory(), modifiedMs: found.mtimeMs }
      } catch (error) {
        if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
        throw error
      }
    })
  }

  space(path: string): { readonly freeBytes: number; readonly totalBytes: number } {
    return attempt('space', path, () => {
      const found = fs.statfsSync(path)
      return { freeBytes: found.bavail * found.bsize, totalBytes: found.blocks * found.bsize }
    })
  }

  lock(path: string): DirectoryLock {
    return attempt('lock', path, () => takeLock(path, this.#timers, this.#random))
  }

  bootId(): string | undefined {
    return readText('/proc/sys/kernel/random/boot_id')
  }
}

class NodeFile implements File {
  readonly path: string
  readonly #fd: number
  #size: number
  #isOpen = true
  #callsUnderWay = 0
  /** A plain data sync need not make a smaller size durable. */
  #isTruncated = false

  constructor(path: string, fd: number, size: number) {
    this.path = path
    this.#fd = fd
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  append(buffers: readonly Uint8Array[]): void {
    attempt('append', this.path, () => {
      const fd = this.#openFd()
      const only = buffers[0]
      this.#size =
        only !== undefined && buffers.length === 1 ? this.#write(fd, only, this.#size) : this.#writeAll(fd, buffers)
    })
  }

  readAt(target: Uint8Array, position: number): Promise<number> {
    return this.#call('read', (fd, settle) => {
      let done = 0
      const readOn = (): void => {
        fs.read(fd, target, done, target.length - done, position + done, (error, count) => {
          if (error !== null) return settle(error, 0)
          done += count
          if (count === 0 || done === target.length) return settle(null, done)
          readOn()
        })
      }
      readOn()
    })
  }

  readAtSync(target: Uint8Array, position: number): number {
    return attempt('read', this.path, () => {
      const fd = this.#openFd()
      let done = 0
      while (done < target.length) {
        const count = fs.readSync(fd, target, done, target.length - done, position + done)
        if (count === 0) break
        done += count
      }
      return done
    })
  }

  sync(): Promise<void> {
    const isTruncated = this.#isTruncated
    this.#isTruncated = false
    return this.#call<void>('sync', (fd, settle) => {
      if (isTruncated) fs.fsync(fd, (error) => settle(error, undefined))
      else fs.fdatasync(fd, (error) => settle(error, undefined))
    })
  }

  truncate(size: number): void {
    attempt('truncate', this.path, () => {
      const fd = this.#openFd()
      if (size > this.#size) throw new DiskError('EINVAL', 'truncate', this.path)
      // Done even when the size is the same: a failed append may have left bytes behind it.
      fs.ftruncateSync(fd, size)
      this.#size = size
      this.#isTruncated = true
    })
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (this.#callsUnderWay === 0) fs.closeSync(this.#fd)
  }

  #openFd(): number {
    if (!this.#isOpen) throw new DiskError('EBADF', 'use', this.path)
    return this.#fd
  }

  /** Returns the position behind the last byte written. */
  #write(fd: number, bytes: Uint8Array, position: number): number {
    let done = 0
    while (done < bytes.length) {
      done += checkProgress(fs.writeSync(fd, bytes, done, bytes.length - done, position + done), this.path)
    }
    return position + done
  }

  #writeAll(fd: number, buffers: readonly Uint8Array[]): number {
    let position = this.#size
    for (let first = 0; first < buffers.length; first += BUFFERS_PER_WRITE_MAX) {
      const some = buffers.slice(first, first + BUFFERS_PER_WRITE_MAX)
      let rest = some.reduce((sum, bytes) => sum + bytes.length, 0)
      let written = rest === 0 ? 0 : checkProgress(fs.writevSync(fd, some, position), this.path)
      position += written
      rest -= written
      if (rest === 0) continue
      // A short write is rare (a nearly full disk, a signal): what is left goes out buffer by buffer.
      for (const bytes of some) {
        const skipped = Math.min(written, bytes.length)
        written -= skipped
        position = this.#write(fd, bytes.subarray(skipped), position)
      }
    }
    return position
  }

  /** A call through the thread pool, counted so that close waits for it. */
  #call<T>(
    operation: string,
    start: (fd: number, settle: (error: Error | null, value: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#isOpen) return reject(new DiskError('EBADF', operation, this.path))
      this.#callsUnderWay++
      start(this.#fd, (error, value) => {
        this.#callsUnderWay--
        if (!this.#isOpen && this.#callsUnderWay === 0) fs.closeSync(this.#fd)
        if (error === null) resolve(value)
        else reject(diskError(operation, this.path, error))
      })
    })
  }
}

function checkProgress(written: number, path: string): number {
  if (written === 0) throw new DiskError('EIO', 'append', path)
  return written
}

type SyncFunction = (fd: number, callback: (error: Error | null) => void) => void

function syncByName(path: string, flags: string, sync: SyncFunction): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, (openError, fd) => {
      if (openError !== null) return reject(diskError('sync', path, openError))
      sync(fd, (error) => {
        fs.close(fd, () => {
          if (error === null) resolve()
          else reject(diskError('sync', path, error))
        })
      })
    })
  })
}

// The lock. There is no file lock to be had from Node, so it is a file that says who holds it, and a protocol by which
// exactly one of many brokers takes over from a holder that is gone:
//
// - It comes into being by a hard link from a file that is complete already: nobody reads half of it.
// - Every taking carries a nonce. Who wants to succeed holder N must first create `lock.after-N`, which only one can; if
//   that one dies before it is done, `lock.after-<its nonce>` comes next. Having created the end of that chain it looks
//   whether `lock` still says N (else it came too late and starts over), replaces it, and only then removes the chain.
//
// A holder is gone when the machine has been started anew, or no process of that number and start time exists. A holder in
// another container cannot be looked up: it is gone when it has not touched the file for a while.

const LOCK_TOUCH_MS = 3_000
const LOCK_SILENT_MS_MAX = 20_000

interface LockHolder {
  readonly nonce: string
  readonly pid: number
  /** In clock ticks since the start of the machine; tells a process from a later one of the same number. */
  readonly startTime: string | undefined
  readonly bootId: string | undefined
  /** Numbers of processes mean something only within this. */
  readonly pidNamespace: string | undefined
}

function takeLock(directory: string, timers: Timers, random: Random): DirectoryLock {
  const path = `${directory}/lock`
  const own: LockHolder = {
    nonce: random.uuid(),
    pid: process.pid,
    startTime: startTimeOf(process.pid),
    bootId: readText('/proc/sys/kernel/random/boot_id'),
    pidNamespace: ownPidNamespace(),
  }
  const draft = `${path}.${own.nonce}`
  fs.writeFileSync(draft, JSON.stringify(own), { flag: 'wx', flush: true })
  try {
    // Each round ends in success, in DIRECTORY_LOCKED, or because another broker has just moved on: at most one round each.
    for (let round = 0; round < 100; round++) {
      if (createByLink(draft, path) || maybeSucceed(path, draft, own)) return heldLock(path, own, timers)
    }
  } finally {
    fs.rmSync(draft, { force: true })
  }
  throw new TidemarkError('DIRECTORY_LOCKED', `${path} changes hands faster than it can be read`)
}

/** Takes over from a holder that is gone. Returns false if the state changed meanwhile. @throws DIRECTORY_LOCKED. */
function maybeSucceed(path: string, draft: string, own: LockHolder): boolean {
  const holder = readHolder(path)
  if (holder === undefined) return false
  checkGone(path, path, draft, holder, own)
  const chain: string[] = []
  let last = holder
  for (;;) {
    const next = `${path}.after-${last.nonce}`
    chain.push(next)
    if (createByLink(draft, next)) break
    const taker = readHolder(next)
    if (taker === undefined) return false
    checkGone(path, next, draft, taker, own)
    last = taker
  }
  if (readHolder(path)?.nonce !== holder.nonce) {
    fs.rmSync(chain.at(-1) ?? '', { force: true })
    return false
  }
  fs.renameSync(draft, path)
  for (const link of chain) fs.rmSync(link, { force: true })
  return true
}

const LARGE_FILE_BYTES = 4 * 1024 * 1024
/** Neither a link nor a pipe may be waited for. */
const UNLINK_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK

function unlink(path: string): void {
  freeingLater(path, () => fs.unlinkSync(path))
}

/**
 * Takes the name from its file at once. The blocks are freed when the last descriptor is closed: for a large file that takes
 * some 100 ms a gigabyte, which a thread of the pool spends.
 */
function freeingLater(path: string, work: () => void): void {
  const isLarge = (fs.lstatSync(path, { throwIfNoEntry: false })?.size ?? 0) >= LARGE_FILE_BYTES
  const fd = isLarge ? attemptQuietly(() => fs.openSync(path, UNLINK_FLAGS)) : undefined
  try {
    work()
  } finally {
    if (fd !== undefined) fs.close(fd, () => undefined)
  }
}

function heldLock(path: string, own: LockHolder, timers: Timers): DirectoryLock {
  const isOurs = (): boolean => readHolder(path)?.nonce === own.nonce
  const touch = (): void => {
    // A failure to touch harms nobody in this container, and there is no caller to tell.
    attemptQuietly(() => {
      if (isOurs()) touchFile(path)
    })
    timer = timers.after(LOCK_TOUCH_MS, touch, { background: true })
  }
  let timer = timers.after(LOCK_TOUCH_MS, touch, { background: true })
  let isHeld = true
  return {
    release: () => {
      if (!isHeld) return
      isHeld = false
      timer.cancel()
      if (isOurs()) fs.rmSync(path, { force: true })
    },
  }
}

function checkGone(path: string, file: string, draft: string, holder: LockHolder, own: LockHolder): void {
  if (isGone(file, draft, holder, own)) return
  if (holder.pid === 0) {
    const seconds = LOCK_SILENT_MS_MAX / 1_000
    throw new TidemarkError(
      'DIRECTORY_LOCKED',
      `${path} cannot be read: it counts as free once nobody has touched it for ${seconds} s; wait, or remove it if no broker runs there`,
    )
  }
  const where = holder.pidNamespace === own.pidNamespace ? '' : ', in another container'
  throw new TidemarkError('DIRECTORY_LOCKED', `${path} is held by the process with pid ${holder.pid}${where}`)
}

function isGone(file: string, draft: string, holder: LockHolder, own: LockHolder): boolean {
  if (holder.bootId !== undefined && own.bootId !== undefined && holder.bootId !== own.bootId) return true
  if (holder.pid === 0 || holder.pidNamespace !== own.pidNamespace) {
    // Both times are the file system's own, so it does not matter whose clock is right.
    const touched = fs.statSync(file, { throwIfNoEntry: false })
    return touched !== undefined && fs.statSync(draft).mtimeMs - touched.mtimeMs > LOCK_SILENT_MS_MAX
  }
  if (holder.startTime !== undefined) return startTimeOf(holder.pid) !== holder.startTime
  try {
    process.kill(holder.pid, 0)
    return false
  } catch (error) {
    return codeOf(error) === 'ESRCH'
  }
}

/** True if the name was free and now means the draft. */
function createByLink(draft: string, path: string): boolean {
  try {
    fs.linkSync(draft, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    if (!NO_HARD_LINKS.has(codeOf(error))) throw error
  }
  // A file system without hard links: there is a moment in which the file is empty. Whoever reads it then takes the holder
  // for unknown, and an unknown holder is gone only after a long silence.
  try {
    fs.writeFileSync(path, fs.readFileSync(draft), { flag: 'wx' })
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

const NO_HARD_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/** undefined if there is no such file; a holder with pid 0 if it cannot be read. */
function readHolder(path: string): LockHolder | undefined {
  const found = fs.statSync(path, { throwIfNoEntry: false })
  const text = found === undefined ? undefined : readText(path)
  if (found === undefined || text === undefined) return undefined
  const unreadable = { nonce: `unreadable-${found.ino}`, pid: 0, startTime: undefined }
  const nowhere = { bootId: undefined, pidNamespace: undefined }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return { ...unreadable, ...nowhere }
    const field = (name: string): string | undefined => {
      const content: unknown = Reflect.get(value, name)
      return typeof content === 'string' ? content : undefined
    }
    const pid: unknown = Reflect.get(value, 'pid')
    const nonce = field('nonce')
    if (nonce === undefined || !/^[0-9a-f-]+$/.test(nonce) || typeof pid !== 'number' || !Number.isSafeInteger(pid)) {
      return { ...unreadable, ...nowhere }
    }
    const startTime = field('startTime')
    return { nonce, pid, startTime, bootId: field('bootId'), pidNamespace: field('pidNamespace') }
  } catch (error) {
    if (error instanceof SyntaxError) return { ...unreadable, ...nowhere }
    throw error
  }
}

/** Writes the byte that is there already, so that the file system notes its own time. */
function touchFile(path: string): void {
  const fd = fs.openSync(path, 'r+')
  try {
    fs.writeSync(fd, '{', 0)
  } finally {
    fs.closeSync(fd)
  }
}

/** Field 22 of the process's line, counted behind the name, which may itself hold spaces and brackets. */
function startTimeOf(pid: number): string | undefined {
  const line = readText(`/proc/${pid}/stat`)
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')[19]
}

function ownPidNamespace(): string | undefined {
  try {
    return fs.readlinkSync('/proc/self/ns/pid')
  } catch (error) {
    if (codeOf(error) === 'UNKNOWN') throw error
    return undefined
  }
}

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (codeOf(error) === 'UNKNOWN') throw error
    return undefined
  }
}

function attempt<T>(operation: string, path: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (error instanceof DiskError || error instanceof TidemarkError) throw error
    throw diskError(operation, path, error)
  }
}

function attemptQuietly<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch (error) {
    if (codeOf(error) === 'UNKNOWN') throw error
    return undefined
  }
}

function ignoring(code: string, act: () => void): void {
  try {
    act()
  } catch (error) {
    if (codeOf(error) !== code) throw error
  }
}

function diskError(operation: string, path: string, error: unknown): DiskError {
  return new DiskError(codeOf(error), operation, path, error)
}

/** The system's name for the failure; UNKNOWN for an error that is none of the system's. */
function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : 'UNKNOWN'
}

/**
 * With its parents. Not the runtime's own way of doing so: that one never returns where a directory that is there refuses
 * a child as if it were not there itself, as /proc does.
 */
function makeDirectories(path: string): void {
  try {
    fs.mkdirSync(path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST' && fs.statSync(path).isDirectory()) return
    const parent = dirname(path)
    if (codeOf(error) !== 'ENOENT' || parent === path || fs.existsSync(parent)) throw error
    makeDirectories(parent)
    makeDirectories(path)
  }
}
