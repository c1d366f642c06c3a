// The third door: the disk. Storage reaches files only through these two interfaces, so that the same code runs on the
// real disk, in memory, and on a simulated disk that loses, tears and reorders whatever was not synced.
//
// The rule that shapes them: what touches only the page cache (open, append, rename, list) is synchronous; what waits for
// the medium (sync, a cold read) is a promise. A synchronous append cannot be interleaved, and it is cheaper than a trip
// to the thread pool. Nothing is durable before the matching sync has resolved: of a file's bytes, `File.sync`; of a
// name (created, renamed or removed), `Disk.syncDirectory` of the directory that holds it.
//
// Paths are absolute or relative to the process, with '/' between names. Every failure is a DiskError.

/** An operation on the disk failed. `code` is the system's name for it: ENOSPC, EIO, ENOENT, EEXIST, EACCES, EMFILE… */
export class DiskError extends Error {
  override readonly name = 'DiskError'
  readonly code: string
  readonly path: string

  constructor(code: string, operation: string, path: string, cause?: unknown) {
    super(`${operation} ${path}: ${code}`, { cause })
    this.code = code
    this.path = path
  }
}

export interface File {
  readonly path: string
  /** Bytes in the file now, as far as this process has written or found them. */
  readonly size: number
  /**
   * Writes all buffers one behind the other at the end of the file (at `size`). Loops over short writes. On failure the
   * file may hold a part of them; `size` stays as it was, and the caller truncates back to it before appending again.
   */
  append(buffers: readonly Uint8Array[]): void
  /** Fills the target from position on; resolves with the number of bytes read, fewer only at the end of the file. */
  readAt(target: Uint8Array, position: number): Promise<number>
  /** As readAt, at once. For small reads and for recovery. */
  readAtSync(target: Uint8Array, position: number): number
  /** Resolves when all bytes appended before the call, and the size, are on stable storage. Never retried after a failure. */
  sync(): Promise<void>
  /** Cuts the file off at `size` bytes. Durable only after sync. */
  truncate(size: number): void
  /** Idempotent. */
  close(): void
}

export type OpenMode =
  /** The file must exist; reading only. */
  | 'read'
  /** The file must exist; reading and appending. */
  | 'read-write'
  /** The file must not exist; it is created empty. Fails with EEXIST. */
  | 'create'

export interface FileStat {
  readonly size: number
  readonly isDirectory: boolean
  readonly modifiedMs: number
}

/** Held until release, or until the process that took it is gone. */
export interface DirectoryLock {
  release(): void
}

export interface Disk {
  open(path: string, mode: OpenMode): File
  /** The whole file, which must be small. */
  readFile(path: string): Uint8Array
  /** Creates or replaces the file with these bytes: not atomic and not durable; CheckpointFile builds both upon it. */
  writeFile(path: string, bytes: Uint8Array): void
  /** As File.sync, by name. */
  syncFile(path: string): Promise<void>
  /**
   * Makes the names in this directory durable. A sync during which another one of the same directory fails, fails too: the
   * names that it was to cover may have gone down with that one.
   */
  syncDirectory(path: string): Promise<void>
  /** Atomic; replaces the target. */
  rename(from: string, to: string): void
  /** Removes a file. Not being there is no failure. */
  remove(path: string): void
  /** Removes a directory with all that is in it, or a single file. Not being there is no failure. */
  removeTree(path: string): void
  /** Creates the directory and those above it that are missing. Being there is no failure. */
  makeDirectory(path: string): void
  /** The names in the directory, sorted; without '.' and '..'. */
  list(path: string): string[]
  /** undefined when there is no such file or directory. */
  stat(path: string): FileStat | undefined
  /** Bytes that may still be written, and the size of the file system that holds the path. */
  space(path: string): { readonly freeBytes: number; readonly totalBytes: number }
  /** Takes the lock that excludes every other broker from this directory. @throws DIRECTORY_LOCKED, naming the holder. */
  lock(path: string): DirectoryLock
  /**
   * Changes whenever the kernel has lost its page cache: the same before and after means that everything written is
   * still readable, synced or not. undefined where it cannot be told, which is to be taken as a change.
   */
  bootId(): string | undefined
}
