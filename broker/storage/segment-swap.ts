// Puts a compacted segment in the place of those that it was made from (FORMAT.md, Compaction), so that a crash at any
// moment leaves either them or it, and the next start finishes what was begun. Owns the files, their names and the order
// of the syncs; knows nothing of what is in them.
//
// Invariant: from the moment on that the swap file's name is durable until the new segment has its own, the swap file is
// there; before, all old segments are.

import { must } from '../../shared/assert.ts'
import type { Offset } from '../../shared/ids.ts'
import { hasFailedSync, syncNames } from './failed-sync.ts'
import { logFile, parseLogFileName, parseSwapFile, swapFile } from './file-names.ts'
import { rewriteFile } from './made-anew.ts'
import type { Segment } from './segment.ts'
import type { StorageContext } from './storage-context.ts'
import { forgetCut, namesBefore, noteCut, removeCutAnew } from './unfinished-cut.ts'

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
  for (const each of old) files.retire(each.file)
  noteCut(context, directory)
  const range = must(parseSwapFile(file.path.slice(directory.length + 1)), 'a swap that was begun has its name')
  clearRange(context, directory, range)
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
  if (hasFailedSync(disk, directory)) await makeSwapsAnew(context, directory)
  const found = disk.list(directory).flatMap((name) => {
    const range = parseSwapFile(name)
    return range === undefined ? [] : [{ name, ...range }]
  })
  if (found.length === 0) return
  // One that could not be finished may have been compacted once more: the larger range is the newer one.
  found.sort((one, other) => one.baseOffset - other.baseOffset || other.endOffset - one.endOffset)
  const swaps: typeof found = []
  for (const swap of found) {
    const last = swaps[swaps.length - 1]
    if (last === undefined || swap.endOffset > last.endOffset) swaps.push(swap)
  }
  noteCut(context, directory)
  for (const swap of swaps) clearRange(context, directory, swap)
  await syncNames(disk, directory)
  for (const { name, baseOffset } of swaps) disk.rename(`${directory}/${name}`, `${directory}/${logFile(baseOffset)}`)
  await syncNames(disk, directory)
}

/**
 * After a failed sync a segment may have its place in the memory of the kernel alone, and on the medium the swap file still
 * waits for it, beside what has been removed. @throws DiskError
 */
async function makeSwapsAnew({ disk }: StorageContext, directory: string): Promise<void> {
  for (const name of namesBefore(disk, directory)) {
    const swap = parseSwapFile(name)
    if (swap === undefined || disk.stat(`${directory}/${name}`) !== undefined) continue
    const path = `${directory}/${logFile(swap.baseOffset)}`
    if (disk.stat(path) !== undefined) await rewriteFile(disk, path)
  }
  await syncNames(disk, directory)
  // Only now: until then the swap file is what a power loss leaves of the range.
  removeCutAnew(disk, directory)
  await syncNames(disk, directory)
}

interface SwapRange {
  readonly baseOffset: Offset
  readonly endOffset: Offset
}

/**
 * Removes whatever speaks of offsets in the range, be it left of an earlier swap that could not be finished; but for the first
 * segment, whose name goes when it is taken, and the swap file itself.
 */
function clearRange({ disk }: StorageContext, directory: string, { baseOffset, endOffset }: SwapRange): void {
  const isInside = (offset: Offset): boolean => offset >= baseOffset && offset < endOffset
  for (const name of disk.list(directory)) {
    const parsed = parseLogFileName(name)
    const swap = parseSwapFile(name)
    const isOther = swap !== undefined && (swap.baseOffset !== baseOffset || swap.endOffset !== endOffset)
    const isFirst = parsed?.kind === 'log' && parsed.offset === baseOffset
    const isOld = parsed !== undefined && parsed.kind !== 'producers' && !isFirst && isInside(parsed.offset)
    if (isOld || (isOther && isInside(swap.baseOffset))) disk.remove(`${directory}/${name}`)
  }
}
