// Whose data directory this is: an id of its own, the cluster and the broker that write to it. Owns the refusal to touch a
// directory that is somebody else's, or of a newer format; it is asked before anything in the directory is changed.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, TimestampMs } from '../../shared/ids.ts'
import { brokerId, timestampMs } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock } from '../../shared/time.ts'
import { readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'

/** The format of the whole directory; grows when an older version could not read it any more. */
const FORMAT_VERSION = 1

export interface DirectoryIdentity {
  readonly formatVersion: number
  readonly directoryId: string
  /** Those that it had before; see renewDirectoryId. */
  readonly formerIds?: readonly string[]
  readonly cluster: string
  readonly brokerId: BrokerId
  readonly createdAt: TimestampMs
}

export interface DirectoryOwner {
  readonly cluster: string
  readonly brokerId: BrokerId
}

/** Only what was written under the last one may still be there. */
const FORMER_IDS_MAX = 16

/** Names that prove that a broker has written to the directory. */
const CONTENTS = ['logs', 'topics', 'recovery-points', 'clean-shutdown'] as const

/**
 * Reads the identity, or gives one to a directory that has no data yet.
 * @throws DIRECTORY_NOT_USABLE if it belongs to another cluster or broker, or has data and no identity;
 * DIRECTORY_FORMAT_UNKNOWN if a newer version wrote it; FILE_CORRUPT
 */
export async function claimDirectory(
  disk: Disk,
  directory: string,
  owner: DirectoryOwner,
  sources: { readonly clock: Clock; readonly random: Random },
): Promise<DirectoryIdentity> {
  const path = `${directory}/identity`
  const found = readCheckpoint(disk, path)
  if (found !== undefined) return checkOwner(decode(found, path), directory, owner)
  const contents = CONTENTS.filter((name) => disk.stat(`${directory}/${name}`) !== undefined)
  if (contents.length > 0) {
    throw notUsable(
      `${directory} holds ${contents.join(', ')} but no identity; put the file back, or start on an empty directory`,
    )
  }
  const identity: DirectoryIdentity = {
    formatVersion: FORMAT_VERSION,
    directoryId: sources.random.uuid(),
    cluster: owner.cluster,
    brokerId: owner.brokerId,
    createdAt: sources.clock.now(),
  }
  await writeCheckpoint(disk, path, identity)
  return identity
}

/**
 * Gives another id to a directory that is older than what others remember of it, as a disk is that was put back to what it
 * was: its replicas may have promised, and acknowledged, what they do not know any more, and nobody counts on them under the
 * new id. Durable when it resolves. @throws DiskError
 */
export async function renewDirectoryId(
  disk: Disk,
  directory: string,
  identity: DirectoryIdentity,
  random: Random,
): Promise<DirectoryIdentity> {
  const formerIds = [...(identity.formerIds ?? []), identity.directoryId].slice(-FORMER_IDS_MAX)
  const renewed = { ...identity, directoryId: random.uuid(), formerIds }
  await writeCheckpoint(disk, `${directory}/identity`, renewed)
  return renewed
}

function checkOwner(identity: DirectoryIdentity, directory: string, owner: DirectoryOwner): DirectoryIdentity {
  if (identity.cluster !== owner.cluster) {
    throw notUsable(
      `${directory} belongs to cluster ${identity.cluster}, and this broker to cluster ${owner.cluster}; correct cluster, or start on another data-dir`,
    )
  }
  if (identity.brokerId !== owner.brokerId) {
    throw notUsable(
      `${directory} belongs to broker ${identity.brokerId}, and this is broker ${owner.brokerId}; correct broker-id, or start on another data-dir`,
    )
  }
  return identity
}

function decode(value: unknown, path: string): DirectoryIdentity {
  const field = (name: string): unknown =>
    typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
  const version = field('formatVersion')
  // First of all: what a newer version writes elsewhere in the file is not ours to judge.
  if (typeof version === 'number' && version > FORMAT_VERSION) {
    throw new TidemarkError(
      'DIRECTORY_FORMAT_UNKNOWN',
      `${path} says format ${version}; this version knows formats up to ${FORMAT_VERSION}, and has changed nothing`,
    )
  }
  const directoryId = field('directoryId')
  const cluster = field('cluster')
  const broker = field('brokerId')
  const createdAt = field('createdAt')
  const formerIds = field('formerIds') ?? []
  if (
    version !== FORMAT_VERSION ||
    typeof directoryId !== 'string' ||
    typeof cluster !== 'string' ||
    typeof broker !== 'number' ||
    typeof createdAt !== 'number' ||
    !isTexts(formerIds)
  ) {
    throw new TidemarkError('FILE_CORRUPT', `${path} is damaged: a field is missing or of the wrong kind`)
  }
  return {
    formatVersion: version,
    directoryId,
    ...(formerIds.length === 0 ? {} : { formerIds }),
    cluster,
    brokerId: brokerId(broker),
    createdAt: timestampMs(createdAt),
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string')
}

function notUsable(message: string): TidemarkError {
  return new TidemarkError('DIRECTORY_NOT_USABLE', message)
}
