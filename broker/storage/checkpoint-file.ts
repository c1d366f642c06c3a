// A small file that is replaced whole: it holds the value from before or the new one, whatever happens in between. Owns
// the frame around the payload (FORMAT.md) and the order of the steps; knows nothing of what the values mean.
//
// Two writes of the same path must not overlap: both go through the same temporary name. Whoever owns the path makes one
// wait for the other.

import { assert } from '../../shared/assert.ts'
import { crc32c } from '../../shared/crc32c.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { syncNames } from './failed-sync.ts'

/** 'TMCP' */
const MAGIC = 0x544d4350
const VERSION = 1
const HEADER_BYTES = 16
/** Far above what any checkpoint needs; a length beyond it is damage. */
const PAYLOAD_BYTES_MAX = 256 * 1024 * 1024

export const TEMPORARY_SUFFIX = '.tmp'

/**
 * Replaces the value at path; durable when it resolves. When it rejects (with a DiskError), the file holds the old value or
 * the new one: the old one unless it was a DirectorySyncError, which concerns all names of the directory.
 */
export async function writeCheckpoint(disk: Disk, path: string, value: unknown): Promise<void> {
  await writeSynced(disk, path, value)
  await syncNames(disk, parentOf(path))
}

/** As writeCheckpoint, save that the name is durable only when the directory has been synced. */
export async function writeSynced(disk: Disk, path: string, value: unknown): Promise<void> {
  const temporary = path + TEMPORARY_SUFFIX
  writeTemporary(disk, temporary, value)
  await disk.syncFile(temporary)
  disk.rename(temporary, path)
}

/** As writeCheckpoint, for a cache: at once and without syncs. After a power loss the file may be old, missing or damaged. */
export function writeCheckpointCached(disk: Disk, path: string, value: unknown): void {
  const temporary = path + TEMPORARY_SUFFIX
  writeTemporary(disk, temporary, value)
  disk.rename(temporary, path)
}

/**
 * The value at path; undefined if there is no such file.
 * @throws FILE_CORRUPT if it is damaged, DIRECTORY_FORMAT_UNKNOWN if a newer version wrote it; both name the path.
 */
export function readCheckpoint(disk: Disk, path: string): unknown {
  let bytes: Uint8Array
  try {
    bytes = disk.readFile(path)
  } catch (error) {
    if (error instanceof DiskError && error.code === 'ENOENT') return undefined
    throw error
  }
  return decode(bytes, path)
}

/** A field of a value that was read; undefined when there is none. */
export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

/** The directory that holds the path. */
export function parentOf(path: string): string {
  const end = path.lastIndexOf('/')
  if (end === -1) return '.'
  return end === 0 ? '/' : path.slice(0, end)
}

function writeTemporary(disk: Disk, temporary: string, value: unknown): void {
  const bytes = encode(value)
  try {
    disk.writeFile(temporary, bytes)
  } catch (error) {
    // On a full disk the half that was written takes space that somebody needs.
    try {
      disk.remove(temporary)
    } catch (removeError) {
      if (!(removeError instanceof DiskError)) throw removeError
    }
    throw error
  }
}

function encode(value: unknown): Uint8Array {
  const json: string | undefined = JSON.stringify(value)
  assert(json !== undefined, 'a checkpoint holds what JSON can say')
  const payload = Buffer.from(json)
  assert(payload.length <= PAYLOAD_BYTES_MAX, 'a checkpoint is a small file')
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length)
  bytes.writeUInt32BE(MAGIC, 0)
  bytes.writeUInt16BE(VERSION, 4)
  bytes.writeUInt16BE(0, 6)
  bytes.writeUInt32BE(payload.length, 8)
  bytes.set(payload, HEADER_BYTES)
  bytes.writeUInt32BE(checksumOf(bytes), 12)
  return bytes
}

function decode(content: Uint8Array, path: string): unknown {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  if (bytes.length < HEADER_BYTES) throw corrupt(path, `${bytes.length} bytes are fewer than its header has`)
  if (bytes.readUInt32BE(0) !== MAGIC) throw corrupt(path, 'it does not begin as a checkpoint does')
  const length = bytes.readUInt32BE(8)
  if (length !== bytes.length - HEADER_BYTES) {
    throw corrupt(path, `it holds ${bytes.length - HEADER_BYTES} bytes behind the header, which says ${length}`)
  }
  if (bytes.readUInt32BE(12) !== checksumOf(bytes)) throw corrupt(path, 'its checksum is wrong')
  // Asked only now: the frame is the same in all versions, and a flipped bit in the number is damage, not a newer version.
  const version = bytes.readUInt16BE(4)
  if (version > VERSION) {
    throw new TidemarkError(
      'DIRECTORY_FORMAT_UNKNOWN',
      `${path} was written in format ${version}; this version reads up to format ${VERSION}`,
    )
  }
  try {
    return JSON.parse(bytes.toString('utf8', HEADER_BYTES))
  } catch (error) {
    if (error instanceof SyntaxError) throw corrupt(path, 'its payload is not JSON', error)
    throw error
  }
}

/** Over everything but the magic number and the checksum itself. */
function checksumOf(bytes: Uint8Array): number {
  return crc32c(bytes.subarray(HEADER_BYTES), crc32c(bytes.subarray(4, 12)))
}

function corrupt(path: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('FILE_CORRUPT', `${path} is damaged: ${what}`, { cause })
}
