// What is left of a cut that was not finished. The process that dies in it leaves files that look cut, while what was cut off
// still stands on the medium; once something else was appended in its place, a power loss would bring both together. Owns
// the mark that stands in the partition's directory meanwhile. It need not be durable: whoever has lost it with the kernel
// reads from the medium what there is. It names the files that there were, so that their removal can be made anew after a
// failed sync: a segment, a compacted one that waited for its place, or a snapshot of producers that came back later would
// be believed.

import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { syncMarked, syncNames } from './failed-sync.ts'
import { CUT_FILE, parseLogFileName, parseSwapFile } from './file-names.ts'
import { removeAnew } from './made-anew.ts'
import type { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'

/** Before anything is cut. @throws DiskError, and then nothing may be cut */
export function noteCut({ disk }: StorageContext, directory: string): void {
  const names = new Set([...namesBefore(disk, directory), ...disk.list(directory).filter(isBelieved)])
  disk.writeFile(`${directory}/${CUT_FILE}`, Buffer.from([...names].join('\n')))
}

/** Once the files and their names are durable. */
export function forgetCut({ disk }: StorageContext, directory: string): void {
  try {
    disk.remove(`${directory}/${CUT_FILE}`)
  } catch (error) {
    // The next start finishes what is finished already.
    if (!(error instanceof DiskError)) throw error
  }
}

/** Makes durable what a cut has left of these segments, which are all that it may have cut. @throws DiskError */
export async function finishCut(
  context: StorageContext,
  directory: string,
  segments: readonly Segment[],
): Promise<void> {
  for (const segment of segments) {
    const file = context.files.acquire(segment.file)
    try {
      await syncMarked(context.disk, directory, file)
    } finally {
      context.files.release(segment.file)
    }
  }
  await syncNames(context.disk, directory)
  forgetCut(context, directory)
}

/** What the cut has removed is removed anew; durable with the next sync of the directory. @throws DiskError */
export function removeCutAnew(disk: Disk, directory: string): void {
  const present = new Set(disk.list(directory))
  for (const name of namesBefore(disk, directory)) if (!present.has(name)) removeAnew(disk, `${directory}/${name}`)
}

/** The names that the mark has; none without a mark. @throws DiskError */
export function namesBefore(disk: Disk, directory: string): string[] {
  const path = `${directory}/${CUT_FILE}`
  if (disk.stat(path) === undefined) return []
  return Buffer.from(disk.readFile(path)).toString().split('\n').filter(isBelieved)
}

function isBelieved(name: string): boolean {
  const kind = parseLogFileName(name)?.kind
  return kind === 'log' || kind === 'producers' || parseSwapFile(name) !== undefined
}
