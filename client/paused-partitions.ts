// What the application has paused, whether the consumer has it at the moment or not: a partition that comes back is still
// paused. Pure.

import { errorOf } from './errors.ts'
import { type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'

/** Partitions by name: one of a topic, some of it, or all when none are named. */
export interface PartitionSelection {
  readonly topic: string
  readonly partition?: number | undefined
  readonly partitions?: readonly number[] | undefined
}

export type PartitionSelections = PartitionSelection | readonly PartitionSelection[]

export class PausedPartitions {
  readonly #topics = new Set<string>()
  readonly #partitions = new TopicPartitionMap<boolean>()

  has({ topic, partition }: TopicPartition): boolean {
    return this.#partitions.get(topic, partition) ?? this.#topics.has(topic)
  }

  /** @throws INVALID_ARGUMENT. */
  set(selections: PartitionSelections, isPaused: boolean): void {
    for (const { topic, partitions } of readSelections(selections)) {
      for (const partition of partitions ?? []) this.#partitions.set(topic, partition, isPaused)
      if (partitions !== undefined) continue
      if (isPaused) this.#topics.add(topic)
      else this.#topics.delete(topic)
      for (const one of [...this.#partitions.entries()]) {
        if (one.topic === topic) this.#partitions.delete(topic, one.partition)
      }
    }
  }
}

interface ReadSelection {
  readonly topic: string
  /** undefined: all. */
  readonly partitions: readonly number[] | undefined
}

function readSelections(selections: PartitionSelections): ReadSelection[] {
  const list: readonly PartitionSelection[] = Array.isArray(selections)
    ? (selections as readonly PartitionSelection[])
    : [selections as PartitionSelection]
  return list.map((one) => {
    const isObject = typeof one === 'object' && one !== null
    const { topic, partition, partitions } = isObject ? one : ({} as PartitionSelection)
    const numbers = partitions ?? (partition === undefined ? undefined : [partition])
    const isLegal =
      Array.isArray(numbers ?? []) && (numbers ?? []).every((each) => Number.isSafeInteger(each) && each >= 0)
    if (typeof topic === 'string' && topic !== '' && isLegal) return { topic, partitions: numbers }
    throw errorOf(
      'INVALID_ARGUMENT',
      'expects { topic }, { topic, partition } or { topic, partitions }, or an array of them',
    )
  })
}
