// What a data directory knows of the cluster it belongs to: the cluster's id, the topics that were deleted, and the leader
// epochs its replicas have promised. Owns the file with the id, and the refusal to let a directory of a cluster be written by a
// broker that is alone; knows nothing of who asks.
//
// Invariant: the id is on stable storage before anything of its cluster is written to the directory.

import { TidemarkError } from '../../shared/errors.ts'
import type { LeaderEpoch, TopicId } from '../../shared/ids.ts'
import { leaderEpoch } from '../../shared/ids.ts'
import { readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import type { Disk } from './disk.ts'
import type { LogDirectory } from './log-directory.ts'

export interface ClusterFactsOptions {
  readonly disk: Disk
  /** Of the data directory. */
  readonly path: string
  readonly directory: LogDirectory
  /** Whether the broker is to be a part of a cluster, or one by itself. */
  readonly isClustered: boolean
}

export interface PromisedLeadership {
  readonly topicId: TopicId
  readonly partition: number
  readonly leaderEpoch: LeaderEpoch
  /** A promise says which epochs are over, not who came to lead. */
  readonly leader: undefined
  readonly version: 0
  readonly inSyncReplicas: readonly never[]
}

export class ClusterFacts {
  readonly #options: ClusterFactsOptions
  #clusterId: string | undefined

  /** @throws DIRECTORY_NOT_USABLE, FILE_CORRUPT */
  constructor(options: ClusterFactsOptions) {
    this.#options = options
    const { path, isClustered } = options
    this.#clusterId = this.#read()
    if (this.#clusterId !== undefined && !isClustered) {
      throw new TidemarkError(
        'DIRECTORY_NOT_USABLE',
        `${path} belongs to a cluster of several brokers, whose records must not change behind its back; name its Redis with redis, or start on another data-dir`,
      )
    }
  }

  /** Undefined before the directory has belonged to a cluster. */
  get clusterId(): string | undefined {
    return this.#clusterId
  }

  /** Durable when it resolves. @throws DiskError */
  async keepClusterId(clusterId: string): Promise<void> {
    await writeCheckpoint(this.#options.disk, this.#path, { clusterId })
    this.#clusterId = clusterId
  }

  *tombstones(): Iterable<TopicId> {
    for (const { topicId } of this.#options.directory.topics.tombstones()) yield topicId
  }

  *leaderships(): Iterable<PromisedLeadership> {
    const { topics, promises } = this.#options.directory
    for (const { topicId, partitions } of topics.list()) {
      for (let partition = 0; partition < partitions; partition += 1) {
        const promise = promises.get(topicId, partition)
        if (promise === undefined) continue
        const epoch = leaderEpoch(promise.epoch)
        yield { topicId, partition, leaderEpoch: epoch, leader: undefined, version: 0, inSyncReplicas: [] }
      }
    }
  }

  get #path(): string {
    return `${this.#options.path}/cluster-id`
  }

  #read(): string | undefined {
    const value = readCheckpoint(this.#options.disk, this.#path)
    if (value === undefined) return undefined
    const id: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'clusterId') : undefined
    if (typeof id === 'string' && id !== '') return id
    throw new TidemarkError('FILE_CORRUPT', `${this.#path} is damaged: it holds no id of a cluster`)
  }
}
