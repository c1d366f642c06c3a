// The logs of one data directory, by topic and partition. Owns which partitions it hosts: those whose logs are open and those
// that are offline, and why. Knows nothing of files, and of why a partition is hosted.

import type { TidemarkError } from '../../shared/errors.ts'
import type { TopicId } from '../../shared/ids.ts'
import { partitionDirectoryName } from './partition-directories.ts'
import type { PartitionLog } from './partition-log.ts'

/** One partition: its log, or why there is none. */
interface Hosted {
  readonly log: PartitionLog | undefined
  readonly failure: TidemarkError | undefined
}

export class HostedLogs {
  readonly #topics = new Map<TopicId, Map<number, Hosted>>()

  /** Whether the topic is in use, with or without logs here. */
  has(id: TopicId): boolean {
    return this.#topics.has(id)
  }

  hosts(id: TopicId, partition: number): boolean {
    return this.#topics.get(id)?.has(partition) === true
  }

  log(id: TopicId, partition: number): PartitionLog | undefined {
    return this.#topics.get(id)?.get(partition)?.log
  }

  failureOf(id: TopicId, partition: number): TidemarkError | undefined {
    return this.#topics.get(id)?.get(partition)?.failure
  }

  /** Those that are offline too, in no particular order. */
  partitionsOf(id: TopicId): number[] {
    return [...(this.#topics.get(id)?.keys() ?? [])]
  }

  /** Partitions of all topics, those that are offline too. */
  get count(): number {
    let count = 0
    for (const partitions of this.#topics.values()) count += partitions.size
    return count
  }

  get offlineCount(): number {
    return [...this.offlineNames()].length
  }

  *logs(): IterableIterator<PartitionLog> {
    for (const partitions of this.#topics.values()) {
      for (const { log } of partitions.values()) if (log !== undefined) yield log
    }
  }

  /** With the names of their directories. */
  *named(): IterableIterator<readonly [string, PartitionLog]> {
    for (const [id, partitions] of this.#topics) {
      for (const [partition, { log }] of partitions) {
        if (log !== undefined) yield [partitionDirectoryName(id, partition), log]
      }
    }
  }

  /** The names of the directories whose logs could not be opened. */
  *offlineNames(): IterableIterator<string> {
    for (const [id, partitions] of this.#topics) {
      for (const [partition, { log }] of partitions) if (log === undefined) yield partitionDirectoryName(id, partition)
    }
  }

  *logsOf(id: TopicId): IterableIterator<PartitionLog> {
    for (const { log } of this.#topics.get(id)?.values() ?? []) if (log !== undefined) yield log
  }

  /** The topic is in use from now on. */
  addTopic(id: TopicId): void {
    if (!this.#topics.has(id)) this.#topics.set(id, new Map())
  }

  /** The topic is in use already. */
  add(id: TopicId, partition: number, log: PartitionLog): void {
    this.#topics.get(id)?.set(partition, { log, failure: undefined })
  }

  addFailed(id: TopicId, partition: number, failure: TidemarkError): void {
    this.#topics.get(id)?.set(partition, { log: undefined, failure })
  }

  /** Closes the log of the partition, which is hosted no more. */
  remove(id: TopicId, partition: number): void {
    const partitions = this.#topics.get(id)
    partitions?.get(partition)?.log?.close()
    partitions?.delete(partition)
  }

  /** Closes the logs of a topic, which is in use no more; answers which partitions it had. */
  removeTopic(id: TopicId): number[] {
    const partitions = this.partitionsOf(id)
    for (const partition of partitions) this.remove(id, partition)
    this.#topics.delete(id)
    return partitions
  }
}
