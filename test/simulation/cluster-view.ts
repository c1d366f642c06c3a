// What the brokers of a simulated cluster show of its topics, each of them for itself, and what stands on their disks: whether
// all is well by that, whether the copies are equal, and whether anything is kept that belongs to others. Judges the end of a
// history; looks at no replica in memory, and knows nothing of faults.

import type { ClusterOracle } from './cluster-oracle.ts'
import { compactedBatches, differenceOfRecords } from './compacted-records.ts'
import type { ReplicaWatch } from './replica-watch.ts'
import { differenceOf, logsOnDisk, readLog } from './replica-logs.ts'
import { DATA_DIRECTORY, type DescribedTopic, type SimBroker } from './sim-broker.ts'

export interface ClusterViewParts {
  /** By name. */
  readonly topics: readonly string[]
  readonly brokers: readonly SimBroker[]
  readonly oracle: ClusterOracle
  readonly watch: ReplicaWatch
  /** Up to where records are known to be committed, for topics that no client is told of. */
  readonly committedEnd: (topicId: string, partition: number) => number
  /** Its disk was replaced: its replicas are no voters before somebody makes them that. */
  readonly isExcused: (broker: SimBroker) => boolean
  /** Whether logs that are nobody's any more may be there in the end. */
  readonly mayKeepLogs: boolean
}

export class ClusterView {
  /** How often anything has been shown. */
  shown = 0
  readonly #parts: ClusterViewParts
  /** What each broker has shown last. */
  readonly #described = new Map<SimBroker, readonly DescribedTopic[]>()

  constructor(parts: ClusterViewParts) {
    this.#parts = parts
  }

  show(broker: SimBroker, topics: readonly DescribedTopic[]): void {
    this.#described.set(broker, topics)
    this.shown += 1
  }

  /** As anybody has shown it; undefined while nobody has. */
  topicIdOf(name: string): string | undefined {
    return [...this.#described.values()].flat().find(({ topic }) => topic === name)?.topicId
  }

  /** Partitions without a leader that knows itself, or without all their replicas in sync. */
  whatIsIll(): string[] {
    const ill: string[] = []
    for (const name of this.#parts.topics) {
      const views = this.#parts.brokers.map((broker) => ({
        broker,
        topic: this.#described.get(broker)?.find(({ topic }) => topic === name),
      }))
      for (const { broker, topic } of views) {
        if (topic === undefined) ill.push(`${broker.host} knows no ${name}`)
        for (const shown of topic?.partitions ?? []) {
          const { partition, leader, inSyncReplicas, replicas, state, reason, movingTo } = shown
          const where = `${name}-${partition} at ${broker.host}`
          const isHosted = replicas.some((id) => this.#brokerOf(id) === broker)
          if (this.#parts.isExcused(broker)) continue
          if (isHosted && state !== 'online') ill.push(`${where} is ${state}: ${reason}`)
          if (movingTo !== undefined) ill.push(`${where} is on its way to ${movingTo.join(',')}: ${reason}`)
          if (leader === undefined) ill.push(`${where} has no leader`)
          else if (replicas.some((id) => !inSyncReplicas.includes(id) && !this.#parts.isExcused(this.#brokerOf(id)))) {
            ill.push(`${where} has in sync ${inSyncReplicas.join(',')} of ${replicas.join(',')}, led by ${leader}`)
          }
        }
      }
    }
    return ill
  }

  howReplicasDiffer(): string[] {
    const differences: string[] = []
    for (const { topic, topicId, partitions } of this.#topicsShown()) {
      for (const { partition, replicas } of partitions) {
        const kept = replicas.filter((id) => !this.#parts.isExcused(this.#brokerOf(id)))
        const logs = kept.map((id) => {
          const { disk, host } = this.#brokerOf(id)
          return { host, log: readLog(disk, DATA_DIRECTORY, topicId ?? '', partition) }
        })
        const [first, ...others] = logs
        for (const { host, log } of others) {
          const where = `${topic}-${partition} at ${first?.host} and ${host}`
          if (first?.log === undefined || log === undefined) differences.push(`${where}: one has no log`)
          else if (this.#parts.watch.isCompacted(topicId ?? '', partition)) continue
          else {
            const difference = differenceOf(first.log, log)
            if (difference !== undefined) differences.push(`${where}: ${difference}`)
          }
        }
        differences.push(...this.#howKeysDiffer(topicId ?? '', partition, kept))
      }
    }
    return differences
  }

  /** Compacted logs have the same records where both have any, and each of them what is owed of each key. */
  #howKeysDiffer(topicId: string, partition: number, replicas: readonly number[]): string[] {
    if (!this.#parts.watch.isCompacted(topicId, partition)) return []
    const directory = `${DATA_DIRECTORY}/logs/${topicId}-${partition}`
    const logs = replicas.map((id) => {
      const { disk, host } = this.#brokerOf(id)
      const from = readLog(disk, DATA_DIRECTORY, topicId, partition)?.startOffset ?? 0
      return { host, disk, from, batches: [...compactedBatches(disk, directory)] }
    })
    const [first, ...others] = logs
    const differences = others.flatMap(({ host, from, batches }) => {
      const difference = differenceOfRecords(first?.batches ?? [], batches, Math.max(from, first?.from ?? 0))
      return difference === undefined ? [] : [`${topicId}-${partition} at ${first?.host} and ${host}: ${difference}`]
    })
    const faults = logs.flatMap(({ host, disk, from }) => {
      const fault = this.#parts.watch.keysFaultOf(disk, topicId, partition, from)
      return fault === undefined ? [] : [`${topicId}-${partition} at ${host}: ${fault}`]
    })
    return [...differences, ...faults]
  }

  /** Logs of partitions that are other brokers', and of topics that are no more. */
  whatIsLeftOver(): string[] {
    const shown = [...this.#described.values()].flat()
    return this.#parts.brokers.flatMap((broker) => {
      return logsOnDisk(broker.disk, DATA_DIRECTORY).flatMap(({ topicId, partition }) => {
        const topic = shown.find((one) => one.topicId === topicId)
        const replicas = topic?.partitions.find((one) => one.partition === partition)?.replicas ?? []
        if (replicas.some((id) => this.#brokerOf(id) === broker)) return []
        // A disk that did not let go of it lets it go at the next start.
        if (this.#parts.mayKeepLogs) return []
        const name = topic === undefined ? `${topicId}-${partition}, which is no more,` : `${topic.topic}-${partition}`
        return [`${broker.host} keeps a log of ${name} of brokers ${replicas.join(',')}`]
      })
    })
  }

  /** Whether the broker's disk has all that anybody was told of, in the partitions of which it is a replica, or may count as one. */
  hasEverything(broker: SimBroker): boolean {
    for (const { topic, topicId = '', partitions } of [...this.#described.values()].flat()) {
      const model = this.#parts.oracle.topics.get(topic)
      for (const { partition, replicas, movingTo = [] } of partitions) {
        if (model === undefined && !this.#parts.topics.includes(topic)) continue
        const log = readLog(broker.disk, DATA_DIRECTORY, topicId, partition)
        const counts = [...replicas, ...movingTo].some((id) => this.#brokerOf(id) === broker)
        if (!counts && log === undefined) continue
        const settled =
          model === undefined
            ? this.#parts.committedEnd(topicId, partition)
            : this.#parts.oracle.settledEnd(model, partition)
        if ((log?.endOffset ?? 0) < settled) return false
      }
    }
    return true
  }

  /** The topics of the plan, by whichever broker knows the most partitions. */
  #topicsShown(): DescribedTopic[] {
    const shown: DescribedTopic[] = []
    for (const name of this.#parts.topics) {
      const views = [...this.#described.values()].map((topics) => topics.find(({ topic }) => topic === name))
      const known = views.filter((topic) => topic !== undefined)
      const [largest] = known.sort((one, other) => other.partitions.length - one.partitions.length)
      if (largest !== undefined) shown.push(largest)
    }
    return shown
  }

  #brokerOf(id: number): SimBroker {
    const broker = this.#parts.brokers[id - 1]
    if (broker === undefined) throw new Error(`there is no broker ${id}`)
    return broker
  }
}
