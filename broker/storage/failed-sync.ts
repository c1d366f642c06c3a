// What a failed sync is, and what is left of it for the next process. After one, the kernel may take for written what is
// not, and a later sync says yes without writing it: bytes of a file, and just as well names of a directory. It forgets
// this only when it is started anew itself. Owns the mark in the directory that says so; made-anew.ts has the remedy.
//
// A failure to write or to rename is none of these: it is known to have changed nothing, or can be taken back.

import type { Disk, File } from './disk.ts'
import { DiskError } from './disk.ts'
import { SYNC_FAILED_FILE } from './file-names.ts'

/** Failures before anything was synced: the names wait for the next sync as before. */
const NOT_BEGUN: readonly string[] = ['EMFILE', 'ENFILE', 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']

/** The names of the directory `path` may or may not be durable, those that were made a while ago too; no later sync tells. */
export class DirectorySyncError extends DiskError {}

/** Makes the names in the directory durable; a failure leaves the mark in it. @throws DirectorySyncError, DiskError */
export async function syncNames(disk: Disk, directory: string): Promise<void> {
  try {
    await disk.syncDirectory(directory)
  } catch (error) {
    if (!(error instanceof DiskError) || NOT_BEGUN.includes(error.code)) throw error
    noteFailedSync(disk, directory)
    throw new DirectorySyncError(error.code, 'sync directory', directory, error)
  }
}

/** Makes the bytes of a file in the directory durable; a failure leaves the mark. @throws DiskError */
export async function syncMarked(disk: Disk, directory: string, file: File): Promise<void> {
  try {
    await file.sync()
  } catch (error) {
    noteFailedSync(disk, directory)
    throw error
  }
}

/** The mark need not be durable: with the kernel that would lose it, what it speaks of is gone too. `text` goes into it. */
export function noteFailedSync(disk: Disk, directory: string, text = ''): void {
  try {
    disk.writeFile(`${directory}/${SYNC_FAILED_FILE}`, Buffer.from(text))
  } catch (error) {
    // A disk that takes no file now is one that a person must look at before anything is started on it again.
    if (!(error instanceof DiskError)) throw error
  }
}

export function hasFailedSync(disk: Disk, directory: string): boolean {
  return disk.stat(`${directory}/${SYNC_FAILED_FILE}`) !== undefined
}

export function forgetFailedSync(disk: Disk, directory: string): void {
  disk.remove(`${directory}/${SYNC_FAILED_FILE}`)
}
