// What is read of groups from the log, record by record: the newest of each key counts. Owns which records are passed over.
// Pure.

import type { CommittedOffset, OffsetKey } from './group-offsets.ts'
import type { StoredGroup } from './group-records.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { readGroupValue, readKey, readOffsetValue } from './group-records.ts'

interface LoadedGroup {
  stored: StoredGroup | undefined
  readonly topics: Map<string, Map<number, CommittedOffset>>
}

export class GroupLoad {
  readonly #groups = new Map<string, LoadedGroup>()
  #records = 0
  #skipped = 0

  get records(): number {
    return this.#records
  }

  /** Records that could not be read, or are none of groups. */
  get skipped(): number {
    return this.#skipped
  }

  /** The records of the batch at `at`, from the offset on. The log has compared its checksum. */
  addBatch(bytes: Uint8Array, at: number, fromOffset: number): void {
    this.#attempt(() => {
      const batch = decodeBatch(bytes, at, { checkCrc: false })
      if (batch.isControl) return
      batch.forEach(({ key, value, offset }) => {
        if (offset < fromOffset) return
        this.#records += 1
        this.#attempt(() => this.#add(key, value))
      })
    })
  }

  /** The others are not to be lost with what cannot be read. */
  #attempt(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'CORRUPT_MESSAGE') throw error
      this.#skipped += 1
    }
  }

  /** Of groups that are gone, the highest generation that was left behind; 0 if none was. */
  get generationMax(): number {
    let highest = 0
    for (const group of this.#groups.values()) {
      if (isGone(group)) highest = Math.max(highest, group.stored?.generation ?? 0)
    }
    return highest
  }

  /** Those of which there is anything. */
  *groups(): IterableIterator<{
    readonly name: string
    readonly stored: StoredGroup | undefined
    readonly offsets: readonly (readonly [OffsetKey, CommittedOffset])[]
  }> {
    for (const [name, group] of this.#groups) {
      if (isGone(group)) continue
      const { stored, topics } = group
      const offsets = [...topics].flatMap(([topic, partitions]) =>
        [...partitions].map(([partition, committed]) => [{ topic, partition }, committed] as const),
      )
      yield { name, stored, offsets }
    }
  }

  #add(key: Uint8Array | null, value: Uint8Array | null): void {
    if (key === null) throw new TidemarkError('CORRUPT_MESSAGE', 'a record of the offsets topic has no key')
    const read = readKey(key)
    if (read.kind === 'unknown') {
      this.#skipped += 1
      return
    }
    const group: LoadedGroup = this.#groups.get(read.group) ?? { stored: undefined, topics: new Map() }
    this.#groups.set(read.group, group)
    if (read.kind === 'group') {
      group.stored = value === null ? undefined : readGroupValue(value)
      return
    }
    const { topic, partition } = read
    const partitions = group.topics.get(topic) ?? new Map<number, CommittedOffset>()
    if (value === null) partitions.delete(partition)
    else partitions.set(partition, readOffsetValue(value))
    if (partitions.size === 0) group.topics.delete(topic)
    else group.topics.set(topic, partitions)
  }
}

/** Nothing is left of it but a generation, if that. */
function isGone({ stored, topics }: LoadedGroup): boolean {
  const isBare = stored === undefined || (stored.protocolType === undefined && stored.members.length === 0)
  return isBare && topics.size === 0
}
