// The beginning of a start: reads what the life before has left beside the logs, judges it, and makes the judgement durable
// before any log is touched. Owns the order of these steps; knows nothing of the logs themselves.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { hasFailedSync } from './failed-sync.ts'
import { hostedPartitions } from './hosted-partitions.ts'
import type { PartitionDirectories } from './partition-directories.ts'
import { partitionDirectoryName } from './partition-directories.ts'
import type { PromiseJournalOptions } from './promise-journal.ts'
import { PromiseJournal } from './promise-journal.ts'
import type { CleanMark, RecoveryPoints } from './recovery-points.ts'
import { readCleanMark, readRecoveryPoints } from './recovery-points.ts'
import type { StartFacts } from './start-facts.ts'
import { isMarkOf, readStarts, recordStart } from './start-facts.ts'
import type { TopicStore } from './topic-store.ts'

const NONE_CLOSED: CleanMark['closed'] = new Map()

export interface DirectoryStartParts {
  readonly disk: Disk
  readonly path: string
  readonly directoryId: string
  readonly formerIds: readonly string[] | undefined
  readonly brokerId: BrokerId
  readonly logger: Logger
  readonly topics: TopicStore
  readonly directories: PartitionDirectories
}

export interface DirectoryStart {
  readonly facts: StartFacts
  readonly promises: PromiseJournal
  readonly closed: CleanMark['closed']
  readonly points: RecoveryPoints
}

/** `claimed` are the names of the partitions' directories that are there. @throws DiskError, DIRECTORY_FORMAT_UNKNOWN */
export async function examineStart(parts: DirectoryStartParts, claimed: ReadonlySet<string>): Promise<DirectoryStart> {
  const { disk, path, directoryId, brokerId, logger, topics } = parts
  const mark = readCleanMark(disk, `${path}/clean-shutdown`, directoryId, logger)
  const points = readRecoveryPoints(disk, `${path}/recovery-points`, logger)
  const before = readStarts(disk, `${path}/starts`, logger)
  const isMarked = isMarkOf(before, mark.incarnation)
  const closed = isMarked ? mark.closed : NONE_CLOSED
  const bootId = disk.bootId()
  const kernelLived = bootId !== undefined && bootId === before?.bootId
  const journal = {
    disk,
    path: `${path}/promises`,
    directoryId,
    formerIds: parts.formerIds,
    kernelLived,
    isDeleted: (id: Parameters<TopicStore['isDeleted']>[0]) => topics.isDeleted(id),
  }
  const known = await openKnown({ ...journal, mark: points.promises }, logger)
  const named = topics.list().flatMap((topic) => {
    return hostedPartitions(topic, brokerId).map((partition) => partitionDirectoryName(topic.topicId, partition))
  })
  const open = new Set([...claimed, ...named])
  const unclosed = [...open].filter((name) => !closed.has(name))
  const findings = {
    directoryId,
    before,
    hasTopics: open.size > 0,
    markIncarnation: isMarked ? mark.incarnation : undefined,
    isEveryLogClosed: unclosed.length === 0,
    kernelLived,
    hadSyncFailure: unclosed.some((name) => claimed.has(name) && hasFailedSync(disk, parts.directories.pathOf(name))),
    arePromisesLost: known === undefined,
  }
  const facts = await recordStart(disk, `${path}/starts`, findings, logger)
  return { facts, promises: known ?? (await beginAnew(journal)), closed, points }
}

/** Undefined when it is not known what was promised. */
async function openKnown(options: PromiseJournalOptions, logger: Logger): Promise<PromiseJournal | undefined> {
  try {
    return await PromiseJournal.open(options)
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
    logger.error({ error: error.message }, 'what was promised to leaders is lost; replicas take no part as before')
    return undefined
  }
}

async function beginAnew(options: PromiseJournalOptions): Promise<PromiseJournal> {
  try {
    options.disk.rename(options.path, `${options.path}.corrupt`)
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'ENOENT') throw error
  }
  return PromiseJournal.open(options)
}
