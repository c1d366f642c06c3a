// The remedy for a failed sync whose kernel lives on (failed-sync.ts): what it may hold for written and has not written is
// made a second time, and then synced like anything new. Owns how bytes, names and the absence of names are made anew.
//
// Invariant: at every moment, the old or the new file stands under its name.

import { TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { forgetFailedSync, hasFailedSync, syncNames } from './failed-sync.ts'
import { SYNC_FAILED_FILE } from './file-names.ts'

const CHUNK_BYTES = 1024 * 1024

/** Puts a new file with the same bytes in the place of this one; its name is durable with the next sync. @throws DiskError */
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

/** Removes a name once more that is gone already: the removal is durable with the next sync. @throws DiskError */
export function removeAnew(disk: Disk, path: string): void {
  disk.writeFile(path, new Uint8Array(0))
  disk.remove(path)
}

/** If a sync of this directory has failed: writes all small files in it anew, durably, save `except`. @throws DiskError */
export async function makeFilesAnew(disk: Disk, directory: string, except: readonly string[] = []): Promise<void> {
  if (!hasFailedSync(disk, directory)) return
  for (const name of disk.list(directory)) {
    const path = `${directory}/${name}`
    const isKept = name === SYNC_FAILED_FILE || name.endsWith(TEMPORARY_SUFFIX) || except.includes(name)
    if (!isKept && disk.stat(path)?.isDirectory === false) await rewriteFile(disk, path)
  }
  await syncNames(disk, directory)
  forgetFailedSync(disk, directory)
}
