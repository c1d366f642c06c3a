// A simulated disk that keeps apart what a process sees and what would be found after a power loss. Owns the effects that
// no sync has covered yet, and every way in which they may survive, vanish, tear and change places; takes faults from the
// test. Knows nothing of what the files mean.
//
// The model is meaner than a journaling file system:
// - Of an unsynced append any subset of its sectors survives, the others read as what was there before, or as zeroes.
//   The size is any that the file has had since the last sync. An unsynced truncate may vanish: old bytes come back.
// - An unsynced change of a name (create, rename, remove) survives or not, each on its own; a rename is never half done.
//   Syncing a file does not make its name durable.
// - After a failed sync the pages count as clean: later syncs do not cover them, though they may have been written.

import { assertNever } from '../../shared/assert.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timers } from '../../shared/time.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { DirectoryLock, Disk, File, FileStat, OpenMode } from '../../broker/storage/disk.ts'
import { DiskError } from '../../broker/storage/disk.ts'
import { SimContent } from './sim-content.ts'

export type SimOperationKind =
  | 'open'
  | 'create'
  | 'append'
  | 'truncate'
  | 'write'
  | 'sync'
  | 'synced'
  | 'sync-directory'
  | 'directory-synced'
  | 'rename'
  | 'remove'
  | 'remove-tree'
  | 'make-directory'
  | 'read'

export interface SimOperation {
  /** Counts the operations that change something or make it durable; a read has the number of the next one. */
  readonly index: number
  readonly kind: SimOperationKind
  readonly path: string
  /** What an append is about to write. */
  readonly content?: Uint8Array
}

export interface SimFault {
  readonly code: string
  /** How much of an append is done before it fails. */
  readonly bytesDone?: number
}

export interface SimAppend {
  readonly path: string
  readonly position: number
  readonly bytes: Uint8Array
  /** A loss of power may bring back what stood here on stable storage and has been cut off. */
  readonly isOverCut: boolean
}

export interface SimDiskOptions {
  readonly clock: Clock
  /** Seen before each operation is done; the disk may be forked in it. */
  readonly onOperation?: ((operation: SimOperation, disk: SimDisk) => void) | undefined
  readonly fault?: ((operation: SimOperation) => SimFault | undefined) | undefined
  /** Told of every append that has been done as a whole. */
  readonly onAppended?: ((append: SimAppend) => void) | undefined
  /** Told of every file that has been cut to a size, or removed: to 0. */
  readonly onCut?: ((path: string, size: number) => void) | undefined
  /** How long a sync takes, and a read that is waited for; none unless given. */
  readonly latency?:
    { readonly timers: Timers; readonly syncMs: () => number; readonly readMs?: () => number } | undefined
}

/** How a power loss treats the effects that no sync has covered. They are counted in the order in which they came about. */
export type CrashChoice =
  /** Only what was synced survives. */
  | { readonly kind: 'none' }
  | { readonly kind: 'all' }
  /** The first `effects` survive; of the next, if it is an append, the first `bytes` bytes do. */
  | { readonly kind: 'prefix'; readonly effects: number; readonly bytes: number }
  /** The names survive, and the sizes or not, but no data: files are empty or full of zeroes. */
  | { readonly kind: 'names'; readonly sizes: boolean }
  /** All data survives, but no change of a name. */
  | { readonly kind: 'data' }
  /** Any subset, down to single sectors. */
  | { readonly kind: 'random'; readonly random: Random }

interface SimFileNode {
  readonly kind: 'file'
  current: SimContent
  durable: SimContent
  /** In order. */
  effects: DataEffect[]
  /** Effects below this number are durable or lost; the size is at least what they left. */
  syncedNumber: number
  modifiedMs: number
}

interface SimDirectoryNode {
  readonly kind: 'directory'
  current: Map<string, SimNode>
  durable: Map<string, SimNode>
}

type SimNode = SimFileNode | SimDirectoryNode

interface DataEffect {
  readonly number: number
  /** undefined: a truncate to `position`. */
  readonly bytes: Uint8Array | undefined
  readonly position: number
  readonly sizeAfter: number
  /** A sync that should have covered it has failed; no later one does. */
  isLost: boolean
}

interface NameChange {
  readonly directory: SimDirectoryNode
  readonly name: string
  /** What the name means afterwards. */
  readonly node: SimNode | undefined
}

interface NameEffect {
  readonly number: number
  /** Durable together or not at all; once any of the directories has been synced. */
  changes: readonly NameChange[]
  isLost: boolean
}

export class SimDisk implements Disk {
  options: SimDiskOptions
  #root: SimDirectoryNode
  #nameEffects: NameEffect[] = []
  #boot = 1
  #operations = 0
  #effects = 0
  #usedBytes = 0
  /** Bytes that all files together may have. */
  capacityBytes = 1_000_000_000_000
  #isOff = false
  readonly #locks = new Set<string>()

  constructor(options: SimDiskOptions) {
    this.options = options
    this.#root = newDirectory()
  }

  /** Operations so far that changed something or made it durable. */
  get operations(): number {
    return this.#operations
  }

  /** Effects that a power loss might undo. */
  get unsyncedEffects(): number {
    return this.#pendingNumbers().length
  }

  /** A copy that goes its own way, without the hooks. */
  fork(): SimDisk {
    const copy = new SimDisk({ clock: this.options.clock })
    const copies = new Map<SimNode, SimNode>()
    copy.#root = copyDirectory(this.#root, copies)
    copy.#nameEffects = this.#nameEffects.map((effect) => ({
      ...effect,
      changes: effect.changes.map(({ directory, name, node }) => ({
        directory: copyDirectory(directory, copies),
        name,
        node: node === undefined ? undefined : copyNode(node, copies),
      })),
    }))
    copy.#boot = this.#boot
    copy.#effects = this.#effects
    copy.#usedBytes = this.#usedBytes
    copy.capacityBytes = this.capacityBytes
    return copy
  }

  /** The process has died: nothing that it still tries has an effect. */
  powerOff(): void {
    this.#isOff = true
  }

  /** The disk as the next process finds it after the death of this one: with all that was written, synced or not. */
  kill(): SimDisk {
    return this.fork()
  }

  /** The disk as it is found after a power loss. Does not change this one. */
  crash(choice: CrashChoice): SimDisk {
    const found = this.fork()
    found.#boot++
    const survives = survivalOf(choice, found.#pendingNumbers())
    for (const effect of found.#nameEffects) {
      if (survives.name(effect.number)) applyNames(effect, 'durable')
    }
    found.#nameEffects = []
    found.#usedBytes = 0
    found.#settle(found.#root, survives, new Set())
    return found
  }

  open(path: string, mode: OpenMode): File {
    this.#step(mode === 'create' ? 'create' : 'open', path)
    if (mode !== 'create') return new SimFile(this, path, this.#file(path, 'open'), mode)
    const { directory, name } = this.#parent(path, 'open')
    if (directory.current.has(name)) throw new DiskError('EEXIST', 'open', path)
    const node = newFile(this.options.clock.now())
    this.#rename([{ directory, name, node }])
    return new SimFile(this, path, node, mode)
  }

  readFile(path: string): Uint8Array {
    this.#step('read', path)
    return this.#file(path, 'read').current.toBytes()
  }

  writeFile(path: string, bytes: Uint8Array): void {
    this.#step('write', path)
    const { directory, name } = this.#parent(path, 'write')
    let node = directory.current.get(name)
    if (node?.kind === 'directory') throw new DiskError('EISDIR', 'write', path)
    if (node === undefined) {
      node = newFile(this.options.clock.now())
      this.#rename([{ directory, name, node }])
    }
    this.#truncate(node, path, 0)
    this.#append(node, path, [bytes], 'write')
  }

  syncFile(path: string): Promise<void> {
    return settled(() => this.syncNode(this.#file(path, 'sync'), path))
  }

  syncDirectory(path: string): Promise<void> {
    return settled(async () => {
      const directory = this.#directory(path, 'sync')
      const covered = this.#nameEffects.filter((effect) =>
        effect.changes.some((change) => change.directory === directory),
      )
      try {
        this.#step('sync-directory', path)
      } catch (error) {
        for (const effect of covered) effect.isLost = true
        throw error
      }
      const isKept = covered.map((effect) => !effect.isLost)
      await this.#syncLatency()
      this.#step('directory-synced', path)
      // Another sync has failed meanwhile.
      if (covered.some((effect, index) => effect.isLost && isKept[index])) throw new DiskError('EIO', 'sync', path)
      for (const effect of covered) {
        if (effect.isLost) continue
        applyNames(effect, 'durable')
        for (const other of this.#nameEffects) if (other.isLost && other.number < effect.number) overrule(other, effect)
      }
      this.#nameEffects = this.#nameEffects.filter((effect) => effect.isLost || !covered.includes(effect))
    })
  }

  rename(from: string, to: string): void {
    this.#step('rename', from)
    const source = this.#parent(from, 'rename')
    const target = this.#parent(to, 'rename')
    const node = source.directory.current.get(source.name)
    if (node === undefined) throw new DiskError('ENOENT', 'rename', from)
    const replaced = target.directory.current.get(target.name)
    if (replaced === node) return
    if (replaced?.kind === 'directory' && node.kind !== 'directory') throw new DiskError('EISDIR', 'rename', to)
    if (replaced?.kind === 'directory' && replaced.current.size > 0) throw new DiskError('ENOTEMPTY', 'rename', to)
    if (replaced?.kind === 'file' && node.kind === 'directory') throw new DiskError('ENOTDIR', 'rename', to)
    if (replaced?.kind === 'file') this.#usedBytes -= replaced.current.length
    this.#rename([
      { ...source, node: undefined },
      { ...target, node },
    ])
  }

  remove(path: string): void {
    this.#step('remove', path)
    const node = this.#find(path)
    if (node === undefined) return
    if (node.kind === 'directory') throw new DiskError('EISDIR', 'remove', path)
    this.#usedBytes -= node.current.length
    this.#rename([{ ...this.#parent(path, 'remove'), node: undefined }])
    this.options.onCut?.(path, 0)
  }

  removeTree(path: string): void {
    this.#step('remove-tree', path)
    const node = this.#find(path)
    if (node === undefined) return
    if (node.kind === 'directory') {
      for (const name of [...node.current.keys()]) this.removeTree(`${path}/${name}`)
    } else {
      this.#usedBytes -= node.current.length
    }
    this.#rename([{ ...this.#parent(path, 'remove'), node: undefined }])
  }

  makeDirectory(path: string): void {
    this.#step('make-directory', path)
    let directory = this.#root
    for (const name of namesOf(path)) {
      let next = directory.current.get(name)
      if (next === undefined) {
        next = newDirectory()
        this.#rename([{ directory, name, node: next }])
      }
      if (next.kind !== 'directory') throw new DiskError('ENOTDIR', 'make directory', path)
      directory = next
    }
  }

  list(path: string): string[] {
    this.#step('read', path)
    return [...this.#directory(path, 'list').current.keys()].toSorted()
  }

  stat(path: string): FileStat | undefined {
    this.#step('read', path)
    const node = this.#find(path)
    if (node === undefined) return undefined
    if (node.kind === 'directory') return { size: 0, isDirectory: true, modifiedMs: 0 }
    return { size: node.current.length, isDirectory: false, modifiedMs: node.modifiedMs }
  }

  space(path: string): { readonly freeBytes: number; readonly totalBytes: number } {
    if (this.#find(path) === undefined) throw new DiskError('ENOENT', 'space', path)
    return { freeBytes: Math.max(0, this.capacityBytes - this.#usedBytes), totalBytes: this.capacityBytes }
  }

  lock(path: string): DirectoryLock {
    this.#directory(path, 'lock')
    const key = namesOf(path).join('/')
    if (this.#locks.has(key)) throw new TidemarkError('DIRECTORY_LOCKED', `${path} is in use`)
    this.#locks.add(key)
    let isHeld = true
    return {
      release: () => {
        if (isHeld) this.#locks.delete(key)
        isHeld = false
      },
    }
  }

  bootId(): string | undefined {
    return `boot-${this.#boot}`
  }

  /** The names in a directory, for whoever looks on: no operation of any process. None if it is not there. */
  peekNames(path: string): readonly string[] {
    const node = this.#find(path)
    return node?.kind === 'directory' ? [...node.current.keys()] : []
  }

  /** The bytes of a file, for whoever looks on; valid until it changes. */
  peekFile(path: string): Uint8Array | undefined {
    const node = this.#find(path)
    return node?.kind === 'file' ? node.current.view() : undefined
  }

  /** For SimFile. */
  appendTo(node: SimFileNode, path: string, buffers: readonly Uint8Array[]): void {
    this.#append(node, path, buffers, 'append')
  }

  /** For SimFile. */
  truncateNode(node: SimFileNode, path: string, size: number): void {
    this.#step('truncate', path)
    if (size > node.current.length) throw new DiskError('EINVAL', 'truncate', path)
    this.#truncate(node, path, size)
  }

  /** For SimFile. */
  readNode(node: SimFileNode, path: string, target: Uint8Array, position: number): number {
    this.#step('read', path)
    return node.current.read(target, position)
  }

  /** For SimFile. */
  async syncNode(node: SimFileNode, path: string): Promise<void> {
    const covered = [...node.effects]
    try {
      this.#step('sync', path)
    } catch (error) {
      for (const effect of covered) effect.isLost = true
      throw error
    }
    await this.#syncLatency()
    this.#step('synced', path)
    const hasLost = node.effects.some(({ isLost }) => isLost)
    for (const effect of covered) {
      if (effect.isLost) continue
      if (effect.bytes === undefined) node.durable.resize(Math.min(effect.position, node.durable.length))
      else node.durable.write(effect.position, effect.bytes)
      node.syncedNumber = Math.max(node.syncedNumber, effect.number + 1)
      if (!hasLost) continue
      node.effects = node.effects.filter(
        (other) => !other.isLost || other.number > effect.number || isApart(other, effect),
      )
    }
    const isCovered = new Set(covered)
    node.effects = node.effects.filter((effect) => effect.isLost || !isCovered.has(effect))
  }

  /** For SimFile. */
  readLatency(): Promise<void> | undefined {
    const { latency } = this.options
    if (latency?.readMs === undefined) return undefined
    const readMs = latency.readMs()
    return new Promise((resolve) => latency.timers.after(readMs, resolve))
  }

  #append(node: SimFileNode, path: string, buffers: readonly Uint8Array[], kind: 'append' | 'write'): void {
    const bytes = new Uint8Array(Buffer.concat(buffers))
    let fault = kind === 'append' ? this.#look('append', path, bytes) : undefined
    const freeBytes = this.capacityBytes - this.#usedBytes
    if (fault === undefined && bytes.length > freeBytes) fault = { code: 'ENOSPC', bytesDone: Math.max(0, freeBytes) }
    const done = fault === undefined ? bytes : bytes.subarray(0, fault.bytesDone ?? 0)
    if (done.length > 0) {
      const position = node.current.length
      node.current.write(position, done)
      this.#usedBytes += done.length
      node.modifiedMs = this.options.clock.now()
      const sizeAfter = node.current.length
      node.effects.push({ number: this.#effects++, bytes: done, position, sizeAfter, isLost: false })
      if (fault === undefined && kind === 'append') {
        const { length } = node.durable
        const isOverCut = node.effects.some((effect) => effect.bytes === undefined && effect.position < length)
        this.options.onAppended?.({ path, position, bytes: done, isOverCut })
      }
    }
    if (fault !== undefined) throw new DiskError(fault.code, kind, path)
  }

  #truncate(node: SimFileNode, path: string, size: number): void {
    if (size === node.current.length) return
    this.#usedBytes -= node.current.length - size
    node.current.resize(size)
    node.effects.push({ number: this.#effects++, bytes: undefined, position: size, sizeAfter: size, isLost: false })
    this.options.onCut?.(path, size)
  }

  #rename(changes: readonly NameChange[]): void {
    const effect = { number: this.#effects++, changes, isLost: false }
    this.#nameEffects.push(effect)
    applyNames(effect, 'current')
  }

  /** Everything becomes as it survived; nothing is unsynced any more. */
  #settle(directory: SimDirectoryNode, survives: Survival, seen: Set<SimNode>): void {
    if (seen.has(directory)) return
    seen.add(directory)
    directory.current = new Map(directory.durable)
    for (const node of directory.durable.values()) {
      if (node.kind === 'directory') {
        this.#settle(node, survives, seen)
      } else if (!seen.has(node)) {
        seen.add(node)
        survives.data(node)
        node.effects = []
        node.current = node.durable.copy()
        this.#usedBytes += node.current.length
      }
    }
  }

  #pendingNumbers(): number[] {
    const numbers = this.#nameEffects.map((effect) => effect.number)
    const seen = new Set<SimNode>()
    const visit = (node: SimNode): void => {
      if (seen.has(node)) return
      seen.add(node)
      if (node.kind === 'file') for (const effect of node.effects) numbers.push(effect.number)
      else for (const next of [...node.current.values(), ...node.durable.values()]) visit(next)
    }
    visit(this.#root)
    return numbers.toSorted((one, other) => one - other)
  }

  #step(kind: SimOperationKind, path: string): void {
    const fault = this.#look(kind, path)
    if (fault !== undefined) throw new DiskError(fault.code, kind, path)
  }

  #look(kind: SimOperationKind, path: string, content?: Uint8Array): SimFault | undefined {
    if (this.#isOff) throw new DiskError('EIO', kind, path)
    const operation = { index: this.#operations, kind, path, ...(content === undefined ? {} : { content }) }
    if (kind !== 'read' && kind !== 'open') this.#operations++
    this.options.onOperation?.(operation, this)
    if (this.#isOff) throw new DiskError('EIO', kind, path)
    return this.options.fault?.(operation)
  }

  #syncLatency(): Promise<void> {
    const latency = this.options.latency
    if (latency === undefined) return Promise.resolve()
    return new Promise((resolve) => latency.timers.after(latency.syncMs(), resolve))
  }

  #find(path: string): SimNode | undefined {
    let node: SimNode = this.#root
    for (const name of namesOf(path)) {
      const next: SimNode | undefined = node.kind === 'directory' ? node.current.get(name) : undefined
      if (next === undefined) return undefined
      node = next
    }
    return node
  }

  #file(path: string, operation: string): SimFileNode {
    const node = this.#find(path)
    if (node === undefined) throw new DiskError('ENOENT', operation, path)
    if (node.kind === 'directory') throw new DiskError('EISDIR', operation, path)
    return node
  }

  #directory(path: string, operation: string): SimDirectoryNode {
    const node = this.#find(path)
    if (node === undefined) throw new DiskError('ENOENT', operation, path)
    if (node.kind !== 'directory') throw new DiskError('ENOTDIR', operation, path)
    return node
  }

  #parent(path: string, operation: string): { directory: SimDirectoryNode; name: string } {
    const names = namesOf(path)
    let node: SimNode | undefined = this.#root
    for (const name of names.slice(0, -1)) node = node?.kind === 'directory' ? node.current.get(name) : undefined
    if (node === undefined) throw new DiskError('ENOENT', operation, path)
    if (node.kind !== 'directory') throw new DiskError('ENOTDIR', operation, path)
    return { name: names.at(-1) ?? '', directory: node }
  }
}

class SimFile implements File {
  readonly path: string
  readonly #disk: SimDisk
  readonly #node: SimFileNode
  readonly #mode: OpenMode
  #size: number
  #isOpen = true

  constructor(disk: SimDisk, path: string, node: SimFileNode, mode: OpenMode) {
    this.path = path
    this.#disk = disk
    this.#node = node
    this.#mode = mode
    this.#size = node.current.length
  }

  get size(): number {
    return this.#mode === 'read' ? this.#node.current.length : this.#size
  }

  append(buffers: readonly Uint8Array[]): void {
    this.#checkOpen('append', true)
    if (this.#size !== this.#node.current.length) {
      throw new Error(`${this.path} is appended to without having been cut back after a failure`)
    }
    this.#disk.appendTo(this.#node, this.path, buffers)
    this.#size = this.#node.current.length
  }

  readAt(target: Uint8Array, position: number): Promise<number> {
    return settled(() => {
      this.#checkOpen('read', false)
      // A read that is under way goes on when the file is closed.
      const waiting = this.#disk.readLatency()
      const read = (): number => this.#disk.readNode(this.#node, this.path, target, position)
      return waiting === undefined ? read() : waiting.then(read)
    })
  }

  readAtSync(target: Uint8Array, position: number): number {
    this.#checkOpen('read', false)
    return this.#disk.readNode(this.#node, this.path, target, position)
  }

  sync(): Promise<void> {
    return settled(() => {
      this.#checkOpen('sync', false)
      return this.#disk.syncNode(this.#node, this.path)
    })
  }

  truncate(size: number): void {
    this.#checkOpen('truncate', true)
    this.#disk.truncateNode(this.#node, this.path, size)
    this.#size = size
  }

  close(): void {
    this.#isOpen = false
  }

  #checkOpen(operation: string, writes: boolean): void {
    if (!this.#isOpen || (writes && this.#mode === 'read')) throw new DiskError('EBADF', operation, this.path)
  }
}

interface Survival {
  name(number: number): boolean
  /** Makes the node's durable content what is found of it. */
  data(node: SimFileNode): void
}

function survivalOf(choice: CrashChoice, pending: readonly number[]): Survival {
  switch (choice.kind) {
    case 'none':
      return { name: () => false, data: () => undefined }
    case 'all':
      return { name: () => true, data: (node) => void (node.durable = node.current.copy()) }
    case 'names':
      return {
        name: () => true,
        data: (node) => {
          if (choice.sizes) node.durable.resize(node.current.length)
        },
      }
    case 'data':
      return { name: () => false, data: (node) => void (node.durable = node.current.copy()) }
    case 'prefix': {
      const next = pending[choice.effects] ?? Infinity
      return {
        name: (number) => number < next,
        data: (node) => surviveUpTo(node, next, choice.bytes),
      }
    }
    case 'random': {
      const { random } = choice
      const likely = [0.1, 0.5, 0.9][random.integer(3)] ?? 0.5
      return { name: () => random.fraction() < likely, data: (node) => surviveAtRandom(node, likely, random) }
    }
    default:
      return assertNever(choice)
  }
}

function surviveUpTo(node: SimFileNode, next: number, bytesOfNext: number): void {
  for (const effect of node.effects) {
    if (effect.number > next) return
    if (effect.bytes === undefined) {
      if (effect.number < next) node.durable.resize(effect.position)
    } else {
      node.durable.write(effect.position, effect.number < next ? effect.bytes : effect.bytes.subarray(0, bytesOfNext))
    }
  }
}

function surviveAtRandom(node: SimFileNode, likely: number, random: Random): void {
  if (node.effects.length === 0) return
  const sectorBytes = random.integer(2) === 0 ? 512 : 4096
  const later = node.effects.filter((effect) => effect.number >= node.syncedNumber)
  const sizes = [node.durable.length, ...later.map((effect) => effect.sizeAfter)]
  const size = random.fraction() < likely ? node.current.length : (sizes[random.integer(sizes.length)] ?? 0)
  for (const { bytes, position } of node.effects) {
    if (bytes === undefined) continue
    const end = position + bytes.length
    for (let from = position; from < end;) {
      const to = Math.min(end, (Math.floor(from / sectorBytes) + 1) * sectorBytes)
      if (random.fraction() < likely) node.durable.write(from, bytes.subarray(from - position, to - position))
      from = to
    }
  }
  node.durable.resize(size)
}

function applyNames(effect: NameEffect, view: 'current' | 'durable'): void {
  for (const { directory, name, node } of effect.changes) {
    if (node === undefined) directory[view].delete(name)
    else directory[view].set(name, node)
  }
}

/** What a lost change may still bring about is settled by a later one of the same name that is durable. */
function overrule(lost: NameEffect, durable: NameEffect): void {
  lost.changes = lost.changes.filter(
    (change) => !durable.changes.some((other) => other.directory === change.directory && other.name === change.name),
  )
}

/** Whether a lost write may still come to light after a durable effect. */
function isApart(lost: DataEffect, durable: DataEffect): boolean {
  if (lost.bytes === undefined || durable.bytes === undefined) return false
  return (
    lost.position + lost.bytes.length <= durable.position || lost.position >= durable.position + durable.bytes.length
  )
}

function newFile(modifiedMs: number): SimFileNode {
  return {
    kind: 'file',
    current: new SimContent(),
    durable: new SimContent(),
    effects: [],
    syncedNumber: 0,
    modifiedMs,
  }
}

function newDirectory(): SimDirectoryNode {
  return { kind: 'directory', current: new Map(), durable: new Map() }
}

function copyNode(node: SimNode, copies: Map<SimNode, SimNode>): SimNode {
  if (node.kind === 'directory') return copyDirectory(node, copies)
  const known = copies.get(node)
  if (known !== undefined) return known
  const copy: SimFileNode = {
    kind: 'file',
    current: node.current.copy(),
    durable: node.durable.copy(),
    effects: node.effects.map((effect) => ({ ...effect })),
    syncedNumber: node.syncedNumber,
    modifiedMs: node.modifiedMs,
  }
  copies.set(node, copy)
  return copy
}

function copyDirectory(node: SimDirectoryNode, copies: Map<SimNode, SimNode>): SimDirectoryNode {
  const known = copies.get(node)
  if (known?.kind === 'directory') return known
  const copy = newDirectory()
  copies.set(node, copy)
  for (const [name, next] of node.current) copy.current.set(name, copyNode(next, copies))
  for (const [name, next] of node.durable) copy.durable.set(name, copyNode(next, copies))
  return copy
}

const NAMES_KEPT = 2_000
const namesByPath = new Map<string, readonly string[]>()

/** Of few paths, again and again. */
function namesOf(path: string): readonly string[] {
  let names = namesByPath.get(path)
  if (names === undefined) {
    names = path.split('/').filter((name) => name !== '' && name !== '.')
    if (namesByPath.size >= NAMES_KEPT) namesByPath.clear()
    namesByPath.set(path, names)
  }
  return names
}

/** The result of an act as a promise: a failure at once rejects instead of throwing. */
function settled<T>(act: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve) => resolve(act()))
}
