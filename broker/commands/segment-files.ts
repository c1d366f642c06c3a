// The segment files below a path, found without opening a data directory: nothing is created, locked or repaired. Knows
// the layout of the data directory (broker/storage/FORMAT.md), and by it the names of the topics.

import type { Disk } from '../storage/disk.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { readCheckpoint } from '../storage/checkpoint-file.ts'
import { parseLogFileName } from '../storage/file-names.ts'

export interface SegmentFile {
  readonly path: string
  /** Topic and partition, or the name of the directory where the topic is not known. */
  readonly log: string
  readonly baseOffset: number
  readonly bytes: number
}

const LOG_DIRECTORY_NAME = /^([0-9a-f-]{36})-(\d+)$/

/** All segments, in the order of their logs and offsets. @throws INVALID_ARGUMENT when there are none */
export function findSegments(disk: Disk, path: string): readonly SegmentFile[] {
  const trimmed = path.replace(/(.)\/+$/, '$1')
  const stat = disk.stat(trimmed)
  if (stat === undefined) throw new TidemarkError('INVALID_ARGUMENT', `${path}: there is no such file or directory`)
  const segments = stat.isDirectory ? inDirectory(disk, trimmed) : segmentAt(disk, trimmed)
  if (segments.length === 0) {
    throw new TidemarkError('INVALID_ARGUMENT', `${path}: there are no segments (*.log, or logs/*/*.log) in it`)
  }
  return segments
}

function inDirectory(disk: Disk, path: string): readonly SegmentFile[] {
  const names = disk.list(path)
  const isDataDirectory = names.includes('logs')
  const logs = isDataDirectory ? `${path}/logs` : path
  const own = isDataDirectory ? [] : names.flatMap((name) => segmentAt(disk, `${path}/${name}`))
  if (own.length > 0) return own
  return disk
    .list(logs)
    .filter((name) => disk.stat(`${logs}/${name}`)?.isDirectory === true)
    .flatMap((name) => disk.list(`${logs}/${name}`).flatMap((file) => segmentAt(disk, `${logs}/${name}/${file}`)))
}

function segmentAt(disk: Disk, path: string): readonly SegmentFile[] {
  const parts = path.split('/')
  const parsed = parseLogFileName(parts.at(-1) ?? '')
  if (parsed?.kind !== 'log') return []
  const directory = parts.at(-2) ?? ''
  const dataDirectory = parts.slice(0, -3).join('/')
  return [
    {
      path,
      log: logName(disk, dataDirectory === '' ? '.' : dataDirectory, directory),
      baseOffset: parsed.offset,
      bytes: disk.stat(path)?.size ?? 0,
    },
  ]
}

/** `orders-0` where the definition of the topic can be read. */
function logName(disk: Disk, dataDirectory: string, directory: string): string {
  const match = LOG_DIRECTORY_NAME.exec(directory)
  const id = match?.[1] ?? ''
  const path = `${dataDirectory}/topics/${id}`
  if (match === null || disk.stat(path) === undefined) return directory
  try {
    const definition = readCheckpoint(disk, path)
    if (typeof definition !== 'object' || definition === null || !('name' in definition)) return directory
    return `${String(definition.name)}-${match[2] ?? ''}`
  } catch (error) {
    // A damaged definition is no reason not to look at the log.
    if (error instanceof TidemarkError) return directory
    throw error
  }
}
