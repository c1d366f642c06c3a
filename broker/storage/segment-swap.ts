// Puts a compacted segment in the place of those that it was made from (FORMAT.md, Compaction), so that a crash at any
// moment leaves either them or it, and the next start finishes what was begun. Owns the files, their names and the order
// of the syncs; knows nothing of what is in them.
//
// Invariant: from the moment on that the swap file's name is durable until the new segment has its own, the swap file is
// there; before, all old segments are.

import type { Offset } from '../../shared/ids.ts'
import { hasFailedSync, syncNames } from './failed-sync.ts'
import { logFile, offsetIndexFile, parseLogFileName, parseSwapFile, swapFile, timeIndexFile } from './file-names.ts'
import type { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'
import { forgetCut, noteCut, removeCutAnew } from './unfinished-cut.ts'

/**
 * The cleaned file, which is synced, stands for the old segments from now on, durably. When it throws it may do so after the
 * next power failure; what both hold is the same to whoever reads it. @throws DiskError
 */
export async function beginSwap(context: StorageContext, cleaned: Segment, endOffset: Offset): Promise<void> {
  const { disk } = context
  const { directory, baseOffset, file } = cleaned
  const swap = `${directory}/${swapFile(baseOffset, endOffset)}`
  disk.rename(file.path, swap)
  file.path = swap
  await syncNames(disk, directory)
}

/** Takes the old files away and gives the new one its name, durably. Nobody is given the old ones any more. @throws DiskError */
export async function finishSwap(context: StorageContext, old: readonly Segment[], segment: Segment): Promise<void> {
  const { disk, files } = context
  const { directory, baseOffset, file } = segment
  const path = `${directory}/${logFile(baseOffset)}`
  noteCut(context, directory)
  for (const each of old) {
    files.retire(each.file)
    each.removeIndexFiles(disk)
    // The first one's name goes when it is taken.
    if (each.file.path !== path && each.file.path !== file.path) disk.remove(each.file.path)
  }
  await syncNames(disk, directory)
  disk.rename(file.path, path)
  file.path = path
  await syncNames(disk, directory)
  forgetCut(context, directory)
}

/** What a crash has left of swaps is finished. @throws DiskError */
export async function finishSwaps(context: StorageContext, directory: string): Promise<void> {
  const { disk } = context
  if (disk.stat(directory) === undefined) return
  const names = disk.list(directory)
  const found = names.flatMap((name) => {
    const range = parseSwapFile(name)
    return range === undefined ? [] : [{ name, ...range }]
  })
  if (found.length === 0) return
  // One that could not be finished may have been compacted once more: the larger range is the newer one.
  found.sort((one, other) => one.baseOffset - other.baseOffset || other.endOffset - one.endOffset)
  const swaps: typeof found = []
  for (const swap of found) {
    const last = swaps[swaps.length - 1]
    if (last !== undefined && swap.endOffset <= last.endOffset) disk.remove(`${directory}/${swap.name}`)
    else swaps.push(swap)
  }
  if (hasFailedSync(disk, directory)) removeCutAnew(disk, directory)
  else noteCut(context, directory)
  for (const { baseOffset, endOffset } of swaps) {
    for (const name of names) {
      const parsed = parseLogFileName(name)
      if (parsed?.kind === 'log' && parsed.offset > baseOffset && parsed.offset < endOffset) {
        disk.remove(`${directory}/${name}`)
        removeIndexes(context, directory, parsed.offset)
      }
    }
    removeIndexes(context, directory, baseOffset)
  }
  await syncNames(disk, directory)
  for (const { name, baseOffset } of swaps) disk.rename(`${directory}/${name}`, `${directory}/${logFile(baseOffset)}`)
  await syncNames(disk, directory)
}

function removeIndexes({ disk }: StorageContext, directory: string, baseOffset: Offset): void {
  disk.remove(`${directory}/${offsetIndexFile(baseOffset)}`)
  disk.remove(`${directory}/${timeIndexFile(baseOffset)}`)
}
