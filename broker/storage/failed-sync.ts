// What is left of a failed sync for the next process. After one, the kernel may take pages for written that are not, and a
// later sync says yes without writing them; it forgets this only when it is started anew itself. Owns the mark in the
// partition's directory that says so, and the remedy: a file written anew, which is synced like any other.

import { TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { SYNC_FAILED_FILE } from './file-names.ts'

const CHUNK_BYTES = 1024 * 1024

/** The mark need not be durable: with the kernel that would lose it, what it speaks of is gone too. */
export function noteFailedSync(disk: Disk, directory: string): void {
  try {
    disk.writeFile(`${directory}/${SYNC_FAILED_FILE}`, new Uint8Array(0))
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

/** Puts a new file with the same bytes, durable, in the place of this one. @throws DiskError */
export async function rewriteFile(disk: Disk, path: string): Promise<void> {
  const temporary = path + TEMPORARY_SUFFIX
  disk.remove(temporary)
  const source = disk.open(path, 'read')
  try {
    const target = disk.open(temporary, 'create')
    try {
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(1, source.size)))
      while (target.size < source.size) {
        const count = await source.readAt(chunk, target.size)
        if (count === 0) break
        target.append([chunk.subarray(0, count)])
      }
      await target.sync()
    } finally {
      target.close()
    }
  } finally {
    source.close()
  }
  disk.rename(temporary, path)
}
