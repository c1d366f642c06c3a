// What is left of a cut that was not finished. The process that dies in it leaves files that look cut, while what was cut off
// still stands on the medium; once something else was appended in its place, a power loss would bring both together. Owns
// the mark that stands in the partition's directory meanwhile. It need not be durable: whoever has lost it with the kernel
// reads from the medium what there is.

import { DiskError } from './disk.ts'
import { CUT_FILE } from './file-names.ts'
import type { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'

/** Before anything is cut. @throws DiskError, and then nothing may be cut */
export function noteCut({ disk }: StorageContext, directory: string): void {
  disk.writeFile(`${directory}/${CUT_FILE}`, new Uint8Array(0))
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
      await file.sync()
    } finally {
      context.files.release(segment.file)
    }
  }
  await context.disk.syncDirectory(directory)
  forgetCut(context, directory)
}
