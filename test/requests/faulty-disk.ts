// A disk in memory that fails when it is told to: no space, a sync that waits, a sync that fails. Everything else it
// leaves to the disk in memory.

import type { DirectoryLock, Disk, File, FileStat, OpenMode } from '../../broker/storage/disk.ts'
import { DiskError } from '../../broker/storage/disk.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { systemClock } from '../../shared/time.ts'

export class FaultyDisk implements Disk {
  /** Appends to segments whose path holds this fail with ENOSPC. */
  fullFor: string | undefined
  /** Syncs of files fail with EIO. */
  failsSyncs = false
  freeBytes: number | undefined
  readonly #disk = new MemoryDisk(systemClock)
  #gate: Promise<void> | undefined
  #openGate: () => void = () => undefined

  /** Syncs of files wait until `letSyncs`. */
  holdSyncs(): void {
    this.#gate = new Promise((resolve) => {
      this.#openGate = resolve
    })
  }

  letSyncs(): void {
    this.#gate = undefined
    this.#openGate()
  }

  open(path: string, mode: OpenMode): File {
    const file = this.#disk.open(path, mode)
    return {
      path,
      get size() {
        return file.size
      },
      append: (buffers) => {
        if (this.fullFor !== undefined && path.includes(this.fullFor)) throw new DiskError('ENOSPC', 'append', path)
        file.append(buffers)
      },
      readAt: (target, position) => file.readAt(target, position),
      readAtSync: (target, position) => file.readAtSync(target, position),
      sync: async () => {
        await this.#gate
        if (this.failsSyncs) throw new DiskError('EIO', 'sync', path)
        await file.sync()
      },
      truncate: (size) => file.truncate(size),
      close: () => file.close(),
    }
  }

  readFile(path: string): Uint8Array {
    return this.#disk.readFile(path)
  }

  writeFile(path: string, bytes: Uint8Array): void {
    this.#disk.writeFile(path, bytes)
  }

  syncFile(path: string): Promise<void> {
    return this.#disk.syncFile(path)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#disk.syncDirectory(path)
  }

  rename(source: string, target: string): void {
    this.#disk.rename(source, target)
  }

  remove(path: string): void {
    this.#disk.remove(path)
  }

  removeTree(path: string): void {
    this.#disk.removeTree(path)
  }

  makeDirectory(path: string): void {
    this.#disk.makeDirectory(path)
  }

  list(path: string): string[] {
    return this.#disk.list(path)
  }

  stat(path: string): FileStat | undefined {
    return this.#disk.stat(path)
  }

  space(path: string): { readonly freeBytes: number; readonly totalBytes: number } {
    const space = this.#disk.space(path)
    return { freeBytes: this.freeBytes ?? space.freeBytes, totalBytes: space.totalBytes }
  }

  lock(path: string): DirectoryLock {
    return this.#disk.lock(path)
  }

  bootId(): string | undefined {
    return this.#disk.bootId()
  }
}
