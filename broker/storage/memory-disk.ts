// A disk in memory, for brokers that are asked to keep nothing (`dataDir: 'memory'`) and for tests that need no real one.
// Owns the tree of names and the bytes; knows nothing of what the files mean. A sync has nothing to wait for, so it
// resolves at once. Bounded only by the memory of the process.
//
// Invariant: a file's bytes lie in chunks that are filled in order, so growing never copies what is there already. A
// removed file lives on for whoever holds it open, as on a real disk.

import type { Clock } from '../../shared/time.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { DirectoryLock, Disk, File, FileStat, OpenMode } from './disk.ts'
import { DiskError } from './disk.ts'

const CHUNK_BYTES_MIN = 512
const CHUNK_BYTES_MAX = 1024 * 1024

type Node = MemoryBytes | MemoryDirectory

interface MemoryDirectory {
  readonly kind: 'directory'
  readonly entries: Map<string, Node>
  modifiedMs: number
}

export class MemoryDisk implements Disk {
  readonly #clock: Clock
  readonly #root: MemoryDirectory
  readonly #locks = new Set<string>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#root = this.#newDirectory()
  }

  open(path: string, mode: OpenMode): File {
    if (mode !== 'create') return new MemoryFile(path, this.#bytes(path, 'open'), mode, this.#clock)
    const { directory, name } = this.#parent(path, 'open')
    if (directory.entries.has(name)) throw new DiskError('EEXIST', 'open', path)
    const bytes = new MemoryBytes(this.#clock.now())
    directory.entries.set(name, bytes)
    return new MemoryFile(path, bytes, mode, this.#clock)
  }

  readFile(path: string): Uint8Array {
    const bytes = this.#bytes(path, 'read')
    const copy = new Uint8Array(bytes.size)
    bytes.read(copy, 0)
    return copy
  }

  writeFile(path: string, content: Uint8Array): void {
    const { directory, name } = this.#parent(path, 'write')
    let bytes = directory.entries.get(name)
    if (bytes?.kind === 'directory') throw new DiskError('EISDIR', 'write', path)
    if (bytes === undefined) {
      bytes = new MemoryBytes(this.#clock.now())
      directory.entries.set(name, bytes)
    }
    bytes.truncate(0)
    bytes.append(content)
    bytes.modifiedMs = this.#clock.now()
  }

  syncFile(path: string): Promise<void> {
    return settled(() => void this.#bytes(path, 'sync'))
  }

  syncDirectory(path: string): Promise<void> {
    return settled(() => void this.#directory(path, 'sync'))
  }

  rename(from: string, to: string): void {
    const source = this.#parent(from, 'rename')
    const target = this.#parent(to, 'rename')
    const node = source.directory.entries.get(source.name)
    if (node === undefined) throw new DiskError('ENOENT', 'rename', from)
    const replaced = target.directory.entries.get(target.name)
    if (replaced === node) return
    if (replaced?.kind === 'directory') {
      if (node.kind !== 'directory') throw new DiskError('EISDIR', 'rename', to)
      if (replaced.entries.size > 0) throw new DiskError('ENOTEMPTY', 'rename', to)
    } else if (replaced !== undefined && node.kind === 'directory') {
      throw new DiskError('ENOTDIR', 'rename', to)
    }
    if (`${to}/`.startsWith(`${from}/`)) throw new DiskError('EINVAL', 'rename', to)
    source.directory.entries.delete(source.name)
    target.directory.entries.set(target.name, node)
  }

  remove(path: string): void {
    const directory = this.#find(namesOf(path).slice(0, -1))
    if (directory?.kind !== 'directory') return
    const name = namesOf(path).at(-1) ?? ''
    if (directory.entries.get(name)?.kind === 'directory') throw new DiskError('EISDIR', 'remove', path)
    directory.entries.delete(name)
  }

  removeTree(path: string): void {
    const directory = this.#find(namesOf(path).slice(0, -1))
    if (directory?.kind === 'directory') directory.entries.delete(namesOf(path).at(-1) ?? '')
  }

  makeDirectory(path: string): void {
    let directory = this.#root
    for (const name of namesOf(path)) {
      let next = directory.entries.get(name)
      if (next === undefined) {
        next = this.#newDirectory()
        directory.entries.set(name, next)
      }
      if (next.kind !== 'directory') throw new DiskError('ENOTDIR', 'make directory', path)
      directory = next
    }
  }

  list(path: string): string[] {
    return [...this.#directory(path, 'list').entries.keys()].toSorted()
  }

  stat(path: string): FileStat | undefined {
    const node = this.#find(namesOf(path))
    if (node === undefined) return undefined
    const isDirectory = node.kind === 'directory'
    return { size: isDirectory ? 0 : node.size, isDirectory, modifiedMs: node.modifiedMs }
  }

  space(path: string): { readonly freeBytes: number; readonly totalBytes: number } {
    if (this.#find(namesOf(path)) === undefined) throw new DiskError('ENOENT', 'space', path)
    return { freeBytes: Number.MAX_SAFE_INTEGER, totalBytes: Number.MAX_SAFE_INTEGER }
  }

  lock(path: string): DirectoryLock {
    this.#directory(path, 'lock')
    const key = namesOf(path).join('/')
    if (this.#locks.has(key)) throw new TidemarkError('DIRECTORY_LOCKED', `${path} is used by a broker of this process`)
    this.#locks.add(key)
    let isHeld = true
    return {
      release: () => {
        if (isHeld) this.#locks.delete(key)
        isHeld = false
      },
    }
  }

  /** The bytes live exactly as long as this object, and nothing in it is ever lost. */
  bootId(): string | undefined {
    return 'memory'
  }

  #newDirectory(): MemoryDirectory {
    return { kind: 'directory', entries: new Map(), modifiedMs: this.#clock.now() }
  }

  #find(names: readonly string[]): Node | undefined {
    let node: Node = this.#root
    for (const name of names) {
      if (node.kind !== 'directory') return undefined
      const next = node.entries.get(name)
      if (next === undefined) return undefined
      node = next
    }
    return node
  }

  #bytes(path: string, operation: string): MemoryBytes {
    const node = this.#find(namesOf(path))
    if (node === undefined) throw new DiskError('ENOENT', operation, path)
    if (node.kind === 'directory') throw new DiskError('EISDIR', operation, path)
    return node
  }

  #directory(path: string, operation: string): MemoryDirectory {
    const node = this.#find(namesOf(path))
    if (node === undefined) throw new DiskError('ENOENT', operation, path)
    if (node.kind !== 'directory') throw new DiskError('ENOTDIR', operation, path)
    return node
  }

  #parent(path: string, operation: string): { directory: MemoryDirectory; name: string } {
    const names = namesOf(path)
    const name = names.pop()
    if (name === undefined) throw new DiskError('EISDIR', operation, path)
    const directory = this.#find(names)
    if (directory === undefined) throw new DiskError('ENOENT', operation, path)
    if (directory.kind !== 'directory') throw new DiskError('ENOTDIR', operation, path)
    return { directory, name }
  }
}

class MemoryFile implements File {
  readonly path: string
  readonly #bytes: MemoryBytes
  readonly #mode: OpenMode
  readonly #clock: Clock
  #isOpen = true

  constructor(path: string, bytes: MemoryBytes, mode: OpenMode, clock: Clock) {
    this.path = path
    this.#bytes = bytes
    this.#mode = mode
    this.#clock = clock
  }

  get size(): number {
    return this.#bytes.size
  }

  append(buffers: readonly Uint8Array[]): void {
    this.#checkOpen('append', true)
    for (const buffer of buffers) this.#bytes.append(buffer)
    this.#bytes.modifiedMs = this.#clock.now()
  }

  readAt(target: Uint8Array, position: number): Promise<number> {
    return settled(() => this.readAtSync(target, position))
  }

  readAtSync(target: Uint8Array, position: number): number {
    this.#checkOpen('read', false)
    return this.#bytes.read(target, position)
  }

  sync(): Promise<void> {
    return settled(() => this.#checkOpen('sync', false))
  }

  truncate(size: number): void {
    this.#checkOpen('truncate', true)
    if (size > this.#bytes.size) throw new DiskError('EINVAL', 'truncate', this.path)
    this.#bytes.truncate(size)
    this.#bytes.modifiedMs = this.#clock.now()
  }

  close(): void {
    this.#isOpen = false
  }

  #checkOpen(operation: string, writes: boolean): void {
    if (!this.#isOpen || (writes && this.#mode === 'read')) throw new DiskError('EBADF', operation, this.path)
  }
}

/** The content of one file: a run of chunks, all full but the last. */
class MemoryBytes {
  readonly kind = 'file'
  readonly #chunks: Uint8Array[] = []
  /** Position of each chunk's first byte. */
  readonly #starts: number[] = []
  size = 0
  modifiedMs: number

  constructor(modifiedMs: number) {
    this.modifiedMs = modifiedMs
  }

  append(bytes: Uint8Array): void {
    let taken = 0
    while (taken < bytes.length) {
      const last = this.#chunks.length - 1
      const chunk = this.#chunks[last]
      const filled = this.size - (this.#starts[last] ?? 0)
      if (chunk === undefined || filled === chunk.length) {
        this.#grow(bytes.length - taken)
        continue
      }
      const part = Math.min(chunk.length - filled, bytes.length - taken)
      chunk.set(bytes.subarray(taken, taken + part), filled)
      taken += part
      this.size += part
    }
  }

  read(target: Uint8Array, position: number): number {
    const wanted = Math.min(target.length, Math.max(0, this.size - position))
    let done = 0
    for (let index = this.#chunkAt(position); done < wanted; index++) {
      const chunk = this.#chunks[index]
      if (chunk === undefined) break
      const from = position + done - (this.#starts[index] ?? 0)
      const part = Math.min(chunk.length - from, wanted - done)
      target.set(chunk.subarray(from, from + part), done)
      done += part
    }
    return done
  }

  truncate(size: number): void {
    while ((this.#starts.at(-1) ?? -1) >= size) {
      this.#starts.pop()
      this.#chunks.pop()
    }
    this.size = size
    // Only the last chunk may be part-filled; what it holds past the size is overwritten by the next append.
  }

  /** A new chunk as large as the file is already, within bounds: few chunks for large files, little waste for small ones. */
  #grow(atLeast: number): void {
    const length = Math.max(atLeast, Math.min(Math.max(this.size, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX))
    this.#starts.push(this.size)
    this.#chunks.push(Buffer.allocUnsafeSlow(length))
  }

  /** Index of the chunk that holds the position: the last that begins at or before it. */
  #chunkAt(position: number): number {
    let low = 0
    let high = this.#starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.#starts[middle] ?? 0) <= position) low = middle
      else high = middle - 1
    }
    return low
  }
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

/** The result of a synchronous act as a promise: a failure rejects instead of throwing. */
function settled<T>(act: () => T): Promise<T> {
  return new Promise((resolve) => resolve(act()))
}
