// A topic as a producer sees it: a queue for every partition, and which of them a record goes to.

import type { Cluster } from './cluster.ts'
import { errorOf } from './errors.ts'
import type { TopicMetadata } from './metadata-cache.ts'
import { nextStickyPartition, type Partitioner } from './partitioner.ts'
import type { PreparedRecord } from './producer-record.ts'
import { PartitionQueue } from './partition-queue.ts'
import { partitionForKey } from '../shared/murmur2.ts'

export class ProducerTopic {
  readonly name: string
  readonly #cluster: Cluster
  readonly #queues: PartitionQueue[]
  /** Where records without a key go, until its batch is closed. */
  #sticky: number

  constructor(cluster: Cluster, metadata: TopicMetadata) {
    this.name = metadata.topic
    this.#cluster = cluster
    this.#queues = metadata.partitions.map(({ partition }) => new PartitionQueue(metadata.topic, partition))
    this.update()
    this.#sticky = cluster.environment.random.integer(this.#queues.length)
  }

  /** @throws INVALID_ARGUMENT when the record, or the partitioner, names a partition that is not there. */
  queueOf(record: PreparedRecord, partitioner: Partitioner | undefined): PartitionQueue {
    const partition = this.#partitionOf(record, partitioner)
    const queue = this.#queues[partition]
    if (queue !== undefined) return queue
    const text = `${this.name} has the partitions 0 to ${this.#queues.length - 1}, not ${String(partition)}`
    throw errorOf('INVALID_ARGUMENT', text, { topic: this.name })
  }

  /**
   * Takes over what has been learned since: partitions that were added, how large a batch may be, new leaders. Answers
   * whether any partition has a newer leader.
   */
  update(): boolean {
    const metadata = this.#cluster.metadata.topic(this.name)
    if (metadata === undefined) return false
    for (let partition = this.#queues.length; partition < metadata.partitions.length; partition += 1) {
      this.#queues.push(new PartitionQueue(this.name, partition))
    }
    let isNewer = false
    for (const queue of this.#queues) {
      queue.batchBytesMax = metadata.batchBytesMax ?? Infinity
      const epoch = metadata.partitions[queue.partition]?.leaderEpoch
      if (epoch === undefined || epoch === queue.leaderEpoch) continue
      queue.leaderEpoch = epoch
      queue.notBefore = 0
      isNewer = true
    }
    return isNewer
  }

  #partitionOf(record: PreparedRecord, partitioner: Partitioner | undefined): number {
    if (record.partition !== undefined) return record.partition
    const { key, value } = record
    const partitionCount = this.#queues.length
    if (partitioner !== undefined) {
      const chosen = partitioner({ topic: this.name, key, value, partitionCount })
      if (chosen !== undefined) return chosen
    }
    if (key !== null) return partitionForKey(key, partitionCount)
    if (this.#queues[this.#sticky]?.open === undefined) this.#moveSticky()
    return this.#sticky
  }

  /** To another partition, if possible one that has a leader. */
  #moveSticky(): void {
    const { metadata, environment } = this.#cluster
    for (let tries = 0; tries < 3; tries += 1) {
      this.#sticky = nextStickyPartition(this.#sticky, this.#queues.length, environment.random)
      if (metadata.leaderOf(this.name, this.#sticky)?.leader !== undefined) return
    }
  }
}
