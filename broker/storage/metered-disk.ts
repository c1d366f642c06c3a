// A disk that measures another: how long appends and syncs take, whoever asks for them. Changes nothing of what the other
// does.

import type { Clock } from '../../shared/time.ts'
import type { Histogram } from '../metrics/meter.ts'
import type { DirectoryLock, Disk, File, FileStat, OpenMode } from './disk.ts'

export interface DiskMetrics {
  /** Seconds of one append, as far as the page cache. */
  readonly append: Histogram
  /** Seconds of one sync to stable storage. */
  readonly sync: Histogram
}

export class MeteredDisk implements Disk {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #metrics: DiskMetrics

  constructor(disk: Disk, clock: Clock, metrics: DiskMetrics) {
    this.#disk = disk
    this.#clock = clock
    this.#metrics = metrics
  }

  open(path: string, mode: OpenMode): File {
    const file = this.#disk.open(path, mode)
    return mode === 'read' ? file : new MeteredFile(file, this.#clock, this.#metrics)
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

  rename(from: string, to: string): void {
    this.#disk.rename(from, to)
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
    return this.#disk.space(path)
  }

  lock(path: string): DirectoryLock {
    return this.#disk.lock(path)
  }

  bootId(): string | undefined {
    return this.#disk.bootId()
  }
}

class MeteredFile implements File {
  readonly path: string
  readonly #file: File
  readonly #clock: Clock
  readonly #metrics: DiskMetrics

  constructor(file: File, clock: Clock, metrics: DiskMetrics) {
    this.path = file.path
    this.#file = file
    this.#clock = clock
    this.#metrics = metrics
  }

  get size(): number {
    return this.#file.size
  }

  append(buffers: readonly Uint8Array[]): void {
    const startedMs = this.#clock.monotonic()
    this.#file.append(buffers)
    this.#metrics.append.observe((this.#clock.monotonic() - startedMs) / 1000)
  }

  readAt(target: Uint8Array, position: number): Promise<number> {
    return this.#file.readAt(target, position)
  }

  readAtSync(target: Uint8Array, position: number): number {
    return this.#file.readAtSync(target, position)
  }

  async sync(): Promise<void> {
    const startedMs = this.#clock.monotonic()
    await this.#file.sync()
    this.#metrics.sync.observe((this.#clock.monotonic() - startedMs) / 1000)
  }

  truncate(size: number): void {
    this.#file.truncate(size)
  }

  close(): void {
    this.#file.close()
  }
}
