// The topics that this data directory knows, one checkpoint file each. Owns that a topic exists wholly or not at all, that
// a deleted one never comes back, and that no two live ones have the same name; knows nothing of their logs.
//
// Memory says what is durable: a definition appears here when its file is on stable storage, a deleted topic disappears
// when the deletion is asked for (it must not be used while the tombstone is on its way).

import { assert } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { TimestampMs, TopicId } from '../../shared/ids.ts'
import { timestampMs, topicId } from '../../shared/ids.ts'
import { PARTITIONS_PER_TOPIC_MAX } from '../../shared/limits.ts'
import type { Clock } from '../../shared/time.ts'
import { readCheckpoint, TEMPORARY_SUFFIX, writeCheckpoint, writeSynced } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import { DiskError } from './disk.ts'
import { syncNames } from './failed-sync.ts'
import { SYNC_FAILED_FILE } from './file-names.ts'
import type { TopicAssignment } from './topic-assignment.ts'
import { assignmentFault, assignmentFrom, changeFault, votersFrom } from './topic-assignment.ts'

/** How long it is remembered that a topic was deleted: longer than a replica that missed it may stay away. */
export const TOMBSTONE_KEPT_MS = 7 * 24 * 60 * 60 * 1000

/** The number of its partitions never falls. */
export interface TopicDefinition extends TopicAssignment {
  readonly topicId: TopicId
  readonly name: string
  readonly replicationFactor: number
  readonly config: Readonly<Record<string, string>>
  /** Grows by every change. */
  readonly version: number
  readonly createdAt: TimestampMs
  /** When it was deleted; only in a tombstone. */
  readonly deleted?: TimestampMs
}

export class TopicStore {
  readonly #disk: Disk
  readonly #directory: string
  readonly #clock: Clock
  readonly #live = new Map<TopicId, TopicDefinition>()
  readonly #tombstones = new Map<TopicId, TopicDefinition>()
  /** Taken names, also by a topic whose definition is on its way. */
  readonly #names = new Map<string, TopicId>()
  /** Files of topics whose creation failed: they may or may not be on stable storage. */
  readonly #doubtful = new Map<TopicId, TopicDefinition>()
  /** The last of the writes, which go one behind the other. */
  #last: Promise<void> = Promise.resolve()

  /**
   * Reads all definitions in the directory, which it makes if there is none.
   * @throws FILE_CORRUPT, DIRECTORY_FORMAT_UNKNOWN
   */
  static open(disk: Disk, directory: string, clock: Clock): TopicStore {
    disk.makeDirectory(directory)
    const store = new TopicStore(disk, directory, clock)
    for (const name of disk.list(directory)) {
      if (name.endsWith(TEMPORARY_SUFFIX)) disk.remove(`${directory}/${name}`)
      else if (name !== SYNC_FAILED_FILE) store.#load(name)
    }
    return store
  }

  private constructor(disk: Disk, directory: string, clock: Clock) {
    this.#disk = disk
    this.#directory = directory
    this.#clock = clock
  }

  get(id: TopicId): TopicDefinition | undefined {
    return this.#live.get(id)
  }

  byName(name: string): TopicDefinition | undefined {
    const id = this.#names.get(name)
    return id === undefined ? undefined : this.#live.get(id)
  }

  /** The topics that are not deleted, oldest file name first. */
  list(): TopicDefinition[] {
    return [...this.#live.values()]
  }

  /** Whether a topic of this id was deleted within the last days. */
  isDeleted(id: TopicId): boolean {
    return this.#tombstones.has(id)
  }

  tombstones(): TopicDefinition[] {
    return [...this.#tombstones.values()]
  }

  /**
   * Creates or changes a topic; durable when it resolves. When it rejects, the topic is as before, and will be after a
   * restart, unless the disk failed in the last step: then the topic or its change may show after a restart.
   * @throws TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC_OR_PARTITION (it was deleted), INVALID_PARTITIONS,
   * INVALID_REPLICA_ASSIGNMENT, and DiskError
   */
  async put(definition: TopicDefinition): Promise<void> {
    assert(definition.deleted === undefined, 'a topic is deleted by remove')
    if (this.isDeleted(definition.topicId)) throw deleted(definition)
    this.#checkPartitions(definition)
    this.#checkAssignment(definition)
    const owner = this.#names.get(definition.name)
    if (owner !== undefined && owner !== definition.topicId) {
      throw new TidemarkError('TOPIC_ALREADY_EXISTS', `topic ${definition.name} exists already`)
    }
    const isNew = owner === undefined
    assert(!isNew || !this.#live.has(definition.topicId), 'a topic keeps its name')
    this.#names.set(definition.name, definition.topicId)
    await this.#enqueue(async () => {
      if (this.isDeleted(definition.topicId)) throw deleted(definition)
      const before = this.#live.get(definition.topicId)
      assert(
        before === undefined || before.version < definition.version,
        'every change of a topic has a higher version',
      )
      try {
        await this.#clearDoubtful()
        await writeCheckpoint(this.#disk, this.#pathOf(definition.topicId), definition)
      } catch (error) {
        if (before === undefined) this.#giveUp(definition)
        throw error
      }
      if (this.isDeleted(definition.topicId)) throw deleted(definition)
      this.#live.set(definition.topicId, definition)
    })
  }

  /**
   * Deletes a topic for good; durable when it resolves. It is out of use at once, and stays so in this process even if
   * writing the tombstone fails; ask again until it succeeds. Not being there is no failure.
   */
  remove(id: TopicId): Promise<void> {
    const definition = this.#live.get(id) ?? this.#tombstones.get(id)
    if (definition === undefined) return Promise.resolve()
    const tombstone = { ...definition, deleted: definition.deleted ?? this.#clock.now() }
    this.#live.delete(id)
    this.#tombstones.set(id, tombstone)
    return this.#enqueue(async () => {
      await writeCheckpoint(this.#disk, this.#pathOf(id), tombstone)
      // Only now: a topic made anew under the name must not meet this one after a crash.
      if (this.#names.get(tombstone.name) === id) this.#names.delete(tombstone.name)
    })
  }

  /** Forgets tombstones that are old enough and whose logs are gone, as the caller tells. Returns how many. */
  expireTombstones(hasLogs: (id: TopicId) => boolean): number {
    const expired = this.tombstones().filter(
      (tombstone) =>
        tombstone.deleted !== undefined &&
        this.#clock.now() - tombstone.deleted >= TOMBSTONE_KEPT_MS &&
        this.#names.get(tombstone.name) !== tombstone.topicId &&
        !hasLogs(tombstone.topicId),
    )
    for (const tombstone of expired) {
      this.#disk.remove(this.#pathOf(tombstone.topicId))
      this.#tombstones.delete(tombstone.topicId)
    }
    return expired.length
  }

  #load(name: string): void {
    const path = `${this.#directory}/${name}`
    const definition = decode(readCheckpoint(this.#disk, path), path)
    if (definition.topicId !== name) throw corrupt(path, `it is the definition of topic id ${definition.topicId}`)
    if (definition.deleted !== undefined) {
      this.#tombstones.set(definition.topicId, definition)
      return
    }
    const other = this.#names.get(definition.name)
    if (other !== undefined) throw corrupt(path, `topic id ${other} has the name ${definition.name} too`)
    this.#names.set(definition.name, definition.topicId)
    this.#live.set(definition.topicId, definition)
  }

  #checkPartitions(definition: TopicDefinition): void {
    const { partitions, name } = definition
    if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > PARTITIONS_PER_TOPIC_MAX) {
      const range = `from 1 to ${PARTITIONS_PER_TOPIC_MAX}`
      throw new TidemarkError('INVALID_PARTITIONS', `topic ${name} cannot have ${partitions} partitions, only ${range}`)
    }
    const before = this.#live.get(definition.topicId)?.partitions ?? 0
    if (partitions < before) {
      throw new TidemarkError('INVALID_PARTITIONS', `topic ${name} has ${before} partitions and cannot have fewer`)
    }
  }

  #checkAssignment(definition: TopicDefinition): void {
    const before = this.#live.get(definition.topicId)
    const fault = assignmentFault(definition) ?? (before === undefined ? undefined : changeFault(before, definition))
    if (fault === undefined) return
    throw new TidemarkError('INVALID_REPLICA_ASSIGNMENT', `topic ${definition.name}: ${fault}`)
  }

  /** The creation failed, perhaps after the file had its name: it must not come to light at the next start. */
  #giveUp(definition: TopicDefinition): void {
    this.#doubtful.set(definition.topicId, definition)
    if (this.#names.get(definition.name) === definition.topicId) this.#names.delete(definition.name)
    try {
      this.#disk.remove(this.#pathOf(definition.topicId))
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
    }
  }

  /** Before a next topic is created, so that two of the same name cannot be found after a crash. */
  async #clearDoubtful(): Promise<void> {
    if (this.#doubtful.size === 0) return
    for (const [id, definition] of this.#doubtful) {
      // Its removal may have fallen to a failed sync, and no later one would cover it: it is removed anew.
      await writeSynced(this.#disk, this.#pathOf(id), definition)
      this.#disk.remove(this.#pathOf(id))
    }
    await syncNames(this.#disk, this.#directory)
    this.#doubtful.clear()
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => undefined)
    return done
  }

  #pathOf(id: TopicId): string {
    return `${this.#directory}/${id}`
  }
}

function decode(value: unknown, path: string): TopicDefinition {
  const field = (name: string): unknown =>
    typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
  const text = (name: string): string => {
    const content = field(name)
    if (typeof content !== 'string') throw corrupt(path, `its ${name} is not a string`)
    return content
  }
  const count = (name: string): number => {
    const content = field(name)
    if (typeof content !== 'number' || !Number.isSafeInteger(content) || content < 0) {
      throw corrupt(path, `its ${name} is not a count`)
    }
    return content
  }
  try {
    const definition: TopicDefinition = {
      topicId: topicId(text('topicId')),
      name: text('name'),
      partitions: count('partitions'),
      replicationFactor: count('replicationFactor'),
      config: textTable(field('config'), 'config', path),
      ...(field('assignment') === undefined ? {} : { assignment: assignmentFrom(field('assignment')) }),
      ...(field('directories') === undefined
        ? {}
        : { directories: textTable(field('directories'), 'directories', path) }),
      ...(field('origins') === undefined ? {} : { origins: votersFrom(field('origins'), 'origins') }),
      ...(field('moves') === undefined ? {} : { moves: votersFrom(field('moves'), 'moves') }),
      version: count('version'),
      createdAt: timestampMs(count('createdAt')),
      ...(field('deleted') === undefined ? {} : { deleted: timestampMs(count('deleted')) }),
    }
    const fault = assignmentFault(definition)
    if (fault !== undefined) throw corrupt(path, fault)
    return definition
  } catch (error) {
    if (error instanceof RangeError) throw corrupt(path, error.message)
    throw error
  }
}

function textTable(value: unknown, name: string, path: string): Record<string, string> {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isTable || Object.values(value).some((entry) => typeof entry !== 'string')) {
    throw corrupt(path, `its ${name} is not a table of strings`)
  }
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, String(entry)]))
}

function deleted(definition: TopicDefinition): TidemarkError {
  return new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `topic ${definition.name} has been deleted`)
}

function corrupt(path: string, what: string): TidemarkError {
  return new TidemarkError('FILE_CORRUPT', `${path} is damaged: ${what}`)
}
