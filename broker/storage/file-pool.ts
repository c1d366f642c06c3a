// The open segment files of all partitions. Owns the budget of file descriptors: a file is opened at its first use and
// the coldest is closed when there are too many, never one in use. Knows nothing of what the files hold.
//
// Invariant: an entry's file is open whenever it has users. Files with unsynced bytes are closed only when nothing else
// is left to close: a kernel that failed to write a page back tells it most reliably to a descriptor opened before.

import type { Disk, File } from './disk.ts'
import { DiskError } from './disk.ts'
import type { Linked } from './least-recently-used.ts'
import { RecencyList } from './least-recently-used.ts'

const OPEN_FILES_MAX_DEFAULT = 5_000
/** How many cold files are looked at for a clean one before a file with unsynced bytes is closed. */
const CLEAN_SEARCH_MAX = 64
/** Files closed when the system says that it has no descriptor left. */
const CLOSED_ON_SHORTAGE = 16

/** One file that may or may not be open at the moment. */
export class PooledFile implements Linked<PooledFile> {
  path: string
  isWritable: boolean
  file: File | undefined
  /** Was open for reading when the file became writable; whoever had it then still does. */
  formerFile: File | undefined
  users = 0
  /** Set by the owner: bytes have been appended that no sync has covered. */
  hasUnsyncedBytes = false
  isDropped = false
  /** The log is closed, or the file gone: whoever still asks for it is told so. */
  isRetired = false
  newer: PooledFile | undefined
  older: PooledFile | undefined
  isLinked = false

  constructor(path: string, isWritable: boolean) {
    this.path = path
    this.isWritable = isWritable
  }
}

export class FilePool {
  readonly #disk: Disk
  readonly #openFilesMax: number
  readonly #open = new RecencyList<PooledFile>()

  constructor(disk: Disk, options: { readonly openFilesMax?: number } = {}) {
    this.#disk = disk
    this.#openFilesMax = options.openFilesMax ?? OPEN_FILES_MAX_DEFAULT
  }

  get openFiles(): number {
    return this.#open.count
  }

  /** Opens the file unless it is open. Every acquire is followed by one release. @throws DiskError */
  acquire(entry: PooledFile): File {
    if (entry.isRetired) throw new DiskError('ENOENT', 'open', entry.path)
    const file = entry.file ?? this.#openFile(entry)
    this.#open.touch(entry)
    entry.users++
    return file
  }

  release(entry: PooledFile): void {
    entry.users--
    if (entry.users > 0) return
    entry.formerFile?.close()
    entry.formerFile = undefined
    // When more files were in use at once than are allowed, the first that is free makes good for it.
    if (entry.isDropped || this.#open.count > this.#openFilesMax) this.#close(entry)
  }

  /** Takes in a file that the caller has just created. */
  adopt(entry: PooledFile, file: File): void {
    this.#makeRoom()
    entry.file = file
    this.#open.touch(entry)
  }

  /** Whoever acquires the file from now on may write, although others may still read what was opened for reading only. */
  makeWritable(entry: PooledFile): void {
    if (entry.isWritable) return
    if (entry.users > 0) {
      const opened = this.#disk.open(entry.path, 'read-write')
      entry.formerFile = entry.file
      entry.file = opened
    } else {
      this.#close(entry)
    }
    entry.isWritable = true
  }

  /** Closes the file, as soon as nobody uses it. It can be acquired again. */
  drop(entry: PooledFile): void {
    if (entry.users === 0) this.#close(entry)
    else entry.isDropped = true
  }

  /** Closes the file, as soon as nobody uses it, for good: a read that comes late must not keep deleted bytes alive. */
  retire(entry: PooledFile): void {
    entry.isRetired = true
    this.drop(entry)
  }

  /** Closes whatever nobody uses. */
  closeIdle(): void {
    let entry = this.#open.oldest
    while (entry !== undefined) {
      const next: PooledFile | undefined = entry.newer
      if (entry.users === 0) this.#close(entry)
      entry = next
    }
  }

  #openFile(entry: PooledFile): File {
    this.#makeRoom()
    entry.isDropped = false
    const mode = entry.isWritable ? 'read-write' : 'read'
    try {
      entry.file = this.#disk.open(entry.path, mode)
    } catch (error) {
      if (!isShortage(error)) throw error
      for (let closed = 0; closed < CLOSED_ON_SHORTAGE; closed++) this.#closeColdest()
      entry.file = this.#disk.open(entry.path, mode)
    }
    return entry.file
  }

  #makeRoom(): void {
    while (this.#open.count >= this.#openFilesMax) {
      if (!this.#closeColdest()) return
    }
  }

  #closeColdest(): boolean {
    let unsynced: PooledFile | undefined
    let seen = 0
    for (let entry = this.#open.oldest; entry !== undefined; entry = entry.newer) {
      if (entry.users === 0) {
        if (!entry.hasUnsyncedBytes) {
          this.#close(entry)
          return true
        }
        unsynced ??= entry
      }
      if (++seen > CLEAN_SEARCH_MAX && unsynced !== undefined) break
    }
    if (unsynced === undefined) return false
    this.#close(unsynced)
    return true
  }

  #close(entry: PooledFile): void {
    entry.isDropped = false
    this.#open.remove(entry)
    const file = entry.file
    entry.file = undefined
    file?.close()
  }
}

function isShortage(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'EMFILE' || error.code === 'ENFILE')
}
