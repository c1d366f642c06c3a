// Whether the data directory can be used at all, and what is to be done before anything in it is read: its own name is made
// durable, and what a failed sync may have left to the kernel alone is made anew. Owns the words for a directory that cannot
// be used; knows nothing of what is in it.

import { TidemarkError } from '../../shared/errors.ts'
import { parentOf, TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { hasFailedSync, noteFailedSync } from './failed-sync.ts'
import { SYNC_FAILED_FILE } from './file-names.ts'
import { makeFilesAnew } from './made-anew.ts'

/** Makes the name of a directory without data durable, and those above it, whoever has made them. */
export async function makeNameDurable(disk: Disk, path: string): Promise<void> {
  const mark = `${path}/${SYNC_FAILED_FILE}`
  if (hasFailedSync(disk, path) && Buffer.from(disk.readFile(mark)).toString() === (disk.bootId() ?? '')) {
    const text = `${path} cannot be used as the data directory: a sync above it has failed, and its name may be lost with the next power failure`
    const hint = 'remove it, with what was made above it, and start again; or restart the machine'
    throw new TidemarkError('DIRECTORY_NOT_USABLE', `${text}; ${hint}`)
  }
  disk.remove(mark)
  try {
    await syncAncestors(disk, path)
  } catch (error) {
    noteFailedSync(disk, path, disk.bootId())
    throw error
  }
}

/** What a failed sync of a life before may have left to the kernel alone. */
export async function makeAnew(disk: Disk, path: string): Promise<void> {
  for (const name of [`${path}/logs`, `${path}/topics`]) {
    const temporary = name + TEMPORARY_SUFFIX
    if (disk.stat(temporary) !== undefined && disk.stat(name) === undefined) disk.rename(temporary, name)
    // Once a start was noted, their names are durable.
    if (disk.stat(name) === undefined || !hasFailedSync(disk, path) || disk.stat(`${path}/starts`) !== undefined)
      continue
    disk.rename(name, temporary)
    disk.rename(temporary, name)
  }
  await makeFilesAnew(disk, path, ['lock'])
  await makeFilesAnew(disk, `${path}/topics`)
}

async function syncAncestors(disk: Disk, path: string): Promise<void> {
  for (let directory = path; parentOf(directory) !== directory; directory = parentOf(directory)) {
    try {
      await disk.syncDirectory(parentOf(directory))
    } catch (error) {
      // A directory that may not even be looked into is older than this one.
      if (!(error instanceof DiskError) || (error.code !== 'EACCES' && error.code !== 'EPERM')) throw error
    }
  }
}

export async function describingFailures<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
    const hint = HINTS[error.code] ?? ''
    const text = `${path} cannot be used as the data directory: ${error.message}${hint}`
    throw new TidemarkError('DIRECTORY_NOT_USABLE', text, { cause: error })
  }
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: ' (the user of this process may not; change the owner or the mode)',
  EPERM: ' (the user of this process may not; change the owner or the mode)',
  EROFS: ' (the file system is mounted for reading only)',
  ENOSPC: ' (there is no space left on the file system)',
  EDQUOT: ' (the quota of the user is used up)',
  ENOTDIR: ' (something on the way to it is a file)',
  EEXIST: ' (there is a file of that name)',
  EIO: ' (the device reports an error; look at the log of the system)',
}
