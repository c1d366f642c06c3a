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
  readonly cluster: string
  readonly brokerId: BrokerId
  readonly createdAt: TimestampMs
}

export interface DirectoryOwner {
  readonly cluster: string
  readonly brokerId: BrokerId
}

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
  if (
    version !== FORMAT_VERSION ||
    typeof directoryId !== 'string' ||
    typeof cluster !== 'string' ||
    typeof broker !== 'number' ||
    typeof createdAt !== 'number'
  ) {
    throw new TidemarkError('FILE_CORRUPT', `${path} is damaged: a field is missing or of the wrong kind`)
  }
  return {
    formatVersion: version,
    directoryId,
    cluster,
    brokerId: brokerId(broker),
    createdAt: timestampMs(createdAt),
  }
}

function notUsable(message: string): TidemarkError {
  return new TidemarkError('DIRECTORY_NOT_USABLE', message)
}
