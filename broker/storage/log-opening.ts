// Makes the log of a new partition, and opens one that was closed in order. Owns what a log is made of in both cases; any
// other one must be recovered first (recovery.ts).

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import { KeptVoters, votersOfLog } from './kept-voters.ts'
import type { LogConfig } from './log-config.ts'
import type { LogCheckpoint } from './log-description.ts'
import { failureOf } from './log-failure.ts'
import { findFiles, startAfterStop } from './log-files.ts'
import { PartitionLog } from './partition-log.ts'
import { Quarantine } from './quarantine.ts'
import { Segment } from './segment.ts'
import { Segments } from './segments.ts'
import type { StorageContext } from './storage-context.ts'

/**
 * Makes the directory of a new partition and its first segment. The name of the directory itself is made durable by the
 * caller, what is in it by the first sync. @throws DISK_FULL, STORAGE_ERROR
 */
export function createLog(
  context: StorageContext,
  directory: string,
  config: LogConfig,
  startOffset = 0 as Offset,
): PartitionLog {
  try {
    context.disk.makeDirectory(directory)
    const segment = Segment.create(context.disk, context.files, directory, startOffset)
    const place = { offset: startOffset, segmentBase: startOffset, position: 0 }
    return new PartitionLog({
      context,
      directory,
      config,
      segments: new Segments([segment]),
      quarantine: new Quarantine(),
      logStartOffset: startOffset,
      logEndOffset: startOffset,
      recoveryPoint: place,
      isDirectorySynced: false,
      isClean: false,
      voters: new KeptVoters(context, directory, [], true),
    })
  } catch (error) {
    throw failureOf(error, `the partition ${directory} cannot be created`)
  }
}

/**
 * Opens a log that was closed clean, from names and sizes alone. @throws FILE_CORRUPT when they are not those that the
 * clean stop has recorded: then it must be recovered.
 */
export function openLog(
  context: StorageContext,
  directory: string,
  config: LogConfig,
  clean: LogCheckpoint,
): PartitionLog {
  const found = findFiles(context, directory)
  const { segmentBase, position } = clean.recoveryPoint
  const active = found.segments[found.segments.length - 1]
  const isAsLeft = active?.baseOffset === segmentBase && active.size === position
  const logStartOffset = startAfterStop(found, clean.logStartOffset)
  const { quarantine, voters } = found
  const isSound =
    !found.hasUnfinishedSwap && quarantine !== undefined && voters !== undefined && logStartOffset !== undefined
  if (active === undefined || !isAsLeft || !isSound) {
    throw new TidemarkError('FILE_CORRUPT', `${directory} is not as the last clean stop has left it`)
  }
  return new PartitionLog({
    context,
    directory,
    config,
    segments: new Segments(found.segments),
    quarantine,
    logStartOffset,
    logEndOffset: clean.logEndOffset,
    recoveryPoint: clean.recoveryPoint,
    isDirectorySynced: true,
    isClean: true,
    voters: new KeptVoters(context, directory, votersOfLog(voters, logStartOffset), voters.restart === undefined),
  })
}
