// The directories of the partitions: what they are called, and what becomes of those that no topic claims. Owns `logs/` and
// `lost+found/` as lists of names; knows nothing of what is in a log, save whether it may hold records.
//
// A directory is deleted only when its topic was deleted (there is a tombstone) or when it holds no record. Any other one
// that nobody claims is moved to lost+found and kept there for a while.

import type { PartitionId, TimestampMs, TopicId } from '../../shared/ids.ts'
import { partitionId, topicId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import { parentOf, TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { syncNames } from './failed-sync.ts'
import { LEADER_EPOCHS_FILE, NEWCOMER_FILE, parseLogFileName } from './file-names.ts'

export const LOST_KEPT_MS = 24 * 60 * 60 * 1000
const DELETED_SUFFIX = '.deleted'
/** Files that say nothing of records. */
const OF_EMPTY_LOGS: readonly string[] = [LEADER_EPOCHS_FILE, NEWCOMER_FILE]
const NAME_PATTERN = /^([0-9a-f-]{36})-(\d{1,10})$/

export interface PartitionName {
  readonly topicId: TopicId
  readonly partition: PartitionId
}

export type Claim =
  /** A topic has this partition, on this broker. */
  | 'claimed'
  /** A topic has this partition, and its definition names others. */
  | 'former'
  /** The topic was deleted. */
  | 'deleted'
  /** No topic is known that has it. */
  | 'unknown'

export function partitionDirectoryName(id: TopicId, partition: number): string {
  return `${id}-${partition}`
}

/** undefined for a name that is not that of a partition's directory. */
export function parsePartitionDirectoryName(name: string): PartitionName | undefined {
  const match = NAME_PATTERN.exec(name)
  if (match?.[1] === undefined) return undefined
  try {
    const parsed = { topicId: topicId(match[1]), partition: partitionId(Number(match[2])) }
    return partitionDirectoryName(parsed.topicId, parsed.partition) === name ? parsed : undefined
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

export class PartitionDirectories {
  readonly #disk: Disk
  readonly #logs: string
  readonly #lost: string
  readonly #logger: Logger
  /** Names that were made before the last of them are not made durable by a later sync. */
  #failedSyncs = 0

  constructor(disk: Disk, directory: string, logger: Logger) {
    this.#disk = disk
    this.#logs = `${directory}/logs`
    this.#lost = `${directory}/lost+found`
    this.#logger = logger
    disk.makeDirectory(this.#logs)
  }

  pathOf(name: string): string {
    return `${this.#logs}/${name}`
  }

  exists(name: string): boolean {
    return this.#disk.stat(this.pathOf(name)) !== undefined
  }

  /** Removes a directory that holds nothing, for good with the next sync. Answers whether it was there. */
  remove(name: string): boolean {
    if (!this.exists(name)) return false
    this.#disk.removeTree(this.pathOf(name))
    return true
  }

  /** How many syncs have failed so far: to be asked before a directory is made, for `sync`. */
  get failedSyncs(): number {
    return this.#failedSyncs
  }

  /**
   * Makes the names of all directories made or moved so far durable, if no sync has failed since there were `failedSyncs`
   * of them. @throws DiskError, and then those that were made must be made anew
   */
  async sync(failedSyncs = this.#failedSyncs): Promise<void> {
    try {
      await this.#disk.syncDirectory(this.#logs)
    } catch (error) {
      this.#failedSyncs++
      throw error
    }
    if (this.#failedSyncs !== failedSyncs) throw new DiskError('EIO', 'sync directory', this.#logs)
  }

  /** Sorts out what no topic claims, durably. Returns the names of the directories that are claimed. */
  async sortOut(
    claimOf: (name: PartitionName) => Claim,
    confirmDeleted: (id: TopicId) => Promise<void>,
    now: TimestampMs,
  ): Promise<Set<string>> {
    const claimed = new Set<string>()
    for (const name of this.#disk.list(this.#logs)) {
      if (name.endsWith(DELETED_SUFFIX)) continue
      if (name.endsWith(TEMPORARY_SUFFIX)) {
        this.#disk.removeTree(this.pathOf(name))
        continue
      }
      const parsed = parsePartitionDirectoryName(name)
      const claim = parsed === undefined ? 'unknown' : claimOf(parsed)
      // A newcomer was made for a definition that did not come to be.
      const isUnneeded = claim === 'former' && this.isNewcomer(name) && this.holdsNothing(name)
      if (claim === 'claimed' || (claim === 'former' && !isUnneeded)) {
        claimed.add(name)
        continue
      }
      if (claim === 'deleted') {
        // The tombstone was read; whether it is durable too is not known. The directories must not go before it is.
        if (parsed !== undefined) await confirmDeleted(parsed.topicId)
        this.markDeleted(name)
      } else if (parsed !== undefined && this.holdsNothing(name)) this.#disk.removeTree(this.pathOf(name))
      else await this.#loseAndFind(name, now)
    }
    await this.sync()
    return claimed
  }

  /** Takes the directory out of use: it is only there to be removed from now on. */
  markDeleted(name: string): void {
    const path = this.pathOf(name)
    let target = path + DELETED_SUFFIX
    // One that was there before may still be on its way out.
    for (let more = 1; this.#disk.stat(target) !== undefined; more += 1) target = `${path}.${more}${DELETED_SUFFIX}`
    this.#disk.rename(path, target)
  }

  /**
   * Makes the directory of a log that counts for nothing until a leader has found it complete. It never shows without the
   * mark that says so; its name is durable with the next sync. @throws DiskError
   */
  async makeNewcomer(name: string): Promise<void> {
    const path = this.pathOf(name)
    const temporary = path + TEMPORARY_SUFFIX
    this.#disk.removeTree(temporary)
    this.#disk.makeDirectory(temporary)
    this.#disk.writeFile(`${temporary}/${NEWCOMER_FILE}`, new Uint8Array(0))
    await this.#disk.syncFile(`${temporary}/${NEWCOMER_FILE}`)
    await this.#disk.syncDirectory(temporary)
    this.#disk.rename(temporary, path)
  }

  isNewcomer(name: string): boolean {
    return this.#disk.stat(`${this.pathOf(name)}/${NEWCOMER_FILE}`) !== undefined
  }

  /** Takes the mark away; for good with the next sync of the directory. @throws DiskError */
  clearNewcomer(name: string): void {
    this.#disk.remove(`${this.pathOf(name)}/${NEWCOMER_FILE}`)
  }

  /** The directories that are there to be removed. */
  deleted(): string[] {
    return this.#disk.list(this.#logs).filter((name) => name.endsWith(DELETED_SUFFIX))
  }

  /** Whether anything of the topic is still there. */
  holds(id: TopicId): boolean {
    return this.#disk.list(this.#logs).some((name) => name.startsWith(`${id}-`))
  }

  /** Removes one file of a deleted directory, or the directory when it is empty; says whether anything is left. */
  removeSome(name: string): boolean {
    const path = this.pathOf(name)
    const next = this.#disk.stat(path) === undefined ? undefined : this.#disk.list(path)[0]
    if (next === undefined) {
      this.#disk.removeTree(path)
      return false
    }
    this.#disk.removeTree(`${path}/${next}`)
    return true
  }

  /** Removes what has been in lost+found for long enough. */
  expireLost(now: TimestampMs): void {
    if (this.#disk.stat(this.#lost) === undefined) return
    for (const name of this.#disk.list(this.#lost)) {
      const movedAt = Number(/\.(\d+)$/.exec(name)?.[1] ?? Number.NaN)
      if (!(now - movedAt >= LOST_KEPT_MS)) continue
      this.#logger.warn({ directory: name }, 'removing a partition that no topic has claimed for a day')
      this.#disk.removeTree(`${this.#lost}/${name}`)
    }
  }

  async #loseAndFind(name: string, now: TimestampMs): Promise<void> {
    const target = `${this.#lost}/${name}.${now}`
    this.#logger.error(
      { directory: name, target },
      'no topic claims this partition; it is kept in lost+found for a day',
    )
    this.#disk.makeDirectory(this.#lost)
    await syncNames(this.#disk, parentOf(this.#lost))
    this.#disk.rename(this.pathOf(name), target)
    await this.#disk.syncDirectory(this.#lost)
  }

  /** Nothing was ever appended, or nothing but empty files reached the disk. */
  holdsNothing(name: string): boolean {
    try {
      return this.#disk.list(this.pathOf(name)).every((file) => {
        const kind = parseLogFileName(file)?.kind
        if (kind === undefined) return OF_EMPTY_LOGS.includes(file) || file.endsWith(TEMPORARY_SUFFIX)
        if (kind !== 'log') return true
        return this.#disk.stat(`${this.pathOf(name)}/${file}`)?.size === 0
      })
    } catch (error) {
      if (error instanceof DiskError) return false
      throw error
    }
  }
}
